import Glibc
import Platform
import Testing

@testable import Monitoring

@Suite struct SystemdTests {
    /// A datagram socket in the place of systemd's.
    private final class Listener {
        let path: String
        private let descriptor: Int32

        init(abstract: Bool) throws {
            var template = Array("/tmp/vigie-notify-XXXXXX".utf8CString)
            let made = mkdtemp(&template)
            try #require(made != nil)
            let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
            path = (abstract ? "@" : "") + folder + "/socket"
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            try #require(descriptor >= 0)
            // Longer than a loaded machine takes to give the sender a thread.
            var timeout = timeval(tv_sec: 300, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            var name = Array(path.utf8)
            if abstract { name[0] = 0 }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
            let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
            }
            try #require(bound == 0)
        }

        deinit {
            close(descriptor)
            if path.hasPrefix("/") {
                unlink(path)
                rmdir(String(path.dropLast("/socket".count)))
            }
        }

        /// The next message. It waits on a thread of its own: what sends the message may need those of the pool.
        func next() async -> String {
            await withCheckedContinuation { [descriptor] continuation in
                startThread(name: "receive") {
                    var bytes = [UInt8](repeating: 0, count: 1024)
                    let count = recv(descriptor, &bytes, bytes.count, 0)
                    continuation.resume(returning: String(decoding: bytes[..<max(0, count)], as: UTF8.self))
                }
            }
        }
    }

    @Test(arguments: [false, true])
    func messagesArriveAsDatagrams(_ abstract: Bool) async throws {
        let listener = try Listener(abstract: abstract)
        let notifier = try #require(SystemdNotifier(socket: listener.path))
        notifier.ready()
        notifier.status("draining\nREADY=1")
        notifier.watchdog()
        notifier.stopping()
        #expect(await listener.next() == "READY=1")
        #expect(await listener.next() == "STATUS=draining READY=1")
        #expect(await listener.next() == "WATCHDOG=1")
        #expect(await listener.next() == "STOPPING=1")
    }

    @Test(arguments: ["", "/", "relative/path", "vsock:2:1234", "/" + String(repeating: "a", count: 200)])
    func whatIsNotASocketPathIsRefused(_ path: String) {
        #expect(SystemdNotifier(socket: path) == nil)
    }

    @Test func aSocketWithoutAListenerHarmsNothing() throws {
        try #require(SystemdNotifier(socket: "/nonexistent/socket")).ready()
    }

    @Test func theGroupTellsItsStartAndItsStop() async throws {
        struct Brief: Service {
            func run() async throws {}
        }
        let listener = try Listener(abstract: true)
        let notifier = try #require(SystemdNotifier(socket: listener.path))
        let log = Log("test", to: LogOutput(descriptor: STDERR_FILENO, format: .plain, minimum: .error))
        try await ServiceGroup([.init("brief", Brief())], signals: [], log: log, notifier: notifier).run()
        #expect(await listener.next() == "READY=1")
        #expect(await listener.next() == "STOPPING=1")
    }

    @Test func theWatchdogIsFedWhileTheProgramIsAlive() async throws {
        let listener = try Listener(abstract: true)
        let notifier = try #require(SystemdNotifier(socket: listener.path))
        let health = Health()
        let watchdog = SystemdWatchdog(
            notifier: notifier, health: health, interval: .milliseconds(1), log: Log("test", to: Self.quiet))
        let task = Task { await watchdog.run() }
        #expect(await listener.next() == "WATCHDOG=1")
        #expect(await listener.next() == "WATCHDOG=1")
        task.cancel()
        await task.value
    }

    @Test func aFailedPartStarvesTheWatchdogAndIsNamed() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        let notifier = try #require(SystemdNotifier(socket: "/nonexistent/socket"))
        let health = Health()
        health.report("kafka", .healthy)
        health.report("storage", .failed("the card is gone"))
        let log = Log("test", to: LogOutput(descriptor: ends[1], format: .plain, minimum: .error))
        let watchdog = SystemdWatchdog(notifier: notifier, health: health, interval: .milliseconds(1), log: log)
        let task = Task { await watchdog.run() }
        let reading = ends[0]
        let line = await withCheckedContinuation { continuation in
            startThread(name: "read") {
                var bytes = [UInt8](repeating: 0, count: 1024)
                let count = read(reading, &bytes, bytes.count)
                continuation.resume(returning: String(decoding: bytes[..<max(0, count)], as: UTF8.self))
            }
        }
        task.cancel()
        await task.value
        #expect(line.contains("no longer fed"))
        #expect(line.contains("parts=\"storage failed: the card is gone\"\n"))
    }

    /// A server that is away may hold up a preparation for hours.
    @Test func theGroupIsReadyAndFedWhileItIsPrepared() async throws {
        let listener = try Listener(abstract: true)
        let notifier = try #require(SystemdNotifier(socket: listener.path))
        let log = Log("test", to: Self.quiet)
        let watchdog = SystemdWatchdog(
            notifier: notifier, health: Health(), interval: .milliseconds(1), log: log)
        let group = ServiceGroup([], signals: [], log: log, notifier: notifier, watchdog: watchdog)
        let task = Task { try await group.run { try await Task.sleep(for: .seconds(3600)) } }
        var messages: Set<String> = []
        while messages != ["READY=1", "WATCHDOG=1"] { messages.insert(await listener.next()) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    private static let quiet = LogOutput(descriptor: STDERR_FILENO, format: .plain, minimum: .error)

    @Test func theEnvironmentAsksForTheWatchdog() {
        let health = Health()
        var environment = ["NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "\(getpid())"]
        func watchdog() -> SystemdWatchdog? { SystemdWatchdog(health: health, log: Log("test")) { environment[$0] } }
        #expect(watchdog() != nil)
        environment["WATCHDOG_PID"] = "1"
        #expect(watchdog() == nil)
        environment["WATCHDOG_PID"] = nil
        #expect(watchdog() != nil)
        environment["WATCHDOG_USEC"] = "soon"
        #expect(watchdog() == nil)
        environment["WATCHDOG_USEC"] = nil
        #expect(watchdog() == nil)
    }
}
