import Readings

/// What a fleet has produced, for whoever checks what became of it.
public struct FleetManifest: Sendable, Equatable {
    /// A stream of a board, or one of which an odd report told.
    public struct Stream: Sendable, Equatable {
        /// The board.
        public var gateway: Identifier
        /// Its identity.
        public var stream: StreamID
        /// Its first number.
        public var first: Int64 = 1
        /// The stream holds `first` up to this, each once or lost; less than `first` if it is empty.
        public var lastSequence: Int64 = 0
        /// The stream before it in the same outbox.
        public var previous: StreamID?
        /// How many of its numbers never come, by the reason that the centre can know.
        public var lost: [String: Int64] = [:]
        /// Whether a report has told its end.
        public var isEnded = false
    }

    /// Why numbers are lost of which no report says why.
    static let unknown = "unknown"

    /// What decided everything random.
    public let seed: UInt64
    /// All messages but reports.
    public internal(set) var messages = 0
    /// Different readings.
    public internal(set) var readings = 0
    /// Messages that repeat a reading.
    public internal(set) var duplicates = 0
    /// Messages that give the number of an earlier reading to another one.
    public internal(set) var conflicts = 0
    /// Reports that were sent between the readings.
    public internal(set) var reportsBetween = 0
    /// Messages that are no readings, by what is wrong with them.
    public internal(set) var malformed: [Malformation: Int] = [:]
    /// Readings with a value beyond what a healthy room shows.
    public internal(set) var anomalies = 0
    /// Readings of an episode.
    public internal(set) var episodes = 0
    /// Readings with a fault.
    public internal(set) var faults = 0
    /// Readings that were overtaken by later ones.
    public internal(set) var outOfOrder = 0
    /// Readings measured long before they came.
    public internal(set) var late = 0
    /// The earliest and the latest event time; nil without a reading.
    public internal(set) var eventTimes: ClosedRange<Timestamp>?
    /// All streams.
    public internal(set) var streams: [Stream] = []

    /// The report of each board that its stream has ended, with which the fleet closes what nobody will go on with.
    public var reports: [FleetMessage] {
        streams.filter { !$0.isEnded }.flatMap { stream in
            GatewayReport(
                gatewayID: stream.gateway,
                streams: [
                    GatewayReport.Stream(
                        streamID: stream.stream, first: stream.first, last: stream.lastSequence,
                        previous: stream.previous)
                ]
            ).encoded().map { FleetMessage(gateway: stream.gateway, bytes: $0, kind: .report) }
        }
    }

    init(plan: FleetPlan) {
        seed = plan.seed
    }

    mutating func add(_ reading: Reading) {
        readings += 1
        let time = reading.eventTime
        guard let known = eventTimes else { return eventTimes = time...time }
        if !known.contains(time) {
            eventTimes = min(known.lowerBound, time)...max(known.upperBound, time)
        }
    }

    /// The manifest as JSON text. None of its strings needs an escape.
    public var json: String {
        var lines = [
            "\"seed\": \(seed)", "\"messages\": \(messages)", "\"readings\": \(readings)",
            "\"duplicates\": \(duplicates)", "\"anomalies\": \(anomalies)", "\"episodes\": \(episodes)",
            "\"faults\": \(faults)",
            "\"out_of_order\": \(outOfOrder)", "\"late\": \(late)", "\"conflicts\": \(conflicts)",
            "\"reports\": \(reportsBetween + reports.count)",
        ]
        if let eventTimes {
            lines.append("\"first_event_time\": \"\(eventTimes.lowerBound)\"")
            lines.append("\"last_event_time\": \"\(eventTimes.upperBound)\"")
        }
        let kinds = Malformation.allCases.compactMap { kind in malformed[kind].map { "\"\(kind.rawValue)\": \($0)" } }
        lines.append("\"malformed\": {\(kinds.joined(separator: ", "))}")
        var reasons: [String: Int] = [:]
        for (kind, count) in malformed { reasons[kind.expectedReason, default: 0] += count }
        let rejected = reasons.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
        lines.append("\"rejected\": {\(rejected.joined(separator: ", "))}")
        lines.append("\"streams\": [\n\(streams.map(\.json).joined(separator: ",\n"))\n  ]")
        return "{\n  \(lines.joined(separator: ",\n  "))\n}\n"
    }
}

extension FleetManifest.Stream {
    fileprivate var json: String {
        let lost = lost.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ")
        return """
                {"gateway_id": "\(gateway)", "stream_id": "\(stream)", "first_seq": \(first), \
            "last_seq": \(lastSequence), "lost": {\(lost)}}
            """
    }
}
