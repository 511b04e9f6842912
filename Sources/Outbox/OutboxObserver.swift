/// What is told of what happens in an outbox. All is called on the outbox's thread and must return at once.
public struct OutboxObserver: Sendable {
    /// There are new readings.
    public var appended: @Sendable () -> Void
    /// The outbox cannot be used, at the start.
    public var troubled: @Sendable (OutboxError) -> Void
    /// A damaged file was set aside and salvaged.
    public var salvaged: @Sendable (OutboxSalvage) -> Void
    /// The file had been deleted, or replaced by one that is now under the given name, and was put back.
    public var putBack: @Sendable (_ found: String?) -> Void
    /// Rows with these numbers held no reading and were set aside.
    public var setAside: @Sendable ([Int64]) -> Void

    /// Makes an observer; what is not given is not told.
    public init(
        appended: @escaping @Sendable () -> Void = {}, troubled: @escaping @Sendable (OutboxError) -> Void = { _ in },
        salvaged: @escaping @Sendable (OutboxSalvage) -> Void = { _ in },
        putBack: @escaping @Sendable (_ found: String?) -> Void = { _ in },
        setAside: @escaping @Sendable ([Int64]) -> Void = { _ in }
    ) {
        self.appended = appended
        self.troubled = troubled
        self.salvaged = salvaged
        self.putBack = putBack
        self.setAside = setAside
    }
}
