import PostgresClient
import Testing

@Suite(.enabled(if: postgresServer != nil, "VIGIE_POSTGRES is not set"))
struct PostgresConnectionTests {
    @Test func statementsReportHowManyRowsTheyTouched() throws {
        let connection = try connect()
        #expect(connection.serverVersion >= 150_000)
        #expect(connection.isAlive)
        let count = try connection.execute(
            "CREATE TEMPORARY TABLE t (n int8); INSERT INTO t SELECT generate_series(1, 5)")
        #expect(count == 5)
        let deleted = try connection.query("DELETE FROM t WHERE n > $1 RETURNING n", [.value(Int64(3))])
        #expect(deleted.affectedRows == 2)
        #expect(deleted.rowCount == 2)
        #expect(try connection.execute("SELECT 1; CREATE TEMPORARY TABLE u (n int8)") == 0)
    }

    @Test func aBulkUpsertTakesArrays() throws {
        let connection = try connect()
        try connection.execute("CREATE TEMPORARY TABLE w (id text PRIMARY KEY, average float8, at timestamptz)")
        let sql = """
            INSERT INTO w SELECT * FROM unnest($1::text[], $2::float8[], $3::timestamptz[])
            ON CONFLICT (id) DO UPDATE SET average = excluded.average
            """
        for average in [1.5, 2.5] {
            let result = try connection.query(
                prepared: sql,
                [
                    .array(["a", "b"]), .array([average, nil]),
                    .array([PostgresTimestamp(microseconds: 1), PostgresTimestamp(microseconds: 2)]),
                ])
            #expect(result.affectedRows == 2)
        }
        let rows = try connection.query("SELECT id, average FROM w ORDER BY id")
        #expect(rows.rowCount == 2)
        #expect(try rows.value(0, 1) == 2.5)
        #expect(try rows.optional(1, 1, as: Double.self) == nil)
    }

    @Test func aStatementIsPreparedOnceForItsTypes() throws {
        let connection = try connect()
        for number in 1...3 {
            #expect(
                try connection.query(prepared: "SELECT $1 AS x", [.value(Int64(number))]).value(0, 0) == Int64(number))
        }
        #expect(try connection.query(prepared: "SELECT $1 AS x", [.value("text")]).value(0, 0) == "text")
        #expect(try connection.query("SELECT count(*) FROM pg_prepared_statements").value(0, 0) == Int64(2))
    }

    @Test func anErrorHasItsCodeAndLeaksNoValue() throws {
        let connection = try connect()
        try connection.execute("CREATE TEMPORARY TABLE t (id text CONSTRAINT one_each PRIMARY KEY)")
        let insert = "INSERT INTO t VALUES ($1)"
        _ = try connection.query(insert, [.value("very-secret")])
        let duplicate = try postgresError { _ = try connection.query(insert, [.value("very-secret")]) }
        #expect(duplicate.sqlState == "23505")
        #expect(duplicate.severity == "ERROR")
        #expect(duplicate.constraint == "one_each")
        #expect(duplicate.sql == insert)
        #expect(!duplicate.isTransient)
        #expect(duplicate.detail?.contains("very-secret") == true)
        #expect(!duplicate.description.contains("very-secret"))
        #expect(String(reflecting: duplicate).contains("very-secret"))

        let conversion = try postgresError {
            _ = try connection.query("SELECT $1::text::int4", [.value("very-secret")])
        }
        #expect(conversion.sqlState == "22P02")
        #expect(!conversion.description.contains("very-secret"))

        let syntax = try postgresError { try connection.execute("SELEKT 1") }
        #expect(syntax.sqlState == "42601")
        #expect(try postgresError { _ = try connection.query(prepared: "SELECT * FROM nowhere") }.sqlState == "42P01")
        #expect(try connection.query("SELECT 1").value(0, 0) == Int32(1))
    }

    @Test func aTransactionRollsBackOnAThrow() throws {
        struct Stop: Error {}
        let connection = try connect()
        try connection.execute("CREATE TEMPORARY TABLE t (n int8)")
        #expect(throws: Stop.self) {
            try connection.transaction {
                try connection.execute("INSERT INTO t VALUES (1)")
                throw Stop()
            }
        }
        #expect(!connection.isInTransaction)
        let returned = try connection.transaction {
            #expect(connection.isInTransaction)
            try connection.execute("INSERT INTO t VALUES (2)")
            return 7
        }
        #expect(returned == 7)
        #expect(try connection.query("SELECT n FROM t").value(0, 0) == Int64(2))
    }

    @Test func aTransactionWhoseFailureWasHiddenIsNotReportedAsCommitted() throws {
        let connection = try connect()
        let error = try postgresError {
            try connection.transaction {
                let hidden = try postgresError { try connection.execute("SELECT 1 / 0") }
                #expect(hidden.sqlState == "22012")
            }
        }
        #expect(error.sqlState == "25P02")
        #expect(!connection.isInTransaction)
    }

    @Test func aTransactionCanBeginWithALock() throws {
        let connection = try connect()
        try connection.execute("CREATE TEMPORARY TABLE t (n int8)")
        let held = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareLock'"
        let count: Int64 = try connection.transaction(beginningWith: "LOCK TABLE t IN SHARE MODE") {
            try connection.query(held).value(0, 0)
        }
        #expect(count == 1)
        #expect(try connection.query(held).value(0, 0) == Int64(0))
        let error = try postgresError {
            try connection.transaction(beginningWith: "LOCK TABLE nowhere") { _ = Issue.record("the body ran") }
        }
        #expect(error.sqlState == "42P01")
        #expect(!connection.isInTransaction && connection.isAlive)
    }

    @Test func withoutPreparedStatementsNothingIsLeftInTheSession() throws {
        let connection = try PostgresConnection(
            connectionString: try #require(postgresServer), applicationName: "vigie-tests", preparesStatements: false)
        for number in 1...3 {
            #expect(
                try connection.query(prepared: "SELECT $1 AS x", [.value(Int64(number))]).value(0, 0) == Int64(number))
        }
        #expect(try connection.query("SELECT count(*) FROM pg_prepared_statements").value(0, 0) == Int64(0))
    }

    @Test func aKilledConnectionIsATransientError() throws {
        let connection = try connect()
        let other = try connect()
        let killed = try other.query("SELECT pg_terminate_backend($1, 5000)", [.value(connection.backendProcess)])
        #expect(try killed.value(0, 0, as: Bool.self))
        let error = try postgresError { try connection.transaction { _ = try connection.query("SELECT 1") } }
        #expect(error.sqlState == "57P01" || error.sqlState == "08006", "\(error)")
        #expect(error.isTransient)
        #expect(!connection.isAlive)
        #expect(try postgresError { try connection.execute("SELECT 1") }.isTransient)
    }

    @Test func aConnectionKilledWithinATransactionIsNotUsable() throws {
        let connection = try connect()
        let other = try connect()
        let error = try postgresError {
            try connection.transaction {
                _ = try other.query("SELECT pg_terminate_backend($1, 5000)", [.value(connection.backendProcess)])
                _ = try connection.query("SELECT 1")
            }
        }
        #expect(error.isTransient)
        #expect(!connection.isAlive)
    }

    @Test func noticesGoToTheClosure() throws {
        var notices: [PostgresConnection.Notice] = []
        let connection = try connect { notices.append($0) }
        try connection.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
        #expect(notices.map(\.message) == ["careful"])
        #expect(notices.map(\.severity) == ["WARNING"])
        #expect(notices.map(\.sqlState) == ["01000"])
    }
}

struct PostgresConnectFailureTests {
    @Test func aServerThatIsNotThereIsATransientError() throws {
        let error = try postgresError {
            _ = try PostgresConnection(
                connectionString: "host=127.0.0.1 port=1 user=x password=very-secret", applicationName: "vigie-tests")
        }
        #expect(error.sqlState == "08001")
        #expect(error.isTransient)
        #expect(!String(reflecting: error).contains("very-secret"))
    }

    @Test(arguments: [
        "very-secret", "password='very-secret", "postgresql://u:very-secret%zz@h/d", "nonsense=very-secret",
    ])
    func aBrokenConnectionStringIsNotQuoted(text: String) throws {
        let error = try postgresError {
            _ = try PostgresConnection(connectionString: text, applicationName: "vigie-tests")
        }
        #expect(error.sqlState == "22023")
        #expect(!error.isTransient)
        #expect(!String(reflecting: error).contains("very-secret"))
    }

    @Test(arguments: [
        ("08006", true), ("08001", true), ("40001", true), ("40P01", true), ("53300", true), ("53100", true),
        ("57P01", true), ("57P02", true), ("57P03", true), ("57P05", true), ("57P04", false), ("57014", true),
        ("08P01", false), ("55P03", true), ("40003", true), ("25006", true), ("25P03", true), ("25P04", true),
        ("25P02", false), ("53200", true), ("53400", true), ("58030", true), ("23505", false), ("42P01", false),
        ("42501", false), ("22P02", false), ("XX000", false),
    ])
    func transientErrorsAreThoseThatARetryCanCure(sqlState: String, isTransient: Bool) {
        #expect(PostgresError(sqlState: sqlState, message: "").isTransient == isTransient)
    }

    /// libpq reports a wrong use of a result to the receiver of the connection that it came from.
    @Test func aResultOutlivesItsConnection() throws {
        var notices: [String] = []
        var connection: PostgresConnection? = try connect { notices.append($0.message) }
        let result = try #require(try connection?.query("SELECT 1 AS one"))
        connection = nil
        #expect(result.columnName(0) == "one")
        #expect(result.columnName(7) == "")
        #expect(notices.count == 1 && notices.first?.contains("7") == true, "\(notices)")
    }
}
