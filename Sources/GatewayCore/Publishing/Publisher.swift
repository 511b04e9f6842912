import KafkaClient
import Monitoring
import Outbox
import Platform
import Readings

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
    private let clock: any Clock<Duration>
    private let events: AsyncStream<Event>
    private nonisolated let wake: AsyncStream<Event>.Continuation

    private var window: PublishWindow
    private var producer: KafkaProducer?
    private var producerNumber = 0
    private var backoff = Backoff(firstMilliseconds: 250, longestMilliseconds: 30_000)
    private var isPaused = false
    private var isStopping = false

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
        switch event {
        case .appended: break
        case .delivered(let number, let reports):
            if number == producerNumber { try await settle(reports) }
        case .pauseEnded, .flush: isPaused = false
        case .stop:
            isStopping = true
            startTimer(drainTime, .drainTimeOver)
        case .drainTimeOver: return false
        }
        if let error = producer?.fatalError {
            // An idempotent producer cannot go on after some errors, such as a broker that lost its state.
            log.warning("the producer cannot go on and is made anew", ["error": "\(error)"])
            abandonProducer()
            pause(after: error)
        }
        if !isPaused { try await fill() }
        if isStopping, window.isEmpty { return try await outbox.status().depth > 0 }
        return true
    }

    /// Hands readings to the producer until the window is full or the outbox has no more.
    private func fill() async throws {
        while window.room > 0 {
            let records = try await outbox.read(after: window.sentThrough, limit: min(window.room, 500))
            guard !records.isEmpty else { return }
            for record in records {
                guard try await send(record) else { return }
            }
        }
    }

    /// - Returns: whether to go on sending.
    private func send(_ record: OutboxRecord) async throws -> Bool {
        let reading = record.reading
        let value = reading.encoded()
        do {
            guard value.count <= Reading.maximumEncodedSize else {
                try await setAside(reading, "\(value.count) bytes, at most \(Reading.maximumEncodedSize) are allowed")
                return true
            }
            try currentProducer().send(
                topic: topic, key: Array(reading.gatewayID.description.utf8), value: value,
                headers: record.committedAt.map { [KafkaHeader(committedAt: $0.milliseconds)] } ?? [],
                token: UInt64(reading.sequence))
            window.send(reading.sequence)
            return true
        } catch let error as KafkaError where error.code == .messageTooLarge {
            try await setAside(reading, "\(error)")
            return true
        } catch let error as KafkaError where error.code == .queueFull {
            // Room comes with the next delivery report.
            return false
        } catch let error as KafkaError {
            pause(after: error)
            return false
        }
    }

    private func setAside(_ reading: Reading, _ reason: String) async throws {
        log.error("a reading can never be sent", ["seq": reading.sequence, "reason": reason])
        try await outbox.quarantine(reading, reason: reason)
        metrics.quarantined.increment()
        window.skip(reading.sequence)
    }

    private func settle(_ reports: [DeliveryReport]) async throws {
        var failure: KafkaError?
        for report in reports {
            let sequence = Int64(report.token)
            if report.error?.code == .messageTooLarge {
                // The broker's own limit is lower than the contract's.
                if let record = try await outbox.read(after: sequence - 1, limit: 1).first,
                    record.reading.sequence == sequence
                {
                    log.error("the broker refuses a reading as too large", ["seq": sequence])
                    try await outbox.quarantine(record.reading, reason: "\(report.error.map { "\($0)" } ?? "")")
                    metrics.quarantined.increment()
                }
                window.settle(sequence, isDelivered: true)
                continue
            }
            window.settle(sequence, isDelivered: report.error == nil)
            failure = failure ?? report.error
        }
        if let last = window.takeAcknowledged() {
            try await outbox.acknowledge(through: last)
            backoff = Backoff(firstMilliseconds: 250, longestMilliseconds: 30_000)
            health.report("kafka", .healthy)
        }
        metrics.published.increment(by: UInt64(reports.count { $0.error == nil }))
        if let failure { pause(after: failure) }
        _ = window.rewind()
    }

    private func pause(after error: any Error) {
        let wait = backoff.next()
        log.warning("cannot publish, trying again", ["error": "\(error)", "in": "\(wait)"])
        health.report("kafka", .degraded("\(error)"))
        metrics.publishFailures.increment()
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
        let (number, wake, log) = (producerNumber, wake, log.component("kafka"))
        let made = try KafkaProducer(
            configuration: configuration,
            observer: KafkaObserver(
                log: { _, facility, message in log.debug(message, ["facility": facility]) },
                error: { error in log.warning("Kafka", ["error": "\(error)"]) })
        ) { reports in
            wake.yield(.delivered(producer: number, reports))
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
