import Platform
import Readings

/// A reading that came under a number that another reading has.
struct SequenceConflict: Sendable, Equatable {
    /// The stream under which it came.
    var name: StreamName
    /// The number under which it came.
    var sequence: Int64
    var sensorID: String
    /// Milliseconds since 1970.
    var eventTime: Int64
    var values: Values
    /// Where it stands in the topic.
    var partition: Int32
    var offset: Int64

    /// The stream that is made for it. It depends on the reading alone, so that the same reading has the same stream
    /// however often and wherever it comes.
    var ownStream: StreamID {
        SequenceConflict.ownStream(
            gatewayID: name.gatewayID, streamID: name.streamID, sequence: sequence, sensorID: sensorID,
            eventTime: eventTime, values: values)
    }

    /// The name of that stream.
    var ownName: StreamName { StreamName(gatewayID: name.gatewayID, streamID: ownStream) }

    /// Its only number in that stream.
    static let ownSequence: Int64 = 1

    /// The first 64 bits of SHA-256 over the reading's names, number, time and quantities, each on a line of its own.
    /// - Parameter eventTime: milliseconds since 1970.
    static func ownStream(
        gatewayID: String, streamID: StreamID, sequence: Int64, sensorID: String, eventTime: Int64, values: Values
    ) -> StreamID {
        var lines = [gatewayID, "\(streamID)", "\(sequence)", sensorID, "\(eventTime)"]
        for quantity in Quantity.all {
            // The bits of the number, so that no way of writing it matters. Adding zero makes of -0 what it is equal to.
            if let value = values[quantity] { lines.append("\(quantity.name) \((value + 0).bitPattern)") }
        }
        let digest = SHA256.digest(of: Array(lines.joined(separator: "\n").utf8))
        return StreamID(bits: UInt64(digest[0]) << 32 | UInt64(digest[1]))
    }
}

extension SequenceConflict {
    /// The conflict that a row of a batch is.
    init(_ row: ReadingBatch.Row, of batch: ReadingBatch) {
        let stream = batch.streams[Int(row.stream)]
        self.init(
            name: StreamName(gatewayID: batch.gateways[Int(stream.gateway)], streamID: stream.streamID),
            sequence: row.sequence, sensorID: batch.sensors[Int(row.sensor)].name, eventTime: row.eventTime,
            values: row.values, partition: row.partition, offset: row.offset)
    }
}

/// Conflicts that are not in the rejected topic yet. The transaction that found them is rolled back: they go there first,
/// so that each is there at least once when the table has it.
struct UnannouncedConflicts: Error {
    var conflicts: [SequenceConflict]
}
