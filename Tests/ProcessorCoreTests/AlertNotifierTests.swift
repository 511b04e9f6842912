import Foundation
import Monitoring
import PostgresClient
import Readings
import Synchronization
import Testing
import TestSupport

@testable import Configuration
@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// The webhook against a real HTTP server that is slow, failing, gone, and then well.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct AlertNotifierTests {
    private let connection: PostgresConnection
    private let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
    private let time = ManualWallClock(Timestamp(milliseconds: 1_795_478_400_000))
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-webhook-\(UUID())")

    init() throws {
        connection = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        _ = try Migrator.migrate(connection)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func notifier(port: UInt16, timeout: String = "20s", health: Health = Health()) throws -> AlertNotifier {
        let token = folder.appendingPathComponent("token").path
        try "s3cret\n".write(toFile: token, atomically: true, encoding: .utf8)
        let database = try #require(server)
        let options = "options='-c search_path=\(schema)'"
        let text = """
            kafka: {bootstrap: here}
            postgres: {connection: "\(database) \(options)"}
            webhook: {url: "http://127.0.0.1:\(port)/hook", token_file: \(token), timeout: \(timeout)}
            """
        let settings = try ProcessorSettings(ConfigurationDocument(text: text, name: "processor.yaml"))
        return AlertNotifier(
            settings: settings, webhook: try #require(settings.webhook), metrics: NotifierMetrics(MetricsRegistry()),
            health: health, log: Log("test"), wallClock: time, clock: ContinuousClock())
    }

    /// An alert with some notifications.
    private func insert(_ id: Int, _ events: [String]) throws {
        try connection.execute(
            """
            INSERT INTO alert VALUES (\(id), 'g', 's\(id)', 'threshold', 'co2', 'warning', now(), now(), null, null, 1,
                1, '', now())
            """)
        for event in events {
            try connection.execute(
                """
                INSERT INTO alert_notification (alert_id, event, payload, created_at, next_attempt_at)
                VALUES (\(id), '\(event)', '{"event": "\(event)"}', now(), 'epoch')
                """)
        }
    }

    /// Lets the waiting time of all notifications pass.
    private func passTime() {
        time.set(Timestamp(milliseconds: time.now().milliseconds + 600_000))
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    @Test func notificationsOfOneAlertComeInOrderWithKeyAndToken() async throws {
        let hook = try TestServer { _ in .answer(204) }
        defer { hook.stop() }
        try insert(1, ["opened", "escalated", "closed"])
        let notifier = try notifier(port: hook.port)
        for _ in 0..<3 { #expect(await notifier.work() == .sent) }
        #expect(await notifier.work() == .nothing)
        #expect(hook.requests.map(\.body) == ["opened", "escalated", "closed"].map { "{\"event\": \"\($0)\"}" })
        #expect(
            hook.requests.map { $0.headers["idempotency-key"] }
                == ["alert-1-opened", "alert-1-escalated", "alert-1-closed"])
        let first = try #require(hook.requests.first)
        #expect(first.method == "POST" && first.path == "/hook")
        #expect(first.headers["authorization"] == "Bearer s3cret")
        #expect(first.headers["content-type"] == "application/json")
    }

    @Test func aHookThatIsSlowFailingOrGoneIsTriedAgainUntilItIsWell() async throws {
        let replies = Mutex<[TestServer.Reply]>([.hangUp, .silence, .answer(500), .answer(503), .answer(429)])
        let hook = try TestServer { _ in
            replies.withLock { $0.isEmpty ? .answer(200) : $0.removeFirst() }
        }
        try insert(1, ["opened", "closed"])
        let notifier = try notifier(port: hook.port, timeout: "2s")
        for attempt in 1...5 {
            #expect(await notifier.work() == .failed)
            #expect(await notifier.work() == .nothing, "neither the same at once, nor a later one before it")
            #expect(try text("SELECT attempts FROM alert_notification WHERE event = 'opened'") == "\(attempt)")
            passTime()
        }
        #expect(try text("SELECT last_error FROM alert_notification WHERE event = 'opened'").contains("status 429"))
        hook.stop()
        #expect(await notifier.work() == .failed)
        #expect(try text("SELECT last_error FROM alert_notification WHERE event = 'opened'").contains("reached"))
        passTime()
        // Another processor, after this one's end, and a server at the same place.
        let again = try TestServer(port: hook.port) { _ in .answer(200) }
        defer { again.stop() }
        let successor = try self.notifier(port: again.port)
        #expect(await successor.work() == .sent)
        #expect(await successor.work() == .sent)
        #expect(again.requests.map { $0.headers["idempotency-key"] } == ["alert-1-opened", "alert-1-closed"])
        #expect(try text("SELECT string_agg(attempts::text, ',' ORDER BY id) FROM alert_notification") == "7,1")
    }

    @Test func oneThatIsRefusedDoesNotStopTheOthers() async throws {
        let hook = try TestServer { $0.headers["idempotency-key"] == "alert-1-opened" ? .answer(400) : .answer(200) }
        defer { hook.stop() }
        try insert(1, ["opened", "closed"])
        try insert(2, ["opened"])
        let notifier = try notifier(port: hook.port)
        #expect(await notifier.work() == .refused)
        #expect(await notifier.work() == .sent)
        #expect(await notifier.work() == .nothing)
        #expect(
            try text(
                "SELECT string_agg(alert_id || event, ',' ORDER BY id) FROM alert_notification "
                    + "WHERE sent_at IS NULL") == "1opened,1closed")
    }

    @Test func manyProcessorsSendEachOnce() async throws {
        let hook = try TestServer { _ in .answer(200) }
        defer { hook.stop() }
        for id in 1...20 { try insert(id, ["opened", "closed"]) }
        let notifiers = try (0..<4).map { _ in try notifier(port: hook.port) }
        await withTaskGroup(of: Void.self) { group in
            for notifier in notifiers {
                group.addTask {
                    var idle = 0
                    // Nothing may be free for a moment while others hold the first of each alert.
                    while idle < 3 { idle = await notifier.work() == .sent ? 0 : idle + 1 }
                }
            }
        }
        while await notifiers[0].work() == .sent {}
        let keys = hook.requests.compactMap { $0.headers["idempotency-key"] }
        #expect(keys.count == 40 && Set(keys).count == 40)
        for id in 1...20 {
            let opened = try #require(keys.firstIndex(of: "alert-\(id)-opened"))
            #expect(try opened < #require(keys.firstIndex(of: "alert-\(id)-closed")))
        }
    }

    @Test func aTokenThatCannotBeReadIsSaidAndNotShown() async throws {
        let hook = try TestServer { _ in .answer(200) }
        defer { hook.stop() }
        try insert(1, ["opened"])
        let notifier = try notifier(port: hook.port)
        try FileManager.default.removeItem(atPath: folder.appendingPathComponent("token").path)
        #expect(await notifier.work() == .failed)
        #expect(hook.requests.isEmpty)
        #expect(try text("SELECT last_error FROM alert_notification").contains("token"))
    }

    @Test func theWaitDoublesToTenMinutes() {
        #expect((0...3).map { AlertNotifier.wait(after: $0) } == [500, 1000, 2000, 4000])
        #expect(AlertNotifier.wait(after: 40) == 600_000 && AlertNotifier.wait(after: .max) == 600_000)
    }
}
