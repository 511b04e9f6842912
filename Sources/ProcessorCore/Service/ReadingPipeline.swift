import Monitoring
import Platform
import ProcessorStatus
import Readings

/// Fetching and writing side by side: while one batch is written the next one is fetched and decoded.
struct ReadingPipeline: Service {
    let settings: ProcessorSettings
    /// The number of the worker in this process, from 1.
    let worker: Int
    let metrics: ProcessorMetrics
    let status: PipelineStatus
    let health: Health
    let log: Log
    let wallClock: any WallClock
    let clock: any Clock<Duration>

    /// What a worker's way to the database is reported under.
    static func healthPart(worker: Int, of settings: ProcessorSettings) -> String {
        part("postgres", worker, settings)
    }

    /// What a worker's way to the broker is reported under.
    static func kafkaPart(worker: Int, of settings: ProcessorSettings) -> String {
        part("kafka", worker, settings)
    }

    /// What a worker's partitions are reported under.
    static func partitionsPart(worker: Int, of settings: ProcessorSettings) -> String {
        part("partitions", worker, settings)
    }

    /// What a worker says of its group is reported under.
    static func groupPart(worker: Int, of settings: ProcessorSettings) -> String {
        part("group", worker, settings)
    }

    /// What a worker says of the rejected topic is reported under.
    static func rejectedPart(worker: Int, of settings: ProcessorSettings) -> String {
        part("rejected topic", worker, settings)
    }

    /// With several workers each has parts of its own.
    private static func part(_ name: String, _ worker: Int, _ settings: ProcessorSettings) -> String {
        settings.workers == 1 ? name : "\(name) (worker \(worker))"
    }

    func run() async throws {
        let shutdown = ShutdownRequest.current ?? ShutdownRequest()
        let gate = WriterGate(limit: BatchPace(maximum: settings.maximumBatch).limit)
        let fetcher = BatchFetcher(
            settings: settings, worker: worker, shutdown: shutdown, gate: gate, status: status, health: health,
            log: log, wallClock: wallClock)
        let rejectedHealth = RejectedTopicHealth(
            settings.kafka, topic: settings.rejectedTopic, health: health,
            part: ReadingPipeline.rejectedPart(worker: worker, of: settings), log: log)
        let writer = BatchWriter(
            settings: settings, worker: worker, gate: gate,
            rejectedTopic: RejectedTopic(
                configuration: settings.kafka, topic: settings.rejectedTopic, sourceTopic: settings.topic,
                health: rejectedHealth, log: log, clock: clock),
            metrics: metrics, status: status, health: health, log: log, wallClock: wallClock, clock: clock)
        try await fetcher.start()
        async let _: Void = rejectedHealth.watch(clock: clock)
        do {
            // A batch that is being retried when a stop is asked for is dropped; it will be read again.
            try await cancelOnGracefulShutdown {
                try await process(fetcher, writer, gate)
            }
        } catch is CancellationError {
        } catch {
            await fetcher.stop()
            throw error
        }
        try await writer.writeOpenWindows()
        await fetcher.stop()
        log.info("stopped")
    }

    private func process(_ fetcher: BatchFetcher, _ writer: BatchWriter, _ gate: WriterGate) async throws {
        var current = try await fetcher.next()
        while let fetched = current {
            gate.close()
            async let following = fetcher.next()
            var outcome = BatchWriter.Outcome.committed
            do {
                defer { gate.open() }
                if let partitions = fetched.partitions { try await writer.own(partitions) }
                if let count = fetched.partitionCount { try await writer.takeGateways(beyond: count) }
                if !fetched.batch.isEmpty { outcome = try await writer.commit(fetched.batch) }
                if case .committed = outcome { await writer.confirm(fetched.reached) }
                try await writer.onProcessingTime()
            }
            current = try await following
            if case .stale = outcome {
                await fetcher.resynchronise()
                current = try await fetcher.next()
            }
        }
    }
}
