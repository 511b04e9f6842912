import KafkaTestSupport
import Synchronization
import TestSupport
import Testing

@testable import KafkaClient

/// One line a change of state, whatever librdkafka reports.
@Suite struct KafkaStateWatchTests {
    private static let configuration = KafkaConfiguration(bootstrapServers: "kafka-1:9092,kafka-2:9092")
    private let start = ContinuousClock.Instant.now
    private var watch = KafkaStateWatch(configuration)

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private static let refused = KafkaError(
        .transport, "client",
        message: "kafka-1:9092/1: Connect to ipv4#192.0.2.1:9092 failed: Connection refused (after 0ms in state"
            + " CONNECT)")
    private static let lost = KafkaError(
        .transport, "client", message: "kafka-1:9092/1: Disconnected (after 30000ms in state UP)")
    private static let down = KafkaError(.allBrokersDown, "client", message: "2/2 brokers are down")
    private static let late = KafkaError(.messageTimedOut, "deliver to t")
    private static let password = KafkaError(
        .authentication, "client",
        message: "kafka-1:9092/1: SASL authentication error: no (after 1ms in state AUTH_REQ)")
    private static let denied = KafkaError(.topicAuthorizationFailed, "deliver to t")

    private static func kind(_ change: KafkaStateChange?) -> KafkaTrouble.Kind? {
        if case .trouble(let trouble, _) = change { trouble.kind } else { nil }
    }

    @Test mutating func aBrokerThatGoesAndComesBackIsTwoLines() {
        #expect(watch.connection(to: "kafka-1:9092", isUp: true, at: at(0)) == nil)
        #expect(watch.connection(to: "kafka-1:9092", isUp: false, at: at(10)) == nil)
        #expect(Self.kind(watch.failed(Self.lost, at: at(10))) == .unreachable)
        for second in 11..<200 {
            #expect(watch.failed(Self.refused, at: at(Double(second))) == nil)
            #expect(watch.failed(Self.down, at: at(Double(second))) == nil)
            #expect(watch.failed(Self.late, at: at(Double(second))) == nil)
        }
        // Health has the latest reason.
        #expect(watch.trouble?.text == "no connection to kafka-1:9092: Connection refused")
        #expect(watch.connection(to: "kafka-1:9092", isUp: true, at: at(200)) == nil)
        let change = watch.succeeded(at: at(201))
        guard case .recovered(_, let duration) = change else {
            Issue.record("\(String(describing: change))")
            return
        }
        #expect(duration == .seconds(191))
        #expect(watch.succeeded(at: at(202)) == nil && watch.trouble == nil)
    }

    /// A client with nothing to send is well again when it has been connected for a while.
    @Test mutating func aConnectionThatLastsIsARecovery() throws {
        #expect(Self.kind(watch.failed(Self.refused, at: at(0))) == .unreachable)
        _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(5))
        let due = try #require(watch.nextCheck)
        #expect(watch.check(at: at(6)) == nil)
        guard case .recovered(_, .seconds(5)) = watch.check(at: due) else {
            Issue.record("not recovered")
            return
        }
        #expect(watch.nextCheck == nil)
    }

    /// librdkafka may tell that all are down before it tells why.
    @Test mutating func theReasonMayComeLater() {
        #expect(Self.kind(watch.failed(Self.down, at: at(0))) == .unknown)
        #expect(watch.failed(Self.refused, at: at(0.1)) == nil)
        #expect(watch.trouble?.kind == .unreachable)
        #expect(Self.kind(watch.failed(Self.password, at: at(1))) == .authentication)
    }

    /// Who has something to send knows more than that there is a connection.
    @Test mutating func whileMessagesWaitOnlyAnAnswerIsARecovery() {
        watch.isWaiting = true
        #expect(Self.kind(watch.failed(Self.refused, at: at(0))) == .unreachable)
        _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(5))
        #expect(watch.nextCheck == nil && watch.check(at: at(100)) == nil)
        watch.isWaiting = false
        #expect(watch.nextCheck == at(7))
        watch.isWaiting = true
        #expect(watch.succeeded(at: at(101)) != nil)
    }

    /// A listener that wants SASL takes the connection and ends it at once, again and again.
    @Test mutating func aConnectionThatDoesNotLastIsNone() {
        #expect(Self.kind(watch.failed(Self.refused, at: at(0))) == .unreachable)
        for second in 1..<20 {
            _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(Double(second)))
            _ = watch.connection(to: "kafka-1:9092", isUp: false, at: at(Double(second) + 0.1))
            #expect(watch.failed(Self.lost, at: at(Double(second) + 0.1)) == nil)
            #expect(watch.check(at: at(Double(second) + 0.9)) == nil)
        }
    }

    /// librdkafka takes a broker that dies soon after a connection for one that wants SASL.
    @Test mutating func anotherProtocolIsSaidWhenItIsSeenAgain() {
        let guess = KafkaError(
            .transport, "client",
            message: "kafka-1:9092/1: Disconnected: verify that security.protocol is correctly configured, broker might"
                + " require SASL authentication (after 0ms in state UP)")
        #expect(Self.kind(watch.failed(guess, at: at(0))) == .unreachable)
        #expect(watch.trouble?.text == "the connection to kafka-1:9092 was lost")
        #expect(watch.failed(Self.refused, at: at(1)) == nil)
        #expect(Self.kind(watch.failed(guess, at: at(2))) == .securityProtocol)
        #expect(watch.failed(guess, at: at(3)) == nil && watch.failed(Self.down, at: at(3)) == nil)
    }

    /// All connections to a broker that is killed end at once, some of them before their first answer.
    @Test mutating func aBrokerThatDiesIsNotTakenForOneOfAnotherProtocol() {
        let guess = KafkaError(
            .transport, "client",
            message: "kafka-1:9092/1: Disconnected while requesting ApiVersion: might be caused by incorrect"
                + " security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see"
                + " api.version.request) (after 1ms in state APIVERSION_QUERY)")
        #expect(Self.kind(watch.failed(Self.lost, at: at(0))) == .unreachable)
        #expect(watch.failed(guess, at: at(0.01)) == nil && watch.failed(guess, at: at(0.03)) == nil)
        #expect(watch.failed(guess, at: at(1.5)) == nil && watch.failed(Self.refused, at: at(1.6)) == nil)
        #expect(watch.trouble?.kind == .unreachable)
        // One that goes on doing so is another matter.
        #expect(Self.kind(watch.failed(guess, at: at(2.5))) == .securityProtocol)
    }

    @Test mutating func oneBrokerOfSeveralMayBeAway() {
        _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(0))
        _ = watch.connection(to: "kafka-2:9092", isUp: true, at: at(0))
        _ = watch.connection(to: "kafka-1:9092", isUp: false, at: at(1))
        for second in 1..<100 { #expect(watch.failed(Self.refused, at: at(Double(second))) == nil) }
        _ = watch.connection(to: "kafka-2:9092", isUp: false, at: at(100))
        #expect(Self.kind(watch.failed(Self.lost, at: at(100))) == .unreachable)
    }

    @Test mutating func aReasonThatExplainsMoreReplacesOneThatExplainsLess() {
        #expect(Self.kind(watch.failed(Self.down, at: at(0))) == .unknown)
        #expect(Self.kind(watch.failed(Self.password, at: at(5))) == .authentication)
        // What follows from it says nothing new,
        for second in 6..<120 {
            #expect(watch.failed(Self.down, at: at(Double(second))) == nil)
            if second % 30 == 0 { #expect(watch.failed(Self.password, at: at(Double(second))) == nil) }
        }
        // but a reason that is not repeated is none for ever.
        #expect(Self.kind(watch.failed(Self.refused, at: at(300))) == .unreachable)
        #expect(watch.since == at(0))
    }

    /// A broker whose disk hangs takes connections and lets requests time out.
    @Test mutating func aBrokerThatOnlyTakesConnectionsIsNotWell() throws {
        let silence = KafkaError(
            .timedOut, "client",
            message: "kafka-1:9092/1: 1 request(s) timed out: disconnect (after 10000ms in state UP)")
        #expect(Self.kind(watch.failed(silence, at: at(0))) == .notAnswering)
        for second in stride(from: 10.0, to: 100, by: 10) {
            _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(second - 8))
            #expect(watch.check(at: at(second - 1)) == nil)
            #expect(watch.failed(silence, at: at(second)) == nil)
            _ = watch.connection(to: "kafka-1:9092", isUp: false, at: at(second))
        }
        _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(100))
        let due = try #require(watch.nextCheck)
        #expect(due == at(130) && watch.check(at: due) != nil && watch.trouble == nil)
    }

    /// The list of who may write is no matter of connections: only an acknowledgement ends it.
    @Test mutating func whatTheClusterForbidsIsNotOverWithAConnection() {
        #expect(Self.kind(watch.failed(Self.denied, at: at(0))) == .authorization)
        _ = watch.connection(to: "kafka-1:9092", isUp: true, at: at(1))
        #expect(watch.nextCheck == nil && watch.check(at: at(100)) == nil)
        #expect(watch.succeeded(at: at(101)) != nil)
    }

    @Test mutating func aQuotaIsSaidOnce() {
        #expect(watch.throttled(by: .milliseconds(20), at: at(0)) == nil)
        #expect(Self.kind(watch.throttled(by: .seconds(3), at: at(1))) == .throttled)
        for second in 2..<100 {
            #expect(watch.throttled(by: .seconds(4), at: at(Double(second))) == nil)
            #expect(watch.succeeded(at: at(Double(second))) == nil)
        }
        #expect(watch.succeeded(at: at(200)) != nil)
    }

    /// A long delay says nothing of when the quota goes; an answer that is not delayed does.
    @Test mutating func aQuotaThatIsLiftedIsOverSoon() {
        #expect(Self.kind(watch.throttled(by: .seconds(50), at: at(0))) == .throttled)
        #expect(watch.throttled(by: .zero, at: at(52)) == nil)
        #expect(watch.succeeded(at: at(53)) == nil, "within a quota some answers are not delayed")
        #expect(watch.throttled(by: .seconds(50), at: at(54)) == nil)
        #expect(watch.throttled(by: .zero, at: at(104)) == nil)
        #expect(watch.succeeded(at: at(113.5)) == nil)
        #expect(watch.succeeded(at: at(114)) != nil)
    }
}

/// The same on a client.
@Suite(.timeLimit(.minutes(1))) struct KafkaStateMonitorTests {
    @Test func aBrokerThatGoesAndComesBackIsTwoLines() async throws {
        let cluster = try KafkaMockCluster()
        try cluster.createTopic("t", partitions: 1)
        let configuration = KafkaConfiguration(
            bootstrapServers: cluster.bootstrapServers, properties: ["reconnect.backoff.max.ms": "100"])
        let changes = Mutex<[KafkaStateChange]>([])
        let monitor = KafkaStateMonitor(configuration) { change in changes.withLock { $0.append(change) } }
        let reports = Reports()
        let producer = try KafkaProducer(configuration: configuration, observer: monitor.observer) {
            reports.receive($0)
        }
        try producer.send(topic: "t", key: nil, value: [1], token: 1)
        try await producer.flush(timeout: .seconds(20))
        #expect(monitor.isConnected && changes.withLock { $0.isEmpty })
        try ChildStarts.excluded { try cluster.brokerDown() }
        while changes.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(10)) }
        // The loss of the connection may be told before it is known that nobody answers.
        while monitor.trouble?.kind != .unreachable { try await Task.sleep(for: .milliseconds(10)) }
        // Several tries to connect fail meanwhile.
        while producer.errorCount < 3 { try await Task.sleep(for: .milliseconds(10)) }
        try cluster.brokerUp()
        // Nothing is sent: the connection alone ends it.
        while changes.withLock({ $0.count }) < 2 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(monitor.trouble == nil && changes.withLock { $0.count } == 2)
        await producer.close(timeout: .seconds(1))
    }
}
