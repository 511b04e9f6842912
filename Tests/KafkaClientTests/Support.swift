import CRdkafka
import Glibc
import Synchronization
import Testing

@testable import KafkaClient

/// The broker that integration tests use, or nil after saying so.
let kafkaServers: String? = {
    if let value = getenv("VIGIE_KAFKA") { return String(cString: value) }
    print("Tests against a broker are skipped: VIGIE_KAFKA (a bootstrap list) is not set")
    return nil
}()

/// A topic name that nothing else uses.
func uniqueName(_ prefix: String = "test") -> String {
    "\(prefix)-\(getpid())-\(UInt64.random(in: .min ... .max))"
}

/// Collects what a producer reports, and waits for it.
final class Reports: Sendable {
    private let received = Mutex<[DeliveryReport]>([])
    private let batches = Mutex(0)

    var all: [DeliveryReport] { received.withLock { $0 } }
    var tokens: [UInt64] { all.map(\.token) }
    var batchCount: Int { batches.withLock { $0 } }

    @Sendable func receive(_ reports: [DeliveryReport]) {
        batches.withLock { $0 += 1 }
        received.withLock { $0 += reports }
    }
}

/// A consumed message, copied.
struct Copied: Equatable {
    var partition: Int32
    var offset: Int64
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [KafkaHeader]

    init(_ view: KafkaMessageView) {
        partition = view.partition
        offset = view.offset
        key = view.key.baseAddress == nil ? nil : Array(view.key)
        value = view.value.baseAddress == nil ? nil : Array(view.value)
        headers = view.headers
    }
}

extension KafkaConsumer {
    /// Polls until `isDone` says so of all that came so far, at most 30 s.
    func collect(
        until isDone: ([Copied], [KafkaConsumerEvent]) -> Bool
    ) -> (messages: [Copied], events: [KafkaConsumerEvent]) {
        var messages: [Copied] = []
        var events: [KafkaConsumerEvent] = []
        let end = ContinuousClock.now + .seconds(30)
        while !isDone(messages, events) && ContinuousClock.now < end {
            nextBatch(maximumMessages: 1000, timeout: .milliseconds(100)) { views, found in
                messages += views.map { Copied($0) }
                events += found
            }
        }
        return (messages, events)
    }
}

/// Produces `count` messages with the values "0", "1" ... to one partition and waits for their acknowledgement.
func fill(_ servers: String, _ topic: String, partition: Int32 = 0, count: Int) async throws {
    let reports = Reports()
    let producer = try KafkaProducer(
        configuration: KafkaConfiguration(bootstrapServers: servers), deliveries: reports.receive)
    for number in 0..<count {
        try producer.send(
            topic: topic, key: Array("key".utf8), value: Array("\(number)".utf8), partition: partition,
            token: UInt64(number))
    }
    try await producer.flush(timeout: .seconds(20))
    await producer.close(timeout: .seconds(1))
    try #require(reports.all.allSatisfy { $0.error == nil })
}

/// What `body` throws as a KafkaError; fails the test if it throws nothing or something else.
func kafkaError(_ body: () async throws -> Void) async throws -> KafkaError {
    do {
        try await body()
    } catch {
        return try #require(error as? KafkaError)
    }
    Issue.record("nothing was thrown")
    throw KafkaError(.state, "nothing was thrown")
}

extension KafkaProducer {
    /// Makes the handle fail as if the broker had caused a fatal error.
    func simulateFatalError(_ code: KafkaError.Code, reason: String) throws(KafkaError) {
        let failure = rd_kafka_test_fatal_error(handle.pointer, rd_kafka_resp_err_t(code.rawValue), reason)
        if failure != RD_KAFKA_RESP_ERR_NO_ERROR {
            throw KafkaError(KafkaError.Code(rawValue: failure.rawValue), "simulate a fatal error")
        }
    }
}
