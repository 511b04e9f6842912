@testable import PostgresClient
import Testing

@Suite(.enabled(if: postgresServer != nil, "VIGIE_POSTGRES is not set"))
struct CopyTests {
    private let copy = "COPY t (s, i, l, d, b, at, name, raw, tags) FROM STDIN (FORMAT binary)"

    private func connectWithTable() throws -> PostgresConnection {
        let connection = try connect()
        try connection.execute(
            """
            CREATE TEMPORARY TABLE t (s int2, i int4, l int8, d float8, b bool, at timestamptz, name text, raw bytea,
                tags text[])
            """)
        return connection
    }

    @Test func everyTypeArrives() throws {
        let connection = try connectWithTable()
        let count = try connection.copyIn(copy) { writer in
            try writer.beginRow(fields: 9)
            writer.append(Int16.min)
            writer.append(Int32.max)
            writer.append(Int64.min)
            writer.append(Double.nan)
            writer.append(true)
            writer.append(PostgresTimestamp(microseconds: -1))
            writer.append("é漢")
            [UInt8](0...255).withUnsafeBytes { writer.append($0) }
            writer.append(["a", "b,\"c"])
            try writer.beginRow(fields: 9)
            for _ in 0..<3 { writer.appendNull() }
            writer.append(Double?.none)
            for _ in 0..<2 { writer.appendNull() }
            writer.append("")
            writer.append(UnsafeRawBufferPointer(start: nil, count: 0))
            writer.append([String]())
        }
        #expect(count == 2)
        let rows = try connection.query("SELECT s, i, l, d, b, at, name, raw, tags FROM t ORDER BY s NULLS LAST")
        #expect(try rows.value(0, 0) == Int16.min)
        #expect(try rows.value(0, 1) == Int32.max)
        #expect(try rows.value(0, 2) == Int64.min)
        #expect(try rows.value(0, 3, as: Double.self).isNaN)
        #expect(try rows.value(0, 4) == true)
        #expect(try rows.value(0, 5) == PostgresTimestamp(microseconds: -1))
        #expect(try rows.value(0, 6) == "é漢")
        #expect(try rows.value(0, 7) == [UInt8](0...255))
        #expect(try rows.array(0, 8, of: String.self) == ["a", "b,\"c"])
        #expect(try rows.optional(1, 0, as: Int16.self) == nil)
        #expect(try rows.optional(1, 3, as: Double.self) == nil)
        #expect(try rows.value(1, 6) == "")
        #expect(try rows.value(1, 7, as: [UInt8].self) == [])
        #expect(try rows.array(1, 8, of: String.self) == [])
    }

    @Test func manyChunksArriveWhole() throws {
        let connection = try connectWithTable()
        let rows = 50_000
        let count = try connection.copyIn("COPY t (l, name) FROM STDIN (FORMAT binary)") { writer in
            for row in 0..<rows {
                try writer.beginRow(fields: 2)
                writer.append(Int64(row))
                // One row is larger than a chunk.
                writer.append(row == 777 ? String(repeating: "x", count: 500_000) : "row \(row)")
            }
            #expect(writer.rowCount == rows)
        }
        #expect(count == rows)
        let result = try connection.query(
            "SELECT count(*), sum(l)::int8, count(*) FILTER (WHERE name = 'row ' || l), max(length(name)) FROM t")
        #expect(try result.value(0, 0) == Int64(rows))
        #expect(try result.value(0, 1) == Int64(rows * (rows - 1) / 2))
        #expect(try result.value(0, 2) == Int64(rows - 1))
        #expect(try result.value(0, 3) == Int32(500_000))
    }

    @Test func aThrowKeepsNoRowAndTheConnection() throws {
        struct Stop: Error {}
        let connection = try connectWithTable()
        #expect(throws: Stop.self) {
            try connection.copyIn("COPY t (l) FROM STDIN (FORMAT binary)") { writer in
                for row in 0..<100_000 {
                    try writer.beginRow(fields: 1)
                    writer.append(Int64(row))
                }
                throw Stop()
            }
        }
        #expect(connection.isAlive)
        #expect(try connection.query("SELECT count(*) FROM t").value(0, 0) == Int64(0))
    }

    @Test func theServersRefusalIsTyped() throws {
        let connection = try connectWithTable()
        try connection.execute("ALTER TABLE t ADD CONSTRAINT small CHECK (l < 10)")
        let refused = try postgresError {
            try connection.copyIn("COPY t (l) FROM STDIN (FORMAT binary)") { writer in
                for row in 0..<100_000 {
                    try writer.beginRow(fields: 1)
                    writer.append(Int64(row))
                }
            }
        }
        #expect(refused.sqlState == "23514")
        #expect(refused.constraint == "small")
        let width = try postgresError {
            try connection.copyIn("COPY t (l) FROM STDIN (FORMAT binary)") { writer in
                try writer.beginRow(fields: 1)
                writer.append(Int32(1))
            }
        }
        #expect(width.sqlState == "08P01")
        #expect(try postgresError { try connection.copyIn("COPY nowhere FROM STDIN") { _ in } }.sqlState == "42P01")
        #expect(try postgresError { try connection.copyIn("SELECT 1") { _ in } }.sqlState == "42601")
        #expect(try connection.query("SELECT count(*) FROM t").value(0, 0) == Int64(0))
    }

    @Test func aConnectionKilledDuringACopyIsATransientError() throws {
        let connection = try connectWithTable()
        let other = try connect()
        let error = try postgresError {
            try connection.copyIn("COPY t (l) FROM STDIN (FORMAT binary)") { writer in
                for row in 0..<1_000_000 {
                    if row == 500_000 {
                        _ = try other.query(
                            "SELECT pg_terminate_backend($1, 5000)", [.value(connection.backendProcess)])
                    }
                    try writer.beginRow(fields: 1)
                    writer.append(Int64(row))
                }
            }
        }
        #expect(error.isTransient, "\(error)")
        #expect(!connection.isAlive)
    }
}

struct CopyEncodingTests {
    /// Rows such as the processor's, without a server. Prints the rate; a debug build is far slower than a release one.
    @Test func encodingRate() throws {
        var writer = BinaryCopyWriter(connection: nil)
        let rows = 200_000
        let name: [UInt8] = Array("gateway-0001".utf8)
        let time = try ContinuousClock().measure {
            for row in 0..<rows {
                try writer.beginRow(fields: 16)
                for _ in 0..<3 { name.withUnsafeBytes { writer.append($0) } }
                writer.append(Int64(row))
                writer.append(PostgresTimestamp(milliseconds: Int64(row)))
                for _ in 0..<6 { writer.append(Double?.some(21.5)) }
                writer.append(Double?.none)
                writer.append(false)
                writer.append(Int32(3))
                writer.append(Int64(row))
                writer.append(PostgresTimestamp(milliseconds: Int64(row)))
            }
        }
        #expect(writer.rowCount == rows)
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
        print("COPY encoding: \(Int(Double(rows) / seconds)) rows of 16 columns a second")
    }
}
