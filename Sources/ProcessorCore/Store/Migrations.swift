/// One step of the schema, applied once, in the order of the numbers, and never changed after a release.
///
/// The statements stand in `Schema/`, a file a step, and are part of the program.
struct Migration: Sendable {
    /// From 1, without gaps.
    var number: Int64
    /// What it is for, as `schema_migration` keeps it.
    var name: String
    /// The statements.
    var sql: String
}

extension Migration {
    private init(_ number: Int64, _ name: String, _ statements: [UInt8]) {
        self.init(number: number, name: name, sql: String(decoding: statements, as: UTF8.self))
    }

    /// All steps. A change of the schema is a new one at the end.
    static let all = [
        Migration(1, "readings, windows, streams and offsets", PackageResources._001_readings_sql),
        Migration(2, "retention", PackageResources._002_retention_sql),
        Migration(3, "processors and their signs of life", PackageResources._003_processors_sql),
        Migration(4, "alerts", PackageResources._004_alerts_sql),
        Migration(5, "rules of alerts, and alerts by their end", PackageResources._005_alert_rules_sql),
        Migration(6, "readings by time", PackageResources._006_readings_by_time_sql),
        Migration(7, "reports of gateways", PackageResources._007_reports_sql),
        Migration(8, "gateways, and how far windows go", PackageResources._008_gateways_sql),
        Migration(9, "logs that are recognised", PackageResources._009_logs_sql),
        Migration(10, "conflicts of numbers", PackageResources._010_conflicts_sql),
        Migration(11, "compounds and particles in the air", PackageResources._011_air_quality_sql),
        Migration(12, "room in the pages of windows", PackageResources._012_room_in_windows_sql),
    ]

    /// The number of the last step that this program knows.
    static var latest: Int64 { all.last?.number ?? 0 }
}
