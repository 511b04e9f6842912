import Glibc

/// A system call that failed: which one, on what, and the kernel's error number (errno(3)).
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system call, such as `open`.
    public var call: String
    /// What it was applied to, such as a path; empty if nothing.
    public var subject: String
    /// The error number.
    public var code: Int32

    /// Makes the error for `code`.
    public init(_ call: String, _ subject: String = "", code: Int32) {
        self.call = call
        self.subject = subject
        self.code = code
    }

    /// One line for a person.
    public var description: String {
        let place = subject.isEmpty ? call : "\(call) \(subject)"
        return "\(place): \(String(cString: strerror(code)))"
    }
}

/// Calls `body` until it is not interrupted by a signal, and turns -1 into a typed error.
/// - Parameters:
///   - call: the system call's name, for the error.
///   - subject: what it is applied to, for the error.
///   - body: the call; it returns -1 and sets errno on failure.
/// - Returns: what the call returned.
@discardableResult
public func systemCall<Result: SignedInteger>(
    _ call: String, _ subject: String = "", _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw SystemError(call, subject, code: code) }
    }
}
