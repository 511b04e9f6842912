import KafkaClient
import Monitoring
import Outbox
import Platform
import Readings
import Synchronization

/// Sends what is in the outbox, in the order of the numbers, and deletes what the broker has acknowledged.
actor Publisher: Service {
    /// What wakes the publisher.
    enum Event: Sendable {
        /// There are new readings.
        case appended
        /// The broker, or the producer in its place, has answered.
        case delivered(producer: Int, [DeliveryReport])
        /// A pause after a failure is over.
        case pauseEnded
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
    private let events: AsyncStream<Event>
    private nonisolated let wake: AsyncStream<Event>.Continuation

    private var window: PublishWindow
    private var producer: KafkaProducer?
    private var producerNumber = 0
    private var answers = Answers()
    private var backoff = Publisher.firstBackoff
    private var isPaused = false
    /// Whether readings are on their way, as the monitor knows it.
    private var isWaiting = false
    private var isStopping = false
    /// Whether what waited while the cluster took nothing is on its way.
    private var isDraining = false

    /// Between attempts while a broker answers and refuses: whoever lifts a quota or an access list sees readings within
    /// 5 s. Without a broker librdkafka tries to connect by itself, and a connection ends the pause.
    private static let firstBackoff = Backoff(firstMilliseconds: 250, longestMilliseconds: 4000)

    /// What a gateway wants of librdkafka; `kafka.properties` overrides it.
    static let producerDefaults: [(property: String, value: String)] = [
        // A reading at rest goes nearly at once. Without any pause a group would begin with requests of one reading each,
        // and what is behind would wait for their answers.
        ("linger.ms", "1"),
        // librdkafka draws from 75 to 150 % of it, so that a thousand boards do not come at once.
        ("reconnect.backoff.max.ms", "1500"),
        // How long a request may have no answer: a broker that hangs is given up then, and so is a connection that a quota
        // holds up. PublishWindow sees to it that a slow link carries what is on its way in less.
        ("socket.timeout.ms", "10000"),
        // How long a topic may be missing before that is an error.
        ("topic.metadata.propagation.max.ms", "5000"),
    ]

    /// - Parameters:
    ///   - events: what wakes the publisher; `wake` puts into it.
    ///   - window: the most readings on their way at once.
    ///   - drainTime: how long a stop may take.
    init(
        outbox: Outbox, events: (stream: AsyncStream<Event>, continuation: AsyncStream<Event>.Continuation),
        configuration: KafkaConfiguration, topic: String, window: Int, drainTime: Duration, metrics: GatewayMetrics,
        health: Health, log: Log, clock: any Clock<Duration>
    ) {
        self.outbox = outbox
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
            if case .recovered = change { wake.yield(.recovered) }
        }
        self.clock = clock
        self.window = PublishWindow(limit: window)
    }

    /// Publishes until a stop is asked for and the outbox is empty or the time for it is over.
    func run() async throws {
        let wake = wake
        wake.yield(.appended)
        try await withGracefulShutdownHandler {
            try await publish()
        } onGracefulShutdown: {
            wake.yield(.stop)
        }
        await producer?.close(timeout: .seconds(1))
        let waiting = try await outbox.status().depth
        log.notice("stopped", ["waiting": waiting])
    }

    private func publish() async throws {
        for await event in events {
            try Task.checkCancellation()
            do {
                guard try await handle(event) else { return }
            } catch let error as OutboxError {
                // What is on its way may or may not be settled in the file; sending it again is harmless.
                abandonProducer()
                pause(after: error)
            }
        }
    }

    /// - Returns: whether there is more to do.
    private func handle(_ event: Event) async throws -> Bool {
        var acknowledged: Int64?
        switch event {
        case .appended: break
        case .delivered(let number, let reports):
            if number == producerNumber { acknowledged = try await settle(reports + answers.take()) }
        case .pauseEnded, .connected, .flush: isPaused = false
        case .recovered: isDraining = true
        case .stop:
            isStopping = true
            startTimer(drainTime, .drainTimeOver)
        case .drainTimeOver: return false
        }
        if let error = producer?.fatalError {
            // The next producer begins with what is in the outbox.
            if let last = acknowledged { await outbox.acknowledge(through: last) }
            acknowledged = nil
            // An idempotent producer cannot go on after some errors, such as a broker that lost its state. What a person
            // must mend, such as a right that is missing, is the monitor's to say.
            let isToldElsewhere = KafkaTrouble(error, of: configuration).map { $0.kind != .producerLost } ?? false
            log(
                isToldElsewhere ? .debug : .warning, "the producer cannot go on and is made anew",
                ["error": "\(error)"])
            abandonProducer()
            pause(after: error)
        }
        if !isPaused { try await fill() }
        // The next readings are on their way while the disk forgets those before.
        if let acknowledged { await outbox.acknowledge(through: acknowledged) }
        if window.isEmpty == isWaiting {
            isWaiting.toggle()
            monitor.waits(isWaiting)
        }
        guard isStopping || isDraining, window.isEmpty else { return true }
        let depth = try await outbox.status().depth
        if isDraining, depth == 0 {
            isDraining = false
            log.notice("all readings that waited are sent")
        }
        return !isStopping || depth > 0
    }

    /// Hands readings to the producer until the window is full or the outbox has no more.
    ///
    /// They go in groups: librdkafka puts into one request what is there when it looks, and that would be one reading,
    /// were they given one by one as earlier ones are acknowledged.
    private func fill() async throws {
        while window.isWorthFilling {
            let records = try await outbox.read(after: window.sentThrough, limit: min(window.room, 250))
            guard !records.isEmpty else {
                window.rest()
                return
            }
            // All are encoded before the first is given.
            for message in records.map(Message.init) {
                guard try await send(message) else { return }
            }
        }
    }

    /// A reading as it goes to the topic.
    private struct Message {
        let record: OutboxRecord
        let value: [UInt8]
        let headers: [KafkaHeader]

        init(_ record: OutboxRecord) {
            self.record = record
            value = record.reading.encoded()
            headers = record.committedAt.map { [KafkaHeader(committedAt: $0.milliseconds)] } ?? []
        }
    }

    /// - Returns: whether to go on sending.
    private func send(_ message: Message) async throws -> Bool {
        let reading = message.record.reading
        do {
            guard message.value.count <= Reading.maximumEncodedSize else {
                try await setAside(
                    message.record, "\(message.value.count) bytes, at most \(Reading.maximumEncodedSize) are allowed")
                return true
            }
            try currentProducer().send(
                topic: topic, key: Array(reading.gatewayID.description.utf8), value: message.value,
                headers: message.headers, token: UInt64(reading.sequence))
            window.send(reading.sequence, at: .now)
            return true
        } catch let error as KafkaError where error.code == .messageTooLarge {
            try await setAside(message.record, "\(error)")
            return true
        } catch let error as KafkaError where error.code == .queueFull {
            // Room comes with the next delivery report.
            return false
        } catch let error as KafkaError {
            pause(after: error)
            return false
        } catch let error as KafkaConfigurationError {
            pause(after: error)
            return false
        }
    }

    private func setAside(_ record: OutboxRecord, _ reason: String) async throws {
        let reading = record.reading
        log.error("a reading can never be sent", ["seq": reading.sequence, "reason": reason])
        try await outbox.quarantine(record, reason: reason)
        metrics.quarantined.increment()
        window.skip(reading.sequence, at: .now)
    }

    /// - Returns: the last reading that the broker has, with all before it; nil if that is none more than before.
    private func settle(_ reports: [DeliveryReport]) async throws -> Int64? {
        var failure: KafkaError?
        for report in reports {
            let sequence = Int64(report.token)
            if report.error?.code == .messageTooLarge {
                // The broker's own limit is lower than the contract's.
                if let record = try await outbox.read(after: sequence - 1, limit: 1).first,
                    record.reading.sequence == sequence
                {
                    log.error("the broker refuses a reading as too large", ["seq": sequence])
                    try await outbox.quarantine(record, reason: "\(report.error.map { "\($0)" } ?? "")")
                    metrics.quarantined.increment()
                }
                window.settle(sequence, isDelivered: true)
                continue
            }
            window.settle(sequence, isDelivered: report.error == nil)
            failure = failure ?? report.error
        }
        let acknowledged = window.takeAcknowledged(at: .now)
        if acknowledged != nil { backoff = Self.firstBackoff }
        let delivered = reports.count { $0.error == nil }
        metrics.published.increment(by: UInt64(delivered))
        if let failure {
            pause(after: failure)
        } else if delivered > 0 {
            monitor.succeeded()
            // Later changes are the monitor's to report.
            if health.state(of: "kafka") == nil { health.report("kafka", .healthy) }
        }
        _ = window.rewind()
        return acknowledged
    }

    private func pause(after error: any Error) {
        let wait = backoff.next()
        metrics.publishFailures.increment()
        if let error = error as? KafkaError {
            log.debug("cannot publish, trying again", ["error": "\(error)", "in": "\(wait)"])
            monitor.failed(error)
        } else if let error = error as? KafkaConfigurationError {
            log.debug("cannot make a producer, trying again", ["error": "\(error)", "in": "\(wait)"])
            monitor.failed(error)
        } else {
            log.warning("cannot publish, trying again", ["error": "\(error)", "in": "\(wait)"])
            health.report("outbox", .degraded("\(error)"))
        }
        guard !isPaused else { return }
        isPaused = true
        startTimer(wait, .pauseEnded)
    }

    private func startTimer(_ duration: Duration, _ event: Event) {
        let (clock, wake) = (clock, wake)
        Task {
            try await clock.sleep(for: duration)
            wake.yield(event)
        }
    }

    private func currentProducer() throws -> KafkaProducer {
        if let producer { return producer }
        let (number, wake, answers) = (producerNumber, wake, Answers())
        self.answers = answers
        var observer = monitor.observer
        let noteConnection = observer.connection
        observer.connection = { broker, isUp in
            noteConnection(broker, isUp)
            if isUp { wake.yield(.connected) }
        }
        let made = try KafkaProducer(
            configuration: configuration, defaults: Self.producerDefaults, observer: observer
        ) { reports in
            if let reports = answers.add(reports) { wake.yield(.delivered(producer: number, reports)) }
        }
        producer = made
        return made
    }

    /// Gives up the producer; reports that still come from it are not looked at. All that had no answer is still in the
    /// outbox, and the next producer begins there.
    private func abandonProducer() {
        metrics.producersReplaced.increment()
        producer = nil
        producerNumber += 1
        window.restart()
    }
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
