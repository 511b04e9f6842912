import KafkaClient

/// How far a partition was read, and of which log.
struct LogPosition: Sendable, Hashable {
    /// The next offset.
    var next: Int64
    /// How often `next` has gone back. Whoever writes with an older one no longer owns the partition.
    var generation: Int64 = 0
    /// The last message before `next`; nil if nobody has read one yet.
    var last: MessageMark?

    /// The position once all before an offset has been read.
    /// - Parameter last: the last message before it; nil if it is the same as before.
    func moved(to next: Int64, last: MessageMark? = nil) -> LogPosition {
        LogPosition(
            next: next, generation: next < self.next ? generation + 1 : generation, last: last ?? self.last)
    }
}

/// What is kept of a message to recognise it: a log that has another message at this offset is another log.
struct MessageMark: Sendable, Hashable {
    /// The offset.
    var offset: Int64
    /// As Kafka has it, in milliseconds; nil if the message has none.
    var timestamp: Int64?
    /// The bytes of key and value.
    var size: Int64
    /// CRC-32 of the key, followed by the value.
    var checksum: UInt32
}

extension MessageMark {
    init(_ message: KafkaMessageView) {
        var sum = CRC32()
        sum.update(message.key)
        sum.update(message.value)
        self.init(
            offset: message.offset, timestamp: message.timestamp,
            size: Int64(message.key.count + message.value.count), checksum: sum.value)
    }
}

/// CRC-32 as in ISO 3309, zlib and Ethernet: polynomial 0x04C11DB7, reflected.
struct CRC32: Sendable {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0xEDB8_8320 }
    }

    private var state = UInt32.max

    /// The checksum of all bytes so far.
    var value: UInt32 { ~state }

    /// Adds bytes.
    mutating func update(_ bytes: some Sequence<UInt8>) {
        state = CRC32.table.withUnsafeBufferPointer { table in
            bytes.reduce(state) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
        }
    }
}
