import Readings

/// The number of a reading that is rejected.
public struct RejectedNumber: Sendable, Equatable {
    /// The board.
    public var gatewayID: String
    /// The run of numbers that it belongs to.
    public var streamID: StreamID
    /// The number, as `Reading.numbers` allows.
    public var sequence: Int64

    /// Makes a number from its parts.
    public init(gatewayID: String, streamID: StreamID, sequence: Int64) {
        self.gatewayID = gatewayID
        self.streamID = streamID
        self.sequence = sequence
    }
}
