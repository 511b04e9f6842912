import PostgresClient

/// Gateways whose windows the database refuses while it takes their readings. Their windows are computed from the rows
/// when the database takes them again; until then nothing of theirs becomes final.
struct HeldWindows: Sendable {
    /// How long to wait before such windows are tried again.
    static let interval: Duration = .seconds(10)

    private(set) var gateways: Set<String> = []
    private var reason: PostgresError?
    private var retry = ContinuousClock.now

    /// Whether a gateway's windows are held back.
    func contains(_ gateway: String) -> Bool { gateways.contains(gateway) }

    /// Why, for a person; nil if nothing is held back.
    var text: String? {
        guard let reason, let first = gateways.min() else { return nil }
        let rest = gateways.count > 1 ? " and \(gateways.count - 1) more" : ""
        return "the database refuses the windows of \(first)\(rest); they wait for its operator: \(reason)"
    }

    /// Holds back the windows of some gateways.
    mutating func hold(_ more: some Sequence<String>, _ reason: PostgresError) {
        gateways.formUnion(more)
        self.reason = reason
        retry = .now + HeldWindows.interval
    }

    /// Gives all gateways back that have waited long enough.
    mutating func release(now: ContinuousClock.Instant = .now) -> Set<String> {
        guard !gateways.isEmpty, now >= retry else { return [] }
        defer { gateways = [] }
        return gateways
    }
}
