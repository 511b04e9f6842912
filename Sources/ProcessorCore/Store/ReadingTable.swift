import PostgresClient
import Readings
import Windowing

/// The columns of `sensor_data`.
enum ReadingColumn: TableColumn {
    case gatewayID, sensorID, streamID, sequence, eventTime, timeQuality, interval
    case quantity(Quantity)
    case faults, latitude, longitude, isSimulated, status, isLate, kafkaPartition, kafkaOffset, ingestedAt
    case commitNumber, isInWindows

    /// All of them, as a row is written.
    static let all: [ReadingColumn] =
        [.gatewayID, .sensorID, .streamID, .sequence, .eventTime, .timeQuality, .interval]
        + Quantity.all.map { .quantity($0) } + [
            .faults, .latitude, .longitude, .isSimulated, .status, .isLate, .kafkaPartition, .kafkaOffset,
            .ingestedAt, .commitNumber, .isInWindows,
        ]

    var name: String {
        switch self {
        case .gatewayID: "gateway_id"
        case .sensorID: "sensor_id"
        case .streamID: "stream_id"
        case .sequence: "seq"
        case .eventTime: "event_time"
        case .timeQuality: "time_quality"
        case .interval: "interval_ms"
        case .quantity(let quantity): quantity.name
        case .faults: "faults"
        case .latitude: "latitude"
        case .longitude: "longitude"
        case .isSimulated: "simulated"
        case .status: "status"
        case .isLate: "late"
        case .kafkaPartition: "kafka_partition"
        case .kafkaOffset: "kafka_offset"
        case .ingestedAt: "ingested_at"
        case .commitNumber: "commit_number"
        case .isInWindows: "in_windows"
        }
    }

    var type: String {
        switch self {
        case .gatewayID, .sensorID, .streamID, .timeQuality, .status: "text"
        case .sequence, .kafkaOffset, .commitNumber: "int8"
        case .interval, .kafkaPartition: "int4"
        case .eventTime, .ingestedAt: "timestamptz"
        case .quantity, .latitude, .longitude: "float8"
        case .isSimulated, .isLate, .isInWindows: "bool"
        case .faults: "text[]"
        }
    }
}

/// Writes the rows of `sensor_data`.
enum ReadingTable {
    /// The statement that takes rows as `append` writes them.
    static let copy = "COPY sensor_data (\(ReadingColumn.all.names)) FROM STDIN (FORMAT binary)"

    /// What the centre adds to a reading.
    struct Judgement {
        var streamID: String
        var faults: [String]?
        var status: Status
        var isLate: Bool
        var isInWindows: Bool
        var ingestedAt: PostgresTimestamp
        var commitNumber: Int64
    }

    /// Writes one row.
    static func append(
        _ row: ReadingBatch.Row, of sensor: SensorState, _ judgement: Judgement, to writer: inout BinaryCopyWriter
    ) throws {
        try writer.beginRow(fields: Int16(ReadingColumn.all.count))
        for column in ReadingColumn.all {
            switch column {
            case .gatewayID: writer.append(sensor.gatewayID)
            case .sensorID: writer.append(sensor.sensorID)
            case .streamID: writer.append(judgement.streamID)
            case .sequence: writer.append(row.sequence)
            case .eventTime: writer.append(PostgresTimestamp(milliseconds: row.eventTime))
            case .timeQuality: writer.append(row.timeQuality.rawValue)
            case .interval: writer.append(Int32(clamping: row.interval))
            case .quantity(let quantity): writer.append(row.values[quantity])
            case .faults: if let faults = judgement.faults { writer.append(faults) } else { writer.appendNull() }
            case .latitude: writer.append(row.latitude)
            case .longitude: writer.append(row.longitude)
            case .isSimulated: writer.append(row.isSimulated)
            case .status: writer.append(judgement.status.name)
            case .isLate: writer.append(judgement.isLate)
            case .kafkaPartition: writer.append(row.partition)
            case .kafkaOffset: writer.append(row.offset)
            case .ingestedAt: writer.append(judgement.ingestedAt)
            case .commitNumber: writer.append(judgement.commitNumber)
            case .isInWindows: writer.append(judgement.isInWindows)
            }
        }
    }
}
