import Readings

/// How far an outbox may grow, and what gives way then.
public struct OutboxLimits: Sendable, Equatable {
    /// What gives way when a bound is reached.
    public enum Policy: String, Sendable, CaseIterable {
        /// The oldest readings go.
        case dropOldest = "drop_oldest"
        /// New readings are not taken.
        case dropNewest = "drop_newest"
        /// Every second reading of each sensor goes in the oldest half, so that a long outage keeps its shape.
        case thin
    }

    /// The most readings.
    public var readings: Int
    /// The most bytes in use: of the file, with its quarantine, and of SQLite's log beside it.
    public var bytes: Int64
    /// The greatest age of a reading by its event time; nil: any. A board whose clock is wrong drops what is not old.
    public var age: Duration?
    /// Bytes that stay free on the file system: with less a file of more than `smallFile` bytes does not grow, and what is
    /// new takes the place of what gives way.
    public var freeBytes: Int64
    /// What gives way. What passes `age` goes under every policy.
    public var policy: Policy
    /// The most readings in the quarantine; beyond it the oldest there are forgotten.
    public var quarantinedReadings: Int
    /// The most bytes of messages in the quarantine.
    public var quarantinedBytes: Int64

    /// Bytes in use up to which a file grows although the file system is short of space.
    public static let smallFile: Int64 = 1 << 20

    /// Makes limits; the defaults hold about a year of a station that is read every ten seconds.
    public init(
        readings: Int = 4_000_000, bytes: Int64 = 512 << 20, age: Duration? = nil, freeBytes: Int64 = 16 << 20,
        policy: Policy = .dropOldest, quarantinedReadings: Int = 10_000, quarantinedBytes: Int64 = 16 << 20
    ) {
        self.readings = readings
        self.bytes = bytes
        self.age = age
        self.freeBytes = freeBytes
        self.policy = policy
        self.quarantinedReadings = quarantinedReadings
        self.quarantinedBytes = quarantinedBytes
    }
}

/// How full an outbox is.
public struct OutboxStatus: Sendable, Equatable {
    /// Readings that wait. Until a file has been counted through after a crash, the most that it may be.
    public var depth: Int
    /// The event time of the oldest one.
    public var oldest: Timestamp?
    /// The largest number ever given; 0 in a new outbox.
    public var lastSequence: Int64
    /// Bytes in use: of the file's pages, and of SQLite's log beside it.
    public var bytes: Int64
    /// Readings that were given up for want of room since the file was made.
    public var dropped: Int64
    /// Readings in the quarantine.
    public var quarantined: Int
}
