import Readings

/// The columns of a stored reading, in their order: those of the table `reading`, and the first ones of `quarantine`.
///
/// A row stands for itself: what the reading's message holds is all in it, so that no later change of a configuration
/// alters it and a row that is found in a damaged file can be sent. Its checksum tells whether it is what was committed.
enum ReadingColumn: Hashable {
    case sequence, eventTime, timeQuality, bootID, bootTime, gatewayID, sensorID, interval
    case quantity(Quantity)
    case faults, latitude, longitude, isSimulated, committedAt, streamID, streamFirst, checksum

    /// The quantities that files of formats 1 to 3 have. The columns of others follow at the end of a row, since SQLite adds
    /// columns there; each makes a format of its own.
    static let firstQuantities = Array(Quantity.all.prefix(6))
    /// The quantities that formats 4 and 5 have added, one each, before format 6 added the checksum, and those since.
    static let laterQuantities = Array(Quantity.all.dropFirst(6))
    private static let quantitiesBeforeChecksum = 2

    /// All of them, in the order of the file.
    static let all: [ReadingColumn] =
        [.sequence, .eventTime, .timeQuality, .bootID, .bootTime, .gatewayID, .sensorID, .interval]
        + firstQuantities.map { .quantity($0) }
        + [.faults, .latitude, .longitude, .isSimulated, .committedAt, .streamID, .streamFirst]
        + laterQuantities.prefix(quantitiesBeforeChecksum).map { .quantity($0) } + [.checksum]
        + laterQuantities.dropFirst(quantitiesBeforeChecksum).map { .quantity($0) }

    /// Where it stands in a row, from 0: its index in `all`.
    var position: Int32 {
        switch self {
        case .sequence: 0
        case .eventTime: 1
        case .timeQuality: 2
        case .bootID: 3
        case .bootTime: 4
        case .gatewayID: 5
        case .sensorID: 6
        case .interval: 7
        case .quantity(let quantity) where quantity.rawValue < 6: 8 + Int32(quantity.rawValue)
        case .faults: 14
        case .latitude: 15
        case .longitude: 16
        case .isSimulated: 17
        case .committedAt: 18
        case .streamID: 19
        case .streamFirst: 20
        case .quantity(let quantity) where quantity.rawValue < 8: 15 + Int32(quantity.rawValue)
        case .checksum: 23
        case .quantity(let quantity): 16 + Int32(quantity.rawValue)
        }
    }

    /// The column's name in SQL.
    var name: String {
        switch self {
        case .sequence: "seq"
        case .eventTime: "event_time"
        case .timeQuality: "time_quality"
        case .bootID: "boot_id"
        case .bootTime: "boot_time"
        case .gatewayID: "gateway_id"
        case .sensorID: "sensor_id"
        case .interval: "interval_ms"
        case .quantity(let quantity): quantity.name
        case .faults: "faults"
        case .latitude: "latitude"
        case .longitude: "longitude"
        case .isSimulated: "simulated"
        case .committedAt: "committed_at"
        case .streamID: "stream_id"
        case .streamFirst: "stream_first"
        case .checksum: "checksum"
        }
    }

    /// The column's type and constraints, but those of `seq`.
    var type: String {
        switch self {
        case .sequence: "INTEGER PRIMARY KEY"
        case .eventTime, .bootTime, .interval, .isSimulated, .streamID, .streamFirst, .checksum: "INTEGER NOT NULL"
        case .committedAt: "INTEGER"
        case .timeQuality, .bootID, .gatewayID, .sensorID, .faults: "TEXT NOT NULL"
        case .quantity, .latitude, .longitude: "REAL"
        }
    }

    /// All names, separated by commas.
    static let names = all.map(\.name).joined(separator: ", ")
    /// The order in which a row's values are bound: the checksum is known last.
    fileprivate static let insertionOrder = all.filter { $0 != .checksum } + [.checksum]
    /// The columns and parameters of an INSERT, for `OutboxRecord.insert(by:)`.
    static let insertion =
        "(\(insertionOrder.map(\.name).joined(separator: ", "))) VALUES (\(all.map { _ in "?" }.joined(separator: ", ")))"
    /// How many columns a row may have: rows of older formats end earlier.
    static let counts: Set<Int> = Set([committedAt, .streamID].map { Int($0.position) })
        .union(Int(streamFirst.position) + 1...all.count)
}

extension OutboxRecord {
    /// What stands in a column; null for the checksum, which is made of all others.
    private func value(of column: ReadingColumn) -> Statement.Value {
        switch column {
        case .sequence: .integer(reading.sequence)
        case .eventTime: .integer(reading.eventTime.milliseconds)
        case .timeQuality: .text(reading.timeQuality.rawValue)
        case .bootID: .text(bootID)
        case .bootTime: .integer(bootTimeMilliseconds)
        case .gatewayID: .text(reading.gatewayID.description)
        case .sensorID: .text(reading.sensorID.description)
        case .interval: .integer(reading.intervalMilliseconds)
        case .quantity(let quantity): .real(reading.values[quantity])
        case .faults: .text(reading.faults.map(\.description).joined(separator: " "))
        case .latitude: .real(reading.place?.latitude)
        case .longitude: .real(reading.place?.longitude)
        case .isSimulated: .integer(reading.isSimulated ? 1 : 0)
        case .committedAt: .integer(committedAt?.milliseconds)
        case .streamID: .integer(Int64(bitPattern: reading.streamID.bits))
        case .streamFirst: .integer(reading.streamFirst ?? 1)
        case .checksum: .integer(nil)
        }
    }

    /// Inserts the record as a row.
    /// - Parameter statement: an INSERT of `ReadingColumn.insertion`.
    /// - Throws: a constraint's error if there is a row under its number.
    func insert(by statement: Statement) throws(OutboxError) {
        var sum = RowChecksum()
        try statement.run(count: ReadingColumn.all.count) { index in
            let column = ReadingColumn.insertionOrder[index]
            guard column != .checksum else { return .integer(sum.value) }
            let value = value(of: column)
            sum.add(value, at: column.position)
            return value
        }
    }

    /// The sum of what stands in its columns.
    private var checksum: Int64 {
        var sum = RowChecksum()
        for column in ReadingColumn.all { sum.add(value(of: column), at: column.position) }
        return sum.value
    }

    /// Reads a row.
    /// - Parameters:
    ///   - row: the row; its columns are those of `ReadingColumn`.
    ///   - sequence: its number, if the row does not hold it.
    ///   - olderStream: the stream of a row from before format 3, which does not hold it.
    /// - Returns: nil if it is no reading of the contract, or not the one that was committed: something in it is damaged.
    init?(_ row: some StoredRow, sequence: Int64? = nil, olderStream: StreamID? = nil) {
        func integer(_ column: ReadingColumn) -> Int64? { row.integer(at: column.position) }
        func text(_ column: ReadingColumn) -> String? { row.text(at: column.position) }
        func real(_ column: ReadingColumn) -> Double? { row.real(at: column.position) }
        let stream = integer(.streamID).map { StreamID(bits: UInt64(bitPattern: $0)) } ?? olderStream
        guard let number = sequence ?? integer(.sequence), Outbox.numbers.contains(number), let stream,
            let eventTime = integer(.eventTime), let quality = text(.timeQuality).flatMap(TimeQuality.init),
            let bootID = text(.bootID), let bootTime = integer(.bootTime),
            let gatewayID = text(.gatewayID).flatMap(Identifier.init),
            let sensorID = text(.sensorID).flatMap(Identifier.init),
            let interval = integer(.interval), interval > 0, let faults = text(.faults),
            let isSimulated = integer(.isSimulated)
        else { return nil }
        let first = integer(.streamFirst) ?? 1
        guard (1...number).contains(first) else { return nil }
        let place = real(.latitude).flatMap { latitude in
            real(.longitude).flatMap { Place(latitude: latitude, longitude: $0) }
        }
        var values = Values()
        for quantity in Quantity.all { values[quantity] = real(.quantity(quantity)) }
        self.init(
            reading: Reading(
                gatewayID: gatewayID, sensorID: sensorID, streamID: stream, sequence: number,
                streamFirst: first == 1 ? nil : first, eventTime: Timestamp(milliseconds: eventTime),
                timeQuality: quality, intervalMilliseconds: interval,
                values: values,
                faults: faults.split(separator: " ").compactMap { Fault(String($0)) }, place: place,
                isSimulated: isSimulated != 0),
            bootID: bootID, bootTimeMilliseconds: bootTime,
            committedAt: integer(.committedAt).map { Timestamp(milliseconds: $0) })
        guard row.isWhole(at: ReadingColumn.checksum.position, checksum) else { return nil }
    }
}

extension Fault {
    /// Reads `chip:what`.
    fileprivate init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let chip = Identifier(String(parts[0])), let kind = Identifier(String(parts[1])) else {
            return nil
        }
        self.init(chip: chip, kind: kind)
    }
}
