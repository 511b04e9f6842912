import FleetCore
import KafkaClient
import Synchronization
import Testing

extension Site {
    /// Sends the next messages of a fleet to the topic, by a client of its own: it knows the partitions that there are.
    func send(_ count: Int, of generator: inout FleetGenerator) async throws {
        let total = generator.manifest.messages + count
        let asked = Mutex(0)
        try await FleetProducer(configuration: kafka, topic: topic).run(&generator) {
            asked.withLock { asked in
                asked += 1
                return asked > count
            }
        }
        #expect(generator.manifest.messages == total)
    }
}
