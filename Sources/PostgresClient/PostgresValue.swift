/// A Swift type that PostgreSQL's binary format can carry, alone or in a one-dimensional array.
public protocol PostgresValue: Sendable {
    /// The object identifier of the type that is sent (pg_type.oid).
    static var typeIdentifier: UInt32 { get }
    /// The object identifier of its array type.
    static var arrayTypeIdentifier: UInt32 { get }
    /// The types of result columns that it can be read from.
    static func canDecode(_ typeIdentifier: UInt32) -> Bool
    /// Reads the value; nil if the bytes are not one.
    init?(postgresBytes: UnsafeRawBufferPointer)
    /// Writes the value as a field: its length in four bytes, then its bytes.
    func appendField(to writer: inout PostgresFieldWriter)
}

extension PostgresValue {
    /// Only columns of the same type.
    public static func canDecode(_ typeIdentifier: UInt32) -> Bool { typeIdentifier == Self.typeIdentifier }
}

/// Where a `PostgresValue` writes itself.
public struct PostgresFieldWriter: ~Copyable {
    var buffer: BinaryBuffer

    /// Appends a fixed-width value in network byte order.
    public mutating func append<Integer: FixedWidthInteger>(_ value: Integer) { buffer.appendField(value) }

    /// Appends bytes.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) { buffer.appendField(bytes) }
}

/// Reads a big-endian integer if the width fits.
private func integer<Integer: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer) -> Integer? {
    bytes.count == MemoryLayout<Integer>.size ? Integer(bigEndian: bytes.loadUnaligned(as: Integer.self)) : nil
}

extension Bool: PostgresValue {
    /// bool
    public static var typeIdentifier: UInt32 { 16 }
    /// bool[]
    public static var arrayTypeIdentifier: UInt32 { 1000 }

    /// One byte, 0 or 1.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard postgresBytes.count == 1 else { return nil }
        self = postgresBytes[0] != 0
    }

    /// One byte, 0 or 1.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(UInt8(self ? 1 : 0)) }
}

extension Int16: PostgresValue {
    /// int2
    public static var typeIdentifier: UInt32 { 21 }
    /// int2[]
    public static var arrayTypeIdentifier: UInt32 { 1005 }

    /// Two bytes.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let value: Int16 = integer(postgresBytes) else { return nil }
        self = value
    }

    /// Two bytes.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(self) }
}

extension Int32: PostgresValue {
    /// int4
    public static var typeIdentifier: UInt32 { 23 }
    /// int4[]
    public static var arrayTypeIdentifier: UInt32 { 1007 }

    /// Four bytes.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let value: Int32 = integer(postgresBytes) else { return nil }
        self = value
    }

    /// Four bytes.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(self) }
}

extension Int64: PostgresValue {
    /// int8
    public static var typeIdentifier: UInt32 { 20 }
    /// int8[]
    public static var arrayTypeIdentifier: UInt32 { 1016 }

    /// Eight bytes.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let value: Int64 = integer(postgresBytes) else { return nil }
        self = value
    }

    /// Eight bytes.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(self) }
}

extension Double: PostgresValue {
    /// float8
    public static var typeIdentifier: UInt32 { 701 }
    /// float8[]
    public static var arrayTypeIdentifier: UInt32 { 1022 }

    /// Eight bytes, IEEE 754.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let pattern: UInt64 = integer(postgresBytes) else { return nil }
        self = Double(bitPattern: pattern)
    }

    /// Eight bytes, IEEE 754.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(bitPattern) }
}

extension String: PostgresValue {
    /// text
    public static var typeIdentifier: UInt32 { 25 }
    /// text[]
    public static var arrayTypeIdentifier: UInt32 { 1009 }

    /// text, varchar, char(n), name, json, and literals whose type is unknown.
    public static func canDecode(_ typeIdentifier: UInt32) -> Bool {
        [25, 1043, 1042, 19, 114, 705].contains(typeIdentifier)
    }

    /// UTF-8.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let value = String(validating: postgresBytes, as: UTF8.self) else { return nil }
        self = value
    }

    /// UTF-8. The server refuses a NUL character (SQLSTATE 22021).
    public func appendField(to writer: inout PostgresFieldWriter) {
        var copy = self
        copy.withUTF8 { writer.append(UnsafeRawBufferPointer($0)) }
    }
}

extension Array: PostgresValue where Element == UInt8 {
    /// bytea
    public static var typeIdentifier: UInt32 { 17 }
    /// bytea[]
    public static var arrayTypeIdentifier: UInt32 { 1001 }

    /// The bytes.
    public init?(postgresBytes: UnsafeRawBufferPointer) { self.init(postgresBytes) }

    /// The bytes.
    public func appendField(to writer: inout PostgresFieldWriter) { withUnsafeBytes { writer.append($0) } }
}

/// A `timestamptz`: microseconds since 1970-01-01T00:00:00Z.
public struct PostgresTimestamp: PostgresValue, Hashable, Comparable {
    /// Microseconds since the Unix epoch. Int64.min is PostgreSQL's `-infinity`, Int64.max its `infinity`.
    public var microseconds: Int64

    /// Makes a timestamp.
    public init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Makes a timestamp from milliseconds since the Unix epoch, clamped to what microseconds can say.
    public init(milliseconds: Int64) {
        let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
        microseconds = overflow ? (milliseconds < 0 ? .min : .max) : product
    }

    /// Milliseconds since the Unix epoch, rounded down.
    public var milliseconds: Int64 {
        microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0)
    }

    /// Orders by time.
    public static func < (left: PostgresTimestamp, right: PostgresTimestamp) -> Bool {
        left.microseconds < right.microseconds
    }

    /// Earlier than every time: `-infinity`.
    public static let negativeInfinity = PostgresTimestamp(microseconds: .min)
    /// Later than every time: `infinity`.
    public static let infinity = PostgresTimestamp(microseconds: .max)

    /// timestamptz
    public static var typeIdentifier: UInt32 { 1184 }
    /// timestamptz[]
    public static var arrayTypeIdentifier: UInt32 { 1185 }

    /// 2000-01-01T00:00:00Z, where PostgreSQL's binary timestamps count from, since the Unix epoch.
    static let postgresEpoch: Int64 = 946_684_800_000_000

    /// The binary value: since 2000. Too early for 64 bits becomes `-infinity`.
    @inlinable var sincePostgresEpoch: Int64 {
        if microseconds == .max { return .max }
        let (difference, overflow) = microseconds.subtractingReportingOverflow(946_684_800_000_000)
        return overflow ? .min : difference
    }

    /// Eight bytes: microseconds since 2000. Years after 294246 become `infinity`.
    public init?(postgresBytes: UnsafeRawBufferPointer) {
        guard let value: Int64 = integer(postgresBytes) else { return nil }
        if value == .min {
            microseconds = .min
        } else {
            let (sum, overflow) = value.addingReportingOverflow(Self.postgresEpoch)
            microseconds = overflow ? .max : sum
        }
    }

    /// Eight bytes: microseconds since 2000.
    public func appendField(to writer: inout PostgresFieldWriter) { writer.append(sincePostgresEpoch) }
}

/// One parameter of a statement, in binary.
public struct PostgresParameter: Sendable {
    let typeIdentifier: UInt32
    /// nil is NULL.
    let field: Field?

    /// A field's bytes, with an address that stays while they live.
    final class Field: @unchecked Sendable {
        // Never written after init, so it may be read from any thread.
        private let buffer: BinaryBuffer

        init(_ buffer: consuming BinaryBuffer) {
            self.buffer = buffer
        }

        /// The bytes without the length before them. The buffer always starts with one.
        var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer.bytes.dropFirst(4)) }
    }

    /// A value, or NULL.
    public static func value<Value: PostgresValue>(_ value: Value?) -> PostgresParameter {
        guard let value else { return PostgresParameter(typeIdentifier: Value.typeIdentifier, field: nil) }
        var writer = PostgresFieldWriter(buffer: BinaryBuffer(capacity: 16))
        value.appendField(to: &writer)
        return PostgresParameter(typeIdentifier: Value.typeIdentifier, field: Field(writer.buffer))
    }

    // Of what large arrays are made there is a way that is compiled for the type: another module calls a generic one
    // through its witnesses, which takes several times as long an element.

    /// A one-dimensional array of int8.
    public static func array(_ elements: [Int64]) -> PostgresParameter { encoded(elements.lazy.map { Optional($0) }) }

    /// A one-dimensional array of float8, whose elements may be NULL.
    public static func array(_ elements: [Double?]) -> PostgresParameter { encoded(elements) }

    /// A one-dimensional array of text.
    public static func array(_ elements: [String]) -> PostgresParameter { encoded(elements.lazy.map { Optional($0) }) }

    /// A one-dimensional array of timestamptz.
    public static func array(_ elements: [PostgresTimestamp]) -> PostgresParameter {
        encoded(elements.lazy.map { Optional($0) })
    }

    /// A one-dimensional array, such as `unnest($1::int8[])` takes.
    public static func array<Value: PostgresValue>(_ elements: some Sequence<Value>) -> PostgresParameter {
        encoded(elements.lazy.map { Optional($0) })
    }

    /// A one-dimensional array whose elements may be NULL.
    public static func array<Value: PostgresValue>(_ elements: some Sequence<Value?>) -> PostgresParameter {
        encoded(elements)
    }

    private static func encoded<Value: PostgresValue>(_ elements: some Sequence<Value?>) -> PostgresParameter {
        var writer = PostgresFieldWriter(buffer: BinaryBuffer(capacity: 24 + elements.underestimatedCount * 12))
        // Layout: array_send() in PostgreSQL's src/backend/utils/adt/arrayfuncs.c: dimensions, whether there are NULLs,
        // element type; for each dimension its length and lower bound; then each element as a field.
        writer.buffer.append(Int32(0))  // Where a single value has its length.
        writer.buffer.append(Int32(1))
        writer.buffer.append(Int32(0))
        writer.buffer.append(Value.typeIdentifier)
        writer.buffer.append(Int32(0))
        writer.buffer.append(Int32(1))
        var count: Int32 = 0
        var hasNull = false
        for element in elements {
            if let element {
                element.appendField(to: &writer)
            } else {
                writer.buffer.appendNull()
                hasNull = true
            }
            count += 1
        }
        if count == 0 {
            // An empty array has no dimensions at all.
            writer.buffer.replace(at: 4, with: 0)
            writer.buffer.count = 16
        } else {
            if hasNull { writer.buffer.replace(at: 8, with: 1) }
            writer.buffer.replace(at: 16, with: count)
        }
        return PostgresParameter(typeIdentifier: Value.arrayTypeIdentifier, field: Field(writer.buffer))
    }
}
