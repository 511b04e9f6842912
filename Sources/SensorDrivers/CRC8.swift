/// The checksum behind every 16-bit word of Sensirion's chips: polynomial 0x31, initial value 0xFF, not reflected, no
/// final exclusive or (SCD4x datasheet 3.12).
func sensirionCRC8(_ bytes: some Sequence<UInt8>) -> UInt8 {
    var crc: UInt8 = 0xFF
    for byte in bytes {
        crc ^= byte
        for _ in 0..<8 {
            crc = crc & 0x80 != 0 ? crc << 1 ^ 0x31 : crc << 1
        }
    }
    return crc
}

/// A 16-bit word as Sensirion's chips take it: big-endian with its checksum.
func sensirionWord(_ word: UInt16) -> [UInt8] {
    let bytes = [UInt8(word >> 8), UInt8(word & 0xFF)]
    return bytes + [sensirionCRC8(bytes)]
}

extension ChipPort {
    /// Reads `count` words of two bytes and a checksum each, and checks them.
    func readWords(_ count: Int, _ step: String) throws(SensorError) -> [UInt16] {
        let bytes = try read(count * 3, step)
        var words: [UInt16] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let expected = sensirionCRC8(bytes[start..<start + 2])
            guard bytes[start + 2] == expected else {
                throw error(.crc(expected: expected, received: bytes[start + 2]), step)
            }
            words.append(UInt16(bytes[start]) << 8 | UInt16(bytes[start + 1]))
        }
        return words
    }
}
