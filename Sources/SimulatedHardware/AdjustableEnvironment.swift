import Readings
import Synchronization

/// Air of which single quantities are held at a value while it runs; the others are those of another environment.
public final class AdjustableEnvironment: Environment {
    private let base: any Environment
    private let values = Mutex<[Quantity: Double]>([:])

    /// Makes the air of `base`.
    public init(_ base: any Environment = ConstantEnvironment()) {
        self.base = base
    }

    /// What is held, and at what.
    public var held: [Quantity: Double] { values.withLock { $0 } }

    /// Holds a quantity that chips measure at a value from now on; nil gives it free.
    public func hold(_ quantity: Quantity, at value: Double?) {
        values.withLock { $0[quantity] = value }
    }

    /// The air at a time, with what is held now.
    public func conditions(at time: Timestamp) -> Conditions {
        var conditions = base.conditions(at: time)
        for (quantity, value) in held { conditions[quantity] = value }
        return conditions
    }
}
