import Foundation
import PostgresClient
import Testing

/// A PostgreSQL cluster of a test's own, to be stopped, killed and starved. It is reached through a Unix socket in a
/// folder that only its user enters; PostgreSQL refuses to run as root, so for root it runs as user `postgres`.
final class PrivateCluster {
    /// The folder of PostgreSQL's programs, if tests may make clusters.
    static let programs = ProcessInfo.processInfo.environment["VIGIE_POSTGRES_BIN"].map { URL(fileURLWithPath: $0) }

    /// Disables a test, and says why, where the programs are missing.
    static var isPossible: some TestTrait & SuiteTrait {
        .enabled(if: programs != nil, "VIGIE_POSTGRES_BIN names the folder of PostgreSQL's programs; make test sets it")
    }

    /// Holds the data, the sockets and the log.
    let folder: URL
    /// File systems of its own.
    private var disks: [URL] = []
    private let programs: URL
    private var process: ChildProcess?
    /// Where it listens on loopback, if it has a network; part of its socket's name too.
    let port: UInt16

    private var data: URL { folder.appendingPathComponent("data") }
    private var log: URL { folder.appendingPathComponent("postgres.log") }

    /// The administrator's connection string.
    var administration: String { "host=\(folder.path) port=\(port) user=admin dbname=postgres" }
    /// The connection string of a role that may make databases and nothing else.
    var connection: String { "host=\(folder.path) port=\(port) user=vigie dbname=postgres" }

    /// How it shows itself to who comes by TLS, and whom it lets in.
    struct Network {
        /// Of the server: paths of PEM files.
        var server: (certificate: String, key: String)
        /// Who vouches for clients.
        var authority: String
        /// Lines of pg_hba.conf.
        var access: [String]
    }

    /// Makes a cluster and starts it.
    /// - Parameters:
    ///   - walDisk: the size of a file system for the WAL alone, in MiB; nil for none. Needs root.
    ///   - network: how it is reached by a port of loopback, too; nil for not at all.
    init(walDisk: Int? = nil, network: Network? = nil) async throws {
        port = try network == nil ? 5432 : PrivateBroker.freePort()
        programs = try #require(PrivateCluster.programs)
        folder = try PrivateCluster.makeFolder()
        var options = ["--pgdata=\(data.path)", "--username=admin", "--auth=trust", "--no-sync", "--locale=C.UTF-8"]
        options += ["--encoding=UTF8", "--wal-segsize=1"]
        if let walDisk { options.append("--waldir=\(try addDisk("wal", size: walDisk).path)/segments") }
        try await run("initdb", options)
        try configure()
        if let network { try write(network) }
        try await start()
        let server = try connect()
        try server.execute("CREATE ROLE vigie LOGIN CREATEDB")
    }

    /// Takes a copy of a running cluster that follows it until it is promoted.
    init(following primary: PrivateCluster) async throws {
        programs = primary.programs
        port = primary.port
        folder = try PrivateCluster.makeFolder()
        try await run(
            "pg_basebackup",
            [
                "--pgdata=\(data.path)", "--host=\(primary.folder.path)", "--username=admin", "--write-recovery-conf",
                "--checkpoint=fast", "--no-sync",
            ])
        try configure()
        try await start()
    }

    deinit {
        process?.send(SIGQUIT)
        for disk in disks { umount2(disk.path, Int32(MNT_DETACH)) }
    }

    private static func makeFolder() throws -> URL {
        // Short, as the path of a Unix socket has little room.
        let folder = URL(fileURLWithPath: "/tmp/vigie-pg-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        try giveAway(folder)
        return folder
    }

    static func giveAway(_ folder: URL) throws {
        guard geteuid() == 0 else { return }
        let user = try #require(getpwnam("postgres")).pointee
        try #require(chown(folder.path, user.pw_uid, user.pw_gid) == 0)
    }

    private func configure() throws {
        // A vacuum that runs in a database keeps its owner from dropping it.
        let settings = """
            listen_addresses = ''
            unix_socket_directories = '\(folder.path)'
            timezone = 'UTC'
            log_timezone = 'UTC'
            fsync = off
            full_page_writes = off
            shared_buffers = 32MB
            min_wal_size = 2MB
            max_wal_size = 8MB
            wal_init_zero = on
            autovacuum = off

            """
        try settings.write(
            to: data.appendingPathComponent("postgresql.conf"), atomically: false, encoding: .utf8)
    }

    // MARK: Network

    private func write(_ network: Network) throws {
        for (source, name) in [
            (network.server.certificate, "server.pem"), (network.server.key, "server.key"),
            (network.authority, "authority.pem"),
        ] {
            let file = data.appendingPathComponent(name)
            try Data(contentsOf: URL(fileURLWithPath: source)).write(to: file)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
            try PrivateCluster.giveAway(file)
        }
        try (["local all all trust"] + network.access + [""]).joined(separator: "\n").write(
            to: data.appendingPathComponent("pg_hba.conf"), atomically: false, encoding: .utf8)
        let file = data.appendingPathComponent("postgresql.conf")
        let settings =
            try String(contentsOf: file, encoding: .utf8) + """
                listen_addresses = '127.0.0.1'
                port = \(port)
                ssl = on
                ssl_cert_file = 'server.pem'
                ssl_key_file = 'server.key'
                ssl_ca_file = 'authority.pem'

                """
        try settings.write(to: file, atomically: false, encoding: .utf8)
    }

    /// Shows itself otherwise from now on, and ends the sessions of before. It is for a cluster that has a network.
    /// - Parameter isInForce: whether a new connection shows that it does.
    func change(_ network: Network, isInForce: () -> Bool) async throws {
        try write(network)
        try execute("SELECT pg_reload_conf()")
        // The postmaster does it when it gets to it.
        try await waitUntil("the network has changed", within: .seconds(120), isInForce)
        try execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vigie'")
    }

    // MARK: Disks

    /// Disables a test, and says why, where no file system can be mounted.
    static var hasDisks: some TestTrait & SuiteTrait {
        .enabled("a small file system can be filled only where one may be mounted: by root, outside most containers") {
            guard geteuid() == 0 else { return false }
            let place = URL(fileURLWithPath: "/tmp/vigie-disk-\(UUID().uuidString.prefix(8))")
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: false)
            defer { rmdir(place.path) }
            return mount("tmpfs", place.path, "tmpfs", 0, "size=1m") == 0 && umount2(place.path, 0) == 0
        }
    }

    /// Mounts a file system of a few MiB, which PostgreSQL may write to.
    func addDisk(_ name: String, size: Int) throws -> URL {
        let place = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: false)
        let mounted = mount("tmpfs", place.path, "tmpfs", 0, "size=\(size)m,mode=0700")
        try #require(mounted == 0, "mount: errno \(errno)")
        disks.append(place)
        try PrivateCluster.giveAway(place)
        return place
    }

    // MARK: Processes

    /// Starts a program as the user that the cluster belongs to.
    func child(_ path: URL, _ arguments: [String], log: URL) throws -> ChildProcess {
        guard geteuid() == 0 else { return try ChildProcess(path, arguments, log: log) }
        return try ChildProcess(
            URL(fileURLWithPath: "/usr/bin/setpriv"),
            ["--reuid=postgres", "--regid=postgres", "--init-groups", "--", path.path] + arguments, log: log)
    }

    private func run(_ program: String, _ arguments: [String]) async throws {
        let child = try child(programs.appendingPathComponent(program), arguments, log: log)
        let ending = await child.ending()
        try #require(ending == .status(0), "\(program): \(ending)\n\(child.output.suffix(2000))")
    }

    /// What the server has written to its log.
    var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    /// Starts it, however it ended, and waits until it answers.
    func start() async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            let started =
                try process.flatMap { $0.isRunning ? $0 : nil }
                ?? child(programs.appendingPathComponent("postgres"), ["-D", data.path], log: log)
            process = started
            while started.isRunning {
                if (try? connect()) != nil { return }
                try #require(ContinuousClock.now < deadline, "PostgreSQL does not answer: \(output.suffix(2000))")
                try await Task.sleep(for: .milliseconds(20))
            }
            // After a kill of the postmaster its children hold the shared memory for a moment.
            try #require(ContinuousClock.now < deadline, "PostgreSQL does not start: \(output.suffix(2000))")
        }
    }

    /// Ends it in order, without waiting for its clients.
    func stop() async throws {
        process?.send(SIGINT)
        _ = await process?.ending()
    }

    /// Kills the postmaster; its children notice and end.
    func kill() async {
        process?.send(SIGKILL)
        _ = await process?.ending()
    }

    /// Lets a follower get nothing more of its primary.
    func cutOff() async throws {
        try execute("ALTER SYSTEM SET primary_conninfo = ''")
        try execute("SELECT pg_reload_conf()")
        try await waitUntil("nothing is received any more", within: .seconds(120)) {
            try connect().query("SELECT FROM pg_stat_wal_receiver").rowCount == 0
        }
    }

    /// Makes a follower a primary.
    func promote() throws {
        try #require(try connect().query("SELECT pg_promote()").value(0, 0, as: Bool.self))
    }

    /// Ends it and removes all of it.
    func remove() async throws {
        try await stop()
        for disk in disks { try #require(umount2(disk.path, 0) == 0, "umount: errno \(errno)") }
        disks = []
        try FileManager.default.removeItem(at: folder)
    }

    /// The processes of the processor's sessions.
    func sessions() throws -> [pid_t] {
        let rows = try connect().query(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'vigie' AND application_name <> 'vigie-tests'")
        return try (0..<rows.rowCount).map { try rows.value($0, 0, as: Int32.self) }
    }

    /// A new connection of the administrator, which no time-out of the server concerns.
    func connect(database: String = "postgres") throws -> PostgresConnection {
        try PostgresConnection(
            connectionString: """
                host=\(folder.path) port=\(port) user=admin dbname=\(database) options='-c statement_timeout=0 \
                -c idle_session_timeout=0 -c default_transaction_read_only=off'
                """,
            applicationName: "vigie-tests")
    }

    /// Runs a statement as the administrator.
    @discardableResult
    func execute(_ sql: String, database: String = "postgres") throws -> Int {
        try connect(database: database).execute(sql)
    }
}
