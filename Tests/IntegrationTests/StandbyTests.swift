import Alerting
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

/// PostgreSQL fails over to a standby that lacks the last two commits of an owner of a gateway, another owner commits twice
/// there, and the first one comes back with what it remembers. The counters in the database are then those that it knows,
/// and so may be its offsets: only the token in the gateway's row tells that its memory is of what is gone.
@Suite(PrivateCluster.isPossible) struct StandbyTests {
    @Test(.timeLimit(.minutes(5)))
    func aFormerOwnerIsNotMisledByCountersThatComeAgain() async throws {
        let first = try await PrivateCluster()
        let ways: [Story.Way] = [.sameOffset, .noOffset, .furtherOffset]
        let stories = try ways.map { try Story($0, on: first) }
        // What would happen if the token came again, too: it shows that nothing else tells.
        let misled = try [Story(.sameOffset, on: first), Story(.noOffset, on: first)]
        for story in stories + misled { try story.begin() }

        let second = try await PrivateCluster(following: first)
        try await second.cutOff()
        for story in stories + misled { try story.commitTwiceInVain() }
        await first.kill()
        try second.promote()

        for story in stories + misled { try story.letAnotherOwnerCommitTwice(on: second) }
        for story in misled {
            try story.giveTheRowTheFormerToken()
            try story.comeBack()
            #expect(try !story.agrees(), "\(story.way): without the token nothing is wrong, so nothing was tried")
        }
        for story in stories {
            try story.comeBack()
            #expect(try story.agrees(), "\(story.way)")
            #expect(try story.value("SELECT string_agg(seq::text, ',' ORDER BY seq) FROM sensor_data") == "1,2,3,4,5,6")
            #expect(try story.value("SELECT count(*)::text FROM loss") == "0")
            #expect(try story.value("SELECT sum(reading_count)::text FROM sensor_data_agg") == "6")
        }
        try await second.remove()
        try await first.remove()
    }
}

/// Two owners of one gateway, in a schema of their own. The gateway's readings come on two partitions, ten seconds apart.
private final class Story {
    /// What the first owner does in its two commits that are lost.
    enum Way {
        /// It takes two messages, which the other owner takes as well.
        case sameOffset
        /// It writes windows as time passes, and takes no message.
        case noOffset
        /// It takes two messages; the other one takes these and one more of the same partition.
        case furtherOffset
    }

    let way: Way
    private let schema: String
    private let former: PostgresConnection
    private var formerMemory: [String: GatewayState] = [:]
    private var other: PostgresConnection?
    private var otherMemory: [String: GatewayState] = [:]
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init(_ way: Way, on cluster: PrivateCluster) throws {
        self.way = way
        schema = "story_\(UInt32.random(in: 0...UInt32.max))"
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 10_000))
        former = try cluster.connect()
        try former.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        _ = try Migrator.migrate(former)
        try former.execute(
            "INSERT INTO consumed_offset (topic, kafka_partition, next_offset, updated_at) "
                + "SELECT 't', n, 0, now() FROM generate_series(0, 1) AS n")
    }

    /// The first owner commits readings 1 and 2.
    func begin() throws {
        try write([1, 2], from: 0, former, &formerMemory)
        try passTime(former, &formerMemory)
    }

    /// It commits twice what the standby will not have.
    func commitTwiceInVain() throws {
        switch way {
        case .sameOffset, .furtherOffset:
            try write([3], from: 2, former, &formerMemory)
            try write([4], from: 3, former, &formerMemory)
        case .noOffset:
            try passTime(former, &formerMemory)
            try passTime(former, &formerMemory)
        }
    }

    /// The other owner commits twice on the server that has taken over, so that the gateway's counter is where the first
    /// one has left it.
    func letAnotherOwnerCommitTwice(on cluster: PrivateCluster) throws {
        let connection = try cluster.connect()
        try connection.execute("SET search_path = \(schema)")
        other = connection
        switch way {
        case .sameOffset:
            try write([3, 4], from: 2, connection, &otherMemory)
            try write([5], partition: 1, from: 0, connection, &otherMemory)
        case .noOffset:
            try write([3, 4], partition: 1, from: 0, connection, &otherMemory)
            try write([5], partition: 1, from: 2, connection, &otherMemory)
        case .furtherOffset:
            try write([3, 4], from: 2, connection, &otherMemory)
            try write([5], from: 4, connection, &otherMemory)
        }
        let counter = try #require(formerMemory["g"]?.commitNumber)
        #expect(try value("SELECT commit_number::text FROM gateway") == "\(counter)")
        let token = try #require(formerMemory["g"]?.token)
        #expect(try value("SELECT writer_token::text FROM gateway") != "\(token)")
    }

    /// Makes the token as bad a witness as the counter is.
    func giveTheRowTheFormerToken() throws {
        let token = try #require(formerMemory["g"]?.token)
        try #require(other).execute("UPDATE gateway SET writer_token = \(token)")
    }

    /// The first owner goes on where it believes to be, with the next reading; if it is told that it is not the owner any
    /// more, where the database says.
    func comeBack() throws {
        let connection = try #require(other)
        switch way {
        case .sameOffset: try write([6], from: 4, connection, &formerMemory)
        case .noOffset: try write([6], from: 2, connection, &formerMemory)
        case .furtherOffset:
            #expect(throws: StaleOffsets.self) { try write([5, 6], from: 4, connection, &formerMemory) }
            #expect(try value("SELECT max(seq)::text FROM sensor_data") == "5")
            formerMemory = [:]
            try write([6], from: 5, connection, &formerMemory)
        }
        try passTime(connection, &formerMemory)
    }

    func agrees() throws -> Bool {
        try Verification(connection: #require(other), windows: policy.specifications).run().isGood
    }

    func value(_ sql: String) throws -> String {
        try #require(other).query("SELECT coalesce((\(sql)), 'null')").value(0, 0)
    }

    // MARK: What an owner does

    private func transaction(_ connection: PostgresConnection) -> BatchTransaction {
        BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: start, updateInterval: 0)
    }

    private func passTime(_ connection: PostgresConnection, _ memory: inout [String: GatewayState]) throws {
        _ = try transaction(connection).onProcessingTime(["g"], idleTimeout: 60_000, cache: &memory)
    }

    private func write(
        _ numbers: [Int64], partition: Int32 = 0, from offset: Int64, _ connection: PostgresConnection,
        _ memory: inout [String: GatewayState]
    ) throws {
        var batch = ReadingBatch()
        let decoder = ReadingDecoder()
        let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
        for (index, number) in numbers.enumerated() {
            let reading = Reading(
                gatewayID: try #require(Identifier("g")), sensorID: try #require(Identifier("s")),
                streamID: StreamID(bits: 1), sequence: number,
                eventTime: Timestamp(milliseconds: start.milliseconds + number * 10_000),
                intervalMilliseconds: 10_000, values: [.temperature: Double(number)])
            try reading.encoded().withUnsafeBytes {
                batch.append(try decoder.decode($0, now: now), partition: partition, offset: offset + Int64(index))
            }
        }
        batch.count(
            messages: numbers.count, partition: partition, through: LogPosition(next: offset + Int64(numbers.count)),
            from: LogPosition(next: offset))
        var days = DayPartitions()
        try days.prepare(for: batch.rows, now: start, connection)
        _ = try transaction(connection).write(batch, cache: &memory)
    }
}
