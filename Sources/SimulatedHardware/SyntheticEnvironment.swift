import Glibc
import Platform
import Readings

/// An office room made up from a seed: warm afternoons, people who come, breathe, open doors and leave, weather that
/// drifts, and a battery that runs down. The same seed and time always give the same air.
public struct SyntheticEnvironment: Environment {
    /// What everything is drawn from.
    public let seed: UInt64

    private let pressureWaves: [Wave]
    private let batteryPhase: Double

    private static let millisecondsPerDay: Int64 = 86_400_000
    private static let outdoorCO2 = 425.0
    /// What one person adds: 18 litres of CO2 an hour in a room of 60 cubic metres.
    private static let co2PerPersonHour = 300.0
    /// How long one charge lasts, days.
    private static let batteryDays = 30.0

    /// A slow oscillation.
    private struct Wave {
        var amplitude: Double
        var periodDays: Double
        var phase: Double

        func value(at days: Double) -> Double {
            amplitude * sin(2 * .pi * (days / periodDays + phase))
        }
    }

    /// A stretch of a day through which nothing changes but the air.
    private struct Stretch {
        /// Hours since midnight.
        var start: Double
        var end: Double
        var people: Double
        /// How often the room's air is replaced, times an hour.
        var ventilation: Double
    }

    /// Makes the room of a seed.
    public init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        pressureWaves = [(9.0, 7.3), (5.0, 3.1), (1.5, 1.2)].map { amplitude, periodDays in
            Wave(amplitude: amplitude, periodDays: periodDays, phase: .random(in: 0..<1, using: &random))
        }
        batteryPhase = .random(in: 0..<1, using: &random)
    }

    /// The air and the battery at a time.
    public func conditions(at time: Timestamp) -> Conditions {
        let day = time.milliseconds.flooredQuotient(by: SyntheticEnvironment.millisecondsPerDay)
        let inDay = time.milliseconds - day * SyntheticEnvironment.millisecondsPerDay
        let hour = Double(inDay) / 3_600_000
        let days = Double(day) + hour / 24

        // The day before decides the air at midnight; what came earlier has been ventilated away.
        var indoor = Indoor(co2: SyntheticEnvironment.outdoorCO2, warmth: 0)
        indoor.live(through: stretches(of: day - 1), until: 24)
        indoor.live(through: stretches(of: day), until: hour)

        // Warmest at four in the afternoon.
        let sun = cos(2 * .pi * (hour - 16) / 24)
        let minute = time.milliseconds.flooredQuotient(by: 60_000)
        let temperature = 20.5 + 1.5 * sun + indoor.warmth + 0.05 * noise(1, minute, time)
        let humidity = 45 - 4 * sun + 0.004 * (indoor.co2 - SyntheticEnvironment.outdoorCO2)
        let wetness = pressureWaves.first.map { -0.6 * $0.value(at: days) } ?? 0
        let pressure = pressureWaves.reduce(1013.25) { $0 + $1.value(at: days) }
        var charge = (days / SyntheticEnvironment.batteryDays + batteryPhase).truncatingRemainder(dividingBy: 1)
        if charge < 0 { charge += 1 }
        var conditions = Conditions(
            temperature: temperature,
            humidity: min(max(humidity + wetness + 0.2 * noise(2, minute, time), 5), 95),
            co2: max(indoor.co2 + 4 * noise(3, minute, time), 350),
            pressure: pressure + 0.03 * noise(4, minute, time),
            battery: 4.15 - 0.85 * charge)
        // People give off compounds as they breathe, and stir up dust; dry days bring more dust in.
        let breath = max(indoor.co2 - SyntheticEnvironment.outdoorCO2, 0)
        conditions[.vocIndex] = min(max(85 + 0.15 * breath + 3 * noise(5, minute, time), 1), 500)
        conditions[.pm2_5] = max(5 + 0.004 * breath + 0.3 * wetness + 0.8 * noise(6, minute, time), 0)
        return conditions
    }

    /// What people change in the room.
    private struct Indoor {
        /// Parts per million.
        var co2: Double
        /// Degrees Celsius above the empty room.
        var warmth: Double

        /// Each stretch pulls both towards its own equilibrium, exponentially, at the rate of its ventilation.
        mutating func live(through stretches: [Stretch], until hour: Double) {
            for stretch in stretches where stretch.start < hour {
                let kept = exp(-stretch.ventilation * (min(stretch.end, hour) - stretch.start))
                let limit =
                    SyntheticEnvironment.outdoorCO2
                    + SyntheticEnvironment.co2PerPersonHour * stretch.people / stretch.ventilation
                co2 = limit + (co2 - limit) * kept
                let warmest = 0.4 * stretch.people / stretch.ventilation
                warmth = warmest + (warmth - warmest) * kept
            }
        }
    }

    /// Who was in the room on a day, and when a door stood open.
    private func stretches(of day: Int64) -> [Stretch] {
        var random = SeededGenerator(seed: seed, subject: day)
        // Day 0 of the epoch was a Thursday.
        let isWeekend = (day + 3) - (day + 3).flooredQuotient(by: 7) * 7 >= 5
        guard !isWeekend else { return [Stretch(start: 0, end: 24, people: 0, ventilation: 0.5)] }
        let arrival = Double.random(in: 7.5..<9, using: &random)
        let departure = Double.random(in: 16.5..<18.5, using: &random)
        var result = [Stretch(start: 0, end: arrival, people: 0, ventilation: 0.5)]
        var start = arrival
        while start < departure {
            let end = min(start + Double.random(in: 0.3..<1.5, using: &random), departure)
            let people = Double(Int.random(in: 0...4, using: &random))
            let door = min(start + Double.random(in: 0.03..<0.15, using: &random), end)
            result.append(Stretch(start: start, end: door, people: people, ventilation: 6))
            result.append(Stretch(start: door, end: end, people: people, ventilation: 1.2))
            start = end
        }
        result.append(Stretch(start: departure, end: 24, people: 0, ventilation: 0.5))
        return result
    }

    /// Smooth noise from -1 to 1: a random value each minute, linear in between.
    private func noise(_ channel: Int64, _ minute: Int64, _ time: Timestamp) -> Double {
        func value(_ minute: Int64) -> Double {
            var random = SeededGenerator(seed: seed, subject: minute &* 8 &+ channel)
            return .random(in: -1...1, using: &random)
        }
        let fraction = Double(time.milliseconds - minute * 60_000) / 60_000
        return value(minute) * (1 - fraction) + value(minute + 1) * fraction
    }
}
