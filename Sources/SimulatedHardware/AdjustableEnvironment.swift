import Readings
import Synchronization

/// Air of which single quantities are held at a value while it runs; the others are those of another environment.
public final class AdjustableEnvironment: Environment {
    /// What can be held.
    public enum Quantity: String, Sendable, CaseIterable {
        case temperature, humidity, co2, pressure, battery

        /// What chips can be shown, in the units of `Conditions`.
        public var range: ClosedRange<Double> {
            switch self {
            case .temperature: -100...200
            case .humidity: 0...100
            case .co2: 0...100_000
            case .pressure: 0...2000
            case .battery: 0...100
            }
        }

        fileprivate var path: WritableKeyPath<Conditions, Double> & Sendable {
            switch self {
            case .temperature: \.temperature
            case .humidity: \.humidity
            case .co2: \.co2
            case .pressure: \.pressure
            case .battery: \.battery
            }
        }
    }

    private let base: any Environment
    private let values = Mutex<[Quantity: Double]>([:])

    /// Makes the air of `base`.
    public init(_ base: any Environment = ConstantEnvironment()) {
        self.base = base
    }

    /// What is held, and at what.
    public var held: [Quantity: Double] { values.withLock { $0 } }

    /// Holds a quantity at a value from now on; nil gives it free.
    public func hold(_ quantity: Quantity, at value: Double?) {
        values.withLock { $0[quantity] = value }
    }

    /// The air at a time, with what is held now.
    public func conditions(at time: Timestamp) -> Conditions {
        var conditions = base.conditions(at: time)
        for (quantity, value) in held { conditions[keyPath: quantity.path] = value }
        return conditions
    }
}
