import CPostgres
import Glibc
import NetworkProbe
import Platform

extension PostgresError: ErrorWithExitStatus {
    /// Settings that libpq refuses are wrong after a restart, too.
    public var exitStatus: Int32 { sqlState == "22023" && sql.isEmpty ? ExitStatus.configuration : ExitStatus.failure }
}

extension PostgresError {
    /// Why no connection came about, with what to do about it. Blocks for some seconds at most: what libpq does not tell
    /// of a certificate is found out by another handshake.
    init(failed connection: OpaquePointer) {
        let report = ConnectingReport(connection)
        let finding = report.finding { report.serverCertificateProblem() }
        self.init(
            // A setting that libpq refuses is as wrong the next time.
            sqlState: report.isRefusedByLibpq ? "22023" : "08001", severity: "FATAL",
            message: report.text + (finding.addition ?? ""), remedy: finding.remedy)
    }
}

/// What libpq says of a connection that did not come about, and of the settings that it was made with.
///
/// libpq gives neither a number nor an SQLSTATE here, so its words decide, which are not translated in this program, and
/// those of the server, which are in the language of its `lc_messages`: in another one than English the remedy is the
/// general one.
struct ConnectingReport {
    /// What was found out.
    struct Finding: Equatable {
        /// What libpq's text leaves open, to be put behind it.
        var addition: String?
        /// What to do.
        var remedy: String

        init(_ remedy: String, addition: String? = nil) {
            self.addition = addition
            self.remedy = remedy
        }
    }

    /// libpq's text, on one line; of several hosts all that it said.
    var text: String
    /// The name by which the last host was called.
    var host: String
    /// Its address, if the settings name one.
    var address: String
    var port: UInt16
    /// The client's certificate, if the settings name one.
    var certificate: String?
    /// Who is trusted; nil for libpq's own choice.
    var authorities: String?

    /// Asks a failed connection.
    init(_ connection: OpaquePointer) {
        func string(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
        text = errorText(of: connection)
        host = string(PQhost(connection))
        address = string(PQhostaddr(connection))
        port = UInt16(string(PQport(connection))) ?? 5432
        guard let options = PQconninfo(connection) else { return }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            let value = string(option.pointee.val)
            switch String(cString: keyword) {
            case "sslcert" where !value.isEmpty: certificate = value
            case "sslrootcert" where !value.isEmpty: authorities = value
            default: break
            }
            option += 1
        }
    }

    init(text: String, certificate: String? = nil) {
        self.text = text
        self.certificate = certificate
        (host, address, port) = ("", "", 5432)
    }

    /// A value that no connection can be tried with, such as `invalid sslmode value: "verify-fool"`.
    var isRefusedByLibpq: Bool { text.hasPrefix("invalid ") }

    /// What to do.
    /// - Parameter certificateProblem: finds out why the server's certificate is not believed; nil if it cannot be.
    func finding(_ certificateProblem: () -> NetworkProbe.CertificateProblem?) -> Finding {
        if isRefusedByLibpq { return Finding("correct it in postgres.connection") }
        return server(certificateProblem) ?? client() ?? access()
    }

    // MARK: The server's certificate

    private func server(_ certificateProblem: () -> NetworkProbe.CertificateProblem?) -> Finding? {
        if text.contains("certificate verify failed") {
            switch certificateProblem() {
            case .expired?:
                return Finding(
                    "renew the server's certificate; if it is valid, set this machine's clock: timedatectl",
                    addition: ": it has expired")
            case .notYetValid?:
                return Finding(
                    "set this machine's clock: timedatectl; if it is right, renew the server's certificate",
                    addition: ": it is not valid yet")
            case .unknownAuthority?:
                return Finding(
                    "set sslrootcert in postgres.connection to the authority of the server's certificate",
                    addition: ": nobody who is trusted vouches for it")
            case .otherName?, .other?, nil:
                return Finding(
                    "check the server's certificate and sslrootcert in postgres.connection:"
                        + " openssl s_client -starttls postgres -connect HOST:PORT -CAfile FILE")
            }
        }
        if text.contains("does not match host name") {
            return Finding(
                "set host in postgres.connection to a name that the server's certificate is for (hostaddr is then its"
                    + " address), or give the server one for this name")
        }
        if text.contains("root certificate file") {
            return Finding("set sslrootcert in postgres.connection to the PEM file of the server's authority")
        }
        if text.contains("server does not support SSL") {
            return Finding("switch TLS on in the server: ssl, ssl_cert_file and ssl_key_file in postgresql.conf")
        }
        return nil
    }

    /// Makes a handshake of its own with the server, whose libpq says only that its certificate is not believed.
    func serverCertificateProblem() -> NetworkProbe.CertificateProblem? {
        let bound = Duration.seconds(3)
        guard !host.hasPrefix("/"),
            let addresses = try? NetworkProbe.resolve(address.isEmpty ? host : address, port: port),
            let connection = try? NetworkProbe.connect(addresses, bound: bound),
            // SSLRequest (PostgreSQL manual, "Message Formats"); the server answers S if it speaks TLS.
            (try? NetworkProbe.exchange([0, 0, 0, 8, 4, 210, 22, 47], on: connection)) == UInt8(ascii: "S")
        else { return nil }
        let own = getenv("HOME").map { String(cString: $0) + "/.postgresql/root.crt" }
        let handshake = NetworkProbe.handshake(
            on: connection, host: host, authorities: authorities == "system" ? nil : authorities ?? own,
            certificate: nil, key: nil)
        guard handshake.verification != 0 else { return nil }
        return NetworkProbe.CertificateProblem(code: Int32(clamping: handshake.verification))
    }

    // MARK: The client's certificate

    private func client() -> Finding? {
        if text.contains("requires a valid client certificate") {
            return Finding(
                "set sslcert and sslkey in postgres.connection: the server lets nobody in without a certificate")
        }
        if text.contains("certificate authentication failed") {
            let subject = certificate.flatMap { try? NetworkProbe.certificate(in: $0) }?.subject
            return Finding(
                "set sslcert in postgres.connection to a certificate whose common name (CN) is that of the role, or let"
                    + " the server map it in pg_ident.conf",
                addition: subject.map { ", with a certificate for \($0)" })
        }
        if text.contains("private key file") || text.contains("certificate file") {
            let mode = text.contains("group or world access") ? "make its mode 0600; " : ""
            return Finding("\(mode)check sslcert and sslkey in postgres.connection, and that they belong together")
        }
        guard let alert = text.ranges(of: " alert ").last?.upperBound else { return nil }
        let reason = text[alert...]
        guard reason.contains("certificate") || reason.hasPrefix("unknown ca") else { return nil }
        guard let file = certificate else {
            return Finding("set sslcert and sslkey in postgres.connection: the server refuses the certificate in use")
        }
        guard let own = try? NetworkProbe.certificate(in: file) else {
            return Finding("check sslcert in postgres.connection: it cannot be read")
        }
        if let complaint = own.complaint(at: Int64(time(nil))) {
            return Finding(
                "renew it (sslcert in postgres.connection); if it is valid, set this machine's clock: timedatectl",
                addition: ": the server refuses the certificate in \(file)\(complaint)")
        }
        return Finding(
            "let the server trust that authority (ssl_ca_file), or set sslcert in postgres.connection to a certificate of"
                + " one that it trusts",
            addition: ": the server refuses the certificate in \(file), for \(own.subject) by \(own.issuer)")
    }

    // MARK: Rights, and all else

    private func access() -> Finding {
        let line = "HOST:PORT:DATABASE:USER:PASSWORD"
        let remedies = [
            (
                "password authentication failed",
                "check user in postgres.connection, and the password in the file that passfile= names, in a line \(line)"
            ),
            (
                "no password supplied",
                "name a file with the password by passfile= in postgres.connection; its mode is 0600, and one of its lines"
                    + " is \(line), where HOST is that of postgres.connection"
            ),
            (
                "no encryption",
                "set sslmode=verify-full in postgres.connection, or allow it without TLS in the server's pg_hba.conf"
            ),
            ("pg_hba.conf", "allow this user, database and address in the server's pg_hba.conf"),
            (
                "eer authentication failed",
                "run this as the system's user of that name, or map it in the server's pg_ident.conf"
            ),
            ("channel binding", "let the server take scram-sha-256 in pg_hba.conf, and come by TLS"),
            ("too many connections", "raise max_connections of the server, or the limit of the role"),
            ("connection slots", "raise max_connections of the server, or end some of its sessions"),
            ("role \"", "make the role, and let it log in: documentation/roles.sql"),
            ("database \"", "make the database, and let the role connect to it: documentation/roles.sql"),
            ("could not translate host name", "check host in postgres.connection, and the name server: getent hosts"),
        ]
        let found = remedies.first { text.contains($0.0) }?.1
        return Finding(found ?? "check that PostgreSQL runs and takes connections there, and postgres.connection")
    }
}
