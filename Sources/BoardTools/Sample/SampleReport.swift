import GatewayCore
import Monitoring
import Platform
import Readings
import SensorBus
import SensorDrivers

/// What every station gave, read once.
public struct SampleReport: Sendable {
    /// A quantity of the reading.
    struct Value: Sendable {
        /// The contract's name of it.
        var quantity: String
        var number: Double
        var unit: String
        /// Digits behind the point that mean something.
        var digits: Int
        /// The chip that gave it.
        var source: Int?
    }

    /// A chip of the station.
    struct Chip: Sendable {
        var settings: ChipSettings
        /// What it measured, or why not; nil: it was not asked.
        var result: Result<Measurement, ChipError>?
        /// As the reading has it; nil if all is well.
        var fault: Fault?
        /// What it said of itself; nil if it was never open.
        var identity: ChipIdentity?

        var error: ChipError? {
            if case .failure(let error)? = result { error } else { nil }
        }
    }

    struct Station: Sendable {
        var reading: Reading
        var values: [Value]
        var chips: [Chip]
    }

    var stations: [Station]

    /// What failed, a sentence each; empty if nothing did.
    public var problems: [String] {
        stations.flatMap { station in
            station.chips.compactMap { chip in chip.problem.map { "\(station.reading.sensorID): \($0)" } }
        }
    }
}

extension SampleReport.Chip {
    /// Such as `bme280 at 0x76`.
    var label: String { "\(settings.name) at \(settings.location.address)" }

    /// Why it gave nothing, or not all, and what to do; nil if all is well.
    var problem: String? {
        guard let fault else { return nil }
        guard let error else {
            return
                "\(settings.name) at \(settings.location): \(fault.kind): a value cannot be true; check its calibration"
                + " in the configuration, and the chip"
        }
        return "\(settings.name) at \(settings.location): \(error.step): \(error.kind)"
    }
}

extension SampleReport.Value {
    /// What the reading has, in the contract's order.
    static func all(of composition: Composition) -> [SampleReport.Value] {
        composition.values.present.members.compactMap { quantity in
            composition.values[quantity].map { number in
                let source: Quantity = quantity == .batteryLevel ? .batteryVoltage : quantity
                return SampleReport.Value(
                    quantity: quantity.name, number: number, unit: quantity.unit, digits: quantity.digits,
                    source: composition.winners[source])
            }
        }
    }
}

extension Gateway {
    /// No station has this name.
    public struct UnknownStation: Error, CustomStringConvertible {
        /// The name.
        public var name: String
        /// Those that there are.
        public var known: [String]

        /// One line for a person.
        public var description: String { "no station is called \(name); there are \(known.joined(separator: ", "))" }
    }

    /// Reads every station once, all at the same time; nothing is recorded.
    /// - Parameters:
    ///   - station: the only one to read; nil: all.
    ///   - progress: called with what is being waited for.
    /// - Throws: `UnknownStation`; `BusError` if a bus cannot be opened or a gateway is using it.
    public func sample(
        station name: String? = nil, progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> SampleReport {
        // The report says what failed; a log line about it would only stand in its way.
        let quiet = LogOutput.standardError
        quiet.minimum = .error
        var stations = try stationsToObserve()
        if let name {
            let known = stations.map { "\($0.settings.sensorID)" }
            stations = stations.filter { "\($0.settings.sensorID)" == name }
            if stations.isEmpty { throw UnknownStation(name: name, known: known) }
        }
        progress(
            "sampling \(stations.map { "\($0.settings.sensorID)" }.joined(separator: ", "))"
                + " (a CO2 sensor has its first value after 5 to 30 s)")
        let sampled = try await stations.onTheirTime { stations in
            try await withThrowingTaskGroup(of: (Int, SampleReport.Station).self) { group in
                for (index, station) in stations.enumerated() {
                    group.addTask { (index, try await SampleReport.Station(station)) }
                }
                var sampled: [Int: SampleReport.Station] = [:]
                for try await (index, station) in group { sampled[index] = station }
                return sampled
            }
        }
        return SampleReport(stations: stations.indices.compactMap { sampled[$0] })
    }
}

extension SampleReport.Station {
    fileprivate init(_ station: GatewayCore.Station) async throws {
        let observation = try await station.observe()
        var identities: [ChipIdentity?] = []
        for chip in station.chips {
            var identity = await chip.identity
            if let settings = await chip.settingsInForce() {
                identity?.facts += settings.lines.map { ChipIdentity.Fact($0.name, $0.value) }
            }
            identities.append(identity)
        }
        self.init(
            station.settings, reading: observation.record.reading, composition: observation.composition,
            results: observation.results, identities: identities)
    }

    init(
        _ settings: StationSettings, reading: Reading, composition: Composition,
        results: [Int: Result<Measurement, ChipError>], identities: [ChipIdentity?]
    ) {
        self.reading = reading
        values = SampleReport.Value.all(of: composition)
        chips = settings.chips.indices.map { index in
            SampleReport.Chip(
                settings: settings.chips[index], result: results[index], fault: composition.chipFaults[index],
                identity: identities[index])
        }
    }
}
