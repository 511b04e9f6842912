/// Ranges of numbers in ascending order, disjoint and not adjacent, and their compact form in the file.
struct NumberRanges: Sendable, Equatable {
    /// The ranges.
    private(set) var ranges: [ClosedRange<Int64>] = []

    init() {}

    init(_ range: ClosedRange<Int64>) {
        ranges = [range]
    }

    private init(_ ranges: [ClosedRange<Int64>]) {
        self.ranges = ranges
    }

    var isEmpty: Bool { ranges.isEmpty }
    var first: Int64? { ranges.first?.lowerBound }
    var last: Int64? { ranges.last?.upperBound }
    /// How many numbers there are.
    var count: Int64 { ranges.reduce(0) { $0 + Int64($1.count) } }

    /// Adds a number that is greater than all that are there.
    mutating func append(_ number: Int64) {
        append(number...number)
    }

    /// Adds a range whose numbers are greater than all that are there.
    mutating func append(_ range: ClosedRange<Int64>) {
        if let end = ranges.last, range.lowerBound <= end.upperBound + 1 {
            ranges[ranges.count - 1] = end.lowerBound...max(end.upperBound, range.upperBound)
        } else {
            ranges.append(range)
        }
    }

    /// The numbers up to and with `number`, and those above it.
    func split(after number: Int64) -> (through: NumberRanges, rest: NumberRanges) {
        var (through, rest) = (NumberRanges(), NumberRanges())
        for range in ranges {
            if range.lowerBound <= number { through.append(range.lowerBound...min(range.upperBound, number)) }
            if range.upperBound > number { rest.append(max(range.lowerBound, number + 1)...range.upperBound) }
        }
        return (through, rest)
    }

    /// The numbers of this that are not in `others`.
    func subtracting(_ others: NumberRanges) -> NumberRanges {
        var result = NumberRanges()
        var rest = others.ranges[...]
        for range in ranges {
            var start = range.lowerBound
            while let other = rest.first, other.upperBound < start { rest.removeFirst() }
            for other in rest {
                if other.lowerBound > range.upperBound { break }
                if other.lowerBound > start { result.append(start...other.lowerBound - 1) }
                start = other.upperBound + 1
            }
            if start <= range.upperBound { result.append(start...range.upperBound) }
        }
        return result
    }

    /// The numbers of this that are in `range` too.
    func clamped(to range: ClosedRange<Int64>) -> NumberRanges {
        split(after: range.upperBound).through.split(after: range.lowerBound - 1).rest
    }

    /// The same ranges in parts of at most `count`.
    func parts(of count: Int) -> [NumberRanges] {
        stride(from: 0, to: ranges.count, by: count).map {
            NumberRanges(Array(ranges[$0..<min($0 + count, ranges.count)]))
        }
    }
}

extension NumberRanges {
    /// The ranges as bytes: for each the distance from the end of the one before, and its length less one, as numbers of
    /// seven bits a byte, the low ones first, the highest bit set in all but the last (LEB128).
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        func append(_ number: Int64) {
            var rest = UInt64(bitPattern: number)
            while rest >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            bytes.append(UInt8(truncatingIfNeeded: rest))
        }
        var end: Int64 = 0
        for range in ranges {
            append(range.lowerBound - end)
            append(range.upperBound - range.lowerBound)
            end = range.upperBound
        }
        return bytes
    }

    /// Reads the form of `encoded`.
    /// - Returns: nil if it is no such form, or a number is none of an outbox.
    init?(encoded bytes: [UInt8]) {
        var rest = bytes[...]
        func next() -> Int64? {
            var (value, shift): (UInt64, UInt64) = (0, 0)
            while let byte = rest.popFirst(), shift < 56 {
                value |= UInt64(byte & 0x7F) << shift
                if byte & 0x80 == 0 { return Int64(value) }
                shift += 7
            }
            return nil
        }
        var (ranges, end): ([ClosedRange<Int64>], Int64) = ([], 0)
        while !rest.isEmpty {
            guard let distance = next(), let length = next(), distance > 0 else { return nil }
            let first = end + distance
            end = first + length
            guard Outbox.numbers.contains(end) else { return nil }
            ranges.append(first...end)
        }
        self.init(ranges)
    }
}
