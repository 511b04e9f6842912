import Monitoring
import Platform
import PostgresClient
import Presentation
import ProcessorStatus
import Readings
import Windowing

/// Writes batches to PostgreSQL, one after the other, however often that takes.
///
/// Its thread is its own, as libpq blocks.
actor BatchWriter {
    /// What became of a batch.
    enum Outcome: Sendable {
        /// It is in the database.
        case committed
        /// The offsets in the database are others: somebody else has a partition. Nothing was written.
        case stale
    }

    let settings: ProcessorSettings
    private let worker: Int
    let rejectedTopic: RejectedTopic
    let metrics: ProcessorMetrics
    let status: PipelineStatus
    let health: Health
    let log: Log
    let wallClock: any WallClock
    let clock: any Clock<Duration>
    private let executor: ThreadExecutor

    private var connection: PostgresConnection?
    private var partitions = DayPartitions()
    private var cache: [String: GatewayState] = [:]
    /// Gateways whose windows the database refuses.
    var heldWindows = HeldWindows()
    /// The partitions that this worker has.
    private var owned: Set<Int32> = []
    /// Gateways of which something is not in memory that time may make due: of newly assigned partitions, or because
    /// somebody else has written for them.
    private var incomplete: Set<String> = []
    private var loadingPace = LoadingPace()
    /// Gateways of which something left memory that time may make due, and when to look at them again.
    private var evicted: (gateways: Set<String>, retry: ContinuousClock.Instant) = ([], .now)
    /// In what time silence means something, and whether that has grown since the last look.
    private var caughtUp = CaughtUpTracker()
    private var caughtUpHasMoved = false
    private var nextMeasurement = ContinuousClock.now
    /// Sensors that came into memory since then.
    private var sensorsLoaded = 0
    private var nextLook = ContinuousClock.now
    private var pace: UpdatePace
    private var batchPace: BatchPace
    private let gate: WriterGate
    private var latest = Timestamp(milliseconds: 0)
    /// Whether this is the end, and nothing is tried twice any more.
    private var isStopping = false

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - worker: the number of the worker in this process, from 1.
    ///   - gate: is told how large a batch may be.
    init(
        settings: ProcessorSettings, worker: Int, gate: WriterGate, rejectedTopic: RejectedTopic,
        metrics: ProcessorMetrics,
        status: PipelineStatus, health: Health, log: Log, wallClock: any WallClock, clock: any Clock<Duration>
    ) {
        self.settings = settings
        self.worker = worker
        self.gate = gate
        pace = UpdatePace(wished: settings.updateInterval)
        batchPace = BatchPace(maximum: settings.maximumBatch)
        executor = ThreadExecutor(name: "writer-\(worker)")
        self.rejectedTopic = rejectedTopic
        self.metrics = metrics
        self.status = status
        self.health = health
        self.log = log
        self.wallClock = wallClock
        self.clock = clock
    }

    /// Writes a batch. Rows that the database refuses go to the rejected topic instead.
    /// - Throws: CancellationError when told to stop.
    func commit(_ batch: ReadingBatch) async throws -> Outcome {
        if !batch.rejected.isEmpty {
            try await rejectedTopic.publish(batch.rejected, now: wallClock.now())
        }
        releaseWindows()
        var batch = batch
        var mayBeCommitted = false
        // The conflicts of this batch that are in the rejected topic, by their own streams.
        var announced: Set<StreamName> = []
        do {
            while true {
                do {
                    let refusal = try await refusal {
                        do {
                            try write(batch, announced: announced)
                        } catch let error as PostgresError where error.isTransient {
                            mayBeCommitted = true
                            throw error
                        }
                    }
                    guard let refusal else { return .committed }
                    batch = try await isolate(batch, refusal)
                } catch let found as UnannouncedConflicts {
                    try await announce(found, of: batch)
                    announced.formUnion(found.conflicts.map(\.ownName))
                }
            }
        } catch is StaleOffsets {
            if mayBeCommitted, try await retrying({ try isCommitted(batch) }) {
                log.notice("a batch had been committed although the connection was lost")
                status.advance(batch.offsets.mapValues(\.to.next))
                return .committed
            }
            metrics.staleBatches.increment()
            return .stale
        }
    }

    /// Writes what the passing of time has made due.
    func onProcessingTime() async throws {
        if ContinuousClock.now >= nextMeasurement { measure() }
        if !evicted.gateways.isEmpty, ContinuousClock.now >= evicted.retry {
            incomplete.formUnion(evicted.gateways)
            evicted.gateways = []
        }
        try await loadWhatIsMissing(until: .now + LoadingPace.share)
        // Looking at all sensors after every batch would take longer than many a batch.
        guard ContinuousClock.now >= nextLook || caughtUpHasMoved else { return }
        nextLook = .now + min(.seconds(1), .milliseconds(settings.updateInterval))
        releaseWindows()
        let now = wallClock.now().milliseconds
        var due = Set(
            cache.filter {
                $0.value.needsLook(
                    now: now, interval: pace.interval, idleTimeout: settings.idleTimeout, caughtUp: caughtUp,
                    policy: settings.windows)
            }.keys)
        if caughtUpHasMoved, let rule = settings.rules.silence {
            due.formUnion(
                cache.filter { _, gateway in
                    let partition = gateway.partition
                    return gateway.sensors.values.contains { $0.isNewlySilent(rule, caughtUp, partition: partition) }
                }.keys)
        }
        caughtUpHasMoved = false
        for portion in portions(due) {
            try await writeWindows(of: portion.filter { !heldWindows.contains($0) })
        }
    }

    /// Loads what is not in memory that time may make due, in portions, so that no batch waits for it, and writes what has
    /// become due meanwhile.
    private func loadWhatIsMissing(until end: ContinuousClock.Instant) async throws {
        while ContinuousClock.now < end {
            let portion = Array(incomplete.lazy.filter { !self.heldWindows.contains($0) }.prefix(loadingPace.sensors))
            if portion.isEmpty { return }
            let began = ContinuousClock.now
            try await writeWindows(of: portion)
            loadingPace.observe(began.duration(to: .now))
            // One that is not in memory any more has another owner, has no row, or is held back.
            incomplete.subtract(portion.filter { cache[$0]?.isComplete ?? true })
        }
    }

    /// Divides gateways so that neither all locks of a large fleet are held at once nor all its windows are in memory.
    private func portions(_ gateways: some Collection<String>) -> [[String]] {
        var portions: [[String]] = []
        var size = Int.max
        for gateway in gateways {
            let windows = cache[gateway]?.sensors.values.reduce(0) { $0 + $1.windows.openWindowCount(settings.windows) }
            if size > BatchTransaction.mostWindows {
                portions.append([])
                size = 0
            }
            // Those that are not in memory are taken to have a sensor or two.
            size += windows ?? 50
            portions[portions.count - 1].append(gateway)
        }
        return portions
    }

    /// Counts what is in memory, every few seconds, and lets go of what need not be there.
    private func measure() {
        nextMeasurement = .now + .seconds(5)
        sensorsLoaded = 0
        var size = stateSize
        let eviction = StateEviction(
            bound: settings.stateSize / settings.workers, looksForSilence: settings.rules.silence != nil)
        let outcome = eviction.evict(from: &cache, bytes: size.bytes, now: wallClock.now().milliseconds)
        if outcome.sensors + outcome.streams > 0 {
            metrics.evictions.increment(by: UInt64(outcome.sensors + outcome.streams))
            if !outcome.incomplete.isEmpty {
                log.warning(
                    "the state of sensors and streams is larger than it may be (state_size); windows of quiet sensors wait",
                    ["bytes": size.bytes, "sensors": outcome.sensors, "streams": outcome.streams])
                evicted.gateways.formUnion(outcome.incomplete)
                evicted.retry = .now + BatchWriter.evictionPause
                incomplete.subtract(outcome.incomplete)
            }
            size = stateSize
        }
        status.measure(size)
        pace.openWindows = size.windows
        metrics.updateInterval.set(Double(pace.interval) / 1000)
    }

    /// After so many more sensors what is in memory is counted at once.
    private static let sensorsWorthMeasuring = 20_000
    /// For how long sensors stay out of memory that left it for want of room.
    private static let evictionPause = Duration.seconds(30)

    private var stateSize: StateSize {
        cache.values.reduce(into: StateSize()) { $0 += $1.size(settings.windows) }
    }

    /// Notes that everything is in the database that was in some partitions at a time.
    func confirm(_ reached: [Int32: Int64]) {
        for (partition, time) in reached { caughtUp.confirm(partition, at: time) }
        if !reached.isEmpty { caughtUpHasMoved = true }
    }

    /// Writes the open windows that have changed, before a stop: all of them if there is time, as whoever goes on with
    /// their sensors writes them too. A database that does not take them now is left alone.
    func writeOpenWindows() async throws {
        isStopping = true
        let end = ContinuousClock.now + .seconds(10)
        do {
            try await loadWhatIsMissing(until: end)
            let changed = cache.filter { $0.value.sensors.values.contains(where: \.windows.hasChanges) }.map(\.key)
            for portion in portions(changed) where ContinuousClock.now < end { try await writeWindows(of: portion) }
        } catch let error as PostgresError {
            log.warning(
                "open windows are not written before the stop; whoever reads on writes them", ["error": "\(error)"])
        }
    }

    /// Takes note of the partitions that this processor has now: forgets the gateways of others, and takes up those
    /// that were left by somebody else.
    func own(_ owned: Set<Int32>) async throws {
        self.owned = owned
        cache = cache.filter { owned.contains($0.value.partition) }
        caughtUp.keep(owned)
        let gateways = try await retrying { try GatewayTable(connection: connected()).gateways(of: owned) }
        incomplete = gateways.filter { !(cache[$0]?.isComplete ?? false) }
    }

    /// Takes up the gateways of partitions that the topic does not have any more, as if their last messages had come from
    /// partition 0, which is this processor's: somebody must look after their windows and their silence.
    func takeGateways(beyond partitionCount: Int) async throws {
        let moved = try await retrying {
            try GatewayTable(connection: connected()).moveToFirstPartition(beyond: partitionCount)
        }
        if moved.isEmpty { return }
        log.notice("took up gateways of partitions that are gone", ["gateways": moved.count])
        adopt(moved)
    }

    /// Takes up gateways from the database at the next look.
    func adopt(_ gateways: Set<String>) {
        incomplete.formUnion(gateways)
    }

    // MARK: One try

    private func write(_ batch: ReadingBatch, announced: Set<StreamName>) throws {
        do {
            let connection = try connected()
            try partitions.prepare(for: batch.rows, now: wallClock.now(), connection)
            let started = ContinuousClock.now
            var transaction = transaction(connection)
            transaction.announced = announced
            let summary = try transaction.write(batch, cache: &cache)
            let duration = ContinuousClock.now - started
            for gateway in batch.gateways {
                // What was held back is only in the rows.
                if heldWindows.contains(gateway) { cache[gateway] = nil }
                if let state = cache[gateway], !state.isComplete { incomplete.insert(gateway) }
            }
            metrics.batchDuration.observe(duration)
            sensorsLoaded += summary.sensorsLoaded
            if sensorsLoaded >= BatchWriter.sensorsWorthMeasuring { nextMeasurement = .now }
            metrics.record(summary)
            pace.observe(windows: summary.windows - summary.lateWindows, duration: summary.windowDuration)
            batchPace.observe(messages: summary.messages, lateWindows: summary.lateWindows)
            gate.batchLimit = batchPace.limit
            status.record(
                WorkCounts(summary), offsets: batch.offsets.mapValues(\.to.next), samples: batch.samples,
                duration: duration,
                now: wallClock.now())
        } catch {
            // The copies in memory may be ahead of what is in the database.
            for gateway in batch.gateways { cache[gateway] = nil }
            partitions.forget()
            throw error
        }
    }

    /// Writes a batch, or the windows of gateways, as it would be written, and takes it back.
    func dryRun(
        _ batch: ReadingBatch? = nil, windowsOf gateways: [String] = [], holding held: Set<String>
    ) throws {
        defer { for gateway in (batch?.gateways ?? []) + gateways { cache[gateway] = nil } }
        metrics.trials.increment()
        let connection = try connected()
        if let batch {
            partitions.forget()
            try partitions.prepare(for: batch.rows, now: wallClock.now(), connection)
        }
        // Swift 6.0 takes the closure, which runs at once, for one that runs meanwhile.
        nonisolated(unsafe) var transaction = transaction(connection)
        transaction.held = held
        transaction.announced = nil
        try connection.dryRun {
            if let batch { _ = try transaction.write(batch, cache: &cache) }
            if !gateways.isEmpty {
                _ = try transaction.onProcessingTime(gateways, idleTimeout: settings.idleTimeout, cache: &cache)
            }
        }
    }

    func writeDueWindows(of gateways: [String]) throws {
        do {
            let summary = try transaction(try connected())
                .onProcessingTime(
                    gateways, idleTimeout: settings.idleTimeout, loadingAtMost: loadingPace.sensors, cache: &cache)
            metrics.record(summary)
            pace.observe(windows: summary.windows, duration: summary.windowDuration)
            status.record(WorkCounts(summary))
            // A gateway may have moved to another partition, as after partitions were added.
            for gateway in gateways {
                guard let state = cache[gateway] else { continue }
                if !owned.contains(state.partition) {
                    cache[gateway] = nil
                } else if !state.isComplete {
                    incomplete.insert(gateway)
                }
            }
        } catch {
            for gateway in gateways { cache[gateway] = nil }
            incomplete.formUnion(gateways)
            throw error
        }
    }

    private func isCommitted(_ batch: ReadingBatch) throws -> Bool {
        let found = try OffsetTable(connection: connected(), topic: settings.topic).positions(
            of: Set(batch.offsets.keys))
        return batch.offsets.allSatisfy { found[$0.key] == $0.value.to }
    }

    private func transaction(_ connection: PostgresConnection) -> BatchTransaction {
        BatchTransaction(
            connection: connection, topic: settings.topic, policy: settings.windows, rules: settings.rules,
            now: nextTime(), updateInterval: pace.interval, held: heldWindows.gateways, caughtUp: caughtUp,
            latePolicy: settings.latePolicy, notifies: settings.webhook != nil)
    }

    /// The time of a transaction, later than that of the one before, also if the clock was set back.
    private func nextTime() -> Timestamp {
        latest = max(wallClock.now(), Timestamp(milliseconds: latest.milliseconds + 1))
        return latest
    }

    private func connected() throws -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        connection = nil
        let log = log
        let made = try settings.connect(applicationName: "vigie-processor") { notice in
            log.debug("database notice", ["message": notice.message])
        }
        connection = made
        return made
    }

    // MARK: Many tries

    var healthPart: String { ReadingPipeline.healthPart(worker: worker, of: settings) }

    /// Tries until it works: what time does not mend, an operator will.
    func retrying<Result>(_ body: () throws -> Result) async throws -> Result {
        var backoff = Backoff.ofServers
        // What was said last, and since when it does not work: a line for each change is enough.
        var told: String?
        let began = ContinuousClock.now
        while true {
            do {
                let result = try body()
                health.report(healthPart, .healthy)
                if told != nil {
                    let time = PlainNumbers.seconds(began.duration(to: .now) / .seconds(1))
                    log.notice("the database takes batches again", ["after": time])
                }
                return result
            } catch let error as PostgresError {
                connection = nil
                if isStopping { throw error }
                metrics.retries.increment()
                let wait = backoff.next()
                let isNews = told != error.sqlState
                told = error.sqlState
                let fields: Log.Fields =
                    isNews ? ["error": "\(error)"] : ["error": "\(error)", "in": "\(wait)"]
                if error.isTransient {
                    log(
                        isNews ? .warning : .debug, "the database cannot take a batch, trying again until it does",
                        fields)
                    health.report(healthPart, .degraded("\(error)"))
                } else {
                    log(
                        isNews ? .error : .debug,
                        "the database refuses every batch until its operator mends this; the readings wait in Kafka",
                        fields)
                    // Not failed: a restart of this program would not mend it.
                    health.report(healthPart, .degraded("its operator is needed: \(error)"))
                }
                if error.isLockTimeout { PausedSessions.end(log) { try connected() } }
                try await clock.sleep(for: wait)
            }
        }
    }

    /// Tries until it works or the database refuses what it is given.
    /// - Returns: why it is refused; nil if it worked.
    func refusal(of body: () throws -> Void) async throws -> PostgresError? {
        try Task.checkCancellation()
        return try await retrying {
            do {
                try body()
                return nil
            } catch let error as PostgresError where error.mayBeTheFaultOfARow {
                return error
            }
        }
    }
}
