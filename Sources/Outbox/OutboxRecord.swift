import Readings

/// A reading as the outbox holds it: with what is needed to correct its time later.
public struct OutboxRecord: Sendable, Equatable {
    /// The reading. Its stream and number are the outbox's: what `append` is given there is not looked at.
    public var reading: Reading
    /// The kernel's name for this run of the system (/proc/sys/kernel/random/boot_id).
    public var bootID: String
    /// CLOCK_BOOTTIME (clock_gettime(2)) when the air was measured, in milliseconds.
    public var bootTimeMilliseconds: Int64
    /// When the outbox committed it, by the wall clock; nil if that is not known. What `append` is given there is not
    /// looked at.
    public var committedAt: Timestamp?

    /// Makes a record.
    public init(reading: Reading, bootID: String, bootTimeMilliseconds: Int64, committedAt: Timestamp? = nil) {
        self.reading = reading
        self.bootID = bootID
        self.bootTimeMilliseconds = bootTimeMilliseconds
        self.committedAt = committedAt
    }
}

/// A reading that the broker refused alone.
public struct QuarantinedReading: Sendable, Equatable {
    /// Its number.
    public var sequence: Int64
    /// The stream that its number belongs to.
    public var streamID: StreamID
    /// The gateway; also the message's key.
    public var gatewayID: String
    /// When the air was measured.
    public var eventTime: Timestamp
    /// Why it was refused.
    public var reason: String
    /// When it was refused last; nil for one that an older release set aside.
    public var quarantinedAt: Timestamp?
    /// Whether it is to be sent once more.
    public var isRequeued: Bool
    /// The message as it was refused, one JSON object.
    public var body: String
}

/// A message of the gateway's report that is to go before the readings that follow it.
public struct OutboxReport: Sendable, Equatable {
    /// Names it in `Outbox.acknowledge(report:)`.
    public var id: Int64
    /// The gateway that it is about; also the message's key.
    public var gatewayID: Identifier
    /// The message, one JSON object.
    public var message: [UInt8]
}
