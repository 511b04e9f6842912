import Foundation
import SensorBus
import Testing

@testable import GatewayCore

/// The reference station's configuration says what its wiring (hardware/README.md) is.
@Suite struct ReferenceStationTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../hardware").standardizedFileURL
    private let settings: GatewaySettings

    init() throws {
        settings = try GatewaySettings(file: Self.folder.appendingPathComponent("reference-station.yaml").path)
    }

    @Test func itsChipsAreAtTheDrawnAddresses() throws {
        let station = try #require(settings.stations.first)
        #expect(settings.stations.count == 1)
        #expect(settings.mode == .hardware)
        #expect(
            station.chips.map { "\($0.name) \($0.location.address)" } == [
                "bme280 0x76", "scd41 0x62", "sht4x 0x44", "ads1115 0x48",
            ])
    }

    /// The lines and their polarity, as the drawing's pins are named; every setting of the table of pins is in the file.
    @Test func itsLinesAreTheDrawnOnes() throws {
        let board = settings.board
        #expect(board.powerGood?.line == .name("GPIO17", chip: nil))
        #expect(board.charging?.line == .name("GPIO27", chip: nil))
        #expect(board.sensorPower?.output.line == .name("GPIO22", chip: nil))
        #expect(board.statusLight?.line == .name("GPIO24", chip: nil))
        // Open-drain outputs of the charger, and a P-MOSFET's gate, are active when low.
        #expect(board.powerGood?.options.isActiveLow == true && board.powerGood?.options.bias == .pullUp)
        #expect(board.charging?.options.isActiveLow == true && board.charging?.options.bias == .pullUp)
        #expect(board.sensorPower?.output.options.isActiveLow == true)
        #expect(board.statusLight?.options.isActiveLow == false)

        let readme = try String(contentsOf: Self.folder.appendingPathComponent("README.md"), encoding: .utf8)
        let file = try String(contentsOf: Self.folder.appendingPathComponent("reference-station.yaml"), encoding: .utf8)
        let settings = readme.matches(of: /`([a-z_]+: \{line: [^`]*\})`/).map { String($0.output.1) }
        #expect(settings.count == 4)
        for setting in settings { #expect(file.contains(setting), "\(setting)") }
    }
}
