import CPlatform
import Glibc
import Platform

/// Tells systemd how this service is, by the datagrams of sd_notify(3), without libsystemd.
public struct SystemdNotifier: Sendable {
    /// The notifier for $NOTIFY_SOCKET, or nil where systemd does not listen.
    public static let fromEnvironment: SystemdNotifier? = {
        guard let path = getenv("NOTIFY_SOCKET") else { return nil }
        return SystemdNotifier(socket: String(cString: path))
    }()

    private let path: String

    /// Makes a notifier.
    /// - Parameter socket: an absolute path, or `@` and the name of an abstract socket (unix(7)). Nil for all else.
    public init?(socket: String) {
        let length = socket.utf8.count
        let capacity = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        guard socket.hasPrefix("/") || socket.hasPrefix("@"), length > 1, length < capacity else { return nil }
        path = socket
    }

    /// The service has started (`READY=1`).
    public func ready() { notify("READY=1") }

    /// The service has begun to stop (`STOPPING=1`).
    public func stopping() { notify("STOPPING=1") }

    /// The service is still alive (`WATCHDOG=1`).
    public func watchdog() { notify("WATCHDOG=1") }

    /// What the service does now, for a person (`STATUS=`).
    public func status(_ text: String) {
        notify("STATUS=" + String(text.map { $0.isNewline ? " " : $0 }))
    }

    /// Sends one message. A systemd that does not take it changes nothing for the service, so a failure is silent, as
    /// sd_notify(3) advises.
    private func notify(_ message: String) {
        let descriptor = vigie_local_datagram_socket()
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        // An abstract name ends with the address' length, not with a zero byte; a path may do so too.
        let length = socklen_t((MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2) + name.count)
        let bytes = Array(message.utf8)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}

/// Feeds systemd's watchdog (systemd.service(5), WatchdogSec=) while the program is alive; a failed part starves it, so
/// that systemd restarts the program, and the log says which part it was.
public struct SystemdWatchdog: Sendable {
    private let notifier: SystemdNotifier
    private let health: Health
    private let interval: Duration
    private let log: Log
    private let clock: any Clock<Duration>

    /// Makes the watchdog that the environment asks for, or nil if it asks for none (sd_watchdog_enabled(3)).
    public init?(health: Health, log: Log, environment: (String) -> String? = environmentVariable) {
        guard let path = environment("NOTIFY_SOCKET"), let notifier = SystemdNotifier(socket: path),
            let text = environment("WATCHDOG_USEC"), let microseconds = Int64(text), microseconds > 1
        else { return nil }
        if let process = environment("WATCHDOG_PID"), process != "\(getpid())" { return nil }
        // Half of the bound, as sd_watchdog_enabled(3) recommends.
        self.init(notifier: notifier, health: health, interval: .microseconds(microseconds / 2), log: log)
    }

    /// Makes a watchdog.
    public init(
        notifier: SystemdNotifier, health: Health, interval: Duration, log: Log,
        clock: any Clock<Duration> = ContinuousClock()
    ) {
        self.notifier = notifier
        self.health = health
        self.interval = interval
        self.log = log
        self.clock = clock
    }

    /// Feeds the watchdog until the task is cancelled.
    public func run() async {
        var isFed = true
        repeat {
            let wasFed = isFed
            isFed = health.isAlive
            if isFed {
                notifier.watchdog()
            } else if wasFed {
                let failed = health.all.compactMap { part, state in
                    if case .failed = state { return "\(part) \(state.text)" }
                    return nil
                }
                log.error(
                    "the watchdog is no longer fed: systemd will end this program and start it again",
                    ["parts": failed.joined(separator: "; ")])
            }
        } while (try? await clock.sleep(for: interval)) != nil
    }
}

/// A variable of this process' environment.
public func environmentVariable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}
