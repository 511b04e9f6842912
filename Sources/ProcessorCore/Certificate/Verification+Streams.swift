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
        /// The first and the last commit of its kept readings, in the order in which its gateway's were made.
        var commits: ClosedRange<Int64>?

        /// Its name and numbers, for a person.
        var text: String {
            var text = "\(streamID) (\(last < first ? "nothing came of it" : "\(first) to \(last)")"
            if let end, end < last { text += ", but a report ends it with \(end), as a copy of the outbox would" }
            return text + ")"
        }
    }

    /// Every stream: no number twice, every number a row, expired or in `loss`, and its end known or still to come.
    func checkStreams(_ certificate: inout Certificate) throws {
        let rows = ResultRows(
            try connection.query(VerificationQueries.streams), of: VerificationQueries.StreamCheckColumn.self)
        var reported = 0
        var gateway = ""
        var streams: [Stream] = []
        for row in rows {
            let gatewayID: String = try row.value(.gatewayID)
            let streamID: String = try row.value(.streamID)
            func number(_ column: VerificationQueries.StreamCheckColumn) throws -> Int64 { try row.value(column) }
            let (count, distinct, filled) = (try number(.rows), try number(.numbers), try number(.filled))
            let overlapping = try number(.overlapping)
            let lowest: Int64? = try row.optional(.lowest)
            let highest: Int64? = try row.optional(.highest)
            let highestRow: Int64? = try row.optional(.lastRow)
            let (missing, expired, lost) = (try number(.missing), try number(.expired), try number(.lost))
            let (first, last) = (try number(.first), try number(.last))
            certificate.rows += count
            certificate.streams += count > 0 ? 1 : 0
            certificate.duplicates += count - distinct
            // Tables that somebody has changed may have any number.
            certificate.expired = certificate.expired.addingClamped(expired)
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
            let mistimed = try number(.mistimed)
            if mistimed > 0 {
                problems.append("\(mistimed) ranges of loss have other times than the readings beside them")
            }
            let end: Int64? = try row.optional(.end)
            if let end, end > last { problems.append("was told to end with \(end), progress ends with \(last)") }
            if try row.value(.isKnown), let time: Int64 = try row.optional(.lastTime),
                // Of a reading that is not kept nothing but the progress knows the time.
                expired == 0 || highestRow == last, try row.optionalTime(.lastEventTime) != time
            {
                problems.append("progress has another time for its last reading")
            }
            certificate.mismatchCount += Int64(problems.count)
            if !problems.isEmpty, reported < Certificate.mostExamples {
                certificate.mismatches.append(
                    "\(gatewayID) stream \(streamID): \(problems.joined(separator: "; "))")
                reported += 1
            }

            guard try row.value(.isKnown), try !row.value(.isOfConflict) else { continue }
            if gatewayID != gateway {
                judge(streams, of: gateway, &certificate)
                (gateway, streams) = (gatewayID, [])
            }
            let (since, until): (Int64?, Int64?) = (try row.optional(.since), try row.optional(.until))
            let isPreviousKnown: Bool = try row.value(.isPreviousKnown)
            var commits: ClosedRange<Int64>?
            if let since, let until { commits = since...until }
            streams.append(
                Stream(
                    streamID: streamID, first: first, last: last, isClosed: end == last, end: end,
                    lacksPrevious: first > 1 && !isPreviousKnown, previous: try row.optional(.previous),
                    commits: commits))
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
        let ordered = open.filter { $0.commits != nil }
            .sorted { ($0.commits?.lowerBound ?? 0) < ($1.commits?.lowerBound ?? 0) }
        var latest: Stream?
        for stream in ordered {
            guard let commits = stream.commits else { continue }
            if let other = latest, let range = other.commits, commits.lowerBound < range.upperBound {
                text +=
                    "; \(other.streamID) and \(stream.streamID) sent at the same time: two boards with this gateway_id"
                break
            }
            if commits.upperBound > latest?.commits?.upperBound ?? .min { latest = stream }
        }
        certificate.addOpen(text)
    }

    /// A stream that came after another one: it says so, or it is the last one of another outbox and its readings came later.
    private func successor(of stream: Stream, among streams: [Stream]) -> Stream? {
        if let next = streams.first(where: { $0.previous == stream.streamID }) { return next }
        guard let until = stream.commits?.upperBound else { return nil }
        let followed = Set(streams.compactMap(\.previous))
        return streams.first {
            !followed.contains($0.streamID) && $0.streamID != stream.streamID
                && ($0.commits?.upperBound ?? .min) > until
        }
    }

    /// The losses by their reasons, and the gateways that are silent.
    func countLosses(_ certificate: inout Certificate) throws {
        let losses = ResultRows(
            try connection.query(VerificationQueries.losses), of: VerificationQueries.LossCountColumn.self)
        for row in losses { certificate.losses[try row.value(.reason)] = try row.value(.numbers) }
        certificate.silentGateways = try connection.query(VerificationQueries.silentGateways).value(0, 0)
    }
}
