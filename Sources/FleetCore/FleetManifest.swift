import Readings

/// What a fleet has produced, for whoever checks what became of it.
public struct FleetManifest: Sendable, Equatable {
    /// One board's stream.
    public struct Stream: Sendable, Equatable {
        /// The board.
        public var gateway: Identifier
        /// Its outbox.
        public var stream: StreamID
        /// The stream holds 1 up to this, each once; 0 if it is empty.
        public var lastSequence: Int64 = 0
    }

    /// What decided everything random.
    public let seed: UInt64
    /// All messages.
    public internal(set) var messages = 0
    /// Different readings.
    public internal(set) var readings = 0
    /// Messages that repeat a reading.
    public internal(set) var duplicates = 0
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
    /// The stream of every board.
    public internal(set) var streams: [Stream] = []

    /// The report of each board that its stream has ended, with which the fleet closes what nobody will go on with.
    public var reports: [FleetMessage] {
        streams.flatMap { stream in
            GatewayReport(
                gatewayID: stream.gateway,
                streams: [GatewayReport.Stream(streamID: stream.stream, first: 1, last: stream.lastSequence)]
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
            "\"out_of_order\": \(outOfOrder)", "\"late\": \(late)",
        ]
        if let eventTimes {
            lines.append("\"first_event_time\": \"\(eventTimes.lowerBound)\"")
            lines.append("\"last_event_time\": \"\(eventTimes.upperBound)\"")
        }
        let kinds = Malformation.allCases.compactMap { kind in malformed[kind].map { "\"\(kind.rawValue)\": \($0)" } }
        lines.append("\"malformed\": {\(kinds.joined(separator: ", "))}")
        let streams = streams.map {
            "    {\"gateway_id\": \"\($0.gateway)\", \"stream_id\": \"\($0.stream)\", \"last_seq\": \($0.lastSequence)}"
        }
        lines.append("\"streams\": [\n\(streams.joined(separator: ",\n"))\n  ]")
        return "{\n  \(lines.joined(separator: ",\n  "))\n}\n"
    }
}
