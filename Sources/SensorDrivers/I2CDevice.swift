import Readings
import SensorBus

/// One address on a bus, and the chip that answers there: transfers and waits whose errors say which chip was doing what.
struct I2CDevice {
    let bus: any I2CBus
    let address: I2CAddress
    var chip: Identifier
    let clock: any Clock<Duration>

    func error(_ kind: ChipError.Kind, _ step: String) -> ChipError {
        ChipError(kind, chip: chip, address: address, step: step)
    }

    func write(_ bytes: [UInt8], _ step: String) throws(ChipError) {
        try transfer(step) { () throws(BusError) in try bus.write(bytes, to: address) }
    }

    func read(_ count: Int, _ step: String) throws(ChipError) -> [UInt8] {
        try transfer(step) { () throws(BusError) in try bus.read(count, from: address) }
    }

    /// Reads `count` registers from `register` on; the chip counts up by itself.
    func read(register: UInt8, _ count: Int, _ step: String) throws(ChipError) -> [UInt8] {
        try transfer(step) { () throws(BusError) in try bus.write([register], thenRead: count, at: address) }
    }

    /// Does a transfer, and once more if nobody acknowledged it: a disturbance hits that bit as easily as any other, and
    /// a chip that did not hear has done nothing. Other failures may have taken what was to be read with them.
    private func transfer<Answer>(
        _ step: String, _ body: () throws(BusError) -> Answer
    ) throws(ChipError) -> Answer {
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
        async throws(ChipError)
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
