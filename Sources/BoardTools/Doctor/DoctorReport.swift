import Presentation

/// One thing that was looked at: how it is, what was seen, and what to do about it.
struct Check: Sendable, Equatable {
    enum State: String, Sendable {
        /// As it should be.
        case ok
        /// The gateway works, and something should be seen to.
        case warning
        /// The gateway does not work, or not for long.
        case failure
        /// It could not be looked at, for a reason that is no fault.
        case skipped
    }

    /// What it belongs to, in the order of the report.
    enum Area: String, Sendable, CaseIterable {
        case configuration, buses, chips, board, clock, storage, broker, monitoring, service
    }

    var area: Area
    /// What was looked at, such as `/dev/i2c-1`.
    var subject: String
    var state: State
    /// What was seen.
    var seen: String
    /// A command or a setting that mends it; nil if nothing is to be done, or if only a person can know.
    var remedy: String?

    init(_ area: Area, _ subject: String, _ state: State, _ seen: String, remedy: String? = nil) {
        self.area = area
        self.subject = subject
        self.state = state
        self.seen = seen
        self.remedy = remedy
    }
}

/// A part of the board and its surroundings: facts that were gathered, and how they are judged.
protocol Examination: Sendable {
    /// The judgement, from the facts alone.
    var checks: [Check] { get }
}

/// What `vigie-gateway doctor` found.
public struct DoctorReport: Sendable {
    /// The configuration file.
    var file: String
    /// As whom it was looked at: permissions are this user's.
    var user: SystemUser
    var checks: [Check]

    /// How many checks failed: if any did, the gateway does not work.
    public var failureCount: Int { count(.failure) }

    private func count(_ state: Check.State) -> Int { checks.count { $0.state == state } }

    /// The report for a terminal of 80 columns or more.
    public func text(_ brush: Brush) -> String {
        var text = "Checked \(file) as \(user.name) (groups \(user.groupNames.joined(separator: ", ")))\n"
        for area in Check.Area.allCases {
            let checks = checks.filter { $0.area == area }
            guard !checks.isEmpty else { continue }
            text += "\n" + brush.paint(area.rawValue, .strong) + "\n"
            for check in checks {
                text +=
                    "  " + brush.paint("\(check.state.mark) \(check.subject)", check.state.tone) + ": \(check.seen)\n"
                if let remedy = check.remedy { text += "      → \(remedy)\n" }
            }
        }
        let (failures, warnings) = (failureCount, count(.warning))
        let summary =
            "\(failures) \(failures == 1 ? "failure" : "failures"), \(warnings) \(warnings == 1 ? "warning" : "warnings")"
        return text + "\n" + brush.paint(summary, failures > 0 ? .bad : warnings > 0 ? .doubtful : .good) + "\n"
    }

    /// The report for a program: one object.
    ///
    /// `configuration`: the file. `user` and `groups`: as whom it was looked at. `failures`, `warnings`: how many.
    /// `checks`: for each `area` (configuration, buses, chips, board, clock, storage, broker, monitoring, service),
    /// `subject`, `state` ("ok", "warning", "failure", "skipped"), `seen` and `remedy` (null if nothing is to be done). The
    /// exit status is 1 if there are failures.
    public var json: JSON {
        [
            "configuration": .string(file), "user": .string(user.name),
            "groups": .array(user.groupNames.map { .string($0) }), "failures": .of(failureCount),
            "warnings": .of(count(.warning)),
            "checks": .array(
                checks.map { check in
                    [
                        "area": .string(check.area.rawValue), "subject": .string(check.subject),
                        "state": .string(check.state.rawValue), "seen": .string(check.seen),
                        "remedy": .of(check.remedy),
                    ]
                }),
        ]
    }
}

extension Check.State {
    fileprivate var mark: String {
        switch self {
        case .ok: "✓"
        case .warning: "!"
        case .failure: "✗"
        case .skipped: "-"
        }
    }

    fileprivate var tone: Tone {
        switch self {
        case .ok: .good
        case .warning: .doubtful
        case .failure: .bad
        case .skipped: .faint
        }
    }
}
