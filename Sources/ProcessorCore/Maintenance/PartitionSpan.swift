import Readings

/// The days of one partition of `sensor_data`.
struct PartitionSpan: Equatable {
    /// How many days it holds.
    enum Length: CaseIterable {
        case year, month, day

        /// Only what lies so many days in the past as a whole is put together to this length: longer than a board is
        /// offline, which is why nearly every partition holds a day.
        fileprivate var leastAge: Int64 {
            switch self {
            case .year: 730
            case .month: 40
            case .day: .min
            }
        }
    }

    /// Days since 1970.
    var days: Range<Int64>
    /// `sensor_data_2026`, `sensor_data_202611` or `sensor_data_20261124`.
    var name: String

    /// The span of a length that a day is in.
    init(_ length: Length, of day: Int64) {
        let date = Timestamp(day: day).date
        let (start, end) =
            switch length {
            case .year:
                (Timestamp(year: date.year, month: 1, day: 1), Timestamp(year: date.year + 1, month: 1, day: 1))
            case .month:
                (
                    Timestamp(year: date.year, month: date.month, day: 1),
                    date.month == 12
                        ? Timestamp(year: date.year + 1, month: 1, day: 1)
                        : Timestamp(year: date.year, month: date.month + 1, day: 1)
                )
            case .day: (Timestamp(day: day), Timestamp(day: day + 1))
            }
        days = start.day..<end.day
        let digits = Timestamp(day: day).description.prefix(10).filter { $0 != "-" }
        name = "sensor_data_" + digits.prefix(length == .year ? 4 : length == .month ? 6 : 8)
    }

    /// The spans to make so that each of some days has a partition. What is long past is put together to months and
    /// years where no partition is yet, so that however wrong clocks are, there are never thousands of partitions, which
    /// every statement would have to lock.
    /// - Parameters:
    ///   - days: days since 1970.
    ///   - today: the same.
    ///   - existing: the days of the partitions that there are.
    static func missing(for days: Set<Int64>, today: Int64, existing: [Range<Int64>]) -> [PartitionSpan] {
        var existing = existing
        var spans: [PartitionSpan] = []
        for day in days.sorted() where !existing.contains(where: { $0.contains(day) }) {
            for length in Length.allCases {
                let span = PartitionSpan(length, of: day)
                let isPast = length == .day || today - span.days.upperBound >= length.leastAge
                if isPast, length == .day || !existing.contains(where: { $0.overlaps(span.days) }) {
                    existing.append(span.days)
                    spans.append(span)
                    break
                }
            }
        }
        return spans
    }
}

extension Timestamp {
    /// Days since 1970, in UTC.
    var day: Int64 { milliseconds.flooredQuotient(by: 86_400_000) }

    /// The beginning of a day, in days since 1970.
    init(day: Int64) {
        self.init(milliseconds: day * 86_400_000)
    }
}
