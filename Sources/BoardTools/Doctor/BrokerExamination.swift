import Configuration
import Glibc
import KafkaClient
import NetworkProbe
import Platform
import Presentation
import Readings
import Synchronization

/// The way to Kafka: files, names, ports, certificates, and what the cluster says.
struct BrokerExamination: Examination {
    /// A file that the configuration names.
    struct File: Sendable {
        /// Its setting, such as `ca_file`.
        var setting: String
        var path: String
        /// nil if it is not there.
        var ownership: FileOwnership?
        var isReadable: Bool
        /// What it holds, if it holds a certificate; nil for a secret.
        var certificate: Result<NetworkProbe.Certificate, NetworkProbe.Failure>?

        var isSecret: Bool { setting == "key_file" || setting == "password_file" }
    }

    /// A server, as far as it was reached.
    struct Server: Sendable {
        /// As it is written: `host:port`.
        var name: String
        var host: String
        var port: UInt16
        /// The addresses of its name, or why it has none; nil if the way it is written is wrong.
        var addresses: Result<[String], NetworkProbe.Failure>?
        /// How long a connection took, or why there is none.
        var connection: Result<Duration, NetworkProbe.Failure>?
        /// With TLS: what the handshake showed.
        var handshake: NetworkProbe.Handshake?

        var isReached: Bool { if case .success? = connection { true } else { false } }
    }

    /// What the cluster said.
    struct Cluster: Sendable {
        var description: KafkaCluster
        /// How long it takes to ask it something once it is known.
        var roundTrip: Duration
        /// Why the topic does not work although it is there, such as a partition without a leader.
        var topicError: KafkaError?
        /// Whether this client may write to the topic; nil if that is not told.
        var mayWrite: Bool?
    }

    var configuration: KafkaConfiguration
    var topic: String
    var files: [File]
    var servers: [Server]
    /// What the cluster said; nil if no server was reached, or if a file keeps a client from being made.
    var cluster: Result<Cluster, KafkaError>?
    /// What the client said on the way, such as a refused password: more than the error that it ends with.
    var clientErrors: [KafkaError]
    /// The property that the client does not take.
    var configurationError: KafkaConfigurationError?
    /// The brokers that the cluster tells its clients to use, and that were not named.
    var advertised: [Server]
    var user: SystemUser
    var now: Timestamp

    var checks: [Check] {
        var checks = files.map(check)
        checks += servers.flatMap(check)
        checks += clusterChecks
        return checks
    }

    // MARK: Files

    private func check(_ file: File) -> Check {
        let subject = "kafka.\(file.setting)"
        guard let ownership = file.ownership else {
            return Check(
                .broker, subject, .failure, "\(file.path): no such file, or its folder is closed to \(user.name)",
                remedy: "put the file there, or set kafka.\(file.setting)")
        }
        guard file.isReadable else {
            return Check(
                .broker, subject, .failure, "\(file.path): \(user.name) may not read it (mode \(ownership.modeText))",
                remedy: file.isSecret
                    ? "sudo chown \(user.name) \(file.path); sudo chmod 600 \(file.path)"
                    : "sudo chmod 644 \(file.path)")
        }
        if file.isSecret, ownership.mode & 0o077 != 0 {
            // A group of its own for the gateway is a usual way; the others are not.
            let isOpenToAll = ownership.mode & 0o007 != 0
            return Check(
                .broker, subject, isOpenToAll ? .failure : .warning,
                "\(file.path): \(isOpenToAll ? "everybody" : "its group") may read it (mode \(ownership.modeText))",
                remedy: "sudo chmod \(isOpenToAll ? "o=" : "go=") \(file.path)")
        }
        switch file.certificate {
        case nil: return Check(.broker, subject, .ok, "\(file.path): readable, mode \(ownership.modeText)")
        case .failure(let failure):
            return Check(
                .broker, subject, .failure, "\(file.path): no certificate in PEM form (\(failure))",
                remedy: "openssl x509 -in \(file.path) -noout -text shows what it is")
        case .success(let certificate):
            return validity(
                of: certificate, subject: subject, prefix: "\(file.path): ", renew: "a new certificate for \(subject)")
        }
    }

    /// How long a certificate is still valid.
    private func validity(
        of certificate: NetworkProbe.Certificate, subject: String, prefix: String, renew: String
    ) -> Check {
        let seconds = now.milliseconds / 1000
        let until = Timestamp(milliseconds: certificate.validity.upperBound * 1000)
        let days = (certificate.validity.upperBound - seconds) / 86_400
        if seconds < certificate.validity.lowerBound {
            return Check(
                .broker, subject, .failure, prefix + "\(certificate.subject) is not valid yet",
                remedy: "see to the clock first: timedatectl")
        }
        if seconds > certificate.validity.upperBound {
            return Check(
                .broker, subject, .failure, prefix + "\(certificate.subject) has expired, on \(until)",
                remedy: "ask for \(renew)")
        }
        let seen = prefix + "\(certificate.subject), valid for \(days) days, until \(until)"
        return days < 30
            ? Check(.broker, subject, .warning, seen, remedy: "ask for \(renew)") : Check(.broker, subject, .ok, seen)
    }

    // MARK: Servers

    private func check(_ server: Server) -> [Check] {
        guard let addresses = server.addresses else {
            return [
                Check(
                    .broker, server.name, .failure, "this is no host and port",
                    remedy: "kafka: {bootstrap: \"host:9092\"}")
            ]
        }
        let numbers: String
        switch addresses {
        case .failure(let failure):
            return [
                Check(
                    .broker, server.name, .failure, "the name is not known: \(failure)",
                    remedy: "check kafka.bootstrap, and the name server: getent hosts \(server.host)")
            ]
        case .success(let list): numbers = list.joined(separator: ", ")
        }
        switch server.connection {
        case nil: return [Check(.broker, server.name, .skipped, "not connected")]
        case .failure(let failure):
            return [
                Check(
                    .broker, server.name, .failure, "no connection to \(numbers): \(failure)",
                    remedy: "check that the broker runs and listens there, and the firewalls on the way:"
                        + " nc -vz \(server.host) \(server.port)")
            ]
        case .success(let time):
            let seen = "\(numbers), connected in \(PlainNumbers.seconds(time / .seconds(1)))"
            return [Check(.broker, server.name, .ok, seen)] + (server.handshake.map { check($0, server) } ?? [])
        }
    }

    private func check(_ handshake: NetworkProbe.Handshake, _ server: Server) -> [Check] {
        let subject = "\(server.name) TLS"
        let who = handshake.certificate.map { "; its certificate is \($0.subject) by \($0.issuer)" } ?? ""
        guard handshake.isAttempted else {
            return [
                Check(
                    .broker, subject, .failure, handshake.problem ?? "a file cannot be used",
                    remedy: "check kafka.ca_file, kafka.certificate_file and kafka.key_file: the key must be the"
                        + " certificate's")
            ]
        }
        if let problem = handshake.certificateProblem {
            let trouble = KafkaTrouble.brokerCertificate(of: server.name, problem)
            return [Check(.broker, subject, .failure, (handshake.problem ?? "") + who, remedy: trouble.remedy)]
        }
        if let ending = handshake.refusal ?? (handshake.version == nil ? handshake.problem : nil) {
            let remedy =
                handshake.wantsCertificate
                ? clientCertificateRemedy(server)
                : "check kafka.security and the port: a plaintext listener does not speak TLS"
            return [Check(.broker, subject, .failure, ending + who, remedy: remedy)]
        }
        if let problem = handshake.problem {
            return [Check(.broker, subject, .failure, problem + who, remedy: "check kafka.ca_file")]
        }
        guard let certificate = handshake.certificate else { return [] }
        return [
            validity(
                of: certificate, subject: subject, prefix: "\(handshake.version ?? "TLS"), ",
                renew: "a new certificate of the broker")
        ]
    }

    /// What to do about a client's certificate that the broker wants or refuses.
    private func clientCertificateRemedy(_ server: Server) -> String {
        let own = files.first { $0.setting == "certificate_file" }
        if case .success(let certificate)? = own?.certificate,
            certificate.validity.upperBound < now.milliseconds / 1000
        {
            return "renew the certificate in kafka.certificate_file: it has expired"
        }
        return KafkaTrouble.clientCertificate(refusedBy: server.name, configuration).remedy
    }

    // MARK: Cluster

    private var clusterChecks: [Check] {
        if let configurationError {
            return [
                Check(
                    .broker, "client", .failure, "\(configurationError)",
                    remedy: "mend the setting under kafka: that this comes from")
            ]
        }
        switch cluster {
        case nil: return [Check(.broker, "cluster", .skipped, "no server could be asked")]
        case .failure(let error): return [clusterFailure(error)]
        case .success(let cluster):
            let count = cluster.description.brokers.count
            var checks = [
                Check(
                    .broker, "cluster", .ok,
                    "\(count) \(count == 1 ? "broker" : "brokers"), answers in"
                        + " \(PlainNumbers.seconds(cluster.roundTrip / .seconds(1)))")
            ]
            checks += advertised.flatMap(advertisedChecks)
            checks.append(topicCheck(cluster))
            return checks
        }
    }

    /// A broker that the cluster sends its clients to, under a name that the configuration does not have: what is wrong
    /// with it.
    private func advertisedChecks(_ server: Server) -> [Check] {
        check(server).filter { $0.state != .ok }.map { wrong in
            var check = wrong
            check.seen = "the cluster sends its clients there: \(wrong.seen)"
            if !server.isReached {
                check.remedy =
                    "set advertised.listeners of that broker to an address that this board reaches, or see to the name"
                    + " server and the firewalls on the way: nc -vz \(server.host) \(server.port)"
            } else if server.handshake?.certificateProblem == .otherName {
                check.remedy =
                    "set advertised.listeners of that broker to a name that its certificate is for, or give it a"
                    + " certificate for \(server.host)"
            }
            return check
        }
    }

    private func topicCheck(_ cluster: Cluster) -> Check {
        let client = configuration.username ?? "this client"
        guard let partitions = cluster.description.partitions[topic] else {
            return Check(
                .broker, "topic \(topic)", .failure, "it does not exist, or \(client) may not see it",
                remedy: "kafka-topics.sh --bootstrap-server \(configuration.bootstrapServers) --create --topic \(topic)"
                    + " --partitions 12; with access lists also --allow Write and Describe")
        }
        if let error = cluster.topicError {
            return Check(
                .broker, "topic \(topic)", .failure, error.message,
                remedy: "kafka-topics.sh --bootstrap-server \(configuration.bootstrapServers) --describe --topic"
                    + " \(topic) shows its partitions and leaders")
        }
        let seen = "\(partitions) \(partitions == 1 ? "partition" : "partitions")"
        switch cluster.mayWrite {
        case true?: return Check(.broker, "topic \(topic)", .ok, "\(seen), and \(client) may write to it")
        case nil:
            return Check(.broker, "topic \(topic)", .ok, "\(seen); whether \(client) may write to it is not told")
        case false?:
            return Check(
                .broker, "topic \(topic)", .failure, "\(seen), and \(client) may not write to it",
                remedy: "kafka-acls.sh --bootstrap-server \(configuration.bootstrapServers) --add --allow-principal"
                    + " User:\(configuration.username ?? "NAME") --operation Write --topic \(topic)")
        }
    }

    private func clusterFailure(_ error: KafkaError) -> Check {
        // The error that explains most; the others follow from it, such as that nobody is left to ask.
        let troubles = (clientErrors + [error]).compactMap { KafkaTrouble($0, of: configuration) }
        guard let cause = troubles.max(by: { $0.explains(lessThan: $1) }) else {
            return Check(.broker, "cluster", .failure, error.message, remedy: "the broker's log tells more")
        }
        let isConnected = servers.contains(where: \.isReached)
        // Somebody takes the connection, so it is neither the port nor a firewall.
        let remedy =
            isConnected && (cause.kind == .unreachable || cause.kind == .notAnswering)
            ? "check kafka.security against the listener: plaintext, ssl, sasl_plaintext or sasl_ssl; the broker's log"
                + " tells more"
            : cause.remedy
        return Check(.broker, "cluster", .failure, cause.text, remedy: remedy)
    }
}

// MARK: Gathering

extension BrokerExamination {
    /// How long each step may take.
    struct Bounds: Sendable {
        var resolve = Duration.seconds(5)
        var connect = Duration.seconds(3)
        var cluster = Duration.seconds(8)
    }

    /// Asks the servers. It waits on threads of its own.
    static func gather(
        _ configuration: KafkaConfiguration, topic: String, user: SystemUser, now: Timestamp,
        bounds: Bounds = Bounds(), progress: @Sendable (String) -> Void
    ) async -> BrokerExamination {
        var examination = BrokerExamination(
            configuration: configuration, topic: topic, files: files(of: configuration), servers: [], cluster: nil,
            clientErrors: [], configurationError: nil, advertised: [], user: user, now: now)
        let names = configuration.bootstrapServers.split(separator: ",").map {
            String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        progress("connecting to \(names.joined(separator: ", "))")
        examination.servers = await reach(names, configuration, bounds)
        do throws(KafkaConfigurationError) {
            try configuration.validate()
        } catch {
            examination.configurationError = error
            return examination
        }
        guard examination.servers.contains(where: \.isReached) else { return examination }
        progress("asking the cluster")
        await examination.askCluster(bounds)
        guard case .success(let cluster)? = examination.cluster else { return examination }
        let known = examination.servers.map { Endpoint(host: $0.host, port: $0.port) }
        let all = cluster.description.brokers.map { Endpoint(host: $0.host, port: UInt16(clamping: $0.port)) }
        let others = all.filter { !known.contains($0) }
        if !others.isEmpty { progress("connecting to the brokers that the cluster names") }
        examination.advertised = await reach(others.map(\.description), configuration, bounds)
        return examination
    }

    /// Looks at several servers side by side, in whose order the answers are.
    private static func reach(
        _ names: [String], _ configuration: KafkaConfiguration, _ bounds: Bounds
    ) async -> [Server] {
        await withTaskGroup(of: (Int, Server).self) { group in
            for (index, name) in names.enumerated() {
                group.addTask { (index, await reach(name, configuration, bounds)) }
            }
            var servers: [(Int, Server)] = []
            for await server in group { servers.append(server) }
            return servers.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func files(of configuration: KafkaConfiguration) -> [File] {
        let named: [(setting: String, path: String?, isCertificate: Bool)] = [
            ("ca_file", configuration.certificateAuthorityFile, true),
            ("certificate_file", configuration.certificateFile, true), ("key_file", configuration.keyFile, false),
            ("password_file", configuration.passwordFile, false),
        ]
        return named.compactMap { setting, path, isCertificate in
            guard let path else { return nil }
            let isReadable = access(path, R_OK) == 0
            var file = File(
                setting: setting, path: path, ownership: FileOwnership(path), isReadable: isReadable, certificate: nil)
            if isCertificate, isReadable {
                do throws(NetworkProbe.Failure) {
                    file.certificate = .success(try NetworkProbe.certificate(in: path))
                } catch {
                    file.certificate = .failure(error)
                }
            }
            return file
        }
    }

    /// Looks a server's name up, connects, and with TLS makes a handshake.
    private static func reach(
        _ name: String, _ configuration: KafkaConfiguration, _ bounds: Bounds
    ) async -> Server {
        // Kafka's clients take 9092 where no port is named.
        guard let endpoint = Endpoint(name) ?? (name.contains(":") ? nil : Endpoint(host: name, port: 9092)) else {
            return Server(name: name, host: name, port: 0, addresses: nil, connection: nil, handshake: nil)
        }
        let isTLS = configuration.securityProtocol == .tls || configuration.securityProtocol == .saslTLS
        var server = Server(
            name: name, host: endpoint.host, port: endpoint.port, addresses: nil, connection: nil, handshake: nil)
        let resolved = await onThread(for: bounds.resolve) { () throws(NetworkProbe.Failure) in
            try NetworkProbe.resolve(endpoint.host, port: endpoint.port)
        }
        let addresses: NetworkProbe.Addresses
        switch resolved {
        case .success(let found):
            addresses = found
            server.addresses = .success(found.texts)
        case .failure(let failure):
            server.addresses = .failure(failure)
            return server
        }
        // Connecting and shaking hands are bounded by themselves; the bound here is beyond them.
        let count = max(1, addresses.texts.count)
        let outcome = await onThread(for: bounds.connect * (count + 4)) {
            () throws(NetworkProbe.Failure) -> (Duration, NetworkProbe.Handshake?) in
            let passed = elapsed(on: ContinuousClock())
            let connection = try NetworkProbe.connect(addresses, bound: bounds.connect)
            let time = passed()
            guard isTLS else { return (time, nil) }
            let handshake = NetworkProbe.handshake(
                on: connection, host: endpoint.host, authorities: configuration.certificateAuthorityFile,
                certificate: configuration.certificateFile, key: configuration.keyFile, question: versionsRequest)
            return (time, handshake)
        }
        switch outcome {
        case .success(let (time, handshake)):
            server.connection = .success(time)
            server.handshake = handshake
        case .failure(let failure): server.connection = .failure(failure)
        }
        return server
    }

    /// Whether the client has tried all servers, and has said of one of them why it cannot be used until somebody mends it:
    /// whoever waits longer learns no more.
    private static func isHopeless(_ errors: [KafkaError], _ configuration: KafkaConfiguration) -> Bool {
        errors.contains { $0.code == .allBrokersDown }
            && errors.contains { KafkaTrouble($0, of: configuration)?.kind.isLasting == true }
    }

    private mutating func askCluster(_ bounds: Bounds) async {
        final class Errors: Sendable {
            let list = Mutex<[KafkaError]>([])
        }
        let errors = Errors()
        let configuration = configuration
        let observer = KafkaObserver(error: { error in errors.list.withLock { $0.append(error) } })
        do {
            let admin = try KafkaAdmin(configuration: configuration, observer: observer)
            do throws(KafkaError) {
                let description = try await admin.cluster(
                    timeout: bounds.cluster,
                    unless: { errors.list.withLock { Self.isHopeless($0, configuration) } })
                let passed = elapsed(on: ContinuousClock())
                _ = try await admin.brokerCount(timeout: bounds.cluster)
                var answer = Cluster(description: description, roundTrip: passed())
                // Of a topic that is there; another one could be created by being asked for.
                if description.partitions[topic] != nil {
                    do throws(KafkaError) {
                        _ = try await admin.partitionCount(topic, timeout: bounds.cluster)
                    } catch {
                        answer.topicError = error
                    }
                    answer.mayWrite = await admin.mayWrite(to: topic, timeout: bounds.cluster)
                }
                cluster = .success(answer)
            } catch {
                cluster = .failure(error)
            }
        } catch {
            configurationError = error
        }
        clientErrors = errors.list.withLock { $0 }
    }
}

/// A request that every Kafka listener answers, before it knows who asks: ApiVersions, version 0 (Kafka protocol guide).
/// Size, API key 18, version, correlation id, and no client id.
private let versionsRequest: [UInt8] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF]

extension NetworkProbe.Handshake {
    /// Why the server's certificate is not to be believed; nil if it is, or if the handshake did not come so far.
    fileprivate var certificateProblem: KafkaError.CertificateProblem? {
        verification == 0 ? nil : .init(code: Int32(verification))
    }
}

extension NetworkProbe.Failure {
    /// It took longer than it may.
    static let overdue = NetworkProbe.Failure("no answer in time")
}

/// Runs a blocking call on a thread of its own, and goes on without it if it takes too long.
private func onThread<Success: Sendable>(
    for bound: Duration, _ body: @escaping @Sendable () throws(NetworkProbe.Failure) -> Success
) async -> Result<Success, NetworkProbe.Failure> {
    return await withCheckedContinuation { continuation in
        let once = Once(continuation)
        let timer = Task {
            try await Task.sleep(for: bound)
            once.resume(.failure(.overdue))
        }
        startThread(name: "probe") {
            do throws(NetworkProbe.Failure) {
                once.resume(.success(try body()))
            } catch {
                once.resume(.failure(error))
            }
            timer.cancel()
        }
    }
}

/// A continuation that the first of several resumes.
private final class Once<Success: Sendable>: Sendable {
    private typealias Continuation = CheckedContinuation<Result<Success, NetworkProbe.Failure>, Never>
    private let continuation: Mutex<Continuation?>

    init(_ continuation: CheckedContinuation<Result<Success, NetworkProbe.Failure>, Never>) {
        self.continuation = Mutex(continuation)
    }

    func resume(_ result: Result<Success, NetworkProbe.Failure>) {
        let taken = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        taken?.resume(returning: result)
    }
}
