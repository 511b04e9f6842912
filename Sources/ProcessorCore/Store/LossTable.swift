import PostgresClient
import Readings

/// The columns of `loss`.
enum LossColumn: String, TableColumn, CaseIterable {
    case gatewayID = "gateway_id"
    case streamID = "stream_id"
    case first = "first_seq"
    case last = "last_seq"
    case timeBefore = "after_time"
    case timeAfter = "before_time"
    case reason
    case detectedAt = "detected_at"

    /// The primary key.
    static let key: [LossColumn] = [.gatewayID, .streamID, .first]

    var type: String {
        switch self {
        case .gatewayID, .streamID, .reason: "text"
        case .first, .last: "int8"
        case .timeBefore, .timeAfter, .detectedAt: "timestamptz"
        }
    }
}

/// Reads and writes `loss`: the ranges of numbers that are not there.
struct LossTable {
    let connection: PostgresConnection

    /// The ranges of some streams, those of each stream in order.
    func ranges(of streams: some Collection<StreamName>) throws -> [StreamName: [LossRange]] {
        let names: [LossColumn] = [.gatewayID, .streamID]
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(LossColumn.allCases.names(of: "t")) FROM \(names.lookUp(in: "loss"))
                    ORDER BY \(LossColumn.key.names(of: "t"))
                    """, [.array(streams.map(\.gatewayID)), .array(streams.map(\.streamID.description))]),
            of: LossColumn.self)
        var losses: [StreamName: [LossRange]] = [:]
        for row in rows {
            guard let streamID = StreamID(try row.value(.streamID)) else { continue }
            let name = StreamName(gatewayID: try row.value(.gatewayID), streamID: streamID)
            losses[name, default: []].append(
                LossRange(
                    first: try row.value(.first), last: try row.value(.last),
                    reason: LossReason(text: try row.value(.reason)), timeBefore: try row.optionalTime(.timeBefore),
                    timeAfter: try row.optionalTime(.timeAfter)))
        }
        return losses
    }

    /// Writes the ranges of streams that have changed.
    func update(_ streams: [StreamTable.Change], now: PostgresTimestamp) throws {
        var gone: [(name: StreamName, first: Int64)] = []
        var new: [(name: StreamName, range: LossRange)] = []
        for stream in streams {
            let ranges = stream.after.rangesToWrite
            gone += ranges.gone.map { (stream.name, $0) }
            new += ranges.new.map { (stream.name, $0) }
        }
        if !gone.isEmpty { try delete(gone) }
        if !new.isEmpty { try insert(new, now: now) }
    }

    private func delete(_ ranges: [(name: StreamName, first: Int64)]) throws {
        _ = try connection.query(
            prepared: """
                DELETE FROM loss l USING \(LossColumn.key.unnest(as: "g")) WHERE \(LossColumn.key.matches("l", "g"))
                """,
            [
                .array(ranges.map(\.name.gatewayID)), .array(ranges.map(\.name.streamID.description)),
                .array(ranges.map(\.first)),
            ])
    }

    private func insert(_ ranges: [(name: StreamName, range: LossRange)], now: PostgresTimestamp) throws {
        let columns = LossColumn.allCases
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(ranges.map(\.name.gatewayID))
            case .streamID: .array(ranges.map(\.name.streamID.description))
            case .first: .array(ranges.map(\.range.first))
            case .last: .array(ranges.map(\.range.last))
            case .timeBefore: .array(ranges.map { PostgresTimestamp(milliseconds: $0.range.timeBefore) })
            case .timeAfter: .array(ranges.map { PostgresTimestamp(milliseconds: $0.range.timeAfter) })
            case .reason: .array(ranges.map(\.range.reason.text))
            case .detectedAt: .array(ranges.map { _ in now })
            }
        }
        _ = try connection.query(
            prepared: "INSERT INTO loss (\(columns.names)) SELECT \(columns.names) FROM \(columns.unnest(as: "n"))",
            parameters)
    }
}
