import Foundation
import KafkaClient
import Platform
import Testing

/// Apache Kafka of a test's own, one node or three: to be stopped, killed, paused and set back, with the listeners that
/// the test asks for. The program `vigie-kafka run` starts it and obeys one JSON command a line (its `--help` lists
/// them); it takes its nodes with it when this process ends.
final class ApacheKafka {
    /// Where `vigie-kafka` is; `make test` says so where Apache Kafka can be had.
    static let program = ProcessInfo.processInfo.environment["VIGIE_KAFKA_NODE"].map { URL(fileURLWithPath: $0) }

    /// How it starts.
    struct Options {
        /// 1, or 3 for a cluster.
        var nodes = 1
        /// More arguments of `vigie-kafka run`.
        var arguments: [String] = []
        /// Properties of every node.
        var properties: [String: String] = [:]
    }

    /// Where clients reach it, the same after every start of a node.
    let bootstrap: String
    /// The nodes' own listener, which neither TLS nor names nor rights protect.
    let innerBootstrap: String
    private let folder: URL
    private let process: ChildProcess
    private let input: Int32
    private var answers = 1

    /// Makes it, starts it, and waits until it answers.
    init(_ options: Options = Options()) async throws {
        let program = try #require(ApacheKafka.program)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-kafka-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // Only the child inherits an end: at the end of its input it ends too, however this process ended.
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe") { pipe(&ends) }
        for end in ends { try systemCall("fcntl") { fcntl(end, F_SETFD, FD_CLOEXEC) } }
        defer { close(ends[0]) }
        var arguments = ["run", "--folder=\(folder.path)/nodes", "--nodes=\(options.nodes)"] + options.arguments
        arguments += options.properties.sorted { $0.key < $1.key }.map { "--property=\($0.key)=\($0.value)" }
        let process = try ChildProcess(
            program, arguments, log: folder.appendingPathComponent("vigie-kafka.log"), input: ends[0])
        try await waitUntil("Apache Kafka is ready", within: .seconds(120)) {
            try #require(process.isRunning, "\(process.output)")
            return ApacheKafka.answers(of: process).count == 1
        }
        let ready = try ApacheKafka.object(ApacheKafka.answers(of: process)[0])
        bootstrap = try #require(ready["bootstrap"] as? String, "\(ready)")
        innerBootstrap = try #require(ready["inner_bootstrap"] as? String, "\(ready)")
        self.folder = folder
        self.process = process
        input = ends[1]
    }

    deinit {
        close(input)
    }

    /// Ends all nodes and removes their folders.
    func remove() async throws {
        process.send(SIGTERM)
        let ending = await process.ending()
        #expect(ending == .status(0), "\(process.output)")
        try FileManager.default.removeItem(at: folder)
    }

    // MARK: Nodes, by their numbers from 1

    /// Starts one that does not run, and waits until it serves.
    func start(_ node: Int) async throws { try await command("start", node) }

    /// Ends one in order.
    func stop(_ node: Int) async throws { try await command("stop", node) }

    /// Ends one by SIGKILL.
    func kill(_ node: Int) async throws { try await command("kill", node) }

    /// Lets one hang.
    func pause(_ node: Int) async throws { try await command("pause", node) }

    /// Lets one go on that hangs.
    func resume(_ node: Int) async throws { try await command("resume", node) }

    /// Keeps a copy of what a node that does not run has on its disk.
    func copyLogs(of node: Int) async throws { try await command("copy", node) }

    /// Sets a node that does not run back to its copy.
    func restoreLogs(of node: Int) async throws { try await command("restore", node) }

    /// Gives all nodes properties that hold from the next start of each.
    func configure(_ properties: [String: String]) async throws { try await command("configure", properties) }

    // MARK: Users and rights

    /// Gives a user the password that is the content of a file.
    func changePassword(of user: String, to file: String) async throws {
        try await command("user", user, ["password_file": file])
    }

    /// Grants a user an operation on a topic, such as `write`, or `all`.
    func allow(_ user: String, _ operation: String, topic: String) async throws {
        try await command("grant", user, ["operation": operation, "topic": topic])
    }

    /// Grants a user an operation on a group.
    func allow(_ user: String, _ operation: String, group: String) async throws {
        try await command("grant", user, ["operation": operation, "group": group])
    }

    /// Denies an operation on a topic, whatever is granted.
    func forbid(_ user: String, _ operation: String, topic: String) async throws {
        try await command("deny", user, ["operation": operation, "topic": topic])
    }

    /// Takes back what was granted or denied.
    func withdraw(_ user: String, _ operation: String, topic: String) async throws {
        try await command("revoke", user, ["operation": operation, "topic": topic])
    }

    // MARK: Limits and proxies

    /// Limits every client to so many bytes a second; nil takes a limit away.
    func limit(producing: Int? = nil, consuming: Int? = nil) async throws {
        let limits: [String: Any] = [
            "producer_byte_rate": producing as Any? ?? NSNull(), "consumer_byte_rate": consuming as Any? ?? NSNull(),
        ]
        try await command("quota", limits, ["client_id": "<default>"])
    }

    /// What happens to connections that a proxy passes on.
    enum Fault {
        /// Those that are open end in order.
        case cut
        /// Those that are open are reset.
        case reset
        /// None comes about.
        case refuse
        /// Everything comes so much later.
        case delay(seconds: Double)
        /// So much comes through.
        case throttle(bytesPerSecond: Int)
        /// What comes is accepted, and goes nowhere.
        case swallow
        /// Nothing any more.
        case heal

        fileprivate var members: [String: Any] {
            switch self {
            case .cut: ["fault": "cut"]
            case .reset: ["fault": "reset"]
            case .refuse: ["fault": "refuse"]
            case .delay(let seconds): ["fault": "delay", "seconds": seconds]
            case .throttle(let rate): ["fault": "throttle", "bytes_per_second": rate]
            case .swallow: ["fault": "swallow"]
            case .heal: ["fault": "heal"]
            }
        }
    }

    /// Tells the proxies before all nodes what to do. They are there with argument `--via-proxy`, and then clients reach
    /// the nodes through them.
    func disturb(_ fault: Fault) async throws { try await command("proxy", "all", fault.members) }

    // MARK: Topics

    /// Who holds a partition.
    struct Partition {
        /// The node that leads it; -1 for none.
        var leader: Int
        /// The nodes that have all that is acknowledged.
        var inSync: [Int]
    }

    /// What the cluster says of a topic's partition.
    func partition(_ topic: String, _ number: Int = 0) async throws -> Partition {
        let answer = try await command("describe", topic)
        let partitions = try #require(answer["partitions"] as? [[String: Any]], "\(answer)")
        let found = try #require(partitions.first { $0["partition"] as? Int == number }, "\(answer)")
        return Partition(
            leader: try #require(found["leader"] as? Int, "\(answer)"),
            inSync: try #require(found["in_sync"] as? [Int], "\(answer)"))
    }

    /// Waits until the cluster says something of a topic's first partition.
    func waitForPartition(_ topic: String, _ what: String, _ condition: (Partition) -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            let found = try await partition(topic)
            if condition(found) { return }
            try #require(ContinuousClock.now < deadline, "not within 120 s: \(topic) \(what), but \(found)")
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Sets a topic's settings.
    func alter(_ topic: String, _ settings: [String: String]) async throws {
        try await command("alter_topic", topic, ["settings": settings])
    }

    // MARK: Commands

    /// Gives a command, with what it is about and with what belongs to it, and waits until it is obeyed.
    /// - Returns: the answer.
    @discardableResult
    private func command(_ name: String, _ object: Any, _ more: [String: Any] = [:]) async throws -> [String: Any] {
        // The command comes first, which a dictionary does not promise.
        func json(_ value: [String: Any]) throws -> Substring {
            String(decoding: try JSONSerialization.data(withJSONObject: value), as: UTF8.self).dropFirst().dropLast()
        }
        let members = try [json([name: object])] + (more.isEmpty ? [] : [json(more)])
        let text = "{\(members.joined(separator: ","))}\n"
        let written = Array(text.utf8).withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
        try #require(written == text.utf8.count, "\(text): errno \(errno)")
        answers += 1
        try await waitUntil("vigie-kafka has obeyed \(text)", within: .seconds(120), every: .milliseconds(5)) {
            try #require(process.isRunning, "\(process.output)")
            return ApacheKafka.answers(of: process).count >= answers
        }
        let answer = ApacheKafka.answers(of: process)[answers - 1]
        let object = try ApacheKafka.object(answer)
        try #require(object["error"] == nil, "\(text)\(answer)")
        return object
    }

    /// The whole lines of its output that are JSON, the first of which says that all is ready.
    private static func answers(of process: ChildProcess) -> [Substring] {
        process.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().filter { $0.hasPrefix("{") }
    }

    private static func object(_ text: Substring) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }
}
