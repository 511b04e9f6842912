import CPlatform
import GatewayCore
import Readings

/// The clock of the readings.
struct ClockExamination: Examination {
    /// What adjtimex(2) says; nil if it cannot be asked.
    var isSynchronised: Bool?
    /// The wall clock.
    var now: Timestamp
    /// The kernel's clocks with a battery, or that claim one, such as `rtc-ds1307`.
    var realTimeClocks: [String]
    var policy: GatewaySettings.ClockPolicy
    /// Whether the chips are simulated: then the clock is trusted.
    var isSimulated: Bool
    /// Whether the program that usually keeps the time is there, by its socket or folder under /run.
    var timeKeeper: String?

    static func gather(
        policy: GatewaySettings.ClockPolicy, isSimulated: Bool, tree: SystemTree, now: Timestamp
    ) -> ClockExamination {
        let state = vigie_clock_is_synchronised()
        let keepers = [
            ("/run/chrony", "chrony"), ("/run/systemd/timesync", "systemd-timesyncd"), ("/run/ntpd.pid", "ntpd"),
        ]
        return ClockExamination(
            isSynchronised: state < 0 ? nil : state == 1, now: now,
            realTimeClocks: tree.names(in: "/sys/class/rtc").map {
                tree.text("/sys/class/rtc/\($0)/name").flatMap { $0.split(separator: " ").first.map(String.init) } ?? $0
            },
            policy: policy, isSimulated: isSimulated, timeKeeper: keepers.first { tree.exists($0.0) }?.1)
    }

    /// No board runs this program before it was written: 2026-01-01.
    private static let earliest = Timestamp(milliseconds: 1_767_225_600_000)

    var checks: [Check] {
        var checks: [Check] = []
        let keeper = timeKeeper.map { "\($0) runs" } ?? "no program that keeps the time was found"
        let remedy =
            timeKeeper == nil
            ? "sudo apt install systemd-timesyncd, or chrony; then: timedatectl"
            : "let the board reach a time server (UDP port 123); timedatectl timesync-status, or chronyc tracking, tells"
        if now < Self.earliest {
            checks.append(Check(.clock, "time of day", .failure, "it says \(now), which is past", remedy: remedy))
        } else {
            checks.append(Check(.clock, "time of day", .ok, "\(now)"))
        }
        switch (isSynchronised, policy) {
        case (_, _) where isSimulated:
            checks.append(Check(.clock, "synchronisation", .ok, "the clock is trusted in simulated mode"))
        case (true?, _): checks.append(Check(.clock, "synchronisation", .ok, "synchronised; \(keeper)"))
        case (_, .trust):
            checks.append(
                Check(
                    .clock, "synchronisation", .warning,
                    "\(isSynchronised == nil ? "the kernel does not tell" : "not synchronised"); clock.policy trust calls"
                        + " every reading synced all the same",
                    remedy: "clock: {policy: kernel}, unless this kernel never says that it is synchronised"))
        case (false?, .kernel):
            checks.append(
                Check(
                    .clock, "synchronisation", .warning, "not synchronised: readings are marked estimated; \(keeper)",
                    remedy: remedy))
        case (nil, .kernel):
            checks.append(
                Check(
                    .clock, "synchronisation", .warning, "the kernel does not tell: readings are marked estimated",
                    remedy: "clock: {policy: trust}, if the clock is right"))
        }
        return checks + [realTimeClockCheck]
    }

    /// Also of a clock that is synchronised now: what counts is the next start.
    private var realTimeClockCheck: Check {
        let subject = "clock with a battery"
        if !realTimeClocks.isEmpty { return Check(.clock, subject, .ok, realTimeClocks.joined(separator: ", ")) }
        if isSimulated { return Check(.clock, subject, .ok, "none, and none is needed in simulated mode") }
        let adding = "one at the I2C bus, such as a DS3231 with dtoverlay=i2c-rtc,ds3231 in config.txt"
        switch policy {
        case .kernel:
            return Check(
                .clock, subject, .warning,
                "none: after a power cut readings are estimated until a time server answers",
                remedy: "add \(adding); not needed where a time server is reached at every start")
        case .trust:
            return Check(
                .clock, subject, .warning,
                "none, and clock.policy trust takes the time after a power cut for right, which it is not",
                remedy: "clock: {policy: kernel}, or add \(adding); a machine whose host keeps its time needs neither")
        }
    }
}
