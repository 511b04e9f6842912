import Alerting
import Foundation
import KafkaClient
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// What reports make of the tables, on a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct ReportDatabaseTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init() throws {
        connection = try makeDatabase(partitions: 1)
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 120_000))
    }

    /// A processor with its memory, which reads messages one batch after the other.
    private final class Reader {
        var cache: [String: GatewayState] = [:]
        var offset: Int64 = 0
        var seconds: Int64 = 0
    }

    private func reading(_ number: Int64, of stream: UInt64, from first: Int64?, gateway: String = "g") throws
        -> [UInt8]
    {
        Reading(
            gatewayID: try #require(Identifier(gateway)), sensorID: Identifier(constant: "s"),
            streamID: StreamID(bits: stream), sequence: number, streamFirst: first,
            eventTime: Timestamp(milliseconds: start.milliseconds + number * 1000), intervalMilliseconds: 1000,
            values: [.temperature: 20]
        ).encoded()
    }

    private func report(
        _ streams: [GatewayReport.Stream] = [], gaps: [GatewayReport.Gap] = [], gateway: String = "g"
    ) throws -> [[UInt8]] {
        GatewayReport(gatewayID: try #require(Identifier(gateway)), streams: streams, gaps: gaps).encoded()
    }

    private func batch(_ messages: [[UInt8]], from offset: Int64) throws -> ReadingBatch {
        try ReadingBatch(decoding: messages, from: offset, start: start, connection)
    }

    @discardableResult
    private func write(_ messages: [[UInt8]], _ reader: Reader, rules: AlertRules = AlertRules()) throws -> BatchSummary
    {
        let batch = try batch(messages, from: reader.offset)
        reader.seconds += 1
        let summary = try BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: rules,
            now: Timestamp(milliseconds: start.milliseconds + reader.seconds * 1000), updateInterval: 0
        ).write(batch, cache: &reader.cache)
        reader.offset += Int64(messages.count)
        return summary
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    private var losses: String {
        get throws {
            try text(
                """
                SELECT string_agg(right(stream_id, 1) || ':' || first_seq || '-' || last_seq || ' ' || reason, ', '
                    ORDER BY stream_id, first_seq) FROM loss
                """)
        }
    }

    private var streams: String {
        get throws {
            try text(
                """
                SELECT string_agg(concat_ws(' ', right(stream_id, 1), first_seq, last_seq, coalesce(end_seq::text, '-'),
                    right(previous_stream_id, 1), previous_known, lost), ', ' ORDER BY stream_id) FROM stream_progress
                """)
        }
    }

    private func verify() throws -> Certificate {
        try Verification(connection: connection, windows: policy.specifications).run()
    }

    @Test func aStartTellsTheLostTailAndItsReason() throws {
        let reader = Reader()
        try write([reading(1, of: 1, from: nil), reading(2, of: 1, from: nil)], reader)
        // The gateway starts anew: the first stream had five numbers, of which the queue lost two.
        let told = try report(
            [
                .init(streamID: StreamID(bits: 1), first: 1, last: 5),
                .init(streamID: StreamID(bits: 2), first: 6, previous: StreamID(bits: 1)),
            ], gaps: [.init(streamID: StreamID(bits: 1), reason: .stopped, ranges: [4...5])])
        let summary = try write(told + [reading(6, of: 2, from: 6)], reader)
        #expect(summary.reports == 1 && summary.rows == 1 && summary.missing == 3)
        #expect(try losses == "1:3-3 unknown, 1:4-5 stopped")
        #expect(try streams == "1 1 5 5 t 3, 2 6 6 - 1 t 0")
        let certificate = try verify()
        #expect(certificate.isGood && certificate.losses == ["unknown": 1, "stopped": 2], "\(certificate)")
        #expect(certificate.rows == 3 && certificate.openStreamCount == 0)
        // Again, by a processor that has nothing in memory, and then what was given up comes after all.
        reader.cache = [:]
        try write(told, reader)
        #expect(try write([reading(4, of: 1, from: nil)], reader).missing == -1)
        #expect(try losses == "1:3-3 unknown, 1:5-5 stopped")
        #expect(try streams == "1 1 5 5 t 2, 2 6 6 - 1 t 0")
        #expect(
            try text("SELECT before_time IS NULL AND after_time IS NOT NULL FROM loss WHERE first_seq = 5") == "true")
        #expect(try verify().isGood)
    }

    @Test func whatIsToldTwiceChangesNothing() throws {
        let reader = Reader()
        let told = try report(
            (1...3).map { .init(streamID: StreamID(bits: $0), first: Int64($0) * 10, last: Int64($0) * 10 + 9) },
            gaps: [.init(streamID: StreamID(bits: 2), reason: .thinned, ranges: [20...24])])
        try write(told, reader)
        let before = try text("SELECT string_agg(stream_progress::text, ',' ORDER BY stream_id) FROM stream_progress")
        #expect(try write(told + told, reader).missing == 0)
        #expect(
            try text("SELECT string_agg(stream_progress::text, ',' ORDER BY stream_id) FROM stream_progress") == before,
            "no row is written for what is known")
        #expect(try losses == "1:10-19 unknown, 2:20-24 thinned, 2:25-29 unknown, 3:30-39 unknown")
    }

    /// The same messages in three orders and portions, each for a gateway of its own.
    @Test func theOrderDoesNotMatter() throws {
        func messages(_ gateway: String) throws -> [[UInt8]] {
            try [
                report([.init(streamID: StreamID(bits: 1), first: 3)], gateway: gateway)[0],
                reading(3, of: 1, from: 3, gateway: gateway), reading(5, of: 1, from: 3, gateway: gateway),
                report(
                    gaps: [.init(streamID: StreamID(bits: 1), reason: .droppedOldest, ranges: [4...4, 6...8])],
                    gateway: gateway)[0],
                reading(9, of: 1, from: 3, gateway: gateway), reading(7, of: 1, from: 3, gateway: gateway),
                report(
                    [
                        .init(streamID: StreamID(bits: 1), first: 3, last: 12),
                        .init(streamID: StreamID(bits: 2), first: 13, previous: StreamID(bits: 1)),
                    ], gateway: gateway)[0],
                reading(13, of: 2, from: 13, gateway: gateway),
            ]
        }
        let reader = Reader()
        for message in try messages("a") { try write([message], reader) }
        try write(try messages("b").reversed(), reader)
        let shuffled = try messages("c").shuffled()
        try write(Array(shuffled[..<4]), reader)
        reader.cache = [:]
        try write(Array(shuffled[4...]), reader)
        let all = """
            SELECT count(DISTINCT rows) || ' ' || min(rows) FROM (
                SELECT string_agg(concat_ws(' ', right(stream_id, 1), first_seq, last_seq, reason), ', '
                    ORDER BY stream_id, first_seq) AS rows FROM loss GROUP BY gateway_id) l
            """
        let expected = "1 4 4 dropped_oldest, 1 6 6 dropped_oldest, 1 8 8 dropped_oldest, 1 10 12 unknown"
        #expect(try text(all) == "1 \(expected)")
        #expect(
            try text(
                """
                SELECT count(DISTINCT (stream_id, first_seq, last_seq, end_seq, previous_stream_id, lost))
                FROM stream_progress
                """) == "2")
        #expect(try verify().isGood)
    }

    @Test func aGapWithoutNumbersSaysNothing() throws {
        let reader = Reader()
        try write(report(gaps: [.init(streamID: StreamID(bits: 1), reason: .thinned, ranges: [])]), reader)
        #expect(try streams == "null")
        try write([reading(11, of: 1, from: 11)], reader)
        #expect(try streams == "1 11 11 - f 0")
    }

    /// Two processors meet on one gateway, as after partitions were added.
    @Test func copiesOfWhatReportsSayAreNoticed() throws {
        let (mine, other) = (Reader(), Reader())
        try write([reading(1, of: 1, from: nil)], mine)
        other.offset = mine.offset
        try write(
            report([
                .init(streamID: StreamID(bits: 1), first: 1, last: 4), .init(streamID: StreamID(bits: 2), first: 5),
            ]),
            other)
        mine.offset = other.offset
        #expect(try write([reading(2, of: 1, from: nil), reading(5, of: 2, from: 5)], mine).missing == -1)
        #expect(try losses == "1:3-4 unknown")
        other.offset = mine.offset
        try write([reading(6, of: 2, from: 5)], other)
        #expect(try streams == "1 1 4 4 t 2, 2 5 6 - t 0")
        #expect(try verify().isGood)
    }

    // MARK: Certificates

    @Test func aCopyDoesNotEndAStream() throws {
        let reader = Reader()
        try write((1...8).map { try reading($0, of: 1, from: nil) }, reader)
        #expect(try verify().isGood, "one open stream is usual")
        // A backup with five readings is restored and begins its next stream.
        let told = try report([
            .init(streamID: StreamID(bits: 1), first: 1, last: 5),
            .init(streamID: StreamID(bits: 2), first: 6, previous: StreamID(bits: 1)),
        ])
        try write(told + [reading(6, of: 2, from: 6)], reader)
        let certificate = try verify()
        #expect(!certificate.isGood && certificate.mismatchCount == 0)
        #expect(
            certificate.openStreams == [
                """
                g has 2 open streams: 0000000000000001 (1 to 8, but a report ends it with 5, as a copy of the outbox \
                would), \
                0000000000000002 (6 to 6)
                """
            ])
        // Also if the original tells how far it went: what else was on it nobody knows.
        try write(report([.init(streamID: StreamID(bits: 1), first: 1, last: 9)]), reader)
        #expect(try !verify().isGood)
        #expect(try losses == "1:9-9 unknown")
    }

    @Test func aReadingAfterTheEndOpensTheStream() throws {
        let reader = Reader()
        try write([reading(1, of: 1, from: nil)], reader)
        try write(
            report([
                .init(streamID: StreamID(bits: 1), first: 1, last: 1), .init(streamID: StreamID(bits: 2), first: 2),
            ]),
            reader)
        #expect(try verify().isGood)
        try write([reading(2, of: 1, from: nil)], reader)
        #expect(try verify().openStreams.map { $0.prefix(20) } == ["g has 2 open streams"])
    }

    @Test func aStreamOfWhichNobodyKnowsWhatCameBeforeIsNamed() throws {
        let reader = Reader()
        try write([reading(101, of: 1, from: 101)], reader)
        let certificate = try verify()
        #expect(!certificate.isGood)
        #expect(
            certificate.openStreams == [
                "g stream 0000000000000001 (101 to 101): no report says which stream came before 101"
            ])
        try write(report([.init(streamID: StreamID(bits: 1), first: 101)]), reader)
        #expect(try verify().isGood)
    }

    @Test func twoBoardsWithOneNameAreNamed() throws {
        let reader = Reader()
        for number in Int64(1)...3 {
            try write([reading(number, of: 1, from: nil)], reader)
            try write([reading(number, of: 2, from: nil)], reader)
        }
        let text = "0000000000000001 and 0000000000000002 sent at the same time: two boards with this gateway_id"
        let certificate = try verify()
        #expect(certificate.openStreams.contains { $0.contains(text) }, "\(certificate)")
        // A file that was deleted by hand: the one stops before the other begins.
        let other = Reader()
        (other.offset, other.seconds) = (reader.offset, 100)
        for stream in UInt64(7)...8 {
            for number in Int64(1)...3 { try write([reading(number, of: stream, from: nil, gateway: "h")], other) }
        }
        let found = try verify()
        #expect(found.openStreamCount == 2)
        #expect(found.openStreams.contains { $0.hasPrefix("h has 2 open streams") && !$0.contains("boards") })
    }

    @Test func aStreamWithoutAnEndIsNamedAlthoughTheNextOneHasEnded() throws {
        let reader = Reader()
        func told(_ gateway: String, from first: Int64, after previous: UInt64?) throws -> [[UInt8]] {
            try report(
                [
                    .init(
                        streamID: StreamID(bits: 2), first: first, last: first + 1,
                        previous: previous.map { StreamID(bits: $0) })
                ], gateway: gateway)
        }
        // A file was deleted while the gateway was away, and the next one was stopped in order.
        for number in Int64(1)...3 { try write([reading(number, of: 1, from: nil)], reader) }
        try write([reading(1, of: 2, from: 1), reading(2, of: 2, from: 1)] + told("g", from: 1, after: nil), reader)
        // A copy with all three was put back, and then the original sent one more, in whatever order that is read.
        try write(
            [reading(4, of: 2, from: 4, gateway: "h"), reading(5, of: 2, from: 4, gateway: "h")]
                + told("h", from: 4, after: 1)
                + report([.init(streamID: StreamID(bits: 1), first: 1, last: 3)], gateway: "h"), reader)
        for number in Int64(1)...4 { try write([reading(number, of: 1, from: nil, gateway: "h")], reader) }
        let certificate = try verify()
        #expect(!certificate.isGood && certificate.mismatchCount == 0)
        #expect(
            certificate.openStreams == [
                """
                g stream 0000000000000001 (1 to 3): its end was not told, and 0000000000000002 came after it
                """,
                """
                h stream 0000000000000001 (1 to 4, but a report ends it with 3, as a copy of the outbox would): \
                its end was not told, and 0000000000000002 came after it
                """,
            ])
        // The lost cards are found.
        for (gateway, last) in [("g", Int64(3)), ("h", 4)] {
            try write(report([.init(streamID: StreamID(bits: 1), first: 1, last: last)], gateway: gateway), reader)
        }
        // What else was on the one of which there was a copy nobody knows.
        #expect(try verify().openStreams.map { $0.prefix(8) } == ["h stream"])
    }

    @Test func silentGatewaysAreCounted() throws {
        let reader = Reader()
        try write([reading(1, of: 1, from: nil), reading(1, of: 2, from: nil, gateway: "h")], reader)
        try connection.execute(
            "UPDATE sensor SET last_arrival = now() - interval '61 seconds' * CASE gateway_id WHEN 'g' THEN 1 ELSE 0 END"
        )
        let certificate = try verify()
        #expect(certificate.silentGateways == 1 && certificate.isGood)
        #expect("\(certificate)".contains("\nsilent gateways   1, whose streams have not ended"))
        try write(report([.init(streamID: StreamID(bits: 1), first: 1, last: 1)]), reader)
        #expect(try verify().silentGateways == 0)
    }

    @Test(arguments: [
        "UPDATE stream_progress SET first_seq = 2", "UPDATE loss SET last_seq = 6", "DELETE FROM loss",
        "INSERT INTO loss SELECT gateway_id, stream_id, 4, 4, null, null, now() FROM loss",
        "INSERT INTO loss SELECT gateway_id, stream_id, 9, 9, null, null, now() FROM loss",
        "UPDATE stream_progress SET last_seq = 9, end_seq = 9",
    ])
    func verifySeesWhatDoesNotAgree(damage: String) throws {
        let reader = Reader()
        try write([reading(1, of: 1, from: nil), reading(2, of: 1, from: nil), reading(6, of: 1, from: nil)], reader)
        #expect(try verify().isGood)
        try connection.execute(damage)
        let certificate = try verify()
        #expect(!certificate.isGood && certificate.mismatchCount > 0, "\(certificate)")
    }

    // MARK: Many and hostile ones

    @Test func fiveHundredStreamsAreAFewStatements() throws {
        let reader = Reader()
        // Counts what the server is told, whatever the tables' contents.
        try connection.execute("CREATE TABLE statement (name text)")
        for table in ["stream_progress", "loss"] {
            try connection.execute(
                """
                CREATE FUNCTION note_\(table)() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN INSERT INTO statement VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
                CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON \(table)
                    FOR EACH STATEMENT EXECUTE FUNCTION note_\(table)()
                """)
        }
        let streams = (1...500).map { (index: UInt64) in
            GatewayReport.Stream(
                streamID: StreamID(bits: index), first: Int64(index) * 10, last: Int64(index) * 10 + 9,
                previous: index == 1 ? nil : StreamID(bits: index - 1))
        }
        let summary = try write(report(streams), reader)
        #expect(summary.missing == 5000 && summary.reports == 1)
        #expect(
            try text("SELECT string_agg(name, ', ' ORDER BY name) FROM statement")
                == "INSERT loss, INSERT stream_progress")
        try connection.execute("DELETE FROM statement")
        try write(report(streams) + [reading(5010, of: 501, from: 5010)], reader)
        #expect(
            try text("SELECT string_agg(name, ', ' ORDER BY name) FROM statement")
                == "INSERT stream_progress", "what is known is not written again")
        #expect(reader.cache["g"]?.streams.count == 501)
        let certificate = try verify()
        #expect(certificate.losses == ["unknown": 5000] && certificate.openStreamCount == 1, "\(certificate)")
    }

    /// Ranges that overlap, that nobody has, and sums beyond any integer: what is there costs what was said.
    @Test func aHostileReportIsOnlyWrong() throws {
        let reader = Reader()
        let largest = Reading.numbers.upperBound
        try write([reading(1, of: 1, from: nil)], reader)
        let all = try report(
            (1...1400).map { .init(streamID: StreamID(bits: $0), first: 1, last: largest) },
            gaps: (1...50).map {
                .init(streamID: StreamID(bits: 1), reason: .thinned, ranges: [$0...largest, 5...largest - $0])
            })
        for _ in 0..<3 { try write(all, reader) }
        #expect(try text("SELECT count(*) FROM loss") == "1400")
        #expect(try losses.hasPrefix("1:2-\(largest) thinned"))
        try write([reading(2, of: 1, from: nil)], reader)
        let certificate = try verify()
        #expect(certificate.missing == .max && certificate.mismatchCount == 0, "\(certificate)")
        #expect(try HeartbeatTable(connection: connection).view().missing == .max)
    }

    /// The reason of a loss is in its alert.
    @Test func anAlertOfALossTellsTheReason() throws {
        var rules = AlertRules()
        rules.loss = LossRule(severity: .warning, minimumDuration: 0, clearAfter: 86_400_000)
        let reader = Reader()
        try write([reading(1, of: 1, from: nil)], reader, rules: rules)
        let gap = try report(gaps: [.init(streamID: StreamID(bits: 1), reason: .queueFull, ranges: [2...4])])
        try write(gap + [reading(5, of: 1, from: nil), reading(7, of: 1, from: nil)], reader, rules: rules)
        #expect(try text("SELECT detail FROM alert WHERE kind = 'loss'") == "4 readings missing (queue_full)")
    }

    /// A report is a part of a batch that may be refused, such as by a constraint of the operator.
    @Test func aReportIsLeftOutOfABatchByItself() throws {
        let told = try report([
            .init(streamID: StreamID(bits: 3), first: 1), .init(streamID: StreamID(bits: 2), first: 1, last: 4),
        ])
        let batch = try batch(
            [reading(1, of: 1, from: nil), told[0], reading(1, of: 9, from: nil, gateway: "h")], from: 0)
        #expect(batch.parts == 0..<3 && batch.report(ofPart: 1) == nil)
        #expect(batch.report(ofPart: 2)?.message.value == told[0] && batch.report(ofPart: 2)?.message.offset == 1)
        let without = batch.keeping([0, 1])
        #expect(without.reports.isEmpty && without.rows.count == 2 && without.streams.count == 2)
        let alone = batch.keeping([2])
        #expect(alone.rows.isEmpty && alone.gateways == ["g"] && alone.streams.map(\.streamID.bits) == [3, 2])
        #expect(alone.reports[0].streams.map(\.stream) == [0, 1] && alone.offsets == batch.offsets)
        let both = batch.keeping([1, 2])
        #expect(both.gateways == ["h", "g"] && both.reports[0].streams.map(\.stream) == [1, 2])
    }

    // MARK: Rejected readings

    @Test func theNumbersOfRejectedReadingsAreLostUntilTheyComeBack() throws {
        let reader = Reader()
        try write([reading(1, of: 1, from: nil)], reader)
        func rejected(_ number: Int64, of stream: UInt64, by gateway: String = "g", in batch: inout ReadingBatch) {
            let message = ReadingBatch.Message(partition: 0, offset: reader.offset)
            batch.reject(
                message.rejected(Rejection(.outOfRange, detail: "")),
                number: RejectedNumber(gatewayID: gateway, streamID: StreamID(bits: stream), sequence: number))
        }
        var batch = try batch([reading(4, of: 1, from: nil)], from: reader.offset)
        // Before the reading, after it, of one that is there; of a stream and of a gateway that nobody knows.
        for number: Int64 in [3, 5, 1] { rejected(number, of: 1, in: &batch) }
        rejected(9, of: 7, in: &batch)
        rejected(9, of: 1, by: "stranger", in: &batch)
        let summary = try BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: start, updateInterval: 0
        ).write(batch, cache: &reader.cache)
        reader.offset += 1
        #expect(summary.reports == 0 && summary.rejected == 5 && summary.missing == 3)
        #expect(try losses == "1:2-2 unknown, 1:3-3 rejected, 1:5-5 rejected")
        #expect(try streams == "1 1 5 - f 3")
        #expect(try verify().losses == ["rejected": 2, "unknown": 1])
        try write([reading(3, of: 1, from: nil), reading(5, of: 1, from: nil)], reader)
        #expect(try losses == "1:2-2 unknown")
        #expect(try verify().isGood)
        // Nobody else may have one of these.
        var alone = try self.batch([], from: reader.offset)
        rejected(1, of: 1, by: "stranger", in: &alone)
        _ = try BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: start, updateInterval: 0
        ).write(alone, cache: &reader.cache)
        reader.offset += 1
        let gateways: String = try connection.query("SELECT string_agg(gateway_id, ' ') FROM gateway").value(0, 0)
        #expect(gateways == "g")
    }

    @Test func whatIsRejectedSaysNothingOfWhereAStreamBegins() throws {
        let reader = Reader()
        try write([reading(1000, of: 1, from: 1000)], reader)
        var batch = try batch([reading(1001, of: 2, from: 1001)], from: reader.offset)
        for stream: UInt64 in [1, 2] {
            batch.reject(
                ReadingBatch.Message(partition: 0, offset: reader.offset).rejected(
                    Rejection(.outOfRange, detail: "")),
                number: RejectedNumber(gatewayID: "g", streamID: StreamID(bits: stream), sequence: 3))
        }
        _ = try BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: start, updateInterval: 0
        ).write(batch, cache: &reader.cache)
        #expect(try losses == "null")
    }

    // MARK: Older databases

    @Test func streamsOfAnOlderDatabaseBeganWithOne() throws {
        let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
        try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        // As release 6 of the schema left it.
        for migration in Migration.all.prefix(6) { try connection.execute(migration.sql) }
        try connection.execute(
            """
            INSERT INTO stream_progress VALUES
                ('g', '0000000000000001', 5, '2026-11-24T00:00:05Z', 2, 0, 3, now()),
                ('h', '0000000000000002', 2, '2026-11-24T00:00:02Z', 0, 0, 1, now());
            INSERT INTO sensor (gateway_id, sensor_id, first_event_time, last_event_time, last_arrival, final_through,
                quantities, interval_ms, last_status, temperature, time_quality, simulated)
            SELECT g, 's', '2026-11-24T00:00:01Z', t, now(), '2026-11-24', 1, 1000, 'ok', 20, 'synced', true
            FROM (VALUES ('g', timestamptz '2026-11-24T00:00:05Z'), ('h', '2026-11-24T00:00:02Z')) AS s (g, t);
            INSERT INTO loss VALUES ('g', '0000000000000001', 2, 3, null, null, now());
            INSERT INTO consumed_offset VALUES ('t', 0, 6, now());
            CREATE TABLE sensor_data_20261124 PARTITION OF sensor_data FOR VALUES FROM ('2026-11-24') TO ('2026-11-25');
            INSERT INTO sensor_data SELECT gateway_id, 's', stream_id, seq, timestamptz '2026-11-24T00:00:00Z' +
                seq * interval '1 second', 'synced', 1000, 20, null, null, null, null, null, null, null, null, true, 'ok',
                false, 0, seq, now()
            FROM (VALUES ('g', '0000000000000001', 1), ('g', '0000000000000001', 4), ('g', '0000000000000001', 5),
                ('h', '0000000000000002', 1), ('h', '0000000000000002', 2)) AS r (gateway_id, stream_id, seq)
            """)
        for migration in Migration.all.dropFirst(6) { try connection.execute(migration.sql) }
        #expect(try streams == "1 1 5 - f 2, 2 1 2 - f 0")
        #expect(try losses == "1:2-3 unknown")
        let certificate = try verify()
        #expect(certificate.isGood && certificate.losses == ["unknown": 2], "\(certificate)")
    }
}
