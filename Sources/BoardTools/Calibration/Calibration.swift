import GatewayCore
import Platform
import Readings
import SensorBus
import SensorDrivers

/// What a person does with an SCD4x where it is mounted: what `vigie-gateway calibrate` does.
///
/// No gateway may be using the bus meanwhile: two programs that command one chip spoil each other's answers, and a
/// recalibration that was disturbed lasts. Afterwards the chip measures; a gateway that starts opens it anew.
public struct Calibration: Sendable {
    /// What to do.
    public enum Action: Sendable, Equatable {
        /// Read its settings and its values.
        case show
        /// Have it test itself, which takes 10 s.
        case selfTest
        /// Tell it the true CO2 of the air around it, ppm, 400 to 5000.
        case recalibrate(reference: Int)
        /// How much warmer it is than the air, degrees Celsius, 0 to 20.
        case temperatureOffset(Double)
        /// Its height above sea level, metres, 0 to 3000.
        case altitude(Int)
        /// Whether it takes the lowest CO2 of a week for fresh air.
        case selfCalibration(Bool)
        /// Make all that it stores, corrections included, that of the factory.
        case factoryReset
    }

    /// Why there is nothing to do it with, or why it was not done.
    public enum Refusal: Error, Equatable, CustomStringConvertible {
        /// No station has this name.
        case unknownStation(String, known: [String])
        /// The station, or all of them, have no such chip.
        case noChip
        /// Several stations or chips have one.
        case ambiguous([String])
        /// The person said no.
        case declined

        /// One line for a person.
        public var description: String {
            switch self {
            case .unknownStation(let name, let known):
                "no station is called \(name); there are \(known.joined(separator: ", "))"
            case .noChip: "there is no SCD40 or SCD41 in the configuration; the other chips have nothing to calibrate"
            case .ambiguous(let stations):
                "several could be meant: name the station, --sensor \(stations.joined(separator: " or "))"
            case .declined: "nothing was changed"
            }
        }
    }

    private let settings: GatewaySettings
    private let station: String?
    private let action: Action
    private let persists: Bool

    /// Makes a calibration.
    /// - Parameters:
    ///   - settings: the gateway's.
    ///   - station: the station whose chip is meant; nil if only one has one.
    ///   - action: what to do.
    ///   - persists: whether a setting shall outlast a power cut; the chip's memory bears about 2000 writes.
    public init(settings: GatewaySettings, station: String?, action: Action, persists: Bool = false) {
        self.settings = settings
        self.station = station
        self.action = action
        self.persists = persists
    }

    /// Does it.
    /// - Parameters:
    ///   - confirm: shows a person what is going to happen and asks whether to go on.
    ///   - progress: called with what is being waited for.
    /// - Throws: `Refusal`; `BusError` if a gateway is using the bus; `ChipError`.
    public func run(
        confirm: @escaping @Sendable (String) async -> Bool,
        progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> CalibrationReport {
        let (index, chip, setup) = try target()
        let hardware = try settings.hardware(claim: .exclusive)
        var segments = BusSegments(settings.stations)
        let bus = segments.bus(of: chip.location, on: try hardware.bus(index, chip.location.bus))
        progress("opening the chip")
        let session = Session(
            settings: settings.stations[index], chip: chip, setup: setup, bus: bus, clock: hardware.clock,
            isSimulated: settings.mode == .simulated, confirm: confirm,
            progress: progress)
        // CO2 depends on the air's pressure: the station's barometer says it, if there is one.
        var pressure: Pressure?
        if let barometer = settings.stations[index].chips.first(where: { $0.type.quantities.contains(.pressure) }) {
            let bus = segments.bus(of: barometer.location, on: try hardware.bus(index, barometer.location.bus))
            pressure = await session.pressure(by: barometer, on: bus)
        }
        return try await session.perform(action, pressure: pressure, persists: persists)
    }

    /// The station's index, and its chip with its settings.
    private func target() throws(Refusal) -> (Int, ChipSettings, SCD4x.Settings) {
        let stations = settings.stations
        if let station, !stations.contains(where: { "\($0.sensorID)" == station }) {
            throw .unknownStation(station, known: stations.map { "\($0.sensorID)" })
        }
        let candidates = stations.indices.flatMap { index in
            stations[index].chips.compactMap { chip in
                (chip.setup as? SCD4x.Settings).map { (index, chip, $0) }
            }
        }.filter { station == nil || "\(stations[$0.0].sensorID)" == station }
        guard let first = candidates.first else { throw .noChip }
        guard candidates.count == 1 else { throw .ambiguous(candidates.map { "\(stations[$0.0].sensorID)" }) }
        return first
    }
}

/// One chip, opened for a person.
private struct Session {
    let settings: StationSettings
    let chip: ChipSettings
    let setup: SCD4x.Settings
    let bus: any I2CBus
    let clock: any Clock<Duration>
    let isSimulated: Bool
    let confirm: @Sendable (String) async -> Bool
    let progress: @Sendable (String) -> Void

    /// How far values may be apart in a minute of air that is steady: the chip's own accuracy at 400 ppm and more is 50 ppm
    /// and some percent (SCD4x datasheet 1.1).
    private static let steadiness = 50.0

    /// What a barometer measures; nil if it fails, which is no reason not to calibrate another chip.
    func pressure(by barometer: ChipSettings, on bus: any I2CBus) async -> Pressure? {
        let driver = try? await barometer.setup.open(bus: bus, address: barometer.location.address, clock: clock)
        return try? await driver?.measure().pressure
    }

    func perform(
        _ action: Calibration.Action, pressure: Pressure?, persists: Bool
    ) async throws -> CalibrationReport {
        // As it is: of the configuration's settings only the part and the mode, and single shots give no mode to settle in.
        var open = SCD4x.Settings(variant: setup.variant)
        open.mode = setup.mode == .lowPower ? .lowPower : .periodic
        let sensor = try await SCD4x.open(bus: bus, address: chip.location.address, settings: open, clock: clock)
        if let pressure, SCD4x.pressures.contains(pressure.hectopascals) {
            try await sensor.setAmbientPressure(pressure)
        }
        var report = CalibrationReport(
            station: settings.sensorID, location: chip.location, identity: sensor.identity,
            settings: try await sensor.readSettings())
        if isSimulated { report.notes.append("the chip is simulated: nothing of this outlasts the command") }
        switch action {
        case .show:
            report.reading = try await value(of: sensor)
        case .selfTest:
            progress("the chip tests itself: 10 s")
            report.selfTest = try await sensor.selfTest()
        case .recalibrate(let reference):
            try await recalibrate(sensor, reference: reference, &report)
        case .temperatureOffset(let offset):
            open.temperatureOffset = offset
            try await change(
                "temperature offset", "\(offset) °C", ("temperature_offset", "\(offset)"), to: open, persists, &report)
        case .altitude(let altitude):
            open.altitude = altitude
            try await change("altitude", "\(altitude) m", ("altitude", "\(altitude)"), to: open, persists, &report)
        case .selfCalibration(let isOn):
            open.automaticSelfCalibration = isOn
            try await change(
                "self-calibration", isOn ? "on" : "off", ("self_calibration", "\(isOn)"), to: open, persists, &report)
        case .factoryReset:
            let question =
                "\(report.name): everything that it stores becomes what the factory set: temperature offset, altitude,"
                + " self-calibration, and every recalibration that it has had. This cannot be undone."
            guard await confirm(question) else { throw Calibration.Refusal.declined }
            progress("resetting")
            try await sensor.factoryReset()
            report.before = report.settings
            report.settings = try await sensor.readSettings()
            report.notes.append("recalibrate it beside a reference before its values are relied on")
        }
        return report
    }

    /// The next value.
    private func value(of sensor: SCD4x) async throws(ChipError) -> Measurement {
        progress("waiting for a value: \(setup.mode == .lowPower ? "about 30 s" : "5 s")")
        return try await sensor.measure()
    }

    /// Writes a setting, reads it back, and stores it if that is asked for.
    private func change(
        _ name: String, _ value: String, _ line: (key: String, value: String), to new: SCD4x.Settings,
        _ persists: Bool, _ report: inout CalibrationReport
    ) async throws {
        let storing =
            persists
            ? "It is stored in the chip, whose memory bears about 2000 writes."
            : "It is lost when the chip loses its power."
        guard await confirm("\(report.name): its \(name) becomes \(value). \(storing)") else {
            throw Calibration.Refusal.declined
        }
        progress("writing")
        let sensor = try await SCD4x.open(bus: bus, address: chip.location.address, settings: new, clock: clock)
        if persists { try await sensor.persistSettings() }
        report.before = report.settings
        report.settings = try await sensor.readSettings()
        report.isPersisted = persists
        report.notes.append(
            "a gateway writes what its configuration says whenever it opens the chip: set \(line.key): \(line.value) there"
        )
    }

    /// Lets the chip measure for three minutes, and tells it the truth.
    private func recalibrate(
        _ sensor: SCD4x, reference: Int, _ report: inout CalibrationReport
    ) async throws {
        let first = try await value(of: sensor)
        let question = """
            \(report.name) reads \(CalibrationReport.text(of: first.co2)).
            It shall take the air that it measures for \(reference) ppm from now on, also after a power cut.
            The chip and the reference instrument must be in the same steady air: outdoors or at an open window, out of \
            anybody's breath, for three minutes from now.
            """
        guard await confirm(question) else { throw Calibration.Refusal.declined }
        var recent: [(time: Duration, co2: Double)] = []
        while true {
            let time = await sensor.measuringTime
            let left = SCD4x.settlingTime - time
            if left <= .zero { break }
            if let co2 = try await sensor.measure().co2?.partsPerMillion {
                recent.append((time, co2))
                recent.removeAll { time - $0.time > .seconds(60) }
            }
            let seconds = left.components.seconds + 1
            let now = recent.last.map { ", now \(Int($0.co2)) ppm" } ?? ""
            progress(
                "keep the air steady: \(seconds / 60) min \(seconds % 60) s left\(now), reference \(reference) ppm")
            try await clock.sleep(for: min(left, .seconds(1)))
        }
        let values = recent.map(\.co2)
        if let least = values.min(), let most = values.max(), most - least > Self.steadiness {
            let question =
                "The air is not steady: from \(Int(least)) to \(Int(most)) ppm in the last minute. The correction would be"
                + " wrong by about as much."
            guard await confirm(question) else { throw Calibration.Refusal.declined }
        }
        progress("recalibrating")
        report.reference = reference
        report.correction = try await sensor.forcedRecalibration(
            target: Concentration(partsPerMillion: Double(reference)))
        report.readingBefore = values.last.map { Measurement(co2: Concentration(partsPerMillion: $0)) } ?? first
        report.reading = try await value(of: sensor)
        if report.settings.automaticSelfCalibration {
            report.notes.append(
                "self-calibration is on: where the room never has fresh air it moves this correction within days; turn it"
                    + " off with: calibrate self-calibration off --persist")
        }
    }
}
