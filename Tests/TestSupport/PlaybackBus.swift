import Glibc
import Platform
import SensorBus
import Synchronization

/// A bus that expects an ordered list of exact transfers and answers each as the list says.
///
/// A transfer that is not the next one on the list fails, and `finish` says so, as it does of transfers left over.
public final class PlaybackBus: I2CBus {
    /// One expected transfer.
    public struct Exchange: Sendable, Equatable, CustomStringConvertible {
        /// The chip that is addressed.
        public var address: I2CAddress
        /// What is written; empty for a plain read.
        public var written: [UInt8]
        /// What is answered; empty for a plain write.
        public var answer: [UInt8]
        /// The failure in place of the answer.
        public var failure: BusError.Kind?

        /// A plain write.
        public static func write(_ bytes: [UInt8], to address: I2CAddress) -> Exchange {
            Exchange(address: address, written: bytes, answer: [])
        }

        /// A plain read that gives `bytes`.
        public static func read(_ bytes: [UInt8], from address: I2CAddress) -> Exchange {
            Exchange(address: address, written: [], answer: bytes)
        }

        /// A write and, after a repeated start, a read that gives `answer`.
        public static func write(_ bytes: [UInt8], thenRead answer: [UInt8], at address: I2CAddress) -> Exchange {
            Exchange(address: address, written: bytes, answer: answer)
        }

        /// The same transfer, failing.
        public func failing(_ kind: BusError.Kind) -> Exchange {
            var exchange = self
            exchange.failure = kind
            return exchange
        }

        /// One line for a person.
        public var description: String {
            func hexadecimal(_ bytes: [UInt8]) -> String {
                bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
            }
            return "\(address) write [\(hexadecimal(written))] read \(answer.count)"
        }
    }

    /// The transfers were not those expected.
    public struct Mismatch: Error, Sendable, CustomStringConvertible {
        /// One line a difference.
        public let description: String
    }

    private struct State {
        var expected: [Exchange]
        var next = 0
        var mismatches: [String] = []
    }

    /// `playback`.
    public let name = "playback"
    /// The bus's thread.
    public let executor = ThreadExecutor(name: "playback")
    private let state: Mutex<State>

    /// Makes a bus that expects these transfers in this order.
    public init(_ expected: [Exchange]) {
        state = Mutex(State(expected: expected))
    }

    /// Checks that every transfer was as expected and that none is left.
    public func finish() throws(Mismatch) {
        let lines = state.withLock { state in
            state.mismatches + state.expected[state.next...].map { "never happened: \($0)" }
        }
        if !lines.isEmpty { throw Mismatch(description: lines.joined(separator: "\n")) }
    }

    /// Expects a plain write.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        _ = try transfer(writing: bytes, reading: 0, at: address)
    }

    /// Expects a plain read.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer(writing: [], reading: count, at: address)
    }

    /// Expects a write and a read in one transfer.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer(writing: bytes, reading: count, at: address)
    }

    private func transfer(writing bytes: [UInt8], reading count: Int, at address: I2CAddress) throws(BusError)
        -> [UInt8]
    {
        let outcome: Result<[UInt8], BusError> = state.withLock { state in
            let actual = Exchange(address: address, written: bytes, answer: [UInt8](repeating: 0, count: count))
            guard state.next < state.expected.count else {
                state.mismatches.append("not expected: \(actual)")
                return .failure(BusError(.other(code: EPROTO), bus: name, address: address))
            }
            let expected = state.expected[state.next]
            state.next += 1
            guard expected.address == address, expected.written == bytes, expected.answer.count == count else {
                state.mismatches.append("transfer \(state.next): expected \(expected), got \(actual)")
                return .failure(BusError(.other(code: EPROTO), bus: name, address: address))
            }
            if let failure = expected.failure {
                return .failure(BusError(failure, bus: name, address: address))
            }
            return .success(expected.answer)
        }
        return try outcome.get()
    }
}
