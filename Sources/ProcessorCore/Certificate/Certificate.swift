/// The outcome of recomputing everything from the raw rows.
public struct Certificate: Sendable, Equatable {
    /// Rows of `sensor_data`.
    public var rows: Int64 = 0
    /// Streams with at least one row.
    public var streams: Int64 = 0
    /// Readings that are there more than once.
    public var duplicates: Int64 = 0
    /// Readings that were numbered and are not there, by the reasons in `loss`.
    public var losses: [String: Int64] = [:]
    /// Readings that were admitted and are not kept any more.
    public var expired: Int64 = 0
    /// Rows of `sensor_data_agg`.
    public var windows: Int64 = 0
    /// Those that are final.
    public var finalWindows: Int64 = 0
    /// Those that begin before the readings that are kept, and so cannot be recomputed.
    public var oldWindows: Int64 = 0
    /// Open windows that lack readings, or have no row yet though it is time: they are written soon.
    public var windowsBehind: Int64 = 0
    /// Messages of the topic that nobody has read yet.
    public var unread = UnreadMessages.notAsked("no broker was named")
    /// Gateways with more streams than one whose end is not known, or with one that is not their last, or with one whose
    /// beginning is not known, a line each, the first of them.
    public var openStreams: [String] = []
    /// How many there are.
    public var openStreamCount: Int64 = 0
    /// Gateways that have been silent for ten of their intervals while the end of a stream is not known.
    public var silentGateways: Int64 = 0
    /// Readings that came under numbers that other readings have.
    public var conflicts: Int64 = 0
    /// Those of them whose rows are not there under a stream of their own: they are in the rejected topic.
    public var openConflicts: Int64 = 0
    /// Gateways with such conflicts, a line each, the first of them.
    public var conflictExamples: [String] = []
    /// What does not agree, a line each, the first of each kind.
    public var mismatches: [String] = []
    /// How many things do not agree.
    public var mismatchCount: Int64 = 0

    /// Whether all agrees, every stream is known to its end, every reading has a number of its own, and what is missing is
    /// not merely unread.
    public var isGood: Bool {
        mismatchCount == 0 && openStreamCount == 0 && openConflicts == 0 && !mayFindMissing
    }

    /// Readings that were numbered and are not there.
    public var missing: Int64 {
        losses.values.reduce(0) { $0.addingClamped($1) }
    }

    /// Readings that are not there, and nobody has said why.
    public var unexplained: Int64 { losses[LossReason.unknown.text] ?? 0 }

    /// Whether readings that are missing may be among messages that nobody has read yet.
    public var mayFindMissing: Bool { unexplained > 0 && (unread.count ?? 0) > 0 }

    /// Of one kind of trouble so many are listed.
    static let mostExamples = 10
    /// Of one gateway so many streams are listed.
    static let mostStreams = 4

    /// Adds to what does not agree.
    /// - Parameters:
    ///   - count: how many things.
    ///   - text: one line for all of them.
    mutating func addMismatches(_ count: Int64, _ text: String) {
        mismatchCount += count
        mismatches.append(text)
    }

    mutating func addOpen(_ text: String) {
        openStreamCount += 1
        if openStreams.count < Certificate.mostExamples { openStreams.append(text) }
    }
}

extension Int64 {
    /// The sum, or the largest number if it is beyond that. Neither may be negative.
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

extension Certificate: CustomStringConvertible {
    /// The certificate as it is printed.
    public var description: String {
        var lines = [
            "readings          \(rows) in \(streams) streams, each once" + (duplicates == 0 ? "" : ": NO"),
            "missing readings  \(missing)" + reasons
                + (mayFindMissing ? "; those among the unread messages are not lost" : ""),
            "unread messages   \(unread)",
        ]
        if expired > 0 { lines.append("expired readings  \(expired), admitted once and older than retention keeps") }
        lines.append(
            "windows           \(windows), \(finalWindows) of them final, recomputed from the readings"
                + (oldWindows == 0 ? "" : ", but for \(oldWindows) that are older than these")
                + (windowsBehind == 0 ? "" : "; \(windowsBehind) open ones wait for their next writing"))
        if silentGateways > 0 {
            lines.append(
                "silent gateways   \(silentGateways), whose streams have not ended: what they hold is not counted here")
        }
        if conflicts > 0 {
            lines.append(
                "conflicts         \(conflicts) readings under numbers of others, \(conflicts - openConflicts) of them rows now"
            )
        }
        if mismatchCount > 0 {
            lines.append("NOT VERIFIED      \(mismatchCount) mismatches, of which:")
            lines += mismatches.map { "  " + $0 }
        }
        if openStreamCount > 0 {
            lines.append(
                """
                NOT VERIFIED      \(mismatchCount > 0 ? "and " : "what was read agrees, but ")nobody knows how far these \
                streams go. A gateway's report tells the end of a stream when it starts with the next one:
                """)
            lines += openStreams.map { "  " + $0 }
            let others = openStreamCount - Int64(openStreams.count)
            if others > 0 { lines.append("  and \(others) others") }
        }
        if openConflicts > 0 {
            lines.append(
                """
                NOT VERIFIED      \(isOtherwiseGood ? "what else was read agrees, but" : "and") \(openConflicts) readings \
                came under numbers that other readings have; "vigie-processor redrive --reason sequence_conflict" makes \
                rows of them:
                """)
            lines += conflictExamples.map { "  " + $0 }
        }
        if isOtherwiseGood, openConflicts == 0 { lines.append(conclusion) }
        return lines.joined(separator: "\n")
    }

    private var isOtherwiseGood: Bool { mismatchCount == 0 && openStreamCount == 0 }

    /// What is missing by its reasons, the largest first.
    private var reasons: String {
        if missing == 0 { return "" }
        let counts = losses.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return " (\(counts.map { "\($0.value) \($0.key)" }.joined(separator: ", "))), listed in the table loss"
    }

    /// What can be said when there is no mismatch.
    private var conclusion: String {
        switch unread.count {
        case nil where unexplained > 0:
            "verified          everything agrees that was read; missing readings may be among what was not"
        case nil, 0: "verified          everything agrees"
        case let count? where unexplained > 0:
            """
            NOT VERIFIED      what was read agrees, but missing readings may be among the \(count) unread messages: \
            verify again when they are read
            """
        case let count?: "verified          everything agrees that was read; \(count) messages are not read yet"
        }
    }
}
