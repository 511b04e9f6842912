import Readings
import Testing

@Suite struct TimestampTests {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2026-11-24T00:00:00.001Z", 1_795_478_400_001),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] as [(String, Int64)])
    func writesAndReads(text: String, milliseconds: Int64) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("2026-01-01t00:00:00z", "2026-01-01T00:00:00.000Z"),
        ("2026-01-01T01:30:00.5+01:30", "2026-01-01T00:00:00.500Z"),
        ("2025-12-31T19:00:00.123456789-05:00", "2026-01-01T00:00:00.123Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
    ])
    func readsEveryFormOfTheStandard(text: String, canonical: String) {
        #expect(Timestamp(text)?.description == canonical)
    }

    @Test(arguments: [
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00ZZ", "2026-01-01 00:00:00Z",
        "2026-1-01T00:00:00.000Z", "+026-01-01T00:00:00Z", "1900-02-29T00:00:00Z",
    ])
    func refusesWhatIsNoDateTime(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test func countsEveryDayOfFourHundredYearsInOrder() throws {
        var previous = try #require(Timestamp("1899-12-31T00:00:00Z"))
        for day in 0..<146_097 {
            let next = Timestamp(milliseconds: previous.milliseconds + 86_400_000)
            #expect(Timestamp(next.description) == next, "day \(day)")
            previous = next
        }
        #expect(previous.description == "2299-12-31T00:00:00.000Z")
    }
}
