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
        /// Whether it was begun; not if a file of the client's cannot be used.
        public var isAttempted: Bool
        /// Such as `TLSv1.3`; nil if it did not come to its end.
        public var version: String?
        /// The server's certificate, if it sent one.
        public var certificate: Certificate?
        /// Why it failed, or why the certificate is not to be believed; nil if all is well.
        public var problem: String?
        /// OpenSSL's number of why the certificate is not to be believed (x509_vfy.h); 0 if it is, or if the handshake
        /// did not come so far.
        public var verification: Int
        /// Whether the server asked for a certificate of the client.
        public var wantsCertificate: Bool
        /// The alert with which the server ended the handshake, or the connection at the question (RFC 8446, 6).
        public var alert: Int?
        /// How the server ended the connection at the question; nil if it did not.
        public var refusal: String?

        /// Makes one.
        public init(
            version: String?, certificate: Certificate?, problem: String?, isAttempted: Bool = true,
            verification: Int = 0, wantsCertificate: Bool = false, alert: Int? = nil, refusal: String? = nil
        ) {
            self.isAttempted = isAttempted
            self.version = version
            self.certificate = certificate
            self.problem = problem
            self.verification = verification
            self.wantsCertificate = wantsCertificate
            self.alert = alert
            self.refusal = refusal
        }
    }

    /// Makes a TLS handshake, which is the connection's last use.
    /// - Parameters:
    ///   - host: the name or address that the certificate must be for.
    ///   - authorities: PEM file of those that may vouch for it; nil means the system's.
    ///   - certificate: PEM file of the client's own; nil for none.
    ///   - key: PEM file of its private key.
    ///   - question: what is sent afterwards, to see whether the server answers. In TLS 1.3 it judges the client's
    ///     certificate only then. Empty: nothing is sent.
    public static func handshake(
        on connection: Connection, host: String, authorities: String?, certificate: String?, key: String?,
        question: [UInt8] = []
    ) -> Handshake {
        var result = vigie_handshake()
        vigie_shake_hands(
            connection.socket, host, authorities, certificate, key, question, Int32(question.count), &result)
        let isDone = result.is_done != 0
        return Handshake(
            version: isDone ? text(result.version) : nil,
            certificate: result.has_certificate != 0 ? Certificate(result.certificate) : nil,
            problem: isDone && result.verification == 0 ? nil : text(result.reason),
            isAttempted: result.is_attempted != 0, verification: Int(result.verification),
            wantsCertificate: result.wants_certificate != 0,
            alert: result.alert == 0 ? nil : Int(result.alert),
            refusal: result.is_refused != 0 ? text(result.refusal) : nil)
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
