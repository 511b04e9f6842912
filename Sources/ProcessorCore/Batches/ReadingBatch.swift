import ReadingDecoding
import Readings

/// A run of messages between two commits: decoded readings in the order of arrival, rejected messages, and the offsets
/// that they span.
///
/// It is flat on purpose: a row holds no reference, and each name stands once in the batch, so that a message costs
/// neither an allocation nor a reference count.
struct ReadingBatch: Sendable {
    /// One decoded reading.
    struct Row: Sendable {
        /// Index into `streams`.
        var stream: Int32
        /// Index into `sensors`.
        var sensor: Int32
        /// Index into `faultLists`; -1 for none.
        var faults: Int32 = -1
        /// The Kafka partition.
        var partition: Int32
        /// The Kafka offset.
        var offset: Int64
        var sequence: Int64
        /// Milliseconds since 1970.
        var eventTime: Int64
        /// Milliseconds.
        var interval: Int64
        var timeQuality: TimeQuality
        var isSimulated: Bool
        var values: Values
        var latitude: Double?
        var longitude: Double?
    }

    /// A stream of a gateway.
    struct Stream: Sendable, Hashable {
        /// Index into `gateways`.
        var gateway: Int32
        var streamID: StreamID
    }

    /// A sensor of a gateway.
    struct Sensor: Sendable, Hashable {
        /// Index into `gateways`.
        var gateway: Int32
        var name: String
    }

    /// The offsets of one partition that the batch spans.
    struct OffsetRange: Sendable, Equatable {
        /// Where the batch began.
        var from: Int64
        /// The next offset to read.
        var to: Int64
    }

    /// A message that is not a reading.
    struct Rejected: Sendable {
        var key: [UInt8]?
        var value: [UInt8]?
        var partition: Int32
        var offset: Int64
        var rejection: Rejection
    }

    private(set) var rows: ContiguousArray<Row> = []
    private(set) var gateways: [String] = []
    private(set) var streams: [Stream] = []
    private(set) var sensors: [Sensor] = []
    private(set) var faultLists: [[String]] = []
    private(set) var rejected: [Rejected] = []
    private(set) var offsets: [Int32: OffsetRange] = [:]
    private(set) var messageCount = 0

    private var gatewayNames = NameTable()
    private var sensorNames = NameTable()
    private var streamIndices: [Stream: Int32] = [:]
    /// The stream seen last of each gateway, which is nearly always the next one too.
    private var latestStream: [Int32] = []

    /// Makes an empty batch.
    init(capacity: Int = 0) {
        rows.reserveCapacity(capacity)
    }

    /// Whether there is nothing to commit.
    var isEmpty: Bool { messageCount == 0 }

    /// Notes that messages belong to the batch.
    /// - Parameters:
    ///   - messages: how many.
    ///   - next: the offset after the last of them.
    ///   - position: where the reader of that partition stood before them.
    mutating func count(messages: Int, partition: Int32, through next: Int64, from position: Int64) {
        messageCount += messages
        offsets[partition] = OffsetRange(from: offsets[partition]?.from ?? position, to: next)
    }

    /// Adds a valid reading.
    mutating func append(_ reading: DecodedReading, partition: Int32, offset: Int64) {
        let gateway = gatewayIndex(reading.gatewayID)
        var faults: Int32 = -1
        if reading.faultCount > 0 {
            faults = Int32(faultLists.count)
            faultLists.append((0..<reading.faultCount).map { String(decoding: reading.fault(at: $0), as: UTF8.self) })
        }
        rows.append(
            Row(
                stream: streamIndex(gateway, reading.streamID), sensor: sensorIndex(gateway, reading.sensorID),
                faults: faults, partition: partition, offset: offset, sequence: reading.sequence,
                eventTime: reading.eventTime.milliseconds, interval: reading.intervalMilliseconds,
                timeQuality: reading.timeQuality, isSimulated: reading.isSimulated,
                values: Values(
                    temperature: reading.temperature, humidity: reading.humidity, co2: reading.co2,
                    pressure: reading.pressure, batteryLevel: reading.batteryLevel,
                    batteryVoltage: reading.batteryVoltage),
                latitude: reading.latitude, longitude: reading.longitude))
    }

    /// Adds a message that is not a reading.
    mutating func reject(_ message: Rejected) {
        rejected.append(message)
    }

    private mutating func gatewayIndex(_ name: UnsafeBufferPointer<UInt8>) -> Int32 {
        let (index, isNew) = gatewayNames.index(of: name, in: 0)
        if isNew {
            gateways.append(String(decoding: name, as: UTF8.self))
            latestStream.append(-1)
        }
        return index
    }

    private mutating func sensorIndex(_ gateway: Int32, _ name: UnsafeBufferPointer<UInt8>) -> Int32 {
        let (index, isNew) = sensorNames.index(of: name, in: gateway)
        if isNew { sensors.append(Sensor(gateway: gateway, name: String(decoding: name, as: UTF8.self))) }
        return index
    }

    private mutating func streamIndex(_ gateway: Int32, _ streamID: StreamID) -> Int32 {
        let latest = latestStream[Int(gateway)]
        if latest >= 0, streams[Int(latest)].streamID == streamID { return latest }
        let stream = Stream(gateway: gateway, streamID: streamID)
        let index = streamIndices[stream] ?? Int32(streams.count)
        if index == streams.count {
            streams.append(stream)
            streamIndices[stream] = index
        }
        latestStream[Int(gateway)] = index
        return index
    }
}
