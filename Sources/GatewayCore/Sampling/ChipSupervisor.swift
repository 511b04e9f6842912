import Platform
import Readings
import SensorBus
import SensorDrivers

/// Looks after one chip of a station. It asks the chip when a sample is taken, and brings it back, beside the schedule, when
/// it fails: a sample never waits for a chip that rests, is being initialised, or did not answer to the sample before.
///
/// All that is done to the chip is done by `run`, one thing after the other. The supervisor itself is not on the bus's thread,
/// so it can say that a chip does not answer while a transfer hangs there.
package actor ChipSupervisor {
    nonisolated let settings: ChipSettings
    private let bus: any I2CBus
    private let watch: BusWatch
    private let clock: any Clock<Duration>
    private let patience: Duration?
    private let monitor: ChipMonitor
    private let whenDead: @Sendable () -> Void

    /// Nil while the chip is to be initialised.
    private var driver: (any ChipDriver)?
    /// What the chip said of itself when it was last opened; nil before.
    package private(set) var identity: ChipIdentity?
    private var breaker = CircuitBreaker()
    /// The breaker as it is shown.
    private var shownState = CircuitBreaker.State.closed
    /// Failures in a row, also such that say nothing against the chip.
    private var troubles = 0
    private var freeze: FreezeWatch
    /// The failure that the breaker is open for.
    private var lastError: ChipError?
    /// What the chip's values depend on, as last known.
    private var pressure: Pressure?
    /// How long a sample waits for the chip; nil until it was opened.
    private var longestMeasurement: Duration?

    private nonisolated let requests = AsyncStream.makeStream(of: Request.self)
    private var lastRequest = 0
    /// The request that the chip has not answered yet.
    private var unanswered: Int?
    private var waiting: CheckedContinuation<Result<Measurement, ChipError>, Never>?
    private var resting: CheckedContinuation<Void, Never>?

    private enum Request {
        case measure, initialise
    }

    /// For transfers that wait for another chip's to end: a kernel that was not told otherwise gives up on one after a
    /// second.
    private static let busTime = Duration.seconds(1)
    /// How long the first sample may wait for a chip to start.
    private static let longestStart = Duration.seconds(60)

    /// - Parameters:
    ///   - watch: the bus's, shared by its chips.
    ///   - patience: how long a sample waits for the chip; nil: as long as the schedule and the chip allow. Where the
    ///     clock runs faster than the real one, a machine's own delays would be taken for the chip's.
    ///   - freezeLimit: as `FreezeWatch` has it.
    ///   - whenDead: called when the chip's power should be cycled; must return at once.
    init(
        _ settings: ChipSettings, bus: any I2CBus, watch: BusWatch, clock: any Clock<Duration>,
        patience: Duration? = nil, freezeLimit: Int, monitor: ChipMonitor, whenDead: @escaping @Sendable () -> Void = {}
    ) {
        self.settings = settings
        self.bus = bus
        self.watch = watch
        self.clock = clock
        self.patience = patience
        self.monitor = monitor
        self.whenDead = whenDead
        freeze = FreezeWatch(limit: settings.type.hasNoise ? freezeLimit : 0)
        watch.register()
    }

    /// Whether its values depend on the air's pressure.
    nonisolated var isPressureCompensated: Bool { settings.type.isPressureCompensated }

    /// What readings say of its bus, if that is what is wrong.
    nonisolated var busFault: Fault? { watch.fault }

    // MARK: What a sample asks

    /// What the chip gives now.
    /// - Parameters:
    ///   - pressure: of the air, for a chip whose values depend on it; nil: as last known.
    ///   - interval: the time from one sample to the next, of which the chip gets a part; nil: this is the only one.
    /// - Returns: the failure that it has if it is not asked, and that it timed out if it does not answer in time; its
    ///   answer is then not looked at.
    func measurement(pressure: Pressure?, interval: Duration?) async -> Result<Measurement, ChipError> {
        self.pressure = pressure ?? self.pressure
        if breaker.state != .closed, let lastError { return .failure(lastError) }
        // A chip that has not answered once is known to hang.
        if unanswered != nil { return .failure(error(.timedOut)) }
        lastRequest += 1
        unanswered = lastRequest
        requests.continuation.yield(.measure)
        return await answer(to: lastRequest, within: waitingTime(interval: interval))
    }

    private func answer(to number: Int, within limit: Duration) async -> Result<Measurement, ChipError> {
        let clock = clock
        return await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    // In steps: what a machine that is busy with other things does not let pass in time, the chip is
                    // not to blame for.
                    for _ in 0..<4 { try await clock.sleep(for: limit / 4) }
                    await self.giveUp(number)
                } catch {
                    await self.giveUp(number, isCancelled: true)
                }
            }
            let result = await withCheckedContinuation { waiting = $0 }
            group.cancelAll()
            return result
        }
    }

    /// How long a sample waits. Never so long that the next one is late, unless the chip needs that long anyway. The first
    /// sample gives the chip what its start may take: that it has no value before is no fault.
    private func waitingTime(interval: Duration?) -> Duration {
        if let patience { return patience }
        guard let interval else { return ChipSupervisor.longestStart * 2 }
        // Of less than half a second no share leaves a chip enough: there the schedule gives way to a chip that hangs.
        let share = interval < .milliseconds(500) ? .seconds(2) : interval * 0.8
        guard let longestMeasurement else {
            return min(max(share, settings.setup.longestStart + ChipSupervisor.busTime), ChipSupervisor.longestStart)
        }
        return min(longestMeasurement + ChipSupervisor.busTime, max(longestMeasurement, share))
    }

    private func giveUp(_ number: Int, isCancelled: Bool = false) {
        guard number == unanswered, let waiting else { return }
        self.waiting = nil
        let error = error(isCancelled ? .cancelled : .timedOut)
        if error.kind == .timedOut {
            // What it will be, once the transfer comes back, is seen then.
            show(.open)
            report(error)
        }
        waiting.resume(returning: .failure(error))
    }

    private func error(_ kind: ChipError.Kind) -> ChipError {
        ChipError(kind, chip: driver?.chip ?? settings.name, address: settings.location.address, step: "measure")
    }

    /// The settings that are in force in a chip that tells them, for a person; nil if it does not. Its measurement is
    /// interrupted for that.
    package func settingsInForce() async -> SCD4x.StoredSettings? {
        guard let chip = driver as? SCD4x else { return nil }
        return try? await chip.readSettings()
    }

    /// The chip was without power: it is initialised anew, without a pause before that.
    func restart() {
        // Before the first sample nothing was done to it.
        guard lastRequest > 0 else { return }
        driver = nil
        lastError = lastError ?? error(.notReady)
        breaker.restarted()
        requests.continuation.yield(.initialise)
        wake()
    }

    // MARK: What is done to the chip

    /// Serves the samples until the task is cancelled.
    func run() async {
        for await request in requests.stream {
            if request == .measure {
                let result = await attempt()
                settle(result)
                unanswered = nil
                waiting?.resume(returning: result)
                waiting = nil
            }
            while breaker.state != .closed || driver == nil, lastRequest > 0, !Task.isCancelled { await bringBack() }
        }
    }

    /// Rests, then tries to have a value of the chip, initialised anew unless what failed may have been a disturbance.
    private func bringBack() async {
        lastError = lastError ?? error(.notReady)
        await rest(breaker.pause)
        guard !Task.isCancelled else { return }
        breaker.tryAgain()
        show(breaker.state)
        settle(await attempt())
        if breaker.isDead, breaker.state == .open { whenDead() }
    }

    /// Draws the consequences of what the chip did.
    private func settle(_ result: Result<Measurement, ChipError>) {
        if case .failure(let error) = result, error.kind == .cancelled { return }
        switch result {
        case .success:
            monitor.gaveValue(after: troubles)
            troubles = 0
            lastError = nil
            breaker.succeeded()
        case .failure(let error) where error.isAboutTheValue:
            // The chip works; to initialise it would change nothing.
            report(error)
            lastError = nil
            breaker.succeeded()
        case .failure(let error):
            if breaker.failures > 0 || !error.mayBeADisturbance { driver = nil }
            lastError = error
            breaker.failed()
            report(error)
        }
        show(breaker.state)
    }

    private func report(_ error: ChipError) {
        troubles += 1
        monitor.failed(error, times: troubles)
    }

    private func show(_ state: CircuitBreaker.State) {
        if state != shownState { monitor.changed(from: shownState, to: state) }
        shownState = state
    }

    private func attempt() async -> Result<Measurement, ChipError> {
        do throws(ChipError) {
            let driver: any ChipDriver
            if let open = self.driver {
                driver = open
            } else {
                driver = try await settings.setup.open(
                    bus: bus, address: settings.location.address, clock: clock)
                self.driver = driver
                if identity != driver.identity { monitor.identified(driver.identity) }
                identity = driver.identity
                longestMeasurement = driver.longestMeasurement
            }
            if let chip = driver as? any PressureCompensated, let pressure,
                type(of: chip).pressures.contains(pressure.hectopascals)
            {
                try await chip.setAmbientPressure(pressure)
            }
            let measurement = try await driver.measure()
            watch.saw(nil, at: settings.location)
            guard !freeze.isFrozen(at: measurement) else { throw error(.frozen) }
            return .success(measurement)
        } catch {
            watch.saw(error, at: settings.location)
            return .failure(error)
        }
    }

    private func rest(_ pause: Duration) async {
        guard pause > .zero else { return }
        let clock = clock
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await clock.sleep(for: pause)
                await self.wake()
            }
            await withCheckedContinuation { resting = $0 }
            group.cancelAll()
        }
    }

    private func wake() {
        resting?.resume()
        resting = nil
    }
}

extension ChipError {
    /// Whether the next attempt may go well without anything done to the chip.
    fileprivate var mayBeADisturbance: Bool {
        switch kind {
        case .crc: true
        case .bus(let error):
            switch error.kind.ofTheBus {
            case .notAcknowledged, .arbitrationLost, .lengthOrStretch: true
            case .timedOut, .unsupported, .permissionDenied, .forbidden, .missing, .inUse, .other, .multiplexer: false
            }
        default: false
        }
    }

    /// Whether the chip works, and what it measures is beyond what it can.
    fileprivate var isAboutTheValue: Bool {
        switch kind {
        case .outOfRange, .saturated: true
        default: false
        }
    }
}
