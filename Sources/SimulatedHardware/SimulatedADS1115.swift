/// An ADS1115 as a twin at the level of its registers, with the world's battery behind a divider at AIN0 and nothing at the other
/// inputs (ADS1115 datasheet SBAS444, 8.1).
public struct SimulatedADS1115: SimulatedChip {
    /// `freeze` never finishes a conversion; `saturate` gives the largest code.
    public let faults: FaultScript

    private let world: SimulatedWorld
    /// Input volts for one volt of battery.
    private let ratio: Double
    private var pointer: UInt8 = 0
    private var configuration: UInt16 = 0x8583
    private var result: UInt16 = 0
    private var thresholds: [UInt16] = [0x8000, 0x7FFF]
    private var conversion: (start: Duration, end: Duration)?

    /// Puts a chip into `world`.
    /// - Parameter dividerRatio: input volts for one volt of battery, such as 0.5 for 100k and 100k.
    public init(world: SimulatedWorld, dividerRatio: Double = 1, faults: FaultScript = FaultScript()) {
        self.world = world
        self.ratio = dividerRatio
        self.faults = faults
    }

    /// Power comes back: the registers hold their reset values.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedADS1115(world: world, dividerRatio: ratio, faults: faults)
    }

    /// The first byte points at a register, two more are its new value.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        advance(to: time)
        guard let first = bytes.first else { return true }
        pointer = first & 0b11
        guard bytes.count == 3 else { return true }
        let word = UInt16(bytes[1]) << 8 | UInt16(bytes[2])
        switch pointer {
        case 0: break  // The conversion register is read only.
        case 1:
            configuration = word & 0x7FFF
            if word & 0x8000 != 0 {
                let perSecond = [8, 16, 32, 64, 128, 250, 475, 860][Int(word >> 5 & 0b111)]
                // An oscillator that is 5 % slow, of the 10 % that are allowed.
                conversion = (time, time + .microseconds(1_050_000 / perSecond))
            }
        default: thresholds[Int(pointer) - 2] = word
        }
        return true
    }

    /// The register that the pointer is at.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        advance(to: time)
        let word: UInt16
        switch pointer {
        case 0: word = result
        case 1: word = configuration & 0x7FFF | (conversion == nil ? 0x8000 : 0)
        default: word = thresholds[Int(pointer) - 2]
        }
        return (0..<count).map { UInt8($0 % 2 == 0 ? word >> 8 : word & 0xFF) }
    }

    private mutating func advance(to time: Duration) {
        guard let conversion, time >= conversion.end, !faults.has(.freeze, at: time) else { return }
        self.conversion = nil
        let fullScale = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256][Int(configuration >> 9 & 0b111)]
        // Input 4 of the multiplexer is AIN0 against ground.
        let volts = configuration >> 12 & 0b111 == 4 ? world.conditions(at: conversion.start).battery * ratio : 0
        let code = (volts / fullScale * 32_768).rounded()
        let clamped = Int16(min(max(code, -32_768), 32_767))
        result = faults.has(.saturate, at: conversion.start) ? 0x7FFF : UInt16(bitPattern: clamped)
    }
}
