/// Words as Sensirion's chips send and take them: two bytes and their checksum.
enum SensirionWords {
    /// Words as bytes.
    /// - Parameter isDamaged: whether a bit of every checksum is wrong.
    static func bytes(_ words: [UInt16], isDamaged: Bool) -> [UInt8] {
        words.flatMap { word in
            let high = UInt8(word >> 8)
            let low = UInt8(word & 0xFF)
            return [high, low, checksum(high, low) ^ (isDamaged ? 0x01 : 0)]
        }
    }

    /// The words of a serial number, the most significant first.
    static func words(_ serialNumber: UInt32) -> [UInt16] {
        [UInt16(serialNumber >> 16), UInt16(serialNumber & 0xFFFF)]
    }

    /// A quantity on a scale from 0 to 65535, cut off at its ends.
    static func word(_ value: Double) -> UInt16 {
        UInt16(min(max(value.rounded(), 0), 65_535))
    }

    /// Degrees Celsius.
    static func temperature(_ celsius: Double) -> UInt16 {
        word((celsius + 45) * 65_535 / 175)
    }

    /// CRC-8 of a word, by polynomial division of the 16 bits (SCD4x datasheet 3.12): another way than a driver's, so
    /// that the two check each other.
    static func checksum(_ high: UInt8, _ low: UInt8) -> UInt8 {
        // The initial value of 0xFF is the same as inverting the first byte.
        var remainder = UInt32(high ^ 0xFF) << 16 | UInt32(low) << 8
        for bit in stride(from: 23, through: 8, by: -1) where remainder & 1 << bit != 0 {
            remainder ^= 0x131 << (bit - 8)
        }
        return UInt8(truncatingIfNeeded: remainder)
    }
}
