import CPostgres
import Glibc

extension PostgresConnection {
    /// Whether libpq takes a connection string, without connecting.
    public static func takes(_ connectionString: String) -> Bool {
        (try? ConnectionSettings(connectionString: connectionString, applicationName: "")) != nil
    }
}

/// libpq's keywords and their values, of which the last of equal keywords counts.
struct ConnectionSettings: Sendable {
    private var pairs: [(keyword: String, value: String)] = []

    /// From a connection string, with the defaults of `PostgresConnection.init`.
    init(connectionString: String, applicationName: String) throws(PostgresError) {
        guard let options = PQconninfoParse(connectionString, nil) else {
            // libpq's reason may quote a part of the string, which may be the password.
            throw PostgresError(sqlState: "22023", message: "the connection string is not valid")
        }
        defer { PQconninfoFree(options) }
        pairs = [
            ("fallback_application_name", applicationName), ("keepalives", "1"), ("keepalives_idle", "30"),
            ("keepalives_interval", "10"), ("keepalives_count", "3"), ("tcp_user_timeout", "30000"),
        ]
        if getenv("PGCONNECT_TIMEOUT") == nil { pairs.append(("connect_timeout", "10")) }
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { set(String(cString: keyword), String(cString: value)) }
            option += 1
        }
        set("client_encoding", "UTF8")
    }

    /// Sets a keyword's value.
    mutating func set(_ keyword: String, _ value: String) {
        pairs.removeAll { $0.keyword == keyword }
        pairs.append((keyword, value))
    }

    /// Gives the settings as libpq takes them.
    func withNative<Result>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<UnsafePointer<CChar>?>?) -> Result
    ) -> Result {
        let keywords = pairs.map { strdup($0.keyword) } + [nil]
        let values = pairs.map { strdup($0.value) } + [nil]
        defer { for text in keywords + values { free(text) } }
        return body(keywords.map { UnsafePointer($0) }, values.map { UnsafePointer($0) })
    }
}
