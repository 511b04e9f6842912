import PostgresClient
import Testing

@Suite(.enabled(if: postgresServer != nil, "VIGIE_POSTGRES is not set"))
struct PostgresValueTests {
    /// Sends a value and an array with NULLs, compares them with the server's idea of them, and reads them back.
    private func roundTrip<Value: PostgresValue & Equatable>(
        _ values: [Value], as type: String, _ connection: PostgresConnection
    ) throws {
        for value in values {
            let result = try connection.query("SELECT $1, $1 IS NULL, pg_typeof($1)::text", [.value(value)])
            #expect(try result.value(0, 0, as: Value.self) == value)
            #expect(try result.value(0, 1, as: Bool.self) == false)
            #expect(try result.value(0, 2, as: String.self) == type)
        }
        let null = try connection.query("SELECT $1, pg_typeof($1)::text", [.value(Value?.none)])
        #expect(try null.optional(0, 0, as: Value.self) == nil)
        #expect(try null.value(0, 1, as: String.self) == type)

        let elements: [Value?] = [nil] + values.map { $0 } + [nil]
        let array = try connection.query(
            "SELECT $1, cardinality($1), (SELECT count(*) FROM unnest($1) AS e WHERE e IS NULL)", [.array(elements)])
        #expect(try array.array(0, 0, of: Value.self) == elements)
        #expect(try array.value(0, 1, as: Int32.self) == Int32(elements.count))
        #expect(try array.value(0, 2, as: Int64.self) == 2)

        let whole = try connection.query("SELECT $1", [.array(values)])
        #expect(try whole.array(0, 0, of: Value.self) == values.map { $0 })
        let empty = try connection.query("SELECT $1, cardinality($1)", [.array([Value]())])
        #expect(try empty.array(0, 0, of: Value.self) == [])
        #expect(try empty.value(0, 1, as: Int32.self) == 0)
    }

    @Test func everyTypeMakesTheRoundTrip() throws {
        let connection = try connect()
        try roundTrip([true, false], as: "boolean", connection)
        try roundTrip([Int16.min, -1, 0, 1, .max], as: "smallint", connection)
        try roundTrip([Int32.min, -1, 0, 1, .max], as: "integer", connection)
        try roundTrip([Int64.min, -1, 0, 1, .max], as: "bigint", connection)
        try roundTrip(
            [0, -0.0, 21.5, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude],
            as: "double precision", connection)
        try roundTrip(["", "a", "é漢字🌡", "{\"x\":\"y\\z\"}, NULL"], as: "text", connection)
        try roundTrip([[], [0], [UInt8](0...255)], as: "bytea", connection)
    }

    @Test func notANumberStaysOne() throws {
        let result = try connect().query(
            "SELECT $1, $1 = 'NaN'::float8, $2", [.value(Double.nan), .array([Double.nan])])
        #expect(try result.value(0, 0, as: Double.self).isNaN)
        #expect(try result.value(0, 1, as: Bool.self))
        #expect(try result.array(0, 2, of: Double.self)?.first??.isNaN == true)
    }

    @Test(arguments: [
        (0, "1970-01-01 00:00:00+00"), (-1, "1969-12-31 23:59:59.999999+00"),
        (946_684_800_000_000, "2000-01-01 00:00:00+00"), (946_684_799_999_999, "1999-12-31 23:59:59.999999+00"),
        (1_772_346_600_250_000, "2026-03-01 06:30:00.25+00"), (-210_866_803_200_000_000, "4714-11-24 00:00:00+00 BC"),
        (Int64.max, "infinity"), (Int64.min, "-infinity"),
    ])
    func timestampsAreTheServers(microseconds: Int64, text: String) throws {
        let connection = try connect()
        try connection.execute("SET timezone TO 'UTC'")
        let timestamp = PostgresTimestamp(microseconds: microseconds)
        let result = try connection.query("SELECT $1, $1::text", [.value(timestamp)])
        #expect(try result.value(0, 0, as: PostgresTimestamp.self) == timestamp)
        #expect(try result.value(0, 1, as: String.self) == text)
        try roundTrip([timestamp], as: "timestamp with time zone", connection)
    }

    @Test func aTimestampBeyondSixtyFourBitsIsInfinity() throws {
        let result = try connect().query("SELECT '294276-12-31 23:59:59+00'::timestamptz")
        #expect(try result.value(0, 0) == PostgresTimestamp.infinity)
    }

    @Test func aTimestampConvertsToMilliseconds() {
        #expect(PostgresTimestamp(milliseconds: -1).microseconds == -1000)
        #expect(PostgresTimestamp(microseconds: -1).milliseconds == -1)
        #expect(PostgresTimestamp(microseconds: -1000).milliseconds == -1)
        #expect(PostgresTimestamp(microseconds: 1999).milliseconds == 1)
        #expect(PostgresTimestamp(milliseconds: .max) == .infinity)
        #expect(PostgresTimestamp(milliseconds: .min) == .negativeInfinity)
    }

    @Test func aFieldThatIsNotAskedForRightlyIsAnError() throws {
        let result = try connect().query("SELECT 1::int4 AS small, NULL::int8 AS nothing, ARRAY[[1,2],[3,4]]::int8[]")
        let width = try postgresError { _ = try result.value(0, 0, as: Int64.self) }
        #expect(width.sqlState == "22P03")
        #expect(width.message.contains("small"))
        #expect(try postgresError { _ = try result.value(0, 1, as: Int64.self) }.sqlState == "22004")
        #expect(try postgresError { _ = try result.value(1, 0, as: Int32.self) }.sqlState == "22P03")
        #expect(try postgresError { _ = try result.value(0, 3, as: Int32.self) }.sqlState == "22P03")
        #expect(try postgresError { _ = try result.value(-1, -1, as: Int32.self) }.sqlState == "22P03")
        #expect(try postgresError { _ = try result.array(0, 2, of: Int64.self) }.message.contains("2 dimensions"))
        #expect(try postgresError { _ = try result.array(0, 0, of: Int64.self) }.sqlState == "22P03")
    }
}
