import Synchronization

/// What each part of a program says of itself; `/healthz` and `/readyz` show it.
public final class Health: Sendable {
    /// The state of one part.
    public enum State: Equatable, Sendable {
        /// Not yet able to work.
        case starting
        /// Works.
        case healthy
        /// Works with a limit that a person should know of, such as a full disk.
        case degraded(String)
        /// Does not work and needs help from outside, such as a restart.
        case failed(String)
    }

    private let parts = Mutex<[String: State]>([:])

    /// Makes a health without parts: alive and ready.
    public init() {}

    /// Replaces what `part` says of itself.
    public func report(_ part: String, _ state: State) {
        parts.withLock { $0[part] = state }
    }

    /// What `part` last said of itself.
    public func state(of part: String) -> State? {
        parts.withLock { $0[part] }
    }

    /// Every part with what it last said of itself, in the order of the names.
    public var all: [(part: String, state: State)] {
        parts.withLock { $0 }.sorted { $0.key < $1.key }.map { (part: $0.key, state: $0.value) }
    }

    /// No part has failed.
    public var isAlive: Bool {
        parts.withLock {
            $0.values.allSatisfy {
                if case .failed = $0 { return false }
                return true
            }
        }
    }

    /// No part has failed and none is still starting.
    public var isReady: Bool {
        isAlive && parts.withLock { !$0.values.contains(.starting) }
    }

    /// A line for the whole and one a part, in the order of their names.
    func report(good: Bool) -> HTTPResponse {
        let lines = all.map { "\($0.part): \($0.state.text)\n" }
        return HTTPResponse(
            status: good ? 200 : 503, contentType: HTTPResponse.plainText,
            body: Array(((good ? "ok\n" : "unavailable\n") + lines.joined()).utf8))
    }

    /// The line for the whole alone, which says nothing of the parts.
    func verdict(good: Bool) -> HTTPResponse {
        HTTPResponse(status: good ? 200 : 503, body: Array((good ? "ok\n" : "unavailable\n").utf8))
    }
}

extension Health.State {
    /// For a person, such as `degraded: the disk is full`.
    public var text: String {
        switch self {
        case .starting: "starting"
        case .healthy: "healthy"
        case .degraded(let reason): "degraded: \(reason)"
        case .failed(let reason): "failed: \(reason)"
        }
    }
}
