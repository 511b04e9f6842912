/// The sum over a row's values that its column of format 6 holds: a row that a torn or rotten page made up is told
/// from one that was committed.
///
/// It is CRC-32 (ISO/IEC 8802-3, section 3.2.9). Null adds nothing, so the sum stays right when a later format adds
/// columns.
struct RowChecksum {
    /// What stands in the place of the sum in rows from before format 6. No sum has this value.
    static let none: Int64 = 1 << 32

    private var state = UInt32.max
    private let table = Self.table

    /// The sum of a row's values, each with its position among them.
    static func of(_ values: [Statement.Value]) -> Int64 {
        var sum = RowChecksum()
        for (position, value) in values.enumerated() { sum.add(value, at: Int32(truncatingIfNeeded: position)) }
        return sum.value
    }

    /// 32 bits with a sign, as SQLite stores them in four bytes.
    var value: Int64 { Int64(Int32(bitPattern: ~state)) }

    /// Adds a value and its position in the row. Values are added in the order of their positions.
    mutating func add(_ value: Statement.Value, at position: Int32) {
        let position = UInt8(truncatingIfNeeded: position)
        switch value {
        case .integer(let number?):
            add(position)
            add(UInt64(bitPattern: number))
        case .real(let number?) where !number.isNaN:
            add(position)
            // SQLite stores a whole number as one, without the sign of -0, and null for what is no number.
            add((number == 0 ? 0 : number).bitPattern)
        case .text(var text?):
            add(position)
            text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
        case .blob(let bytes?):
            add(position)
            bytes.withUnsafeBytes { add($0) }
        case .integer(nil), .real, .text(nil), .blob(nil): break
        }
    }

    private mutating func add(_ bytes: UnsafeRawBufferPointer) {
        var position = 0
        while position + 8 <= bytes.count {
            add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
            position += 8
        }
        while position < bytes.count {
            add(bytes[position])
            position += 1
        }
    }

    /// Eight bytes, the lowest first, in one step: each has a table of what it comes to at its place.
    private mutating func add(_ number: UInt64) {
        let bytes = number ^ UInt64(state)
        var sum: UInt32 = 0
        for place in 0..<8 {
            let byte = UInt8(truncatingIfNeeded: bytes >> UInt64(place * 8))
            sum ^= table[(7 - place) * 256 + Int(byte)]
        }
        state = sum
    }

    private mutating func add(_ byte: UInt8) {
        state = state >> 8 ^ table[Int(UInt8(truncatingIfNeeded: state) ^ byte)]
    }

    /// Eight tables of 256 sums: of a byte that so many zero bytes follow. Made once, and never freed.
    private nonisolated(unsafe) static let table: UnsafePointer<UInt32> = {
        let table = UnsafeMutablePointer<UInt32>.allocate(capacity: 8 * 256)
        for byte in 0..<256 {
            var sum = (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
            for zeros in 0..<8 {
                table[zeros * 256 + byte] = sum
                sum =
                    sum >> 8
                    ^ (0..<8).reduce(sum & 0xFF) { sum, _ in
                        sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1
                    }
            }
        }
        return UnsafePointer(table)
    }()
}

extension StoredRow {
    /// Whether a row holds a checksum: rows from before format 6 do not.
    /// - Parameter column: where that is.
    func isChecked(at column: Int32) -> Bool { count > Int(column) && integer(at: column) != RowChecksum.none }

    /// Whether a row is as it was committed, as far as it can tell.
    /// - Parameters:
    ///   - column: where its checksum is.
    ///   - checksum: the sum of what was read of it.
    func isWhole(at column: Int32, _ checksum: @autoclosure () -> Int64) -> Bool {
        !isChecked(at: column) || integer(at: column) == checksum()
    }
}
