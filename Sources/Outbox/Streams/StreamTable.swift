import Readings

/// A run of numbers, as the file knows it.
struct StreamRow: Sendable, Equatable {
    /// What the centre has been told of a stream.
    enum Told: Int64 {
        /// Nothing.
        case nothing = 0
        /// Where it begins, and what was before it.
        case beginning = 1
        /// Where it ends, too.
        case end = 2
    }

    /// Its place among the streams of the file.
    var ordinal: Int64
    var streamID: StreamID
    /// The gateway under whose name it is told.
    var gatewayID: String
    var first: Int64
    /// Nil while it runs, or if nobody knows it.
    var last: Int64?
    /// The stream before it under the same name.
    var previous: StreamID?
    var isRunning: Bool
    var told: Told

    /// What may be told of it before a batch that ends at `number`.
    func tellable(through number: Int64) -> Told {
        if first > number { return .nothing }
        guard !isRunning, let last, last <= number else { return .beginning }
        return .end
    }
}

/// The table `stream`.
enum StreamTable {
    private static let columns = "ordinal, stream_id, gateway_id, first, last, previous, is_running, told, checksum"
    /// Where the checksum is in a row.
    static let checksumPosition: Int32 = 8

    static func insert(_ stream: StreamRow, into database: Database) throws(OutboxError) {
        try database.statement(
            """
            INSERT INTO stream (stream_id, gateway_id, first, last, previous, is_running, told, checksum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """
        ).run([
            .integer(Int64(bitPattern: stream.streamID.bits)), .text(stream.gatewayID), .integer(stream.first),
            .integer(stream.last), .integer(stream.previous.map { Int64(bitPattern: $0.bits) }),
            .integer(stream.isRunning ? 1 : 0), .integer(stream.told.rawValue),
            .integer(RowChecksum.of(stream.identity)),
        ])
    }

    /// The newest stream.
    static func newest(in database: Database) throws(OutboxError) -> StreamRow? {
        try select("ORDER BY ordinal DESC LIMIT 1", [], from: database).first
    }

    /// The streams of which there is something to tell before a batch that ends at `number`, the oldest first.
    static func untold(
        through number: Int64, after ordinal: Int64, limit: Int, in database: Database
    ) throws(OutboxError) -> [StreamRow] {
        try select(
            """
            WHERE ordinal > ? AND first <= ?
                AND told < CASE WHEN is_running = 0 AND last <= ? THEN \(StreamRow.Told.end.rawValue)
                    ELSE \(StreamRow.Told.beginning.rawValue) END
            ORDER BY ordinal LIMIT ?
            """, [.integer(ordinal), .integer(number), .integer(number), .integer(Int64(limit))], from: database)
    }

    /// All streams, the oldest first.
    static func all(in database: Database) throws(OutboxError) -> [StreamRow] {
        try select("ORDER BY ordinal", [], from: database)
    }

    /// Notes that a stream runs no longer.
    /// - Parameter last: its last number; nil if nobody knows it.
    static func end(last: Int64?, in database: Database) throws(OutboxError) {
        try database.statement("UPDATE stream SET is_running = 0, last = ? WHERE is_running = 1").run([.integer(last)])
    }

    static func note(told: StreamRow.Told, ordinal: Int64, in database: Database) throws(OutboxError) {
        try database.statement("UPDATE stream SET told = max(told, ?) WHERE ordinal = ?")
            .run([.integer(told.rawValue), .integer(ordinal)])
    }

    /// Forgets the streams of which all is told and whose readings are gone, but the newest. One whose end nobody knows
    /// ends before the next one begins.
    /// - Parameter oldest: the lowest number of a reading that waits; nil if none does.
    static func prune(oldest: Int64?, in database: Database) throws(OutboxError) {
        try database.statement(
            """
            DELETE FROM stream WHERE is_running = 0 AND ordinal < (SELECT max(ordinal) FROM stream)
                AND (told = \(StreamRow.Told.end.rawValue)
                    OR told = \(StreamRow.Told.beginning.rawValue) AND last IS NULL)
                AND coalesce(last, (SELECT later.first - 1 FROM stream later WHERE later.ordinal > stream.ordinal
                    ORDER BY later.ordinal LIMIT 1)) < ?
            """
        ).run([.integer(oldest ?? Int64.max)])
    }

    private static func select(
        _ rest: String, _ values: [Statement.Value], from database: Database
    ) throws(OutboxError) -> [StreamRow] {
        var streams: [StreamRow] = []
        try database.statement("SELECT \(columns) FROM stream \(rest)").run(values) { row in
            if let stream = StreamRow(row, ordinal: row.integer(at: 0)) { streams.append(stream) }
        }
        return streams
    }
}

extension StreamRow {
    /// Reads a row of the table.
    /// - Parameter ordinal: its place, which the row itself does not hold in the file.
    /// - Returns: nil if something in it is damaged.
    init?(_ row: some StoredRow, ordinal: Int64?) {
        guard let ordinal, let stream = row.integer(at: 1), let gatewayID = row.text(at: 2),
            Identifier(gatewayID) != nil, let first = row.integer(at: 3), Outbox.numbers.contains(first),
            let isRunning = row.integer(at: 6), let told = row.integer(at: 7).flatMap(Told.init)
        else { return nil }
        let last = row.integer(at: 4)
        if let last, last < first || !Outbox.numbers.contains(last) { return nil }
        self.init(
            ordinal: ordinal, streamID: StreamID(bits: UInt64(bitPattern: stream)), gatewayID: gatewayID, first: first,
            last: last, previous: row.integer(at: 5).map { StreamID(bits: UInt64(bitPattern: $0)) },
            isRunning: isRunning != 0, told: told)
        guard row.isWhole(at: StreamTable.checksumPosition, RowChecksum.of(identity)) else { return nil }
    }

    /// What never changes of a row, over which its checksum goes.
    fileprivate var identity: [Statement.Value] {
        [
            .integer(Int64(bitPattern: streamID.bits)), .text(gatewayID), .integer(first),
            .integer(previous.map { Int64(bitPattern: $0.bits) }),
        ]
    }
}
