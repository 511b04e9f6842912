import Foundation
import Readings
import TestSupport
import Testing

@testable import SimulatedHardware

@Suite struct RecordedEnvironmentTests {
    typealias Columns = RecordedEnvironment.Columns
    static let columns = Columns(
        time: .name("date"), quantities: [.temperature: .name("Temperature"), .co2: .name("CO2")])

    /// Reads `text` as a file and gives the recording, or the failure without the file's folder.
    static func read(
        _ text: String, columns: Columns = columns, offsetMinutes: Int = 0, shift: Duration = .zero
    ) throws -> Result<RecordedEnvironment, RecordedEnvironment.Failure> {
        let file = FileManager.default.temporaryDirectory.appending(path: "recording-\(UUID().uuidString).csv")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        do throws(RecordedEnvironment.Failure) {
            return .success(
                try RecordedEnvironment(
                    path: file.path, columns: columns, offsetMinutes: offsetMinutes, shift: shift,
                    remainder: ConstantEnvironment()))
        } catch {
            #expect(error.file == file.path)
            var failure = error
            failure.file = "air.csv"
            return .failure(failure)
        }
    }

    static func time(_ text: String) throws -> Timestamp { try #require(Timestamp(text)) }

    static let plain = "date,Temperature,CO2\n2015-02-04 17:51:00,23.18,721.25\n2015-02-04 17:52:00,23.15,714\n"
    static let quoted =
        "\"date\",\"Temperature\",\"CO2\"\r\n\"1\",\"2015-02-04 17:51:00\",23.18,721.25\r\n"
        + "\"2\",\"2015-02-04 17:52:00\",23.15,714"

    @Test(arguments: [plain, quoted])
    func aValueHoldsUntilTheNext(text: String) throws {
        let recording = try Self.read(text).get()
        #expect(recording.span.lowerBound == Timestamp("2015-02-04T17:51:00Z"))
        #expect(recording.span.upperBound == Timestamp("2015-02-04T17:52:00Z"))
        let expected = [
            ("2015-02-04T17:50:59.999Z", 21.0, 600.0), ("2015-02-04T17:51:00Z", 23.18, 721.25),
            ("2015-02-04T17:51:59.999Z", 23.18, 721.25), ("2015-02-04T17:52:00Z", 23.15, 714),
            ("2025-01-01T00:00:00Z", 23.15, 714),
        ]
        for (time, temperature, co2) in expected {
            let air = recording.conditions(at: try Self.time(time))
            #expect(air.temperature == temperature, "\(time)")
            #expect(air.co2 == co2, "\(time)")
            // What is not recorded comes from the remainder.
            #expect(air.humidity == 45)
        }
    }

    @Test func offsetAndShiftMoveTheTimes() throws {
        let recording = try Self.read(Self.plain, offsetMinutes: 60, shift: .seconds(86_400)).get()
        #expect(recording.span.lowerBound == Timestamp("2015-02-05T16:51:00Z"))
        #expect(recording.conditions(at: try Self.time("2015-02-05T16:51:30Z")).temperature == 23.18)
        // Times that say their own offset are not moved by the file's.
        let zoned = try Self.read(
            "date,Temperature,CO2\n2015-02-04T17:51:00+02:00,20,500\n", offsetMinutes: 60
        ).get()
        #expect(zoned.span.lowerBound == Timestamp("2015-02-04T15:51:00Z"))
    }

    @Test func columnsByNumber() throws {
        let recording = try Self.read(
            Self.plain, columns: Columns(time: .number(1), quantities: [.batteryVoltage: .number(2)])
        ).get()
        let air = recording.conditions(at: recording.span.lowerBound)
        #expect(air.battery == 23.18)
        #expect(air.temperature == 21)
    }

    @Test(
        arguments: [
            ("", nil, "no rows"),
            ("date,Temperature,CO2\n", nil, "no rows"),
            (plain + "2015-02-04 17:53:00,23\n", 4, "2 fields where 3 are expected"),
            (plain + "2015-02-04 17:52:00,23,7\n", 4, "2015-02-04 17:52:00 is not later than the row before"),
            (plain + "yesterday,23,7\n", 4, "\"yesterday\" is no time; yyyy-MM-dd HH:mm:ss or RFC 3339 is expected"),
            (
                plain + "2015-02-30 17:53:00,23,7\n", 4,
                "\"2015-02-30 17:53:00\" is no time; yyyy-MM-dd HH:mm:ss or RFC 3339 is expected"
            ),
            (plain + "2015-02-04 17:53:00,nan,7\n", 4, "\"nan\" in column 2 is no number"),
            (plain + "2015-02-04 17:53:00,,7\n", 4, "\"\" in column 2 is no number"),
            (plain + "\"2015-02-04 17:53:00,23,7\n", 4, "a quote that is not closed"),
            (plain + "2015-02-04 17:53:00,2\"3,7\n", 4, "a quote inside a field that is not quoted"),
            (plain + "2015-02-04 17:53:00,\"2\"3,7\n", 4, "text after a closing quote"),
            (plain + "2015-02-04 17:53:00,23,7\r", 4, "a carriage return without a line feed"),
            (
                "date,T,CO2\n2015-02-04 17:51:00,23,7\n", 1,
                "no column \"Temperature\"; there are \"date\", \"T\", \"CO2\""
            ),
        ] as [(String, Int?, String)])
    func whatIsWrongIsSaidWithItsLine(text: String, line: Int?, problem: String) throws {
        guard case .failure(let failure) = try Self.read(text) else {
            Issue.record("\(text) was accepted")
            return
        }
        #expect(failure.line == line)
        #expect(failure.problem == problem)
        #expect(failure.description == "air.csv\(line.map { ":\($0)" } ?? ""): \(problem)")
    }

    @Test func aMissingFileIsNamed() {
        do {
            _ = try RecordedEnvironment(
                path: "/nowhere/air.csv", columns: Self.columns, remainder: ConstantEnvironment())
            Issue.record("no error")
        } catch {
            #expect(error.description.contains("/nowhere/air.csv"))
            #expect(error.description.contains("No such file"))
        }
    }
}

@Suite struct SyntheticEnvironmentTests {
    @Test func isTheSameForTheSameSeedAndPlausible() {
        let room = SyntheticEnvironment(seed: 42)
        let same = SyntheticEnvironment(seed: 42)
        let other = SyntheticEnvironment(seed: 43)
        // From a Monday, 2024-01-01, two weeks, every 7 minutes.
        let times = stride(from: Int64(1_704_067_200_000), to: 1_704_067_200_000 + 14 * 86_400_000, by: 420_000)
        var differs = 0
        var highestCO2 = 0.0
        for time in times.map(Timestamp.init(milliseconds:)) {
            let air = room.conditions(at: time)
            #expect(air == same.conditions(at: time))
            if air != other.conditions(at: time) { differs += 1 }
            highestCO2 = max(highestCO2, air.co2)
            #expect((15...32).contains(air.temperature))
            #expect((5...95).contains(air.humidity))
            #expect((350...3000).contains(air.co2))
            #expect((980...1045).contains(air.pressure))
            #expect((3.3...4.15).contains(air.battery))
        }
        #expect(differs > 1000)
        // People came.
        #expect(highestCO2 > 700)
    }

    @Test func theAirDoesNotJump() {
        let room = SyntheticEnvironment(seed: 1)
        var last = room.conditions(at: Timestamp(milliseconds: -86_400_000))
        // Across midnight and the epoch, where days change and times turn negative.
        for milliseconds in stride(from: Int64(-86_400_000), through: 86_400_000, by: 10_000) {
            let air = room.conditions(at: Timestamp(milliseconds: milliseconds))
            #expect(abs(air.temperature - last.temperature) < 0.2, "at \(milliseconds)")
            #expect(abs(air.co2 - last.co2) < 20, "at \(milliseconds)")
            #expect(abs(air.pressure - last.pressure) < 0.1, "at \(milliseconds)")
            last = air
        }
    }
}

@Suite struct ClockTests {
    @Test func aScaledClockRunsAsFastAsItSays() async throws {
        let clock = try #require(ScaledClock(speed: 3600))
        let real = ContinuousClock.now
        let start = clock.now
        try await clock.sleep(for: .seconds(180))
        let scaled = start.duration(to: clock.now)
        let elapsed = ContinuousClock.now - real
        #expect(scaled >= .seconds(180))
        // 180 s at speed 3600 are 50 ms; both ends were read within `elapsed`.
        #expect(elapsed >= .milliseconds(50))
        #expect(scaled <= elapsed * 3600.001)
    }

    @Test(arguments: [0, -1, 1e-300, 0.0009, .nan, .infinity, 1_000_001])
    func speedsThatCannotBe(speed: Double) {
        #expect(ScaledClock(speed: speed) == nil)
    }

    @Test func anImmediateClockOnlyGoesForward() async throws {
        let clock = ImmediateClock()
        try await clock.sleep(for: .seconds(5))
        #expect(clock.now.elapsed == .seconds(5))
        try await clock.sleep(until: .init(elapsed: .seconds(1)), tolerance: nil)
        #expect(clock.now.elapsed == .seconds(5))
    }
}

@Suite struct AdjustableEnvironmentTests {
    @Test func whatIsHeldStaysAndTheRestGoesOn() {
        let base = ConstantEnvironment(Conditions(temperature: 20, co2: 500))
        let air = AdjustableEnvironment(base)
        let time = Timestamp(milliseconds: 0)
        #expect(air.conditions(at: time) == base.conditions)
        air.hold(.temperature, at: 31)
        air.hold(.batteryVoltage, at: 3.3)
        #expect(air.held == [.temperature: 31, .batteryVoltage: 3.3])
        #expect(air.conditions(at: time) == Conditions(temperature: 31, co2: 500, battery: 3.3))
        air.hold(.temperature, at: nil)
        #expect(air.conditions(at: time) == Conditions(temperature: 20, co2: 500, battery: 3.3))
    }

    @Test func everyQuantityIsItsOwn() {
        for quantity in Quantity.measured {
            let air = AdjustableEnvironment(ConstantEnvironment(Conditions()))
            air.hold(quantity, at: 77)
            let conditions = air.conditions(at: Timestamp(milliseconds: 0))
            #expect(Quantity.measured.filter { conditions[$0] == 77 } == [quantity])
        }
    }
}
