import Readings
import SensorBus

/// A chip's place on its bus: transfers and waits whose errors say which chip was doing what.
struct ChipPort {
    let bus: any I2CBus
    let address: I2CAddress
    var chip: Identifier
    let clock: any Clock<Duration>

    func error(_ kind: SensorError.Kind, _ step: String) -> SensorError {
        SensorError(kind, chip: chip, address: address, step: step)
    }

    func write(_ bytes: [UInt8], _ step: String) throws(SensorError) {
        try transfer(step) { () throws(BusError) in try bus.write(bytes, to: address) }
    }

    func read(_ count: Int, _ step: String) throws(SensorError) -> [UInt8] {
        try transfer(step) { () throws(BusError) in try bus.read(count, from: address) }
    }

    /// Reads `count` registers from `register` on; the chip counts up by itself.
    func read(register: UInt8, _ count: Int, _ step: String) throws(SensorError) -> [UInt8] {
        try transfer(step) { () throws(BusError) in try bus.write([register], thenRead: count, at: address) }
    }

    /// Does a transfer, and once more if nobody acknowledged it: a disturbance hits that bit as easily as any other, and
    /// a chip that did not hear has done nothing. Other failures may have taken what was to be read with them.
    private func transfer<Answer>(
        _ step: String, _ body: () throws(BusError) -> Answer
    ) throws(SensorError) -> Answer {
        do throws(BusError) {
            do throws(BusError) {
                return try body()
            } catch {
                let isUnheard = error.kind == .notAcknowledged || error.kind == .multiplexer(.notAcknowledged)
                guard isUnheard else { throw error }
                return try body()
            }
        } catch {
            throw self.error(.bus(error), step)
        }
    }

    /// Waits without holding the bus.
    func wait(_ duration: Duration, _ step: String, isolation: isolated (any Actor)? = #isolation)
        async throws(SensorError)
    {
        do {
            try await clock.sleep(for: duration)
        } catch {
            throw self.error(.cancelled, step)
        }
    }
}

/// The thread of a bus, for transfers with a chip of which there is no actor yet.
actor BusThread {
    private let bus: any I2CBus
    nonisolated var unownedExecutor: UnownedSerialExecutor { bus.executor.asUnownedSerialExecutor() }

    init(of bus: any I2CBus) {
        self.bus = bus
    }
}

/// Lets one operation at a time through an actor that suspends in the middle of it: a chip that is converting must
/// not be told to convert something else.
///
/// It belongs to one actor and is used on it alone.
final class Turn {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Waits for the turn, first come, first served. Every operation is bounded, so the wait is.
    func take(isolation: isolated (any Actor)? = #isolation) async {
        if !isTaken {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Hands the turn to the next.
    func give() {
        if waiting.isEmpty {
            isTaken = false
        } else {
            waiting.removeFirst().resume()
        }
    }
}
