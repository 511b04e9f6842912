import Presentation

extension StatusReport {
    /// What `/status` answers: the page for a terminal of 80 columns or more.
    var text: String { ownText + memberTable }

    /// The same without the other processors, for who asks each of them.
    var ownText: String { head + work + partitionTable }

    private var head: String {
        var text = """
            vigie-processor \(identity.version)  \(identity.instance)  \(state.uppercased())
              process     \(identity.processID) on \(identity.host), up \(PlainNumbers.seconds(uptime))
              \(reads)

            """
        for (name, state) in parts where state != .healthy { text += "  \(name)    \(state.text)\n" }
        if let databaseError { text += "  database    cannot be asked: \(databaseError)\n" }
        return text + "\n"
    }

    private var reads: String {
        switch identity.role {
        case .processing: "reads       \(identity.topic), group \(identity.group)"
        case .maintenance: "reads       nothing: maintenance beside another engine, which reads \(identity.topic)"
        }
    }

    private var work: String {
        switch identity.role {
        case .processing where counts.messages == 0: "  nothing has come yet: \(partitionsInWords)\n\n"
        case .processing: StatusReport.lines(processed + whole)
        case .maintenance: StatusReport.lines(whole)
        }
    }

    private static func lines(_ entries: [(name: String, value: String)]) -> String {
        entries.map { name, value in
            "  " + name + String(repeating: " ", count: max(1, 12 - name.count)) + value + "\n"
        }.joined() + "\n"
    }

    /// What has become of messages.
    private var processed: [(name: String, value: String)] {
        let (counts, size, latency) = (counts, size, latency)
        let stages = LatencyStage.allCases.map {
            "\($0.rawValue) \(PlainNumbers.between(self.latency(of: $0).quantile(0.5)))"
        }
        return [
            (
                "throughput",
                "\(PlainNumbers.rate(messagesPerSecond)) messages/s, \(PlainNumbers.rate(rowsPerSecond)) rows/s, "
                    + "lag \(lag.map { PlainNumbers.count($0) } ?? "not known")"
            ),
            ("batches", batchesInWords),
            (
                "latency",
                "median \(PlainNumbers.seconds(latency.quantile(0.5))), 95 % \(PlainNumbers.seconds(latency.quantile(0.95))), "
                    + "99 % \(PlainNumbers.seconds(latency.quantile(0.99))) (reading to row, last 10 min)"
            ),
            ("stages", stages.joined(separator: ", ") + " (medians)"),
            (
                "since start",
                "\(PlainNumbers.count(counts.messages)) messages, \(PlainNumbers.count(counts.rows)) rows, "
                    + "\(PlainNumbers.count(counts.duplicates)) duplicates, \(PlainNumbers.count(counts.late)) late, "
                    + "\(PlainNumbers.count(counts.rejected)) rejected"
                    + (counts.conflicts == 0 ? "" : ", \(PlainNumbers.count(counts.conflicts)) conflicts")
            ),
            (
                "state",
                "\(PlainNumbers.count(size.sensors)) sensors, \(PlainNumbers.count(size.windows)) open windows, "
                    + PlainNumbers.bytes(Double(size.bytes))
            ),
        ]
    }

    /// What holds for the database and this process, whatever it does.
    private var whole: [(name: String, value: String)] {
        var lines: [(name: String, value: String)] = []
        if let database { lines.append(("missing", "\(PlainNumbers.count(database.missing)) readings")) }
        if let alerts = database?.alerts {
            let open = alerts.map { "\(PlainNumbers.count($0.count)) \($0.kind) (\($0.severity))" }
            lines.append(("alerts open", open.isEmpty ? "none" : open.joined(separator: ", ")))
        }
        lines.append(
            (
                "resources",
                "\(PlainNumbers.share(history.last?.cpuShare)) of a core, "
                    + PlainNumbers.bytes(history.last?.residentBytes)
            ))
        return lines
    }

    private var partitionsInWords: String {
        let count = pipelines.reduce(0) { $0 + $1.partitions.count }
        return count == 0 ? "no partition is assigned" : "\(count) partitions are assigned, and empty or being read"
    }

    private var batchesInWords: String {
        guard let last = batches.last else { return "none" }
        let slowest = batches.map(\.seconds).max() ?? 0
        return "\(PlainNumbers.count(counts.batches)), the last one \(PlainNumbers.count(last.messages)) messages in "
            + "\(PlainNumbers.seconds(last.seconds)), slowest of \(batches.count) \(PlainNumbers.seconds(slowest))"
    }

    private var partitionTable: String {
        guard pipelines.contains(where: { !$0.partitions.isEmpty }) else { return "" }
        var table = TextTable(["partition", "worker", "next offset", "end", "lag"], rightAligned: [0, 1, 2, 3, 4])
        for pipeline in pipelines {
            for view in pipeline.partitions {
                table.append(
                    ["\(view.partition)", "\(pipeline.worker)"]
                        + [view.committed, view.end, view.lag].map { $0.map { PlainNumbers.count($0) } ?? "-" })
            }
        }
        return table.text + "\n"
    }

    private var memberTable: String {
        guard let members = database?.members, !members.isEmpty else { return "" }
        return ProcessorMember.table(members)
    }
}

extension ProcessorMember {
    /// The members of the group, a line each.
    static func table(_ members: [ProcessorMember]) -> String {
        var table = TextTable(
            ["processor", "worker", "host", "state", "lag", "messages/s", "partitions"], rightAligned: [1, 4, 5])
        for member in members {
            table.append([
                member.instance, "\(member.worker)", member.host,
                member.isGone ? "gone for \(PlainNumbers.seconds(member.age))" : member.state,
                member.isGone ? "-" : member.lag.map { PlainNumbers.count($0) } ?? "-",
                member.isGone ? "-" : PlainNumbers.rate(member.messagesPerSecond),
                member.partitions.isEmpty ? "none" : member.partitions.map { "\($0)" }.joined(separator: " "),
            ])
        }
        return table.text
    }
}
