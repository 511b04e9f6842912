import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import Synchronization
import TestSupport
import Testing

/// Drivers that share a bus and a time.
@Suite struct SharedBusTests {
    let clock = ImmediateClock()

    private func world(_ environment: any Environment) -> SimulatedWorld {
        SimulatedWorld(environment: environment, origin: Timestamp(milliseconds: 1_772_000_000_000), clock: clock)
    }

    /// The CO2 says when it was measured, so that the age of every value is known.
    private struct TellingTime: Environment {
        func conditions(at time: Timestamp) -> Conditions {
            Conditions(co2: 400 + Double(time.milliseconds - 1_772_000_000_000) / 1000)
        }
    }

    @Test(arguments: [1, 1.3, 2, 4.9, 5, 5.1, 7, 60])
    func aValueIsYoungerThanTwoPeriodsAtAnyInterval(interval: Double) async throws {
        let world = world(TellingTime())
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSCD4x(world: world), at: 0x62)
        let chip = try await SCD4x.open(bus: bus, clock: clock)
        var previous = 0.0
        for _ in 0..<100 {
            let co2 = try #require(try await chip.measure().co2).partsPerMillion
            let elapsed = world.elapsed() / .seconds(1)
            #expect(elapsed - (co2 - 400) < 10.5, "rounded to a second")
            #expect(co2 >= previous)
            previous = co2
            try await clock.sleep(for: .seconds(interval))
        }
    }

    /// A chip that waits leaves the bus to the others.
    @Test func aChipThatWaitsBlocksNobody() async throws {
        let world = world(ConstantEnvironment())
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSCD4x(world: world), at: 0x62)
        bus.attach(SimulatedBME280(world: world), at: 0x76)
        let held = HeldClock(clock)
        let slow = try await SCD4x.open(bus: bus, clock: held)
        let quick = try await BME280.open(bus: bus, address: 0x76, clock: clock)
        held.hold()
        async let waiting = slow.measure()
        await held.untilSomebodySleeps()
        #expect(try await quick.measure().temperature != nil)
        held.release()
        #expect(try await waiting.co2 != nil)
    }
}

/// A clock whose sleepers, once it is held, wait until it is released.
final class HeldClock: Clock {
    typealias Instant = ImmediateClock.Instant

    private struct State {
        var isHeld = false
        var sleepers: [CheckedContinuation<Void, Never>] = []
        var observers: [CheckedContinuation<Void, Never>] = []
    }

    private let base: ImmediateClock
    private let state = Mutex(State())

    init(_ base: ImmediateClock) { self.base = base }

    var now: Instant { base.now }
    var minimumResolution: Duration { base.minimumResolution }

    func hold() { state.withLock { $0.isHeld = true } }

    func release() {
        let sleepers = state.withLock { state in
            defer { state.sleepers = [] }
            state.isHeld = false
            return state.sleepers
        }
        for sleeper in sleepers { sleeper.resume() }
    }

    /// Returns when somebody sleeps.
    func untilSomebodySleeps() async {
        await withCheckedContinuation { continuation in
            let isAsleep = state.withLock { state in
                if state.sleepers.isEmpty { state.observers.append(continuation) }
                return !state.sleepers.isEmpty
            }
            if isAsleep { continuation.resume() }
        }
    }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        await withCheckedContinuation { continuation in
            let (observers, isHeld) = state.withLock { state in
                guard state.isHeld else { return ([CheckedContinuation<Void, Never>](), false) }
                state.sleepers.append(continuation)
                defer { state.observers = [] }
                return (state.observers, true)
            }
            for observer in observers { observer.resume() }
            if !isHeld { continuation.resume() }
        }
        try await base.sleep(until: deadline, tolerance: tolerance)
    }
}
