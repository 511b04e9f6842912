import Configuration
import Foundation
import KafkaClient
import KafkaTestSupport
import Monitoring
import NetworkProbe
import Outbox
import Platform
import Readings
import SensorBus
import Testing

@testable import BoardTools
@testable import GatewayCore
@testable import SensorDrivers

/// A user in the groups 1000 and 44, who was also put into `i2c` since.
private let pi = SystemUser(
    id: 1000, name: "pi", groups: [1000, 44],
    known: SystemUser.groups(in: "root:x:0:\npi:x:1000:\nvideo:x:44:pi\ni2c:x:998:pi,vigie\ngpio:x:997:\nbroken"))

extension [Check] {
    fileprivate var states: [Check.State] { map(\.state) }
}

@Suite struct SystemUserTests {
    @Test func usersAndGroupsAreRead() throws {
        #expect(pi.known[998]?.members == ["pi", "vigie"] && pi.known.count == 5)
        #expect(pi.groupNames == ["video", "pi"] && pi.groupName(12) == "12")
        #expect(SystemUser.name(1000, in: "root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/sh") == "pi")
        #expect(SystemUser.name(7, in: "root:x:0:0:") == "user 7")
        let system = try FakeSystem()
        try system.write("me:x:\(geteuid()):0::/:/bin/sh\n", to: "/etc/passwd")
        try system.write("mine:x:\(getegid()):\n", to: "/etc/group")
        let current = SystemUser.current(system.tree)
        #expect(current.name == "me" && current.groupNames.contains("mine"))
    }

    @Test func whoMayNotOpenADeviceIsToldWhy() {
        func remedy(group: UInt32, mode: UInt32) -> String {
            FileOwnership(user: 0, group: group, mode: mode).remedy(for: pi, device: "i2c-[0-9]*", conventional: "i2c")
        }
        #expect(remedy(group: 997, mode: 0o660).hasPrefix("sudo usermod -aG gpio pi"))
        #expect(remedy(group: 998, mode: 0o660).hasSuffix("log in again"))
        #expect(remedy(group: 998, mode: 0o600).contains("60-vigie.rules"))
        #expect(remedy(group: 0, mode: 0o660).contains("GROUP=\"i2c\""))
        #expect(FileOwnership(user: 0, group: 0, mode: 0o60).modeText == "0060")
    }
}

@Suite struct BusExaminationTests {
    private func bus(_ change: (inout BusExamination) -> Void = { _ in }) -> [Check] {
        var examination = BusExamination(
            number: 1, user: pi, available: [0, 1], isKnownToKernel: true, adapter: "bcm2835 (i2c@7e804000)",
            ownership: FileOwnership(user: 0, group: 998, mode: 0o660), failure: nil, users: [], speed: nil,
            needsStandardSpeed: true)
        change(&examination)
        return examination.checks
    }

    @Test func aBusThatCanBeOpenedIsFine() {
        #expect(
            bus() == [Check(.buses, "/dev/i2c-1", .ok, "bcm2835 (i2c@7e804000), group i2c, mode 0660")])
        #expect(
            bus { $0.users = ["process 7 (vigie-gateway)"] }[0].seen.hasSuffix("in use by process 7 (vigie-gateway)"))
    }

    @Test func aBusThatIsNotThereIsAFailure() {
        let unloaded = bus { $0.ownership = nil }
        #expect(unloaded.states == [.failure] && unloaded[0].remedy?.hasPrefix("sudo modprobe i2c-dev") == true)
        let absent = bus {
            $0.ownership = nil
            $0.isKnownToKernel = false
        }
        #expect(absent[0].seen == "no such bus; there are /dev/i2c-0, /dev/i2c-1")
        #expect(absent[0].remedy?.contains("dtparam=i2c_arm=on") == true)
    }

    @Test func aBusThatCannotBeOpenedIsAFailure() {
        let denied = bus { $0.failure = .permissionDenied }
        #expect(denied.states == [.failure] && denied[0].seen == "pi may not open it: group i2c, mode 0660")
        #expect(denied[0].remedy?.contains("log in again") == true)
        // No group helps against the policy of a unit or a container.
        let forbidden = bus { $0.failure = .forbidden }
        #expect(forbidden.states == [.failure] && forbidden[0].seen.hasSuffix("0660: forbidden by a device policy"))
        #expect(forbidden[0].remedy?.contains("DeviceAllow=char-i2c rw") == true)
        #expect(forbidden[0].remedy?.contains("usermod") == false)
        #expect(bus { $0.failure = .unsupported }[0].remedy?.contains("SMBus") == true)
        #expect(bus { $0.failure = .timedOut }[0].seen.hasSuffix("timed out"))
    }

    @Test func theSpeedIsJudgedByTheChips() {
        #expect(bus { $0.speed = 100_000 }.states == [.ok, .ok])
        let fast = bus { $0.speed = 400_000 }
        #expect(fast.states == [.ok, .warning] && fast[1].remedy?.hasPrefix("dtparam=i2c_arm_baudrate=100000") == true)
        let others = bus {
            $0.speed = 400_000
            $0.needsStandardSpeed = false
        }
        #expect(others.states == [.ok, .ok] && others[1].seen == "400 kHz")
    }

    @Test func factsAreGathered() throws {
        let system = try FakeSystem()
        try system.write("", to: "/dev/i2c-3")
        try system.write("a bus\n", to: "/sys/bus/i2c/devices/i2c-3/name")
        try system.write("a bus\n", to: "/sys/class/i2c-dev/i2c-3/name")
        try system.write("\u{0}\u{1}\u{46}\u{50}", to: "/sys/bus/i2c/devices/i2c-3/of_node/clock-frequency")
        let chips = try settings(
            stations: "  - {sensor_id: hall, chips: [{type: scd41, bus: 3}, {type: bme280, bus: 4}]}"
        ).stations[0].chips
        let bus = BusExamination.gather(number: 3, user: pi, chips: chips, tree: system.tree)
        #expect(bus.adapter == "a bus" && bus.speed == 0x14650 && bus.needsStandardSpeed && bus.available == [3])
        // A plain file is opened and refuses the request that a bus answers.
        #expect(bus.failure == .unsupported && bus.ownership != nil)
        let absent = BusExamination.gather(number: 4, user: pi, chips: chips, tree: system.tree)
        #expect(!absent.isKnownToKernel && absent.failure == .missing && !absent.needsStandardSpeed)
    }
}

@Suite struct ChipExaminationTests {
    @Test func aScanIsJudged() throws {
        let text = """
            gateway: {id: bench}
            mode: hardware
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "127.0.0.1:9"}
            stations:
              - sensor_id: hall
                chips:
                  - {type: bme280}
                  - {type: scd41}
                  - {type: sht4x, address: 0x44}
                  - {type: sht4x, address: 0x45, name: second}
                  - {type: ads1115, bus: 2}
                  - {type: sht4x, bus: 3, name: third}
            """
        let settings = try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml"))
        func bus(_ number: Int, _ outcome: Result<BusInventory, BusError>) -> ScanReport.Bus {
            ScanReport.Bus(number: number, name: "/dev/i2c-\(number)", outcome: outcome)
        }
        let buses = [
            bus(
                1,
                .success(
                    BusInventory(
                        findings: [
                            Finding(0x76, .bmp280, .certain), Finding(0x44, .sht3x, .certain),
                            Finding(0x45, kernelDriver: "sht4x"),
                        ], trouble: nil, notes: []))),
            bus(2, .failure(BusError(.inUse(by: [7]), bus: "/dev/i2c-2"))),
            bus(3, .success(BusInventory(findings: [], trouble: .heldLow, notes: []))),
        ]
        var report = ScanReport(buses: buses, comparison: nil)
        report.comparison = ScanReport.compare(settings.stations, file: "gateway.yaml", with: buses)
        let checks = ChipExamination(report: report).checks
        #expect(
            checks.states == [.skipped, .failure, .warning, .failure, .failure, .failure, .skipped, .skipped])
        #expect(checks[2].remedy?.contains("type: bmp280") == true)
        #expect(checks[4].seen == "SHT3x answers there")
        #expect(checks[5].remedy?.contains("echo 1-0045 | sudo tee /sys/bus/i2c/drivers/sht4x/unbind") == true)
        #expect(checks.allSatisfy { $0.state != .failure || $0.remedy != nil })
    }
}

@Suite struct BoardExaminationTests {
    @Test func linesAreJudged() {
        let chip = LinuxGPIO.Chip(path: "/dev/gpiochip0", label: "pinctrl-rp1", lineCount: 54)
        func line(_ consumer: String) -> BoardExamination.Line {
            .init(setting: "power_good", location: .success(.init(chip: chip, offset: 17, consumer: consumer)))
        }
        let checks = BoardExamination(lines: [
            line(""), line("vigie-gateway"), line("sysfs"),
            .init(
                setting: "charging",
                location: .failure(GPIOError(.chipNotFound(available: ["gpiochip1"]), line: "pinctrl-x 4"))),
        ]).checks
        #expect(checks.states == [.ok, .ok, .failure, .failure])
        #expect(checks[0].seen == "pinctrl-rp1 (/dev/gpiochip0), line 17")
        #expect(checks[2].seen.hasSuffix("in use by sysfs") && checks[3].seen.contains("gpiochip1"))
        #expect(checks[3].remedy != nil)
    }

    @Test func linesThatAreNotThereAreFound() throws {
        let settings = try settings(
            stations: "  - {sensor_id: hall, chips: [{type: bme280}]}",
            more: "board: {power_good: {line: GPIO17}, status_light: {chip: pinctrl-x, line: 4}}")
        let examination = BoardExamination.gather(settings.board, gpio: LinuxGPIO(folder: "/nonexistent"))
        #expect(examination.lines.map(\.setting) == ["power_good", "status_light"])
        #expect(examination.checks.states == [.failure, .failure])
    }
}

@Suite struct ClockExaminationTests {
    private let now = Timestamp(milliseconds: 1_790_000_000_000)

    private func clock(
        _ isSynchronised: Bool?, _ policy: GatewaySettings.ClockPolicy = .kernel, clocks: [String] = ["rtc-ds1307"],
        at now: Timestamp? = nil, keeper: String? = "chrony", isSimulated: Bool = false
    ) -> [Check] {
        ClockExamination(
            isSynchronised: isSynchronised, now: now ?? self.now, realTimeClocks: clocks, policy: policy,
            isSimulated: isSimulated, timeKeeper: keeper
        ).checks
    }

    @Test func everyCaseIsJudged() {
        #expect(clock(true).states == [.ok, .ok, .ok])
        #expect(clock(true, clocks: []).states == [.ok, .ok, .warning])
        #expect(clock(true, clocks: [])[2].remedy?.contains("dtoverlay=i2c-rtc") == true)
        #expect(clock(true, .trust, clocks: [])[2].remedy?.hasPrefix("clock: {policy: kernel}") == true)
        #expect(clock(false, clocks: [], isSimulated: true).states == [.ok, .ok, .ok])
        #expect(clock(false).states == [.ok, .warning, .ok])
        #expect(clock(false, clocks: []).states == [.ok, .warning, .warning])
        #expect(clock(nil).states == [.ok, .warning, .ok])
        #expect(clock(true, .trust).states == [.ok, .ok, .ok])
        #expect(clock(false, .trust).states == [.ok, .warning, .ok])
        #expect(clock(false, keeper: nil)[1].remedy?.hasPrefix("sudo apt install systemd-timesyncd") == true)
        let past = clock(false, at: Timestamp(milliseconds: 86_400_000))
        #expect(past.states == [.failure, .warning, .ok] && past[0].seen.contains("1970"))
        #expect(clock(false, .trust)[1].seen.hasPrefix("not synchronised"))
    }

    @Test func factsAreGathered() throws {
        let system = try FakeSystem()
        try system.write("rtc-ds1307 1-0068\n", to: "/sys/class/rtc/rtc0/name")
        try system.write("", to: "/run/systemd/timesync/synchronized")
        let clock = ClockExamination.gather(
            policy: .kernel, isSimulated: false, tree: system.tree, now: now)
        #expect(clock.realTimeClocks == ["rtc-ds1307"] && clock.timeKeeper == "systemd-timesyncd")
    }
}

@Suite struct StorageExaminationTests {
    private let inspection = OutboxInspection(format: 2, depth: 1234)

    private func storage(_ change: (inout StorageExamination) -> Void = { _ in }) -> [Check] {
        var examination = StorageExamination(
            path: "/var/lib/vigie/outbox.sqlite", bound: 512 << 20, size: 12 << 20,
            fileSystem: .init(kind: 0xEF53, isReadOnly: false, free: 4 << 30), isWritable: true,
            file: .readable(inspection), user: pi)
        change(&examination)
        return examination.checks
    }

    @Test func aSoundPlaceIsFine() {
        let checks = storage()
        #expect(checks.states == [.ok, .ok, .ok, .ok])
        #expect(checks[0].subject == "/var/lib/vigie" && checks[3].seen == "sound; 1,234 readings wait")
        #expect(storage { $0.file = .absent }.states == [.ok, .ok, .ok, .ok])
    }

    @Test func theFolderIsJudged() {
        #expect(storage { $0.fileSystem = nil }.states == [.failure])
        #expect(storage { $0.fileSystem?.isReadOnly = true }[0].remedy?.contains("remount,rw") == true)
        let closed = storage { $0.isWritable = false }
        #expect(closed[0].state == .failure && closed[0].remedy?.hasPrefix("sudo chown pi /var/lib/vigie") == true)
    }

    @Test(
        arguments: [
            (0x0102_1994, Check.State.warning), (0x8584_58F6, .warning), (0x794C_7630, .warning), (0x6969, .failure),
            (0x4D44, .warning), (0xF2F5_2010, .ok), (0x1234, .ok),
        ] as [(Int, Check.State)])
    fileprivate func theFileSystemIsJudged(kind: Int, state: Check.State) {
        let check = storage { $0.fileSystem?.kind = kind }[1]
        #expect(check.state == state && (state == .ok || check.remedy?.hasPrefix("set outbox.path") == true))
    }

    @Test func theSpaceIsJudged() {
        #expect(storage { $0.fileSystem?.free = 500 << 20 }[2].state == .ok)
        let small = storage { $0.fileSystem?.free = 100 << 20 }[2]
        #expect(small.state == .warning && small.remedy == "free some, or outbox: {size: 102MiB}")
        #expect(storage { $0.fileSystem?.free = 1 << 20 }[2].state == .failure)
    }

    @Test func theFileIsJudged() {
        var damaged = inspection
        damaged.damage = ["Page 7: never used"]
        #expect(storage { $0.file = .readable(damaged) }[3].seen == "damaged: Page 7: never used")
        var large = inspection
        large.isChecked = false
        large.quarantined = 2
        large.dropped = 3
        let check = storage { $0.file = .readable(large) }[3]
        #expect(check.state == .warning && check.seen.hasSuffix("2 can never be sent; 3 dropped for want of room"))
    }

    /// The real file, while an outbox has it open.
    @Test func factsAreGathered() async throws {
        let folder = try TemporaryFolder()
        func gather(_ path: String) -> StorageExamination {
            StorageExamination.gather(path: path, bound: 512 << 20, user: pi, isOverdue: { false })
        }
        #expect(gather(folder.file("outbox.sqlite")).file == .absent)
        let outbox = try await Outbox.open(path: folder.file("outbox.sqlite"))
        try await outbox.append([record(1), record(2)])
        let storage = gather(folder.file("outbox.sqlite"))
        guard case .readable(let inspection) = storage.file else {
            Issue.record("\(storage.file)")
            return
        }
        #expect(inspection.depth == 2 && inspection.damage.isEmpty && inspection.isChecked)
        #expect(storage.isWritable && storage.size > 0 && storage.fileSystem != nil)
        #expect(try await outbox.status().depth == 2, "and the gateway goes on")
        try Data("no database at all, but long enough for its first page".utf8)
            .write(to: URL(fileURLWithPath: folder.file("other.sqlite")))
        #expect(gather(folder.file("other.sqlite")).checks.states.last == .failure)
        #expect(gather("/nonexistent/outbox.sqlite").checks.states == [.failure])
    }
}

@Suite struct BrokerExaminationTests {
    private let now = Timestamp(milliseconds: 1_790_000_000_000)

    private func broker(_ change: (inout BrokerExamination) -> Void) -> [Check] {
        var examination = BrokerExamination(
            configuration: KafkaConfiguration(bootstrapServers: "kafka-1:9092"), topic: "sensor.readings", files: [],
            servers: [server()],
            cluster: .success(
                .init(
                    description: KafkaCluster(
                        brokers: [.init(id: 1, host: "kafka-1", port: 9092)], partitions: ["sensor.readings": 12]),
                    roundTrip: .milliseconds(3))), clientErrors: [], configurationError: nil, advertised: [], user: pi,
            now: now)
        change(&examination)
        return examination.checks
    }

    private func server(
        addresses: Result<[String], NetworkProbe.Failure>? = .success(["192.0.2.7"]),
        connection: Result<Duration, NetworkProbe.Failure>? = .success(.milliseconds(2)),
        handshake: NetworkProbe.Handshake? = nil
    ) -> BrokerExamination.Server {
        .init(
            name: "kafka-1:9092", host: "kafka-1", port: 9092, addresses: addresses, connection: connection,
            handshake: handshake)
    }

    private func certificate(days: Int64, since: Int64 = -100) -> NetworkProbe.Certificate {
        let seconds = now.milliseconds / 1000
        return NetworkProbe.Certificate(
            subject: "/CN=kafka-1", issuer: "/CN=authority",
            validity: seconds + since * 86_400...seconds + days * 86_400)
    }

    @Test func aClusterThatAnswersIsFine() {
        let checks = broker { _ in }
        #expect(checks.states == [.ok, .ok, .ok])
        #expect(
            checks.map(\.seen) == [
                "192.0.2.7, connected in 2.0 ms", "1 broker, answers in 3.0 ms",
                "12 partitions; whether this client may write to it is not told",
            ])
    }

    @Test func theTopicMustTakeWhatIsWritten() {
        func topic(_ mayWrite: Bool?, _ error: KafkaError? = nil, user: String? = nil) -> Check? {
            broker { examination in
                examination.configuration.username = user
                guard case .success(var cluster)? = examination.cluster else { return }
                cluster.mayWrite = mayWrite
                cluster.topicError = error
                examination.cluster = .success(cluster)
            }.last
        }
        #expect(topic(true)?.state == .ok)
        #expect(topic(true)?.seen == "12 partitions, and this client may write to it")
        let refused = topic(false, user: "cellar-1")
        #expect(refused?.state == .failure && refused?.seen == "12 partitions, and cellar-1 may not write to it")
        #expect(refused?.remedy?.contains("User:cellar-1 --operation Write --topic sensor.readings") == true)
        let leaderless = topic(true, KafkaError(.timedOut, "describe", message: "Leader not available"))
        #expect(leaderless?.state == .failure && leaderless?.seen == "Leader not available")
    }

    @Test func serversAreJudged() {
        #expect(broker { $0.servers = [server(addresses: nil)] }[0].state == .failure)
        let unknown = broker { $0.servers = [server(addresses: .failure(.init("Name or service not known")))] }
        #expect(unknown[0].state == .failure && unknown[0].remedy?.contains("getent hosts kafka-1") == true)
        let refused = broker { $0.servers = [server(connection: .failure(.init("Connection refused")))] }
        #expect(refused[0].seen == "no connection to 192.0.2.7: Connection refused")
    }

    @Test func certificatesAreJudged() {
        func handshake(
            _ certificate: NetworkProbe.Certificate?, problem: String? = nil, version: String? = "TLSv1.3",
            verification: Int = 0
        ) -> Check {
            check(
                .init(version: version, certificate: certificate, problem: problem, verification: verification))
        }
        let good = handshake(certificate(days: 90))
        #expect(good.state == .ok && good.seen.hasPrefix("TLSv1.3, /CN=kafka-1, valid for 90 days"))
        #expect(handshake(certificate(days: 29)).state == .warning)
        #expect(handshake(certificate(days: 90, since: 2)).remedy?.contains("timedatectl") == true)
        // By OpenSSL's numbers, whatever its words are.
        let untrusted = handshake(certificate(days: 90), problem: "self-signed certificate", verification: 19)
        #expect(untrusted.state == .failure && untrusted.remedy?.contains("kafka.ca_file") == true)
        let expired = handshake(certificate(days: -1), problem: "certificate has expired", verification: 10)
        #expect(expired.state == .failure && expired.remedy?.hasPrefix("renew the broker's certificate") == true)
        #expect(expired.seen == "certificate has expired; its certificate is /CN=kafka-1 by /CN=authority")
        let other = handshake(certificate(days: 90), problem: "hostname mismatch", verification: 62)
        #expect(other.remedy?.contains("kafka.bootstrap to a name that the certificate") == true)
        let plain = handshake(nil, problem: "wrong version number", version: nil)
        #expect(plain.remedy?.contains("plaintext listener") == true)
        let unusable = check(
            .init(version: nil, certificate: nil, problem: "key values mismatch", isAttempted: false))
        #expect(unusable.remedy?.contains("kafka.key_file") == true)
    }

    private func check(
        _ handshake: NetworkProbe.Handshake, _ change: (inout BrokerExamination) -> Void = { _ in }
    ) -> Check {
        let checks = broker {
            $0.servers = [server(handshake: handshake)]
            change(&$0)
        }
        return checks.first { $0.subject == "kafka-1:9092 TLS" } ?? checks[0]
    }

    /// A broker that wants its clients' certificates says so only after the handshake, in words that change from one
    /// release of OpenSSL to the next. That it asked for one is known.
    @Test func aClientWithoutAGoodCertificateIsToldWhatToDo() {
        let refused = NetworkProbe.Handshake(
            version: "TLSv1.3", certificate: certificate(days: 90), problem: nil, wantsCertificate: true, alert: 42,
            refusal: "ssl/tls alert bad certificate")
        #expect(check(refused).remedy == "set kafka.certificate_file and kafka.key_file")
        func own(days: Int64) -> Check {
            check(refused) { examination in
                examination.configuration.certificateFile = "/etc/vigie/me.pem"
                examination.files = [
                    .init(
                        setting: "certificate_file", path: "/etc/vigie/me.pem",
                        ownership: FileOwnership(user: 0, group: 0, mode: 0o644), isReadable: true,
                        certificate: .success(certificate(days: days)))
                ]
            }
        }
        #expect(own(days: -1).remedy == "renew the certificate in kafka.certificate_file: it has expired")
        #expect(own(days: 90).remedy?.contains("the broker trusts its authority") == true)
        // Before TLS 1.3 the handshake itself fails.
        let earlier = NetworkProbe.Handshake(
            version: nil, certificate: certificate(days: 90), problem: "alert handshake failure",
            wantsCertificate: true, alert: 40)
        #expect(check(earlier).remedy == "set kafka.certificate_file and kafka.key_file")
    }

    @Test func filesAreJudged() {
        func file(
            _ setting: String, mode: UInt32? = 0o600, isReadable: Bool = true,
            certificate: Result<NetworkProbe.Certificate, NetworkProbe.Failure>? = nil
        ) -> Check {
            broker {
                $0.files = [
                    .init(
                        setting: setting, path: "/etc/vigie/file",
                        ownership: mode.map { FileOwnership(user: 0, group: 0, mode: $0) }, isReadable: isReadable,
                        certificate: certificate)
                ]
            }[0]
        }
        #expect(file("password_file").state == .ok)
        #expect(file("password_file", mode: 0o640).state == .warning)
        let open = file("key_file", mode: 0o644)
        #expect(open.state == .failure && open.remedy == "sudo chmod o= /etc/vigie/file")
        #expect(file("ca_file", mode: 0o644, certificate: .success(certificate(days: 400))).state == .ok)
        #expect(file("ca_file", mode: nil).state == .failure)
        #expect(file("ca_file", isReadable: false).remedy == "sudo chmod 644 /etc/vigie/file")
        #expect(
            file("ca_file", certificate: .failure(.init("no start line"))).seen.contains("no certificate in PEM form"))
    }

    @Test func whatTheClusterSaysIsJudged() {
        let doubted = broker {
            $0.cluster = .failure(KafkaError(.transport, "describe the cluster"))
            $0.clientErrors = [
                KafkaError(.transport, "client", message: "disconnected"),
                KafkaError(.authentication, "client", message: "SASL authentication error: wrong password"),
            ]
        }
        #expect(doubted[1].seen == "kafka-1:9092 refuses this client: wrong password")
        #expect(doubted[1].remedy?.contains("kafka.password_file") == true)
        let silent = broker { $0.cluster = .failure(KafkaError(.timedOut, "describe the cluster")) }
        #expect(silent[1].remedy?.contains("kafka.security") == true)
        let topicless = broker { $0.topic = "other" }
        #expect(
            topicless.states == [.ok, .ok, .failure] && topicless[2].remedy?.contains("--create --topic other") == true)
        #expect(broker { $0.cluster = nil }.states == [.ok, .skipped])
        var refused: KafkaConfigurationError?
        do throws(KafkaConfigurationError) {
            try KafkaConfiguration(bootstrapServers: "kafka-1:9092", passwordFile: "/nonexistent").validate()
        } catch {
            refused = error
        }
        #expect(refused != nil)
        let unusable: [Check] = broker { $0.configurationError = refused }
        #expect(unusable.states == [.ok, .failure])
    }

    /// A broker under a name that only the cluster knows is looked at like one that the configuration names.
    @Test func whereTheClusterSendsItsClientsIsJudged() {
        func advertised(_ servers: BrokerExamination.Server...) -> [Check] {
            let checks = broker { $0.advertised = servers }
            #expect(checks.first?.state == .ok && checks.last?.state == .ok)
            return Array(checks.dropFirst(2).dropLast())
        }
        func handshake(days: Int64 = 90, _ problem: String?, verification: Int) -> BrokerExamination.Server {
            server(
                handshake: .init(
                    version: "TLSv1.3", certificate: certificate(days: days), problem: problem,
                    verification: verification))
        }
        let hidden = advertised(server(connection: .failure(.init("Connection refused"))), server())
        #expect(hidden.map(\.subject) == ["kafka-1:9092"] && hidden.states == [.failure])
        #expect(hidden[0].seen.hasPrefix("the cluster sends its clients there: no connection to 192.0.2.7"))
        #expect(hidden[0].remedy?.hasPrefix("set advertised.listeners of that broker to an address that") == true)
        let unknown = advertised(
            server(addresses: .failure(.init("Name or service not known")), connection: nil))
        #expect(unknown.states == [.failure] && unknown[0].remedy?.contains("advertised.listeners") == true)
        #expect(advertised(handshake(nil, verification: 0)) == [])
        #expect(advertised(handshake(days: 10, nil, verification: 0)).states == [.warning])
        let other = advertised(handshake("hostname mismatch", verification: 62))
        #expect(other.map(\.subject) == ["kafka-1:9092 TLS"] && other.states == [.failure])
        #expect(other[0].remedy?.contains("to a name that its certificate is for") == true)
        let untrusted = advertised(handshake("self-signed certificate", verification: 19))
        #expect(untrusted.states == [.failure] && untrusted[0].remedy?.contains("kafka.ca_file") == true)
    }

    /// librdkafka's imitation of a cluster answers like a real one.
    @Test(.timeLimit(.minutes(5))) func aClusterIsAsked() async throws {
        let cluster = try KafkaMockCluster(brokers: 2)
        try cluster.createTopic("readings", partitions: 3)
        let bounds = BrokerExamination.Bounds(
            resolve: .seconds(60), connect: .seconds(60), cluster: .seconds(60))
        func gather(_ servers: String, topic: String) async -> [Check] {
            await BrokerExamination.gather(
                KafkaConfiguration(bootstrapServers: servers), topic: topic, user: pi, now: now, bounds: bounds,
                progress: { _ in }
            ).checks
        }
        let first = try #require(cluster.bootstrapServers.split(separator: ",").first.map { String($0) })
        let good = await gather(first, topic: "readings")
        #expect(good.states == [.ok, .ok, .ok], "\(good)")
        #expect(good[1].seen.hasPrefix("2 brokers") && good[2].seen.hasPrefix("3 partitions"))
        #expect(await gather(first, topic: "none").states == [.ok, .ok, .failure])
        let wrong = await gather("no port:x, \(first)", topic: "readings")
        #expect(wrong.states == [.failure, .ok, .ok, .ok])
    }

    /// Port 9 of loopback, the discard service, which nobody runs.
    @Test(.timeLimit(.minutes(5))) func anAbsentBrokerIsAFailure() async throws {
        let checks = await BrokerExamination.gather(
            KafkaConfiguration(bootstrapServers: "127.0.0.1:9"), topic: "readings", user: pi, now: now,
            bounds: BrokerExamination.Bounds(resolve: .seconds(60), connect: .seconds(60), cluster: .seconds(60)),
            progress: { _ in }
        ).checks
        #expect(checks.states == [.failure, .skipped])
        #expect(checks[0].seen == "no connection to 127.0.0.1: Connection refused")
    }

    @Test func secretsAreLookedAtAndNotRead() async throws {
        let folder = try TemporaryFolder()
        let password = folder.file("password")
        try Data("secret\n".utf8).write(to: URL(fileURLWithPath: password))
        chmod(password, 0o644)
        let examination = await BrokerExamination.gather(
            KafkaConfiguration(
                bootstrapServers: "127.0.0.1:9", securityProtocol: .saslPlaintext,
                certificateAuthorityFile: folder.file("none.pem"), mechanism: .plain, username: "u",
                passwordFile: password), topic: "readings", user: pi, now: now, progress: { _ in })
        #expect(examination.checks.prefix(2).map(\.state) == [.failure, .failure])
        #expect(examination.checks.allSatisfy { !$0.seen.contains("secret") })
    }
}

@Suite struct MonitoringExaminationTests {
    @Test func everyOccupantIsJudged() {
        func checks(_ occupant: MonitoringExamination.Occupant, host: String = "127.0.0.1") -> [Check] {
            MonitoringExamination(
                settings: HTTPEndpointSettings(address: .network(host: host, port: 9464)), occupant: occupant
            ).checks
        }
        #expect(checks(.free).states == [.ok])
        #expect(checks(.gateway(status: 200, health: "ok\noutbox: healthy\n")).states == [.ok])
        let degraded = checks(.gateway(status: 200, health: "ok\nkafka: degraded: no broker\noutbox: healthy\n"))
        #expect(degraded.states == [.warning] && degraded[0].seen.hasSuffix("kafka: degraded: no broker"))
        let ill = checks(.gateway(status: 503, health: "unavailable\nkafka: failed\noutbox: healthy\n"))
        #expect(ill.states == [.failure] && ill[0].seen.hasSuffix("503: unavailable; kafka: failed; outbox: healthy"))
        #expect(checks(.stranger)[0].remedy?.contains("sport = :9464") == true)
        #expect(checks(.impossible("no")).states == [.failure])
        #expect(checks(.free, host: "0.0.0.0").states == [.ok, .warning])
        #expect(MonitoringExamination(settings: nil, occupant: .free).checks.states == [.warning])
    }

    @Test func aGatewayIsToldFromAStranger() async throws {
        func occupant(_ port: UInt16, host: String = "127.0.0.1") async -> MonitoringExamination.Occupant {
            await onOwnThread {
                MonitoringExamination.gather(HTTPEndpointSettings(address: .network(host: host, port: port))).occupant
            }
        }
        let registry = MetricsRegistry()
        _ = GatewayMetrics(registry)
        let gateway = try HTTPEndpoint(address: "127.0.0.1", port: 0, metrics: registry, health: Health())
        let stranger = try HTTPEndpoint(address: "127.0.0.1", port: 0, metrics: MetricsRegistry(), health: Health())
        #expect(await occupant(gateway.port) == .gateway(status: 200, health: "ok\n"))
        #expect(await occupant(gateway.port, host: "0.0.0.0") == .gateway(status: 200, health: "ok\n"))
        #expect(await occupant(stranger.port) == .stranger)
        let port = stranger.port
        stranger.stop()
        #expect(await occupant(port) == .free)
        gateway.stop()
    }
}

/// Runs what blocks on a thread of its own.
private func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        startThread(name: "test") { continuation.resume(returning: body()) }
    }
}

@Suite struct ServiceExaminationTests {
    private func service(_ properties: [String: String], isRunning: Bool = true) -> [Check] {
        ServiceExamination(
            isSystemdRunning: isRunning, properties: properties, deviceGroups: ["i2c"], user: pi
        ).checks
    }

    private let active = [
        "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled",
        "NRestarts": "0", "User": "vigie", "PrivateDevices": "no",
    ]

    private func changed(_ changes: [String: String]) -> [Check] {
        service(active.merging(changes) { $1 })
    }

    @Test func everyStateIsJudged() {
        #expect(service([:], isRunning: false).states == [.skipped] && service([:]).states == [.skipped])
        #expect(service(["LoadState": "not-found"]).states == [.warning])
        #expect(changed([:]).states == [.ok, .ok], "vigie is in i2c by /etc/group")
        #expect(changed(["NRestarts": "3"])[0].seen == "active (running), restarted 3 times")
        let failed = changed(["ActiveState": "failed", "SubState": "failed", "Result": "exit-code"])
        #expect(failed[0].state == .failure && failed[0].remedy?.hasPrefix("journalctl -u vigie-gateway") == true)
        #expect(changed(["ActiveState": "inactive"])[0].remedy == "sudo systemctl start vigie-gateway")
        #expect(changed(["UnitFileState": "disabled"]).states == [.ok, .warning, .ok])
        #expect(changed(["PrivateDevices": "yes"]).states == [.ok, .failure])
        let stranger = changed(["User": "nobody", "SupplementaryGroups": "video gpio"])
        #expect(stranger[1].remedy?.hasSuffix("SupplementaryGroups=i2c") == true)
        #expect(changed(["User": "nobody", "SupplementaryGroups": "video i2c"]).states == [.ok, .ok])
        #expect(changed(["User": ""]).states == [.ok], "root needs no group")
    }

    @Test func theAnswerIsRead() {
        let properties = ServiceExamination.properties(in: "LoadState=loaded\nUser=\nExec=a=b\nnothing\n")
        #expect(properties == ["LoadState": "loaded", "User": "", "Exec": "a=b"])
    }
}

@Suite struct DoctorReportTests {
    private let report = DoctorReport(
        file: "gateway.yaml", user: pi,
        checks: [
            Check(.broker, "kafka-1:9092", .failure, "no connection", remedy: "start it"),
            Check(.configuration, "gateway.yaml", .ok, "valid"),
            Check(.service, "unit", .skipped, "no systemd"),
            Check(.clock, "synchronisation", .warning, "not synchronised", remedy: "wait"),
        ])

    @Test func theTextIsInTheOrderOfTheAreas() {
        #expect(
            report.text(.plain) == """
                Checked gateway.yaml as pi (groups video, pi)

                configuration
                  ✓ gateway.yaml: valid

                clock
                  ! synchronisation: not synchronised
                      → wait

                broker
                  ✗ kafka-1:9092: no connection
                      → start it

                service
                  - unit: no systemd

                1 failure, 1 warning

                """)
    }

    @Test func theJSONSaysTheSame() throws {
        let json = try object(report.json)
        #expect(json["failures"] as? Int == 1 && json["warnings"] as? Int == 1 && json["user"] as? String == "pi")
        let checks = try #require(json["checks"] as? [[String: Any]])
        #expect(checks.map { $0["state"] as? String } == ["failure", "ok", "skipped", "warning"])
        #expect(checks[0]["area"] as? String == "broker" && checks[0]["remedy"] as? String == "start it")
        #expect(checks[1]["remedy"] is NSNull)
    }

    /// The whole of it on a machine without anything: every area is looked at, and each failure says what to do.
    @Test(.timeLimit(.minutes(5))) func aMachineWithoutAnythingIsExamined() async throws {
        let folder = try TemporaryFolder()
        let file = folder.file("gateway.yaml")
        let text = """
            gateway: {id: bench}
            mode: hardware
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "127.0.0.1:9"}
            board: {power_good: {line: GPIO17}}
            stations: [{sensor_id: hall, chips: [{type: bme280}]}]
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        let system = try FakeSystem()
        let report = await Doctor(file: file, tree: system.tree).run()
        #expect(Set(report.checks.map(\.area)) == Set(Check.Area.allCases))
        #expect(report.failureCount >= 3)
        #expect(report.checks.allSatisfy { $0.state != .failure || $0.remedy != nil }, "\(report.checks)")
        let simulated = text.replacingOccurrences(of: "hardware", with: "simulated")
        try Data(simulated.utf8).write(to: URL(fileURLWithPath: file))
        let other = await Doctor(file: file, tree: system.tree).run()
        #expect(other.checks.filter { $0.area == .buses }.isEmpty)
        #expect(other.checks.filter { $0.area == .chips }.states == [.ok])
    }

    @Test func aConfigurationThatIsWrongIsSaidLineByLine() async throws {
        let folder = try TemporaryFolder()
        let file = folder.file("gateway.yaml")
        try Data("gateway: {id: 'a b'}\nmode: hardware\n".utf8).write(to: URL(fileURLWithPath: file))
        let system = try FakeSystem()
        let report = await Doctor(file: file, tree: system.tree).run()
        let checks = report.checks.filter { $0.area == .configuration }
        #expect(checks.count > 2 && checks.allSatisfy { $0.state == .failure && $0.remedy != nil })
        #expect(checks[0].subject == "\(file):1")
        #expect(report.checks.contains { $0.area == .clock } && report.checks.contains { $0.area == .service })
        let missing = await Doctor(file: "/nonexistent.yaml", tree: system.tree).run()
        #expect(missing.checks[0].remedy?.contains("--config") == true)
    }
}
