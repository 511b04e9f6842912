import Glibc
import Platform
import Readings

/// The air around one sensor, as a function of time: cooler before dawn and warmest in the afternoon, people by day,
/// weather that passes in days, a battery that is changed every month.
struct Room: Sendable {
    private let warmth: Double
    private let moisture: Double
    private let people: Double
    private let altitude: Double
    private let batteryAge: Double

    init(using random: inout SeededGenerator) {
        warmth = 18 + 5 * random.fraction()
        moisture = 38 + 14 * random.fraction()
        people = random.fraction()
        altitude = 60 * random.fraction()
        batteryAge = random.fraction()
    }

    /// What the sensor's chips read at `time`, in their resolution.
    func values(at time: Timestamp, using random: inout SeededGenerator) -> Values {
        let days = Double(time.milliseconds) / 86_400_000
        let turn = 2 * Double.pi * (days - days.rounded(.down))
        // Coldest at 04:00 UTC, warmest at 16:00.
        let daily = -cos(turn - 2 * .pi * 4 / 24)
        let presence = max(0, -cos(turn - 2 * .pi * 1 / 24)) * people
        let weather = sin(2 * .pi * days / 5.3) + 0.5 * sin(2 * .pi * days / 2.1)
        let battery = 100 - 85 * (days / 30 + batteryAge - (days / 30 + batteryAge).rounded(.down))
        return [
            .temperature: rounded(warmth + 2.2 * daily + 0.8 * presence + 0.05 * random.noise(), to: 100),
            .humidity: rounded(moisture - 4 * daily + 5 * presence + 0.2 * random.noise(), to: 100),
            .co2: rounded(425 + 700 * presence + 8 * random.noise(), to: 1),
            .pressure: rounded(1013 - 0.12 * altitude + 8 * weather + 0.05 * random.noise(), to: 100),
            .batteryLevel: rounded(battery, to: 10),
            .batteryVoltage: rounded(3.3 + 0.009 * battery + 0.002 * random.noise(), to: 1000),
        ]
    }
}

/// The double nearest to a decimal number with as many decimals as `scale` has zeros.
func rounded(_ value: Double, to scale: Double) -> Double {
    (value * scale).rounded() / scale
}

/// A chip that fails, and the quantities that are then missing.
enum ChipFailure: CaseIterable {
    case climate, carbonDioxide, battery

    var fault: (chip: StaticString, kind: StaticString) {
        switch self {
        case .climate: ("bme280", "not_acknowledged")
        case .carbonDioxide: ("scd41", "crc")
        case .battery: ("ads1115", "timeout")
        }
    }

    func strike(_ values: inout Values) {
        switch self {
        case .climate:
            values[.temperature] = nil
            values[.humidity] = nil
            values[.pressure] = nil
        case .carbonDioxide:
            values[.co2] = nil
        case .battery:
            values[.batteryLevel] = nil
            values[.batteryVoltage] = nil
        }
    }
}

/// Air that is possible, and that nobody should breathe for long.
enum Anomaly: CaseIterable {
    case fire, damp, stuffy, storm, batteryEmpty

    func strike(_ values: inout Values, using random: inout SeededGenerator) {
        switch self {
        case .fire: values[.temperature] = rounded(42 + 20 * random.fraction(), to: 100)
        case .damp: values[.humidity] = rounded(88 + 11 * random.fraction(), to: 100)
        case .stuffy: values[.co2] = rounded(2600 + 6000 * random.fraction(), to: 1)
        case .storm: values[.pressure] = rounded(930 + 20 * random.fraction(), to: 100)
        case .batteryEmpty:
            values[.batteryLevel] = rounded(5 * random.fraction(), to: 10)
            values[.batteryVoltage] = rounded(3.0 + 0.2 * random.fraction(), to: 1000)
        }
    }
}
