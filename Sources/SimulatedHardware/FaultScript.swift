import Platform

/// When a simulated chip misbehaves, and how: written down, drawn from a seed, or switched while it runs.
public struct FaultScript: Sendable {
    /// What a chip does wrong.
    public enum Kind: String, Sendable, CaseIterable {
        /// It acknowledges nothing, and goes on measuring.
        case nack
        /// The checksums that it sends are wrong; chips that send none are not affected.
        case crc
        /// It answers, and never finishes a measurement.
        case freeze
        /// Its input is beyond its range.
        case saturate
        /// It is not there; when it comes back it has lost its settings.
        case unplug

        /// Whether the chip hangs, and is sound again once its power was away.
        var isHang: Bool { self == .nack || self == .freeze }
    }

    /// One fault, in force from `start` until just before `end`, both since the world's beginning.
    public struct Episode: Sendable, Equatable {
        /// What happens.
        public var kind: Kind
        /// When it begins.
        public var start: Duration
        /// When it is over.
        public var end: Duration

        /// Makes an episode.
        public init(_ kind: Kind, from start: Duration, to end: Duration) {
            self.kind = kind
            self.start = start
            self.end = end
        }
    }

    /// What happens, in any order.
    public var episodes: [Episode]
    /// What is switched while the chip runs, besides.
    public var live: FaultSwitch?

    /// Writes a script; without episodes and a switch the chip is sound.
    public init(_ episodes: [Episode] = [], live: FaultSwitch? = nil) {
        self.episodes = episodes
        self.live = live
    }

    /// Draws a script from a seed: episodes that begin at random, on average one in `interval`, each of a random kind.
    /// - Parameters:
    ///   - seed: the same seed gives the same script.
    ///   - length: how long the script goes on.
    ///   - interval: the mean time from the beginning of one episode to that of the next; above zero.
    ///   - duration: how long an episode lasts.
    ///   - kinds: what may happen.
    public init(
        seed: UInt64, length: Duration, interval: Duration, duration: Duration, kinds: [Kind] = Kind.allCases
    ) {
        var random = SeededGenerator(seed: seed)
        episodes = []
        guard interval > .zero else { return }
        var start = interval * Double.random(in: 0..<2, using: &random)
        while start < length, let kind = kinds.randomElement(using: &random) {
            episodes.append(Episode(kind, from: start, to: start + duration))
            start += interval * Double.random(in: 0.05..<1.95, using: &random)
        }
    }

    /// Whether a fault is in force. A chip that hangs is sound again when its power was away, also before the time.
    public func has(_ kind: Kind, at time: Duration) -> Bool {
        let powerUp = kind.isHang ? live?.lastPowerUp : nil
        return episodes.contains { episode in
            episode.kind == kind && episode.start <= time && time < episode.end
                && !(powerUp.map { episode.start <= $0 } ?? false)
        } || live?.has(kind) == true
    }

    /// When the chip was last plugged in again after `start` and until `end`.
    func lastReconnection(after start: Duration, until end: Duration) -> Duration? {
        let scripted = episodes.filter { $0.kind == .unplug }.map(\.end)
        let switched = live?.lastReconnection.map { [$0] } ?? []
        return (scripted + switched).filter { $0 > start && $0 <= end }.max()
    }
}
