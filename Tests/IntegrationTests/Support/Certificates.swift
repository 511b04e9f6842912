import Foundation
import Testing

/// Two authorities and what they vouch for, made by openssl(1) in a folder. Only the first one is to be trusted.
final class Certificates {
    private let folder: URL

    /// - Parameter folder: an empty one, which stays the caller's.
    init(in folder: URL) throws {
        self.folder = folder
        for name in ["authority", "other"] { try make(name, ["-subj", "/CN=\(name)"]) }
    }

    /// The authority that clients trust.
    var authority: String { path("authority.pem") }

    /// Makes a server's certificate for a name.
    /// - Parameter authority: `authority`, or `other` for one that nobody trusts.
    /// - Returns: the paths of the certificate and its key.
    func server(_ host: String, by authority: String = "authority") throws -> (certificate: String, key: String) {
        try make(
            "\(host)-by-\(authority)", ["-subj", "/CN=server", "-addext", "subjectAltName=DNS:\(host)"], by: authority)
    }

    /// Makes a client's certificate.
    /// - Returns: the paths of the certificate and its key.
    func client(_ name: String, by authority: String = "authority") throws -> (certificate: String, key: String) {
        try make("client-\(name)-by-\(authority)", ["-subj", "/CN=\(name)"], by: authority)
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    @discardableResult
    private func make(
        _ name: String, _ arguments: [String], by authority: String? = nil
    ) throws -> (certificate: String, key: String) {
        var arguments =
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60",
                "-keyout", path("\(name).key"), "-out", path("\(name).pem"),
            ] + arguments
        if let authority {
            arguments += ["-CA", path("\(authority).pem"), "-CAkey", path("\(authority).key")]
            arguments += ["-addext", "basicConstraints=CA:FALSE"]
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "openssl \(arguments)")
        return (path("\(name).pem"), path("\(name).key"))
    }
}
