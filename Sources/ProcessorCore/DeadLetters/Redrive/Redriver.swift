import KafkaClient
import Monitoring
import Platform
import PostgresClient
import ReadingDecoding
import Readings

/// Sends rejected messages back to the topic that they came from.
///
/// It reads the rejected topic twice, up to where it ends at the start: once to know the newest of the messages that
/// were rejected more than once, once to send. It keeps no place of its own: what was sent back and stored is known by
/// its number in the database, so that doing it again is harmless.
actor Redriver {
    private let settings: ProcessorSettings
    private let options: RedriveOptions
    private let log: Log
    private let wallClock: any WallClock
    private let output: @Sendable (String) -> Void
    private let executor = ThreadExecutor(name: "redrive")
    private let decoder: ReadingDecoder
    private let progressLimit: Duration
    private let sender: ReliableSender
    private var source: SourceMessages?
    private var report = RedriveReport()
    private var sent = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// The newest message of each origin.
    private struct Newest {
        var place: TopicPartition
        var offset: Int64
        var count: Int
        var time: Int64
    }

    /// A message, and what would become of it.
    private struct Candidate {
        var message: RejectedMessage
        var value: [UInt8]?
        var rejection: Rejection?
        var number: StreamTable.Number?
        var isStored = false
    }

    /// - Parameters:
    ///   - progressLimit: how long a broker may give or take nothing.
    ///   - output: gets a line for each message of a dry run.
    init(
        settings: ProcessorSettings, options: RedriveOptions, log: Log, wallClock: any WallClock,
        clock: any Clock<Duration>, progressLimit: Duration = SourceMessages.progressLimit,
        output: @escaping @Sendable (String) -> Void
    ) {
        self.settings = settings
        self.options = options
        self.log = log
        self.wallClock = wallClock
        self.output = output
        decoder = ReadingDecoder(limits: settings.limits)
        self.progressLimit = progressLimit
        sender = ReliableSender(
            configuration: settings.kafka, topic: settings.topic, log: log, clock: clock, progressLimit: progressLimit)
        report.isDryRun = options.isDryRun
    }

    /// Does all of it.
    func run() async throws -> RedriveReport {
        let connection: PostgresConnection
        do {
            connection = try settings.connect(applicationName: "vigie-processor redrive")
        } catch {
            throw DatabaseAway(error) ?? error
        }
        try Migrator.check(connection)
        let ends = try await readEnds()
        defer { source?.close() }
        var newest: [String: Newest] = [:]
        try await scan(ends) { messages in
            for message in messages {
                let this = Newest(
                    place: message.topicPartition, offset: message.offsetThere, count: message.redrivenCount,
                    time: message.time?.milliseconds ?? .min)
                if let known = newest[message.origin], (known.count, known.time) > (this.count, this.time) { continue }
                newest[message.origin] = this
            }
        }
        report.foreign = 0
        var progress = ContinuousClock.now
        try await scan(ends) { messages in
            var candidates: [Candidate] = []
            for message in messages where options.selects(message) {
                guard let last = newest[message.origin], last.place == message.topicPartition,
                    last.offset == message.offsetThere
                else {
                    report.superseded += 1
                    continue
                }
                if let candidate = try examine(message) { candidates.append(candidate) }
            }
            try await process(candidates, connection)
            if ContinuousClock.now - progress > .seconds(5) {
                progress = .now
                log.notice("sending back", ["sent": sent])
            }
        }
        return report
    }

    // MARK: Reading

    private func readEnds() async throws -> [TopicPartition: KafkaWatermarks] {
        let log = log
        let observer = KafkaObserver(error: { error in log.warning("Kafka", ["error": "\(error)"]) })
        let admin = try KafkaAdmin(configuration: clientConfiguration, observer: observer)
        var ends: [TopicPartition: KafkaWatermarks] = [:]
        for number in 0..<(try await admin.partitionCount(settings.rejectedTopic, timeout: .seconds(30))) {
            let place = TopicPartition(settings.rejectedTopic, Int32(number))
            let marks = try await admin.watermarks(place, timeout: .seconds(30))
            if marks.high > marks.low { ends[place] = marks }
        }
        return ends
    }

    private var clientConfiguration: KafkaConfiguration {
        var configuration = settings.kafka
        configuration.properties["group.instance.id"] = nil
        return configuration
    }

    /// Reads the rejected topic to the given ends.
    private func scan(
        _ ends: [TopicPartition: KafkaWatermarks], _ body: ([RejectedMessage]) async throws -> Void
    ) async throws {
        if ends.isEmpty { return }
        var configuration = clientConfiguration
        configuration.properties["enable.partition.eof"] = "true"
        let log = log
        let observer = KafkaObserver(error: { error in log.warning("Kafka", ["error": "\(error)"]) })
        // It closes as the last reference goes. (Swift 6.0 crashes on a `defer` with it.)
        let consumer = try KafkaConsumer(configuration: configuration, group: settings.group, observer: observer)
        var open = ends
        var deadline = ProgressDeadline(reading: settings.rejectedTopic, limit: progressLimit)
        try consumer.assign(ends.mapValues { .at($0.low) })
        while !open.isEmpty {
            try Task.checkCancellation()
            try deadline.check()
            var messages: [RejectedMessage] = []
            var vanished: [TopicPartition] = []
            try consumer.nextBatch(maximumMessages: 500, timeout: .milliseconds(200)) { views, events in
                for view in views {
                    let place = view.topicPartition
                    guard let marks = open[place], view.offset < marks.high else { continue }
                    if let message = RejectedMessage(view), message.topic == settings.topic {
                        messages.append(message)
                    } else {
                        report.foreign += 1
                    }
                    if view.offset >= marks.high - 1 { open[place] = nil }
                }
                for event in events {
                    switch event {
                    case .partitionEnd(let place, let offset):
                        if let marks = open[place], offset >= marks.high { open[place] = nil }
                    case .offsetOutOfRange(let place, _): vanished.append(place)
                    case .partitionError(_, let error), .error(let error):
                        log.warning("the rejected topic cannot be read", ["error": "\(error)"])
                        try deadline.note(error)
                    }
                }
            }
            // Old messages may be dropped while others are read.
            try consumer.seek(
                Dictionary(uniqueKeysWithValues: vanished.map { ($0, .earliest) }), timeout: .seconds(10))
            try await body(messages)
            // What the body took is nobody's silence.
            if !messages.isEmpty { deadline.renew() }
        }
    }

    // MARK: Judging

    /// What would become of a message now; nil if it is not asked for, or cannot be had.
    private func examine(_ message: RejectedMessage) throws -> Candidate? {
        var value = message.value
        if message.isOmitted {
            value = try original(of: message)
            if value == nil {
                report.gone += 1
                return nil
            }
        }
        if let stream = message.ownStream { value = renamed(value, to: stream) }
        var candidate = judge(message, value)
        if let gateway = options.gateway, message.key != Array(gateway.utf8), candidate.number?.gatewayID != gateway {
            return nil
        }
        report.counts[message.reason, default: .init()].selected += 1
        if let command = options.repair {
            let (status, output) = try ShellFilter(command).run(value ?? [])
            guard status == 0, !output.isEmpty else {
                report.unrepaired += 1
                log.warning(
                    "the repair command failed",
                    ["partition": message.partition, "offset": message.offset, "status": Int(status)])
                return nil
            }
            candidate = judge(message, output.last == UInt8(ascii: "\n") ? output.dropLast() : output)
        }
        return candidate
    }

    /// The reading of a conflict as it stands in the stream that was made for it. One that is not valid now stays as it is.
    private func renamed(_ value: [UInt8]?, to stream: StreamID) -> [UInt8]? {
        var batch = ReadingBatch()
        do throws(Rejection) {
            guard case .reading(let decoded) = try (value ?? []).decoded(by: decoder, now: wallClock.now()) else {
                return value
            }
            batch.append(decoded, partition: 0, offset: 0)
        } catch {
            return value
        }
        guard var reading = batch.reading(at: 0) else { return value }
        reading.streamID = stream
        reading.sequence = SequenceConflict.ownSequence
        reading.streamFirst = nil
        return reading.encoded()
    }

    private func original(of message: RejectedMessage) throws -> [UInt8]? {
        let source: SourceMessages
        if let known = self.source {
            source = known
        } else {
            source = try SourceMessages(
                configuration: clientConfiguration, group: settings.group, topic: settings.topic, log: log,
                progressLimit: progressLimit)
            self.source = source
        }
        let found = try source.read([message.offset], of: message.partition) { Task.isCancelled }
        return found[message.offset]?.value
    }

    private func judge(_ message: RejectedMessage, _ value: [UInt8]?) -> Candidate {
        var candidate = Candidate(message: message, value: value)
        do throws(Rejection) {
            // A report has no number: it may be sent however often.
            guard case .reading(let reading) = try (value ?? []).decoded(by: decoder, now: wallClock.now()) else {
                return candidate
            }
            candidate.number = StreamTable.Number(
                gatewayID: String(decoding: reading.gatewayID, as: UTF8.self),
                streamID: reading.streamID.description, sequence: reading.sequence)
        } catch {
            candidate.rejection = error
        }
        return candidate
    }

    /// Marks the readings whose number was admitted before.
    private func markStored(_ candidates: inout [Candidate], _ connection: PostgresConnection) throws {
        let indices = candidates.indices.filter { candidates[$0].number != nil }
        let numbers = indices.compactMap { candidates[$0].number }
        if numbers.isEmpty { return }
        let areAdmitted = try StreamTable(connection: connection).areAdmitted(numbers)
        for (index, isAdmitted) in zip(indices, areAdmitted) { candidates[index].isStored = isAdmitted }
    }

    // MARK: Sending

    private func process(_ found: [Candidate], _ connection: PostgresConnection) async throws {
        var candidates = found
        try markStored(&candidates, connection)
        var chosen: [Candidate] = []
        for candidate in candidates {
            let reason = candidate.message.reason
            if candidate.rejection != nil {
                report.counts[reason, default: .init()].invalid += 1
            } else if candidate.isStored {
                report.counts[reason, default: .init()].stored += 1
            } else {
                report.counts[reason, default: .init()].valid += 1
            }
            guard !candidate.isStored, candidate.rejection == nil || options.isForced,
                sent + chosen.count < options.limit ?? .max
            else { continue }
            chosen.append(candidate)
        }
        var refused: [Int: KafkaError] = [:]
        if options.isDryRun {
            for candidate in chosen { output(line(candidate)) }
        } else if !chosen.isEmpty {
            let now = wallClock.now()
            try await tellEnds(of: chosen)
            refused = try await sender.send(
                chosen.map {
                    ReliableSender.Message(
                        key: $0.message.key, value: $0.value, headers: $0.message.redrivenHeaders(now: now))
                })
        }
        for (index, candidate) in chosen.enumerated() {
            if let error = refused[index] {
                report.refused += 1
                log.error(
                    "the broker does not take a message", ["offset": candidate.message.offset, "error": "\(error)"])
            } else {
                report.counts[candidate.message.reason, default: .init()].sent += 1
                sent += 1
            }
        }
    }

    /// Tells that the streams which were made for conflicts have one number each.
    private func tellEnds(of candidates: [Candidate]) async throws {
        let reports = candidates.compactMap { candidate -> ReliableSender.Message? in
            guard let stream = candidate.message.ownStream, let number = candidate.number,
                number.streamID == stream.description, let gatewayID = Identifier(number.gatewayID)
            else { return nil }
            let report = GatewayReport(
                gatewayID: gatewayID,
                streams: [
                    .init(
                        streamID: stream, first: SequenceConflict.ownSequence, last: SequenceConflict.ownSequence)
                ])
            return report.encoded().first.map {
                ReliableSender.Message(key: candidate.message.key, value: $0, headers: [])
            }
        }
        for (_, error) in try await sender.send(reports) {
            log.error("the broker does not take the report of a conflict's stream", ["error": "\(error)"])
        }
    }

    private func line(_ candidate: Candidate) -> String {
        let message = candidate.message
        let place = TopicPartition(message.topic, message.partition)
        var text = "\(place)@\(message.offset)  rejected \(message.time?.description ?? "?")  \(message.reason)"
        if let number = candidate.number { text += "  \(number.gatewayID) \(number.streamID) \(number.sequence)" }
        if message.redrivenCount > 0 { text += "  sent back \(message.redrivenCount) times" }
        if let rejection = candidate.rejection { text += "  still \(rejection.reason.rawValue)" }
        return text
    }
}

extension [UInt8] {
    fileprivate func decoded(by decoder: ReadingDecoder, now: Timestamp) throws(Rejection) -> DecodedMessage {
        // Before Swift 6.1 an array's own method passes errors on without their type.
        try withUnsafeBufferPointer { bytes in
            Result { () throws(Rejection) in try decoder.decodeMessage(UnsafeRawBufferPointer(bytes), now: now) }
        }.get()
    }
}
