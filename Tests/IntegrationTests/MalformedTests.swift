import FleetCore
import Foundation
import KafkaClient
import Platform
import PostgresClient
import ReadingDecoding
import Readings
import Testing

/// Malformed messages by the ten thousand. What each of them is, the tests' own reading of the contract says, whose JSON
/// grammar is compared with PostgreSQL's.
@Suite struct MalformedTests {
    private let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 600_000)

    private func reading(_ sequence: Int64, gateway: Int) throws -> Reading {
        Reading(
            gatewayID: try #require(Identifier("gw-\(gateway)")), sensorID: try #require(Identifier("hall")),
            streamID: StreamID(bits: 0xdead_beef), sequence: sequence,
            eventTime: Timestamp(milliseconds: start.milliseconds + sequence), intervalMilliseconds: 1000,
            values: [.temperature: 21.5])
    }

    /// The decoder alone: no crash, and the verdict of the contract on every one of 50,000 mutants.
    @Test(.timeLimit(.minutes(10)))
    func theDecoderJudgesAsTheContractDoes() throws {
        var mutator = Mutator(random: SeededGenerator(seed: testSeed))
        let contract = Contract(latest: start.milliseconds + 600_000)
        let decoder = ReadingDecoder()
        let now = Timestamp(milliseconds: start.milliseconds + 600_000)
        let base = try (1...50).map { try reading(Int64($0), gateway: $0 % 3) }
        var reasons: [String: Int] = [:]
        for index in 0..<50_000 {
            let mutant = mutator.mutant(of: base[index % base.count])
            let verdict = contract.verdict(mutant)
            do {
                let taken: Contract.Identity = try decode(mutant, decoder, now)
                reasons["taken", default: 0] += 1
                if verdict != .reading(taken), verdict != .either(taken) {
                    Issue.record("taken as \(taken), expected \(verdict): \(show(mutant))")
                }
            } catch let error as Rejection {
                reasons[error.reason.rawValue, default: 0] += 1
                if case .reading = verdict { Issue.record("\(error), expected \(verdict): \(show(mutant))") }
                #expect(!error.detail.isEmpty)
            }
        }
        print("MalformedTests: 50000 mutants: \(reasons.sorted { $0.key < $1.key })")
        // The generator reaches every reason that a message itself can be the cause of.
        for reason in Rejection.Reason.allCases where ![.refusedByDatabase, .sequenceConflict].contains(reason) {
            #expect(reasons[reason.rawValue, default: 0] > 0, "\(reason)")
        }
        #expect(reasons["taken", default: 0] > 2500)
    }

    private func decode(
        _ bytes: [UInt8]?, _ decoder: ReadingDecoder, _ now: Timestamp
    ) throws -> Contract.Identity {
        guard let bytes else {
            _ = try decoder.decode(nil, now: now)
            return Contract.Identity(gateway: "", stream: "", sequence: 0)
        }
        return try bytes.withUnsafeBufferPointer { bytes in
            let reading = try decoder.decode(UnsafeRawBufferPointer(bytes), now: now)
            return Contract.Identity(
                gateway: String(decoding: reading.gatewayID, as: UTF8.self), stream: "\(reading.streamID)",
                sequence: reading.sequence)
        }
    }

    private func show(_ bytes: [UInt8]?) -> String {
        bytes.map { String(decoding: $0.prefix(1500), as: UTF8.self).debugDescription } ?? "null"
    }

    /// The whole way: every message is a row, a duplicate of a row, or on the rejected topic as it was.
    @Test(Servers.areThere, .timeLimit(.minutes(10)))
    func everyMessageIsARowADuplicateOrRejected() async throws {
        let site = try await Site(partitions: 3)
        let configuration = try site.writeProcessorConfiguration()
        var mutator = Mutator(random: SeededGenerator(seed: testSeed))
        var messages: [Outgoing] = []
        var sequence: Int64 = 0
        for _ in 0..<12_000 {
            sequence += 1
            let base = try reading(sequence, gateway: Int(sequence % 5))
            let keys: [[UInt8]?] = [nil, [], Array("gw-\(sequence % 5)".utf8), [0xff, 0]]
            messages.append(
                Outgoing(key: keys[Int(sequence) % 4], value: mutator.mutant(of: base), partition: Int32(sequence % 3)))
            if sequence.isMultiple(of: 3) {
                messages.append(Outgoing(value: base.encoded(), partition: Int32(sequence % 3)))
            }
            if sequence.isMultiple(of: 7), let earlier = messages.randomElement(using: &mutator.random) {
                messages.append(
                    Outgoing(key: earlier.key, value: earlier.value, partition: Int32(sequence / 7 % 3)))
            }
        }
        let offsets = try await site.send(messages)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("everything is read", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            guard try site.value("SELECT to_regclass('consumed_offset') IS NOT NULL", as: Bool.self) else {
                return false
            }
            return try site.value("SELECT coalesce(sum(next_offset), 0)::int8 FROM consumed_offset")
                == Int64(messages.count)
        }
        let rejected = try await site.messages(of: site.rejectedTopic)
        // A batch is counted after its commit.
        try await waitUntil("all that was rejected is counted", within: .seconds(120)) {
            try await site.metric("vigie_rejected_total", of: processor) == Double(rejected.count)
        }
        // Some mutants are readings of streams that nobody else has: their ends are told, so that all can agree.
        let reports = try site.reportsOfEnds()
        try await site.send(reports)
        try await waitUntil("the reports are read", within: .seconds(120)) {
            try site.value("SELECT coalesce(sum(next_offset), 0)::int8 FROM consumed_offset")
                == Int64(messages.count + reports.count)
        }
        let peak = try peakMemory(processor)
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        #expect(peak < 400, "\(peak) MB at most")

        let rows = try rows(site)
        try account(for: messages, at: offsets, rejected: rejected, rows: rows)
        try expectTheSameGrammar(as: site.database, messages.map(\.value))

        // What came under the numbers of others are rows of their own in the end.
        let conflicts = rejected.count { $0.headers["vigie-reason"] == "sequence_conflict" }
        let redrive = try await BuiltProgram.processor.run(
            ["redrive", "--config", configuration, "--reason", "sequence_conflict"], in: site.folder)
        #expect(redrive.ending == .status(0), "\(redrive.output)")
        let again = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("the conflicts are rows", within: .seconds(120)) {
            try site.value("SELECT count(*) FROM sensor_data") == Int64(rows.count + conflicts)
        }
        again.send(SIGTERM)
        #expect(await again.ending() == .status(0), "\(again.output)")
        let verification = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verification.output.contains("everything agrees"), "\(verification.output)")
        print("MalformedTests: \(messages.count) messages, \(rejected.count) rejected, \(peak) MB at most")
        try await site.remove()
    }

    private struct Place: Hashable {
        var partition: Int32
        var offset: Int64
    }

    private func rows(_ site: Site) throws -> [Place: Contract.Identity] {
        let rows = try site.database.query(
            "SELECT kafka_partition, kafka_offset, gateway_id, stream_id, seq FROM sensor_data")
        var found: [Place: Contract.Identity] = [:]
        for row in 0..<rows.rowCount {
            found[Place(partition: try rows.value(row, 0), offset: try rows.value(row, 1))] = Contract.Identity(
                gateway: try rows.value(row, 2), stream: try rows.value(row, 3), sequence: try rows.value(row, 4))
        }
        #expect(found.count == rows.rowCount, "two rows of one message")
        return found
    }

    private func account(
        for messages: [Outgoing], at offsets: [Int64], rejected: [Site.Message], rows: [Place: Contract.Identity]
    ) throws {
        var rejectedAt: [Place: Site.Message] = [:]
        for message in rejected {
            let place = Place(
                partition: try #require(message.headers["vigie-partition"].flatMap { Int32($0) }),
                offset: try #require(message.headers["vigie-offset"].flatMap { Int64($0) }))
            #expect(rejectedAt.updateValue(message, forKey: place) == nil, "rejected twice: \(place)")
        }
        let contract = Contract(latest: start.milliseconds + 600_000)
        let stored = Set(rows.values)
        #expect(stored.count == rows.count, "one reading has two rows")
        var taken: Set<Contract.Identity> = []
        for (message, offset) in zip(messages, offsets) {
            let place = Place(partition: message.partition, offset: offset)
            let copy = rejectedAt.removeValue(forKey: place)
            let verdict = contract.verdict(message.value)
            if let copy {
                if copy.headers["vigie-reason"] == "sequence_conflict" {
                    // A mutant that is a reading, under a number that another one has.
                    switch verdict {
                    case .reading(let identity), .either(let identity): #expect(stored.contains(identity))
                    case .rejected: Issue.record("\(place) is a conflict: \(show(message.value))")
                    }
                } else if case .reading = verdict {
                    Issue.record("\(place) was rejected: \(copy.headers) \(show(message.value))")
                }
                #expect(rows[place] == nil, "\(place) is a row too")
                #expect(copy.value == message.value ?? [] && copy.isNull == (message.value == nil))
                #expect(copy.key == message.key)
                continue
            }
            switch verdict {
            case .rejected: Issue.record("\(place) was not rejected: \(show(message.value))")
            case .reading(let identity), .either(let identity):
                taken.insert(identity)
                #expect(stored.contains(identity), "\(place) is neither row nor rejected: \(show(message.value))")
                if let row = rows[place] { #expect(row == identity) }
            }
        }
        #expect(rejectedAt.isEmpty, "rejected, and never sent")
        #expect(taken == stored, "rows that nobody sent")
    }

    /// PostgreSQL's json type has the grammar of RFC 8259 and no limits of numbers.
    private func expectTheSameGrammar(as database: PostgresConnection, _ values: [[UInt8]?]) throws {
        try database.execute(
            """
            CREATE FUNCTION is_json(line text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                PERFORM line::json; RETURN true;
            EXCEPTION WHEN invalid_text_representation THEN RETURN false; WHEN statement_too_complex THEN RETURN NULL;
            END $$
            """)
        let texts = values.compactMap { value in
            value.flatMap { $0.contains(0) ? nil : String(validating: $0, as: UTF8.self) }
        }
        var compared = 0
        for start in stride(from: 0, to: texts.count, by: 1000) {
            let part = Array(texts[start..<min(start + 1000, texts.count)])
            let result = try database.query(
                "SELECT is_json(line) FROM unnest($1::text[]) WITH ORDINALITY AS l (line, n) ORDER BY n", [.array(part)]
            )
            for (row, text) in part.enumerated() {
                let (value, oddities) = StrictJSON.parse(Array(text.utf8))
                // PostgreSQL checks surrogates here already, and each of the two has its own limit of depth.
                if oddities.hasLoneSurrogate || oddities.depth > 3000 { continue }
                compared += 1
                let theirs = try result.value(row, 0, as: Bool.self)
                #expect(theirs == (value != nil), "\(text.prefix(1500).debugDescription)")
            }
        }
        #expect(compared > 5000)
    }

    /// The most memory that a process has had, in MB (proc(5), VmHWM).
    private func peakMemory(_ process: ChildProcess) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process.identifier)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
        return try #require(line.split(whereSeparator: { " \t".contains($0) }).compactMap { Int($0) }.first) / 1024
    }
}
