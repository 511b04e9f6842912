import Configuration
import Foundation
import SensorBus
import Testing

@testable import GatewayCore

@Suite struct BoardSettingsTests {
    private static let station = "  - {sensor_id: a, chips: [{type: bme280}]}"

    private func board(_ text: String) throws -> BoardSettings {
        try settings(stations: Self.station, more: "board:\n" + text).board
    }

    /// The problems of a board's text, whose first line is line 6 of the file.
    private func problems(_ text: String) -> [String] {
        do {
            _ = try board(text)
            return []
        } catch {
            return (error as? ConfigurationError)?.problems.map(\.description) ?? ["\(error)"]
        }
    }

    @Test func nothingIsWiredUnlessItIsSaid() throws {
        let board = try settings(stations: Self.station).board
        #expect(board == BoardSettings(nil))
        #expect(
            board.powerGood == nil && board.charging == nil && board.sensorPower == nil && board.statusLight == nil)
    }

    /// The board in the shipped configuration, which is a comment there, is valid, and what it calls defaults are the
    /// defaults.
    @Test func theShippedExampleSaysTheDefaults() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../configuration/gateway.yaml").standardizedFileURL
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        let text = lines.drop { $0 != "# board:" }.dropFirst().prefix { $0.hasPrefix("#   ") }
            .map { String($0.dropFirst(2)) }.joined(separator: "\n")
        let shipped = try board(text)
        let least = try board(
            """
              power_good: {line: GPIO17}
              charging: {line: GPIO27, active_low: true, bias: pull_up}
              sensor_power: {line: GPIO22}
              status_light: {line: GPIO24}
            """)
        #expect(shipped == least)
        #expect(least.powerGood?.options == GPIOInputOptions(debounce: .milliseconds(50)))
        #expect(
            least.charging?.options
                == GPIOInputOptions(isActiveLow: true, bias: .pullUp, debounce: .milliseconds(50)))
        #expect(least.sensorPower?.output.options == GPIOOutputOptions())
        #expect(least.sensorPower?.settleTime == .milliseconds(1500))
    }

    @Test func aLineIsANameOrANumberOnAChip() throws {
        #expect(
            try board("  status_light: {line: 24, chip: pinctrl-rp1}").statusLight?.line
                == .offset(24, chip: "pinctrl-rp1"))
        #expect(
            try board("  status_light: {line: GPIO24, chip: /dev/gpiochip0, open_drain: true}").statusLight
                == BoardSettings.Output(
                    line: .name("GPIO24", chip: "/dev/gpiochip0"), options: GPIOOutputOptions(isOpenDrain: true)))
    }

    @Test(arguments: [
        ("  status_light: {line: 24}", "status_light: line: a line's number needs its chip"),
        (
            "  status_light: {chip: pinctrl-rp1}",
            #"status_light: missing "line": expected a line's name such as GPIO17"#
        ),
        ("  power_good: {line: A, bias: up}", "power_good: bias: expected one of as_is, disabled, pull_up, pull_down"),
        ("  power_good: {line: A, open_drain: true}", #"power_good: unknown key "open_drain""#),
        (
            "  charging: {line: A, debounce: 11s}",
            "charging: debounce: expected a duration such as 10s between 0s and 10s"
        ),
        (
            "  sensor_power: {line: A, settle_time: 999ms}",
            "sensor_power: settle_time: expected a duration such as 10s between 1s and 1m"
        ),
        (
            "  sensor_power: {line: A, at_most_every: 59s}",
            "sensor_power: at_most_every: expected a duration such as 10s between 1m and 1d"
        ),
        (
            "  {power_good: {line: A}, charging: {line: A}}", "charging: power_good has this line"
        ),
        ("  led: {line: A}", #"unknown key "led""#),
    ])
    func aMistakeIsNamedWithItsPlace(text: String, message: String) {
        let found = problems(text)
        #expect(found.count == 1 && found[0].hasPrefix("gateway.yaml:6: board: " + message), "\(found)")
    }
}
