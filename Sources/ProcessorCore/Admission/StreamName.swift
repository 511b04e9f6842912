import Readings

/// A stream of a gateway, by its names.
struct StreamName: Hashable, Comparable {
    var gatewayID: String
    var streamID: StreamID

    static func < (left: StreamName, right: StreamName) -> Bool {
        (left.gatewayID, left.streamID.bits) < (right.gatewayID, right.streamID.bits)
    }
}
