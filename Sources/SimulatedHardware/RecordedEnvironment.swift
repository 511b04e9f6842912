import Platform
import Readings

/// Air that was recorded, replayed from a file of comma-separated values. A value holds until the next row's; what the
/// recording lacks comes from another environment.
public struct RecordedEnvironment: Environment {
    /// Which column holds what.
    public struct Columns: Sendable, Equatable {
        /// A column by its name in the header or its number, counted from 1.
        public enum Column: Sendable, Equatable, CustomStringConvertible {
            /// By name.
            case name(String)
            /// By number.
            case number(Int)

            /// As a person would say it.
            public var description: String {
                switch self {
                case .name(let name): "\"\(name)\""
                case .number(let number): "number \(number)"
                }
            }
        }

        /// When the row was recorded.
        public var time: Column
        /// Where quantities are, in the contract's units; the recording lacks the others.
        public var quantities: [Quantity: Column]

        /// Makes a mapping.
        public init(time: Column, quantities: [Quantity: Column] = [:]) {
            self.time = time
            self.quantities = quantities
        }
    }

    /// A recording that cannot be read: the file, the line if it is one's fault, and what is wrong.
    public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        /// The file's path.
        public var file: String
        /// Counted from 1.
        public var line: Int?
        /// What is wrong, and what was expected.
        public var problem: String

        /// One line for a person, such as `office.csv:17: ...`.
        public var description: String {
            "\(file)\(line.map { ":\($0)" } ?? ""): \(problem)"
        }
    }

    /// Bytes; a recording is held in memory.
    private static let largestFile = 256 << 20

    private let times: [Timestamp]
    /// A quantity's values, one a row.
    private let series: [(quantity: Quantity, values: [Double])]
    private let shift: Int64
    private let remainder: any Environment

    /// The first and the last row's time, shifted.
    public let span: ClosedRange<Timestamp>

    /// Reads a recording.
    ///
    /// The first line is a header. A header with one name fewer than the rows have columns lacks the name of the first,
    /// as tools that write row numbers leave it.
    /// - Parameters:
    ///   - path: the file.
    ///   - columns: which column holds what.
    ///   - offsetMinutes: how far local times, `yyyy-MM-dd HH:mm:ss`, are ahead of UTC. RFC 3339 times say it themselves.
    ///   - shift: added to every time.
    ///   - remainder: gives what the recording lacks, and everything before its first row.
    public init(
        path: String, columns: Columns, offsetMinutes: Int = 0, shift: Duration = .zero, remainder: any Environment
    ) throws(Failure) {
        let bytes: [UInt8]
        do {
            bytes = try readFile(path, limit: RecordedEnvironment.largestFile)
        } catch {
            throw Failure(file: path, line: nil, problem: error.description)
        }
        var reader = DelimitedText(bytes)
        var header: [String] = []
        var indices: (time: Int, quantities: [(Quantity, Int)])?
        var times: [Timestamp] = []
        var values: [[Double]] = []
        do throws(DelimitedText.Malformed) {
            header = try reader.next()?.fields ?? []
            while let row = try reader.next() {
                func malformed(_ problem: String) -> DelimitedText.Malformed {
                    DelimitedText.Malformed(line: row.line, problem: problem)
                }
                if indices == nil, row.fields.count == header.count + 1 { header.insert("", at: 0) }
                guard row.fields.count == header.count else {
                    throw malformed("\(row.fields.count) fields where \(header.count) are expected")
                }
                if indices == nil { indices = try columns.indices(in: header) }
                guard let found = indices else { continue }
                if values.isEmpty { values = found.quantities.map { _ in [] } }
                let field = row.fields[found.time]
                guard let time = Timestamp(recorded: field, offsetMinutes: offsetMinutes) else {
                    throw malformed("\"\(field)\" is no time; yyyy-MM-dd HH:mm:ss or RFC 3339 is expected")
                }
                if let last = times.last, time <= last { throw malformed("\(field) is not later than the row before") }
                times.append(time)
                for (position, column) in found.quantities.enumerated() {
                    let field = row.fields[column.1]
                    guard let value = Double(field), value.isFinite else {
                        throw malformed("\"\(field)\" in column \(column.1 + 1) is no number")
                    }
                    values[position].append(value)
                }
            }
        } catch {
            throw Failure(file: path, line: error.line, problem: error.problem)
        }
        guard let first = times.first, let last = times.last, let indices else {
            throw Failure(file: path, line: nil, problem: "no rows")
        }
        self.times = times
        series = zip(indices.quantities, values).map { ($0.0, $1) }
        let milliseconds = shift.millisecondsRoundedDown
        self.shift = milliseconds
        span =
            Timestamp(
                milliseconds: first.milliseconds + milliseconds)...Timestamp(
                milliseconds: last.milliseconds + milliseconds)
        self.remainder = remainder
    }

    /// The values of the last row at or before `time`.
    public func conditions(at time: Timestamp) -> Conditions {
        var conditions = remainder.conditions(at: time)
        let recorded = Timestamp(milliseconds: time.milliseconds - shift)
        // The first row after it, by bisection.
        var low = 0
        var high = times.count
        while low < high {
            let middle = (low + high) / 2
            if times[middle] <= recorded { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return conditions }
        for (quantity, values) in series { conditions[quantity] = values[low - 1] }
        return conditions
    }
}

extension RecordedEnvironment.Columns {
    /// The indices of the columns in a row, counted from 0.
    fileprivate func indices(in header: [String]) throws(DelimitedText.Malformed) -> (
        time: Int, quantities: [(Quantity, Int)]
    ) {
        func index(of column: Column) throws(DelimitedText.Malformed) -> Int {
            let index: Int? =
                switch column {
                case .name(let name): header.firstIndex(of: name)
                case .number(let number): header.indices.contains(number - 1) ? number - 1 : nil
                }
            guard let index else {
                let names = header.map { "\"\($0)\"" }.joined(separator: ", ")
                throw DelimitedText.Malformed(line: 1, problem: "no column \(column); there are \(names)")
            }
            return index
        }
        var found: [(Quantity, Int)] = []
        for quantity in Quantity.measured {
            if let column = quantities[quantity] { found.append((quantity, try index(of: column))) }
        }
        return (try index(of: time), found)
    }
}

extension Timestamp {
    /// Reads RFC 3339, or `yyyy-MM-dd HH:mm:ss` of a place that is `offsetMinutes` ahead of UTC.
    fileprivate init?(recorded text: String, offsetMinutes: Int) {
        if text.utf8.count == 19, text.utf8.dropFirst(10).first == UInt8(ascii: " ") {
            let completed = text.prefix(10) + "T" + text.suffix(8) + "Z"
            guard let local = Timestamp(String(completed)) else { return nil }
            self.init(milliseconds: local.milliseconds - Int64(offsetMinutes) * 60_000)
        } else {
            self.init(text)
        }
    }
}
