import ReadingDecoding
import Readings

/// Which rejected messages are sent back, and how.
public struct RedriveOptions: Sendable {
    /// Only those with one of these reasons; empty for all.
    public var reasons: Set<String> = []
    /// Only those of this gateway, by their key or their value.
    public var gateway: String?
    /// Only those rejected at this time or later.
    public var since: Timestamp?
    /// Only those rejected before this time.
    public var until: Timestamp?
    /// Only those read from this partition.
    public var partition: Int32?
    /// Only the one read from this offset.
    public var offset: Int64?
    /// At most so many are sent.
    public var limit: Int?
    /// Says what would be sent, and sends nothing.
    public var isDryRun = false
    /// Sends also what would be rejected again.
    public var isForced = false
    /// A shell command that every selected message goes through.
    public var repair: String?

    /// All messages.
    public init() {}

    /// The reasons that there are.
    public static var knownReasons: [String] { Rejection.Reason.allCases.map(\.rawValue) }

    /// Whether a message is asked for, by all but its gateway.
    func selects(_ message: RejectedMessage) -> Bool {
        if !reasons.isEmpty, !reasons.contains(message.reason) { return false }
        if let since, message.time.map({ $0 < since }) ?? true { return false }
        if let until, message.time.map({ $0 >= until }) ?? true { return false }
        if let partition, message.partition != partition { return false }
        if let offset, message.offset != offset { return false }
        return true
    }
}
