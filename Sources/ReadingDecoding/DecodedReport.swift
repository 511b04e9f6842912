import Readings

/// What a message of the topic is.
public enum DecodedMessage {
    /// A reading, whose texts are valid until the decoder's next call.
    case reading(DecodedReading)
    /// What a gateway tells of its streams.
    case report(DecodedReport)
}

/// A valid report of a gateway: its numbers and ranges are within the contract's bounds. Ranges may overlap and come in
/// any order, and a stream may be named more than once.
public struct DecodedReport: Sendable, Equatable {
    /// What a report says of the stream before another one. Of two sayings the larger one holds: whoever names a stream
    /// knows more than who says that there is none.
    public enum Previous: Sendable, Hashable, Comparable {
        /// It says nothing.
        case notTold
        /// There is none.
        case noStream
        /// It is this one.
        case stream(StreamID)

        /// Orders by what is known, and streams by their bits.
        public static func < (left: Previous, right: Previous) -> Bool { left.rank < right.rank }

        private var rank: (Int, UInt64) {
            switch self {
            case .notTold: (0, 0)
            case .noStream: (1, 0)
            case .stream(let stream): (2, stream.bits)
            }
        }
    }

    /// A stream.
    public struct Stream: Sendable, Equatable {
        /// The stream.
        public var streamID: StreamID
        /// Its first number, at least 1.
        public var first: Int64
        /// Its last number, at least `first - 1`; nil while it runs.
        public var last: Int64?
        /// The stream before it in the same outbox.
        public var previous = Previous.notTold
    }

    /// Numbers that do not come.
    public struct Gap: Sendable, Equatable {
        /// The stream.
        public var streamID: StreamID
        /// Why, as the gateway writes it: one of `GatewayReport.GapReason`, or a reason of a newer gateway.
        public var reason: String
        /// The numbers.
        public var ranges: [ClosedRange<Int64>]
    }

    /// The gateway.
    public var gatewayID: Identifier
    /// The streams that are told of.
    public var streams: [Stream] = []
    /// The gaps that are told of.
    public var gaps: [Gap] = []
}
