import CReadingParser
import Readings

/// A valid reading whose texts still lie in the decoder's memory, so that decoding it has allocated nothing.
///
/// The texts are valid until the decoder's next call.
public struct DecodedReading {
    /// The board, checked as an `Identifier` is.
    public let gatewayID: UnsafeBufferPointer<UInt8>
    /// The sensor, checked as an `Identifier` is.
    public let sensorID: UnsafeBufferPointer<UInt8>
    /// The run of numbers that its number belongs to.
    public let streamID: StreamID
    /// Its number in the stream, at least 1.
    public let sequence: Int64
    /// The first number of its stream, 1 to `sequence`.
    public let streamFirst: Int64
    /// When the air was measured.
    public let eventTime: Timestamp
    /// How far the time can be trusted.
    public let timeQuality: TimeQuality
    /// The sampling interval, milliseconds.
    public let intervalMilliseconds: Int64
    /// What was measured.
    public let values: Values
    /// Degrees north.
    public let latitude: Double?
    /// Degrees east.
    public let longitude: Double?
    /// Whether the air was simulated.
    public let isSimulated: Bool
    let faults: UnsafeBufferPointer<vigie_text>

    /// How many faults the reading has.
    public var faultCount: Int { faults.count }

    /// The text of one fault, `chip:what`.
    /// - Parameter index: from 0, less than `faultCount`.
    public func fault(at index: Int) -> UnsafeBufferPointer<UInt8> { faults[index].buffer }

    /// The reading as a value of its own, which outlives the decoder. Never nil for what the decoder returned.
    public var reading: Reading? {
        func text(_ bytes: some Collection<UInt8>) -> Identifier? { Identifier(String(decoding: bytes, as: UTF8.self)) }
        guard let gatewayID = text(gatewayID), let sensorID = text(sensorID) else { return nil }
        let faults = faults.compactMap { fault -> Fault? in
            let parts = fault.buffer.split(separator: UInt8(ascii: ":"), maxSplits: 1)
            guard parts.count == 2, let chip = text(parts[0]), let kind = text(parts[1]) else { return nil }
            return Fault(chip: chip, kind: kind)
        }
        var place: Place?
        if let latitude, let longitude { place = Place(latitude: latitude, longitude: longitude) }
        return Reading(
            gatewayID: gatewayID, sensorID: sensorID, streamID: streamID, sequence: sequence,
            streamFirst: streamFirst == 1 ? nil : streamFirst, eventTime: eventTime, timeQuality: timeQuality,
            intervalMilliseconds: intervalMilliseconds,
            values: values, faults: faults, place: place, isSimulated: isSimulated)
    }
}
