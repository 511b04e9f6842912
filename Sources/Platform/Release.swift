/// The release of all programs of this package.
public enum Release {
    /// Its number.
    public static let version = "0.1.0"
    /// The day of its manual pages, as YYYY-MM-DD.
    public static let day = "2026-11-27"
}
