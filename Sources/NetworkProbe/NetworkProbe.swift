import CNetwork
import CPlatform
import Glibc
import Platform

/// Looks at a server from outside: its name, its port, its certificate. For a person who wants to know why a client does
/// not come through; the clients themselves use their libraries.
///
/// Every call blocks for at most its bound, but for `resolve`, which takes as long as the resolver's configuration lets
/// it (resolv.conf(5)): call from a thread that may wait.
public enum NetworkProbe {
    /// Why a probe failed.
    public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        /// One line for a person.
        public var description: String

        /// Makes a failure.
        public init(_ description: String) {
            self.description = description
        }
    }

    /// What a name stands for.
    public final class Addresses: @unchecked Sendable {
        // Written once, read only.
        fileprivate let list: UnsafeMutablePointer<addrinfo>

        fileprivate init(_ list: UnsafeMutablePointer<addrinfo>) {
            self.list = list
        }

        deinit {
            freeaddrinfo(list)
        }

        fileprivate var all: [UnsafeMutablePointer<addrinfo>] {
            Array(sequence(first: list) { $0.pointee.ai_next })
        }

        /// The addresses as numbers, such as `192.0.2.1` or `2001:db8::1`, each once.
        public var texts: [String] {
            var texts: [String] = []
            for address in all {
                var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                guard
                    getnameinfo(
                        address.pointee.ai_addr, address.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                        NI_NUMERICHOST) == 0
                else { continue }
                let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !texts.contains(name) { texts.append(name) }
            }
            return texts
        }
    }

    /// A connection, until it goes.
    public final class Connection: Sendable {
        let socket: Int32

        fileprivate init(_ socket: Int32) {
            self.socket = socket
        }

        deinit {
            close(socket)
        }
    }

    /// Looks a host up.
    public static func resolve(_ host: String, port: UInt16) throws(Failure) -> Addresses {
        var list: UnsafeMutablePointer<addrinfo>?
        let code = vigie_resolve(host, "\(port)", &list)
        guard code == 0, let list else {
            throw Failure(code == EAI_SYSTEM ? String(cString: strerror(errno)) : String(cString: gai_strerror(code)))
        }
        return Addresses(list)
    }

    /// Connects to the first address that lets it.
    /// - Parameter bound: for each address, and for each later read and write.
    public static func connect(_ addresses: Addresses, bound: Duration) throws(Failure) -> Connection {
        var code: Int32 = 0
        for address in addresses.all {
            let socket = vigie_connect(address, Int32(clamping: bound.millisecondsRoundedDown), &code)
            if socket >= 0 { return Connection(socket) }
        }
        throw Failure(String(cString: strerror(code)))
    }

    /// Connects to a Unix socket.
    /// - Parameters:
    ///   - path: its file.
    ///   - bound: for each later read and write; to connect takes no time.
    public static func connect(socket path: String, bound: Duration) throws(Failure) -> Connection {
        var code: Int32 = 0
        let socket = vigie_connect_unix(path, Int32(clamping: bound.millisecondsRoundedDown), &code)
        guard socket >= 0 else { throw Failure(String(cString: strerror(code))) }
        return Connection(socket)
    }

    /// Whether a program could listen on an address.
    /// - Throws: why not.
    public static func tryListening(_ addresses: Addresses) throws(Failure) {
        let code = vigie_try_listening(addresses.list)
        if code != 0 { throw Failure(String(cString: strerror(code))) }
    }

    /// Sends some bytes, and takes the first one of the answer.
    public static func exchange(_ bytes: [UInt8], on connection: Connection) throws(Failure) -> UInt8 {
        var answer: UInt8 = 0
        guard vigie_send(connection.socket, bytes, bytes.count) == bytes.count,
            recv(connection.socket, &answer, 1, 0) == 1
        else { throw Failure(String(cString: strerror(errno))) }
        return answer
    }

    /// Asks by HTTP/1.0 for a path, and takes at most 1 MiB of the answer.
    /// - Parameter token: a bearer token to show, of characters that a field may have.
    /// - Returns: the status and the content.
    public static func get(
        _ path: String, on connection: Connection, token: [UInt8]? = nil
    ) throws(Failure) -> (status: Int, body: String) {
        let authorization = token.map { Array("Authorization: Bearer ".utf8) + $0 + Array("\r\n".utf8) } ?? []
        let request = Array("GET \(path) HTTP/1.0\r\n".utf8) + authorization + Array("\r\n".utf8)
        guard vigie_send(connection.socket, request, request.count) == request.count else {
            throw Failure(String(cString: strerror(errno)))
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < 1 << 20 {
            let count = recv(connection.socket, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure(String(cString: strerror(errno))) }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.prefix(64).split(separator: " ", maxSplits: 2)
        guard words.count > 1, words[0].hasPrefix("HTTP/"), let status = Int(words[1].prefix(3)) else {
            throw Failure("it does not speak HTTP")
        }
        return (status, text.range(of: "\r\n\r\n").map { String(text[$0...]) } ?? "")
    }
}

extension String {
    /// Where what follows a text begins.
    fileprivate func range(of separator: String) -> String.Index? {
        ranges(of: separator).first?.upperBound
    }
}
