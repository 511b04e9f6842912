import Configuration
import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware

/// What the gateway and its tools know of one type of chip.
///
/// A new chip is its driver, its twin and one of these, in a file beside this one and in the list `all`.
package struct ChipType: Sendable {
    /// As the configuration and faults name it, such as `bme280`.
    package let name: Identifier
    /// The addresses that it can have, the usual one first.
    package let addresses: [I2CAddress]
    /// What it can measure.
    package let quantities: Set<Quantity>
    /// The parts that its driver works with, the one that it is meant for first.
    package let parts: [ChipPart]
    /// How a scan recognises it.
    let probe: Probe
    /// Whether two measurements of it in a row are hardly ever equal, so that many equal ones mean that it is frozen. A
    /// battery's voltage may stand still, and a CO2 chip says itself whether it has measured.
    let hasNoise: Bool
    /// Whether its values depend on the air's pressure.
    let isPressureCompensated: Bool
    /// The fastest clock of the bus that it is made for, hertz.
    package let fastestClock: Int
    /// What a person still has to set, who takes it over from a scan; nil if it works as it is.
    package let remark: String?
    /// Reads its settings from its section of the configuration.
    let read: @Sendable (Section) -> any ChipSetup

    /// Describes a type of chip.
    init(
        _ name: StaticString, addresses: [I2CAddress], quantities: Set<Quantity>, parts: [ChipPart], probe: Probe,
        hasNoise: Bool = true, isPressureCompensated: Bool = false, fastestClock: Int = 400_000,
        remark: String? = nil, read: @escaping @Sendable (Section) -> any ChipSetup
    ) {
        self.name = Identifier(constant: name)
        self.addresses = addresses
        self.quantities = quantities
        self.parts = parts
        self.probe = probe
        self.hasNoise = hasNoise
        self.isPressureCompensated = isPressureCompensated
        self.fastestClock = fastestClock
        self.remark = remark
        self.read = read
    }
}

extension ChipType {
    /// The catalogue: the types that there are drivers for, in the order in which messages and documentation name them, and
    /// in which a scan asks for families that share an address and write equally much.
    package static let all: [ChipType] = [
        .bme280, .bmp280, .bmp388, .bmp390, .scd40, .scd41, .sht3x, .sht4x, .aht20, .sen55, .ads1115,
    ]

    /// How a scan recognises the chips of the catalogue.
    package static var probes: [Probe] { all.map(\.probe) }

    /// The type for a part that was found: the one that is nearest to being meant for it; nil if there is no driver.
    package static func type(for part: ChipPart) -> ChipType? {
        let ranks = all.compactMap { type in type.parts.firstIndex(of: part).map { (type: type, rank: $0) } }
        return ranks.min { $0.rank < $1.rank }?.type
    }

    /// What a station lacks if it has this part in place of the chip of this type: such as the humidity, if the part is a
    /// BMP280 that was sold as a BME280.
    package func quantitiesMissing(with part: ChipPart) -> Set<Quantity> {
        quantities.subtracting(ChipType.type(for: part)?.quantities ?? [])
    }
}

extension ChipType: Equatable {
    /// Types are told apart by their names.
    package static func == (left: ChipType, right: ChipType) -> Bool { left.name == right.name }
}

/// A chip as it is set: it makes the driver, and the twin.
package protocol ChipSetup: Sendable {
    /// Opens the driver.
    func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver

    /// Makes the twin.
    /// - Parameters:
    ///   - world: what the twin lives in.
    ///   - faults: what goes wrong with it.
    func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip

    /// What the type measures, and the chip does not as it is set.
    var omittedQuantities: Set<Quantity> { get }

    /// Whether it estimates the level of a battery.
    var estimatesBatteryLevel: Bool { get }

    /// How long the chip's first value may take, from the beginning of its opening on.
    var longestStart: Duration { get }

    /// What a sample takes beyond some milliseconds, which the station's interval must leave; nil if it does not.
    var sampleTime: Duration? { get }
}

extension ChipSetup {
    package var omittedQuantities: Set<Quantity> { [] }
    package var estimatesBatteryLevel: Bool { false }
    package var longestStart: Duration { .seconds(1) }
    package var sampleTime: Duration? { nil }
}

extension Setting where Value == ChipType {
    /// A type of the catalogue, by its name.
    static var chipType: Setting {
        let names = ChipType.all.map(\.name.description).joined(separator: ", ")
        return Setting(expected: "one of \(names)", standIn: ChipType.all[0]) { text in
            ChipType.all.first { $0.name.description == text }
        }
    }
}
