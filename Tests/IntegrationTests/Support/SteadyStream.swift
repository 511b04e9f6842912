import Foundation
import PostgresClient
import Testing

/// A fleet that sends at a steady rate until it is told to stop, and a processor that must live through what happens to
/// its database meanwhile.
final class SteadyStream {
    let site: Site
    let configuration: String
    private(set) var processor: ChildProcess
    private let fleet: ChildProcess
    private var others: [URL] = []
    private var manifest: URL { site.folder.appendingPathComponent("manifest.json") }

    /// Starts both, and waits for the first rows.
    init(_ site: Site, configuration: String) async throws {
        self.site = site
        self.configuration = configuration
        processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        fleet = try BuiltProgram.fleet.start(
            [
                "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--rate=400",
                "--gateways=20", "--sensors-per-gateway=2", "--count=1000000", "--seed=\(testSeed)",
                "--duplicates=0.02", "--manifest=\(site.folder.path)/manifest.json",
            ], in: site.folder)
    }

    /// Starts the processor again, which has ended.
    func restartProcessor() throws {
        processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    /// Makes the fleet pause.
    func pause() { fleet.send(SIGSTOP) }

    /// Lets the fleet go on.
    func resume() { fleet.send(SIGCONT) }

    /// Sends many readings of other streams at once.
    func burst(_ count: Int) async throws {
        let file = site.folder.appendingPathComponent("burst-\(others.count).json")
        let burst = try await BuiltProgram.fleet.run(
            [
                "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--gateways=50",
                "--count=\(count)", "--seed=\(testSeed &+ 1 &+ UInt64(others.count))", "--manifest=\(file.path)",
            ], in: site.folder)
        try #require(burst.ending == .status(0), "\(burst.output)")
        others.append(file)
    }

    /// Rows that a connection sees, which is made anew, as servers come and go.
    func rows(_ connection: String? = nil) throws -> Int64 {
        try PostgresConnection(connectionString: connection ?? site.databaseConnection, applicationName: "vigie-tests")
            .query("SELECT count(*) FROM sensor_data").value(0, 0)
    }

    /// Waits until more rows are there than now.
    func waitForProgress(_ what: String) async throws {
        // The table is made by the processor.
        var before: Int64?
        try await waitUntil("rows go on: \(what)", within: .seconds(120)) {
            try #require(processor.isRunning, "\(what): \(processor.output.suffix(4000))")
            guard let now = try? rows() else { return false }
            if before == nil { before = now }
            return now > (before ?? now)
        }
    }

    /// Something happens to the database: the processor notices, stays, and goes on when it is mended.
    /// - Parameters:
    ///   - signs: what its log must say meanwhile, one of them; none if it need not notice.
    func trouble(
        _ name: String, signs: [String],
        cause: () async throws -> Void, mend: () async throws -> Void
    ) async throws {
        let seen = processor.output.utf8.count
        let begun = ContinuousClock.now
        try await cause()
        if !signs.isEmpty {
            try await waitUntil("the processor notices \(name)", within: .seconds(120)) {
                try #require(processor.isRunning, "\(name): \(processor.output.suffix(4000))")
                let new = String(decoding: Array(processor.output.utf8.dropFirst(seen)), as: UTF8.self)
                return signs.contains { new.contains($0) }
            }
        }
        try await mend()
        try await waitForProgress(name)
        print("  \(name): rows again \(begun.duration(to: .now)) after it began")
    }

    /// Stops the fleet and waits for all that it sent; then every reading must be there once, and everything agree.
    /// - Parameter mayHaveMoved: whether the processor was stopped in between.
    func finish(mayHaveMoved: Bool = false) async throws {
        fleet.send(SIGTERM)
        #expect(await fleet.ending() == .status(0), "\(fleet.output)")
        let expected = try expectedStreams()
        let total = expected.values.reduce(0, +)
        try #require(total > 100)
        do {
            try await waitUntil("all \(total) readings are stored", within: .seconds(120), every: .milliseconds(200)) {
                try #require(processor.isRunning, "\(processor.output.suffix(4000))")
                return try rows() >= total
            }
        } catch {
            let tables = try PostgresConnection(
                connectionString: site.databaseConnection, applicationName: "vigie-tests")
            for table in ["loss", "stream_progress", "consumed_offset"] {
                let text: String = try tables.query(
                    "SELECT coalesce(string_agg(t::text, e'\\n'), 'nothing') FROM \(table) t"
                ).value(0, 0)
                print("\(table):\n\(text)")
            }
            print("\(try rows()) of \(total) rows\n\(processor.output.suffix(8000))")
            throw error
        }
        #expect(mayHaveMoved || !processor.output.contains("partitions revoked"), "the group was left in between")
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output.suffix(4000))")
        let connection = try PostgresConnection(
            connectionString: site.databaseConnection, applicationName: "vigie-tests")
        let found = try connection.query(
            """
            SELECT gateway_id || ' ' || stream_id, count(*), count(DISTINCT seq), max(seq) FROM sensor_data GROUP BY 1
            """)
        var streams: [String: Int64] = [:]
        for row in 0..<found.rowCount {
            let numbers = try (1...3).map { try found.value(row, $0, as: Int64.self) }
            #expect(Set(numbers).count == 1, "rows, numbers and the last number: \(numbers)")
            streams[try found.value(row, 0)] = numbers[0]
        }
        #expect(streams == expected)
        let verified = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verified.ending == .status(0), "\(verified.output)")
    }

    /// The last number of every stream, by what the fleet says that it produced.
    private func expectedStreams() throws -> [String: Int64] {
        struct Produced: Decodable {
            struct Stream: Decodable {
                var gateway_id: String
                var stream_id: String
                var last_seq: Int64
            }
            var streams: [Stream]
        }
        var expected: [String: Int64] = [:]
        for file in [manifest] + others {
            for stream in try JSONDecoder().decode(Produced.self, from: Data(contentsOf: file)).streams
            where stream.last_seq > 0 {
                expected["\(stream.gateway_id) \(stream.stream_id)"] = stream.last_seq
            }
        }
        return expected
    }
}

/// The resident memory of a process in MiB (proc(5), VmRSS).
func residentMemory(of process: pid_t) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
    return try #require(line.split(separator: " ").compactMap { Int($0) }.first) / 1024
}
