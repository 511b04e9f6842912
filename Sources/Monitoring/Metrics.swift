import Synchronization

/// A number that only grows: events since the program's start.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    init() {}

    /// The events counted so far.
    public var value: UInt64 { count.load(ordering: .relaxed) }

    /// Counts `amount` more events.
    public func increment(by amount: UInt64 = 1) {
        count.wrappingAdd(amount, ordering: .relaxed)
    }
}

/// A number that goes up and down: what is so now.
public final class Gauge: Sendable {
    /// The bit pattern of a Double, because an Atomic holds no Double.
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// The last value set.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    /// Replaces the value.
    public func set(_ value: Double) {
        bits.store(value.bitPattern, ordering: .relaxed)
    }

    /// Replaces the value.
    public func set(_ value: some BinaryInteger) {
        set(Double(value))
    }

    /// Replaces a value that is smaller.
    public func raise(to value: Double) {
        var known = bits.load(ordering: .relaxed)
        while Double(bitPattern: known) < value {
            let (isExchanged, original) = bits.compareExchange(
                expected: known, desired: value.bitPattern, ordering: .relaxed)
            if isExchanged { return }
            known = original
        }
    }

    /// Adds `amount`, which may be negative.
    public func add(_ amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let result = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }
}

/// How often a value fell below each of a fixed list of bounds, and their sum: durations, sizes.
public final class Histogram: Sendable {
    struct Snapshot: Sendable {
        /// Observations of each bucket alone (not cumulative); the last one is above every bound.
        var counts: [UInt64]
        var sum: Double
    }

    /// Bounds in seconds for durations from a millisecond to a minute.
    public static let durationBounds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    /// The upper bounds, inclusive and ascending, without infinity.
    let bounds: [Double]
    private let state: Mutex<Snapshot>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(Snapshot(counts: Array(repeating: 0, count: bounds.count + 1), sum: 0))
    }

    /// Counts `value`; what is not a number is not counted.
    public func observe(_ value: Double) {
        if value.isNaN { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock {
            $0.counts[bucket] += 1
            $0.sum += value
        }
    }

    /// Counts a duration in seconds.
    public func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    var snapshot: Snapshot { state.withLock { $0 } }
}

/// The metrics of one program: made once by name, updated from anywhere, written as Prometheus text.
///
/// Asking again for a name with the same labels gives the same metric. A name that breaks Prometheus' grammar, or that
/// was made before as another type, is a mistake in the program and stops it.
public final class MetricsRegistry: Sendable {
    enum Kind: String {
        case counter, gauge, histogram
    }

    enum Source: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case reading(@Sendable () -> Double?)
    }

    struct Series: Sendable {
        var labels: [String: String]
        var source: Source
    }

    struct Family: Sendable {
        var name: String
        var help: String
        var kind: Kind
        var series: [Series]
    }

    private let families = Mutex<[Family]>([])

    /// Makes an empty registry.
    public init() {}

    /// The counter of this name and these labels. The name ends in `_total` by convention.
    public func counter(_ name: String, _ help: String, labels: [String: String] = [:]) -> Counter {
        let source = source(name, help, .counter, labels) { .counter(Counter()) }
        guard case .counter(let counter) = source else { preconditionFailure("\(name) is read, not counted") }
        return counter
    }

    /// The gauge of this name and these labels.
    public func gauge(_ name: String, _ help: String, labels: [String: String] = [:]) -> Gauge {
        let source = source(name, help, .gauge, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = source else { preconditionFailure("\(name) is read, not set") }
        return gauge
    }

    /// The histogram of this name and these labels.
    /// - Parameter bounds: the buckets' upper bounds, ascending, without infinity.
    public func histogram(
        _ name: String, _ help: String, bounds: [Double] = Histogram.durationBounds, labels: [String: String] = [:]
    ) -> Histogram {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "the bounds of \(name) must ascend")
        let source = source(name, help, .histogram, labels) { .histogram(Histogram(bounds: bounds)) }
        guard case .histogram(let histogram) = source else { preconditionFailure("\(name) is not a histogram") }
        return histogram
    }

    /// A gauge whose value is read at each scrape.
    /// - Parameter read: gives the value, or nil for none now; called on the endpoint's thread, so it must be quick.
    public func gauge(
        _ name: String, _ help: String, labels: [String: String] = [:], read: @escaping @Sendable () -> Double?
    ) {
        _ = source(name, help, .gauge, labels) { .reading(read) }
    }

    /// A counter whose value is read at each scrape, as `gauge(_:_:labels:read:)`.
    public func counter(
        _ name: String, _ help: String, labels: [String: String] = [:], read: @escaping @Sendable () -> Double?
    ) {
        _ = source(name, help, .counter, labels) { .reading(read) }
    }

    /// Everything in the registry, in the order in which it was made.
    var all: [Family] { families.withLock { $0 } }

    private func source(
        _ name: String, _ help: String, _ kind: Kind, _ labels: [String: String], make: () -> Source
    ) -> Source {
        precondition(isMetricName(name), "\(name) is not a metric name")
        precondition(labels.keys.allSatisfy(isLabelName), "\(name) has a label that is not a label name")
        return families.withLock { families in
            let index: Int
            if let known = families.firstIndex(where: { $0.name == name }) {
                precondition(families[known].kind == kind, "\(name) is a \(families[known].kind.rawValue)")
                index = known
            } else {
                index = families.count
                families.append(Family(name: name, help: help, kind: kind, series: []))
            }
            if let known = families[index].series.first(where: { $0.labels == labels }) { return known.source }
            let source = make()
            families[index].series.append(Series(labels: labels, source: source))
            return source
        }
    }
}

/// Whether `name` is `[a-zA-Z_:][a-zA-Z0-9_:]*` (Prometheus data model).
private func isMetricName(_ name: String) -> Bool {
    isName(name) { $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ":") }
}

/// Whether `name` is `[a-zA-Z_][a-zA-Z0-9_]*` and not `le`, which histograms use.
private func isLabelName(_ name: String) -> Bool {
    name != "le" && isName(name) { $0 == UInt8(ascii: "_") }
}

private func isName(_ name: String, isMark: (UInt8) -> Bool) -> Bool {
    guard let first = name.utf8.first, !isDigit(first) else { return false }
    return name.utf8.allSatisfy { isDigit($0) || isLetter($0) || isMark($0) }
}

private func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}

private func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
}
