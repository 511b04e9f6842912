import Configuration
import Foundation
import Presentation
import Readings
import SensorBus
import Testing

@testable import BoardTools
@testable import GatewayCore
@testable import SensorDrivers

@Suite struct SampleReportTests {
    private let stations = """
          - {sensor_id: hall, chips: [{type: bme280}, {type: sht4x}, {type: ads1115, chemistry: li_ion}]}
          - {sensor_id: vault, chips: [{type: bme280}]}
        """

    @Test func everyStationIsReadAndEveryValueSaysItsChip() async throws {
        let gateway = Gateway(try settings(stations: stations))
        let report = try await gateway.sample()
        #expect(report.problems.isEmpty)
        #expect(report.stations.map { "\($0.reading.sensorID)" } == ["hall", "vault"])
        let hall = report.stations[0]
        #expect(
            hall.values.map(\.quantity) == ["temperature", "humidity", "pressure", "battery_level", "battery_voltage"])
        #expect(hall.values.map(\.source) == [0, 0, 0, 2, 2])
        #expect(hall.chips.map(\.identity?.part) == ["BME280", "SHT4x", "ADS1115"])
        #expect(hall.reading.isSimulated && hall.reading.sequence == 0)
        let text = report.text(.plain, isVerbose: true)
        #expect(text.contains("hPa   bme280 at 0x76\n") && text.contains("serial number 0x0D206101\n"))
        #expect(!report.text(.plain, isVerbose: false).contains("serial number"))
    }

    @Test func oneStationCanBeChosen() async throws {
        let gateway = Gateway(try settings(stations: stations))
        #expect(try await gateway.sample(station: "vault").stations.count == 1)
        do {
            _ = try await gateway.sample(station: "attic")
            Issue.record("a station is found that there is not")
        } catch let error as Gateway.UnknownStation {
            #expect(error.description == "no station is called attic; there are hall, vault")
        }
    }

    /// A report of a station whose second chip fails.
    private func failing() throws -> SampleReport {
        let station = try settings(stations: stations).stations[0]
        let chip = Identifier(constant: "sht4x")
        let error = ChipError(
            .bus(BusError(.notAcknowledged, bus: "/dev/i2c-1", address: 0x44)), chip: chip, address: 0x44, step: "reset"
        )
        let results: [Int: Result<SensorDrivers.Measurement, ChipError>] = [
            0: .success(
                SensorDrivers.Measurement(
                    temperature: Temperature(celsius: 21.456), humidity: RelativeHumidity(percent: 40),
                    pressure: Pressure(hectopascals: 1013.25))),
            1: .failure(error), 2: .success(SensorDrivers.Measurement()),
        ]
        let composition = Composition(station, station.chips.indices.map { results[$0] })
        let reading = Reading(
            gatewayID: Identifier(constant: "bench"), sensorID: Identifier(constant: "hall"),
            streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_772_000_000_000),
            timeQuality: .estimated, intervalMilliseconds: 1000, values: composition.values,
            faults: composition.faults)
        let identities = [
            ChipIdentity(
                part: "BMP280", facts: [.init("chip id", "0x58")], remark: "sold as a BME280: it has no humidity"),
            nil, ChipIdentity(part: "ADS1115"),
        ]
        return SampleReport(stations: [
            SampleReport.Station(
                station, reading: reading, composition: composition, results: results, identities: identities)
        ])
    }

    @Test func aChipThatFailsIsSaidWithItsRemedy() throws {
        let report = try failing()
        #expect(report.problems.count == 1)
        let text = report.text(.plain, isVerbose: false)
        #expect(
            text == """
                hall  2026-02-25T06:13:20.000Z  clock not synchronised
                  quantity       value  unit  from
                  temperature    21.46  °C    bme280 at 0x76
                  humidity        40.0  %RH   bme280 at 0x76
                  pressure     1,013.3  hPa   bme280 at 0x76
                  ! bme280 at 0x76: sold as a BME280: it has no humidity
                  ✗ sht4x at 0x44 on bus 1: reset: /dev/i2c-1 0x44: not acknowledged; check the wiring, the chip's \
                power and its address

                """)
        let verbose = report.text(.plain, isVerbose: true)
        #expect(verbose.contains("  sht4x    0x44 on bus 1  it never answered\n"))
        #expect(verbose.contains("                          ! sold as a BME280: it has no humidity\n"))
        #expect(verbose.contains("  ADS1115  0x48 on bus 1\n"))
    }

    @Test func theJSONHoldsTheReadingAndTheDetails() throws {
        let json = try object(try failing().json)
        let station = try #require((json["stations"] as? [[String: Any]])?.first)
        let reading = try #require(station["reading"] as? [String: Any])
        #expect(reading["seq"] as? Int == 0 && reading["faults"] as? [String] == ["sht4x:not_acknowledged"])
        let values = try #require(station["values"] as? [[String: Any]])
        #expect(values.map { $0["quantity"] as? String } == ["temperature", "humidity", "pressure"])
        #expect(values[0]["chip"] as? String == "bme280" && values[0]["address"] as? String == "0x76")
        let chips = try #require(station["chips"] as? [[String: Any]])
        #expect(chips[0]["fault"] is NSNull && chips[1]["fault"] as? String == "sht4x:not_acknowledged")
        #expect((chips[1]["error"] as? String)?.contains("check the wiring") == true && chips[1]["part"] is NSNull)
        #expect((chips[0]["measured"] as? [String: Double])?["pressure"] == 1013.25)
        #expect(chips[0]["remark"] as? String == "sold as a BME280: it has no humidity")
    }
}
