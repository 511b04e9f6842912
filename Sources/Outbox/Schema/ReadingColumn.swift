import Readings

/// The columns of a stored reading, in their order: those of the table `reading`, and the first ones of `quarantine`.
///
/// A row stands for itself: what the reading's message holds is all in it, so that no later change of a configuration
/// alters it and a row that is found in a damaged file can be sent.
enum ReadingColumn: Int32, CaseIterable {
    case sequence, eventTime, timeQuality, bootID, bootTime, gatewayID, sensorID, interval
    case temperature, humidity, co2, pressure, batteryLevel, batteryVoltage
    case faults, latitude, longitude, isSimulated, committedAt, streamID, streamFirst

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
        case .temperature: "temperature"
        case .humidity: "humidity"
        case .co2: "co2"
        case .pressure: "pressure"
        case .batteryLevel: "battery_level"
        case .batteryVoltage: "battery_voltage"
        case .faults: "faults"
        case .latitude: "latitude"
        case .longitude: "longitude"
        case .isSimulated: "simulated"
        case .committedAt: "committed_at"
        case .streamID: "stream_id"
        case .streamFirst: "stream_first"
        }
    }

    /// The column's type and constraints, but those of `seq`.
    var type: String {
        switch self {
        case .sequence: "INTEGER PRIMARY KEY"
        case .eventTime, .bootTime, .interval, .isSimulated, .streamID, .streamFirst: "INTEGER NOT NULL"
        case .committedAt: "INTEGER"
        case .timeQuality, .bootID, .gatewayID, .sensorID, .faults: "TEXT NOT NULL"
        case .temperature, .humidity, .co2, .pressure, .batteryLevel, .batteryVoltage, .latitude, .longitude: "REAL"
        }
    }

    /// All names, separated by commas.
    static let names = allCases.map(\.name).joined(separator: ", ")
    /// One `?` a column, separated by commas.
    static let parameters = allCases.map { _ in "?" }.joined(separator: ", ")
    /// Columns that have been in the file since its first format, by their count; older rows end there.
    static let countInFormat1 = ReadingColumn.committedAt.rawValue
    static let countInFormat2 = ReadingColumn.streamID.rawValue
}

extension OutboxRecord {
    /// What stands in a column.
    func value(of column: ReadingColumn) -> Statement.Value {
        switch column {
        case .sequence: .integer(reading.sequence)
        case .eventTime: .integer(reading.eventTime.milliseconds)
        case .timeQuality: .text(reading.timeQuality.rawValue)
        case .bootID: .text(bootID)
        case .bootTime: .integer(bootTimeMilliseconds)
        case .gatewayID: .text(reading.gatewayID.description)
        case .sensorID: .text(reading.sensorID.description)
        case .interval: .integer(reading.intervalMilliseconds)
        case .temperature: .real(reading.values.temperature)
        case .humidity: .real(reading.values.humidity)
        case .co2: .real(reading.values.co2)
        case .pressure: .real(reading.values.pressure)
        case .batteryLevel: .real(reading.values.batteryLevel)
        case .batteryVoltage: .real(reading.values.batteryVoltage)
        case .faults: .text(reading.faults.map(\.description).joined(separator: " "))
        case .latitude: .real(reading.place?.latitude)
        case .longitude: .real(reading.place?.longitude)
        case .isSimulated: .integer(reading.isSimulated ? 1 : 0)
        case .committedAt: .integer(committedAt?.milliseconds)
        case .streamID: .integer(Int64(bitPattern: reading.streamID.bits))
        case .streamFirst: .integer(reading.streamFirst ?? 1)
        }
    }

    /// The values of all columns, in their order.
    var values: [Statement.Value] { ReadingColumn.allCases.map { value(of: $0) } }

    /// Reads a row.
    /// - Parameters:
    ///   - row: the row; its columns are those of `ReadingColumn`.
    ///   - sequence: its number, if the row does not hold it.
    ///   - olderStream: the stream of a row from before format 3, which does not hold it.
    /// - Returns: nil if it is no reading of the contract: something in it is damaged.
    init?(_ row: some StoredRow, sequence: Int64? = nil, olderStream: StreamID? = nil) {
        func integer(_ column: ReadingColumn) -> Int64? { row.integer(at: column.rawValue) }
        func text(_ column: ReadingColumn) -> String? { row.text(at: column.rawValue) }
        func real(_ column: ReadingColumn) -> Double? { row.real(at: column.rawValue) }
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
        self.init(
            reading: Reading(
                gatewayID: gatewayID, sensorID: sensorID, streamID: stream, sequence: number,
                streamFirst: first == 1 ? nil : first, eventTime: Timestamp(milliseconds: eventTime),
                timeQuality: quality, intervalMilliseconds: interval,
                values: Values(
                    temperature: real(.temperature), humidity: real(.humidity), co2: real(.co2),
                    pressure: real(.pressure), batteryLevel: real(.batteryLevel),
                    batteryVoltage: real(.batteryVoltage)),
                faults: faults.split(separator: " ").compactMap { Fault(String($0)) }, place: place,
                isSimulated: isSimulated != 0),
            bootID: bootID, bootTimeMilliseconds: bootTime,
            committedAt: integer(.committedAt).map { Timestamp(milliseconds: $0) })
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
