import CRdkafka
import Glibc
import Platform
import Synchronization

/// Where librdkafka's own log lines and events go. The closures are called on librdkafka's threads or on the polling
/// thread, and must return soon.
public struct KafkaObserver: Sendable {
    /// A log line: the level of syslog(3) (0 emergency ... 7 debug), librdkafka's facility, the text.
    public var log: @Sendable (_ level: Int32, _ facility: String, _ message: String) -> Void
    /// An error that is not about one message and that librdkafka handles by itself, such as a broker being down.
    public var error: @Sendable (KafkaError) -> Void
    /// librdkafka's statistics as JSON (its STATISTICS.md), every `statistics.interval.ms` if that is set.
    public var statistics: @Sendable (_ json: String) -> Void

    /// The broker delays its answers because of a quota, by this much; zero when it does so no longer.
    public var throttle: @Sendable (Duration) -> Void
    /// A connection to a broker, named by host and port, is made or gone.
    public var connection: @Sendable (_ broker: String, _ isUp: Bool) -> Void

    /// Makes an observer; what is not given is dropped.
    public init(
        log: @escaping @Sendable (_ level: Int32, _ facility: String, _ message: String) -> Void = { _, _, _ in },
        error: @escaping @Sendable (KafkaError) -> Void = { _ in },
        statistics: @escaping @Sendable (_ json: String) -> Void = { _ in },
        throttle: @escaping @Sendable (Duration) -> Void = { _ in },
        connection: @escaping @Sendable (_ broker: String, _ isUp: Bool) -> Void = { _, _ in }
    ) {
        self.log = log
        self.error = error
        self.statistics = statistics
        self.throttle = throttle
        self.connection = connection
    }
}

/// Owns one `rd_kafka_t` and what its callbacks refer to.
final class KafkaHandle: Sendable {
    /// The handle; librdkafka's functions on it may be called from any thread.
    nonisolated(unsafe) let pointer: OpaquePointer
    private let callbacks: Callbacks
    private let isKept = Atomic(false)

    /// What the C callbacks reach through librdkafka's opaque pointer.
    final class Callbacks: Sendable {
        /// Handles librdkafka's rebalance callback; returns what went wrong.
        typealias Rebalance =
            @Sendable (OpaquePointer, rd_kafka_resp_err_t, UnsafeMutablePointer<rd_kafka_topic_partition_list_t>)
            -> KafkaError?

        let observer: KafkaObserver
        let errorCount = Atomic<Int>(0)
        let rebalanceHandler = Mutex<Rebalance?>(nil)
        /// Why the certificate of a broker was last not believed.
        let certificateProblem = Mutex<KafkaError.CertificateProblem?>(nil)
        /// The brokers that are connected, and how often that has changed.
        let connections = Mutex((brokers: Set<String>(), changes: 0))
        /// What has interrupted fetching since somebody asked.
        let interruptions = Mutex(FetchInterruptions())
        /// The highest level of librdkafka's log that the user wants to see.
        let logLevel: Int32

        init(observer: KafkaObserver, logLevel: Int32) {
            self.observer = observer
            self.logLevel = logLevel
        }

        static func of(_ opaque: UnsafeMutableRawPointer?) -> Callbacks? {
            opaque.map { Unmanaged<Callbacks>.fromOpaque($0).takeUnretainedValue() }
        }
    }

    /// Makes the handle.
    /// - Parameters:
    ///   - type: producer or consumer.
    ///   - configuration: the user's settings.
    ///   - defaults: this library's settings, which the user may override.
    ///   - observer: where the log and events go.
    ///   - customize: sets callbacks on the native configuration.
    init(
        _ type: rd_kafka_type_t, _ configuration: KafkaConfiguration, defaults: [(property: String, value: String)],
        observer: KafkaObserver, customize: (OpaquePointer) -> Void
    ) throws(KafkaConfigurationError) {
        try makeAndLetGo(type, configuration, defaults)
        // A level that is no number is refused with the other settings.
        let level = configuration.properties["log_level"].flatMap { Int32($0) } ?? 6
        let isDebugging = !(configuration.properties["debug"] ?? "").isEmpty
        let callbacks = Callbacks(observer: observer, logLevel: isDebugging ? 7 : level)
        var configuration = configuration
        if type == RD_KAFKA_CONSUMER {
            let asked = configuration.properties["debug"] ?? ""
            configuration.properties["debug"] = asked.isEmpty ? "topic" : "\(asked),topic"
        }
        let native = try configuration.makeNative(defaults: defaults)
        // Unretained: deinit keeps `callbacks` until after rd_kafka_destroy, when librdkafka makes no call any more.
        rd_kafka_conf_set_opaque(native, Unmanaged.passUnretained(callbacks).toOpaque())
        rd_kafka_conf_set_log_cb(native) { handle, level, facility, message in
            guard let handle, let message, let callbacks = Callbacks.of(rd_kafka_opaque(handle)) else { return }
            if let facility, FetchInterruptions.isTold(by: facility) {
                callbacks.interruptions.withLock { $0.note(line: String(cString: message)) }
            }
            if level > callbacks.logLevel { return }
            callbacks.observer.log(level, facility.map { String(cString: $0) } ?? "", String(cString: message))
        }
        rd_kafka_conf_set_error_cb(native) { handle, code, reason, opaque in
            guard let callbacks = Callbacks.of(opaque) else { return }
            callbacks.receive(rd_kafka_resp_err_t(code), reason: reason.map { String(cString: $0) }, handle: handle)
        }
        rd_kafka_conf_set_stats_cb(native) { _, json, length, opaque in
            guard let callbacks = Callbacks.of(opaque), let json else { return 0 }
            let bytes = UnsafeRawBufferPointer(start: json, count: length)
            callbacks.observer.statistics(String(decoding: bytes, as: UTF8.self))
            return 0  // librdkafka frees the text.
        }
        setConnectionCallbacks(native, callbacks)
        customize(native)
        let (pointer, reason) = withErrorBuffer { rd_kafka_new(type, native, $0, $1) }
        guard let pointer else {
            // rd_kafka_new takes the configuration over only if it succeeds. It has freed the interceptors all the same,
            // so destroying it would free them twice (librdkafka 2.0.2 and 2.8.0): it is left as it is.
            throw KafkaConfigurationError(refused: reason, configuration)
        }
        self.pointer = pointer
        self.callbacks = callbacks
    }

    /// Destroying waits for librdkafka's threads, so it has a thread of its own: the last reference may be let go of
    /// anywhere.
    deinit {
        if isKept.load(ordering: .relaxed) {
            // librdkafka goes on to call them.
            _ = Unmanaged.passRetained(callbacks)
            return
        }
        let last = Last(pointer: pointer, callbacks: callbacks)
        startThread(name: "rdkafka-destroy") { withExtendedLifetime(last.callbacks) { rd_kafka_destroy(last.pointer) } }
    }

    /// Lets librdkafka's side live for as long as the process: for one that cannot be destroyed without harm.
    func keep() {
        isKept.store(true, ordering: .relaxed)
    }

    /// What deinit hands over; nobody else has it any more.
    private struct Last: @unchecked Sendable {
        let pointer: OpaquePointer
        let callbacks: Callbacks
    }

    /// The error that made the handle useless, if there is one.
    var fatalError: KafkaError? {
        let (code, reason) = withErrorBuffer { rd_kafka_fatal_error(pointer, $0, $1) }
        return code == RD_KAFKA_RESP_ERR_NO_ERROR
            ? nil : KafkaError(code, KafkaError.noOperation, message: reason, isFatal: true)
    }

    /// Errors that librdkafka handled by itself so far.
    var errorCount: Int { callbacks.errorCount.load(ordering: .relaxed) }

    /// Whether a broker is connected.
    var isConnected: Bool { callbacks.connections.withLock { !$0.brokers.isEmpty } }

    /// How often a connection was made or lost.
    var connectionChanges: Int { callbacks.connections.withLock { $0.changes } }

    /// What has interrupted fetching since the last call.
    func takeInterruptions() -> FetchInterruptions {
        callbacks.interruptions.withLock { interruptions in
            defer { interruptions = FetchInterruptions() }
            return interruptions
        }
    }

    /// Sets what a rebalance does.
    func setRebalance(_ handler: @escaping Callbacks.Rebalance) {
        callbacks.rebalanceHandler.withLock { $0 = handler }
    }

    /// Handles an error that came as an event.
    func receiveError(_ code: rd_kafka_resp_err_t, reason: String?) {
        callbacks.receive(code, reason: reason, handle: pointer)
    }

    /// Handles statistics that came as an event.
    func receiveStatistics(_ json: String) {
        callbacks.observer.statistics(json)
    }

    /// Counts an error and tells the observer.
    func report(_ code: rd_kafka_resp_err_t, _ operation: String) {
        callbacks.report(KafkaError(code, operation))
    }
}

extension KafkaHandle.Callbacks {
    /// Takes the state of a connection, by librdkafka's name of it; the observer hears of changes only.
    func connection(to broker: String, number: Int32, state: String) {
        let isUp = state == "UP" || state == "UPDATE"
        let isChanged = connections.withLock { connections in
            let isChanged =
                isUp ? connections.brokers.insert(broker).inserted : connections.brokers.remove(broker) != nil
            if isChanged { connections.changes += 1 }
            return isChanged
        }
        if isChanged, !isUp { interruptions.withLock { _ = $0.lostBrokers.insert(number) } }
        if isChanged { observer.connection(broker, isUp) }
    }

    func report(_ error: KafkaError) {
        errorCount.add(1, ordering: .relaxed)
        observer.error(error)
    }

    func receive(_ code: rd_kafka_resp_err_t, reason: String?, handle: OpaquePointer?) {
        if code == RD_KAFKA_RESP_ERR__FATAL, let handle {
            let (original, text) = withErrorBuffer { rd_kafka_fatal_error(handle, $0, $1) }
            report(KafkaError(original, KafkaError.noOperation, message: text, isFatal: true))
        } else {
            var error = KafkaError(code, KafkaError.noOperation, message: reason)
            // The certificate is judged before its error is reported.
            if BrokerReport(error.message).isCertificateNotBelieved {
                error.certificateProblem = certificateProblem.withLock { $0 }
            }
            report(error)
        }
    }

    func rebalance(
        _ handle: OpaquePointer, _ code: rd_kafka_resp_err_t,
        _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>
    ) {
        // The lock is not held while the handler runs.
        let handler = rebalanceHandler.withLock { $0 }
        if let error = handler?(handle, code, list) { report(error) }
    }
}

/// Makes a client that connects nowhere and lets it go, to find what librdkafka does not take before there are
/// interceptors: files of TLS, properties that exclude each other.
/// - Parameter topic: a topic that is used too, since its properties are checked only then; nil for none.
func makeAndLetGo(
    _ type: rd_kafka_type_t, _ configuration: KafkaConfiguration, _ defaults: [(property: String, value: String)],
    topic: String? = nil
) throws(KafkaConfigurationError) {
    var configuration = configuration
    configuration.bootstrapServers = ""
    let native = try configuration.makeNative(defaults: defaults)
    rd_kafka_conf_set_log_cb(native) { _, _, _, _ in }
    let (pointer, reason) = withErrorBuffer { rd_kafka_new(type, native, $0, $1) }
    guard let pointer else {
        rd_kafka_conf_destroy(native)
        throw KafkaConfigurationError(refused: reason, configuration)
    }
    var refusal: KafkaConfigurationError?
    if let topic {
        if let used = rd_kafka_topic_new(pointer, topic, nil) {
            rd_kafka_topic_destroy(used)
        } else {
            refusal = KafkaConfigurationError(
                property: "",
                message: "topic \(topic) cannot be used: \(String(cString: rd_kafka_err2str(rd_kafka_last_error())))")
        }
    }
    let address = UInt(bitPattern: pointer)
    startThread(name: "rdkafka-destroy") { rd_kafka_destroy(OpaquePointer(bitPattern: address)) }
    if let refusal { throw refusal }
}

/// Sets what tells of connections, of certificates that are not believed, and of quotas.
private func setConnectionCallbacks(_ native: OpaquePointer, _ callbacks: KafkaHandle.Callbacks) {
    rd_kafka_conf_set_throttle_cb(native) { _, _, _, milliseconds, opaque in
        KafkaHandle.Callbacks.of(opaque)?.observer.throttle(.milliseconds(Int64(milliseconds)))
    }
    // It judges as librdkafka does without it; only the reason is kept, which the error itself does not name.
    rd_kafka_conf_set_ssl_cert_verify_cb(native) { _, _, _, code, _, _, _, text, size, opaque in
        guard let code = code?.pointee, code != 0 else { return 1 }
        KafkaHandle.Callbacks.of(opaque)?.certificateProblem.withLock { $0 = .init(code: code) }
        if let text, size > 0 { text.pointee = 0 }
        return 0
    }
    rd_kafka_conf_interceptor_add_on_new(
        native, "vigie",
        { handle, _, opaque, _, _ in
            rd_kafka_interceptor_add_on_broker_state_change(
                handle, "vigie",
                { _, number, _, name, port, state, opaque in
                    if let name, let state {
                        KafkaHandle.Callbacks.of(opaque)?.connection(
                            to: "\(String(cString: name)):\(port)", number: number, state: String(cString: state))
                    }
                    return RD_KAFKA_RESP_ERR_NO_ERROR
                }, opaque)
        }, Unmanaged.passUnretained(callbacks).toOpaque())
}

extension Duration {
    /// For librdkafka: whole milliseconds, rounded up, 0 to Int32.max.
    var wholeMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        if seconds < 0 { return 0 }
        if seconds >= Int64(Int32.max) / 1000 { return Int32.max }
        return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

/// Runs a blocking call on a thread of its own, so that it holds no thread of the cooperative pool.
func onOwnThread<Success: Sendable, Failure: Error>(
    _ name: String, _ body: @escaping @Sendable () throws(Failure) -> Success
) async throws(Failure) -> Success {
    let result: Result<Success, Failure> = await withCheckedContinuation { continuation in
        startThread(name: name) {
            do throws(Failure) {
                continuation.resume(returning: .success(try body()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
    }
    return try result.get()
}
