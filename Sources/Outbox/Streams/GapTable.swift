import Readings

/// Numbers of one stream that never come, which the centre is to be told.
struct Gap: Sendable, Equatable {
    var streamID: StreamID
    /// The gateway under whose name it is told.
    var gatewayID: String
    var reason: GatewayReport.GapReason
    var ranges: NumberRanges
}

/// The table `gap`. A row whose numbers are one range has no `ranges`.
enum GapTable {
    /// The most ranges in one row: with numbers of any size they fit into one message.
    static let mostRanges = 1000

    private static let columns = "id, stream_id, gateway_id, reason, first, last, ranges"

    static func insert(_ gap: Gap, into database: Database) throws(OutboxError) {
        guard let first = gap.ranges.first, let last = gap.ranges.last else { return }
        try database.statement(
            "INSERT INTO gap (stream_id, gateway_id, reason, first, last, ranges) VALUES (?, ?, ?, ?, ?, ?)"
        ).run([
            .integer(Int64(bitPattern: gap.streamID.bits)), .text(gap.gatewayID), .text(gap.reason.rawValue),
            .integer(first), .integer(last), .blob(gap.ranges.ranges.count > 1 ? gap.ranges.encoded : nil),
        ])
    }

    /// Makes a row tell other numbers than before, or none.
    static func replace(_ id: Int64, with ranges: NumberRanges, in database: Database) throws(OutboxError) {
        guard let first = ranges.first, let last = ranges.last else {
            try database.statement("DELETE FROM gap WHERE id = ?").run([.integer(id)])
            return
        }
        try database.statement("UPDATE gap SET first = ?, last = ?, ranges = ? WHERE id = ?").run([
            .integer(first), .integer(last), .blob(ranges.ranges.count > 1 ? ranges.encoded : nil), .integer(id),
        ])
    }

    /// The gaps that have numbers up to `number`, the oldest rows first.
    static func select(
        through number: Int64, limit: Int, from database: Database
    ) throws(OutboxError) -> [(id: Int64, gap: Gap)] {
        var gaps: [(id: Int64, gap: Gap)] = []
        try database.statement("SELECT \(columns) FROM gap WHERE first <= ? ORDER BY id LIMIT ?")
            .run([.integer(number), .integer(Int64(limit))]) { row in
                if let id = row.integer(at: 0), let gap = Gap(row) { gaps.append((id, gap)) }
            }
        return gaps
    }

    /// The newest row.
    static func newest(in database: Database) throws(OutboxError) -> (id: Int64, gap: Gap)? {
        var newest: (id: Int64, gap: Gap)?
        try database.statement("SELECT \(columns) FROM gap ORDER BY id DESC LIMIT 1").run { row in
            if let id = row.integer(at: 0), let gap = Gap(row) { newest = (id, gap) }
        }
        return newest
    }
}

extension Gap {
    /// Reads a row of the table.
    /// - Returns: nil if something in it is damaged.
    init?(_ row: some StoredRow) {
        guard let stream = row.integer(at: 1), let gatewayID = row.text(at: 2), Identifier(gatewayID) != nil,
            let reason = row.text(at: 3).flatMap(GatewayReport.GapReason.init),
            let first = row.integer(at: 4), let last = row.integer(at: 5), first <= last,
            Outbox.numbers.contains(first), Outbox.numbers.contains(last)
        else { return nil }
        let ranges: NumberRanges
        if let bytes = row.blob(at: 6) {
            guard let several = NumberRanges(encoded: bytes), several.first == first, several.last == last else {
                return nil
            }
            ranges = several
        } else {
            ranges = NumberRanges(first...last)
        }
        self.init(
            streamID: StreamID(bits: UInt64(bitPattern: stream)), gatewayID: gatewayID, reason: reason, ranges: ranges)
    }
}
