import Platform
import Readings
import SensorBus
import SimulatedHardware

/// What a gateway's chips are on: the board's own buses or simulated ones, and the time that passes for them.
package struct Hardware {
    /// A clock that waits for what runs, and where that has to run so that the clock sees it.
    struct VirtualTime: Sendable {
        /// Where stations run.
        let executor: any TaskExecutor
        /// The clock.
        let observer: any WorkObserver

        /// Does something that takes no time on the clock.
        func standingStill<Outcome>(_ body: () async -> Outcome) async -> Outcome {
            observer.workBegan()
            defer { observer.workEnded() }
            return await body()
        }
    }

    /// The clock of schedules and waits.
    package let clock: any Clock<Duration>
    /// How long a sample waits for a chip; nil: as long as the schedule and the chip allow.
    var patience: Duration?
    /// Where stations run whose clock waits for them.
    var virtualTime: VirtualTime?
    /// The time of day.
    let wallClock: any WallClock
    /// When sampling ends.
    let end: Timestamp?
    /// Cuts the supply of the twins, or restores it; nil on a board.
    var setTwinPower: (@Sendable (Bool) -> Void)?
    /// The bus that a station has by a number.
    package let bus: (_ station: Int, _ number: Int) throws -> any I2CBus

    /// The board's own buses.
    /// - Parameter claim: what is asked of other programs that use them.
    package static func board(claim: LinuxI2CBus.Claim = .shared) -> Hardware {
        var buses: [Int: LinuxI2CBus] = [:]
        return Hardware(clock: ContinuousClock(), wallClock: SystemWallClock(), end: nil) { _, number in
            if let bus = buses[number] { return bus }
            // A gateway without its adapter still sends what its outbox holds; its readings say what is missing.
            let bus = try LinuxI2CBus.open("/dev/i2c-\(number)", claim: claim, mayBeMissing: true)
            buses[number] = bus
            return bus
        }
    }

    /// Twins of the chips in `stations`, each station in air of its own.
    package static func simulated(_ settings: SimulationSettings, stations: [StationSettings]) throws -> Hardware {
        let clock: any Clock<Duration>
        var virtualTime: VirtualTime?
        switch settings.speed {
        case .times(let speed): clock = ScaledClock(speed: speed) ?? ScaledClock()
        case .unlimited:
            let waiting = VirtualClock()
            clock = waiting
            virtualTime = VirtualTime(
                executor: ThreadTaskExecutor(name: "stations", observer: waiting), observer: waiting)
        }
        var origin = SystemWallClock().now()
        var end: Timestamp?
        var environments: [any Environment] = stations.indices.map {
            SyntheticEnvironment(seed: settings.seed &+ UInt64($0))
        }
        if let recording = settings.recording {
            func read(shift: Duration, remainder: any Environment) throws -> RecordedEnvironment {
                try RecordedEnvironment(
                    path: recording.file, columns: recording.columns, offsetMinutes: recording.offsetMinutes,
                    shift: shift, remainder: remainder)
            }
            let span = try read(shift: .zero, remainder: ConstantEnvironment()).span
            let start = recording.start ?? span.lowerBound
            var shift = Duration.zero
            if recording.isMovedToNow {
                shift = .milliseconds(origin.milliseconds - start.milliseconds)
            } else {
                origin = start
            }
            let replay = try environments.map { try read(shift: shift, remainder: $0) }
            end = replay.first?.span.upperBound
            environments = replay
        }
        let world = SimulatedWorld(environment: ConstantEnvironment(), origin: origin, clock: clock)
        let boards = stations.enumerated().map { index, station in
            SimulatedBoard(
                [(station, AdjustableEnvironment(environments[index]))], in: world, faults: settings.faults
            ) { number in
                SimulatedI2CBus(
                    name: "simulated-\(index + 1)-\(number)", world: world, observer: virtualTime?.observer)
            }
        }
        let patience: Duration? = settings.speed.isFast ? .seconds(120) : nil
        return Hardware(
            clock: clock, patience: patience, virtualTime: virtualTime, wallClock: world, end: end,
            setTwinPower: { isOn in for board in boards { board.setPower(isOn) } },
            bus: { station, number in
                guard let bus = boards[station].buses[number] else { throw MissingBus(number: number) }
                return bus
            })
    }

    private struct MissingBus: Error {
        var number: Int
    }
}

extension GatewaySettings {
    /// What the chips are on: the board's own buses, or simulated ones with the chips' twins.
    /// - Parameter claim: what is asked of other programs that use the buses.
    package func hardware(claim: LinuxI2CBus.Claim = .shared) throws -> Hardware {
        mode == .simulated ? try Hardware.simulated(simulation, stations: stations) : Hardware.board(claim: claim)
    }
}
