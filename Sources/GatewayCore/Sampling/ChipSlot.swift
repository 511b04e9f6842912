import Platform
import Readings
import SensorBus
import SensorDrivers

/// A chip's place in a station: opens the chip when it is first needed, and again, with growing pauses, after it failed.
actor ChipSlot {
    private let settings: ChipSettings
    private let bus: any I2CBus
    private let clock: any Clock<Duration>
    private let stopwatch: @Sendable () -> Duration

    private var sensor: (any Sensor)?
    /// What the chip said of itself when it was last opened; nil before.
    private(set) var identity: ChipIdentity?
    private var lastError: SensorError?
    private var failures = 0
    private var nextOpening = Duration.zero

    /// The longest pause between two attempts to open a chip.
    private static let longestPause = Duration.seconds(300)

    nonisolated var unownedExecutor: UnownedSerialExecutor { bus.executor.asUnownedSerialExecutor() }

    init(_ settings: ChipSettings, bus: any I2CBus, clock: any Clock<Duration>) {
        self.settings = settings
        self.bus = bus
        self.clock = clock
        stopwatch = elapsed(on: clock)
    }

    /// Whether it measures the air's pressure.
    nonisolated var isBarometer: Bool { settings.kind == .bme280 || settings.kind == .bmp280 }

    /// Measures once, as `measure(pressure:)` does.
    func result(pressure: Pressure?) async -> Result<Measurement, SensorError> {
        do throws(SensorError) {
            return .success(try await measure(pressure: pressure))
        } catch {
            return .failure(error)
        }
    }

    /// Measures once.
    /// - Parameter pressure: of the air, for a chip whose values depend on it.
    /// - Throws: why not; while the chip rests after failures, the error that it had last.
    func measure(pressure: Pressure?) async throws(SensorError) -> Measurement {
        let sensor = try await opened()
        do throws(SensorError) {
            if let chip = sensor as? any PressureCompensated, let pressure,
                type(of: chip).pressures.contains(pressure.hectopascals)
            {
                try await chip.setAmbientPressure(pressure)
            }
            let measurement = try await sensor.measure()
            failures = 0
            lastError = nil
            return measurement
        } catch {
            self.sensor = nil
            throw failed(error)
        }
    }

    /// The chip was without power: the next measurement opens it anew, without a pause before that.
    func restart() {
        sensor = nil
        lastError = nil
        failures = 0
        nextOpening = .zero
    }

    private func opened() async throws(SensorError) -> any Sensor {
        if let sensor { return sensor }
        if let lastError, stopwatch() < nextOpening { throw lastError }
        do throws(SensorError) {
            let sensor = try await open()
            self.sensor = sensor
            identity = sensor.identity
            return sensor
        } catch {
            throw failed(error)
        }
    }

    /// The first failure is followed by an attempt at the next sample, each further one by a pause twice as long.
    private func failed(_ error: SensorError) -> SensorError {
        lastError = error
        let pause = failures == 0 ? Duration.zero : .seconds(1) * (1 << min(failures - 1, 9))
        failures += 1
        nextOpening = stopwatch() + min(pause, ChipSlot.longestPause)
        return error
    }

    private func open() async throws(SensorError) -> any Sensor {
        let address = settings.place.address
        switch settings.kind {
        case .bme280, .bmp280:
            return try await BME280.open(bus: bus, address: address, settings: settings.bme280, clock: clock)
        case .scd40, .scd41:
            return try await SCD4x.open(bus: bus, address: address, settings: settings.scd4x, clock: clock)
        case .sht3x:
            return try await SHT3x.open(bus: bus, address: address, settings: settings.sht3x, clock: clock)
        case .sht4x:
            return try await SHT4x.open(bus: bus, address: address, settings: settings.sht4x, clock: clock)
        case .ads1115:
            return try await ADS1115.open(bus: bus, address: address, settings: settings.ads1115, clock: clock)
        }
    }
}
