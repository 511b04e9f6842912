import PostgresClient
import Readings

extension Verification {
    /// What is known of a stream.
    private struct Stream {
        var streamID: String
        var first: Int64
        var last: Int64
        /// Whether its end was told and nothing came after it.
        var isClosed: Bool
        /// The smallest last number that was told.
        var end: Int64?
        /// Whether nobody has told what came before its first number.
        var lacksPrevious: Bool
        /// The stream before it, if one was told.
        var previous: String?
        /// When its kept readings became rows, by the processor's clock.
        var ingested: ClosedRange<Int64>?

        /// Its name and numbers, for a person.
        var text: String {
            var text = "\(streamID) (\(last < first ? "nothing came of it" : "\(first) to \(last)")"
            if let end, end < last { text += ", but a report ends it with \(end), as a copy of the outbox would" }
            return text + ")"
        }
    }

    /// Every stream: no number twice, every number a row, expired or in `loss`, and its end known or still to come.
    func checkStreams(_ certificate: inout Certificate) throws {
        let rows = try connection.query(Verification.streams)
        var reported = 0
        var gateway = ""
        var streams: [Stream] = []
        for row in 0..<rows.rowCount {
            let gatewayID: String = try rows.value(row, 0)
            let streamID: String = try rows.value(row, 1)
            func number(_ column: Int) throws -> Int64 { try rows.value(row, column) }
            let (count, distinct, filled, overlapping) = (try number(2), try number(3), try number(4), try number(5))
            let (lowest, highest) = (
                try rows.optional(row, 6, as: Int64.self), try rows.optional(row, 7, as: Int64.self)
            )
            let (missing, expired, first, last, lost) = (
                try number(8), try number(9), try number(10), try number(11), try number(12)
            )
            certificate.rows += count
            certificate.streams += count > 0 ? 1 : 0
            certificate.duplicates += count - distinct
            certificate.expired += expired
            var problems: [String] = []
            if count != distinct { problems.append("\(count - distinct) readings twice") }
            if let lowest, let highest, lowest < first || highest > last {
                problems.append("has \(lowest) to \(highest), progress says \(first) to \(last)")
            }
            // What is lost may be more than there is room for, in tables that somebody has changed.
            if distinct &+ missing &+ expired != last &- first &+ 1 {
                let old = expired == 0 ? "" : ", \(expired) expired"
                problems.append("\(distinct) readings\(old) and \(missing) missing do not make \(first) to \(last)")
            }
            if lost != missing { problems.append("progress says \(lost) lost, loss says \(missing)") }
            if filled > 0 { problems.append("\(filled) readings listed as lost are there") }
            if overlapping > 0 { problems.append("\(overlapping) ranges of loss overlap others") }
            certificate.mismatchCount += Int64(problems.count)
            if !problems.isEmpty, reported < Certificate.mostExamples {
                certificate.mismatches.append(
                    "\(gatewayID) stream \(streamID): \(problems.joined(separator: "; "))")
                reported += 1
            }

            guard try rows.value(row, 13) else { continue }
            if gatewayID != gateway {
                judge(streams, of: gateway, &certificate)
                (gateway, streams) = (gatewayID, [])
            }
            let end = try rows.optional(row, 14, as: Int64.self)
            let since = try rows.optional(row, 16, as: PostgresTimestamp.self)?.milliseconds
            let until = try rows.optional(row, 17, as: PostgresTimestamp.self)?.milliseconds
            let isPreviousKnown: Bool = try rows.value(row, 15)
            var ingested: ClosedRange<Int64>?
            if let since, let until { ingested = since...until }
            streams.append(
                Stream(
                    streamID: streamID, first: first, last: last, isClosed: end == last, end: end,
                    lacksPrevious: first > 1 && !isPreviousKnown, previous: try rows.optional(row, 18, as: String.self),
                    ingested: ingested))
        }
        judge(streams, of: gateway, &certificate)
    }

    /// Whether nobody can know how far the streams of a gateway went.
    private func judge(_ streams: [Stream], of gateway: String, _ certificate: inout Certificate) {
        for stream in streams where stream.lacksPrevious {
            certificate.addOpen(
                "\(gateway) stream \(stream.text): no report says which stream came before \(stream.first)")
        }
        let open = streams.filter { !$0.isClosed }
        guard open.count > 1 else {
            // Only the last one of an outbox may be open.
            if let stream = open.first, let later = successor(of: stream, among: streams) {
                certificate.addOpen(
                    "\(gateway) stream \(stream.text): its end was not told, and \(later.streamID) came after it")
            }
            return
        }
        let names = open.prefix(Certificate.mostStreams).map(\.text).joined(separator: ", ")
        let others = open.count - min(open.count, Certificate.mostStreams)
        var text = "\(gateway) has \(open.count) open streams: \(names)" + (others > 0 ? " and \(others) others" : "")
        let ordered = open.filter { $0.ingested != nil }
            .sorted { ($0.ingested?.lowerBound ?? 0) < ($1.ingested?.lowerBound ?? 0) }
        var latest: Stream?
        for stream in ordered {
            guard let ingested = stream.ingested else { continue }
            if let other = latest, let range = other.ingested, ingested.lowerBound < range.upperBound {
                text +=
                    "; \(other.streamID) and \(stream.streamID) sent at the same time: two boards with this gateway_id"
                break
            }
            if ingested.upperBound > latest?.ingested?.upperBound ?? .min { latest = stream }
        }
        certificate.addOpen(text)
    }

    /// A stream that came after another one: it says so, or it is the last one of another outbox and its readings came later.
    private func successor(of stream: Stream, among streams: [Stream]) -> Stream? {
        if let next = streams.first(where: { $0.previous == stream.streamID }) { return next }
        guard let until = stream.ingested?.upperBound else { return nil }
        let followed = Set(streams.compactMap(\.previous))
        return streams.first {
            !followed.contains($0.streamID) && $0.streamID != stream.streamID
                && ($0.ingested?.upperBound ?? .min) > until
        }
    }

    /// The losses by their reasons, and the gateways that are silent.
    func countLosses(_ certificate: inout Certificate) throws {
        let losses = try connection.query(
            """
            SELECT reason, least(sum(last_seq - first_seq + 1), \(Int64.max))::int8 FROM loss GROUP BY reason
            """)
        for row in 0..<losses.rowCount { certificate.losses[try losses.value(row, 0)] = try losses.value(row, 1) }
        // By the database's clock. It is not compared with anything, only told.
        certificate.silentGateways = try connection.query(
            """
            SELECT count(*) FROM (
                SELECT gateway_id FROM sensor GROUP BY gateway_id
                HAVING now() - max(last_arrival) >
                    greatest(interval '1 minute', 10 * max(interval_ms) * interval '1 millisecond')) s
            WHERE EXISTS (SELECT FROM stream_progress p WHERE p.gateway_id = s.gateway_id
                AND p.end_seq IS DISTINCT FROM p.last_seq)
            """
        ).value(0, 0)
    }

    /// One pass over rows and losses in the order of their numbers: joining the two would compare all rows of a stream
    /// with all of its ranges.
    private static let streams = """
        WITH numbers AS (
            SELECT gateway_id, stream_id, seq AS first_seq, seq AS last_seq, false AS is_lost, ingested_at
            FROM sensor_data
            UNION ALL SELECT gateway_id, stream_id, first_seq, last_seq, true, NULL FROM loss),
        ordered AS (
            SELECT *, max(last_seq) FILTER (WHERE NOT is_lost) OVER smaller AS last_row,
                max(last_seq) FILTER (WHERE is_lost) OVER smaller AS last_lost
            FROM numbers
            WINDOW smaller AS (PARTITION BY gateway_id, stream_id ORDER BY first_seq, is_lost DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
        found AS (
            SELECT gateway_id, stream_id, count(*) FILTER (WHERE NOT is_lost) AS rows,
                count(*) FILTER (WHERE NOT is_lost AND last_row IS DISTINCT FROM first_seq) AS numbers,
                count(*) FILTER (WHERE NOT is_lost AND first_seq <= last_lost) AS filled,
                count(*) FILTER (WHERE is_lost AND first_seq <= last_lost) AS overlapping,
                min(first_seq) AS lowest, max(last_seq) AS highest,
                least(coalesce(sum(last_seq - first_seq + 1) FILTER (WHERE is_lost), 0), \(Int64.max))::int8 AS missing,
                min(ingested_at) AS since, max(ingested_at) AS until
            FROM ordered GROUP BY 1, 2),
        old AS (SELECT gateway_id, stream_id, sum(readings)::int8 AS expired FROM expired GROUP BY 1, 2)
        SELECT gateway_id, stream_id, coalesce(f.rows, 0), coalesce(f.numbers, 0), coalesce(f.filled, 0),
            coalesce(f.overlapping, 0), f.lowest, f.highest, coalesce(f.missing, 0), coalesce(o.expired, 0),
            coalesce(p.first_seq, 1), coalesce(p.last_seq, 0), coalesce(p.lost, 0), p.gateway_id IS NOT NULL, p.end_seq,
            coalesce(p.previous_known, false), f.since, f.until, p.previous_stream_id
        FROM found f FULL JOIN stream_progress p USING (gateway_id, stream_id)
            LEFT JOIN old o USING (gateway_id, stream_id)
        ORDER BY 1, 2
        """
}
