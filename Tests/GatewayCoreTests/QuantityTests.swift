import Configuration
import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import Testing

@testable import GatewayCore

/// Which chip gives what, and how it is corrected.
@Suite struct QuantityTests {
    /// Two barometers and a CO2 chip; the one in the duct comes first.
    private func station(_ more: String = "", duct: String = "", room: String = "") throws -> StationSettings {
        try settings(
            stations: """
                  - sensor_id: hall
                    \(more)
                    chips:
                      - {type: bme280, name: duct, address: 0x77\(duct)}
                      - {type: bme280, name: room, address: 0x76\(room)}
                      - {type: scd41}
                """
        ).stations[0]
    }

    private func measured(_ celsius: Double, humidity: Double? = nil, pressure: Double? = nil, co2: Double? = nil)
        -> Result<Measurement, ChipError>
    {
        .success(
            Measurement(
                temperature: Temperature(celsius: celsius), humidity: humidity.map { RelativeHumidity(percent: $0) },
                co2: co2.map { Concentration(partsPerMillion: $0) },
                pressure: pressure.map { Pressure(hectopascals: $0) }))
    }

    private func failed(_ chip: StaticString, _ kind: ChipError.Kind) -> Result<Measurement, ChipError> {
        .failure(ChipError(kind, chip: Identifier(constant: chip), address: 0x76, step: "read"))
    }

    private func faults(_ composition: Composition) -> [String] { composition.faults.map(\.description) }

    @Test func withoutASettingTheOrderOfTheChipsDecides() throws {
        let composition = Composition(
            try station(), [measured(20, pressure: 1000), measured(21, humidity: 50), measured(22, co2: 600)])
        #expect(composition.values == [.temperature: 20, .humidity: 50, .co2: 600, .pressure: 1000])
        #expect(composition.faults.isEmpty)
    }

    @Test func theSettingDecidesOneQuantityAtATime() throws {
        let station = try station("quantities: {temperature: [scd41, room], humidity: [room]}")
        let all = [
            measured(20, humidity: 40, pressure: 1000), measured(21, humidity: 50, pressure: 1001),
            measured(22, humidity: 60, co2: 600),
        ]
        #expect(
            Composition(station, all).values == [.temperature: 22, .humidity: 50, .co2: 600, .pressure: 1000])
        // The preferred chip fails: the next takes its place, and the fault says so.
        let withoutCO2 = Composition(station, [all[0], all[1], failed("scd41", .notReady)])
        #expect(withoutCO2.values == [.temperature: 21, .humidity: 50, .pressure: 1000])
        #expect(faults(withoutCO2) == ["scd41:not_ready"])
        // A chip that is not named for a quantity does not give it, whatever happens.
        let onlyDuct = Composition(station, [all[0], failed("bme280", .timedOut), failed("scd41", .notReady)])
        #expect(onlyDuct.values == [.pressure: 1000])
        #expect(faults(onlyDuct) == ["room:timed_out", "scd41:not_ready"])
    }

    @Test func aCorrectionBelongsToOneQuantityOfOneChip() throws {
        let station = try station(
            duct: ", calibration: {temperature: {gain: 1.5, offset: -2}, pressure: {offset: 3}}",
            room: ", calibration: {temperature: {offset: 0.5}}")
        // The gain first, then the offset.
        let duct = Composition(station, [measured(20, humidity: 40, pressure: 1000), measured(21), measured(22)])
        #expect(duct.values == [.temperature: 28, .humidity: 40, .pressure: 1003])
        let room = Composition(station, [failed("bme280", .timedOut), measured(21), measured(22)])
        #expect(room.values == [.temperature: 21.5])
        // Another chip's values are as it gave them.
        let other = Composition(station, [failed("bme280", .timedOut), failed("bme280", .timedOut), measured(22)])
        #expect(other.values == [.temperature: 22])
    }

    /// A value that no air has is a fault, and the next chip's takes its place. Saturated air is 100 %, dry air 0 %.
    @Test(arguments: [
        (50.0, 60.0 as Double?), (90, 100), (95, 100), (95.5, nil), (-10, 0), (-15, 0), (-15.5, nil), (.nan, nil),
        (.infinity, nil),
    ])
    func aCorrectedValueIsOneThatAirCanHave(raw: Double, expected: Double?) throws {
        let station = try station(duct: ", calibration: {humidity: {offset: 10}}")
        let composition = Composition(
            station, [measured(20, humidity: raw), measured(21, humidity: 55), measured(22, humidity: 60)])
        #expect(composition.values[.humidity] == expected ?? 55)
        #expect(faults(composition) == (expected == nil ? ["duct:out_of_range"] : []))
        // The chip's other quantities are what they are.
        #expect(composition.values[.temperature] == 20)
    }

    @Test(arguments: [
        ("quantities: {temperature: [attic]}", "", "temperature: no chip is called attic; there are duct, room, scd41"),
        ("quantities: {co2: [room]}", "", "co2: room does not measure it"),
        ("quantities: {co2: [scd41, scd41]}", "", "co2: scd41 stands here twice"),
        ("quantities: {ozone: [room]}", "", #"unknown key "ozone""#),
        ("", ", calibration: {co2: {offset: 3}}", #"chip "bme280": calibration: co2: a bme280 does not measure it"#),
        ("", ", calibration: {temperature: {offset: 21}}", "offset: expected a number between -20.0 and 20.0"),
        ("", ", calibration: {temperature: {gain: 0}}", "gain: expected a number between 0.5 and 2.0"),
        ("", ", calibration: {temperature: {slope: 1}}", #"unknown key "slope""#),
        ("", ", calibration: {battery: {offset: 0}}", "the battery's correction is its divider"),
    ])
    func mistakesAreNamedWithTheirPlace(more: String, duct: String, message: String) {
        do {
            _ = try station(more, duct: duct)
            Issue.record("accepted")
        } catch {
            let problems = (error as? ConfigurationError)?.problems.map(\.description) ?? ["\(error)"]
            #expect(problems.count == 1 && problems[0].contains(message), "\(problems)")
            #expect(problems.allSatisfy { $0.hasPrefix("gateway.yaml:\(duct.isEmpty ? 8 : 10): station \"hall\": ") })
        }
    }

    @Test func twoOfAKindNeedNames() {
        #expect {
            try settings(
                stations: """
                      - sensor_id: hall
                        chips: [{type: bme280, address: 0x76}, {type: bme280, address: 0x77}]
                    """)
        } throws: { error in
            "\(error)".contains("another chip is called bme280: give this one a name of its own")
        }
    }
}
