import Glibc

/// Where an HTTP endpoint listens, and whom it answers.
public struct HTTPEndpointSettings: Sendable, Equatable {
    /// Where an endpoint listens.
    public enum Address: Sendable, Hashable, CustomStringConvertible {
        /// An IPv4 or IPv6 address of this machine in text, and a port; port 0 is any free one.
        case network(host: String, port: UInt16)
        /// A Unix socket, by the absolute path of its file.
        case socket(path: String)

        /// Reads `127.0.0.1:9464`, `[::1]:9464`, `localhost:9464` or `unix:/run/vigie/gateway.sock`.
        /// - Returns: nil if it is anything else, or a path that is too long for a socket.
        public init?(_ text: String) {
            if text.hasPrefix("unix:") {
                let path = String(text.dropFirst("unix:".count))
                // sun_path with its zero (unix(7)).
                guard path.hasPrefix("/"), !path.hasSuffix("/"), path.utf8.count <= 107 else { return nil }
                self = .socket(path: path)
                return
            }
            guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
                return nil
            }
            var host = String(text[..<colon])
            if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
            if host == "localhost" { host = "127.0.0.1" }
            // An IPv6 address needs its brackets: without them its last group could be the port.
            guard isAddress(host), !host.contains(":") || text.hasPrefix("[") else { return nil }
            self = .network(host: host, port: port)
        }

        /// As the configuration has it, such as `[::1]:9464`.
        public var description: String {
            switch self {
            case .network(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .socket(let path): "unix:\(path)"
            }
        }

        /// Whether only programs on this machine come to it.
        public var isLocal: Bool {
            switch self {
            case .network(let host, _): host.hasPrefix("127.") || host == "::1"
            case .socket: true
            }
        }
    }

    /// Where it listens.
    public var address: Address
    /// The file of the token that a request must have; nil for none.
    public var tokenFile: String?
    /// Names of this machine or of a proxy, besides those that are always its own, in lower case.
    public var allowedHosts: [String]
    /// Whether it may be reached from other machines without a token.
    public var isUnprotected: Bool

    /// Makes settings.
    public init(
        address: Address, tokenFile: String? = nil, allowedHosts: [String] = [], isUnprotected: Bool = false
    ) {
        self.address = address
        self.tokenFile = tokenFile
        self.allowedHosts = allowedHosts
        self.isUnprotected = isUnprotected
    }

    /// Whether anybody on the network would get an answer, and nobody has said that this is meant.
    public var isExposed: Bool { !address.isLocal && tokenFile == nil && !isUnprotected }
}

/// Whether a text is an IPv4 or IPv6 address.
func isAddress(_ text: String) -> Bool {
    var storage = in6_addr()
    return inet_pton(AF_INET, text, &storage) == 1 || inet_pton(AF_INET6, text, &storage) == 1
}

/// The names by which a request may call the endpoint.
///
/// A page in a browser may call any port of its reader's machine by a name of its own that leads there (DNS rebinding),
/// and read the answer, as to the browser both have one origin. Only the Host field tells such a request. Addresses cannot
/// be turned about in this way, nor can the name `localhost`. The port does not count: it does not tell an attacker from a
/// tunnel or a container whose port has another number outside.
struct HostRule: Sendable {
    private let allowed: Set<String>
    private let allowsAddresses: Bool

    /// - Parameter machine: the name of this machine.
    init(_ settings: HTTPEndpointSettings, machine: String = HostRule.machineName) {
        // On loopback no other name but this one is the endpoint's by itself.
        var names = ["localhost"] + settings.allowedHosts
        if !settings.address.isLocal { names.append(machine.lowercased()) }
        allowed = Set(names)
        allowsAddresses = !settings.address.isLocal
    }

    /// Whether a request with this Host field is answered. Without the field it is no browser's.
    func allows(_ field: String?) -> Bool {
        guard let field else { return true }
        guard let host = HostRule.host(field) else { return false }
        if allowed.contains(host) { return true }
        return isAddress(host) && (allowsAddresses || host.hasPrefix("127.") || host == "::1")
    }

    /// The host of `host:port`, in lower case and without brackets or the dot at its end; nil if it is malformed.
    static func host(_ field: String) -> String? {
        var host = field.lowercased()
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return nil }
            let rest = host[host.index(after: end)...]
            guard rest.isEmpty || isPort(rest) else { return nil }
            return String(host[host.index(after: host.startIndex)..<end])
        }
        if let colon = host.firstIndex(of: ":") {
            guard isPort(host[colon...]) else { return nil }
            host = String(host[..<colon])
        }
        if host.hasSuffix(".") { host.removeLast() }
        return host.isEmpty ? nil : host
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.hasPrefix(":") && text.dropFirst().utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// What gethostname(2) says.
    static var machineName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
