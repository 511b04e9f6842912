import Platform
import SensorBus
import TestSupport
import Testing

@testable import SensorDrivers
@testable import SimulatedHardware

/// Every calibration and raw value, however damaged, gives a value or an error; plausible ones give what the datasheet's
/// floating-point formulas give.
@Suite struct BME280PropertyTests {
    /// Often at an end of its range, where arithmetic overflows.
    private static func bytes(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in
            let extremes: [UInt8] = [0x00, 0x01, 0x7F, 0x80, 0xFF]
            let any = UInt8.random(in: .min ... .max, using: &random)
            return Bool.random(using: &random) ? any : extremes[Int(any) % extremes.count]
        }
    }

    private static func raw(_ bits: Int, _ random: inout SeededGenerator) -> Int {
        let limit = 1 << bits
        let extremes = [0, 1, limit / 2 - 1, limit / 2 + 1, limit - 1]
        let any = Int.random(in: 0..<limit, using: &random)
        return any % 8 == 0 ? extremes[any / 8 % extremes.count] : any
    }

    @Test func noCalibrationTraps() throws {
        var random = SeededGenerator(seed: printedSeed())
        var unusable = 0
        for _ in 0..<40_000 {
            let calibration = BME280Calibration(first: Self.bytes(26, &random), second: Self.bytes(7, &random))
            let coefficients = try #require(calibration.humidity)
            let fine = calibration.fineTemperature(raw: Self.raw(20, &random))
            do {
                _ = try calibration.pressure(raw: Self.raw(20, &random), fine: fine)
            } catch {
                unusable += 1
            }
            do {
                let humidity = try calibration.humidity(raw: Self.raw(16, &random), fine: fine, coefficients)
                if !(0...102_400).contains(humidity) { Issue.record("humidity \(humidity) of \(calibration)") }
            } catch {
                unusable += 1
            }
        }
        // Overflow must have been met, else this proves nothing.
        #expect(unusable > 0)
    }

    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        for _ in 0..<200 {
            let data = BME280Transcript.data(
                pressure: Self.raw(20, &random), temperature: Self.raw(20, &random), humidity: Self.raw(16, &random))
            let bus = PlaybackBus(
                BME280Transcript.opening(first: Self.bytes(26, &random), second: Self.bytes(7, &random))
                    + BME280Transcript.measuring(data))
            let sensor = try await BME280Transcript.open(bus)
            do {
                let measurement = try await sensor.measure()
                #expect((-40...85).contains(measurement.temperature?.celsius ?? .nan))
                if let pressure = measurement.pressure { #expect((300...1100).contains(pressure.hectopascals)) }
                if let humidity = measurement.humidity { #expect((0...100).contains(humidity.percent)) }
            } catch {
                switch error.kind {
                case .outOfRange, .calibration, .notReady: break
                default: Issue.record(error)
                }
            }
            try bus.finish()
        }
    }

    /// Around the calibrations of real chips.
    private static func plausible(_ random: inout SeededGenerator) -> Coefficients {
        func draw(_ range: ClosedRange<Int>) -> Int { .random(in: range, using: &random) }
        return Coefficients(
            t: [draw(26_500...29_000), draw(25_500...27_000), draw(-1000...1000)],
            p: [
                draw(35_500...38_500), draw(-10_900 ... -10_400), draw(2900...3100), draw(2500...8500),
                draw(-200...200), -7, draw(9900...15_500), draw(-14_600 ... -10_000), draw(4200...6000),
            ],
            h: [draw(70...80), draw(340...380), draw(0...4), draw(280...340), draw(-50...50), draw(25...35)])
    }

    @Test func plausibleCalibrationsAgreeWithFloatingPoint() throws {
        var random = SeededGenerator(seed: printedSeed())
        var compared = 0
        for _ in 0..<10_000 {
            let coefficients = Self.plausible(&random)
            let calibration = coefficients.calibration
            let rawTemperature = Self.raw(20, &random)
            let rawPressure = Self.raw(20, &random)
            let rawHumidity = Self.raw(16, &random)

            let fine = calibration.fineTemperature(raw: rawTemperature)
            let celsius = Exact.fineTemperature(rawTemperature, coefficients) / 5120
            guard (-40...85).contains(celsius) else { continue }
            let temperature = Double(calibration.temperature(fine: fine)) / 100
            #expect(abs(temperature - celsius) <= 0.011, "\(coefficients) raw \(rawTemperature)")

            let pascals = Exact.pressure(rawPressure, fine: Double(fine), coefficients)
            if (30_000...110_000).contains(pascals) {
                compared += 1
                let pressure = Double(try calibration.pressure(raw: rawPressure, fine: fine)) / 256
                #expect(abs(pressure - pascals) <= 0.1, "\(coefficients) raw \(rawPressure) fine \(fine)")
            }
            let humidity = try #require(calibration.humidity)
            let percent = Exact.humidity(rawHumidity, fine: Double(fine), coefficients)
            let measured = Double(try calibration.humidity(raw: rawHumidity, fine: fine, humidity)) / 1024
            #expect(abs(measured - percent) <= 0.03, "\(coefficients) raw \(rawHumidity) fine \(fine)")
        }
        #expect(compared > 1000)
    }
}

/// The datasheet's floating-point formulas (BME280 appendix A, 8.1).
private enum Exact {
    static func fineTemperature(_ raw: Int, _ c: Coefficients) -> Double {
        let t = c.t.map(Double.init)
        let offset = Double(raw) / 131_072 - t[0] / 8192
        return (Double(raw) / 16_384 - t[0] / 1024) * t[1] + offset * offset * t[2]
    }

    /// Pascals.
    static func pressure(_ raw: Int, fine: Double, _ c: Coefficients) -> Double {
        let p = c.p.map(Double.init)
        let half = fine / 2 - 64_000
        var offset = half * half * p[5] / 32_768 + half * p[4] * 2
        offset = offset / 4 + p[3] * 65_536
        var slope = (p[2] * half * half / 524_288 + p[1] * half) / 524_288
        slope = (1 + slope / 32_768) * p[0]
        let pressure = (1_048_576 - Double(raw) - offset / 4096) * 6250 / slope
        let bend = p[8] * pressure * pressure / 2_147_483_648 + pressure * p[7] / 32_768 + p[6]
        return pressure + bend / 16
    }

    /// Percent.
    static func humidity(_ raw: Int, fine: Double, _ c: Coefficients) -> Double {
        let h = c.h.map(Double.init)
        let t = fine - 76_800
        let gain = h[1] / 65_536 * (1 + h[5] / 67_108_864 * t * (1 + h[2] / 67_108_864 * t))
        let value = (Double(raw) - (h[3] * 64 + h[4] / 16_384 * t)) * gain
        return min(max(value * (1 - h[0] * value / 524_288), 0), 100)
    }
}
