import CSQLite
import Platform
import TestSupport
import Testing

/// A connection without anything of the outbox.
private final class Connection {
    private let handle: OpaquePointer?

    init(_ machine: FaultyMachine, path: String = "/data") {
        var opened: OpaquePointer?
        sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, machine.vfs)
        handle = opened
    }

    deinit { sqlite3_close_v2(handle) }

    /// Runs statements; gives SQLite's result code without its extension.
    @discardableResult func execute(_ sql: String) -> Int32 { sqlite3_exec(handle, sql, nil, nil, nil) & 0xFF }

    /// The rows of a query as text; nil if it fails.
    func rows(_ sql: String) -> [[String]]? {
        var statement: OpaquePointer?
        defer { sqlite3_finalize(statement) }
        guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else { return nil }
        var rows: [[String]] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW:
                rows.append(
                    (0..<sqlite3_column_count(statement)).map { column in
                        sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
                    })
            case SQLITE_DONE: return rows
            default: return nil
            }
        }
    }

    /// The table as the workload knows it; nil if it cannot be read or the file is damaged.
    func table() -> [Int64: String]? {
        guard let hasTable = rows("SELECT count(*) FROM sqlite_schema WHERE name = 'item'") else { return nil }
        guard rows("PRAGMA integrity_check") == [["ok"]] else { return nil }
        if hasTable == [["0"]] { return [:] }
        guard let rows = rows("SELECT id, value FROM item") else { return nil }
        return Dictionary(uniqueKeysWithValues: rows.map { (Int64($0[0]) ?? -1, $0[1]) })
    }
}

/// How a workload's connection keeps its promises.
private struct Durability {
    var journal = "WAL"
    var synchronous = "FULL"
    var ignoresSyncs = false

    func open(_ machine: FaultyMachine) -> Connection {
        let connection = Connection(machine)
        connection.execute("PRAGMA synchronous = \(synchronous)")
        connection.execute("PRAGMA journal_mode = \(journal)")
        // Small enough that a short workload comes to it many times.
        connection.execute("PRAGMA wal_autocheckpoint = 12")
        return connection
    }
}

/// What cuts at every operation of a workload have shown.
private struct Findings {
    var cuts = 0
    /// Cuts after which a transaction that had been reported as committed was not there.
    var lost = 0
    /// Cuts after which the file could not be read, or held what was never committed.
    var damaged = 0
}

/// Runs random transactions, and looks at what a cut at each of their operations leaves.
private func cutEverywhere(_ durability: Durability, seed: UInt64, imagesPerCut: Int = 2) -> Findings {
    var random = SeededGenerator(seed: seed)
    let machine = FaultyMachine()
    var faults = FaultyMachine.Faults()
    faults.ignoresSyncs = durability.ignoresSyncs
    machine.set(faults)
    // The table after each transaction, and how many operations there were when it was reported.
    var states: [(table: [Int64: String], operations: Int64)] = [([:], 0)]
    for _ in 0..<3 {
        let connection = durability.open(machine)
        connection.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        for _ in 0..<16 {
            var (table, _) = states[states.count - 1]
            var sql = "BEGIN IMMEDIATE;"
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                if let id = table.keys.sorted().first, Int.random(in: 0..<3, using: &random) == 0 {
                    table[id] = nil
                    sql += "DELETE FROM item WHERE id = \(id);"
                } else {
                    let id = Int64.random(in: 1...40, using: &random)
                    let letter = String(UInt32.random(in: 0...999_999, using: &random))
                    let value = String(repeating: letter, count: Int.random(in: 1...300, using: &random))
                    table[id] = value
                    sql += "INSERT OR REPLACE INTO item VALUES (\(id), '\(value)');"
                }
            }
            #expect(connection.execute(sql + "COMMIT") == SQLITE_OK)
            states.append((table, machine.operationCount))
        }
    }
    // Closing has changed nothing but moved pages into the file.
    var findings = Findings()
    for n in 1...machine.operationCount + 1 {
        let reported = states.lastIndex { $0.operations < n } ?? 0
        for _ in 0..<imagesPerCut {
            let image = machine.image(cutAtOperation: n, seed: random.next())
            findings.cuts += 1
            guard let table = Connection(image).table() else {
                findings.damaged += 1
                continue
            }
            // The transaction at whose operations the power went may be there or not.
            if table == states[reported].table { continue }
            if reported + 1 < states.count, table == states[reported + 1].table { continue }
            if states[..<reported].contains(where: { $0.table == table }) {
                findings.lost += 1
            } else {
                findings.damaged += 1
            }
        }
    }
    return findings
}

@Suite struct FaultyMachineTests {
    @Test func whatSQLiteReportsAsDurableSurvivesACutAtEveryOperation() {
        var random = SeededGenerator(seed: printedSeed())
        for _ in 0..<2 {
            let findings = cutEverywhere(Durability(), seed: random.next())
            #expect(findings.cuts > 300)
            #expect(findings.lost == 0)
            #expect(findings.damaged == 0)
        }
    }

    /// The rollback journal's own promise: with EXTRA its deletion is synced too.
    @Test func theSameHoldsWithARollbackJournal() {
        var random = SeededGenerator(seed: printedSeed())
        let findings = cutEverywhere(Durability(journal: "DELETE", synchronous: "EXTRA"), seed: random.next())
        #expect(findings.lost == 0)
        #expect(findings.damaged == 0)
    }

    /// The machine finds programs that promise too much; otherwise its silence about the others would mean nothing.
    @Test(arguments: [
        // WAL without a sync for each commit: whole, but what was reported goes.
        (Durability(synchronous: "NORMAL"), losesReported: true, damages: false),
        (Durability(synchronous: "OFF"), losesReported: true, damages: true),
        (Durability(ignoresSyncs: true), losesReported: true, damages: true),
        // The deletion of the journal is not synced: it comes back, and takes the last transaction back.
        (Durability(journal: "DELETE", synchronous: "FULL"), losesReported: true, damages: false),
        // Pages torn in place.
        (Durability(journal: "OFF", synchronous: "FULL"), losesReported: false, damages: true),
    ])
    fileprivate func findsWhatIsBroken(durability: Durability, losesReported: Bool, damages: Bool) {
        let findings = cutEverywhere(durability, seed: printedSeed(), imagesPerCut: 1)
        #expect(losesReported ? findings.lost > 0 : true, "\(durability): \(findings)")
        #expect((findings.damaged > 0) == damages, "\(durability): \(findings)")
    }

    @Test func aSeedGivesTheSameImageAgain() {
        var images: [[UInt8]?] = []
        for seed: UInt64 in [1, 1, 2, 3, 4, 5, 6, 7, 8] {
            let machine = FaultyMachine()
            let connection = Durability(synchronous: "OFF").open(machine)
            // Without the WAL, whose salt SQLite draws at random.
            connection.execute("PRAGMA journal_mode = DELETE; CREATE TABLE item (id); INSERT INTO item VALUES (1)")
            images.append(machine.image(cutAtOperation: machine.operationCount + 1, seed: seed).contents(of: "/data"))
        }
        #expect(images[0] == images[1])
        #expect(Set(images).count > 1)
    }

    @Test func aCutEndsTheProgramAndARestartKeepsWhatWasReported() {
        let machine = FaultyMachine()
        let connection = Durability().open(machine)
        #expect(connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)") == SQLITE_OK)
        #expect(connection.execute("INSERT INTO item VALUES (1, 'one')") == SQLITE_OK)
        machine.cut(atOperation: machine.operationCount + 2)
        #expect(connection.execute("INSERT INTO item VALUES (2, 'two')") == SQLITE_IOERR)
        #expect(!machine.hasPower)
        #expect(connection.execute("INSERT INTO item VALUES (3, 'three')") != SQLITE_OK)
        machine.restart(seed: 5)
        #expect(connection.execute("SELECT * FROM item") == SQLITE_IOERR)
        let next = Durability().open(machine)
        #expect(next.table() == [1: "one"])
        #expect(next.execute("INSERT INTO item VALUES (2, 'two')") == SQLITE_OK)
        // What the dead program still does changes nothing.
        #expect(connection.execute("COMMIT") != SQLITE_OK)
        #expect(next.table() == [1: "one", 2: "two"])
    }

    /// After kill(2) the kernel still has what was written; only a power cut takes it.
    @Test func aKilledProgramLeavesWhatItWrote() {
        let machine = FaultyMachine()
        let durability = Durability(synchronous: "OFF")
        let connection = durability.open(machine)
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT); INSERT INTO item VALUES (1, 'one')")
        connection.execute("BEGIN IMMEDIATE; INSERT INTO item VALUES (2, 'two')")
        machine.kill()
        #expect(connection.execute("COMMIT") == SQLITE_IOERR)
        #expect(durability.open(machine).table() == [1: "one"])
    }

    @Test func connectionsLockEachOtherOut() {
        let machine = FaultyMachine()
        let first = Durability().open(machine)
        let second = Durability().open(machine)
        first.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)")
        #expect(first.execute("BEGIN IMMEDIATE; INSERT INTO item VALUES (1, 'one')") == SQLITE_OK)
        second.execute("PRAGMA busy_timeout = 3000")
        #expect(second.execute("BEGIN IMMEDIATE") == SQLITE_BUSY)
        #expect(machine.slept >= 2_900_000)
        #expect(second.table() == [:])
        #expect(first.execute("COMMIT") == SQLITE_OK)
        #expect(second.table() == [1: "one"])
        #expect(second.execute("BEGIN IMMEDIATE; COMMIT") == SQLITE_OK)
    }

    @Test func theRollbackJournalsLocksHoldToo() {
        let machine = FaultyMachine()
        let durability = Durability(journal: "DELETE")
        let first = durability.open(machine)
        let second = durability.open(machine)
        first.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)")
        #expect(second.execute("BEGIN; SELECT * FROM item") == SQLITE_OK)
        #expect(first.execute("BEGIN IMMEDIATE; INSERT INTO item VALUES (1, 'one')") == SQLITE_OK)
        // The reader holds the writer up, and the waiting writer new readers.
        #expect(first.execute("COMMIT") == SQLITE_BUSY)
        #expect(Connection(machine).rows("SELECT * FROM item") == nil)
        #expect(second.execute("COMMIT") == SQLITE_OK)
        #expect(first.execute("COMMIT") == SQLITE_OK)
        #expect(second.table() == [1: "one"])
    }

    @Test func faultsAreWhatSQLiteSays() {
        let machine = FaultyMachine()
        var faults = FaultyMachine.Faults()
        let connection = Durability().open(machine)
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)")
        let insert = "INSERT INTO item (value) VALUES ('\(String(repeating: "x", count: 9000))')"

        faults.foreignLock = .writer
        machine.set(faults)
        #expect(connection.execute(insert) == SQLITE_BUSY)
        #expect(connection.execute("SELECT * FROM item") == SQLITE_OK)
        faults.foreignLock = .exclusive
        machine.set(faults)
        #expect(connection.execute(insert) == SQLITE_BUSY)
        #expect(Connection(machine).execute("SELECT * FROM item") == SQLITE_BUSY)

        faults = FaultyMachine.Faults()
        faults.isReadOnly = true
        machine.set(faults)
        #expect(connection.execute(insert) == SQLITE_IOERR)
        #expect(Connection(machine).execute(insert) == SQLITE_READONLY)

        faults = FaultyMachine.Faults()
        faults.capacity = 0
        machine.set(faults)
        #expect(connection.execute(insert) == SQLITE_FULL)

        for kind in [\FaultyMachine.Faults.writes, \FaultyMachine.Faults.syncs] {
            faults = FaultyMachine.Faults()
            faults[keyPath: kind] = .init(after: 0)
            machine.set(faults)
            #expect(connection.execute(insert) == SQLITE_IOERR)
            #expect(connection.execute(insert) == SQLITE_OK)
        }
        faults = FaultyMachine.Faults()
        // The first read is the opening's.
        faults.reads = .init(after: 1)
        machine.set(faults)
        #expect(Connection(machine).execute("SELECT * FROM item") == SQLITE_IOERR)
        #expect(connection.rows("SELECT count(*) FROM item") == [["2"]])
    }

    /// What a failed sync should have written is clean for the kernel: SQLite must write it again, and does.
    @Test func aFailedSyncCostsNothingThatIsReportedLater() {
        var random = SeededGenerator(seed: printedSeed())
        for failing in Int64(0)..<12 {
            let machine = FaultyMachine()
            let connection = Durability().open(machine)
            connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)")
            var faults = FaultyMachine.Faults()
            faults.syncs = .init(after: failing)
            machine.set(faults)
            var expected: [Int64: String] = [:]
            for id in Int64(1)...30 {
                let value = String(repeating: "v", count: Int.random(in: 1...2000, using: &random))
                if connection.execute("INSERT INTO item VALUES (\(id), '\(value)')") == SQLITE_OK {
                    expected[id] = value
                }
            }
            #expect(expected.count >= 29)
            for _ in 0..<20 {
                let image = machine.image(cutAtOperation: machine.operationCount + 1, seed: random.next())
                let table = Connection(image).table()
                let isWhole = table == expected
                #expect(isWhole, "sync \(failing): \(table?.count ?? -1) rows of \(expected.count)")
            }
        }
    }

    @Test func filesAreReplacedFromOutside() {
        let machine = FaultyMachine()
        var connection: Connection? = Durability().open(machine)
        connection?.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, value TEXT)")
        connection?.execute("INSERT INTO item VALUES (1, 'one')")
        #expect(!machine.replaceContents(of: "/data", with: []))
        connection = nil
        let copy = machine.contents(of: "/data")
        #expect(copy?.count == 8192)
        #expect(machine.contents(of: "/data-wal") == nil)
        #expect(machine.replaceContents(of: "/data", with: Array(repeating: 0x41, count: 4096)))
        #expect(Connection(machine).table() == nil)
        #expect(machine.replaceContents(of: "/data", with: copy ?? []))
        #expect(Connection(machine).table() == [1: "one"])
        machine.remove("/data")
        #expect(Connection(machine).table() == [:])
    }
}
