import KafkaClient
import ProcessorStatus
import ReadingDecoding
import Readings

/// A run of messages between two commits: decoded readings in the order of arrival, reports, rejected messages, and the
/// offsets that they span.
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
        /// The first number of its stream.
        var streamFirst: Int64
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

    /// A gateway's report.
    struct Report: Sendable {
        /// What it says of a stream.
        struct Stream: Sendable {
            /// Index into `streams`.
            var stream: Int32
            var first: Int64
            var last: Int64?
            var previous: DecodedReport.Previous
        }

        /// Numbers that do not come.
        struct Gap: Sendable {
            /// Index into `streams`.
            var stream: Int32
            var reason: LossReason
            /// At least one.
            var ranges: [ClosedRange<Int64>]
        }

        /// Index into `gateways`.
        var gateway: Int32
        var streams: [Stream]
        var gaps: [Gap]
        /// The message itself, should the database refuse what it says.
        var message: Message
        /// Whether it is no report but a rejected reading, whose number is lost. That is noted only of a stream that is
        /// known otherwise, and not below its first number: what is rejected says nothing that is not known.
        var isRejectedReading = false
    }

    /// A message as it came.
    struct Message: Sendable {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader] = []
        var partition: Int32
        var offset: Int64

        func rejected(_ rejection: Rejection) -> Rejected {
            Rejected(
                key: key, value: value, headers: headers, partition: partition, offset: offset, rejection: rejection)
        }
    }

    /// What the batch spans of one partition.
    struct OffsetRange: Sendable, Equatable {
        /// Where the batch began.
        var from: LogPosition
        /// Where the next one begins.
        var to: LogPosition
        /// What was found if the log was another one than was read before, for a person.
        var anotherLog: String?
        /// Whether such a log was read to its end, in this batch or earlier ones.
        var isReadAgain = false
    }

    /// A message that is not a reading, or that the database refuses.
    struct Rejected: Sendable {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader] = []
        var partition: Int32
        var offset: Int64
        var rejection: Rejection
        /// Of a conflict of numbers, the stream that is made for it.
        var ownStream: StreamID?
    }

    private(set) var rows: ContiguousArray<Row> = []
    private(set) var reports: [Report] = []
    private(set) var gateways: [String] = []
    private(set) var streams: [Stream] = []
    private(set) var sensors: [Sensor] = []
    private(set) var faultLists: [[String]] = []
    private(set) var rejected: [Rejected] = []
    private(set) var offsets: [Int32: OffsetRange] = [:]
    private(set) var messageCount = 0
    /// The memory that the messages take that are kept whole, about.
    private var keptSize = 0
    /// The way of a few of its readings.
    private(set) var samples: [LatencySample] = []

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
    var isEmpty: Bool { offsets.isEmpty }

    /// How many messages may still be added. Rejected ones and reports are kept whole, so a batch of them is bounded by its
    /// size: whoever sends rubbish by the megabyte gets small batches, not the processor's memory.
    func room(maximum: Int) -> Int {
        keptSize >= 16 << 20 ? 0 : maximum - messageCount
    }

    /// Notes that messages belong to the batch, or that its reader goes on elsewhere.
    /// - Parameters:
    ///   - messages: how many.
    ///   - next: the position after the last of them; its offset is lower than that of `position` if a part of the log is
    ///     read again, or another log.
    ///   - position: where the reader of that partition stood before them.
    mutating func count(messages: Int, partition: Int32, through next: LogPosition, from position: LogPosition) {
        messageCount += messages
        offsets[partition, default: OffsetRange(from: position, to: next)].to = next
    }

    /// Notes that the log of a partition of which something was counted is another one than was read before.
    /// - Parameter detail: what was found, for a person.
    mutating func noteAnotherLog(of partition: Int32, detail: String) {
        offsets[partition]?.anotherLog = detail
        offsets[partition]?.isReadAgain = false
    }

    /// Notes that such a log was read to its end.
    mutating func noteReadAgain(_ partition: Int32) {
        offsets[partition]?.isReadAgain = true
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
                streamFirst: reading.streamFirst, eventTime: reading.eventTime.milliseconds,
                interval: reading.intervalMilliseconds,
                timeQuality: reading.timeQuality, isSimulated: reading.isSimulated,
                values: reading.values, latitude: reading.latitude, longitude: reading.longitude))
    }

    /// Adds a valid report.
    mutating func append(_ report: DecodedReport, from message: Message) {
        var name = report.gatewayID.description
        let gateway = name.withUTF8 { gatewayIndex($0) }
        reports.append(
            Report(
                gateway: gateway,
                streams: report.streams.map {
                    Report.Stream(
                        stream: streamIndex(gateway, $0.streamID), first: $0.first, last: $0.last,
                        previous: $0.previous)
                },
                // One without numbers says nothing, not even where its stream begins.
                gaps: report.gaps.filter { !$0.ranges.isEmpty }.map {
                    Report.Gap(
                        stream: streamIndex(gateway, $0.streamID), reason: LossReason(text: $0.reason),
                        ranges: $0.ranges)
                }, message: message))
        // What it says takes about as much as its text.
        keptSize += 256 + 3 * (message.value?.count ?? 0)
    }

    /// Notes the way of one of its readings.
    mutating func sample(_ sample: LatencySample) {
        samples.append(sample)
    }

    /// Adds a message that is not a reading.
    /// - Parameter number: the number that it has as a reading, which is lost with it; nil if it says none.
    mutating func reject(_ message: Rejected, number: RejectedNumber? = nil) {
        rejected.append(message)
        keptSize += 256 + (message.value?.count ?? 0) + (message.key?.count ?? 0)
        guard let number else { return }
        var name = number.gatewayID
        let gateway = name.withUTF8 { gatewayIndex($0) }
        let stream = streamIndex(gateway, number.streamID)
        reports.append(
            Report(
                gateway: gateway, streams: [],
                gaps: [Report.Gap(stream: stream, reason: .rejected, ranges: [number.sequence...number.sequence])],
                message: Message(
                    key: message.key, value: message.value, headers: message.headers, partition: message.partition,
                    offset: message.offset),
                isRejectedReading: true))
    }

    /// The gateways, as indices, of which it holds nothing but rejected readings.
    var gatewaysOfRejectedReadingsOnly: Set<Int32> {
        var found = Set(reports.lazy.filter(\.isRejectedReading).map(\.gateway))
        if found.isEmpty { return [] }
        for report in reports where !report.isRejectedReading { found.remove(report.gateway) }
        for row in rows { found.remove(streams[Int(row.stream)].gateway) }
        return found
    }

    /// The number of a row.
    func number(at index: Int) -> RejectedNumber {
        let row = rows[index]
        let stream = streams[Int(row.stream)]
        return RejectedNumber(
            gatewayID: gateways[Int(stream.gateway)], streamID: stream.streamID, sequence: row.sequence)
    }

    /// Its rows and reports, by their indices in `keeping`: first the rows.
    var parts: Range<Int> { 0..<rows.count + reports.count }

    /// The report of a part; nil if it is a row.
    func report(ofPart index: Int) -> Report? { index < rows.count ? nil : reports[index - rows.count] }

    /// The same batch with only some of its rows and reports, and only their names. Offsets and rejected messages stay.
    /// - Parameter indices: of the parts to keep, ascending.
    func keeping(_ indices: some Sequence<Int>) -> ReadingBatch {
        var kept = ReadingBatch()
        var gatewayIndices: [Int32: Int32] = [:]
        var sensorIndices: [Int32: Int32] = [:]
        var streamIndices: [Int32: Int32] = [:]
        // By its own tables of names, so that it can be added to.
        func place(_ old: Int32, in places: inout [Int32: Int32], _ make: () -> Int32) -> Int32 {
            if let place = places[old] { return place }
            let place = make()
            places[old] = place
            return place
        }
        func gateway(_ old: Int32) -> Int32 {
            place(old, in: &gatewayIndices) {
                var name = gateways[Int(old)]
                return name.withUTF8 { kept.gatewayIndex($0) }
            }
        }
        func stream(_ old: Int32) -> Int32 {
            let stream = streams[Int(old)]
            let newGateway = gateway(stream.gateway)
            return place(old, in: &streamIndices) { kept.streamIndex(newGateway, stream.streamID) }
        }
        for index in indices {
            if var report = report(ofPart: index) {
                report.gateway = gateway(report.gateway)
                for place in report.streams.indices {
                    report.streams[place].stream = stream(report.streams[place].stream)
                }
                for place in report.gaps.indices { report.gaps[place].stream = stream(report.gaps[place].stream) }
                kept.reports.append(report)
                continue
            }
            var row = rows[index]
            let newGateway = gateway(streams[Int(row.stream)].gateway)
            let (oldSensor, oldFaults) = (Int(row.sensor), Int(row.faults))
            row.stream = stream(row.stream)
            row.sensor = place(row.sensor, in: &sensorIndices) {
                var name = sensors[oldSensor].name
                return name.withUTF8 { kept.sensorIndex(newGateway, $0) }
            }
            if oldFaults >= 0 {
                row.faults = Int32(kept.faultLists.count)
                kept.faultLists.append(faultLists[oldFaults])
            }
            kept.rows.append(row)
        }
        kept.rejected = rejected
        kept.keptSize = keptSize
        kept.offsets = offsets
        kept.messageCount = messageCount
        return kept
    }

    /// The reading of a row, as it was decoded.
    func reading(at index: Int) -> Reading? {
        let row = rows[index]
        let stream = streams[Int(row.stream)]
        guard let gatewayID = Identifier(gateways[Int(stream.gateway)]),
            let sensorID = Identifier(sensors[Int(row.sensor)].name)
        else { return nil }
        var place: Place?
        if let latitude = row.latitude, let longitude = row.longitude {
            place = Place(latitude: latitude, longitude: longitude)
        }
        let faults = (row.faults < 0 ? [] : faultLists[Int(row.faults)]).compactMap { text -> Fault? in
            let parts = text.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let chip = Identifier(String(parts[0])), let kind = Identifier(String(parts[1]))
            else { return nil }
            return Fault(chip: chip, kind: kind)
        }
        return Reading(
            gatewayID: gatewayID, sensorID: sensorID, streamID: stream.streamID, sequence: row.sequence,
            streamFirst: row.streamFirst == 1 ? nil : row.streamFirst,
            eventTime: Timestamp(milliseconds: row.eventTime), timeQuality: row.timeQuality,
            intervalMilliseconds: row.interval, values: row.values, faults: faults, place: place,
            isSimulated: row.isSimulated)
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
