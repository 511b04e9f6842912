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

/// How far an outbox may grow before it drops its oldest readings.
public struct OutboxLimits: Sendable, Equatable {
    /// The most readings.
    public var readings: Int
    /// The most bytes of the file's pages in use.
    public var bytes: Int64

    /// Makes limits; the defaults hold about a year of a station that is read every ten seconds.
    public init(readings: Int = 4_000_000, bytes: Int64 = 512 << 20) {
        self.readings = readings
        self.bytes = bytes
    }
}

/// How full an outbox is.
public struct OutboxStatus: Sendable, Equatable {
    /// Readings that wait.
    public var depth: Int
    /// The event time of the oldest one.
    public var oldest: Timestamp?
    /// The largest number ever given; 0 in a new outbox.
    public var lastSequence: Int64
    /// Bytes of the file's pages in use.
    public var bytes: Int64
    /// Readings dropped for want of room since the file was made.
    public var dropped: Int64
    /// Readings set aside because they can never be sent.
    public var quarantined: Int
}
