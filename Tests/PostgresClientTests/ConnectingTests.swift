import Testing

@testable import NetworkProbe
@testable import PostgresClient

/// What is said for libpq's texts, which are those of 15 and 17, and of PostgreSQL 15. `DatabaseTLSTests` has them of a
/// real server.
@Suite struct ConnectingTests {
    private static let lead = "connection to server at \"db.example\" (192.0.2.1), port 5432 failed: "

    private func finding(
        _ text: String, certificate: String? = nil, problem: NetworkProbe.CertificateProblem? = nil
    ) -> ConnectingReport.Finding {
        ConnectingReport(text: Self.lead + text, certificate: certificate).finding { problem }
    }

    private static let problems: [(NetworkProbe.CertificateProblem?, String?, String)] = [
        (.expired, ": it has expired", "renew the server's certificate"),
        (.notYetValid, ": it is not valid yet", "set this machine's clock"),
        (.unknownAuthority, ": nobody who is trusted vouches for it", "set sslrootcert in postgres.connection"),
        (.other(23), nil, "check the server's certificate and sslrootcert"),
        (nil, nil, "check the server's certificate and sslrootcert"),
    ]

    @Test(arguments: problems)
    func aServersCertificateIsNotBelievedForAReason(
        problem: NetworkProbe.CertificateProblem?, addition: String?, remedy: String
    ) {
        let found = finding("SSL error: certificate verify failed", problem: problem)
        #expect(found.addition == addition && found.remedy.hasPrefix(remedy), "\(found)")
    }

    /// By OpenSSL 3.0 and 3.5.
    @Test(arguments: [
        "SSL error: tlsv1 alert unknown ca", "SSL error: sslv3 alert certificate expired",
        "SSL error: ssl/tls alert certificate expired", "SSL error: sslv3 alert bad certificate",
        "SSL error: ssl/tls alert bad certificate",
    ])
    func theServerRefusesTheClientsCertificate(text: String) {
        #expect(finding(text).remedy.hasPrefix("set sslcert and sslkey in postgres.connection"))
        let unreadable = finding(text, certificate: "/nowhere/vigie.pem")
        #expect(unreadable.remedy == "check sslcert in postgres.connection: it cannot be read")
    }

    @Test(arguments: [
        ("server certificate for \"other.example\" does not match host name \"db.example\"", "set host in"),
        ("root certificate file \"/nowhere/ca.pem\" does not exist", "set sslrootcert in"),
        ("server does not support SSL, but SSL was required", "switch TLS on in the server"),
        ("FATAL:  connection requires a valid client certificate", "set sslcert and sslkey in"),
        ("FATAL:  certificate authentication failed for user \"vigie\"", "set sslcert in"),
        ("certificate does not match private key file \"/etc/vigie/x.key\": key values mismatch", "check sslcert and"),
        ("private key file \"/etc/vigie/x.key\" has group or world access; file must be 0600", "make its mode 0600"),
        ("could not read certificate file \"/etc/vigie/x.pem\": no start line", "check sslcert and sslkey"),
        ("fe_sendauth: no password supplied", "name a file with the password by passfile="),
        ("FATAL:  password authentication failed for user \"vigie\"", "check user in postgres.connection"),
        ("FATAL:  no pg_hba.conf entry for host \"h\", user \"u\", database \"v\", no encryption", "set sslmode"),
        ("FATAL:  no pg_hba.conf entry for host \"h\", user \"u\", database \"v\", SSL encryption", "allow"),
        ("FATAL:  Peer authentication failed for user \"vigie\"", "run this as the system's user"),
        ("FATAL:  role \"vigie\" does not exist", "make the role"),
        ("FATAL:  database \"vigie\" does not exist", "make the database"),
        ("FATAL:  too many connections for role \"vigie\"", "raise max_connections"),
        ("FATAL:  sorry, too many clients already", "check that PostgreSQL runs"),
        ("Connection refused; Is the server running on that host and accepting TCP/IP connections?", "check that"),
    ])
    func eachHasItsRemedy(text: String, remedy: String) {
        let found = finding(text)
        #expect(found.remedy.hasPrefix(remedy) && found.addition == nil, "\(text): \(found)")
    }

    /// The words of a server that speaks French.
    @Test func anotherLanguageGetsTheGeneralRemedy() {
        let text = "FATAL:  authentification par mot de passe échouée pour l'utilisateur « vigie »"
        #expect(finding(text).remedy.hasPrefix("check that PostgreSQL runs"))
    }

    @Test func whatLibpqRefusesIsNoTransientTrouble() {
        do throws(PostgresError) {
            _ = try PostgresConnection(
                connectionString: "host=127.0.0.1 port=9 sslmode=verify-fool", applicationName: "vigie-tests")
            Issue.record("it was taken")
        } catch {
            #expect(error.sqlState == "22023" && !error.isTransient)
            #expect(error.description.hasSuffix("invalid sslmode value; correct it in postgres.connection"))
        }
    }

    @Test func nobodyThereIsTransient() {
        do throws(PostgresError) {
            _ = try PostgresConnection(
                connectionString: "host=127.0.0.1 port=9 dbname=none", applicationName: "vigie-tests")
            Issue.record("somebody answered")
        } catch {
            #expect(error.sqlState == "08001" && error.isTransient)
            #expect(error.remedy == "check that PostgreSQL runs and takes connections there, and postgres.connection")
        }
    }

    @Test func aCertificatesTimeIsTold() {
        let certificate = NetworkProbe.Certificate(subject: "/CN=x", issuer: "/CN=y", validity: 1_000...86_400)
        #expect(certificate.complaint(at: 999) == ", which is not valid before 1970-01-01 00:16 UTC")
        #expect(certificate.complaint(at: 1_000) == nil && certificate.complaint(at: 86_400) == nil)
        #expect(certificate.complaint(at: 86_401) == ", which expired on 1970-01-02 00:00 UTC")
    }
}
