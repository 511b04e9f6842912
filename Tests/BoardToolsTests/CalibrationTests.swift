import Configuration
import Foundation
import Presentation
import Readings
import SensorBus
import Synchronization
import Testing

@testable import BoardTools
@testable import GatewayCore
@testable import SensorDrivers

/// On the simulated chip, whose time passes at once: the only station makes it.
@Suite(.timeLimit(.minutes(5))) struct CalibrationTests {
    private func settings(_ chips: String) throws -> GatewaySettings {
        try BoardToolsTests.settings(
            stations: "  - {sensor_id: hall, chips: [\(chips)]}", more: "simulation: {speed: unlimited}")
    }

    private func run(
        _ action: Calibration.Action, chips: String = "{type: bme280}, {type: scd41}", persists: Bool = false,
        answers: Bool = true, progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> (report: CalibrationReport, questions: [String]) {
        let questions = Mutex<[String]>([])
        let report = try await Calibration(
            settings: settings(chips), station: nil, action: action, persists: persists
        ).run(
            confirm: { question in
                questions.withLock { $0.append(question) }
                return answers
            }, progress: progress)
        return (report, questions.withLock { $0 })
    }

    @Test func showReadsAndChangesNothing() async throws {
        let (report, questions) = try await run(.show)
        #expect(questions.isEmpty && report.before == nil && report.problem == nil)
        #expect(abs(report.settings.temperatureOffset - 4) < 0.01 && report.settings.automaticSelfCalibration)
        #expect(report.reading?.co2 != nil)
        let text = report.text(.plain)
        #expect(text.hasPrefix("SCD41 at 0x62 on bus 1, station hall\n"))
        #expect(
            text.contains("  temperature offset  4.00 °C\n") && text.contains("  serial number       0x73B1EB073B0C\n"))
        // The barometer's, not the chip's own 1013 hPa.
        #expect(report.settings.ambientPressure.hectopascals != 1013 || text.contains("ambient pressure"))
        let json = try object(report.json)
        #expect(json["serial_number"] as? String == "0x73B1EB073B0C" && json["correction_ppm"] is NSNull)
        #expect((json["settings"] as? [String: Any])?["self_calibration"] as? Bool == true)
    }

    @Test func theSelfTestPasses() async throws {
        let (report, questions) = try await run(.selfTest)
        #expect(report.selfTest == 0 && questions.isEmpty && report.text(.plain).contains("passed"))
        var failed = report
        failed.selfTest = 5
        #expect(failed.problem?.contains("(5)") == true && failed.text(.plain).contains("failed, code 5"))
    }

    /// Three minutes in steady air, and the correction that the chip says.
    @Test func aRecalibrationWaitsAndSaysItsCorrection() async throws {
        let lines = Mutex<[String]>([])
        let (report, questions) = try await run(.recalibrate(reference: 450)) { line in
            lines.withLock { $0.append(line) }
        }
        #expect(questions.count == 1 && questions[0].contains("450 ppm") && questions[0].contains("steady air"))
        let correction = try #require(report.correction)
        let before = try #require(report.readingBefore?.co2?.partsPerMillion)
        #expect(abs(before + Double(correction) - 450) < 60, "\(before) \(correction)")
        let waits = lines.withLock { $0.filter { $0.contains("keep the air steady") } }
        #expect(waits.count > 100 && waits.first?.contains("2 min") == true)
        #expect(report.notes.contains { $0.contains("self-calibration off") })
        let json = try object(report.json)
        #expect(json["correction_ppm"] as? Int == correction && json["reference_ppm"] as? Int == 450)
    }

    @Test func settingsAreWrittenAndReadBack() async throws {
        let offset = try await run(.temperatureOffset(2.5))
        #expect(offset.questions.count == 1 && offset.questions[0].contains("lost"))
        #expect(abs(offset.report.settings.temperatureOffset - 2.5) < 0.01 && offset.report.isPersisted == false)
        #expect(offset.report.text(.plain).contains("4.00 °C → 2.50 °C"))
        #expect(
            offset.report.notes.suffix(1) == [
                "a gateway writes what its configuration says whenever it opens the chip: set temperature_offset: 2.5 there"
            ])
        let altitude = try await run(.altitude(350), persists: true)
        #expect(altitude.report.settings.altitude == 350 && altitude.report.isPersisted == true)
        #expect(altitude.questions[0].contains("2000 writes"))
        let off = try await run(.selfCalibration(false), chips: "{type: scd40}")
        #expect(!off.report.settings.automaticSelfCalibration)
        #expect(off.report.text(.plain).contains("on, to 400 ppm → off"))
    }

    @Test func aFactoryResetAsks() async throws {
        let (report, questions) = try await run(.factoryReset)
        #expect(questions.count == 1 && questions[0].contains("cannot be undone") && report.before != nil)
    }

    @Test func whoSaysNoChangesNothing() async throws {
        for action in [
            Calibration.Action.recalibrate(reference: 420), .temperatureOffset(1), .altitude(1),
            .selfCalibration(false),
            .factoryReset,
        ] {
            await #expect(throws: Calibration.Refusal.declined) { try await run(action, answers: false) }
        }
    }

    @Test func theChipIsFound() async throws {
        await #expect(throws: Calibration.Refusal.noChip) { try await run(.show, chips: "{type: bme280}") }
        let two = try BoardToolsTests.settings(
            stations: """
                  - {sensor_id: hall, chips: [{type: scd41}]}
                  - {sensor_id: vault, chips: [{type: scd40}]}
                """)
        func show(_ station: String?) async throws -> CalibrationReport {
            try await Calibration(settings: two, station: station, action: .show).run(confirm: { _ in false })
        }
        await #expect(throws: Calibration.Refusal.ambiguous(["hall", "vault"])) { try await show(nil) }
        await #expect(throws: Calibration.Refusal.unknownStation("attic", known: ["hall", "vault"])) {
            try await show("attic")
        }
    }
}
