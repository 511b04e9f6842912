import Glibc

extension NetworkProbe {
    /// Why a certificate is not believed (OpenSSL's x509_vfy.h).
    public enum CertificateProblem: Sendable, Hashable {
        /// Its time is over.
        case expired
        /// Its time has not begun.
        case notYetValid
        /// Nobody who is trusted vouches for it.
        case unknownAuthority
        /// It is for another name or address.
        case otherName
        /// Another reason, by OpenSSL's number.
        case other(Int32)

        /// - Parameter code: OpenSSL's `X509_V_ERR_...`.
        public init(code: Int32) {
            switch code {
            case 9: self = .notYetValid
            case 10: self = .expired
            case 2, 18, 19, 20, 21, 27: self = .unknownAuthority
            case 62, 63, 64: self = .otherName
            default: self = .other(code)
            }
        }
    }
}

extension NetworkProbe.Certificate {
    /// What is wrong with the time in which it is valid, after the name of its file: ", which expired on ...".
    /// - Parameter now: seconds since 1970.
    /// - Returns: nil if it is valid now.
    public func complaint(at now: Int64) -> String? {
        if now > validity.upperBound { return ", which expired on \(Self.text(validity.upperBound))" }
        if now < validity.lowerBound { return ", which is not valid before \(Self.text(validity.lowerBound))" }
        return nil
    }

    /// A time in UTC, such as `2026-03-01 06:30 UTC`.
    private static func text(_ seconds: Int64) -> String {
        var (time, parts) = (time_t(seconds), tm())
        var text = [CChar](repeating: 0, count: 64)
        gmtime_r(&time, &parts)
        strftime(&text, text.count, "%Y-%m-%d %H:%M UTC", &parts)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
