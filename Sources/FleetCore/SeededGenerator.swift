/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): small, fast, and
/// the same numbers for the same seed on every machine. Not for secrets.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Makes a generator.
    /// - Parameter seed: any number; neighbouring seeds give unrelated numbers.
    public init(seed: UInt64) {
        state = seed
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var bits = state
        bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
        return bits ^ bits >> 31
    }

    /// A number of [0, 1), of which every multiple of 2^-53 is equally likely.
    mutating func fraction() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// True with the given probability.
    mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && fraction() < probability
    }

    /// A number of 0 ..< `bound`. The bias is below bound / 2^64.
    mutating func index(below bound: Int) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(max(bound, 1))).high)
    }

    /// About normal: mean 0, standard deviation 1, within ±3.5 (twelve uniform numbers of 16 bits would give ±6; four
    /// are near enough for noise and cost one draw).
    mutating func noise() -> Double {
        let bits = next()
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48)
        // Four uniform numbers of [0, 1): mean 2, variance 4/12.
        return (Double(sum) / 65536 - 2) * 1.7320508075688772
    }
}
