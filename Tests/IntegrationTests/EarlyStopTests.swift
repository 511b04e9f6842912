import Foundation
import Platform
import Testing

/// A stop that is asked for while a program starts, or before it could start, ends it in order: with status 0, and never
/// by the signal itself.
///
/// The time before the program's own first instruction belongs to the dynamic loader (10 to 30 ms of a debug build) and
/// cannot be covered, so a signal is sent no sooner than the program handles it.
@Suite(Servers.areThere) struct EarlyStopTests {
    private static let starts = 30

    /// The longest that such a stop may take. It takes milliseconds; the rest is for a loaded machine.
    private static let bound = Duration.seconds(15)

    @Test(.timeLimit(.minutes(10)))
    func everyProgramEndsInOrderHoweverEarlyItIsTold() async throws {
        let site = try await Site(partitions: 2)
        let gateway = try site.write(
            "gateway.yaml",
            """
            gateway: {id: brief}
            mode: simulated
            outbox: {path: "\(site.folder.path)/outbox.sqlite"}
            kafka: {bootstrap: "\(site.kafka.bootstrapServers)", topic: \(site.topic)}
            monitoring: {listen: "127.0.0.1:0"}
            stations:
              - {sensor_id: one, interval: 100ms, chips: [{type: bme280}]}

            """)
        let checked = try await BuiltProgram.gateway.run(["check", "--config", gateway], in: site.folder)
        try #require(checked.ending == .status(0), "\(checked.output)")
        let processor = try site.writeProcessorConfiguration()
        let fleet = [
            "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--rate=100",
            "--count=100000", "--seed=\(testSeed)",
        ]
        var random = SeededGenerator(seed: testSeed)
        for (program, arguments) in [
            (BuiltProgram.gateway, ["run", "--config", gateway]),
            (.processor, ["run", "--config", processor]), (.fleet, fleet),
        ] {
            try await expectOrderlyStops(of: program, arguments, in: site.folder, &random)
        }
        try await site.remove()
    }

    /// Its port is closed, so that the processor tries again and again.
    @Test(.timeLimit(.minutes(10)))
    func aProcessorThatWaitsForItsDatabaseEndsInOrder() async throws {
        let site = try await Site(partitions: 1)
        let nowhere = try site.makeFolder("nowhere").path
        let configuration = try site.writeProcessorConfiguration(connection: "host=\(nowhere) dbname=none")
        var random = SeededGenerator(seed: testSeed &+ 1)
        try await expectOrderlyStops(of: .processor, ["run", "--config", configuration], in: site.folder, &random)

        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        let before = processor.output.count
        try await waitUntil("it waits", within: .seconds(120)) {
            processor.output.dropFirst(before).contains("the database is away, waiting for it")
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        #expect(processor.output.contains("stopping before the services have started"))
        try await site.remove()
    }

    /// A subcommand that does its work and exits is ended by a signal, as other tools are.
    @Test(.timeLimit(.minutes(2)))
    func aSubcommandThatDoesNotReceiveSignalsIsEndedByThem() async throws {
        let site = try await Site(partitions: 1)
        let nowhere = try site.makeFolder("nowhere").path
        let configuration = try site.writeProcessorConfiguration(connection: "host=\(nowhere) dbname=none")
        let migration = try BuiltProgram.processor.start(["migrate", "--config", configuration], in: site.folder)
        try await waitUntil("it waits", within: .seconds(60)) { migration.output.contains("the database is away") }
        migration.send(SIGTERM)
        #expect(await migration.ending() == .signal(SIGTERM))
        try await site.remove()
    }

    private func expectOrderlyStops(
        of program: BuiltProgram, _ arguments: [String], in folder: URL, _ random: inout SeededGenerator
    ) async throws {
        var slowest = Duration.zero
        for start in 1...Self.starts {
            let delay = Int.random(in: 0...400, using: &random)
            let process = try program.start(arguments, in: folder)
            try await waitUntil("\(program) handles SIGTERM", within: .seconds(60), every: .milliseconds(1)) {
                try #require(process.isRunning, "\(program) \(start): \(process.output)")
                return try handlesTermination(process.identifier)
            }
            try await Task.sleep(for: .milliseconds(delay))
            let told = ContinuousClock.now
            process.send(SIGTERM)
            let ending = await process.ending()
            slowest = max(slowest, told.duration(to: .now))
            #expect(ending == .status(0), "\(program) \(start), told after \(delay) ms: \(process.output)")
        }
        print("  \(program.rawValue): \(Self.starts) stops, the slowest took \(slowest)")
        #expect(slowest < Self.bound)
    }

    /// Whether a process catches SIGTERM: /proc/PID/status, SigCgt (proc(5)).
    private func handlesTermination(_ process: pid_t) throws -> Bool {
        let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("SigCgt:") }),
            let mask = UInt64(line.dropFirst("SigCgt:".count).trimmingCharacters(in: .whitespaces), radix: 16)
        else { return false }
        return mask & 1 << UInt64(SIGTERM - 1) != 0
    }
}
