import Platform

extension SeededGenerator {
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
