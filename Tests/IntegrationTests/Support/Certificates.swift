import Foundation
import Testing

/// Two authorities and what they vouch for, made by openssl(1) in a folder. Only the first one is to be trusted.
final class Certificates {
    /// A certificate and its key: paths of PEM files.
    typealias Pair = (certificate: String, key: String)

    /// When a certificate holds.
    enum Validity {
        /// Now, and for 60 days.
        case current
        /// For the first half of the year 2020.
        case past
    }

    private let folder: URL
    private var count = 0

    /// - Parameter folder: an empty one, which stays the caller's.
    init(in folder: URL) throws {
        self.folder = folder
        for name in ["authority", "other"] {
            try request(name, ["-x509", "-days", "60"], key: "\(name).key", output: "\(name).pem")
        }
        try """
        [ca]
        default_ca = own
        [own]
        database = \(path("index.txt"))
        rand_serial = yes
        new_certs_dir = \(folder.path)
        default_md = sha256
        policy = any
        copy_extensions = copy
        unique_subject = no
        [any]
        commonName = supplied

        """.write(toFile: path("ca.conf"), atomically: true, encoding: .utf8)
        try Data().write(to: URL(fileURLWithPath: path("index.txt")))
    }

    /// The authority that clients trust.
    var authority: String { path("authority.pem") }

    /// Makes a server's certificate for a name.
    /// - Parameters:
    ///   - hasAddress: whether that of `localhost` is for its address as well.
    ///   - authority: `authority`, or `other` for one that nobody trusts.
    func server(
        _ host: String, hasAddress: Bool = true, by authority: String = "authority", valid: Validity = .current
    ) throws -> Pair {
        let names = host == "localhost" && hasAddress ? "DNS:localhost,IP:127.0.0.1" : "DNS:\(host)"
        return try issue("server", ["-addext", "subjectAltName=\(names)"], by: authority, valid)
    }

    /// Makes a client's certificate.
    func client(_ name: String, by authority: String = "authority", valid: Validity = .current) throws -> Pair {
        try issue(name, [], by: authority, valid)
    }

    /// Key and certificate in one file, as Kafka's key stores of type PEM have them.
    func keyStore(_ pair: Pair) throws -> String {
        let file = pair.certificate + ".keystore"
        let texts = try [pair.key, pair.certificate].map { try String(contentsOfFile: $0, encoding: .utf8) }
        try texts.joined().write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    private func issue(
        _ name: String, _ extensions: [String], by authority: String, _ validity: Validity
    ) throws -> Pair {
        count += 1
        let file = "\(name)-\(count)"
        try request(
            name, ["-addext", "basicConstraints=CA:FALSE"] + extensions, key: "\(file).key", output: "\(file).request")
        var arguments = ["ca", "-batch", "-notext", "-config", path("ca.conf"), "-in", path("\(file).request")]
        arguments += ["-out", path("\(file).pem"), "-cert", path("\(authority).pem")]
        arguments += ["-keyfile", path("\(authority).key")]
        switch validity {
        case .current: arguments += ["-days", "60"]
        case .past: arguments += ["-startdate", "20200101000000Z", "-enddate", "20200701000000Z"]
        }
        try openssl(arguments)
        return (path("\(file).pem"), path("\(file).key"))
    }

    /// Makes a key, and a request for a certificate or, with `-x509`, a certificate of its own.
    private func request(_ name: String, _ more: [String], key: String, output: String) throws {
        var arguments = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        arguments += ["-subj", "/CN=\(name)", "-keyout", path(key), "-out", path(output)]
        try openssl(arguments + more)
    }

    private func openssl(_ arguments: [String]) throws {
        let log = path("openssl.log")
        try Data().write(to: URL(fileURLWithPath: log))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.standardError = FileHandle(forWritingAtPath: log)
        try process.run()
        process.waitUntilExit()
        let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        try #require(process.terminationStatus == 0, "openssl \(arguments): \(said)")
    }
}
