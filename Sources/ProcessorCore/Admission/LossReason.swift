import Readings

/// Why numbers of a stream are not there: `reason` of the table `loss`.
///
/// Of two reasons of one number the larger holds, so that the order in which they are told does not matter.
enum LossReason: UInt8, Sendable, CaseIterable, Comparable {
    /// Nobody has said why: a hole.
    case unknown
    /// A reason that this program does not know, of a newer gateway.
    case other
    /// `GatewayReport.GapReason.quarantined`; it comes early here, as what is in quarantine can still be dropped.
    case quarantined
    /// `GatewayReport.GapReason.droppedOldest`.
    case droppedOldest
    /// `GatewayReport.GapReason.droppedNewest`.
    case droppedNewest
    /// `GatewayReport.GapReason.thinned`.
    case thinned
    /// `GatewayReport.GapReason.queueFull`.
    case queueFull
    /// `GatewayReport.GapReason.unreadable`.
    case unreadable
    /// `GatewayReport.GapReason.stopped`.
    case stopped
    /// The message is in the rejected topic, from where it may come back.
    case rejected

    /// Reads what a report or the table says.
    init(text: String) {
        guard let reason = GatewayReport.GapReason(rawValue: text) else {
            self = [.unknown, .rejected].first { $0.text == text } ?? .other
            return
        }
        self =
            switch reason {
            case .droppedOldest: .droppedOldest
            case .droppedNewest: .droppedNewest
            case .thinned: .thinned
            case .queueFull: .queueFull
            case .unreadable: .unreadable
            case .quarantined: .quarantined
            case .stopped: .stopped
            }
    }

    /// As the table `loss` has it.
    var text: String {
        switch self {
        case .unknown: "unknown"
        case .other: "other"
        case .rejected: "rejected"
        case .quarantined: GatewayReport.GapReason.quarantined.rawValue
        case .droppedOldest: GatewayReport.GapReason.droppedOldest.rawValue
        case .droppedNewest: GatewayReport.GapReason.droppedNewest.rawValue
        case .thinned: GatewayReport.GapReason.thinned.rawValue
        case .queueFull: GatewayReport.GapReason.queueFull.rawValue
        case .unreadable: GatewayReport.GapReason.unreadable.rawValue
        case .stopped: GatewayReport.GapReason.stopped.rawValue
        }
    }

    static func < (left: LossReason, right: LossReason) -> Bool { left.rawValue < right.rawValue }
}
