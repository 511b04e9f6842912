import PostgresClient

/// The role that may read all tables and nothing else, for dashboards and people: a group without a login of its own.
struct ReaderRole {
    let connection: PostgresConnection
    let name: String

    /// What came of it.
    enum Outcome: Equatable, Sendable {
        /// It may read everything; so many tables are new to it.
        case reads(newTables: Int)
        /// There is no such role, and it was not or may not be made.
        case missing
    }

    /// Lets the role read what there is, partitions when they are asked for by name included, and what will be made.
    /// - Parameter creating: whether to make the role if it is missing.
    func grant(creating: Bool) throws -> Outcome {
        try connection.transaction {
            // Two that grant the same at once would disturb each other.
            _ = try connection.query("SELECT pg_advisory_xact_lock($1)", [.value(Migrator.lock)])
            guard try isThere() || creating && create() else { return .missing }
            if try !has("has_schema_privilege($1, current_schema(), 'USAGE')") {
                try connection.execute("GRANT USAGE ON SCHEMA \(try schema()) TO \(quoted)")
            }
            let tables = try connection.query(
                """
                SELECT oid::regclass::text FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v')
                    AND pg_has_role(relowner, 'USAGE') AND NOT has_table_privilege($1, oid, 'SELECT')
                """, [.value(name)])
            let names = try (0..<tables.rowCount).map { try tables.value($0, 0, as: String.self) }
            if !names.isEmpty {
                try connection.execute("GRANT SELECT ON \(names.joined(separator: ", ")) TO \(quoted)")
            }
            let isGrantedAhead = try has(
                """
                EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) a JOIN pg_roles r ON r.oid = a.grantee
                    WHERE d.defaclrole = current_user::regrole AND d.defaclnamespace = current_schema()::regnamespace
                    AND d.defaclobjtype = 'r' AND a.privilege_type = 'SELECT' AND r.rolname = $1)
                """)
            if !isGrantedAhead {
                try connection.execute(
                    "ALTER DEFAULT PRIVILEGES IN SCHEMA \(try schema()) GRANT SELECT ON TABLES TO \(quoted)")
            }
            return .reads(newTables: names.count)
        }
    }

    private func isThere() throws -> Bool {
        try has("EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
    }

    /// - Returns: false if that is not allowed.
    private func create() throws -> Bool {
        guard
            try connection.query(
                "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
            ).value(0, 0)
        else { return false }
        // Roles are shared by all databases: somebody else may make it at the same moment.
        try connection.execute(
            """
            DO $$ BEGIN CREATE ROLE \(quoted) NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$
            """)
        return true
    }

    private func has(_ condition: String) throws -> Bool {
        try connection.query("SELECT \(condition)", [.value(name)]).value(0, 0)
    }

    private func schema() throws -> String {
        try connection.query("SELECT quote_ident(current_schema()::text)").value(0, 0)
    }

    private var quoted: String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
}
