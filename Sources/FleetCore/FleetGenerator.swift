import Platform
import Readings

/// A message for the topic.
public struct FleetMessage: Sendable, Equatable {
    /// What a message is.
    public enum Kind: Sendable, Equatable {
        /// A reading that no earlier message held.
        case reading
        /// A reading once more, to the byte.
        case duplicate
        /// Another reading under the number of an earlier one.
        case conflict
        /// Not a reading.
        case malformed(Malformation)
        /// What a board tells of its streams.
        case report
    }

    /// The gateway that sends it; its id is the message's key, or the beginning of it.
    public var gateway: Identifier
    /// What the key holds besides the id, so that it may be on another partition.
    public var keySuffix = ""
    /// The value.
    public var bytes: [UInt8]
    /// What the value is.
    public var kind: Kind
}

/// The messages of a fleet of boards, one after the other: pure, and the same for the same plan.
///
/// Unless the plan says otherwise, every board has a stream of its own with seq 1, 2, 3 ... without a hole. Malformed
/// messages take no seq.
public struct FleetGenerator: Sequence, IteratorProtocol, Sendable {
    /// What is produced.
    public private(set) var plan: FleetPlan
    /// What has been produced so far.
    public private(set) var manifest: FleetManifest
    private var random: SeededGenerator
    private var sensors: [Sensor] = []
    /// Those of the first gateway, then those of the second, and so on.
    private var boards: [Board] = []
    /// Reports and the message that they precede.
    private var due: ArraySlice<FleetMessage> = []
    private var produced = 0
    private var sample = 0
    /// Readings that later ones overtake, each with the number of the message that it becomes.
    private var heldBack: [(due: Int, message: FleetMessage)] = []
    /// The boards whose next number a malformed message has: a reading with it comes before the end.
    private var claimed: Set<Int> = []
    /// What a duplicate repeats: the latest readings, the oldest of which is overwritten next.
    private var latest: [(message: FleetMessage, reading: Reading)] = []
    private var oldest = 0

    private struct Sensor {
        let gateway: Int
        let id: Identifier
        let place: Place?
        let room: Room
    }

    private static let remembered = 512
    private static let longestDelay = 500

    /// Makes a generator at the plan's first message.
    /// - Throws: what of the plan cannot be.
    public init(_ plan: FleetPlan) throws(FleetError) {
        try plan.validate()
        self.plan = plan
        random = SeededGenerator(seed: plan.seed)
        manifest = FleetManifest(plan: plan)
        for gateway in 0..<plan.gateways {
            let number = FleetGenerator.padded(gateway + 1, to: 4)
            guard let gatewayID = identifier("\(plan.name)-\(number)") else { continue }
            for _ in 0..<plan.boardsPerGateway {
                boards.append(
                    Board(gateway: gatewayID, stream: manifest.streams.count, number: plan.firstNumber - 1))
                begin(StreamID(bits: random.next()), of: boards.count - 1, previous: nil)
            }
            // Around Paris, to a metre.
            let latitude = rounded(48.8 + 0.1 * random.fraction(), to: 100_000)
            let longitude = rounded(2.25 + 0.15 * random.fraction(), to: 100_000)
            for sensor in 0..<plan.sensorsPerGateway {
                guard let id = identifier("air-\(number)-\(FleetGenerator.padded(sensor + 1, to: 2))") else { continue }
                sensors.append(
                    Sensor(
                        gateway: gateway, id: id, place: Place(latitude: latitude, longitude: longitude),
                        room: Room(using: &random)))
            }
        }
    }

    /// The next message, or nil after the plan's last.
    public mutating func next() -> FleetMessage? {
        if due.isEmpty {
            guard produced < plan.messages else { return nil }
            let message = nextMessage()
            produced += 1
            manifest.messages += 1
            if due.isEmpty { return scattered(message) }
            due.append(message)
        }
        guard let message = due.popFirst() else { return nil }
        if message.kind == .report { manifest.reportsBetween += 1 }
        return scattered(message)
    }

    private mutating func scattered(_ message: FleetMessage) -> FleetMessage {
        guard plan.isScattered else { return message }
        var message = message
        message.keySuffix = "/\(random.index(below: 64))"
        return message
    }

    /// Makes what is owed the last messages: what is held back, and readings with numbers that malformed ones had.
    public mutating func finish() {
        plan.messages = produced + owed
    }

    private var owed: Int { heldBack.count + claimed.count }

    private mutating func nextMessage() -> FleetMessage {
        // What is owed must be out before the end.
        let mustRelease = plan.messages - produced <= owed
        if let first = heldBack.firstIndex(where: { mustRelease || $0.due <= produced }) {
            return heldBack.remove(at: first).message
        }
        if mustRelease, let board = claimed.min() {
            while boardOfSample != board { sample += 1 }
            return reading()
        }
        if random.chance(plan.malformed) { return malformed() }
        if !latest.isEmpty, random.chance(plan.duplicates / (1 - plan.malformed)) {
            manifest.duplicates += 1
            var message = latest[random.index(below: latest.count)].message
            message.kind = .duplicate
            return message
        }
        if !latest.isEmpty, random.chance(plan.conflicts / (1 - plan.malformed - plan.duplicates)) {
            return conflict()
        }
        let message = reading()
        if random.chance(plan.outOfOrder), owed < plan.messages - produced - 1 {
            manifest.outOfOrder += 1
            heldBack.append((produced + 1 + random.index(below: FleetGenerator.longestDelay), message))
            return nextMessage()
        }
        return message
    }

    private mutating func reading() -> FleetMessage {
        while isSilent(sample) { sample += 1 }
        let sensor = sensors[sample % sensors.count]
        let board = boardOfSample
        if random.chance(plan.oddReports) { tellOddly(board) }
        giveNumber(board)
        let reading = measured(sensor, by: boards[board])
        manifest.add(reading)
        sample += 1
        let message = FleetMessage(gateway: reading.gatewayID, bytes: reading.encoded(), kind: .reading)
        if plan.duplicates > 0 || plan.conflicts > 0 { remember(message, reading) }
        return message
    }

    /// The boards of a gateway take turns.
    private var boardOfSample: Int {
        let (round, sensor) = sample.quotientAndRemainder(dividingBy: sensors.count)
        return sensors[sensor].gateway * plan.boardsPerGateway + round % plan.boardsPerGateway
    }

    // MARK: Numbers and reports

    /// Gives a board's next number, after what happens to its outbox before.
    private mutating func giveNumber(_ board: Int) {
        if plan.isAnnounced, !boards[board].isAnnounced {
            boards[board].isAnnounced = true
            let stream = manifest.streams[boards[board].stream]
            tell(
                GatewayReport(
                    gatewayID: stream.gateway, streams: [.init(streamID: stream.stream, first: stream.first)]))
        }
        if random.chance(plan.lost) { leaveOut(1, of: board) }
        if random.chance(plan.reportedLost) {
            let reasons = GatewayReport.GapReason.allCases
            leaveOut(1 + Int64(random.index(below: 3)), of: board, reason: reasons[random.index(below: reasons.count)])
        }
        if plan.jump > 0, boards[board].readings == 1, !boards[board].hasJumped {
            boards[board].hasJumped = true
            leaveOut(plan.jump, of: board)
        }
        if plan.readingsPerStream > 0, boards[board].readings == plan.readingsPerStream { restart(board) }
        boards[board].number += 1
        boards[board].readings += 1
        claimed.remove(board)
        manifest.streams[boards[board].stream].lastSequence = boards[board].number
    }

    /// Numbers are given to readings that never come.
    /// - Parameter reason: what a report says of it; nil if none does.
    private mutating func leaveOut(_ count: Int64, of board: Int, reason: GatewayReport.GapReason? = nil) {
        let first = boards[board].number + 1
        boards[board].number += count
        let place = boards[board].stream
        manifest.streams[place].lastSequence = boards[board].number
        manifest.streams[place].lost[reason?.rawValue ?? FleetManifest.unknown, default: 0] += count
        guard let reason else { return }
        let stream = manifest.streams[place]
        tell(
            GatewayReport(
                gatewayID: stream.gateway,
                streams: [.init(streamID: stream.stream, first: stream.first, previous: stream.previous)],
                gaps: [.init(streamID: stream.stream, reason: reason, ranges: [first...boards[board].number])]))
    }

    /// A board starts again: it tells the end of its stream, and has a new one.
    private mutating func restart(_ board: Int) {
        let place = boards[board].stream
        manifest.streams[place].isEnded = true
        let ended = manifest.streams[place]
        begin(StreamID(bits: random.next()), of: board, previous: ended.stream)
        let begun = manifest.streams[boards[board].stream]
        tell(
            GatewayReport(
                gatewayID: ended.gateway,
                streams: [
                    .init(
                        streamID: ended.stream, first: ended.first, last: ended.lastSequence, previous: ended.previous),
                    .init(streamID: begun.stream, first: begun.first, previous: begun.previous),
                ]))
    }

    private mutating func begin(_ stream: StreamID, of board: Int, previous: StreamID?) {
        boards[board].stream = manifest.streams.count
        boards[board].readings = 0
        manifest.streams.append(
            FleetManifest.Stream(
                gateway: boards[board].gateway, stream: stream, first: boards[board].number + 1,
                lastSequence: boards[board].number, previous: previous))
    }

    private mutating func tellOddly(_ board: Int) {
        let odd = OddReport.allCases[random.index(below: OddReport.allCases.count)]
        let running = manifest.streams[boards[board].stream]
        tell(odd.report(of: boards[board], running: running, in: &manifest, using: &random))
    }

    private mutating func tell(_ report: GatewayReport) {
        due += report.encoded().map { FleetMessage(gateway: report.gatewayID, bytes: $0, kind: .report) }
    }

    // MARK: Readings

    /// A sample of a sensor, with what may have gone wrong.
    private mutating func measured(_ sensor: Sensor, by board: Board) -> Reading {
        let stream = manifest.streams[board.stream]
        var time = plan.eventTime(ofSample: sample)
        if sample / sensors.count % 2 == 1 { time.milliseconds -= plan.alternation }
        if random.chance(plan.late) {
            manifest.late += 1
            let shortest = FleetPlan.shortestLateness
            time.milliseconds -= shortest + Int64(random.index(below: Int(plan.longestLateness - shortest)))
        }
        var values = sensor.room.values(at: time, using: &random)
        if random.chance(plan.anomalies) {
            manifest.anomalies += 1
            Anomaly.allCases[random.index(below: Anomaly.allCases.count)].strike(&values, using: &random)
        }
        if plan.episodes > 0 { strikeEpisode(&values) }
        var faults: [Fault] = []
        if random.chance(plan.faults) {
            manifest.faults += 1
            let failure = ChipFailure.allCases[random.index(below: ChipFailure.allCases.count)]
            failure.strike(&values)
            if let chip = Identifier(failure.fault.chip.description),
                let kind = Identifier(failure.fault.kind.description)
            {
                faults.append(Fault(chip: chip, kind: kind))
            }
        }
        var reading = Reading(
            gatewayID: stream.gateway, sensorID: sensor.id, streamID: stream.stream, sequence: board.number,
            streamFirst: stream.first > 1 ? stream.first : nil, eventTime: time,
            intervalMilliseconds: plan.intervalMilliseconds, values: values,
            faults: faults, place: sensor.place, isSimulated: true)
        // In the order of their cases, so that the seed decides.
        for extreme in Extreme.allCases where plan.extremes.contains(extreme) {
            extreme.strike(&reading, using: &random)
        }
        return reading
    }

    /// Another reading under the number of an earlier one: of another moment, so that it is no copy.
    private mutating func conflict() -> FleetMessage {
        manifest.conflicts += 1
        var reading = latest[random.index(below: latest.count)].reading
        reading.eventTime.milliseconds -= Int64(1 + random.index(below: 60_000))
        return FleetMessage(gateway: reading.gatewayID, bytes: reading.encoded(), kind: .conflict)
    }

    private func isSilent(_ sample: Int) -> Bool {
        plan.silent > 0 && sample % sensors.count >= sensors.count - plan.silent
            && sample / sensors.count >= plan.messages / sensors.count / 2
    }

    /// What goes on in this sample's stretch follows from the seed and the stretch alone.
    private mutating func strikeEpisode(_ values: inout Values) {
        let (round, sensor) = sample.quotientAndRemainder(dividingBy: sensors.count)
        let (stretch, place) = round.quotientAndRemainder(dividingBy: FleetPlan.stretch)
        let number = UInt64(stretch) &* UInt64(sensors.count) &+ UInt64(sensor)
        var random = SeededGenerator(seed: plan.seed ^ (number &+ 1) &* 0xD6E8_FEB8_6659_FD93)
        guard random.chance(plan.episodes) else { return }
        let anomaly = Anomaly.allCases[random.index(below: Anomaly.allCases.count)]
        let length = 5 + random.index(below: FleetPlan.stretch - 10)
        let first = random.index(below: FleetPlan.stretch - length)
        guard (first..<first + length).contains(place) else { return }
        // Each sample has its own value.
        for _ in 0..<place { _ = random.next() as UInt64 }
        manifest.episodes += 1
        anomaly.strike(&values, using: &random)
    }

    private mutating func malformed() -> FleetMessage {
        let malformation = plan.malformations[random.index(below: plan.malformations.count)]
        manifest.malformed[malformation, default: 0] += 1
        let sensor = sensors[random.index(below: sensors.count)]
        let board = sensor.gateway * plan.boardsPerGateway
        let stream = manifest.streams[boards[board].stream]
        // The seq of a reading that comes later, so that a processor that admits this by mistake loses that one; or of the
        // latest one, where it is not sure that the next one comes.
        var sequence = Swift.max(stream.first, boards[board].number)
        if isNextNumberSure, claimed.contains(board) || owed + 2 <= plan.messages - produced {
            claimed.insert(board)
            sequence = boards[board].number + 1
        }
        let model = Reading(
            gatewayID: stream.gateway, sensorID: sensor.id, streamID: stream.stream, sequence: sequence,
            streamFirst: stream.first > 1 ? stream.first : nil, eventTime: plan.eventTime(ofSample: sample),
            intervalMilliseconds: plan.intervalMilliseconds,
            values: [.temperature: 21.5, .co2: 600], place: sensor.place, isSimulated: true)
        return FleetMessage(
            gateway: stream.gateway, bytes: malformation.message(from: model, using: &random),
            kind: .malformed(malformation))
    }

    /// Whether the number after a board's latest one is that of a reading of the same stream.
    private var isNextNumberSure: Bool {
        plan.readingsPerStream == 0 && plan.lost == 0 && plan.reportedLost == 0 && plan.jump == 0
    }

    private mutating func remember(_ message: FleetMessage, _ reading: Reading) {
        if latest.count < FleetGenerator.remembered {
            latest.append((message, reading))
        } else {
            latest[oldest] = (message, reading)
            oldest = (oldest + 1) % FleetGenerator.remembered
        }
    }

    private func identifier(_ name: String) -> Identifier? {
        Identifier(plan.extremes.contains(.names) ? longest(name) : name)
    }

    private static func padded(_ number: Int, to width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: digits.utf8.count < width ? width - digits.utf8.count : 0) + digits
    }
}
