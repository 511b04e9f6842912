// What Benchmarks/outbox measures in one process: the outbox beside a bare loop over SQLite's C API, and a bare loop over
// librdkafka's. Results are printed as one JSON object.
import CRdkafka
import CSQLite
import Glibc
import Outbox
import Platform
import Readings

let arguments = Array(CommandLine.arguments.dropFirst())

func fail(_ message: String) -> Never {
    let line = Array("outbox-benchmark: \(message)\n".utf8)
    write(STDERR_FILENO, line, line.count)
    exit(1)
}

func integer(_ index: Int) -> Int {
    guard index < arguments.count, let value = Int(arguments[index]) else { fail("a number is missing") }
    return value
}

/// A reading as a station with three chips gives it.
func sample(_ number: Int) -> OutboxRecord {
    let reading = Reading(
        gatewayID: Identifier(constant: "benchmark"), sensorID: Identifier(constant: "station-1"),
        streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_790_000_000_000 + Int64(number)),
        intervalMilliseconds: 10_000,
        values: [
            .temperature: 21.37, .humidity: 43.21, .co2: 612, .pressure: 1013.25, .batteryLevel: 81.5,
            .batteryVoltage: 3.912,
        ],
        place: Place(latitude: 48.8566, longitude: 2.3522))
    return OutboxRecord(
        reading: reading, bootID: "0b1e7c9a-3c5d-4e6f-8a9b-1c2d3e4f5a6b", bootTimeMilliseconds: Int64(number))
}

/// Seconds that something takes.
func seconds(_ body: () async throws -> Void) async rethrows -> Double {
    let start = ContinuousClock.now
    try await body()
    return start.duration(to: .now) / .seconds(1)
}

/// A file of SQLite with the same durability, and a loop that does nothing but insert.
final class BareLoop {
    private var database: OpaquePointer?
    private var insert: OpaquePointer?
    private var number: Int64 = 0

    init(path: String) {
        guard sqlite3_open(path, &database) == SQLITE_OK else { fail("cannot open \(path)") }
        execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        execute(
            """
            CREATE TABLE reading (seq INTEGER PRIMARY KEY, event_time INTEGER, time_quality TEXT, boot_id TEXT,
                boot_time INTEGER, gateway_id TEXT, sensor_id TEXT, interval_ms INTEGER, temperature REAL,
                humidity REAL, co2 REAL, pressure REAL, battery_level REAL, battery_voltage REAL, faults TEXT,
                latitude REAL, longitude REAL, simulated INTEGER, committed_at INTEGER, stream_id INTEGER,
                stream_first INTEGER)
            """)
        sqlite3_prepare_v2(
            database, "INSERT INTO reading VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", -1, &insert, nil)
    }

    private func execute(_ sql: String) {
        guard sqlite3_exec(database, sql, nil, nil, nil) == SQLITE_OK else {
            fail("\(sql): \(String(cString: sqlite3_errmsg(database)))")
        }
    }

    private func bind(_ column: Int32, _ text: String) {
        var text = text
        text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                _ = vigie_bind_text(insert, column, $0.baseAddress, Int32(bytes.count))
            }
        }
    }

    func commit(_ count: Int) {
        execute("BEGIN IMMEDIATE")
        for _ in 0..<count {
            number += 1
            sqlite3_bind_int64(insert, 1, number)
            sqlite3_bind_int64(insert, 2, 1_790_000_000_000 + number)
            bind(3, "synced")
            bind(4, "0b1e7c9a-3c5d-4e6f-8a9b-1c2d3e4f5a6b")
            sqlite3_bind_int64(insert, 5, number)
            bind(6, "benchmark")
            bind(7, "station-1")
            sqlite3_bind_int64(insert, 8, 10_000)
            sqlite3_bind_double(insert, 9, 21.37)
            sqlite3_bind_double(insert, 10, 43.21)
            sqlite3_bind_double(insert, 11, 612)
            sqlite3_bind_double(insert, 12, 1013.25)
            sqlite3_bind_double(insert, 13, 81.5)
            sqlite3_bind_double(insert, 14, 3.912)
            bind(15, "")
            sqlite3_bind_double(insert, 16, 48.8566)
            sqlite3_bind_double(insert, 17, 2.3522)
            sqlite3_bind_int64(insert, 18, 0)
            sqlite3_bind_int64(insert, 19, 1_790_000_000_000)
            sqlite3_bind_int64(insert, 20, 0x1234_5678_9ABC_DEF0)
            sqlite3_bind_int64(insert, 21, 1)
            guard sqlite3_step(insert) == SQLITE_DONE else { fail(String(cString: sqlite3_errmsg(database))) }
            sqlite3_reset(insert)
        }
        execute("COMMIT")
    }

    deinit {
        sqlite3_finalize(insert)
        sqlite3_close(database)
    }
}

extension Outbox {
    /// Commits as the writer does it, but without a change of thread between two commits, which the bare loop has not either.
    func commit(_ records: [OutboxRecord], times: Int) throws {
        for _ in 0..<times {
            guard try write(records).isBeyondBounds else { continue }
            while try keepBounds() {}
        }
    }
}

/// commits FOLDER GROUP ROUNDS COMMITS: the outbox and the bare loop take turns.
func commits() async throws {
    let (folder, group, rounds, count) = (arguments[1], integer(2), integer(3), integer(4))
    let outbox = try await Outbox.open(path: folder + "/outbox.sqlite")
    let bare = BareLoop(path: folder + "/bare.sqlite")
    let records = (0..<group).map { sample($0) }
    var results: [String] = []
    for _ in 0..<rounds {
        let ours = try await seconds { try await outbox.commit(records, times: count) }
        let theirs = await seconds { for _ in 0..<count { bare.commit(group) } }
        let readings = Double(group * count)
        results.append("{\"outbox\": \(readings / ours), \"bare\": \(readings / theirs)}")
    }
    print("[\(results.joined(separator: ", "))]")
}

/// lock FOLDER READINGS: how long enqueueing takes, without and with a foreign lock.
func lock() async throws {
    let (folder, count) = (arguments[1], integer(2))
    let outbox = try await Outbox.open(path: folder + "/outbox.sqlite")
    let writer = OutboxWriter(outbox: outbox)
    let task = Task { await writer.run() }
    func delays() async throws -> [Double] {
        var delays: [Double] = []
        for number in 0..<count {
            let record = sample(number)
            delays.append(await seconds { writer.enqueue(record) })
            try await Task.sleep(for: .milliseconds(10))
        }
        return delays.sorted()
    }
    func text(_ delays: [Double]) -> String {
        "{\"p50\": \(delays[delays.count / 2]), \"p99\": \(delays[delays.count * 99 / 100]), \"max\": \(delays[delays.count - 1])}"
    }
    let free = try await delays()
    await writer.settled()
    var holder: OpaquePointer?
    sqlite3_open(folder + "/outbox.sqlite", &holder)
    guard sqlite3_exec(holder, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK else { fail("no lock") }
    let locked = try await delays()
    sqlite3_exec(holder, "ROLLBACK", nil, nil, nil)
    sqlite3_close(holder)
    writer.finish()
    let lost = await task.value
    print("{\"free\": \(text(free)), \"locked\": \(text(locked)), \"lost\": \(lost)}")
}

/// fill FILE READINGS: a backlog.
func fill() async throws {
    let (path, count) = (arguments[1], integer(2))
    let outbox = try await Outbox.open(path: path)
    for start in stride(from: 0, to: count, by: 1000) {
        try await outbox.append((start..<min(start + 1000, count)).map { sample($0) })
    }
    try await outbox.close()
}

/// Gives the producer one message with the header that a gateway's have.
/// - Returns: whether it had room.
func send(_ value: [UInt8], _ key: [UInt8], _ header: [UInt8], to topic: OpaquePointer, of producer: OpaquePointer)
    -> Bool
{
    let headers = rd_kafka_headers_new(1)
    rd_kafka_header_add(headers, "vigie-committed", -1, header, header.count)
    let error = value.withUnsafeBytes { value in
        key.withUnsafeBytes { key in
            withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 5) { arguments in
                arguments.initialize(repeating: rd_kafka_vu_t())
                arguments[0].vtype = RD_KAFKA_VTYPE_RKT
                arguments[0].u.rkt = topic
                arguments[1].vtype = RD_KAFKA_VTYPE_VALUE
                arguments[1].u.mem.ptr = UnsafeMutableRawPointer(mutating: value.baseAddress)
                arguments[1].u.mem.size = value.count
                arguments[2].vtype = RD_KAFKA_VTYPE_KEY
                arguments[2].u.mem.ptr = UnsafeMutableRawPointer(mutating: key.baseAddress)
                arguments[2].u.mem.size = key.count
                arguments[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS
                arguments[3].u.i = RD_KAFKA_MSG_F_COPY
                arguments[4].vtype = RD_KAFKA_VTYPE_HEADERS
                arguments[4].u.headers = headers
                return rd_kafka_produceva(producer, arguments.baseAddress, arguments.count)
            }
        }
    }
    guard let error else { return true }
    rd_kafka_error_destroy(error)
    rd_kafka_headers_destroy(headers)
    return false
}

/// produce BOOTSTRAP TOPIC READINGS: librdkafka's own producer with the same bytes, as fast as it takes them.
func produce() throws {
    let (bootstrap, topic, count) = (arguments[1], arguments[2], integer(3))
    let configuration = rd_kafka_conf_new()
    for (name, value) in [
        ("bootstrap.servers", bootstrap), ("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "5"),
    ] {
        guard rd_kafka_conf_set(configuration, name, value, nil, 0) == RD_KAFKA_CONF_OK else { fail(name) }
    }
    guard let producer = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0),
        let destination = rd_kafka_topic_new(producer, topic, nil)
    else { fail("no producer") }
    var record = sample(0)
    record.reading.streamID = StreamID(bits: 0x1234_5678_9ABC_DEF0)
    let key = Array("benchmark".utf8)
    let header = Array("1790000000000".utf8)
    var start = ContinuousClock.now
    for number in 0..<count {
        record.reading.sequence = Int64(number + 1)
        record.reading.eventTime = Timestamp(milliseconds: 1_790_000_000_000 + Int64(number))
        let value = record.reading.encoded()
        while !send(value, key, header, to: destination, of: producer) { rd_kafka_poll(producer, 10) }
        rd_kafka_poll(producer, 0)
        if number == 0 {
            // The connection is not what is compared.
            rd_kafka_flush(producer, 60_000)
            start = .now
        }
    }
    guard rd_kafka_flush(producer, 600_000) == RD_KAFKA_RESP_ERR_NO_ERROR else { fail("not all were sent") }
    print("{\"rate\": \(Double(count - 1) / (start.duration(to: .now) / .seconds(1)))}")
}

switch arguments.first {
case "commits": try await commits()
case "lock": try await lock()
case "fill": try await fill()
case "produce": try produce()
default: fail("commits, lock, fill or produce is expected")
}
