import Monitoring

/// What a person who stands before the board should know, the most urgent last.
enum BoardStatus: CaseIterable, Sendable {
    /// Readings are taken and sent.
    case sampling
    /// The broker cannot be reached; readings are kept.
    case offline
    /// A chip, the storage or a line of the board does not work.
    case fault
    /// The battery is nearly empty.
    case lowBattery

    /// What is so, by the parts of the gateway's health.
    init(_ parts: [(part: String, state: Health.State)]) {
        func isUnwell(_ state: Health.State) -> Bool {
            switch state {
            case .starting, .healthy: false
            case .degraded, .failed: true
            }
        }
        let unwell = Set(parts.filter { isUnwell($0.state) }.map(\.part))
        // Life on the battery is what the battery is for, until it is low.
        let faults = unwell.subtracting(["kafka", InputWatch.Role.powerGood.part])
        if unwell.contains(PowerManager.part) {
            self = .lowBattery
        } else if !faults.isEmpty {
            self = .fault
        } else {
            self = unwell.contains("kafka") ? .offline : .sampling
        }
    }

    /// How the light shows it: by the number of flashes, and by their length. One, two or three short flashes, or a long
    /// one; each round takes three seconds, so that the light itself needs little.
    var pattern: LightPattern {
        switch self {
        case .sampling: LightPattern(flashes: 1, each: .milliseconds(60))
        case .offline: LightPattern(flashes: 2, each: .milliseconds(120))
        case .fault: LightPattern(flashes: 3, each: .milliseconds(120))
        case .lowBattery: LightPattern(flashes: 1, each: .milliseconds(1500))
        }
    }
}

/// One round of what the light does.
struct LightPattern: Sendable, Equatable {
    /// A time of light or darkness.
    struct Step: Sendable, Equatable {
        var isOn: Bool
        var duration: Duration
    }

    /// How long a round is.
    static let round = Duration.seconds(3)
    /// The darkness between two flashes.
    private static let gap = Duration.milliseconds(240)

    let steps: [Step]

    init(flashes: Int, each flash: Duration) {
        var steps: [Step] = []
        for _ in 0..<flashes {
            steps.append(Step(isOn: true, duration: flash))
            steps.append(Step(isOn: false, duration: LightPattern.gap))
        }
        let rest = LightPattern.round - steps.dropLast().reduce(.zero) { $0 + $1.duration }
        steps[steps.count - 1].duration = rest
        self.steps = steps
    }
}
