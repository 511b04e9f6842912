/// What became of the selected messages.
public struct RedriveReport: Sendable, Equatable, CustomStringConvertible {
    /// The messages of one reason.
    struct Counts: Sendable, Equatable {
        /// Asked for.
        var selected = 0
        /// Valid under the present settings, and not stored.
        var valid = 0
        /// Valid, and stored already.
        var stored = 0
        /// Would be rejected again.
        var invalid = 0
        /// Sent, or in a dry run to be sent.
        var sent = 0
    }

    /// Whether nothing was sent.
    var isDryRun = false
    /// By reason.
    var counts: [String: Counts] = [:]
    /// Rejected again after they were sent back: only the newest is looked at.
    var superseded = 0
    /// Not written by a processor, or from another topic.
    var foreign = 0
    /// Their value was left where it was read from, and is not there any more.
    var gone = 0
    /// The repair command failed on them.
    var unrepaired = 0
    /// The broker refused them for good.
    var refused = 0

    /// Whether everything that was to be sent was sent.
    public var isGood: Bool { unrepaired == 0 && refused == 0 && gone == 0 }

    /// A table, and a sentence for each thing that needs one.
    public var description: String {
        let verb = isDryRun ? "to send" : "sent"
        var rows = [["reason", "selected", "valid now", "already stored", "still invalid", verb]]
        var total = Counts()
        for (reason, count) in counts.sorted(by: { $0.key < $1.key }) {
            rows.append([reason] + cells(count))
            total.selected += count.selected
            total.valid += count.valid
            total.stored += count.stored
            total.invalid += count.invalid
            total.sent += count.sent
        }
        rows.append(["total"] + cells(total))
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            row.enumerated().map { column, text in
                let padding = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + padding : padding + text
            }.joined(separator: "  ")
        }
        func note(_ count: Int, _ text: String) {
            if count > 0 { lines.append("\(count) \(text)") }
        }
        note(superseded, "older copies of messages that were rejected more than once")
        note(foreign, "messages that no processor of this topic rejected")
        note(gone, "messages whose value the broker does not have any more")
        note(unrepaired, "messages that the repair command failed on")
        note(refused, "messages that the broker does not take")
        return lines.joined(separator: "\n")
    }

    private func cells(_ count: Counts) -> [String] {
        [count.selected, count.valid, count.stored, count.invalid, count.sent].map { "\($0)" }
    }
}
