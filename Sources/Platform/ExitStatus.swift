/// How a program ends, for whoever starts it, such as systemd. 0 is success.
public enum ExitStatus {
    /// Something failed; another try may help.
    public static let failure: Int32 = 1
    /// The command line was not understood.
    public static let usage: Int32 = 2
    /// The configuration is wrong, and another try does not help (EX_CONFIG of sysexits.h).
    public static let configuration: Int32 = 78
}

/// An error that ends a program with another status than `ExitStatus.failure`.
public protocol ErrorWithExitStatus: Error {
    /// The status.
    var exitStatus: Int32 { get }
}
