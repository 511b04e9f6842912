@testable import ProcessorCore

extension ReadingBatch {
    /// Notes that messages belong to the batch, of a log of which nothing else is known.
    mutating func count(messages: Int, partition: Int32, through next: Int64, from offset: Int64) {
        count(
            messages: messages, partition: partition, through: LogPosition(next: next), from: LogPosition(next: offset))
    }
}
