import Foundation
import Testing

/// A TLS listener before the tests' broker, which has none: it wants a client's certificate, and the password of SASL
/// PLAIN, before anything reaches the broker. `tls_gate.py` says how.
final class TLSGate {
    /// As clients know it, the same after every start.
    let bootstrap: String
    private let port: UInt16
    private let broker: UInt16
    private let authority: String
    private let passwordFile: String
    private let log: URL
    private var process: ChildProcess?

    /// - Parameters:
    ///   - broker: the port of a broker on 127.0.0.1.
    ///   - authority: who vouches for clients.
    ///   - passwordFile: `user:password`, read at every start.
    ///   - folder: takes its log.
    init(before broker: UInt16, authority: String, passwordFile: String, folder: URL) throws {
        self.broker = broker
        self.authority = authority
        self.passwordFile = passwordFile
        log = folder.appendingPathComponent("tls-gate.txt")
        port = try PrivateBroker.freePort()
        bootstrap = "localhost:\(port)"
    }

    /// Ends all connections and accepts others with this certificate.
    func start(_ server: (certificate: String, key: String)) async throws {
        await stop()
        let script = try #require(Bundle.module.url(forResource: "tls_gate", withExtension: "py"))
        let seen = (try? String(contentsOf: log, encoding: .utf8))?.count ?? 0
        let process = try ChildProcess(
            URL(fileURLWithPath: "/usr/bin/python3"),
            [script.path, "\(port)", "\(broker)", server.certificate, server.key, authority, passwordFile], log: log)
        self.process = process
        try await waitUntil("the TLS listener is ready", within: .seconds(120)) {
            try #require(process.isRunning, "\(process.output)")
            return process.output.dropFirst(seen).contains("ready")
        }
    }

    /// Ends it and all connections.
    func stop() async {
        process?.send(SIGTERM)
        await process?.ending()
        process = nil
    }
}
