import Configuration
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import GatewayCore

/// A configuration as simulated hardware of the kernel.
@Suite struct SimulatedBoardTests {
    private let clock = ImmediateClock()

    private func board(_ settings: GatewaySettings) throws(SimulatedBoard.Conflict) -> SimulatedBoard {
        try SimulatedBoard(
            settings, base: { ConstantEnvironment(Conditions(battery: 3 + Double($0))) }, clock: clock)
    }

    @Test func everyChipIsOnItsBusInItsStationsAir() async throws {
        let settings = try settings(
            stations: """
                  - sensor_id: cellar
                    chips:
                      - {type: bme280, bus: 2}
                      - {type: ads1115, bus: 1, divider: {upper: 100000, lower: 100000}}
                  - sensor_id: roof
                    chips: [{type: bme280, bus: 2, address: 0x77}, {type: ads1115, bus: 2}]
                """)
        let board = try board(settings)
        #expect(board.stations.map(\.name) == ["cellar", "roof"])
        #expect(
            board.chips.map { "\($0.station) \($0.name) \($0.bus) \($0.address)" } == [
                "cellar bme280 2 0x76", "cellar ads1115 1 0x48", "roof bme280 2 0x77", "roof ads1115 2 0x48",
            ])
        let buses = try [#require(board.buses[1]), #require(board.buses[2])]
        #expect(board.buses.count == 2)
        #expect(try buses[1].write([0xD0], thenRead: 1, at: 0x76) == [0x60])
        #expect(try buses[1].write([0xD0], thenRead: 1, at: 0x77) == [0x60])
        #expect(throws: BusError.self) { try buses[0].write([], to: 0x76) }
        for bus in buses { try bus.write([0x01, 0xC3, 0x83], to: 0x48) }
        try await clock.sleep(for: .milliseconds(9))
        // 3 V halved, and 4 V, at 125 microvolts a step.
        #expect(try buses[0].write([0x00], thenRead: 2, at: 0x48) == [0x2E, 0xE0])
        #expect(try buses[1].write([0x00], thenRead: 2, at: 0x48) == [0x7D, 0x00])

        board.chips[0].faults.set(.unplug, true)
        #expect(throws: BusError.self) { try buses[1].write([], to: 0x76) }
        try buses[1].write([], to: 0x77)
        board.setPower(false)
        #expect(throws: BusError.self) { try buses[1].write([], to: 0x77) }
    }

    @Test func oneAddressIsForOneChip() throws {
        let settings = try settings(
            stations: """
                  - {sensor_id: cellar, chips: [{type: bme280}]}
                  - {sensor_id: roof, chips: [{type: bme280}]}
                """)
        do {
            _ = try board(settings)
            Issue.record("two chips at one address")
        } catch {
            #expect("\(error)" == "bus 1, 0x76, stations cellar and roof: another chip has this address")
        }
    }

    @Test func chipsBehindAMultiplexerAreReachedThroughIt() async throws {
        let settings = try settings(
            stations: """
                  - {sensor_id: cellar, chips: [{type: bme280, multiplexer: {address: 0x70, channel: 0}}]}
                  - {sensor_id: roof, chips: [{type: bme280, multiplexer: {address: 0x70, channel: 3}}]}
                """)
        let board = try board(settings)
        #expect(board.chips.map(\.name) == ["tca9548a", "bme280", "bme280"])
        #expect(board.chips.map { $0.channel?.number } == [nil, 0, 3])
        let bus = try #require(board.buses[1])
        #expect(throws: BusError.self) { try bus.write([], to: 0x76) }
        try bus.write([1 << 3], to: 0x70)
        try bus.write([], to: 0x76)
        // Without the supply the multiplexer forgets what was open.
        board.setPower(false)
        #expect(throws: BusError.self) { try bus.write([], to: 0x70) }
        try await clock.sleep(for: .milliseconds(1))
        board.setPower(true)
        #expect(try bus.read(1, from: 0x70) == [0])
    }

    @Test func theBoardsLinesOnAChip() throws {
        let settings = try settings(
            stations: "  - {sensor_id: cellar, chips: [{type: bme280}]}",
            more: """
                board:
                  power_good: {chip: cp2112_gpio, line: 2}
                  charging: {chip: other, line: 3}
                  sensor_power: {chip: cp2112_gpio, line: 5, active_low: true}
                  status_light: {line: GPIO24}
                """)
        #expect(
            settings.boardLines(chip: "cp2112_gpio") == [
                BoardLine(role: .powerGood, offset: 2, isActiveLow: false),
                BoardLine(role: .sensorPower, offset: 5, isActiveLow: true),
            ])
    }
}
