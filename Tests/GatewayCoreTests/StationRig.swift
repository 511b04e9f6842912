import Monitoring
import Outbox
import Platform
import Readings
import SensorBus
import SimulatedHardware
import Synchronization

@testable import GatewayCore

/// One station with simulated chips, on a clock that waits for it.
final class StationRig {
    static let origin = Timestamp(milliseconds: 1_790_000_000_000)
    let bench: Bench
    let clock = VirtualClock()
    let world: SimulatedWorld
    private let buses = Mutex<[Int: TroubledBus]>([:])
    private let dead = Names()

    private let pace: @Sendable (Duration) -> Duration
    private let recorded: @Sendable (Reading) -> Void
    private let whenDead: @Sendable (String) -> Void

    init(
        _ bench: Bench, environment: any Environment = ConstantEnvironment(),
        pace: @escaping @Sendable (Duration) -> Duration = { $0 },
        recorded: @escaping @Sendable (Reading) -> Void = { _ in },
        whenDead: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.bench = bench
        self.pace = pace
        self.recorded = recorded
        self.whenDead = whenDead
        world = SimulatedWorld(environment: environment, origin: StationRig.origin, clock: clock)
    }

    /// The bus of a number, without chips at first.
    func bus(_ number: Int = 1) -> TroubledBus {
        buses.withLock { buses in
            if let bus = buses[number] { return bus }
            let chips = SimulatedI2CBus(name: "/dev/i2c-\(number)", world: world, observer: clock)
            let bus = TroubledBus(chips, clock: clock)
            buses[number] = bus
            return bus
        }
    }

    /// Puts a chip on a bus.
    func attach(_ chip: any SimulatedChip, at address: I2CAddress, bus number: Int = 1) {
        bus(number).chips.attach(chip, at: address)
    }

    /// Chips whose power was asked to be cycled, each time that it was.
    var askedForPower: [String] { dead.all }

    private final class Names: Sendable {
        private let names = Mutex<[String]>([])
        var all: [String] { names.withLock { $0 } }
        func add(_ name: String) { names.withLock { $0.append(name) } }
    }

    /// The station of a configuration.
    func station(
        _ stationText: String, for duration: Duration, timeQuality: TimeQuality = .synced, outbox: Outbox?
    ) throws -> Station {
        let settings = try settings(stations: stationText)
        let station = settings.stations[0]
        var watches: [String: BusWatch] = [:]
        let chips = station.chips.map { chip in
            let bus = bus(chip.location.bus)
            let watch =
                watches[bus.name] ?? BusWatch(bus, metrics: bench.metrics, health: bench.health, log: bench.log)
            watches[bus.name] = watch
            let monitor = ChipMonitor(
                sensorID: station.sensorID, chip: chip.name, metrics: bench.metrics, health: bench.health,
                log: bench.log, wallClock: world)
            return ChipSupervisor(
                chip, bus: bus, watch: watch, clock: clock, freezeLimit: station.freezeLimit ?? 0, monitor: monitor
            ) { [dead, whenDead] in
                dead.add("\(chip.name)")
                whenDead("\(chip.name)")
            }
        }
        let time = Hardware.VirtualTime(
            executor: ThreadTaskExecutor(name: "station", observer: clock), observer: clock)
        var record: (@Sendable (OutboxRecord) async -> Void)?
        if let store = outbox.map({ bench.recording(to: $0, recorded: recorded) }) {
            record = { record in await time.standingStill { await store(record) } }
        }
        return Station(
            settings: station, gatewayID: settings.gatewayID, chips: chips,
            record: record,
            wallClock: world, clock: clock, executor: time.executor,
            timeQuality: { timeQuality }, bootID: "boot", isSimulated: true,
            end: Timestamp(milliseconds: StationRig.origin.milliseconds + duration.millisecondsRoundedDown),
            pace: pace, metrics: bench.metrics, log: bench.log)
    }

    /// Samples from the beginning until `duration` has passed.
    /// - Returns: what the outbox has then.
    func run(
        _ stationText: String, for duration: Duration, timeQuality: TimeQuality = .synced
    ) async throws -> [Reading] {
        let outbox = try await bench.openOutbox()
        try await station(stationText, for: duration, timeQuality: timeQuality, outbox: outbox).run()
        return try await outbox.read(limit: 100_000).map(\.reading)
    }
}

/// A bus that notes its transfers, and that fails some of them as it is told.
final class TroubledBus: I2CBus {
    /// A transfer that began, since the clock's beginning.
    struct Transfer: Equatable, CustomStringConvertible {
        var time: Duration
        var address: I2CAddress
        var written: [UInt8]

        var description: String { "\(address) at \(time): \(written)" }
    }

    /// What happens to the transfers of one chip, or of all, from `start` until just before `end`.
    struct Trouble {
        var kind: BusError.Kind
        /// Nil: every address.
        var address: I2CAddress?
        var start: Duration
        var end: Duration
        /// How long the transfer blocks the bus's thread before it fails.
        var blocking: Duration = .zero
        /// So many transfers fail.
        var count = Int.max
    }

    let name: String
    let executor: ThreadExecutor
    /// The bus itself.
    let chips: SimulatedI2CBus
    private let clock: VirtualClock
    private let troubles = Mutex<[Trouble]>([])
    private let done = Mutex<[Transfer]>([])

    init(_ chips: SimulatedI2CBus, clock: VirtualClock) {
        self.chips = chips
        self.clock = clock
        name = chips.name
        executor = chips.executor
    }

    func add(_ trouble: Trouble) { troubles.withLock { $0.append(trouble) } }

    /// The transfers to a chip, with their times.
    func transfers(to address: I2CAddress) -> [Transfer] { done.withLock { $0.filter { $0.address == address } } }

    private func check(_ bytes: [UInt8], _ address: I2CAddress) throws(BusError) {
        let now = clock.now
        done.withLock { $0.append(Transfer(time: now.elapsed, address: address, written: bytes)) }
        let trouble: Trouble? = troubles.withLock { troubles in
            let index = troubles.firstIndex {
                ($0.address ?? address) == address && $0.start <= now.elapsed && now.elapsed < $0.end && $0.count > 0
            }
            guard let index else { return nil }
            troubles[index].count -= 1
            return troubles[index]
        }
        guard let trouble else { return }
        if trouble.blocking > .zero { clock.block(until: now.advanced(by: trouble.blocking)) }
        throw BusError(trouble.kind, bus: name, address: address)
    }

    func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        try check(bytes, address)
        try chips.write(bytes, to: address)
    }

    func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try check([], address)
        return try chips.read(count, from: address)
    }

    func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try check(bytes, address)
        return try chips.write(bytes, thenRead: count, at: address)
    }
}
