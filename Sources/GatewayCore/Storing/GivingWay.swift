/// Tells when readings begin to give way, and when they have not for a while. Pure.
struct GivingWay {
    /// What changed.
    enum Change: Equatable {
        case began
        /// None has given way for a while; so many did.
        case ended(Int64)
    }

    /// After this time without another one it is over.
    static let quiet = Duration.seconds(60)

    /// How many had given way when it was looked last; nil before the first look.
    private var total: Int64?
    /// How many had before it began, and when the last one was seen.
    private var state: (before: Int64, last: Duration)?

    /// Whether readings give way.
    var isUnderWay: Bool { state != nil }

    /// Takes note of how many have given way.
    /// - Parameters:
    ///   - total: all of them, ever.
    ///   - now: the time since any beginning.
    mutating func look(_ total: Int64, at now: Duration) -> Change? {
        defer { self.total = total }
        guard let before = self.total else { return nil }
        if total > before {
            defer { state = (state?.before ?? before, now) }
            return state == nil ? .began : nil
        }
        guard let (start, last) = state, now - last >= Self.quiet else { return nil }
        state = nil
        return .ended(total - start)
    }
}
