import Configuration
import Foundation
import Presentation
import Readings
import SensorBus
import SimulatedHardware
import Testing

@testable import BoardTools
@testable import GatewayCore
@testable import SensorDrivers

/// A folder that stands in for /dev, /sys, /proc and /etc.
final class FakeSystem {
    let tree: SystemTree

    init() throws {
        tree = SystemTree(
            root: FileManager.default.temporaryDirectory.appendingPathComponent("vigie-system-\(UUID())").path)
        try FileManager.default.createDirectory(atPath: tree.root, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: tree.root)
    }

    func write(_ text: String, to path: String) throws {
        try makeFolder(of: path)
        try Data(text.utf8).write(to: URL(fileURLWithPath: tree.root + path))
    }

    func link(_ path: String, to target: String) throws {
        try makeFolder(of: path)
        try FileManager.default.createSymbolicLink(atPath: tree.root + path, withDestinationPath: target)
    }

    private func makeFolder(of path: String) throws {
        let folder = URL(fileURLWithPath: tree.root + path).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }
}

/// The members of an object that a program would read.
func object(_ json: JSON) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(json.text.utf8)) as? [String: Any])
}

@Suite struct SystemTreeTests {
    @Test func adaptersAreThoseWithADeviceFile() throws {
        let system = try FakeSystem()
        #expect(system.tree.adapters.isEmpty)
        for name in ["i2c-10", "i2c-1", "i2c-x", "null"] { try system.write("", to: "/dev/\(name)") }
        try system.write("bcm2835 (i2c@7e804000)\n", to: "/sys/class/i2c-dev/i2c-1/name")
        #expect(
            system.tree.adapters == [
                KernelAdapter(number: 1, name: "bcm2835 (i2c@7e804000)"), KernelAdapter(number: 10, name: nil),
            ])
    }

    @Test func theKernelsDriverIsNamed() throws {
        let system = try FakeSystem()
        try system.link("/sys/bus/i2c/devices/1-0068/driver", to: "../../../../bus/i2c/drivers/rtc-ds1307")
        #expect(system.tree.driver(bus: 1, address: 0x68) == "rtc-ds1307")
        #expect(system.tree.driver(bus: 1, address: 0x69) == nil && system.tree.driver(bus: 2, address: 0x68) == nil)
    }

    @Test func textsEndWithTheirLastLetter() throws {
        let system = try FakeSystem()
        try system.write("okay\0\n", to: "/proc/word")
        #expect(system.tree.text("/proc/word") == "okay" && system.tree.text("/proc/none") == nil)
    }
}

@Suite struct ScanReportTests {
    private func configured(_ mode: String, chips: String) throws -> GatewaySettings {
        let text = """
            gateway: {id: bench}
            mode: \(mode)
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "127.0.0.1:9"}
            stations: [{sensor_id: hall, chips: [\(chips)]}]
            """
        return try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml"))
    }

    private let found: [Finding] = [
        Finding(0x44, .sht4x, .certain, [.init("command 0x89", "0x0D206101", "serial number, checksums right")]),
        Finding(0x48, .ads1115, .likely, [.init("register 1", "0x8583", "as after a reset")], note: "no id"),
        Finding(0x50, nil, .unknown, [.init("read", "0xFF")]),
        Finding(0x68, kernelDriver: "rtc-ds1307"), Finding(0x70, .tca9548a, .likely),
        Finding(0x76, .bmp280, .certain, [.init("register 0xD0", "0x58", "chip id")]),
        Finding(0x77, .bmp180, .certain),
    ]

    private func bus(
        _ findings: [Finding], trouble: BusInventory.Trouble? = nil, notes: [String] = []
    ) -> ScanReport.Bus {
        ScanReport.Bus(
            number: 1, name: "/dev/i2c-1", adapter: "bcm2835",
            outcome: .success(BusInventory(findings: findings, trouble: trouble, notes: notes)))
    }

    private func compared(_ buses: [ScanReport.Bus], _ settings: GatewaySettings) -> ScanReport {
        ScanReport(
            buses: buses, comparison: ScanReport.compare(settings.stations, file: "gateway.yaml", with: buses))
    }

    private func configured(_ yaml: String) throws -> GatewaySettings {
        let text = """
            gateway: {id: bench}
            mode: hardware
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "127.0.0.1:9"}

            """
        return try GatewaySettings(ConfigurationDocument(text: text + yaml, name: "gateway.yaml"))
    }

    @Test func whatWasFoundIsAConfiguration() throws {
        let channel = try #require(MultiplexerChannel(multiplexer: 0x70, number: 2))
        var behind = Finding(0x62, .scd4x, .likely)
        behind.channel = channel
        var other = Finding(0x77, .bme280, .certain)
        other.channel = channel
        var looked = bus(found + [Finding(0x45, .sht4x, .certain), behind, other])
        looked.areMultiplexersOpened = true
        let report = ScanReport(buses: [looked], comparison: nil)
        #expect(
            report.yaml == """
                stations:
                  # 0x50: an unknown chip
                  # 0x68: the kernel's driver rtc-ds1307 has it
                  # 0x77: bmp180, for which there is no driver here
                  - sensor_id: station-1
                    interval: 10s
                    chips:
                      - {type: sht4x, name: sht4x-44, bus: 1, address: 0x44}
                      - {type: ads1115, bus: 1, address: 0x48}   # the battery: add divider and chemistry
                      - {type: bmp280, bus: 1, address: 0x76}
                      - {type: sht4x, name: sht4x-45, bus: 1, address: 0x45}
                  - sensor_id: station-1-70-2
                    interval: 10s
                    multiplexer: {address: 0x70, channel: 2}
                    chips:
                      - {type: scd41, bus: 1, address: 0x62}
                      - {type: bme280, bus: 1, address: 0x77}

                """)
        let again = compared([looked], try configured(report.yaml))
        #expect(again.problems.isEmpty)
        #expect(again.comparison?.surplus.map(\.finding.part) == [.bmp180])
        #expect(again.comparison?.expectations.count == 6)
    }

    @Test func nothingFoundIsSaid() {
        #expect(ScanReport(buses: [], comparison: nil).yaml.hasPrefix("stations: []\n# there is no I2C bus"))
        #expect(ScanReport(buses: [bus([])], comparison: nil).yaml == "stations: []\n# no chip answers\n")
    }

    /// documentation/board.md shows how a sensor is added to configuration/minimal.yaml.
    @Test func theDocumentedScanIsTheOneThatIsPrinted() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        let settings = try GatewaySettings(
            file: folder.appendingPathComponent("configuration/minimal.yaml").standardizedFileURL.path)
        let report = compared(
            [bus([Finding(0x62, .scd41, .certain), Finding(0x76, .bme280, .certain)])], settings)
        let page = try String(contentsOf: folder.appendingPathComponent("documentation/board.md"), encoding: .utf8)
        let shown = page.components(separatedBy: "\n").map { $0.hasPrefix("   ") ? String($0.dropFirst(3)) : $0 }
        let lines = report.text(.plain).components(separatedBy: "\n").drop { !$0.hasPrefix("Compared with") }
        #expect(lines.contains("      - {type: scd41, bus: 1, address: 0x62}"))
        #expect(shown.joined(separator: "\n").contains(lines.joined(separator: "\n")))
    }

    @Test func chipsAreComparedWithTheConfiguration() throws {
        let settings = try configured(
            "hardware",
            chips: """
                {type: bme280, address: 0x76}, {type: scd41}, {type: ads1115, address: 0x49}, {type: sht4x, bus: 3}
                """)
        let report = compared([bus(found)], settings)
        let comparison = try #require(report.comparison)
        #expect(
            comparison.expectations.map { expectation in
                switch expectation.outcome {
                case .present: "present"
                case .other: "other"
                case .absent: "absent"
                case .notScanned: "not scanned"
                }
            } == ["present", "absent", "absent", "not scanned"])
        #expect(
            comparison.surplus.map(\.line) == [
                "- {type: sht4x, bus: 1, address: 0x44}", "- {type: ads1115, bus: 1, address: 0x48}", nil,
            ])
        #expect(
            report.problems == [
                "hall: scd41 at 0x62 on bus 1 does not answer", "hall: ads1115 at 0x49 on bus 1 does not answer",
            ])
        let text = report.text(.plain)
        #expect(
            text.contains("  0x44     SHT4x     certain   command 0x89: 0x0D206101, serial number, checksums right\n"))
        #expect(text.contains("  0x50     ?         unknown   read: 0xFF\n"))
        #expect(text.contains("  0x68     ?         in use    the kernel's driver rtc-ds1307 has it\n"))
        #expect(text.contains("  ✓ hall: bme280 at 0x76 on bus 1, and it is a BMP280, without humidity\n"))
        #expect(text.contains("  ✗ hall: scd41 at 0x62 on bus 1 does not answer"))
        #expect(text.contains("  ? hall: sht4x at 0x44 on bus 3: its bus was not scanned"))
        #expect(text.contains("      - {type: sht4x, bus: 1, address: 0x44}\n"))
        #expect(text.contains("BMP180 at 0x77 on bus 1 is not configured"))
        #expect(!text.contains("\u{1B}"))
    }

    @Test func anotherChipInThePlaceOfTheConfiguredOneIsAProblem() throws {
        let settings = try configured("hardware", chips: "{type: bme280, address: 0x77}, {type: sht4x, address: 0x46}")
        let report = compared([bus([found[6], Finding(0x46, kernelDriver: "sht4x")])], settings)
        #expect(report.problems.count == 2)
        let text = report.text(.plain)
        #expect(text.contains("✗ hall: bme280 at 0x77 on bus 1: a BMP180 answers there\n"))
        #expect(text.contains("the kernel's driver sht4x has the chip: unbind it, or remove its overlay\n"))
        #expect(report.comparison?.surplus.isEmpty == true)
    }

    @Test func aBusThatFailsIsAProblemAndItsChipsAreNotCalledAbsent() throws {
        let settings = try configured("hardware", chips: "{type: bme280}, {type: sht4x, bus: 2}")
        let refused = ScanReport.Bus(
            number: 2, name: "/dev/i2c-2", outcome: .failure(BusError(.permissionDenied, bus: "/dev/i2c-2")))
        let wedged = bus([], trouble: .heldLow, notes: ["a note"])
        let report = compared([wedged, refused], settings)
        #expect(report.problems.count == 2)
        #expect(report.problems[0].contains("SDA") && report.problems[1].contains("SupplementaryGroups=i2c"))
        let text = report.text(.plain)
        #expect(text.contains("! a note\n") && text.contains("✗ every address answers with zeros"))
        #expect(text.contains("? hall: bme280 at 0x76 on bus 1") && text.contains("? hall: sht4x at 0x44 on bus 2"))
    }

    /// A screen's bus or a GPIO bridge's is shown, and is no reason to call the board wrong.
    @Test func aBusOfNobodysConfigurationIsNoProblem() throws {
        let settings = try configured("hardware", chips: "{type: bme280}")
        let foreign = ScanReport.Bus(
            number: 20, name: "/dev/i2c-20",
            outcome: .success(
                BusInventory(
                    findings: [], trouble: .failed(BusError(.timedOut, bus: "/dev/i2c-20", address: 0x09)), notes: [])))
        let report = compared([bus(found), foreign], settings)
        #expect(report.problems.isEmpty && report.text(.plain).contains("✗ /dev/i2c-20 0x09: timed out"))
        #expect(ScanReport(buses: [bus(found), foreign], comparison: nil).problems.count == 1)
    }

    @Test func theJSONSaysTheSame() throws {
        let settings = try configured("hardware", chips: "{type: bme280}, {type: scd41}")
        var behind = found[0]
        behind.channel = MultiplexerChannel(multiplexer: 0x70, number: 2)
        let json = try object(compared([bus(found + [behind])], settings).json)
        let buses = try #require(json["buses"] as? [[String: Any]])
        #expect(buses[0]["bus"] as? Int == 1 && buses[0]["adapter"] as? String == "bcm2835")
        #expect(buses[0]["trouble"] is NSNull && buses[0]["station"] is NSNull)
        let chips = try #require(buses[0]["chips"] as? [[String: Any]])
        #expect(
            chips.map { $0["address"] as? String } == ["0x44", "0x48", "0x50", "0x68", "0x70", "0x76", "0x77", "0x44"])
        #expect(chips[0]["chip"] as? String == "sht4x" && chips[0]["certainty"] as? String == "certain")
        #expect(chips[2]["chip"] is NSNull && chips[3]["kernel_driver"] as? String == "rtc-ds1307")
        #expect(chips[7]["multiplexer"] as? String == "0x70" && chips[7]["channel"] as? Int == 2)
        let configuration = try #require(json["configuration"] as? [String: Any])
        let expected = try #require(configuration["expected"] as? [[String: Any]])
        #expect(expected.map { $0["state"] as? String } == ["present", "absent"])
        #expect(expected.map { $0["found"] as? String } == ["bmp280", nil])
        #expect((json["problems"] as? [String])?.count == 1)
        let none = try object(ScanReport(buses: [], comparison: nil).json)
        #expect(none["configuration"] is NSNull && (none["problems"] as? [String])?.count == 1)
    }

    /// On a machine without a bus the same command shows the models.
    @Test func theSimulatedBusesAreScanned() async throws {
        let settings = try configured(
            "simulated", chips: "{type: bme280}, {type: scd41}, {type: sht4x}, {type: ads1115, address: 0x4B}")
        let scan = BusScan(settings: settings, file: "gateway.yaml", tree: SystemTree(root: "/nonexistent"))
        let report = try await scan.run()
        #expect(report.problems.isEmpty && report.buses.count == 1)
        #expect(report.buses[0].findings.map(\.part) == [.sht4x, .ads1115, .scd41, .bme280])
        let other = BusScan(settings: settings, file: "gateway.yaml", bus: 7, tree: SystemTree(root: "/nonexistent"))
        #expect(try await other.run().buses.isEmpty)
    }

    /// Two stations with equal addresses behind a multiplexer, of which one was left open.
    @Test func chipsBehindMultiplexersAreComparedWhenTheyAreLookedFor() async throws {
        let chips = """
            {type: bme280, multiplexer: {channel: 1}, name: one}, {type: bme280, multiplexer: {channel: 6}, name: two}
            """
        let settings = try configured("simulated", chips: chips)
        func scan(opens: Bool) async throws -> ScanReport {
            try await BusScan(
                settings: settings, file: "gateway.yaml", options: .init(opensMultiplexers: opens),
                tree: SystemTree(root: "/nonexistent")
            ).run()
        }
        let shut = try await scan(opens: false)
        #expect(shut.problems.isEmpty && shut.text(.plain).contains("(--multiplexers)"))
        #expect(shut.buses[0].findings.map(\.part) == [.tca9548a])
        let open = try await scan(opens: true)
        #expect(open.problems.isEmpty && open.comparison?.surplus.isEmpty == true)
        #expect(open.buses[0].findings.map(\.channel?.number) == [nil, 1, 6])
        #expect(open.text(.plain).contains("✓ hall: two at 0x76 on bus 1 behind 0x70 channel 6\n"))
        #expect(open.text(.plain).contains("0x70 channel 1: 0x76  BME280"))
        let other = try configured("simulated", chips: "{type: bme280, multiplexer: {channel: 2}}")
        let compared = ScanReport.compare(other.stations, file: "", with: open.buses)
        guard case .absent = compared.expectations[0].outcome else {
            Issue.record("\(compared.expectations[0].outcome)")
            return
        }
        #expect(
            compared.surplus.first?.line
                == "- {type: bme280, bus: 1, multiplexer: {address: 0x70, channel: 1}, address: 0x76}")
    }

    /// Files that are no devices: each is refused, and the next is tried.
    @Test func everyBusIsTried() async throws {
        let system = try FakeSystem()
        try system.write("", to: "/dev/i2c-1")
        try system.write("", to: "/dev/i2c-2")
        let report = try await BusScan(settings: nil, file: "", tree: system.tree).run()
        #expect(report.buses.map(\.number) == [1, 2] && report.problems.count == 2)
        #expect(report.buses.allSatisfy { $0.trouble?.contains("not supported by the adapter") == true })
        let missing = try await BusScan(settings: nil, file: "", bus: 5, tree: system.tree).run()
        #expect(missing.buses.map(\.name) == ["/dev/i2c-5"] && missing.problems[0].contains("no such bus"))
        let none = try await BusScan(settings: nil, file: "", tree: SystemTree(root: system.tree.root + "/x")).run()
        #expect(none.problems == [ScanReport.noBus] && none.text(.plain).contains("modprobe i2c-dev"))
    }
}
