import Configuration
import Platform
import Readings

/// The board's battery, and what is done when it is low.
struct BatterySettings: Sendable, Equatable {
    var policy: BatteryPolicy.Settings
    /// The station that measures it.
    var sensorID: Identifier
    /// The least interval of every station while it is low.
    var lowInterval: Duration

    init(_ section: Section, stations: [StationSettings]) {
        policy = BatteryPolicy.Settings()
        policy.low = section.value("low", as: .number(10...90), default: policy.low)
        policy.critical = section.value("critical", as: .number(0...90), default: policy.critical)
        lowInterval = section.value(
            "low_interval", as: .duration(.seconds(1)...(.seconds(86_400))), default: .seconds(300))
        let measuring = stations.filter { $0.chips.contains { $0.setup.estimatesBatteryLevel } }
        let named = section.optional("sensor_id", as: .identifier)
        sensorID = named ?? measuring.first?.sensorID ?? Identifier(constant: "x")

        if policy.critical >= policy.low {
            section.problem("critical must be below low, which is \(policy.low)", at: "critical")
        }
        if measuring.isEmpty {
            section.problem("no station measures a battery: it needs an ads1115 with a chemistry")
        } else if named == nil, measuring.count > 1 {
            section.problem("several stations measure a battery: say which is the board's by its sensor_id")
        } else if let named, !measuring.contains(where: { $0.sensorID == named }) {
            section.problem("this station measures no battery", at: "sensor_id")
        }
    }
}
