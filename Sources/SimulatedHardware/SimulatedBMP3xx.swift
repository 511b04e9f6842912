/// A BMP388 or BMP390 as a twin at the level of its registers (datasheets BST-BMP388-DS001 and BST-BMP390-DS002,
/// chapters 3 to 5). Normal mode, the filter, the FIFO and interrupts are not simulated.
public struct SimulatedBMP3xx: SimulatedChip {
    /// Which of the two it is.
    public enum Variant: UInt8, Sendable {
        /// The older one.
        case bmp388 = 0x50
        /// The younger one.
        case bmp390 = 0x60
    }

    /// `freeze` never has data; `saturate` drives the converters to their ends.
    public let faults: FaultScript

    private let world: SimulatedWorld
    private let variant: Variant
    private var registers = [UInt8](repeating: 0, count: 256)
    private var pointer: UInt8 = 0
    /// It acknowledges nothing before.
    private var awakeAt: Duration
    private var readyAt: Duration
    private var conversion: (start: Duration, end: Duration)?

    private static let startUp = Duration.milliseconds(2)

    /// Puts a chip that has had power for long into `world`.
    public init(world: SimulatedWorld, variant: Variant = .bmp390, faults: FaultScript = FaultScript()) {
        self.world = world
        self.variant = variant
        self.faults = faults
        awakeAt = world.elapsed()
        readyAt = awakeAt
        reset()
    }

    /// Power comes back: the settings are lost.
    public mutating func powerUp(at time: Duration) {
        awakeAt = time + SimulatedBMP3xx.startUp
        readyAt = awakeAt
        reset()
    }

    /// The first byte is a register; then come values, with further registers in between.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= awakeAt else { return false }
        advance(to: time)
        guard let first = bytes.first else { return true }
        pointer = first
        for index in stride(from: 0, to: bytes.count - 1, by: 2) {
            set(bytes[index], bytes[index + 1], at: time)
        }
        return true
    }

    /// Reads registers upwards from the one last named. To read data clears what the status says of them.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= awakeAt else { return nil }
        advance(to: time)
        let addresses = (0..<count).map { Int(pointer &+ UInt8(truncatingIfNeeded: $0)) }
        let bytes = addresses.map { registers[$0] }
        if addresses.contains(0x04) { registers[0x03] &= ~(1 << 5) }
        if addresses.contains(0x07) { registers[0x03] &= ~(1 << 6) }
        pointer &+= UInt8(truncatingIfNeeded: count)
        return bytes
    }

    private mutating func reset() {
        registers = [UInt8](repeating: 0, count: 256)
        registers[0x00] = variant.rawValue
        registers[0x1C] = 0x02
        registers.replaceSubrange(0x31..<0x31 + 21, with: Calibration.registers)
        // What the data registers hold before the first conversion is what a skipped one leaves.
        registers[0x06] = 0x80
        registers[0x09] = 0x80
        conversion = nil
    }

    private mutating func set(_ register: UInt8, _ value: UInt8, at time: Duration) {
        switch register {
        case 0x7E where value == 0xB6 && time >= readyAt:
            reset()
            readyAt = time + SimulatedBMP3xx.startUp
        case 0x1B:
            registers[0x1B] = value
            if value >> 4 & 0b11 != 0 { conversion = (time, time + measurementTime) }
        case 0x1C, 0x1D, 0x1F:
            registers[Int(register)] = value
        default:
            break  // Read only, or not a register.
        }
    }

    private var hasPressure: Bool { registers[0x1B] & 1 != 0 }
    private var hasTemperature: Bool { registers[0x1B] & 2 != 0 }
    /// The exponents of what is averaged.
    private var pressureOversampling: Int { min(Int(registers[0x1C] & 0b111), 5) }
    private var temperatureOversampling: Int { min(Int(registers[0x1C] >> 3 & 0b111), 5) }

    /// What a measurement usually takes (3.9.2).
    private var measurementTime: Duration {
        var microseconds = 234
        if hasPressure { microseconds += 392 + (2020 << pressureOversampling) }
        if hasTemperature { microseconds += 163 + (2020 << temperatureOversampling) }
        return .microseconds(microseconds)
    }

    private mutating func advance(to time: Duration) {
        if time >= readyAt { registers[0x03] |= 1 << 4 } else { registers[0x03] &= ~(1 << 4) }
        guard let conversion, time >= conversion.end, !faults.has(.freeze, at: time) else { return }
        self.conversion = nil
        let isSaturated = faults.has(.saturate, at: conversion.start)
        let air = world.conditions(at: conversion.start)
        let rawTemperature = Calibration.raw { Double(Calibration.temperature($0).hundredths) < air.temperature * 100 }
        let fine = Calibration.temperature(rawTemperature).fine
        let rawPressure = Calibration.raw { Double(Calibration.pressure($0, fine: fine)) > air.pressure * 10_000 }
        // 16 bits of a value come from one conversion, and each doubling gives one more.
        store(hasPressure ? isSaturated ? 0 : rounded(rawPressure, pressureOversampling) : 0x80_0000, at: 0x04)
        store(
            hasTemperature ? isSaturated ? 0xFF_FFFF : rounded(rawTemperature, temperatureOversampling) : 0x80_0000,
            at: 0x07)
        registers[0x03] |= (hasPressure ? 1 << 5 : 0) | (hasTemperature ? 1 << 6 : 0)
        // Forced mode goes back to sleep.
        registers[0x1B] &= 0b11
    }

    private func rounded(_ raw: Int, _ oversampling: Int) -> Int {
        let step = 1 << (8 - oversampling)
        return min((raw + step / 2) / step * step, 0xFF_FFFF)
    }

    private mutating func store(_ raw: Int, at register: Int) {
        for index in 0..<3 { registers[register + index] = UInt8(truncatingIfNeeded: raw >> (8 * index)) }
    }
}

/// The calibration of the simulated chip, and Bosch's fixed-point formulas for 64 bits, as Linux' bmp280-core.c has them
/// too: other ones than the driver's floating-point formulas, so that the two check each other.
private enum Calibration {
    static let t1 = 27_772
    static let t2 = 18_782
    static let t3 = -7
    static let p1 = -285
    static let p2 = -1_136
    static let p3 = 35
    static let p4 = 0
    static let p5 = 25_144
    static let p6 = 29_600
    static let p7 = -2
    static let p8 = -6
    static let p9 = 11_450
    static let p10 = 9
    static let p11 = -60

    static var registers: [UInt8] {
        func two(_ value: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8)] }
        func one(_ value: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: value)] }
        let temperature = two(t1) + two(t2) + one(t3)
        let pressure = two(p1) + two(p2) + one(p3) + one(p4) + two(p5) + two(p6)
        return temperature + pressure + one(p7) + one(p8) + two(p9) + one(p10) + one(p11)
    }

    /// Hundredths of a degree Celsius, and the fine temperature that the pressure needs.
    static func temperature(_ raw: Int) -> (hundredths: Int, fine: Int) {
        let difference = raw - (t1 << 8)
        let fine = (((difference * t2) << 18) + difference * difference * t3) >> 32
        return ((fine * 25) >> 14, fine)
    }

    /// Hundredths of a pascal.
    static func pressure(_ raw: Int, fine: Int) -> Int {
        let square = fine * fine
        let cube = ((square >> 6) * fine) >> 8
        let offset = (p5 << 47) + ((p8 * cube) >> 5) + ((p7 * square) << 4) + ((p6 * fine) << 22)
        let constant = (p1 - (1 << 14)) << 46
        let sensitivity = constant + ((p4 * cube) >> 5) + ((p3 * square) << 2) + (p2 - (1 << 14)) * (fine << 21)
        let linear = (sensitivity >> 24) * raw
        let bend = ((p10 * fine + (p9 << 16)) * raw) >> 13
        let quadratic = ((raw * (bend / 10)) >> 9) * 10
        let cubic = (((p11 * raw * raw) >> 16) * raw) >> 7
        let sum = (offset >> 2) + linear + quadratic + cubic
        // Times 25 / 2^40, in an order that 64 bits bear.
        return ((sum >> 8) * 25) >> 32
    }

    /// The smallest raw value of 24 bits for which `isBelow` no longer holds, by bisection.
    static func raw(isBelow: (Int) -> Bool) -> Int {
        var low = 0
        var high = 0xFF_FFFF
        while low < high {
            let middle = (low + high) / 2
            if isBelow(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
