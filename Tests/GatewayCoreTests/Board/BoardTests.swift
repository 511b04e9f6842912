import Monitoring
import Platform
import SensorBus
import SimulatedHardware
import Synchronization
import TestSupport
import Testing

@testable import GatewayCore

/// The text of the metrics of a registry, as a scrape sees it.
private func lines(_ registry: MetricsRegistry, _ name: String) -> [Substring] {
    registry.exposition().split(separator: "\n").filter { $0.hasPrefix(name) }
}

/// A service that runs until its test stops it, as a group would.
private struct Running {
    private let request = ShutdownRequest()
    private let task: Task<Void, any Error>

    init(_ service: some Service) {
        task = Task { [request] in
            try await ShutdownRequest.$current.withValue(request) { try await service.run() }
        }
    }

    /// Asks it to stop and waits until it has.
    func stop() async throws {
        request.make()
        try await task.value
    }

    /// Waits until it ends by itself.
    func end() async throws { try await task.value }
}

@Suite struct InputWatchTests {
    private static let line = GPIOLineID.name("GPIO17", chip: nil)
    private static let debounce = Duration.milliseconds(50)
    private let clock = ManualClock()
    private let bench: Bench
    private let gpio: SimulatedGPIO
    private let changes = AsyncStream.makeStream(of: Bool?.self)

    init() throws {
        bench = try Bench()
        gpio = SimulatedGPIO(elapsed: elapsed(on: clock))
    }

    private func watch(_ role: InputWatch.Role = .powerGood) -> Running {
        let settings = BoardSettings.Input(line: Self.line, options: GPIOInputOptions(debounce: Self.debounce))
        let wake = changes.continuation
        return Running(
            InputWatch(
                role, settings, gpio: gpio, clock: clock, metrics: bench.registry, health: bench.health, log: bench.log
            ) { wake.yield($0) })
    }

    /// Drives the line and lets the debouncing's time pass. With the recheck's there are two sleepers.
    private func change(_ isActive: Bool) async {
        gpio.drive(Self.line, isActive)
        await clock.untilSleepers(2)
        clock.advance(by: Self.debounce)
    }

    @Test func aChangeIsToldOnceItIsSure() async throws {
        gpio.drive(Self.line, true)
        let running = watch()
        var told = changes.stream.makeAsyncIterator()
        #expect(await told.next() == .some(true))
        #expect(bench.health.state(of: "power_good") == .healthy)
        await change(false)
        #expect(await told.next() == .some(false))
        #expect(
            bench.health.state(of: "power_good") == .degraded("power lost: the board lives on its battery"))
        await change(true)
        #expect(await told.next() == .some(true))
        #expect(bench.health.state(of: "power_good") == .healthy)
        #expect(lines(bench.registry, "vigie_board_edges_total") == [#"vigie_board_edges_total{line="power_good"} 2"#])
        try await running.stop()
    }

    /// What a contact does while it closes is one change, and a glitch is none.
    @Test func bouncesAndGlitchesAreNotTold() async throws {
        let running = watch(.charging)
        var told = changes.stream.makeAsyncIterator()
        #expect(await told.next() == .some(false))
        await clock.untilSleepers(1)
        // Two edges, each with a wait of its own.
        gpio.drive(Self.line, true)
        gpio.drive(Self.line, false)
        await clock.untilSleepers(3)
        clock.advance(by: Self.debounce)
        for isActive in [true, false, true] { gpio.drive(Self.line, isActive) }
        await clock.untilSleepers(4)
        clock.advance(by: Self.debounce)
        #expect(await told.next() == .some(true))
        await change(false)
        #expect(await told.next() == .some(false))
        #expect(bench.health.state(of: "charging") == .healthy)
        try await running.stop()
    }

    /// An edge that the kernel had no room for is found when the line is read again.
    @Test func aLostEdgeIsFound() async throws {
        gpio.drive(Self.line, true)
        let running = watch()
        var told = changes.stream.makeAsyncIterator()
        #expect(await told.next() == .some(true))
        gpio.drive(Self.line, false, edgeIsLost: true)
        await clock.untilSleepers(1)
        clock.advance(by: .seconds(10))
        #expect(await told.next() == .some(false))
        try await running.stop()
    }

    /// A chip that is unplugged is not known, and found again when it is back. The gateway goes on meanwhile.
    @Test func aLineThatFailsIsTriedAgain() async throws {
        gpio.drive(Self.line, true)
        let running = watch()
        var told = changes.stream.makeAsyncIterator()
        #expect(await told.next() == .some(true))
        gpio.fail(Self.line, .gone)
        #expect(await told.next() == .some(nil))
        let error = GPIOError(.gone, line: "GPIO17")
        // The first pause is half a second at most, and the only sleeper.
        await clock.untilSleepers(1)
        #expect(bench.health.state(of: "power_good") == .degraded("\(error)"))
        gpio.drive(Self.line, false)
        gpio.fail(Self.line, nil)
        clock.advance(by: .milliseconds(500))
        #expect(await told.next() == .some(false))
        try await running.stop()
        #expect(throws: Never.self) { try gpio.input(Self.line, options: GPIOInputOptions()) }
    }
}

@Suite struct StatusLightTests {
    private static let line = GPIOLineID.name("GPIO24", chip: nil)
    private static let settings = BoardSettings.Output(line: line, options: GPIOOutputOptions())

    /// A person counts flashes and sees whether they are long: no two patterns share both, and every flash and every
    /// darkness is long enough to be seen and short enough to be one.
    @Test func patternsDifferByRhythm() {
        var rhythms: Set<[Bool]> = []
        for status in BoardStatus.allCases {
            let steps = status.pattern.steps
            #expect(steps.reduce(.zero) { $0 + $1.duration } == LightPattern.round)
            #expect(steps.enumerated().allSatisfy { $1.isOn == ($0 % 2 == 0) })
            let flashes = steps.filter(\.isOn).map(\.duration)
            #expect(flashes.allSatisfy { (.milliseconds(50)...(.milliseconds(150))).contains($0) || $0 >= .seconds(1) })
            #expect(steps.filter { !$0.isOn }.allSatisfy { $0.duration >= .milliseconds(200) })
            // The pause that ends a round is told from the gaps in it.
            #expect(steps[steps.count - 1].duration >= .seconds(1))
            rhythms.insert(flashes.map { $0 >= .seconds(1) })
        }
        #expect(rhythms.count == BoardStatus.allCases.count)
    }

    @Test func patternsAreThoseOfTheDocumentation() {
        func milliseconds(_ status: BoardStatus) -> [Int64] {
            status.pattern.steps.map { $0.duration.millisecondsRoundedDown }
        }
        #expect(milliseconds(.sampling) == [60, 2940])
        #expect(milliseconds(.offline) == [120, 240, 120, 2520])
        #expect(milliseconds(.fault) == [120, 240, 120, 240, 120, 2160])
        #expect(milliseconds(.lowBattery) == [1500, 1500])
    }

    @Test(
        arguments: [
            ([], .sampling),
            ([("kafka", .healthy), ("outbox", .starting), ("battery", .healthy)], .sampling),
            ([("kafka", .degraded("away"))], .offline),
            ([("kafka", .degraded("away")), ("power_good", .degraded("lost"))], .offline),
            ([("power_good", .degraded("lost"))], .sampling),
            ([("kafka", .degraded("away")), ("outbox", .degraded("full"))], .fault),
            ([("chip hall/scd41", .failed("dead"))], .fault),
            ([("chip hall/scd41", .failed("dead")), ("battery", .degraded("low"))], .lowBattery),
        ] as [([(part: String, state: Health.State)], BoardStatus)])
    func theMostUrgentIsShown(parts: [(part: String, state: Health.State)], status: BoardStatus) {
        #expect(BoardStatus(parts) == status)
    }

    /// Every status in turn, to the millisecond; dark in the end.
    @Test func theLightPlaysThePatterns() async throws {
        let bench = try Bench()
        let clock = ImmediateClock()
        let gpio = SimulatedGPIO(keepsSteps: true, elapsed: elapsed(on: clock))
        let request = ShutdownRequest()
        let remaining = Mutex(BoardStatus.allCases)
        let light = StatusLight(Self.settings, gpio: gpio, clock: clock, health: bench.health, log: bench.log) {
            remaining.withLock { remaining in
                if remaining.isEmpty { request.make() }
                return remaining.isEmpty ? .sampling : remaining.removeFirst()
            }
        }
        try await ShutdownRequest.$current.withValue(request) { try await light.run() }
        var expected = [SimulatedGPIO.Step(at: .zero, false)]
        var time = Duration.zero
        for step in BoardStatus.allCases.flatMap(\.pattern.steps) {
            expected.append(SimulatedGPIO.Step(at: time, step.isOn))
            time += step.duration
        }
        // The stop came when the next round began.
        expected += [SimulatedGPIO.Step(at: time, true), SimulatedGPIO.Step(at: time, false)]
        #expect(gpio.steps(Self.line) == expected)
        #expect(bench.health.state(of: "status_light") == .healthy)
    }

    /// A light that somebody else has is a complaint, no reason to stop, and taken when it is free.
    @Test func aLightThatIsTakenIsTriedAgain() async throws {
        let bench = try Bench()
        let clock = ManualClock()
        let gpio = SimulatedGPIO(elapsed: elapsed(on: clock))
        gpio.fail(Self.line, .busy(consumer: "led0"))
        let running = Running(
            StatusLight(Self.settings, gpio: gpio, clock: clock, health: bench.health, log: bench.log) { .sampling })
        await clock.untilSleepers(1)
        #expect(
            bench.health.state(of: "status_light")
                == .degraded("GPIO24: is in use by led0; end that program, or name another line"))
        gpio.fail(Self.line, nil)
        clock.advance(by: .milliseconds(500))
        await clock.untilSleepers(1)
        #expect(bench.health.state(of: "status_light") == .healthy)
        #expect(gpio.isActive(Self.line))
        try await running.stop()
        #expect(!gpio.isActive(Self.line))
    }
}

@Suite struct SensorRailTests {
    private static let line = GPIOLineID.offset(22, chip: "pinctrl-rp1")
    private static let supply = BoardSettings.SensorPower(
        output: BoardSettings.Output(line: line, options: GPIOOutputOptions()), offTime: .seconds(2),
        settleTime: .milliseconds(1500), interval: .seconds(600))

    private func rail(
        _ bench: Bench, _ gpio: SimulatedGPIO, _ clock: ManualClock, _ requests: AsyncStream<String>,
        powered: @escaping @Sendable () -> Void = {}
    ) -> Running {
        Running(
            SensorRail(
                Self.supply, requests: requests, gpio: gpio, clock: clock, metrics: bench.registry,
                health: bench.health, log: bench.log, powered: powered))
    }

    /// Two dead chips one after the other: one cycle. A chip that is still dead when the interval has passed: another.
    @Test(arguments: [(Duration.seconds(300), 1), (.seconds(596), 1), (.milliseconds(596_500), 2), (.seconds(700), 2)])
    func theRailIsCycledAtMostOnceInItsInterval(pause: Duration, cycles: Int) async throws {
        let bench = try Bench()
        let clock = ManualClock()
        let now = elapsed(on: clock)
        let gpio = SimulatedGPIO(keepsSteps: true, elapsed: now)
        let requests = Board.deadChips()
        let revived = AsyncStream.makeStream(of: Duration.self)
        let running = rail(bench, gpio, clock, requests.stream) { revived.continuation.yield(now()) }
        var revivals = revived.stream.makeAsyncIterator()
        // It looks after its line every ten seconds, which is one sleeper.
        await clock.untilSleepers(1)
        var steps = [SimulatedGPIO.Step(at: .zero, true)]
        for (cycle, chip) in ["scd41", "bme280"].enumerated() {
            let start = now()
            requests.continuation.yield(chip)
            guard cycle < cycles else { break }
            await clock.untilSleepers(2)
            clock.advance(by: .seconds(2))
            steps += [.init(at: start, false), .init(at: start + .seconds(2), true)]
            await clock.untilSleepers(2)
            clock.advance(by: .milliseconds(1500))
            #expect(await revivals.next() == start + .milliseconds(3500))
            clock.advance(by: pause)
            await clock.untilSleepers(1)
        }
        // All that was asked for is done before it ends.
        requests.continuation.finish()
        try await running.end()
        let changes = gpio.steps(Self.line).reduce(into: [SimulatedGPIO.Step]()) { changes, step in
            if step.isActive != changes.last?.isActive { changes.append(step) }
        }
        #expect(changes == steps)
        #expect(
            lines(bench.registry, "vigie_board_sensor_power_cycles_total")
                == ["vigie_board_sensor_power_cycles_total \(cycles)"])
        #expect(bench.health.state(of: "sensor_power") == .healthy)
    }

    /// Nobody asks anything of a line that only stays on: that its chip was unplugged is found all the same, and the
    /// sensors have their power when it is back.
    @Test func aRailThatFailsIsHeldAgain() async throws {
        let bench = try Bench()
        let clock = ManualClock()
        let gpio = SimulatedGPIO(elapsed: elapsed(on: clock))
        let running = rail(bench, gpio, clock, Board.deadChips().stream)
        await clock.untilSleepers(1)
        gpio.fail(Self.line, .gone)
        clock.advance(by: .seconds(10))
        await clock.untilSleepers(2)
        #expect(bench.health.state(of: "sensor_power") == .degraded("pinctrl-rp1 22: the GPIO chip is gone"))
        gpio.drive(Self.line, false)
        gpio.fail(Self.line, nil)
        clock.advance(by: .milliseconds(500))
        while bench.health.state(of: "sensor_power") != .healthy { await Task.yield() }
        #expect(gpio.isActive(Self.line))
        try await running.stop()
    }

    /// Whatever a stop interrupts, the sensors have power.
    @Test func aStopInTheMiddleOfACycleLeavesThePowerOn() async throws {
        let bench = try Bench()
        let clock = ManualClock()
        let gpio = SimulatedGPIO(keepsSteps: true, elapsed: elapsed(on: clock))
        let requests = Board.deadChips()
        let running = rail(bench, gpio, clock, requests.stream) { Issue.record("the chips have not started") }
        await clock.untilSleepers(1)
        requests.continuation.yield("scd41")
        await clock.untilSleepers(2)
        #expect(!gpio.isActive(Self.line))
        try await running.stop()
        #expect(gpio.steps(Self.line).map(\.isActive) == [true, false, true])
    }

    /// The whole board as the gateway starts it: all lines are used, and given back.
    @Test func theBoardRunsWhatItsSettingsName() async throws {
        let bench = try Bench()
        let settings = try settings(
            stations: "  - {sensor_id: a, chips: [{type: bme280}]}",
            more: """
                board:
                  power_good: {line: GPIO17}
                  charging: {line: 27, chip: pinctrl-rp1}
                  sensor_power: {line: GPIO22}
                  status_light: {line: GPIO24}
                """)
        let gpio = SimulatedGPIO.board(settings.board)
        let board = Board(
            settings: settings.board, gpio: gpio, clock: ContinuousClock(), metrics: bench.registry,
            health: bench.health, log: bench.log)
        let supply = PowerManager(nil, metrics: bench.registry, health: bench.health, log: bench.log, flush: {})
        let members = board.members(power: supply, deadChips: Board.deadChips().stream, powered: {})
        #expect(members.map(\.name) == ["status light", "sensor power", "power good", "charging"])
        let group = Task {
            try await ServiceGroup(members, bound: .seconds(600), signals: [], log: bench.log, notifier: nil).run()
        }
        while supply.isPowerGood == nil || supply.isCharging == nil || !gpio.isActive(.name("GPIO22", chip: nil)) {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(lines(bench.registry, "vigie_board_power_good") == ["vigie_board_power_good 1"])
        #expect(lines(bench.registry, "vigie_board_charging") == ["vigie_board_charging 0"])
        group.cancel()
        _ = await group.result
        #expect(!gpio.isActive(.name("GPIO24", chip: nil)))
        #expect(gpio.isActive(.name("GPIO22", chip: nil)))
    }
}
