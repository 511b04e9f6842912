import Foundation
import Platform
import Readings
import TestSupport
import Testing

@Suite struct ReadingEncodingTests {
    private func encodedTemperature(_ value: Double) throws -> String {
        let reading = Reading(
            gatewayID: try #require(Identifier("g")), sensorID: try #require(Identifier("s")),
            streamID: StreamID(bits: 1), sequence: 1, eventTime: Timestamp(milliseconds: 0), intervalMilliseconds: 1,
            values: [.temperature: value])
        let text = String(decoding: reading.encoded(), as: UTF8.self)
        let after = try #require(text.range(of: "\"temperature\":"))
        return String(text[after.upperBound...].dropLast())
    }

    @Test(
        arguments: [
            (0, "0.0"), (-0.0, "-0.0"), (1, "1.0"), (-1, "-1.0"), (21.5, "21.5"), (-0.01, "-0.01"),
            (1013.25, "1013.25"),
            (0.000001, "0.000001"), (0.0000001, "1e-07"), (48.856613, "48.856613"), (1.0 / 3, "0.3333333333333333"),
            (1e6, "1000000.0"), (9e9, "9e+09"), (1e300, "1e+300"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
            (.leastNonzeroMagnitude, "5e-324"), (0.1 + 0.2, "0.30000000000000004"),
        ] as [(Double, String)])
    func writesNumbers(value: Double, text: String) throws {
        let written = try encodedTemperature(value)
        let readBack = try #require(Double(written))
        #expect(readBack.bitPattern == value.bitPattern)
        // Large integers may be written out; any text that reads back as the same number will do.
        if value.magnitude < 9e9 { #expect(written == text) }
    }

    @Test func everyNumberReadsBackAsItself() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            let decimals = Double(random.next() % 10_000_000) / [1.0, 10, 100, 1000, 10_000][Int(random.next() % 5)]
            let anything = Double(bitPattern: random.next())
            for value in [decimals, -decimals, anything] where value.isFinite {
                let text = try encodedTemperature(value)
                #expect(Double(text)?.bitPattern == value.bitPattern, "\(text), seed \(seed)")
            }
        }
    }

    @Test func theLongestReadingFits() throws {
        let name = try #require(Identifier(String(repeating: "n", count: 64)))
        let longest = -2.2250738585072014e-308
        let values: Values = [
            .temperature: longest, .humidity: longest, .co2: longest, .pressure: longest, .batteryLevel: longest,
            .batteryVoltage: longest,
        ]
        let reading = Reading(
            gatewayID: name, sensorID: name, streamID: StreamID(bits: .max), sequence: .min,
            eventTime: Timestamp(milliseconds: .min), timeQuality: .estimated, intervalMilliseconds: .min,
            values: values, faults: Array(repeating: Fault(chip: name, kind: name), count: 64),
            place: Place(latitude: -11.123456789012345, longitude: -111.12345678901234), isSimulated: true)
        var bytes: [UInt8] = Array("before".utf8)
        reading.encode(to: &bytes)
        #expect(bytes.starts(with: "before{".utf8) && bytes.last == UInt8(ascii: "}"))
        #expect(Array(bytes.dropFirst(6)) == reading.encoded())
    }
}
