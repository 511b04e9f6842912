/// A growing buffer in network byte order, as PostgreSQL's binary format is.
struct BinaryBuffer: ~Copyable {
    private(set) var start: UnsafeMutableRawPointer
    private(set) var capacity: Int
    var count = 0

    init(capacity: Int) {
        self.capacity = max(capacity, 16)
        start = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    }

    deinit {
        start.deallocate()
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    /// Makes room for `byteCount` more bytes.
    mutating func reserve(_ byteCount: Int) {
        if capacity - count < byteCount { grow(byteCount) }
    }

    mutating func grow(_ byteCount: Int) {
        let newCapacity = max(capacity * 2, count + byteCount)
        let new = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
        new.copyMemory(from: start, byteCount: count)
        start.deallocate()
        start = new
        capacity = newCapacity
    }

    /// Writes without a check: `reserve` came before.
    mutating func appendReserved<Integer: FixedWidthInteger>(_ value: Integer) {
        start.storeBytes(of: value.bigEndian, toByteOffset: count, as: Integer.self)
        count += MemoryLayout<Integer>.size
    }

    mutating func append<Integer: FixedWidthInteger>(_ value: Integer) {
        reserve(MemoryLayout<Integer>.size)
        appendReserved(value)
    }

    /// A field: its length, then its value.
    mutating func appendField<Integer: FixedWidthInteger>(_ value: Integer) {
        reserve(4 + MemoryLayout<Integer>.size)
        appendReserved(Int32(MemoryLayout<Integer>.size))
        appendReserved(value)
    }

    /// A field of bytes. Longer than Int32.max cannot be sent; such a field is sent as its first Int32.max bytes and
    /// the server refuses it, as its own limit is lower.
    mutating func appendField(_ value: UnsafeRawBufferPointer) {
        let length = min(value.count, Int(Int32.max))
        reserve(4 + length)
        appendReserved(Int32(length))
        if length > 0, let base = value.baseAddress {
            (start + count).copyMemory(from: base, byteCount: length)
            count += length
        }
    }

    /// A field that is NULL: length -1, no value.
    mutating func appendNull() {
        append(Int32(-1))
    }

    /// Overwrites four bytes.
    mutating func replace(at offset: Int, with value: Int32) {
        start.storeBytes(of: value.bigEndian, toByteOffset: offset, as: Int32.self)
    }
}
