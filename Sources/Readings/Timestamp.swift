import Glibc

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX time).
public struct Timestamp: Sendable, Hashable, Comparable {
    /// Milliseconds since the epoch; negative before it.
    public var milliseconds: Int64

    /// Makes a timestamp.
    /// - Parameter milliseconds: since the epoch.
    @inlinable
    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// Orders by time.
    @inlinable
    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// The earliest and the latest instant that RFC 3339 can write: years 0000 to 9999.
    public static let representable =
        Timestamp(milliseconds: -62_167_219_200_000)...Timestamp(milliseconds: 253_402_300_799_999)
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC with milliseconds, such as `2026-03-01T06:30:00.250Z`.
    public var description: String {
        var bytes: [UInt8] = []
        appendRFC3339(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the 24 bytes of `description`. Times outside `representable` are clamped to it.
    public func appendRFC3339(to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: 24, alignment: 1) { space in
            bytes.append(contentsOf: space[..<writeRFC3339(to: space)])
        }
    }

    /// Writes the 24 bytes of `description` to memory that has room for them.
    /// - Returns: 24.
    func writeRFC3339(to space: UnsafeMutableRawBufferPointer) -> Int {
        let clamped = min(max(self, Timestamp.representable.lowerBound), Timestamp.representable.upperBound)
        let days = clamped.milliseconds.flooredQuotient(by: 86_400_000)
        let inDay = clamped.milliseconds - days * 86_400_000
        let (year, month, day) = civilDate(daysSinceEpoch: days)
        var count = 0
        func write(_ value: Int64, digits: Int, then separator: UInt8) {
            var rest = value
            for index in stride(from: count + digits - 1, through: count, by: -1) {
                space[index] = UInt8(48 + rest % 10)
                rest /= 10
            }
            space[count + digits] = separator
            count += digits + 1
        }
        write(year, digits: 4, then: UInt8(ascii: "-"))
        write(month, digits: 2, then: UInt8(ascii: "-"))
        write(day, digits: 2, then: UInt8(ascii: "T"))
        write(inDay / 3_600_000, digits: 2, then: UInt8(ascii: ":"))
        write(inDay / 60_000 % 60, digits: 2, then: UInt8(ascii: ":"))
        write(inDay / 1000 % 60, digits: 2, then: UInt8(ascii: "."))
        write(inDay % 1000, digits: 3, then: UInt8(ascii: "Z"))
        return count
    }

    /// Reads an RFC 3339 date-time (section 5.6) with any offset and any number of fraction digits; digits beyond
    /// the millisecond are dropped. A leap second (`:60`) counts as the first instant of the next minute.
    /// - Parameter bytes: the whole text, without white space around it.
    /// - Returns: nil if it is not such a date-time, or names a day that does not exist.
    public init?(rfc3339 bytes: UnsafeBufferPointer<UInt8>) {
        func number(at offset: Int, digits: Int) -> Int64? {
            guard offset + digits <= bytes.count else { return nil }
            var value: Int64 = 0
            for index in offset..<offset + digits {
                let digit = bytes[index] &- 48
                guard digit < 10 else { return nil }
                value = value * 10 + Int64(digit)
            }
            return value
        }
        guard bytes.count >= 20,
            bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] | 0x20 == UInt8(ascii: "t"),
            bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            let year = number(at: 0, digits: 4), let month = number(at: 5, digits: 2),
            let day = number(at: 8, digits: 2), let hour = number(at: 11, digits: 2),
            let minute = number(at: 14, digits: 2), let second = number(at: 17, digits: 2),
            (1...12).contains(month), day >= 1, day <= daysInMonth(year: year, month: month),
            hour <= 23, minute <= 59, second <= 60
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if bytes[index] == UInt8(ascii: ".") {
            index += 1
            var scale: Int64 = 100
            let first = index
            while index < bytes.count, bytes[index] &- 48 < 10 {
                fraction += Int64(bytes[index] &- 48) * scale
                scale /= 10
                index += 1
            }
            guard index > first else { return nil }
        }
        guard index < bytes.count else { return nil }
        var offsetMinutes: Int64 = 0
        switch bytes[index] {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"):
            guard index + 1 == bytes.count else { return nil }
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard index + 6 == bytes.count, bytes[index + 3] == UInt8(ascii: ":"),
                let hours = number(at: index + 1, digits: 2), let minutes = number(at: index + 4, digits: 2),
                hours <= 23, minutes <= 59
            else { return nil }
            offsetMinutes = (hours * 60 + minutes) * (bytes[index] == UInt8(ascii: "-") ? -1 : 1)
        default:
            return nil
        }
        let days = daysSinceEpoch(year: year, month: month, day: day)
        milliseconds =
            days * 86_400_000 + hour * 3_600_000 + (minute - offsetMinutes) * 60_000 + second * 1000 + fraction
    }

    /// Reads an RFC 3339 date-time as `init(rfc3339:)` on bytes does.
    public init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ Timestamp(rfc3339: $0) }) else { return nil }
        self = value
    }
}

extension Int64 {
    /// The quotient rounded towards minus infinity. `divisor` is positive.
    @inlinable
    public func flooredQuotient(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

extension Timestamp {
    /// Its day in UTC, by the Gregorian calendar.
    public var date: (year: Int64, month: Int64, day: Int64) {
        civilDate(daysSinceEpoch: milliseconds.flooredQuotient(by: 86_400_000))
    }

    /// The beginning of a day in UTC. The month is 1 to 12 and the day 1 to 31.
    public init(year: Int64, month: Int64, day: Int64) {
        self.init(milliseconds: daysSinceEpoch(year: year, month: month, day: day) * 86_400_000)
    }
}

// The proleptic Gregorian calendar by eras of 400 years that begin on 1 March, so that the leap day comes last.
private func daysSinceEpoch(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = shiftedYear.flooredQuotient(by: 400)
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func civilDate(daysSinceEpoch days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted.flooredQuotient(by: 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
}

private func daysInMonth(year: Int64, month: Int64) -> Int64 {
    switch month {
    case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
}
