import Foundation
import Readings
import TestSupport
import Testing

@testable import Outbox

/// Files of older releases are taken over with all that is in them.
@Suite struct MigrationTests {
    /// A file as the release with that format made it.
    private func makeFile(_ path: String, format: Int) throws {
        let database = try Database(path: path)
        try database.execute(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE outbox (stream_id TEXT NOT NULL, dropped INTEGER NOT NULL DEFAULT 0);
            CREATE TABLE reading (
                seq INTEGER PRIMARY KEY AUTOINCREMENT, event_time INTEGER NOT NULL, time_quality TEXT NOT NULL,
                boot_id TEXT NOT NULL, boot_time INTEGER NOT NULL, gateway_id TEXT NOT NULL, sensor_id TEXT NOT NULL,
                interval_ms INTEGER NOT NULL, temperature REAL, humidity REAL, co2 REAL, pressure REAL,
                battery_level REAL, battery_voltage REAL, faults TEXT NOT NULL, latitude REAL, longitude REAL,
                simulated INTEGER NOT NULL\(format == 1 ? "" : ", committed_at INTEGER"));
            CREATE TABLE quarantine (
                seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, event_time INTEGER NOT NULL, body TEXT NOT NULL);
            INSERT INTO outbox VALUES ('00000000000000c1', 7);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO reading SELECT i, 1000000 + i, 'synced', 'boot', i, 'gateway-1', 'hall', 10000, 20.5, NULL, 600,
                NULL, NULL, NULL, 'scd41:crc', 48.5, 2.25, 1\(format == 1 ? "" : ", 5000000") FROM n;
            DELETE FROM reading WHERE seq <= 1000 OR seq = 1500;
            INSERT INTO quarantine VALUES (1500, 'too large', 1001500, '{"gateway_id":"gateway-1","seq":1500}');
            PRAGMA user_version = \(format);
            """)
    }

    @Test(arguments: [1, 2])
    func aFileOfAnOlderFormatIsTakenOver(format: Int) async throws {
        let folder = try Folder()
        try makeFile(folder.file, format: format)
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        await outbox.prepare()
        let status = try await outbox.status()
        #expect((status.depth, status.lastSequence, status.dropped, status.quarantined) == (999, 2000, 7, 1))
        #expect(try await outbox.append([try record(1)]) == 2001)
        let readings = try await outbox.read(limit: 2000)
        #expect(readings.map(\.reading.sequence) == Array(1001...1499) + Array(1501...2001))
        let first = try #require(readings.first)
        #expect(first.reading.streamID == StreamID(bits: 0xC1))
        #expect(first.reading.streamFirst == nil)
        #expect(first.reading.faults.map(\.description) == ["scd41:crc"])
        #expect(first.reading.values == [.temperature: 20.5, .co2: 600])
        #expect(first.committedAt == (format == 1 ? nil : Timestamp(milliseconds: 5_000_000)))
        let last = try #require(readings.last)
        #expect((last.reading.streamID.bits, last.reading.streamFirst) == (0xA1, 2001))
        await outbox.release()
        let told = try await tell(outbox)
        #expect(told.streams == ["gateway-1 c1 1-2000 after none", "gateway-1 a1 2001- after c1"])
        #expect(told.gaps == ["c1 quarantined 1500-1500"])
        var quarantined: [QuarantinedReading] = []
        try OutboxQuarantine(path: folder.file, isReadOnly: true).forEach { quarantined.append($0) }
        #expect(quarantined.map(\.gatewayID) == ["gateway-1"])
        #expect(quarantined.map(\.streamID.bits) == [0xC1])
        let database = try Database(path: folder.file)
        #expect(try database.integer("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1)
        #expect(
            try database.integer("SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%'") == 0)
    }

    /// Each quantity that was added since format 3 is a column behind the others, which older rows do not have.
    @Test func aFileWithFewerQuantitiesGetsTheirColumns() async throws {
        for missing in 1...ReadingColumn.laterQuantities.count {
            let folder = try Folder()
            let first = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
            #expect(try await first.append([try record(1), try record(2)]) == 2)
            try await first.close()
            let database = try Database(path: folder.file)
            for quantity in ReadingColumn.laterQuantities.suffix(missing) {
                try database.execute("ALTER TABLE reading DROP COLUMN \(quantity.name)")
            }
            try database.execute(
                """
                ALTER TABLE reading DROP COLUMN checksum;
                ALTER TABLE stream DROP COLUMN checksum;
                PRAGMA user_version = \(OutboxSchema.format - 1 - Int64(missing))
                """)
            let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA2 })
            var newer = try record(3)
            newer.reading.values = [.co2: 700, .vocIndex: 120, .pm2_5: 7.5]
            try await outbox.append([newer])
            let readings = try await outbox.read(limit: 10).map(\.reading)
            #expect(readings.map(\.sequence) == [1, 2, 3])
            let oldest = try record(1).reading.values
            #expect(readings[0].values == oldest)
            #expect(readings[2].values == newer.reading.values)
        }
    }

    /// Makes a file one of the last format without checksums.
    private func removeChecksums(_ path: String) throws {
        try Database(path: path).execute(
            """
            ALTER TABLE reading DROP COLUMN checksum;
            ALTER TABLE stream DROP COLUMN checksum;
            PRAGMA user_version = 5;
            """)
    }

    /// A row without a checksum that names a stream which the file does not know was not committed so.
    @Test(arguments: [false, true])
    func rowsWithoutChecksumsAreTakenOver(isDamaged: Bool) async throws {
        let folder = try Folder()
        do {
            let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
            try await outbox.append(try records(1...300))
            try await outbox.close()
        }
        try removeChecksums(folder.file)
        let database = try Database(path: folder.file)
        try database.execute("UPDATE reading SET stream_id = 5 WHERE seq = 7")
        if isDamaged { try database.execute("PRAGMA user_version = 999") }
        try database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xB1 })
        #expect(try await outbox.append([try record(301)]) == 301)
        let readings = try await outbox.read(limit: 1000).map(\.reading)
        #expect(readings.map(\.sequence) == Array(1...6) + Array(8...301))
        #expect(readings.map(\.streamID.bits) == Array(repeating: 0xA1, count: 299) + [0xB1])
        await outbox.release()
        let told = try await tell(outbox)
        #expect(told.gaps == ["a1 unreadable 7-7"])
        let end = isDamaged ? "" : "300"
        #expect(told.streams == ["gateway-1 a1 1-\(end) after none", "gateway-1 b1 301- after a1"])
        #expect(
            try Database(path: folder.file).integer(
                "SELECT count(*) FROM reading WHERE checksum = \(RowChecksum.none)") == (isDamaged ? 0 : 299))
    }

    /// Its rows are not written anew: there may be millions on a card that is nearly full.
    @Test func takingOverWritesFewPages() async throws {
        let folder = try Folder()
        try makeFile(folder.file, format: 2)
        try Database(path: folder.file).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        let outbox = try await Outbox.open(path: folder.file)
        _ = try await outbox.status()
        #expect(OutboxFile.logBytes(folder.file) < 20 * 4120)
    }

    @Test func anEmptyOlderFileIsTakenOver() async throws {
        let folder = try Folder()
        try makeFile(folder.file, format: 2)
        try Database(path: folder.file).execute("DELETE FROM reading; DELETE FROM quarantine")
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        #expect(try await outbox.append([try record(1)]) == 2001)
        #expect(try await tell(outbox).streams == ["gateway-1 a1 2001- after none"])
    }

    /// Once it has nothing left it is made so that it can shrink.
    @Test func anOlderFileThatIsDrainedShrinks() async throws {
        let folder = try Folder()
        try makeFile(folder.file, format: 2)
        let database = try Database(path: folder.file)
        try database.execute(
            """
            WITH RECURSIVE n (i) AS (SELECT 2001 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO reading SELECT i, 1000000 + i, 'synced', 'boot', i, 'gateway-1', 'hall', 10000, 20.5, NULL, 600,
                NULL, NULL, NULL, '', 48.5, 2.25, 1, 5000000 FROM n;
            """)
        let outbox = try await Outbox.open(path: folder.file)
        await outbox.acknowledge(through: 30_000)
        try await outbox.append([try record(1)])
        let before = try await outbox.pragma("page_count")
        try await keepBounds(outbox)
        #expect(try await outbox.pragma("page_count") ?? 0 < (before ?? 0) / 4)
        #expect(try await outbox.pragma("auto_vacuum") == 2)
        #expect(try await sequences(outbox) == [30_001])
    }
}
