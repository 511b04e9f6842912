import Readings

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

/// The temperature of a word, degrees Celsius: the scale that all of Sensirion's chips here have.
func sensirionTemperature(_ word: UInt16) -> Double {
    -45 + 175 * Double(word) / 65_535
}

/// How much noise a value of an SHT3x or SHT4x may have: the less, the longer the chip measures.
public enum Precision: String, Sendable, CaseIterable {
    /// The least noise; about 10 ms.
    case high
    /// About 5 ms.
    case medium
    /// The most noise; about 2 ms.
    case low
}

/// A command of one of Sensirion's chips, as its driver's table lists it.
protocol SensirionCommand: Sendable {
    /// What is sent, one byte or two.
    var code: [UInt8] { get }

    /// The longest that the chip needs before it answers or takes another command.
    var executionTime: Duration { get }
}

/// How often an answer is asked for before its wrong checksum is a fault.
let answerAttempts = 3

extension I2CDevice {
    /// The temperature of a word.
    /// - Throws: `.outOfRange` beyond `limits`, the chip's operating conditions in degrees Celsius.
    func temperature(_ word: UInt16, within limits: ClosedRange<Double>) throws(ChipError) -> Temperature {
        let celsius = sensirionTemperature(word)
        guard limits.contains(celsius) else {
            throw error(.outOfRange(value: celsius), "temperature in degrees Celsius")
        }
        return Temperature(celsius: celsius)
    }

    /// Sends a command, with a word if it takes one, and waits for its execution time.
    func send(
        _ command: some SensirionCommand, _ word: UInt16? = nil, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) {
        try write(command.code + (word.map(sensirionWord) ?? []), "\(command)")
        if command.executionTime > .zero { try await wait(command.executionTime, "\(command)") }
    }

    /// Sends a command and, after its execution time, reads its answer in a transfer of its own. If a checksum is wrong
    /// it sends the command again, since what was read may be gone from the chip.
    /// - Parameters:
    ///   - word: what the command takes, if anything.
    ///   - words: how many the answer has.
    ///   - isRepeatable: false for a command that gives its answer only once, or that is not to be done twice.
    func query(
        _ command: some SensirionCommand, _ word: UInt16? = nil, words: Int, isRepeatable: Bool = true,
        isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) -> [UInt16] {
        var attempt = 1
        while true {
            try await send(command, word)
            do throws(ChipError) {
                return try readWords(words, "\(command)")
            } catch {
                guard case .crc = error.kind, isRepeatable, attempt < answerAttempts else { throw error }
                attempt += 1
            }
        }
    }

    /// Reads `count` words of two bytes and a checksum each, and checks them.
    func readWords(_ count: Int, _ step: String) throws(ChipError) -> [UInt16] {
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

    /// Reads a serial number, most significant word first.
    /// - Throws: `.wrongChip` if all its bits are equal, which is a bus without a chip that drives it.
    func serialNumber(
        _ command: some SensirionCommand, words: Int, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) -> UInt64 {
        let number = try await query(command, words: words).reduce(0 as UInt64) { $0 << 16 | UInt64($1) }
        guard number != 0, number != UInt64.max >> (64 - 16 * words) else {
            throw error(.wrongChip(answer: number, hint: nil), "\(command)")
        }
        return number
    }
}
