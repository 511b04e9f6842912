/// The notation of durations that a person writes in a configuration or on a command line: a whole number and a
/// unit, such as `500ms`, `10s`, `15m`, `2h`, `1d`.
extension Duration {
    /// The units, from the smallest to the largest, each in microseconds.
    private static let units: [(name: String, microseconds: Int64)] = [
        ("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000),
    ]

    /// Reads a duration.
    /// - Returns: nil if the text is anything but digits and a unit (`us`, `ms`, `s`, `m`, `h`, `d`), or is longer
    ///   than about 290,000 years.
    public init?(notation text: some StringProtocol) {
        guard let (count, unit) = splitNotation(text),
            let factor = Duration.units.first(where: { $0.name == unit })?.microseconds
        else { return nil }
        let (microseconds, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        self = .microseconds(microseconds)
    }

    /// The shortest notation that reads back as the same duration, to the microsecond.
    public var notation: String {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow, scaled.magnitude < 1 << 62 else { return "\(seconds)s" }
        let microseconds = scaled + attoseconds / 1_000_000_000_000
        guard microseconds != 0 else { return "0s" }
        for unit in Duration.units.reversed() where microseconds % unit.microseconds == 0 {
            return "\(microseconds / unit.microseconds)\(unit.name)"
        }
        return "\(microseconds)us"
    }
}

/// A number of bytes, written by people as `512`, `64KiB`, `64MiB` or `2GiB`, and as `64kB`, `64MB`, `2GB` in powers
/// of ten (IEC 80000-13).
public struct ByteCount: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The bytes; never negative.
    public var bytes: Int64

    private static let units: [(name: String, bytes: Int64)] = [
        ("", 1), ("B", 1), ("kB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20),
        ("GB", 1_000_000_000), ("GiB", 1 << 30), ("TB", 1_000_000_000_000), ("TiB", 1 << 40),
    ]

    /// Makes a count.
    public init(bytes: Int64) {
        self.bytes = bytes
    }

    /// A count of mebibytes.
    public static func mebibytes(_ count: Int64) -> ByteCount { ByteCount(bytes: count << 20) }

    /// Reads a size.
    /// - Returns: nil if the text is anything but digits and one of the units.
    public init?(notation text: some StringProtocol) {
        guard let (count, unit) = splitNotation(text),
            let factor = ByteCount.units.first(where: { $0.name == unit })?.bytes
        else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    /// The size in its largest binary unit without a fraction.
    public var description: String {
        for (name, size) in [("TiB", Int64(1) << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        where bytes != 0 && bytes % size == 0 {
            return "\(bytes / size)\(name)"
        }
        return "\(bytes)B"
    }

    /// Orders by size.
    public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}

/// Splits digits from the unit that follows them.
private func splitNotation(_ text: some StringProtocol) -> (count: Int64, unit: String)? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits) else { return nil }
    return (count, String(text.dropFirst(digits.count)))
}
