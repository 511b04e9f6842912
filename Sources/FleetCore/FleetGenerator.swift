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
        /// Not a reading.
        case malformed(Malformation)
        /// A board's report that its stream has ended; only in `FleetManifest.reports`.
        case report
    }

    /// The board that sends it; its name is the message's key.
    public var gateway: Identifier
    /// The value.
    public var bytes: [UInt8]
    /// What the value is.
    public var kind: Kind
}

/// The messages of a fleet of boards, one after the other: pure, and the same for the same plan.
///
/// Every board has a stream of its own with seq 1, 2, 3 ... without a hole. Malformed messages take no seq.
public struct FleetGenerator: Sequence, IteratorProtocol, Sendable {
    /// What is produced.
    public private(set) var plan: FleetPlan
    /// What has been produced so far.
    public private(set) var manifest: FleetManifest
    private var random: SeededGenerator
    private var sensors: [Sensor] = []
    private var produced = 0
    private var sample = 0
    /// Readings that later ones overtake, each with the number of the message that it becomes.
    private var heldBack: [(due: Int, message: FleetMessage)] = []
    /// What a duplicate repeats: the latest readings, the oldest of which is overwritten next.
    private var latest: [FleetMessage] = []
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
            guard let gatewayID = Identifier("gateway-\(number)") else { continue }
            manifest.streams.append(FleetManifest.Stream(gateway: gatewayID, stream: StreamID(bits: random.next())))
            // Around Paris, to a metre.
            let latitude = rounded(48.8 + 0.1 * random.fraction(), to: 100_000)
            let longitude = rounded(2.25 + 0.15 * random.fraction(), to: 100_000)
            for sensor in 0..<plan.sensorsPerGateway {
                guard let id = Identifier("air-\(number)-\(FleetGenerator.padded(sensor + 1, to: 2))") else { continue }
                sensors.append(
                    Sensor(
                        gateway: gateway, id: id, place: Place(latitude: latitude, longitude: longitude),
                        room: Room(using: &random)))
            }
        }
    }

    /// The next message, or nil after the plan's last.
    public mutating func next() -> FleetMessage? {
        guard produced < plan.messages else { return nil }
        let message = nextMessage()
        produced += 1
        manifest.messages += 1
        return message
    }

    /// Makes what is held back the last messages.
    public mutating func finish() {
        plan.messages = produced + heldBack.count
    }

    private mutating func nextMessage() -> FleetMessage {
        // What is held back must be out before the end.
        let mustRelease = plan.messages - produced <= heldBack.count
        if let first = heldBack.firstIndex(where: { mustRelease || $0.due <= produced }) {
            return heldBack.remove(at: first).message
        }
        if random.chance(plan.malformed) { return malformed() }
        if !latest.isEmpty, random.chance(plan.duplicates / (1 - plan.malformed)) {
            manifest.duplicates += 1
            var message = latest[random.index(below: latest.count)]
            message.kind = .duplicate
            return message
        }
        let message = reading()
        if random.chance(plan.outOfOrder), heldBack.count < plan.messages - produced - 1 {
            manifest.outOfOrder += 1
            heldBack.append((produced + 1 + random.index(below: FleetGenerator.longestDelay), message))
            return nextMessage()
        }
        return message
    }

    private mutating func reading() -> FleetMessage {
        while isSilent(sample) { sample += 1 }
        let sensor = sensors[sample % sensors.count]
        let gateway = sensor.gateway
        manifest.streams[gateway].lastSequence += 1
        let reading = measured(sensor, sequence: manifest.streams[gateway].lastSequence)
        manifest.add(reading)
        sample += 1
        let message = FleetMessage(gateway: reading.gatewayID, bytes: reading.encoded(), kind: .reading)
        if plan.duplicates > 0 { remember(message) }
        return message
    }

    /// A sample of a sensor, with what may have gone wrong.
    private mutating func measured(_ sensor: Sensor, sequence: Int64) -> Reading {
        let stream = manifest.streams[sensor.gateway]
        var time = plan.eventTime(ofSample: sample)
        if random.chance(plan.late) {
            manifest.late += 1
            time.milliseconds -= Int64(20 * 60_000 + random.index(below: 160 * 60_000))
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
        return Reading(
            gatewayID: stream.gateway, sensorID: sensor.id, streamID: stream.stream, sequence: sequence,
            eventTime: time, intervalMilliseconds: plan.intervalMilliseconds, values: values,
            faults: faults, place: sensor.place, isSimulated: true)
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
        let malformation = Malformation.allCases[random.index(below: Malformation.allCases.count)]
        manifest.malformed[malformation, default: 0] += 1
        let sensor = sensors[random.index(below: sensors.count)]
        let stream = manifest.streams[sensor.gateway]
        // The seq of a reading that comes later, so that a processor that admits this by mistake loses that one.
        let model = Reading(
            gatewayID: stream.gateway, sensorID: sensor.id, streamID: stream.stream,
            sequence: stream.lastSequence + 1, eventTime: plan.eventTime(ofSample: sample),
            intervalMilliseconds: plan.intervalMilliseconds,
            values: [.temperature: 21.5, .co2: 600], place: sensor.place, isSimulated: true)
        return FleetMessage(
            gateway: stream.gateway, bytes: malformation.message(from: model, using: &random),
            kind: .malformed(malformation))
    }

    private mutating func remember(_ message: FleetMessage) {
        if latest.count < FleetGenerator.remembered {
            latest.append(message)
        } else {
            latest[oldest] = message
            oldest = (oldest + 1) % FleetGenerator.remembered
        }
    }

    private static func padded(_ number: Int, to width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: digits.utf8.count < width ? width - digits.utf8.count : 0) + digits
    }
}
