import Readings
import SensorBus
import TestSupport
import Testing

@testable import SensorDrivers

/// Plays a transcript once for each of its transfers from `first` on, that one not acknowledged, nor when it is tried
/// again: `body` must fail with exactly that, and touch the bus no more. Not acknowledged once, it must be tried again and
/// all be well.
/// - Parameter excused: the transfers, from 0, whose failure is no error.
func failingEachTransfer(
    of transcript: [PlaybackBus.Exchange], from first: Int = 0, except excused: Set<Int> = [],
    _ body: (PlaybackBus) async throws -> Void
) async throws {
    for failing in first..<transcript.count where !excused.contains(failing) {
        let address = transcript[failing].address
        let failure = transcript[failing].failing(.notAcknowledged)
        var once = transcript
        once.insert(failure, at: failing)
        let disturbed = PlaybackBus(once)
        try await body(disturbed)
        try disturbed.finish()
        let bus = PlaybackBus(transcript[..<failing] + [failure, failure])
        do {
            try await body(bus)
            Issue.record("transfer \(failing + 1) failed without an error")
        } catch let error as ChipError {
            #expect(error.kind == .bus(BusError(.notAcknowledged, bus: "playback", address: address)))
            #expect(error.address == address)
            #expect(error.fault.description.hasSuffix(":not_acknowledged"))
        }
        try bus.finish()
    }
}

/// The kind of the ChipError that `body` throws.
func failure(_ body: () async throws -> Void) async -> ChipError.Kind? {
    do {
        try await body()
        Issue.record("nothing failed")
    } catch let error as ChipError {
        return error.kind
    } catch {
        Issue.record(error)
    }
    return nil
}
