import Readings

extension Outbox {
    /// The bytes of a report that are filled; what is left to the contract's limit is for its head.
    private static let reportBytes = 60_000
    /// No entry of a stream in a report is longer.
    private static let streamBytes = 140
    /// No range in a report is longer,
    private static let rangeBytes = 40
    /// and no head of a gap.
    private static let gapBytes = 120

    /// The messages that are to go before a batch of readings: what is new of streams and gaps up to the batch's end. They
    /// are taken as on their way until they are acknowledged, or until `release`.
    /// - Parameters:
    ///   - number: the last number of the batch; nil: everything is told.
    ///   - isEnd: whether nothing more will be appended, so that the end of the present stream is told too.
    /// - Returns: the messages, in order; none if nothing is to be told.
    public func reports(through number: Int64? = nil, isEnd: Bool = false) throws(OutboxError) -> [OutboxReport] {
        let last = lastNumber ?? 0
        let through = min(number ?? last, last)
        guard through > 0 else { return [] }
        let (streams, gaps) = try withFile { file throws(OutboxError) in
            let limit = 400 + ledger.rows
            var streams = try StreamTable.untold(through: through, after: 0, limit: limit, in: file.database)
            if isEnd, through == last, var running = try StreamTable.newest(in: file.database), running.isRunning {
                running.isRunning = false
                running.last = last
                streams.removeAll { $0.ordinal == running.ordinal }
                if running.told != .end { streams.append(running) }
            }
            return (streams, try GapTable.select(through: through, limit: 50 + ledger.rows, from: file.database))
        }
        var drafts: [Draft] = []
        func draft(for gatewayID: String, bytes: Int) -> Int? {
            if let index = drafts.lastIndex(where: { $0.report.gatewayID.description == gatewayID }),
                drafts[index].bytes + bytes <= Self.reportBytes
            {
                return index
            }
            guard let gatewayID = Identifier(gatewayID) else { return nil }
            drafts.append(Draft(report: GatewayReport(gatewayID: gatewayID)))
            return drafts.count - 1
        }
        for stream in streams {
            let told = stream.tellable(through: through)
            guard told.rawValue > ledger.given(stream: stream.ordinal).rawValue,
                let index = draft(for: stream.gatewayID, bytes: Self.streamBytes)
            else { continue }
            drafts[index].bytes += Self.streamBytes
            drafts[index].report.streams.append(
                GatewayReport.Stream(
                    streamID: stream.streamID, first: stream.first, last: told == .end ? stream.last : nil,
                    previous: stream.previous))
            drafts[index].content.streams.append((stream.ordinal, told))
            if isEnd, stream.last == last { drafts[index].content.tellsEnd = true }
        }
        for (id, gap) in gaps where !ledger.isGiven(gap: id) {
            let parts = gap.ranges.split(after: through)
            let bytes = Self.gapBytes + parts.through.ranges.count * Self.rangeBytes
            guard let index = draft(for: gap.gatewayID, bytes: bytes) else { continue }
            drafts[index].bytes += bytes
            drafts[index].report.gaps.append(
                GatewayReport.Gap(streamID: gap.streamID, reason: gap.reason, ranges: parts.through.ranges))
            drafts[index].content.gaps.append((id, parts.rest))
        }
        return drafts.flatMap { draft in
            draft.report.encoded().map {
                OutboxReport(id: ledger.give(draft.content), gatewayID: draft.report.gatewayID, message: $0)
            }
        }
    }

    /// What the broker refused of reports is given once more.
    public func renewRefusedReports() {
        ledger.renew()
    }

    /// The present stream is told of once more with the next batch, as is due now and then, and so is what was refused.
    public func renewReports() throws(OutboxError) {
        ledger.renew()
        try withFile { file throws(OutboxError) in
            try file.database.execute("UPDATE stream SET told = 0 WHERE is_running = 1")
        }
    }

    /// A report that is being put together.
    private struct Draft {
        var report: GatewayReport
        var content = ReportLedger.Content(id: 0)
        var bytes = 0
    }
}
