import Commands
import FleetCore
import Glibc
import KafkaClient
import Platform
import Readings

/// Sends a fleet's messages to Kafka.
struct Produce: Planned {
    static let name = "produce"
    static let summary = "Send the fleet's messages to a topic."
    static let discussion = """
        The same seed and start give the same messages, also the same streams: sent to a topic twice, the second time \
        they are duplicates. An interrupt stops it after what was sent is \
        acknowledged, for which the broker has 10 s.
        """
    static var options: [CommandOption<Produce>] {
        [
            .value(
                "bootstrap", short: "b", "SERVERS", \.bootstrap, "Kafka's host:port list; localhost:9092 by default."),
            .value("topic", short: "t", "TOPIC", \.topic, "The topic; sensor.readings by default."),
            .value("rate", short: "r", "N", \.rate, "Messages a second; 0, the default, is as fast as possible."),
            .value(
                "manifest", short: "m", "FILE", \.manifest, "Write what was produced to a file, as JSON.",
                completion: .files),
        ] + PlanOptions.options()
    }

    static let receivesSignals = true
    var bootstrap = "localhost:9092"
    var topic = "sensor.readings"
    var rate = 0.0
    var manifest: String?
    var plan = PlanOptions()

    func run() async throws {
        guard rate >= 0 else { throw UsageError("--rate: expected 0 or more, found \(rate)") }
        let generated = try FleetGenerator(try plan.plan(rate: rate, now: SystemWallClock().now()))
        let signals = try signalStream([SIGTERM, SIGINT])
        let producer = FleetProducer(
            configuration: KafkaConfiguration(bootstrapServers: bootstrap), topic: topic, rate: rate)
        let clock = ContinuousClock()
        let start = clock.now
        let sending = Task {
            var generator = generated
            try await producer.run(&generator, clock: clock)
            return generator
        }
        let listening = Task { for await _ in signals { sending.cancel() } }
        defer { listening.cancel() }
        let generator = try await sending.value
        let seconds = (clock.now - start) / .seconds(1)
        let produced = generator.manifest
        // Nobody goes on with these streams: the next fleet has its own.
        try await producer.send(produced.reports, isStopping: sending.isCancelled)
        if let manifest { try writeFile(produced.json, to: manifest) }
        let malformed = produced.malformed.values.reduce(0, +)
        print(
            """
            \(produced.messages) messages to \(topic) in \(tenths(seconds)) s \
            (\(Int(Double(produced.messages) / max(seconds, 1e-6))) messages/s): \(produced.readings) readings, \
            \(produced.duplicates) duplicates, \(produced.conflicts) conflicts, \(malformed) malformed; \
            \(produced.reportsBetween + produced.reports.count) reports; seed \(produced.seed), \
            start \(generator.plan.start)
            """)
    }

    private func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}

private func writeFile(_ text: String, to path: String) throws(SystemError) {
    let file = try systemCall("open", path) { open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644) }
    do throws(SystemError) {
        try writeAll(Array(text.utf8), to: file, path)
    } catch {
        close(file)
        throw error
    }
    // Some file systems report a failed write only here.
    try systemCall("close", path) { close(file) }
}

/// Writes all bytes to a descriptor.
/// - Parameter name: what the descriptor is, for the error.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, _ name: String) throws(SystemError) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = try systemCall("write", name) {
            rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
    }
}
