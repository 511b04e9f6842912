import CCurl

/// An http or https address, checked. Shown, it is the scheme, host and port: the rest may hold a secret.
public struct HTTPAddress: Sendable, Hashable, CustomStringConvertible {
    /// The whole address.
    let text: String
    /// The host; IPv6 addresses in brackets.
    public let host: String
    /// Scheme, host and port.
    public let description: String

    /// Checks an address.
    /// - Returns: nil if it is not a complete http or https address (RFC 3986).
    public init?(_ text: String) {
        guard let parts = curl_url() else { return nil }
        defer { curl_url_cleanup(parts) }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }),
            curl_url_set(parts, CURLUPART_URL, text, 0) == CURLUE_OK,
            let scheme = HTTPAddress.part(parts, CURLUPART_SCHEME), ["http", "https"].contains(scheme),
            let host = HTTPAddress.part(parts, CURLUPART_HOST),
            let port = HTTPAddress.part(parts, CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT))
        else { return nil }
        self.text = text
        self.host = host
        description = "\(scheme)://\(host):\(port)"
    }

    /// Whether it is this machine itself, which no proxy stands before.
    var isLoopback: Bool {
        host == "localhost" || host == "[::1]" || host.hasPrefix("127.")
    }

    private static func part(_ parts: OpaquePointer, _ part: CURLUPart, _ flags: UInt32 = 0) -> String? {
        var found: UnsafeMutablePointer<CChar>?
        guard curl_url_get(parts, part, &found, flags) == CURLUE_OK, let found else { return nil }
        defer { curl_free(found) }
        return String(cString: found)
    }
}
