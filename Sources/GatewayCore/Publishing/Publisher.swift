import KafkaClient
import Monitoring
import Outbox
import Platform
import Readings
import Synchronization

/// Sends what is in the outbox, in the order of the numbers, and deletes what the broker has acknowledged. What is done
/// when is decided by `PublishMachine`; this actor has the outbox, the producer and the clock.
actor Publisher: Service {
    /// What wakes the publisher.
    enum Event: Sendable {
        /// There are new readings.
        case appended
        /// The broker, or the producer in its place, has answered.
        case delivered(producer: Int, [DeliveryReport])
        /// A pause after a failure is over.
        case pauseEnded
        /// A timer of the machine has run down.
        case timer(PublishMachine.Timer)
        /// The files that the producer was made with have changed.
        case filesChanged
        /// The present stream is to be reported anew.
        case reportsDue
        /// A report that was refused is to be given again.
        case refusedReportDue
        /// A broker is connected, for the first time or again.
        case connected
        /// The cluster takes readings again.
        case recovered
        /// Try now, whatever pause there is: the board may not be there much longer.
        case flush
        /// Send what is there, then stop.
        case stop
        /// Stop now.
        case drainTimeOver
    }

    private let outbox: Outbox
    private let configuration: KafkaConfiguration
    private let topic: String
    private let drainTime: Duration
    private let metrics: GatewayMetrics
    private let health: Health
    private let log: Log
    private let monitor: KafkaStateMonitor
    private let clock: any Clock<Duration>
    private let online: @Sendable (Bool) -> Void
    private let events: AsyncStream<Event>
    private nonisolated let wake: AsyncStream<Event>.Continuation

    private var machine: PublishMachine
    private var producer: KafkaProducer?
    /// Which producer is listened to.
    private let current = CurrentProducer()
    private var answers = Answers()
    private var backoff = Publisher.firstBackoff
    /// The messages that were read last.
    private var found: [Message] = []
    /// What the outbox was asked for. It reads, and messages are made of it, while the producer is given those before.
    private var reading: Task<Result<Portion, OutboxError>, Never>?
    /// Reports that the outbox gave and that are not acknowledged.
    private var waitingReports: [OutboxReport] = []
    /// When the outbox is next asked for readings of the quarantine that are to be sent once more.
    private var nextRequeued = ContinuousClock.now
    /// Whether the outbox failed when it was last asked.
    private var isOutboxUnwell = false
    private var isStopping = false
    /// Why the last reading was put into quarantine.
    private var quarantineReason: String?
    /// Whether a report was refused alone, and whether it has been given again since; nil if none was.
    private var refusedReport: RefusedReport?

    private enum RefusedReport {
        case waits, isGivenAgain
    }

    /// Between attempts while a broker answers and refuses: whoever lifts a quota or an access list sees readings within
    /// 5 s. Without a broker librdkafka tries to connect by itself, and a connection ends the pause.
    private static let firstBackoff = Backoff(firstMilliseconds: 250, longestMilliseconds: 4000)

    /// How often it is looked whether readings of the quarantine are to be sent once more, and how many at once.
    private static let requeuedInterval = Duration.seconds(5)
    private static let requeuedAtOnce = 50
    /// How often the present stream is reported anew.
    private static let reportInterval = Duration.seconds(86_400)
    /// How long a report that was refused waits.
    private static let refusedReportInterval = Duration.seconds(600)

    /// How often the files of certificates, keys and the password are looked at, milliseconds. Boards that get new ones at
    /// the same time do not all come at once.
    private static let fileInterval: ClosedRange<Int64> = 1500...2500

    /// What a gateway wants of librdkafka; `kafka.properties` overrides it.
    static let producerDefaults: [(property: String, value: String)] = [
        // A reading at rest goes nearly at once. Without any pause a group would begin with requests of one reading each,
        // and what is behind would wait for their answers.
        ("linger.ms", "1"),
        // librdkafka draws from 75 to 150 % of it, so that a thousand boards do not come at once.
        ("reconnect.backoff.max.ms", "1500"),
        // How long a request may have no answer: a broker that hangs is given up then, and so is a connection that a quota
        // holds up. InFlightWindow sees to it that a slow link carries what is on its way in less.
        ("socket.timeout.ms", "10000"),
        // How long a topic may be missing before that is an error.
        ("topic.metadata.propagation.max.ms", "5000"),
    ]

    /// - Parameters:
    ///   - events: what wakes the publisher; `wake` puts into it.
    ///   - window: the most messages on their way at once.
    ///   - rate: the most readings a second.
    ///   - drainTime: how long a stop may take.
    ///   - online: told whether the broker takes readings.
    init(
        outbox: Outbox, events: (stream: AsyncStream<Event>, continuation: AsyncStream<Event>.Continuation),
        configuration: KafkaConfiguration, topic: String, window: Int, rate: Int = 1_000_000, drainTime: Duration,
        metrics: GatewayMetrics, health: Health, log: Log, clock: any Clock<Duration>,
        online: @escaping @Sendable (Bool) -> Void = { _ in }
    ) {
        self.outbox = outbox
        self.online = online
        self.events = events.stream
        wake = events.continuation
        self.configuration = configuration
        self.topic = topic
        self.drainTime = drainTime
        self.metrics = metrics
        self.health = health
        self.log = log
        let kafkaLog = log.component("kafka")
        let wake = events.continuation
        monitor = KafkaStateMonitor(
            configuration, log: { facility, message in kafkaLog.debug(message, ["facility": facility]) }
        ) { change in
            kafkaLog.report(change, waiting: Int(metrics.depth.value))
            health.report("kafka", change)
            guard case .recovered = change else { return online(false) }
            online(true)
            wake.yield(.recovered)
        }
        self.clock = clock
        machine = PublishMachine(limit: window, rate: Double(rate))
    }

    /// Publishes until a stop is asked for and the outbox is empty or the time for it is over. No error of Kafka or of the
    /// outbox ends it.
    func run() async throws {
        let wake = wake
        // Before the first producer reads them.
        let files = KafkaFiles(of: configuration)
        let watch = files.isEmpty ? nil : watch(files, since: await files.fingerprint())
        defer { watch?.cancel() }
        wake.yield(.appended)
        startTimer(Self.reportInterval, .reportsDue)
        try await withGracefulShutdownHandler {
            for await event in events {
                try Task.checkCancellation()
                guard await handle(event) else { return }
            }
        } onGracefulShutdown: {
            wake.yield(.stop)
        }
        // What is on its way may still get its answer; documentation/configuration.md says that a stop takes so much longer.
        await producer?.close(timeout: .seconds(1))
        let waiting = try? await outbox.status().depth
        log.notice("stopped", ["waiting": waiting.map { "\($0)" } ?? "unknown"])
    }

    /// Looks again and again whether the files have changed.
    private func watch(_ files: KafkaFiles, since known: KafkaFiles.Fingerprint) -> Task<Void, any Error> {
        let (clock, wake) = (clock, wake)
        return Task {
            var known = known
            while true {
                try await clock.sleep(for: .milliseconds(Int64.random(in: Publisher.fileInterval)))
                let now = await files.fingerprint()
                if now != known { wake.yield(.filesChanged) }
                known = now
            }
        }
    }

    /// - Returns: whether there is more to do.
    private func handle(_ event: Event) async -> Bool {
        var actions: [PublishMachine.Action]
        switch event {
        case .appended: actions = tell(.appended)
        case .delivered(let number, let reports):
            guard number == current.number else { return true }
            let all = reports + answers.take()
            actions = tell(
                .answered(all.map { ($0.token, $0.error) }, producerError: producer?.fatalError))
        case .pauseEnded: actions = tell(.pauseEnded)
        case .timer(let timer): actions = tell(.timer(timer))
        case .filesChanged:
            log.info("the files of the configuration's section kafka have changed and are read again")
            actions = tell(.filesChanged(isWorking: monitor.isConnected && monitor.trouble == nil))
        case .reportsDue:
            startTimer(Self.reportInterval, .reportsDue)
            if refusedReport != nil { refusedReport = .isGivenAgain }
            try? await outbox.renewReports()
            actions = tell(.appended)
        case .refusedReportDue:
            guard refusedReport != nil else { return true }
            refusedReport = .isGivenAgain
            await outbox.renewRefusedReports()
            actions = tell(.appended)
        case .connected: actions = tell(.connected)
        case .recovered: actions = tell(.recovered)
        case .flush: actions = tell(.flush)
        case .stop:
            isStopping = true
            startTimer(drainTime, .drainTimeOver)
            actions = tell(.stop)
        case .drainTimeOver: actions = tell(.drainTimeOver)
        }
        var next = 0
        while next < actions.count {
            let action = actions[next]
            next += 1
            if action == .finish { return false }
            guard let answer = await perform(action) else { continue }
            if case .notTaken = answer {
                // Those that were to be sent after it are taken back, too.
                actions[next...].removeAll { if case .send = $0 { true } else { false } }
            }
            actions += tell(answer)
        }
        return true
    }

    private func tell(_ event: PublishMachine.Event) -> [PublishMachine.Action] {
        let actions = machine.handle(event, at: .now)
        for case .read(let limit) in actions { startReading(limit) }
        return actions
    }

    // MARK: What the machine says

    /// - Returns: what the machine is to be told of it.
    private func perform(_ action: PublishMachine.Action) async -> PublishMachine.Event? {
        switch action {
        case .makeProducer:
            return await makeProducer() ? .producerMade : .producerNotMade
        case .tryFiles: return await tryFiles()
        case .dropProducer:
            log.debug("the producer is made anew", ["error": producer?.fatalError.map { "\($0)" } ?? "none"])
            dropProducer()
        case .read: return await read()
        case .send(let index, let token): return send(found[index], token)
        case .quarantine(let sequence, let reason): return await quarantine(sequence, reason)
        case .acknowledge(let through): await outbox.acknowledge(through: through)
        case .acknowledgeExtra(let extra): await acknowledge(extra)
        case .giveUpExtra(let extra, let reason): await giveUp(extra, reason)
        case .release:
            // Reports that were not acknowledged are given again.
            waitingReports = []
            // What is still being read counts as given.
            _ = await reading?.value
            await outbox.release()
        case .noteDelivered(let count):
            metrics.published.increment(by: UInt64(count))
            monitor.succeeded()
            // Later changes are the monitor's to report.
            if health.state(of: "kafka") == nil {
                health.report("kafka", .healthy)
                online(true)
            }
        case .pause(let error): pause(error)
        case .resetPauses: backoff = Self.firstBackoff
        case .start(let timer, let duration): startTimer(duration, .timer(timer))
        case .noteWaiting(let isWaiting): monitor.waits(isWaiting)
        case .noteOneByOne(let reason):
            log.warning("the broker refuses a group of readings, they are sent one by one", ["error": reason])
        case .noteAllRefused(let reason):
            log.error("the broker refuses one reading after the other, they wait", ["error": reason])
            health.report("readings", .degraded("the broker refuses one reading after the other: \(reason)"))
        case .noteTakenAgain:
            log.notice("the broker takes readings again that it had refused")
            health.report("readings", .healthy)
        case .noteDrained: log.notice("all readings that waited are sent")
        case .finish: break
        }
        return nil
    }

    /// Consecutive readings of the outbox.
    private struct Portion: Sendable {
        /// The number behind which they begin.
        let after: Int64
        let messages: [Message]
        /// Whether there are no more.
        let isEnd: Bool
    }

    /// A message as it goes to the topic.
    private struct Message: Sendable {
        var sequence: Int64?
        var extra: PublishMachine.Extra?
        let key: [UInt8]
        let value: [UInt8]
        var headers: [KafkaHeader] = []

        private init(sequence: Int64, key: [UInt8], value: [UInt8], headers: [KafkaHeader]) {
            (self.sequence, self.key, self.value, self.headers) = (sequence, key, value, headers)
        }

        /// The messages of readings. Neighbours have one key, and were mostly committed together.
        static func all(of records: [OutboxRecord]) -> [Message] {
            var (gateway, key): (Identifier?, [UInt8]) = (nil, [])
            var (committed, headers): (Timestamp?, [KafkaHeader]) = (nil, [])
            return records.map { record in
                if gateway != record.reading.gatewayID {
                    gateway = record.reading.gatewayID
                    key = Array(record.reading.gatewayID.description.utf8)
                }
                if committed != record.committedAt {
                    committed = record.committedAt
                    headers = record.committedAt.map { [KafkaHeader(committedAt: $0.milliseconds)] } ?? []
                }
                return Message(
                    sequence: record.reading.sequence, key: key, value: record.reading.encoded(), headers: headers)
            }
        }

        init(_ report: OutboxReport) {
            extra = .report(report.id)
            key = Array(report.gatewayID.description.utf8)
            value = report.message
        }

        init(_ reading: QuarantinedReading) {
            extra = .requeued(reading.sequence)
            key = Array(reading.gatewayID.utf8)
            value = Array(reading.body.utf8)
        }

        /// With what a record has around key and value (Kafka protocol guide, "Record"), about.
        var candidate: PublishMachine.Candidate {
            let most = Reading.maximumEncodedSize
            return PublishMachine.Candidate(
                sequence: sequence, extra: extra, size: key.count + value.count + headers.count * 32 + 32,
                refusal: value.count > most ? "\(value.count) bytes, at most \(most) are allowed" : nil)
        }
    }

    /// They go in groups: librdkafka puts into one request what is there when it looks, and that would be one reading,
    /// were they given one by one as earlier ones are acknowledged.
    private func startReading(_ limit: Int) {
        let (outbox, after) = (outbox, machine.window.sentThrough)
        reading = Task.detached {
            do throws(OutboxError) {
                let records = try await outbox.read(after: after, limit: limit)
                return .success(
                    Portion(after: after, messages: Message.all(of: records), isEnd: records.count < limit))
            } catch {
                return .failure(error)
            }
        }
    }

    private func read() async -> PublishMachine.Event {
        do throws(OutboxError) {
            guard let portion = try await reading?.value.get() else { return .notRead }
            // Its messages are in `found` from here on, and nowhere else.
            reading = nil
            let isEnd = portion.isEnd
            // Without readings behind, everything is told.
            waitingReports += try await outbox.reports(
                through: isEnd ? nil : portion.messages.last?.sequence, isEnd: isEnd && isStopping)
            var requeued: [QuarantinedReading] = []
            if isEnd, ContinuousClock.now >= nextRequeued {
                nextRequeued = .now + Self.requeuedInterval
                requeued = try await outbox.requeued(limit: Self.requeuedAtOnce)
                if requeued.count == Self.requeuedAtOnce { nextRequeued = .now }
            }
            outboxIsWell()
            // All are encoded before the first is given.
            found = waitingReports.map { Message($0) } + requeued.map { Message($0) } + portion.messages
            return .found(found.map(\.candidate), after: portion.after, isEnd: isEnd)
        } catch {
            outboxFailed(error)
            return .notRead
        }
    }

    private func send(_ message: Message, _ token: UInt64) -> PublishMachine.Event? {
        do throws(KafkaError) {
            guard let producer else { throw KafkaError(.state, "send without a producer") }
            try producer.send(
                topic: topic, key: message.key, value: message.value, headers: message.headers, token: token)
            return nil
        } catch {
            return .notTaken(token, error)
        }
    }

    private func quarantine(_ sequence: Int64, _ reason: String) async -> PublishMachine.Event {
        do throws(OutboxError) {
            let record = try await outbox.read(after: sequence - 1, limit: 1).first
            // It may have been dropped meanwhile, for want of room.
            if let record, record.reading.sequence == sequence {
                try await outbox.quarantine(record, reason: reason)
                metrics.quarantined.increment()
                // A station whose readings are all refused would fill the log; health says how many there are.
                let isNews = quarantineReason != reason
                quarantineReason = reason
                log(
                    isNews ? .error : .debug,
                    "a reading is refused, and so may be others: \"vigie-gateway buffer quarantine\" shows them",
                    ["seq": sequence, "reason": reason])
            }
            outboxIsWell()
            return .quarantined(sequence)
        } catch {
            outboxFailed(error)
            return .notQuarantined(sequence)
        }
    }

    private func acknowledge(_ extra: PublishMachine.Extra) async {
        switch extra {
        case .report(let id):
            waitingReports.removeAll { $0.id == id }
            await outbox.acknowledge(report: id)
            guard refusedReport == .isGivenAgain else { break }
            refusedReport = nil
            health.report(Self.reportsPart, .healthy)
            log.notice("the broker takes reports of this gateway again")
        case .requeued(let sequence):
            quarantineReason = nil
            log.debug("a reading of the quarantine is sent after all", ["seq": sequence])
            do throws(OutboxError) {
                try await outbox.acknowledge(requeued: sequence)
            } catch {
                // It is sent once more, which is harmless.
                outboxFailed(error)
            }
        }
    }

    private func giveUp(_ extra: PublishMachine.Extra, _ reason: String) async {
        switch extra {
        case .report(let id):
            waitingReports.removeAll { $0.id == id }
            await outbox.refuse(report: id)
            guard refusedReport != .waits else { break }
            let isNews = refusedReport == nil
            refusedReport = .waits
            startTimer(Self.refusedReportInterval, .refusedReportDue)
            guard isNews else { break }
            health.report(Self.reportsPart, .degraded("the broker refuses a report of this gateway: \(reason)"))
            log.error(
                "the broker refuses a report of this gateway, it is sent again every ten minutes: the centre does not know"
                    + " why numbers are missing until then", ["reason": reason])
        case .requeued(let sequence):
            log.debug("a reading of the quarantine is refused once more", ["seq": sequence, "reason": reason])
            do throws(OutboxError) {
                try await outbox.refuse(requeued: sequence, reason: reason)
            } catch {
                outboxFailed(error)
            }
        }
    }

    private func outboxFailed(_ error: OutboxError) {
        if !isOutboxUnwell { log.warning("the outbox cannot be used, trying again", ["error": "\(error)"]) }
        isOutboxUnwell = true
        health.report(Self.storagePart, .degraded("\(error)"))
    }

    private func outboxIsWell() {
        guard isOutboxUnwell else { return }
        isOutboxUnwell = false
        log.notice("the outbox can be used again")
        health.report(Self.storagePart, .healthy)
    }

    /// The part that health names: what the publisher has of the outbox. What the outbox takes is told by its writer.
    private static let storagePart = "outbox reading"
    /// The part that health names: the reports of streams and gaps.
    private static let reportsPart = "reports"

    private func pause(_ error: KafkaError?) {
        let wait = backoff.next()
        metrics.publishFailures.increment()
        if let error {
            log.debug("cannot publish, trying again", ["error": "\(error)", "in": "\(wait)"])
            monitor.failed(error)
        }
        startTimer(wait, .pauseEnded)
    }

    private func startTimer(_ duration: Duration, _ event: Event) {
        let (clock, wake) = (clock, wake)
        Task {
            try await clock.sleep(for: duration)
            wake.yield(event)
        }
    }

    // MARK: Producers

    /// Makes a producer, with its files as they are now.
    /// - Returns: false if a file cannot be used, which is then the trouble.
    private func makeProducer() async -> Bool {
        let (wake, answers, current) = (wake, Answers(), current)
        let number = current.number
        self.answers = answers
        let watched = monitor.observer
        // A producer that was given up says nothing any more of how the cluster is.
        let observer = KafkaObserver(
            log: watched.log,
            error: { if current.number == number { watched.error($0) } },
            throttle: { if current.number == number { watched.throttle($0) } },
            connection: { broker, isUp in
                guard current.number == number else { return }
                watched.connection(broker, isUp)
                if isUp { wake.yield(.connected) }
            })
        do throws(KafkaConfigurationError) {
            producer = try await KafkaProducer.make(
                configuration: configuration, defaults: Self.producerDefaults, observer: observer
            ) { reports in
                if let reports = answers.add(reports) { wake.yield(.delivered(producer: number, reports)) }
            }
            return true
        } catch {
            log.debug("no producer can be made", ["error": "\(error)"])
            monitor.failed(error)
            return false
        }
    }

    /// Finds out whether a producer can be made with the files as they are, while there is one with older files.
    private func tryFiles() async -> PublishMachine.Event {
        do throws(KafkaConfigurationError) {
            try await configuration.tryOutAside(as: .producer, defaults: Self.producerDefaults)
            return .filesUsable(isWorking: monitor.isConnected && monitor.trouble == nil)
        } catch {
            log.warning("the files of Kafka cannot be used, the old ones are", ["reason": "\(error)"])
            return .filesNotUsable
        }
    }

    /// Gives up the producer; reports that still come from it are not looked at. All that had no answer is still in the
    /// outbox, and the next producer begins there.
    private func dropProducer() {
        metrics.producersReplaced.increment()
        producer = nil
        current.next()
        monitor.clientEnded()
    }
}

/// The number of the producer that is listened to; the older ones are about to end.
private final class CurrentProducer: Sendable {
    private let value = Atomic(0)

    var number: Int { value.load(ordering: .acquiring) }

    func next() { value.add(1, ordering: .acquiringAndReleasing) }
}

/// What a producer reports while the publisher is at work: taken together, so that the outbox deletes much at once.
private final class Answers: Sendable {
    private let state = Mutex((isTold: false, waiting: [DeliveryReport]()))

    /// Takes reports.
    /// - Returns: those that the publisher is to be told; nil if they wait for `take`, since it has been told of others.
    func add(_ reports: [DeliveryReport]) -> [DeliveryReport]? {
        state.withLock { state in
            guard state.isTold else {
                state.isTold = true
                return reports
            }
            state.waiting += reports
            return nil
        }
    }

    /// What came since those that the publisher was told.
    func take() -> [DeliveryReport] {
        state.withLock { state in
            defer { state = (false, []) }
            return state.waiting
        }
    }
}
