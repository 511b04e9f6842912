import Monitoring
import Platform
import PostgresClient
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

    private let settings: ProcessorSettings
    private let rejectedTopic: RejectedTopic
    private let metrics: ProcessorMetrics
    private let health: Health
    private let log: Log
    private let wallClock: any WallClock
    private let clock: any Clock<Duration>
    private let executor = ThreadExecutor(name: "batch-writer")

    private var connection: PostgresConnection?
    private var partitions = DayPartitions()
    private var cache: [String: GatewayState] = [:]
    /// Gateways of newly assigned partitions that are not in memory yet.
    private var adopted: Set<String> = []

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        settings: ProcessorSettings, rejectedTopic: RejectedTopic, metrics: ProcessorMetrics, health: Health, log: Log,
        wallClock: any WallClock, clock: any Clock<Duration>
    ) {
        self.settings = settings
        self.rejectedTopic = rejectedTopic
        self.metrics = metrics
        self.health = health
        self.log = log
        self.wallClock = wallClock
        self.clock = clock
    }

    /// Writes a batch.
    /// - Throws: CancellationError when told to stop, or an error of the database that trying again cannot mend.
    func commit(_ batch: ReadingBatch) async throws -> Outcome {
        if !batch.rejected.isEmpty {
            try await rejectedTopic.publish(batch.rejected, now: wallClock.now())
        }
        var mayBeCommitted = false
        do {
            try await retrying {
                do {
                    try write(batch)
                } catch let error as PostgresError where error.isTransient {
                    mayBeCommitted = true
                    throw error
                }
            }
            return .committed
        } catch is StaleOffsets {
            if mayBeCommitted, try await retrying({ try isCommitted(batch) }) {
                log.notice("a batch had been committed although the connection was lost")
                return .committed
            }
            metrics.staleBatches.increment()
            return .stale
        }
    }

    /// Writes what the passing of time has made due.
    func passTime() async throws {
        let now = wallClock.now().milliseconds
        var due = cache.filter {
            $0.value.needsLook(now: now, interval: settings.updateInterval, idleTimeout: settings.idleTimeout)
        }.map(\.key)
        due += adopted
        // In portions, so that the locks of a large fleet are not all held at once.
        for start in stride(from: 0, to: due.count, by: 500) {
            let portion = Array(due[start..<min(start + 500, due.count)])
            try await retrying { try lookAt(portion) }
            adopted.subtract(portion)
        }
    }

    /// Writes every open window that has changed, before a stop.
    func writeOpenWindows() async throws {
        let changed = cache.filter { $0.value.sensors.values.contains(where: \.windows.hasChanges) }.map(\.key)
        if !changed.isEmpty { try await retrying { try lookAt(changed) } }
    }

    /// Takes note of the partitions that this processor has now: forgets the gateways of others, and takes up those
    /// that were left by somebody else.
    func own(_ owned: Set<Int32>) async throws {
        cache = cache.filter { owned.contains($0.value.partition) }
        let gateways = try await retrying {
            let rows = try connected().query(
                "SELECT DISTINCT gateway_id FROM stream_progress WHERE kafka_partition = ANY ($1)", [.array(owned)])
            return try (0..<rows.rowCount).map { try rows.value($0, 0, as: String.self) }
        }
        adopted = Set(gateways).subtracting(cache.keys)
    }

    // MARK: One try

    private func write(_ batch: ReadingBatch) throws {
        do {
            let connection = try connected()
            try partitions.prepare(for: batch.rows, connection)
            let started = ContinuousClock.now
            let summary = try transaction(connection).write(batch, cache: &cache)
            metrics.batchDuration.observe(ContinuousClock.now - started)
            metrics.record(summary)
        } catch {
            // The copies in memory may be ahead of what is in the database.
            for gateway in batch.gateways { cache[gateway] = nil }
            partitions.forget()
            throw error
        }
    }

    private func lookAt(_ gateways: [String]) throws {
        do {
            let summary = try transaction(try connected())
                .passTime(gateways, idleTimeout: settings.idleTimeout, cache: &cache)
            metrics.record(summary)
        } catch {
            for gateway in gateways { cache[gateway] = nil }
            adopted.formUnion(gateways)
            throw error
        }
    }

    private func isCommitted(_ batch: ReadingBatch) throws -> Bool {
        let rows = try connected().query(
            prepared: "SELECT kafka_partition, next_offset FROM consumed_offset WHERE topic = $1",
            [.value(settings.topic)])
        var found: [Int32: Int64] = [:]
        for row in 0..<rows.rowCount { found[try rows.value(row, 0)] = try rows.value(row, 1) }
        return batch.offsets.allSatisfy { found[$0.key] == $0.value.to }
    }

    private func transaction(_ connection: PostgresConnection) -> BatchTransaction {
        BatchTransaction(
            connection: connection, topic: settings.topic, policy: settings.windows, rules: settings.rules,
            now: wallClock.now(), updateInterval: settings.updateInterval)
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

    /// Tries until it works, unless the error is one that time does not mend.
    private func retrying<Result>(_ body: () throws -> Result) async throws -> Result {
        var backoff = Backoff.ofServers
        while true {
            do {
                let result = try body()
                health.report("postgres", .healthy)
                return result
            } catch let error as PostgresError where error.isTransient {
                connection = nil
                metrics.retries.increment()
                let wait = backoff.next()
                log.warning("the database cannot take a batch, trying again", ["error": "\(error)", "in": "\(wait)"])
                health.report("postgres", .degraded("\(error)"))
                try await clock.sleep(for: wait)
            }
        }
    }
}
