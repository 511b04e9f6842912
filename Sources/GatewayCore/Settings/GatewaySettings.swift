import Configuration
import KafkaClient
import KafkaSettings
import Monitoring
import Outbox
import Platform
import Readings

/// The gateway's configuration file, read and checked.
public struct GatewaySettings: Sendable {
    /// Which chips the drivers talk to.
    package enum Mode: String, CaseIterable, Sendable {
        /// Those on the board's buses.
        case hardware
        /// Their twins.
        case simulated
    }

    /// How far the wall clock is believed.
    package enum ClockPolicy: String, CaseIterable, Sendable {
        /// As far as the kernel says that it is synchronised.
        case kernel
        /// Always.
        case trust
    }

    var gatewayID: Identifier
    package var mode: Mode
    package var clock: ClockPolicy
    package var outboxPath: String
    package var outboxLimits: OutboxLimits
    /// How many readings are committed together.
    package var commitBudget: CommitBudget
    /// The most readings that wait in memory to be committed.
    package var outboxQueue: Int
    package var kafka: KafkaConfiguration
    package var topic: String
    /// The most messages on their way at once.
    var window: Int
    /// The most readings a second.
    package var drainRate: Int
    /// How long a stop may take to send what is in the outbox. Its last answers are waited for up to a second longer.
    var drainTime: Duration
    /// Where the HTTP endpoint listens, and whom it answers; nil for none.
    package var monitoring: HTTPEndpointSettings?
    package var board: BoardSettings
    var battery: BatterySettings?
    package var simulation: SimulationSettings
    package var stations: [StationSettings]
    var logLevel: Log.Level
    /// What a person should know of although the gateway starts, such as a password file that is not there yet. Empty
    /// unless files were looked at.
    public private(set) var remarks: [ConfigurationProblem] = []

    /// Reads a file. Paths in it are relative to its folder.
    /// - Parameter checkingFiles: whether everything is looked at that keeps a gateway from starting, as `check` and
    ///   `run` do: also the files that it names, and what the client of Kafka takes. What uses a part of the settings
    ///   only, such as `scan`, needs no more than that they are written in the right way.
    /// - Throws: all its problems at once, each with its line.
    public init(file: String, checkingFiles: Bool = false) throws(ConfigurationError) {
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        let read = try ConfigurationDocument(file: file).decodeWithRemarks {
            GatewaySettings($0, folder: folder, checkingFilesOf: checkingFiles ? file : nil)
        }
        self = read.settings
        remarks = read.remarks
    }

    /// Reads a document; paths in it are relative to the current folder.
    public init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        self = try document.decode { GatewaySettings($0, folder: "", checkingFilesOf: nil) }
    }

    private init(_ root: Section, folder: String, checkingFilesOf file: String?) {
        func path(_ text: String) -> String { text.hasPrefix("/") ? text : folder + text }
        gatewayID = root.section("gateway").required("id", as: .identifier)
        mode = root.required("mode", as: .choice(.hardware))
        clock = root.section("clock").value("policy", as: .choice(.kernel), default: .kernel)
        let outbox = root.section("outbox")
        let outboxFile = outbox.required("path", as: .text)
        outboxPath = path(outboxFile)
        outboxLimits = OutboxLimits(outbox)
        commitBudget = CommitBudget(outbox.optionalSection("commit"))
        outboxQueue = outbox.value("queue", as: .integer(10...1_000_000), default: 10_000)
        let kafka = root.section("kafka")
        self.kafka = kafka.kafkaConfiguration(for: .producer, path: path)
        topic = kafka.value("topic", as: .topicName, default: "sensor.readings")
        window = kafka.value("window", as: .integer(1...100_000), default: 1000)
        drainRate = kafka.value("drain_rate", as: .integer(1...1_000_000), default: 5000)
        drainTime = kafka.value("drain_time", as: .duration(), default: .seconds(5))
        monitoring = root.optionalSection("monitoring")?.httpEndpoint(checkingFiles: file != nil)
        logLevel = root.value("log_level", as: .choice(.info), default: .info)
        let sections = root.sections("stations", each: "station", namedBy: "sensor_id")
        stations = sections.map { StationSettings($0) }
        board = BoardSettings(root.optionalSection("board"))
        battery = root.optionalSection("battery").map { [stations] in BatterySettings($0, stations: stations) }
        simulation = SimulationSettings(root.optionalSection("simulation"), stations: stations, path: path)

        if stations.isEmpty { root.problem("at least one station is needed", at: "stations") }
        for (index, station) in stations.enumerated() {
            if stations[..<index].contains(where: { $0.sensorID == station.sensorID }) {
                sections[index].problem("another station has this name", at: "sensor_id")
            }
            guard mode == .hardware else { continue }
            let others = stations[..<index].flatMap(\.chips).map(\.location)
            for chip in station.chips {
                guard let conflict = others.lazy.compactMap({ chip.location.conflict(with: $0) }).first else {
                    continue
                }
                sections[index].problem("\(chip.location.address), in another station: \(conflict)", at: "chips")
            }
        }
        guard let file else { return }
        // One that is missing or no text is a problem already.
        if !outboxFile.isEmpty { checkOutbox(outbox, configurationFile: file) }
        checkRecording(root)
        kafka.checkClient(
            .producer, of: self.kafka, defaults: Publisher.producerDefaults, topic: topic, files: .areAwaited)
    }

    /// Reads the recording that is to be replayed, as `run` does.
    private func checkRecording(_ root: Section) {
        guard mode == .simulated, simulation.recording != nil, root.isDocumentValid else { return }
        do {
            _ = try Hardware.simulated(simulation, stations: stations)
        } catch {
            root.optionalSection("simulation")?.optionalSection("recording")?.problem("\(error)", at: "file")
        }
    }
}

extension Setting where Value == Identifier {
    /// A name of the contract.
    static var identifier: Setting {
        Setting(expected: "a name of 1 to 64 of A-Z a-z 0-9 . _ -", standIn: Identifier(constant: "x")) {
            Identifier($0)
        }
    }
}
