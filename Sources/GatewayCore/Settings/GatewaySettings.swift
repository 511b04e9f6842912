import Configuration
import KafkaClient
import Monitoring
import Outbox
import Platform
import Readings
import SensorBus
import SensorDrivers

/// The gateway's configuration file, read and checked.
public struct GatewaySettings: Sendable {
    /// Which chips the drivers talk to.
    enum Mode: String, CaseIterable, Sendable {
        /// Those on the board's buses.
        case hardware
        /// Models of them.
        case simulated
    }

    /// How far the wall clock is believed.
    enum ClockPolicy: String, CaseIterable, Sendable {
        /// As far as the kernel says that it is synchronised.
        case kernel
        /// Always.
        case trust
    }

    var gatewayID: Identifier
    var mode: Mode
    var clock: ClockPolicy
    var outboxPath: String
    var outboxLimits: OutboxLimits
    var kafka: KafkaConfiguration
    var topic: String
    /// The most messages on their way at once.
    var window: Int
    /// How long a stop may take to send what is in the outbox.
    var drainTime: Duration
    var listen: Endpoint?
    var simulation: SimulationSettings
    var stations: [StationSettings]
    var logLevel: Log.Level

    /// Reads a file. Paths in it are relative to its folder.
    /// - Throws: all its problems at once, each with its line.
    public init(file: String) throws(ConfigurationError) {
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        self = try ConfigurationDocument(file: file).decode { GatewaySettings($0, folder: folder) }
    }

    /// Reads a document; paths in it are relative to the current folder.
    public init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        self = try document.decode { GatewaySettings($0, folder: "") }
    }

    private init(_ root: Section, folder: String) {
        func path(_ text: String) -> String { text.hasPrefix("/") ? text : folder + text }
        gatewayID = root.section("gateway").required("id", as: .identifier)
        mode = root.required("mode", as: .choice(.hardware))
        clock = root.section("clock").value("policy", as: .choice(.kernel), default: .kernel)
        let outbox = root.section("outbox")
        outboxPath = path(outbox.required("path", as: .text))
        outboxLimits = OutboxLimits()
        outboxLimits.readings = outbox.value("readings", as: .integer(1...), default: outboxLimits.readings)
        outboxLimits.bytes =
            outbox.value("size", as: .size(ByteCount.mebibytes(1)...), default: ByteCount(bytes: outboxLimits.bytes))
            .bytes
        let kafka = root.section("kafka")
        self.kafka = kafka.kafkaConfiguration()
        topic = kafka.value("topic", as: .text, default: "sensor.readings")
        window = kafka.value("window", as: .integer(1...100_000), default: 1000)
        drainTime = kafka.value("drain_time", as: .duration(), default: .seconds(5))
        listen = root.optionalSection("monitoring")?.optional("listen", as: .endpoint)
        logLevel =
            root.optional("log_level", as: .choice(LogLevelName.info)).flatMap { Log.Level(name: $0.rawValue) } ?? .info
        let sections = root.sections("stations", each: "station", namedBy: "sensor_id")
        stations = sections.map { StationSettings($0) }
        simulation = SimulationSettings(root.optionalSection("simulation"), path: path)

        if stations.isEmpty { root.problem("at least one station is needed", at: "stations") }
        for (index, station) in stations.enumerated() {
            if stations[..<index].contains(where: { $0.sensorID == station.sensorID }) {
                sections[index].problem("another station has this name", at: "sensor_id")
            }
            guard mode == .hardware else { continue }
            let others = Set(stations[..<index].flatMap(\.chips).map(\.place))
            for chip in station.chips where others.contains(chip.place) {
                sections[index].problem(
                    "another station has the chip at \(chip.place.address) on this bus", at: "chips")
            }
        }
        if mode == .simulated, simulation.speed == .unlimited, stations.count > 1 {
            root.problem("an unlimited speed needs a single station: its waits make the time pass", at: "simulation")
        }
    }

    private enum LogLevelName: String, CaseIterable {
        case error, warning, notice, info, debug
    }
}

/// A station: a sensor of the contract, made of chips.
struct StationSettings: Sendable {
    var sensorID: Identifier
    var place: Place?
    var interval: Duration
    var chips: [ChipSettings]

    init(_ section: Section) {
        sensorID = section.required("sensor_id", as: .identifier)
        interval = section.value(
            "interval", as: .duration(.milliseconds(10)...(.seconds(86_400))), default: .seconds(10))
        if let place = section.optionalSection("place") {
            self.place = Place(
                latitude: place.required("latitude", as: .number(-90...90)),
                longitude: place.required("longitude", as: .number(-180...180)))
        }
        let sections = section.sections("chips", each: "chip", namedBy: "type")
        chips = sections.map { ChipSettings($0) }
        if chips.isEmpty { section.problem("at least one chip is needed", at: "chips") }
        for (index, chip) in chips.enumerated() where chips[..<index].contains(where: { $0.place == chip.place }) {
            sections[index].problem("another chip has this address", at: "address")
        }
    }
}

/// A chip: what it is, where it is, and how it is set.
struct ChipSettings: Sendable {
    /// The chips that there are drivers for.
    enum Kind: String, CaseIterable, Sendable {
        case bme280, scd41, ads1115
    }

    /// A place on a bus.
    struct Location: Hashable, Sendable {
        var bus: Int
        var address: I2CAddress
    }

    var kind: Kind
    var place: Location
    var scd41 = SCD41.Settings()
    var ads1115 = ADS1115.Settings()

    /// What it is called in faults while it has not said otherwise.
    var name: String { kind.rawValue }

    init(_ section: Section) {
        kind = section.required("type", as: .choice(.bme280))
        let usual: I2CAddress =
            switch kind {
            case .bme280: 0x76
            case .scd41: SCD41.address
            case .ads1115: 0x48
            }
        place = Location(
            bus: section.value("bus", as: .integer(0...255), default: 1),
            address: section.value("address", as: .address, default: usual))
        switch kind {
        case .bme280: break
        case .scd41:
            scd41.period = section.value("low_power", as: .boolean, default: false) ? .lowPower : .standard
            scd41.temperatureOffset = section.optional("temperature_offset", as: .number(0...20))
            scd41.altitude = section.optional("altitude", as: .integer(0...3000))
            scd41.automaticSelfCalibration = section.optional("self_calibration", as: .boolean)
        case .ads1115:
            ads1115.input = section.value("channel", as: .input, default: .a0)
            ads1115.curve = section.optional("chemistry", as: .choice(Chemistry.liIon))?.curve
            if let divider = section.optionalSection("divider") {
                let upper = divider.required("upper", as: .number(0...1e9))
                let lower = divider.required("lower", as: .number(1...1e9))
                ads1115.divider = VoltageDivider(upper: upper, lower: lower) ?? .none
            }
        }
    }

    private enum Chemistry: String, CaseIterable {
        case liIon = "li_ion"
        case liFePO4 = "lifepo4"

        var curve: BatteryCurve { self == .liIon ? .liIon : .liFePO4 }
    }
}

extension Setting where Value == Identifier {
    /// A name of the contract.
    fileprivate static var identifier: Setting {
        Setting(expected: "a name of 1 to 64 of A-Z a-z 0-9 . _ -", standIn: Identifier(constant: "x")) {
            Identifier($0)
        }
    }
}

extension Setting where Value == I2CAddress {
    /// An address on a bus.
    fileprivate static var address: Setting {
        Setting(expected: "an I2C address of 0x08 to 0x77", standIn: 0x08) { text in
            let digits = text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
            return digits.flatMap { I2CAddress(validating: $0) }
        }
    }
}

extension Setting where Value == ADS1115.Settings.Input {
    /// An input of the converter.
    fileprivate static var input: Setting {
        Setting(expected: "a channel of 0 to 3", standIn: .a0) { text in
            let inputs: [ADS1115.Settings.Input] = [.a0, .a1, .a2, .a3]
            return Int(text).flatMap { inputs.indices.contains($0) ? inputs[$0] : nil }
        }
    }
}
