/// Encodes the rows of `COPY ... FROM STDIN (FORMAT binary)` (PostgreSQL manual, COPY, "Binary Format") and sends them
/// in chunks. A row is `beginRow`, then one append a column, in the order of the statement's columns.
///
/// Nothing is sent in the middle of a row, so only `beginRow` can fail.
public struct BinaryCopyWriter: ~Copyable {
    var buffer: BinaryBuffer
    let connection: PostgresConnection?
    let chunkSize: Int
    /// Rows begun so far.
    public private(set) var rowCount = 0

    /// Without a connection what is encoded is dropped chunk by chunk, for measurements.
    init(connection: PostgresConnection?, chunkSize: Int = 128 * 1024) {
        self.connection = connection
        self.chunkSize = chunkSize
        buffer = BinaryBuffer(capacity: chunkSize + 4096)
        for byte in "PGCOPY\n".utf8 { buffer.append(byte) }
        for byte: UInt8 in [0xFF, 0x0D, 0x0A, 0x00] { buffer.append(byte) }
        buffer.append(Int32(0))  // Flags: no oids.
        buffer.append(Int32(0))  // No header extension.
    }

    /// Begins the next row, and sends what is there if it is enough.
    /// - Parameter fields: how many columns follow.
    /// - Throws: the connection is lost.
    public mutating func beginRow(fields: Int16) throws(PostgresError) {
        if buffer.count >= chunkSize { try send() }
        countRow()
        buffer.append(fields)
    }

    mutating func countRow() { rowCount += 1 }

    /// Appends NULL.
    public mutating func appendNull() { buffer.appendNull() }

    /// Appends an int2.
    public mutating func append(_ value: Int16) { buffer.appendField(value) }

    /// Appends an int4.
    public mutating func append(_ value: Int32) { buffer.appendField(value) }

    /// Appends an int8.
    public mutating func append(_ value: Int64) { buffer.appendField(value) }

    /// Appends a float8.
    public mutating func append(_ value: Double) { buffer.appendField(value.bitPattern) }

    /// Appends a float8 or NULL.
    public mutating func append(_ value: Double?) {
        if let value { append(value) } else { appendNull() }
    }

    /// Appends a bool.
    public mutating func append(_ value: Bool) { buffer.appendField(UInt8(value ? 1 : 0)) }

    /// Appends a timestamptz.
    public mutating func append(_ value: PostgresTimestamp) { buffer.appendField(value.sincePostgresEpoch) }

    /// Appends a text (in UTF-8) or bytea from memory.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) { buffer.appendField(bytes) }

    /// Appends a text.
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { buffer.appendField(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a one-dimensional array of text, such as a text[] column takes.
    public mutating func append(_ texts: [String]) {
        PostgresParameter.array(texts).withBytes { buffer.appendField($0) }
    }

    mutating func send() throws(PostgresError) {
        defer { buffer.count = 0 }
        guard let connection, buffer.count > 0 else { return }
        try connection.sendCopyData(buffer.bytes)
    }

    mutating func finish() throws(PostgresError) {
        buffer.append(Int16(-1))  // The trailer.
        try send()
    }
}

extension PostgresParameter {
    fileprivate func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        if let field { withExtendedLifetime(field) { body(field.bytes) } }
    }
}
