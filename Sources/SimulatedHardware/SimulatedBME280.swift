import Glibc

/// A BME280 or BMP280 as a twin at the level of its registers (BME280 datasheet BST-BME280-DS002, chapters 3 and 5).
public struct SimulatedBME280: SimulatedChip {
    /// Which of the two it is.
    public enum Variant: UInt8, Sendable {
        /// Without humidity.
        case bmp280 = 0x58
        /// With humidity.
        case bme280 = 0x60
    }

    /// `freeze` leaves the status at "measuring"; `saturate` drives the converters to their ends.
    public let faults: FaultScript

    private let world: SimulatedWorld
    private let variant: Variant
    private var registers = [UInt8](repeating: 0, count: 256)
    private var pointer: UInt8 = 0
    private var poweredUp: Duration
    private var copyingUntil: Duration
    /// The oversampling of humidity in force, which lags behind its register.
    private var humidityOversampling: UInt8 = 0
    private var conversion: (start: Duration, end: Duration)?

    private static let startUp = Duration.milliseconds(2)

    /// Puts a chip that has had power for long into `world`.
    public init(world: SimulatedWorld, variant: Variant = .bme280, faults: FaultScript = FaultScript()) {
        self.world = world
        self.variant = variant
        self.faults = faults
        poweredUp = world.elapsed() - .seconds(60)
        copyingUntil = poweredUp
        reset()
    }

    /// Power comes back: the settings are lost.
    public mutating func powerUp(at time: Duration) {
        poweredUp = time
        copyingUntil = time + SimulatedBME280.startUp
        reset()
    }

    /// The first byte is a register; then come values, with further registers in between (6.2.1).
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= poweredUp + SimulatedBME280.startUp else { return false }
        advance(to: time)
        guard let first = bytes.first else { return true }
        pointer = first
        for index in stride(from: 0, to: bytes.count - 1, by: 2) {
            set(bytes[index], bytes[index + 1], at: time)
        }
        return true
    }

    /// Reads registers upwards from the one last named (6.2.2).
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= poweredUp + SimulatedBME280.startUp else { return nil }
        advance(to: time)
        let bytes = (0..<count).map { registers[Int(pointer &+ UInt8(truncatingIfNeeded: $0))] }
        pointer &+= UInt8(truncatingIfNeeded: count)
        return bytes
    }

    private mutating func reset() {
        registers = [UInt8](repeating: 0, count: 256)
        registers.replaceSubrange(0x88..<0x88 + 26, with: Calibration.temperatureAndPressure)
        registers[0xD0] = variant.rawValue
        // What the data registers hold before the first conversion is what a skipped one leaves.
        registers[0xF7] = 0x80
        registers[0xFA] = 0x80
        if variant == .bme280 {
            registers.replaceSubrange(0xE1..<0xE1 + 7, with: Calibration.humidity)
            registers[0xFD] = 0x80
        }
        conversion = nil
        humidityOversampling = 0
    }

    private mutating func set(_ register: UInt8, _ value: UInt8, at time: Duration) {
        switch register {
        case 0xE0 where value == 0xB6:
            reset()
            copyingUntil = time + SimulatedBME280.startUp
            registers[0xF3] = 1
        case 0xF2 where variant == .bme280, 0xF5:
            registers[Int(register)] = value
        case 0xF4:
            registers[0xF4] = value
            humidityOversampling = registers[0xF2] & 0b111
            // Normal mode is not simulated; it converts once, as forced mode does.
            if value & 0b11 != 0 {
                conversion = (time, time + typicalMeasurement)
                registers[0xF3] |= 1 << 3
            }
        default:
            break  // Read only, or not a register.
        }
    }

    private var temperatureOversampling: UInt8 { registers[0xF4] >> 5 }
    private var pressureOversampling: UInt8 { registers[0xF4] >> 2 & 0b111 }

    /// Conversions in one value.
    private func factor(_ oversampling: UInt8) -> Int {
        oversampling == 0 ? 0 : 1 << min(Int(oversampling) - 1, 4)
    }

    /// What a measurement usually takes (appendix B, 9.1).
    private var typicalMeasurement: Duration {
        var microseconds = 1000 + 2000 * factor(temperatureOversampling)
        if pressureOversampling != 0 { microseconds += 2000 * factor(pressureOversampling) + 500 }
        if humidityOversampling != 0 { microseconds += 2000 * factor(humidityOversampling) + 500 }
        return .microseconds(microseconds)
    }

    private mutating func advance(to time: Duration) {
        if time >= copyingUntil { registers[0xF3] &= ~1 }
        guard let conversion, time >= conversion.end, !faults.has(.freeze, at: time) else { return }
        self.conversion = nil
        registers[0xF3] &= ~(1 << 3)
        registers[0xF4] &= ~0b11
        let isSaturated = faults.has(.saturate, at: conversion.start)
        let air = world.conditions(at: conversion.start)
        let t = temperatureOversampling
        let p = pressureOversampling
        let h = humidityOversampling
        let exactTemperature = Calibration.raw(20) { Calibration.temperature(raw: $0).celsius < air.temperature }
        let fine = Calibration.temperature(raw: exactTemperature).fine
        let rawTemperature = isSaturated ? 0xFFFF0 : rounded(exactTemperature, t)
        let rawPressure = Calibration.raw(20) { Calibration.pressure(raw: $0, fine: fine) > air.pressure }
        let rawHumidity = Calibration.raw(16) { Calibration.humidity(raw: $0, fine: fine) < air.humidity }
        store(t == 0 ? 0x80000 : rawTemperature, at: 0xFA)
        store(t == 0 || p == 0 ? 0x80000 : isSaturated ? 0 : rounded(rawPressure, p), at: 0xF7)
        guard variant == .bme280 else { return }
        let humidity = t == 0 || h == 0 ? 0x8000 : isSaturated ? 0xFFFF : rawHumidity
        registers[0xFD] = UInt8(humidity >> 8)
        registers[0xFE] = UInt8(humidity & 0xFF)
    }

    /// A value with the 16 bits that one conversion has, and one more for each doubling (3.4.2, 3.4.3).
    private func rounded(_ raw: Int, _ oversampling: UInt8) -> Int {
        let step = 1 << max(0, 5 - Int(oversampling))
        return min((raw + step / 2) / step * step, 0xFFFF0)
    }

    private mutating func store(_ raw: Int, at register: Int) {
        registers[register] = UInt8(raw >> 12)
        registers[register + 1] = UInt8(raw >> 4 & 0xFF)
        registers[register + 2] = UInt8(raw & 0xF) << 4
    }
}

/// The calibration of the simulated chip and the datasheet's floating-point formulas (appendix A, 8.1): other ones
/// than a driver's integer formulas, so that the two check each other.
private enum Calibration {
    static let temperatureAndPressure: [UInt8] = [
        0x10, 0x6E, 0x6C, 0x66, 0x32, 0x00, 0x5D, 0x95, 0xB8, 0xD5, 0xD0, 0x0B, 0x77, 0x1E, 0x9D, 0xFF, 0xF9, 0xFF,
        0xAC, 0x26, 0x0A, 0xD8, 0xBD, 0x10, 0x00, 0x4B,
    ]
    static let humidity: [UInt8] = [0x6E, 0x01, 0x00, 0x13, 0x05, 0x00, 0x1E]

    static func temperature(raw: Int) -> (celsius: Double, fine: Double) {
        let adc = Double(raw)
        let linear = (adc / 16_384 - 28_176.0 / 1024) * 26_220
        let offset = adc / 131_072 - 28_176.0 / 8192
        let fine = linear + offset * offset * 50
        return (fine / 5120, fine)
    }

    /// Hectopascals.
    static func pressure(raw: Int, fine: Double) -> Double {
        let half = fine / 2 - 64_000
        var offset = half * half * -7 / 32_768
        offset += half * -99 * 2
        offset = offset / 4 + 7799 * 65_536
        var slope = (3024 * half * half / 524_288 + -10_824 * half) / 524_288
        slope = (1 + slope / 32_768) * 38_237
        var pascals = 1_048_576 - Double(raw)
        pascals = (pascals - offset / 4096) * 6250 / slope
        let square = 4285 * pascals * pascals / 2_147_483_648
        let linear = pascals * -10_230 / 32_768
        return (pascals + (square + linear + 9900) / 16) / 100
    }

    /// Percent.
    static func humidity(raw: Int, fine: Double) -> Double {
        let t = fine - 76_800
        let input = Double(raw) - (309 * 64 + 0 / 16_384 * t)
        let gain = 366.0 / 65_536 * (1 + 30.0 / 67_108_864 * t * (1 + 0 / 67_108_864 * t))
        let value = input * gain
        return min(max(value * (1 - 75 * value / 524_288), 0), 100)
    }

    /// The smallest raw value of so many bits for which `isBelow` no longer holds, by bisection.
    static func raw(_ bits: Int, isBelow: (Int) -> Bool) -> Int {
        var low = 0
        var high = (1 << bits) - 1
        while low < high {
            let middle = (low + high) / 2
            if isBelow(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
