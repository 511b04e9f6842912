import Configuration
import Foundation
import Readings
import SensorDrivers
import Testing

@testable import GatewayCore

@Suite struct GatewaySettingsTests {
    /// The problems of a gateway's text.
    private func problems(stations: String, more: String = "") -> [String] {
        do {
            _ = try settings(stations: stations, more: more)
            return []
        } catch {
            return (error as? ConfigurationError)?.problems.map(\.description) ?? ["\(error)"]
        }
    }

    /// The configuration that is shipped is valid, and what it calls defaults are the defaults.
    @Test func theShippedExampleSaysTheDefaults() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../configuration/gateway.yaml").standardizedFileURL.path
        let shipped = try GatewaySettings(file: file)
        let least = try settings(stations: "  - {sensor_id: cellar-air, chips: [{type: bme280}]}")
        #expect(shipped.outboxLimits == least.outboxLimits)
        #expect(shipped.topic == least.topic)
        #expect(shipped.window == least.window)
        #expect(shipped.drainTime == least.drainTime)
        #expect(shipped.clock == least.clock)
        #expect(shipped.logLevel == least.logLevel)
        #expect(shipped.simulation.seed == least.simulation.seed)
        #expect(shipped.simulation.speed == least.simulation.speed)
        #expect(shipped.stations[0].interval == least.stations[0].interval)
        #expect(shipped.stations[0].chips.map(\.location.address) == [0x76, 0x62, 0x48])
        #expect(shipped.stations[0].place == Place(latitude: 48.8566, longitude: 2.3522))
        #expect(shipped.outboxPath.hasSuffix("/configuration/outbox.sqlite"))
        #expect(least.monitoring == nil)
    }

    @Test func everyMistakeIsNamedWithItsPlace() {
        let found = problems(
            stations: """
                  - sensor_id: "the hall"
                    interval: 1ms
                    place: {latitude: 91, longitude: 0}
                    chips:
                      - {type: bme680}
                      - {type: ads1115, address: 0x76, channel: 4, chemistry: lead, range: 5, data_rate: 100}
                      - {type: scd41, altitud: 100}
                      - {type: sht4x, address: 0x47, precision: highest}
                      - {type: scd40, bus: 2, mode: single_shot, self_calibration_target: 300}
                      - {type: scd41, name: two, bus: 3, power_down: true}
                """)
        let expected = [
            #"gateway.yaml:7: station "the hall": sensor_id: expected a name"#,
            #"gateway.yaml:8: station "the hall": interval: expected a duration such as 10s between 10ms and 1d, found "1ms""#,
            #"gateway.yaml:9: station "the hall": place: latitude: expected a number between -90.0 and 90.0, found "91""#,
            #"gateway.yaml:11: station "the hall": chip "bme680": type: expected one of bme280, bmp280, bmp388, bmp390, scd40, scd41, sht3x, sht4x, aht20, sen55, ads1115"#,
            #"gateway.yaml:12: station "the hall": chip "ads1115": address: expected one of its addresses: 0x48, 0x49, 0x4a, 0x4b, found "0x76""#,
            #"gateway.yaml:12: station "the hall": chip "ads1115": channel: expected a channel of 0 to 3"#,
            #"gateway.yaml:12: station "the hall": chip "ads1115": chemistry: expected one of li_ion, lifepo4"#,
            #"gateway.yaml:12: station "the hall": chip "ads1115": range: expected one of 6.144, 4.096, 2.048, 1.024, 0.512, 0.256 (volts)"#,
            #"gateway.yaml:12: station "the hall": chip "ads1115": data_rate: expected one of 8, 16, 32, 64, 128, 250, 475, 860 (conversions a second)"#,
            #"gateway.yaml:13: station "the hall": chip "scd41": unknown key "altitud": did you mean "altitude"?"#,
            #"gateway.yaml:14: station "the hall": chip "sht4x": address: expected one of its addresses: 0x44, 0x45, 0x46"#,
            #"gateway.yaml:14: station "the hall": chip "sht4x": precision: expected one of high, medium, low"#,
            #"gateway.yaml:15: station "the hall": chip "scd40": mode: an SCD40 has no single shots: periodic or low_power"#,
            #"gateway.yaml:15: station "the hall": chip "scd40": self_calibration_target: expected a whole number between 400 and 5000"#,
            #"gateway.yaml:16: station "the hall": chip "scd41": power_down: it is powered down between single shots only"#,
        ]
        #expect(found.count == expected.count, "\(found)")
        for (problem, beginning) in zip(found, expected) { #expect(problem.hasPrefix(beginning), "\(problem)") }
    }

    @Test(arguments: [
        ("  []", "", "at least one station is needed"),
        ("  - {sensor_id: a, chips: []}", "", "at least one chip is needed"),
        (
            "  - {sensor_id: a, chips: [{type: bme280}]}\n  - {sensor_id: a, chips: [{type: bme280}]}", "",
            "another station has this name"
        ),
        ("  - {sensor_id: a, chips: [{type: bme280}, {type: bme280}]}", "", "another chip has this address"),
        (
            "  - {sensor_id: a, chips: [{type: bme280}, {type: bmp280, multiplexer: {channel: 1}}]}", "",
            "another chip has this address, one of them behind a multiplexer and one not"
        ),
        (
            "  - {sensor_id: a, multiplexer: {channel: 1}, chips: [{type: bme280}, {type: bmp280}]}", "",
            "another chip has this address"
        ),
        (
            "  - {sensor_id: a, chips: [{type: bme280}, {type: sht4x, multiplexer: {address: 0x76, channel: 1}}]}", "",
            "a multiplexer has the address of a chip"
        ),
        (
            "  - {sensor_id: a, multiplexer: {address: 0x77, channel: 1}, chips: [{type: bme280, address: 0x77}]}", "",
            "its multiplexer has this address"
        ),
        (
            "  - {sensor_id: a, interval: 11s, chips: [{type: scd41, mode: single_shot, power_down: true}]}", "",
            "a sample takes 10.0 seconds, and the station's interval is too short for that"
        ),
        (
            "  - {sensor_id: a, interval: 59ms, chips: [{type: scd41, mode: single_shot_without_co2}]}", "",
            "a sample takes 0.05 seconds"
        ),
        (
            "  - {sensor_id: a, quantities: {co2: [scd41]}, chips: [{type: scd41, mode: single_shot_without_co2}]}", "",
            "scd41 does not measure it"
        ),
        ("  - {sensor_id: a, multiplexer: {}, chips: [{type: bme280}]}", "", "missing \"channel\""),
        (
            "  - {sensor_id: a, multiplexer: {channel: 8}, chips: [{type: bme280}]}", "",
            "channel: expected a whole number between 0 and 7"
        ),
        (
            "  - {sensor_id: a, multiplexer: {address: 0x6f, channel: 7}, chips: [{type: bme280}]}", "",
            "address: expected one of its addresses: 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77"
        ),
        (
            "  - {sensor_id: a, chips: [{type: bme280}]}",
            "simulation: {faults: [{sensor_id: a, chip: scd41, kind: nack}]}", "no such chip; there are bme280 of a"
        ),
    ])
    func whatExcludesItselfIsRefused(stations: String, more: String, message: String) {
        let found = problems(stations: stations, more: more)
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    /// On real buses, stations share addresses only behind different channels.
    @Test func stationsMeetOnABus() throws {
        func problems(_ stations: String) -> [String] {
            let text = """
                gateway: {id: a}
                mode: hardware
                outbox: {path: a}
                kafka: {bootstrap: "a:1"}
                stations:
                \(stations)
                """
            do {
                _ = try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml"))
                return []
            } catch {
                return error.problems.map(\.description)
            }
        }
        let chips = "chips: [{type: bme280}, {type: scd41}]"
        #expect(
            problems(
                """
                - {sensor_id: a, multiplexer: {channel: 0}, \(chips)}
                - {sensor_id: b, multiplexer: {channel: 1}, \(chips)}
                - {sensor_id: c, multiplexer: {address: 0x71, channel: 1}, \(chips)}
                - {sensor_id: d, chips: [{type: bme280, bus: 3}, {type: sht4x}]}
                """) == [])
        let found = problems(
            """
            - {sensor_id: a, multiplexer: {channel: 0}, \(chips)}
            - {sensor_id: b, multiplexer: {channel: 0}, chips: [{type: bmp280}, {type: sht4x}]}
            - {sensor_id: c, chips: [{type: scd40}]}
            """)
        #expect(
            found == [
                #"gateway.yaml:7: station "b": chips: 0x76, in another station: another chip has this address"#,
                #"gateway.yaml:8: station "c": chips: 0x62, in another station: another chip has this address, one of them behind a multiplexer and one not"#,
            ])
    }

    @Test func everyChipHasItsSettings() throws {
        let chips = try settings(
            stations: """
                  - sensor_id: a
                    interval: 1m
                    chips:
                      - {type: bmp280}
                      - {type: scd41, mode: single_shot, power_down: true, temperature_offset: 2.5, altitude: 120,
                         self_calibration: false, self_calibration_target: 420}
                      - {type: sht3x, address: 0x45, precision: low}
                      - {type: sht4x, precision: medium}
                      - {type: ads1115, channel: 3, range: 0.512, data_rate: 860, chemistry: lifepo4}
                """
        ).stations[0].chips
        #expect((chips[0].setup as? BME280.Settings)?.variant == .bmp280)
        #expect(
            chips[1].setup as? SCD4x.Settings
                == .init(
                    variant: .scd41, mode: .singleShot, isPoweredDown: true, temperatureOffset: 2.5, altitude: 120,
                    automaticSelfCalibration: false, selfCalibrationTarget: 420))
        #expect((chips[2].setup as? SHT3x.Settings)?.precision == .low && chips[2].location.address == 0x45)
        #expect((chips[3].setup as? SHT4x.Settings)?.precision == .medium)
        #expect(
            chips[4].setup as? ADS1115.Settings
                == .init(input: .a3, range: .volts0_512, rate: .perSecond860, curve: .liFePO4))
    }

    @Test(arguments: [
        "interval: 6s, chips: [{type: scd41, mode: single_shot}]",
        "interval: 12s, chips: [{type: scd41, mode: single_shot, power_down: true}]",
        "interval: 10ms, chips: [{type: scd41}]",
    ])
    func intervalsThatASingleShotFits(station: String) throws {
        _ = try settings(stations: "  - {sensor_id: a, \(station)}")
    }

    /// A chip's own channel stands before its station's.
    @Test func aChipIsBehindItsOwnChannelOrItsStations() throws {
        let chips = try settings(
            stations:
                "  - {sensor_id: a, multiplexer: {channel: 2}, chips: [{type: bme280}, {type: bmp280, multiplexer: {address: 0x71, channel: 3}}]}"
        ).stations[0].chips
        #expect(chips.map { $0.location.channel?.multiplexer } == [0x70, 0x71])
        #expect(chips.map { $0.location.channel?.number } == [2, 3])
    }

    /// A secret belongs in a file of its own.
    @Test func aPasswordIsNoSetting() throws {
        let text = """
            gateway: {id: a}
            mode: hardware
            outbox: {path: a}
            kafka: {bootstrap: "a:1", password: secret}
            stations: [{sensor_id: a, chips: [{type: bme280}]}]
            """
        #expect(throws: ConfigurationError.self) {
            try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml"))
        }
    }
}
