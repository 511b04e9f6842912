/// Count, mean, spread and extremes of a set of numbers, which can be merged with those of another set.
///
/// Mean and squared deviations are updated, never recovered from sums of squares, so that a small spread around a
/// large mean keeps its digits (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing
/// sample variances", 1979).
public struct Summary: Sendable, Equatable, BitwiseCopyable {
    /// How many numbers.
    public private(set) var count: Int64 = 0
    private var meanValue = 0.0
    private var squaredDeviations = 0.0
    private var minimumValue = Double.infinity
    private var maximumValue = -Double.infinity

    /// A summary of nothing.
    public init() {}

    /// A summary computed elsewhere.
    /// - Parameter squaredDeviations: the sum of the squared differences from the mean.
    public init(count: Int64, mean: Double, squaredDeviations: Double, minimum: Double, maximum: Double) {
        self.count = count
        meanValue = mean
        self.squaredDeviations = squaredDeviations
        minimumValue = minimum
        maximumValue = maximum
    }

    /// The mean; nil of nothing.
    public var mean: Double? { count > 0 ? meanValue : nil }
    /// The smallest number; nil of nothing.
    public var minimum: Double? { count > 0 ? minimumValue : nil }
    /// The largest number; nil of nothing.
    public var maximum: Double? { count > 0 ? maximumValue : nil }
    /// The sample standard deviation (divided by count - 1); nil of fewer than two numbers.
    public var standardDeviation: Double? {
        count > 1 ? (squaredDeviations / Double(count - 1)).squareRoot() : nil
    }

    /// Adds a number.
    public mutating func add(_ value: Double) {
        count += 1
        let difference = value - meanValue
        meanValue += difference / Double(count)
        squaredDeviations += difference * (value - meanValue)
        minimumValue = min(minimumValue, value)
        maximumValue = max(maximumValue, value)
    }

    /// Adds all numbers of another set.
    public mutating func merge(_ other: Summary) {
        guard other.count > 0 else { return }
        guard count > 0 else {
            self = other
            return
        }
        let total = Double(count + other.count)
        let difference = other.meanValue - meanValue
        meanValue += difference * (Double(other.count) / total)
        squaredDeviations +=
            other.squaredDeviations + difference * difference * (Double(count) * Double(other.count) / total)
        minimumValue = min(minimumValue, other.minimumValue)
        maximumValue = max(maximumValue, other.maximumValue)
        count += other.count
    }
}
