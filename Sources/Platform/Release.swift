/// The release of all programs of this package.
public enum Release {
    /// Its number.
    public static let version = "0.1.0"
}
