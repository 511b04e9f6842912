import Foundation
import KafkaClient
import Testing

/// A broker of a test's own, to be ended and to lose what it has.
final class PrivateBroker {
    /// Where the program of noida-db is; `make test` says so.
    static let program = ProcessInfo.processInfo.environment["VIGIE_NOIDA"]

    /// `host:port`, the same after every start.
    let bootstrap: String
    let port: UInt16
    private let folder: URL
    private var process: ChildProcess?

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-broker-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        port = try PrivateBroker.freePort()
        bootstrap = "127.0.0.1:\(port)"
    }

    /// Starts it and waits until it answers.
    func start() async throws {
        let program = URL(fileURLWithPath: try #require(PrivateBroker.program))
        let process = try ChildProcess(
            program,
            ["start", "--data-dir", "\(folder.path)/data", "--only", "kafka", "--kafka-port", "\(port)"],
            log: folder.appendingPathComponent("broker.log"))
        self.process = process
        let admin = try KafkaAdmin(configuration: KafkaConfiguration(bootstrapServers: bootstrap))
        let deadline = ContinuousClock.now + .seconds(120)
        while (try? await admin.brokerCount(timeout: .seconds(1))) ?? 0 == 0 {
            try #require(process.isRunning && ContinuousClock.now < deadline, "\(process.output)")
        }
    }

    /// Ends it with all that it held, as a broker whose disk is gone.
    func loseEverything() async throws {
        process?.send(SIGKILL)
        await process?.ending()
        try FileManager.default.removeItem(at: folder.appendingPathComponent("data"))
    }

    /// Ends it and removes its folder.
    func remove() async throws {
        process?.send(SIGKILL)
        await process?.ending()
        try FileManager.default.removeItem(at: folder)
    }

    /// A port of loopback that nobody listens on now.
    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        try #require(result == 0)
        return UInt16(bigEndian: address.sin_port)
    }
}
