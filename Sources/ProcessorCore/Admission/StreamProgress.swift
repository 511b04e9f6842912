import ReadingDecoding

/// What is known of one stream: all numbers from `first` to `last` have been admitted, less those in `losses`.
///
/// It is made of what readings and reports say, and does not depend on the order in which they come nor on how often:
/// `first` and `end` are the smallest that any of them tells, `last` is the largest, and of two reasons of one number the
/// larger holds. So neither added partitions nor messages sent again do harm.
struct StreamProgress: Sendable {
    /// The smallest number that is known, by default 1.
    private(set) var first: Int64
    /// The largest number that was admitted or told; `first - 1` if there is none.
    private(set) var last: Int64
    /// The largest number that was admitted; 0 if none was.
    private(set) var lastAdmitted: Int64
    /// The event time of the reading `lastAdmitted`, milliseconds since 1970.
    private(set) var lastEventTime: Int64?
    /// The smallest number that was told to be the stream's last one; nil if none was. If it is less than `last`, the end
    /// is not known: whoever told it speaks from a copy of the outbox, and what else was on the original nobody knows.
    private(set) var end: Int64?
    /// The stream before it in the same outbox. Of several, that with the largest identity.
    private(set) var previous: DecodedReport.Previous
    /// Which numbers from `first` to `last` are not there.
    private(set) var losses: LossRanges
    /// The ranges that have changed since they were written, by their first numbers, as they were then.
    private(set) var changes: [Int64: LossRange?] = [:]

    /// The progress of a stream; by default of one of which nothing is known.
    init(
        first: Int64 = 1, last: Int64? = nil, lastEventTime: Int64? = nil, end: Int64? = nil,
        previous: DecodedReport.Previous = .notTold, losses: LossRanges = LossRanges()
    ) {
        self.first = first
        self.last = last ?? first - 1
        self.lastEventTime = lastEventTime
        self.end = end
        self.previous = previous
        self.losses = losses
        lastAdmitted = self.last
        while let range = losses.range(endingWith: lastAdmitted) { lastAdmitted = range.first - 1 }
        if lastAdmitted < first { lastAdmitted = 0 }
    }

    /// Takes up the ranges that are not there, after the progress itself was read.
    mutating func restore(_ losses: LossRanges) {
        self = StreamProgress(
            first: first, last: last, lastEventTime: lastEventTime, end: end, previous: previous, losses: losses)
    }

    /// What ranges come to that were seen at some time or later, milliseconds since 1970.
    mutating func lossDigests(since: Int64) -> [LossRanges.Digest] { losses.digests(since: since) }

    /// How many numbers are not there.
    var missing: Int64 { losses.numbers }

    /// Whether something other than its ranges differs.
    func differs(from other: StreamProgress) -> Bool {
        first != other.first || last != other.last || lastEventTime != other.lastEventTime || end != other.end
            || previous != other.previous
    }

    /// The ranges that have changed since they were written: those that are gone or different, and those that are new or
    /// different.
    var rangesToWrite: (gone: [Int64], new: [LossRange]) {
        var (gone, new): ([Int64], [LossRange]) = ([], [])
        for (first, before) in changes {
            let after = losses[first]
            if after == before { continue }
            if before != nil { gone.append(first) }
            if let after { new.append(after) }
        }
        return (gone, new)
    }

    /// Notes that the ranges are written.
    mutating func forgetChanges() { changes = [:] }

    // MARK: Readings

    /// Admits a reading once.
    /// - Parameters:
    ///   - sequence: its number, at least 1.
    ///   - streamFirst: the first number of its stream, 1 to `sequence`.
    ///   - eventTime: milliseconds since 1970.
    /// - Returns: false if it was admitted before.
    mutating func admit(_ sequence: Int64, streamFirst: Int64 = 1, eventTime: Int64) -> Bool {
        if streamFirst < first { lower(to: streamFirst) }
        if sequence > last {
            if sequence > last + 1 { extend(to: sequence - 1) }
            if lastAdmitted != last, var range = losses.last {
                range.timeAfter = eventTime
                set(range)
            }
            last = sequence
        } else {
            guard let range = losses.range(containing: sequence) else { return false }
            take(sequence, outOf: range, eventTime: eventTime)
        }
        if sequence > lastAdmitted {
            lastAdmitted = sequence
            lastEventTime = eventTime
        }
        return true
    }

    private mutating func take(_ sequence: Int64, outOf range: LossRange, eventTime: Int64) {
        remove(range)
        if range.first < sequence {
            var left = range
            (left.last, left.timeAfter) = (sequence - 1, eventTime)
            set(left)
        } else if var left = losses.range(endingWith: sequence - 1) {
            left.timeAfter = eventTime
            set(left)
        }
        if range.last > sequence {
            var right = range
            (right.first, right.timeBefore) = (sequence + 1, eventTime)
            set(right)
        } else if var right = losses[sequence + 1] {
            right.timeBefore = eventTime
            set(right)
        }
    }

    // MARK: Reports

    /// Takes note of what a report says of the stream.
    mutating func note(first: Int64, last: Int64?, previous: DecodedReport.Previous) {
        if first < self.first { lower(to: first) }
        if let last {
            end = min(end ?? last, last)
            extend(to: last)
        }
        self.previous = max(self.previous, previous)
    }

    /// Gives numbers that were not admitted their reason. Those that were not known are known from now on.
    /// - Parameter ranges: disjoint and in order.
    mutating func note(gap ranges: [ClosedRange<Int64>], reason: LossReason) {
        guard let lowest = ranges.first?.lowerBound, let highest = ranges.last?.upperBound else { return }
        if lowest < first { lower(to: lowest) }
        extend(to: highest)
        for range in ranges { give(range, reason) }
    }

    private mutating func give(_ numbers: ClosedRange<Int64>, _ reason: LossReason) {
        var next = numbers.lowerBound
        while let range = losses.firstRange(through: next), range.first <= numbers.upperBound {
            next = range.last + 1
            if range.reason >= reason { continue }
            remove(range)
            var middle = range
            middle.reason = reason
            if range.first < numbers.lowerBound {
                var left = range
                (left.last, left.timeAfter) = (numbers.lowerBound - 1, nil)
                set(left)
                (middle.first, middle.timeBefore) = (numbers.lowerBound, nil)
            }
            if range.last > numbers.upperBound {
                var right = range
                (right.first, right.timeBefore) = (numbers.upperBound + 1, nil)
                set(right)
                (middle.last, middle.timeAfter) = (numbers.upperBound, nil)
            }
            join(middle)
        }
    }

    // MARK: What is known

    /// Makes a smaller number the first one.
    private mutating func lower(to number: Int64) {
        if last < first {
            (first, last) = (number, number - 1)
            if let end { extend(to: end) }
        } else {
            let range = LossRange(first: number, last: first - 1)
            first = number
            join(range)
        }
    }

    /// Makes a number the last one, if it is larger.
    private mutating func extend(to number: Int64) {
        if number <= last { return }
        let timeBefore = lastAdmitted == last ? lastEventTime : nil
        let range = LossRange(first: last + 1, last: number, timeBefore: timeBefore)
        last = number
        join(range)
    }

    /// Adds a range, as one with those of the same reason that touch it.
    private mutating func join(_ range: LossRange) {
        var range = range
        if let left = losses.range(endingWith: range.first - 1), left.reason == range.reason {
            remove(left)
            (range.first, range.timeBefore) = (left.first, left.timeBefore)
        }
        if let right = losses[range.last + 1], right.reason == range.reason {
            remove(right)
            (range.last, range.timeAfter) = (right.last, right.timeAfter)
        }
        set(range)
    }

    private mutating func set(_ range: LossRange) {
        noteChange(at: range.first)
        losses[range.first] = range
    }

    private mutating func remove(_ range: LossRange) {
        noteChange(at: range.first)
        losses[range.first] = nil
    }

    private mutating func noteChange(at first: Int64) {
        if changes[first] == nil { changes[first] = .some(losses[first]) }
    }
}
