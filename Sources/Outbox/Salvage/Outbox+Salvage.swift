import Glibc
import Readings

// What is taken out of damaged files, and what is told of the rest.
extension Outbox {
    /// The word in the name of a file that is set aside until all is taken out of it, and afterwards.
    static let damaged = "damaged"
    private static let salvaged = "salvaged"

    /// Takes what can be read out of the files that were set aside, also by an earlier process that did not come to the end.
    func salvage(into file: OutboxFile, because cause: OutboxError?) throws(OutboxError) {
        let given = knowsNumbers ? lastNumber : nil
        for aside in filesSetAside(beside: path, word: Self.damaged) {
            var work = Salvage(
                path: aside, into: file, acknowledgedThrough: acknowledgedThrough,
                running: knowsNumbers ? lastStream : nil)
            var interruption: OutboxError?
            do throws(OutboxError) {
                try work.run()
            } catch {
                interruption = error
            }
            try adopt(file)
            isEndKnown = knowsNumbers
            var missing: Int64 = 0
            var name = aside
            if interruption == nil {
                missing = try tellMissing(in: file, given: given)
                // The word stands behind the outbox's own name.
                name = path + "." + Self.salvaged + aside.dropFirst(path.utf8.count + 1 + Self.damaged.utf8.count)
                rename(aside, name)
                rename(aside + "-wal", name + "-wal")
            }
            observer.salvaged(
                OutboxSalvage(
                    path: name, cause: cause, readings: work.readings, missing: missing, interruption: interruption))
        }
        // They are for a person to look at. What was no outbox, such as a file that an older release found under the path, is
        // somebody's only copy: it stays.
        let salvaged = filesSetAside(beside: path, word: Self.salvaged)
        guard salvaged.count > 2 else { return }
        for old in salvaged.filter(Salvage.recognises).dropLast(2) {
            for suffix in ["", "-wal"] { unlink(old + suffix) }
        }
    }

    /// Notes as gaps what should be in a salvaged file and is not.
    /// - Parameter given: the largest number that was given; nil if only the file knew it.
    private func tellMissing(in file: OutboxFile, given: Int64?) throws(OutboxError) -> Int64 {
        guard let first = try file.database.integer("SELECT min(seq) FROM reading") ?? given,
            let last = lastNumber
        else { return 0 }
        let start = given == nil ? first : acknowledgedThrough + 1
        guard start <= last else { return 0 }
        var there = NumberRanges()
        try file.database.statement("SELECT seq FROM reading WHERE seq >= ? ORDER BY seq").run([.integer(start)]) {
            row in
            if let number = row.integer(at: 0) { there.append(number) }
        }
        var missing = NumberRanges(start...last).subtracting(there)
        for known in try GapTable.select(through: last, limit: Int.max, from: file.database) {
            missing = missing.subtracting(known.gap.ranges)
        }
        let streams = try StreamTable.all(in: file.database)
        let lost = missing
        try file.database.transaction { () throws(OutboxError) in
            for (index, stream) in streams.enumerated() {
                let end = stream.last ?? (index + 1 < streams.count ? streams[index + 1].first - 1 : last)
                guard stream.first <= end else { continue }
                for part in lost.clamped(to: stream.first...end).parts(of: GapTable.mostRanges) {
                    try GapTable.insert(
                        Gap(
                            streamID: stream.streamID, gatewayID: stream.gatewayID, reason: .unreadable, ranges: part),
                        into: file.database)
                }
            }
        }
        return missing.count
    }
}
