import CNetwork

extension NetworkProbe {
    /// What a certificate says.
    public struct Certificate: Sendable, Equatable {
        /// Whom it is for, such as `/CN=kafka-1`.
        public var subject: String
        /// Who vouches for it.
        public var issuer: String
        /// From when and until when it is valid, seconds since 1970.
        public var validity: ClosedRange<Int64>

        /// Makes one.
        public init(subject: String, issuer: String, validity: ClosedRange<Int64>) {
            self.subject = subject
            self.issuer = issuer
            self.validity = validity
        }

        init(_ certificate: vigie_certificate) {
            self.init(
                subject: text(certificate.subject), issuer: text(certificate.issuer),
                validity: certificate.not_before...max(certificate.not_before, certificate.not_after))
        }
    }

    /// What a TLS handshake showed.
    public struct Handshake: Sendable, Equatable {
        /// Such as `TLSv1.3`; nil if it did not come to its end.
        public var version: String?
        /// The server's certificate, if it sent one.
        public var certificate: Certificate?
        /// Why it failed, or why the certificate is not to be believed; nil if all is well.
        public var problem: String?

        /// Makes one.
        public init(version: String?, certificate: Certificate?, problem: String?) {
            self.version = version
            self.certificate = certificate
            self.problem = problem
        }
    }

    /// Makes a TLS handshake, which is the connection's last use.
    /// - Parameters:
    ///   - host: the name or address that the certificate must be for.
    ///   - authorities: PEM file of those that may vouch for it; nil means the system's.
    ///   - certificate: PEM file of the client's own; nil for none.
    ///   - key: PEM file of its private key.
    public static func handshake(
        on connection: Connection, host: String, authorities: String?, certificate: String?, key: String?
    ) -> Handshake {
        var result = vigie_handshake()
        vigie_shake_hands(connection.socket, host, authorities, certificate, key, &result)
        let isDone = result.is_done != 0
        return Handshake(
            version: isDone ? text(result.version) : nil,
            certificate: result.has_certificate != 0 ? Certificate(result.certificate) : nil,
            problem: isDone && result.verification == 0 ? nil : text(result.reason))
    }

    /// Reads the first certificate of a PEM file.
    public static func certificate(in path: String) throws(Failure) -> Certificate {
        var certificate = vigie_certificate()
        var reason = [CChar](repeating: 0, count: 256)
        guard vigie_read_certificate(path, &certificate, &reason, reason.count) == 0 else {
            throw Failure(
                String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        return Certificate(certificate)
    }
}

/// The text in a fixed array of C characters, which a zero ends.
private func text<Array>(_ array: Array) -> String {
    withUnsafeBytes(of: array) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
