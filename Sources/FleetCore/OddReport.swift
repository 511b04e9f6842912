import Platform
import Readings

/// The ways in which a report can be allowed and yet be none that a gateway sends.
enum OddReport: CaseIterable {
    /// The end of a stream of which nothing ever comes.
    case unknownStream
    /// The same with all numbers that there are.
    case hugeStream
    /// All numbers that there are do not come, in one range.
    case hugeGap
    /// As many streams without a number as fit into a message.
    case manyStreams
    /// Numbers do not come that are there.
    case gapOverReadings
    /// The stream that runs begins later than its readings say.
    case laterBeginning

    /// The report.
    /// - Parameters:
    ///   - board: whose gateway tells it.
    ///   - running: the board's stream.
    ///   - manifest: takes note of the streams of which the report tells.
    func report(
        of board: Board, running: FleetManifest.Stream, in manifest: inout FleetManifest,
        using random: inout SeededGenerator
    ) -> GatewayReport {
        var report = GatewayReport(gatewayID: board.gateway)
        switch self {
        case .unknownStream, .hugeStream, .hugeGap:
            let last = self == .unknownStream ? Int64(1 + random.index(below: 1000)) : Reading.numbers.upperBound
            var stream = FleetManifest.Stream(gateway: board.gateway, stream: StreamID(bits: random.next()))
            stream.lastSequence = last
            stream.isEnded = true
            report.streams = [.init(streamID: stream.stream, first: 1, last: last)]
            if self == .hugeGap {
                report.gaps = [.init(streamID: stream.stream, reason: .thinned, ranges: [1...last])]
            }
            stream.lost[self == .hugeGap ? GatewayReport.GapReason.thinned.rawValue : FleetManifest.unknown] = last
            manifest.streams.append(stream)
        case .manyStreams:
            report.streams = (0..<500).map { _ in
                .init(streamID: StreamID(bits: random.next()), first: 1, last: 0)
            }
        case .gapOverReadings:
            // The number that was given last has just been sent, whatever was lost before.
            guard board.number >= running.first else { break }
            report.gaps = [
                .init(streamID: running.stream, reason: .unreadable, ranges: [board.number...board.number])
            ]
        case .laterBeginning:
            report.streams = [.init(streamID: running.stream, first: max(running.first, board.number))]
        }
        return report
    }
}
