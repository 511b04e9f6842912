import Foundation
import Glibc
import Platform
import Testing

@testable import Outbox

/// `check` says "valid" if and only if `run` starts, for everything that stands in a configuration and in the files that
/// it names. Both are asked, of the program itself, for each line of a table.
@Suite(.timeLimit(.minutes(5))) struct StartTests {
    /// A configuration, as the parts in which it differs from one that is valid.
    struct Case: Sendable, CustomStringConvertible {
        var name: String
        var isValid: Bool
        /// What its problem says, or its warning if it is valid; nil: not looked at, or no warning.
        var says: String?
        var gateway = "{id: start}"
        var mode = "simulated"
        var outbox = "path: outbox.sqlite"
        var brokers = "127.0.0.1:9"
        var kafka = ""
        var rest = ""
        var stations = "- {sensor_id: one, interval: 100ms, chips: [{type: bme280}]}"

        var description: String { name }

        /// The file's text.
        var text: String {
            """
            gateway: \(gateway)
            mode: \(mode)
            outbox: {\(outbox)}
            kafka:
              bootstrap: "\(brokers)"
              drain_time: 50ms
              \(kafka.replacingOccurrences(of: "\n", with: "\n  "))
            \(rest)
            stations:
              \(stations.replacingOccurrences(of: "\n", with: "\n  "))

            """
        }

        init(
            _ name: String, valid: Bool, says: String? = nil, kafka: String = "", rest: String = "",
            change: (inout Case) -> Void = { _ in }
        ) {
            (self.name, isValid, self.says, self.kafka, self.rest) = (name, valid, says, kafka, rest)
            change(&self)
        }
    }

    private static let sasl = "security: sasl_plaintext\nmechanism: PLAIN\nusername: u"
    private static let recording = "simulation: {recording: {file: air.csv, columns: {time: time, temperature: 2}}}"

    /// What is unusual and starts.
    private static let valid: [Case] = [
        Case("the least", valid: true),
        Case("comments and flow style", valid: true, rest: "log_level: \"debug\" # all"),
        Case("the names of two topics' worth", valid: true, kafka: "topic: A-1_b.c"),
        Case("two brokers, one by IPv6", valid: true, kafka: "window: 1") { $0.brokers = "[::1]:9, 127.0.0.1:9" },
        Case("acks written out", valid: true, kafka: "properties: {acks: all, enable.idempotence: True}"),
        Case("a topic's property with its prefix", valid: true, kafka: "properties: {topic.acks: -1}"),
        Case("one request at a time", valid: true, kafka: "properties: {max.in.flight: 1, linger.ms: 0.5}"),
        Case("another partitioner", valid: true, kafka: "properties: {partitioner: murmur2}"),
        Case("compression", valid: true, kafka: "properties: {compression.codec: gzip, compression.level: 9}"),
        Case("a property of consumers", valid: true, kafka: "properties: {group.id: unused, fetch.min.bytes: 1}"),
        Case("TLS without a file", valid: true, kafka: "security: ssl"),
        Case("TLS without verification", valid: true) {
            $0.kafka = "security: ssl\nproperties: {enable.ssl.certificate.verification: false}"
        },
        Case("files that plaintext does not open", valid: true, kafka: "username: nobody"),
        Case("a password", valid: true, kafka: "\(sasl)\npassword_file: secrets/password"),
        Case("a password of SCRAM, by an absolute path", valid: true) {
            $0.kafka =
                "security: sasl_ssl\nmechanism: SCRAM-SHA-512\nusername: u\npassword_file: FOLDER/secrets/password"
        },
        Case("a password file that is missing", valid: true, says: "password_file: ") {
            $0.kafka = "\(sasl)\npassword_file: secrets/none"
        },
        Case("a password file that is empty", valid: true, says: "password_file: ") {
            $0.kafka = "\(sasl)\npassword_file: secrets/empty"
        },
        Case("authorities that are missing", valid: true, says: "ca_file: ") {
            $0.kafka = "security: ssl\nca_file: secrets/none.pem"
        },
        Case("authorities that are no PEM file", valid: true, says: "ca_file: ") {
            $0.kafka = "security: ssl\nca_file: secrets/password"
        },
        Case("a key that is no PEM file", valid: true, says: "kafka: ") {
            $0.kafka = "security: ssl\ncertificate_file: secrets/password\nkey_file: secrets/password"
        },
        Case("a keystore that is missing", valid: true, says: "properties: ") {
            $0.kafka = "security: ssl\nproperties: {ssl.keystore.location: none.p12}"
        },
        Case("an endpoint with a token", valid: true) {
            $0.rest =
                "monitoring: {listen: \"0.0.0.0:0\", token_file: FOLDER/secrets/token, allowed_hosts: [A.example]}"
        },
        Case("an endpoint on a socket", valid: true, rest: "monitoring: {listen: \"unix:FOLDER/http.sock\"}"),
        Case("an endpoint whose folder is missing", valid: true, rest: "monitoring: {listen: \"unix:/none/x.sock\"}"),
        Case("an endpoint on another machine's address", valid: true) {
            $0.rest = "monitoring: {listen: \"192.0.2.1:9\", unprotected: true}"
        },
        Case("a recording", valid: true, rest: recording),
        Case("simulated at speed", valid: true, rest: "simulation: {speed: 100, seed: 0x10}"),
        Case("chips without buses", valid: true) {
            $0.mode = "hardware"
            $0.stations =
                "- {sensor_id: one, interval: 1s, chips: [{type: bme280, bus: 201}, {type: sht3x, bus: 9}]}"
        },
        Case("GPIO lines that are not there", valid: true) {
            $0.mode = "hardware"
            $0.rest = "board: {status_light: {line: NONE}, power_good: {chip: none, line: 3}}"
            $0.stations = "- {sensor_id: one, interval: 100ms, chips: [{type: sht4x, bus: 201}]}"
        },
        Case("a password file that is a pipe", valid: true, says: "password_file: ") {
            $0.kafka = "\(sasl)\npassword_file: places/pipe"
        },
        Case("authorities that are a pipe", valid: true, says: "ca_file: ") {
            $0.kafka = "security: ssl\nca_file: places/pipe"
        },
        Case("a list of revocations that is a pipe", valid: true, says: "properties: ") {
            $0.kafka = "security: ssl\nproperties: {ssl.crl.location: places/pipe}"
        },
        Case("an outbox whose name means memory to SQLite", valid: true) { $0.outbox = "path: \":memory:\"" },
        Case("an outbox in a folder that is missing", valid: true) { $0.outbox = "path: none/outbox.sqlite" },
        Case("an outbox of zeros", valid: true) { $0.outbox = "path: places/zeros" },
        Case("an outbox of noise", valid: true) { $0.outbox = "path: places/noise" },
        Case("an outbox that is empty", valid: true) { $0.outbox = "path: places/empty" },
        Case("an outbox with a second name", valid: true, says: "hard links") { $0.outbox = "path: places/second" },
        Case("several stations, one name of 64", valid: true) {
            let name = String(repeating: "x", count: 64)
            $0.gateway = "{id: \(name)}"
            $0.stations =
                "- {sensor_id: \(name), interval: 100ms, chips: [{type: sht3x}]}\n- {sensor_id: b, chips: [{type: bme280}]}"
        },
    ]

    /// What starts in no case.
    private static let invalid: [Case] = [
        Case("a misspelt key", valid: false, says: "kafka: unknown key", kafka: "topik: x"),
        Case("a misspelt property", valid: false, says: "linger.mss", kafka: "properties: {linger.mss: 5}"),
        Case("a property's value", valid: false, says: "linger.ms", kafka: "properties: {linger.ms: soon}"),
        Case("a property's range", valid: false, says: "linger.ms", kafka: "properties: {linger.ms: 900001}"),
        Case("acks", valid: false, says: "acks: not allowed", kafka: "properties: {acks: 1}"),
        Case("acks of the topic", valid: false, says: "topic.acks: not", kafka: "properties: {topic.acks: 0}"),
        Case("no idempotence", valid: false, says: "not allowed", kafka: "properties: {enable.idempotence: 0}"),
        Case("message.timeout.ms", valid: false, says: "not allowed", kafka: "properties: {message.timeout.ms: 9000}"),
        Case("transactions", valid: false, says: "not allowed", kafka: "properties: {transactional.id: t}"),
        Case("six requests", valid: false, says: "not allowed", kafka: "properties: {max.in.flight: 6}"),
        Case("a callback", valid: false, says: "dr_msg_cb", kafka: "properties: {dr_msg_cb: x}"),
        Case("a property without a value", valid: false, says: "expected a value", kafka: "properties: {client.id: }"),
        Case("the password itself", valid: false, says: "sasl.password") {
            $0.kafka = "\(sasl)\nproperties: {sasl.password: secret}"
        },
        Case("no password", valid: false, says: "kafka: ", kafka: sasl),
        Case("no user", valid: false, says: "kafka: ") {
            $0.kafka = "security: sasl_plaintext\nmechanism: SCRAM-SHA-256\npassword_file: secrets/password"
        },
        Case("a mechanism that is not there", valid: false, says: "kafka: ", kafka: "security: sasl_plaintext"),
        Case("properties that exclude each other", valid: false, says: "kafka: ") {
            $0.kafka = "properties: {linger.ms: 400000}"
        },
        Case("a cipher that is not there", valid: false, says: "kafka: ") {
            $0.kafka = "security: ssl\nproperties: {ssl.cipher.suites: none}"
        },
        Case("a compression that is not there", valid: false, says: "compression") {
            $0.kafka = "properties: {compression.type: rar}"
        },
        Case("a topic's name", valid: false, says: "topic: ", kafka: "topic: \"a b\""),
        Case("a window of none", valid: false, says: "window: ", kafka: "window: 0"),
        Case("no station", valid: false, says: "station") { $0.stations = "[]" },
        Case("no chip", valid: false, says: "chip") { $0.stations = "- {sensor_id: one, interval: 100ms, chips: []}" },
        Case("a name", valid: false, says: "id: ") { $0.gateway = "{id: \"a b\"}" },
        Case("a mode", valid: false, says: "mode: ") { $0.mode = "fast" },
        Case("no outbox", valid: false, says: "path") { $0.outbox = "readings: 10" },
        Case("an outbox that is this configuration", valid: false, says: "path: this configuration") {
            $0.outbox = "path: gateway.yaml"
        },
        Case("an outbox that is the password", valid: false, says: "path: a file of kafka") {
            $0.outbox = "path: secrets/password"
            $0.kafka = "\(sasl)\npassword_file: secrets/password"
        },
        Case("an outbox that is the recording", valid: false, says: "path: simulation.recording.file") {
            $0.outbox = "path: air.csv"
            $0.rest = recording
        },
        Case("an outbox whose log is the token", valid: false, says: "path: monitoring.token_file") {
            $0.outbox = "path: places/log"
            $0.rest = "monitoring: {listen: \"127.0.0.1:0\", token_file: FOLDER/places/log-wal}"
        },
        Case("an outbox that is a text", valid: false, says: "it is a text") { $0.outbox = "path: places/text" },
        Case("an outbox of another program", valid: false, says: "another program") {
            $0.outbox = "path: places/other.sqlite"
        },
        Case("an outbox that is a folder", valid: false, says: "it is a folder") { $0.outbox = "path: places" },
        Case("an outbox that is a pipe", valid: false, says: "it is a pipe") { $0.outbox = "path: places/pipe" },
        Case("an outbox with a zero byte in its name", valid: false, says: "path: ") {
            $0.outbox = "path: \"a\\0b\""
        },
        Case("an outbox that is a list", valid: false, says: "path: ") { $0.outbox = "path: [a]" },
        Case("an outbox that is the socket to be", valid: false, says: "path: the socket of monitoring.listen") {
            $0.rest = "monitoring: {listen: \"unix:FOLDER/outbox.sqlite\"}"
        },
        Case("an outbox whose journal is the password", valid: false, says: "path: a file of kafka") {
            $0.outbox = "path: places/x"
            $0.kafka = "\(sasl)\npassword_file: places/x-journal"
        },
        Case("a recording that is a pipe", valid: false, says: "recording") {
            $0.rest = recording.replacingOccurrences(of: "air.csv", with: "places/pipe")
        },
        Case("an outbox in a file", valid: false, says: "no folder") { $0.outbox = "path: air.csv/outbox.sqlite" },
        Case("an outbox with a long name", valid: false, says: "too long") {
            $0.outbox = "path: \(String(repeating: "x", count: 240))"
        },
        Case("an outbox with a long path", valid: false, says: "too long") {
            $0.outbox = "path: \(String(repeating: "folder/", count: 600))x"
        },
        Case("a broker with a blank in its name", valid: false, says: "bootstrap: ") {
            $0.brokers = "a b:9092"
        },
        Case("a key twice", valid: false, says: "duplicate key", rest: "mode: simulated"),
        Case("an anchor", valid: false, says: "not supported", rest: "log_level: &x info"),
        Case("broken YAML", valid: false, rest: "log_level: [info"),
        Case("an endpoint for everybody", valid: false, says: "listen: ", rest: "monitoring: {listen: \"0.0.0.0:0\"}"),
        Case("a token that is missing", valid: false, says: "token_file: ") {
            $0.rest = "monitoring: {listen: \"127.0.0.1:0\", token_file: FOLDER/secrets/none}"
        },
        Case("a token that everybody reads", valid: false, says: "token_file: ") {
            $0.rest = "monitoring: {listen: \"127.0.0.1:0\", token_file: FOLDER/secrets/open-token}"
        },
        Case("a recording that is missing", valid: false, says: "recording") {
            $0.rest = recording.replacingOccurrences(of: "air.csv", with: "none.csv")
        },
        Case("a recording without the column", valid: false, says: "recording") {
            $0.rest = recording.replacingOccurrences(of: "time: time", with: "time: when")
        },
        Case("a fault of no chip", valid: false, says: "no such chip") {
            $0.rest = "simulation: {faults: [{sensor_id: one, chip: none, kind: nack}]}"
        },
        Case("two chips in one place", valid: false, says: "address") {
            $0.stations =
                "- {sensor_id: one, chips: [{type: bme280, name: a}, {type: bme280, name: b}]}"
        },
        Case("a battery that nobody measures", valid: false, says: "battery", rest: "battery: {low: 20}"),
    ]

    private func write(_ text: String, _ name: String, in folder: URL, mode: Int = 0o644) throws {
        let file = folder.appendingPathComponent(name)
        try text.write(to: file, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
    }

    /// A folder for one case, with the files that a configuration may name.
    private func makeFolder(_ item: Case, in all: URL) throws -> URL {
        let folder = all.appendingPathComponent(item.name.replacingOccurrences(of: " ", with: "-"))
        let secrets = folder.appendingPathComponent("secrets")
        try FileManager.default.createDirectory(at: secrets, withIntermediateDirectories: true)
        try write("secret\n", "password", in: secrets, mode: 0o600)
        try write("", "empty", in: secrets, mode: 0o600)
        try write(String(repeating: "t", count: 32), "token", in: secrets, mode: 0o600)
        try write(String(repeating: "t", count: 32), "open-token", in: secrets, mode: 0o644)
        try write(
            "time,temperature\n2026-01-01T00:00:00Z,20.5\n2026-01-01T01:00:00Z,21\n", "air.csv", in: folder)
        try makePlaces(in: folder.appendingPathComponent("places"))
        try write(item.text.replacingOccurrences(of: "FOLDER", with: folder.path), "gateway.yaml", in: folder)
        return folder
    }

    /// What may stand where an outbox is to be.
    private func makePlaces(in folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
        try write("This is a text.\n", "text", in: folder)
        try write("", "empty", in: folder)
        try write("", "first", in: folder)
        try write(String(repeating: "t", count: 32), "log-wal", in: folder, mode: 0o600)
        try Data(count: 8192).write(to: URL(fileURLWithPath: path("zeros")))
        try Data((0..<8192).map { UInt8(truncatingIfNeeded: $0 * 167 ^ $0 >> 3) }).write(
            to: URL(fileURLWithPath: path("noise")))
        let (first, second, pipe) = (path("first"), path("second"), path("pipe"))
        try #require(link(first, second) == 0 && mkfifo(pipe, 0o600) == 0, "\(String(cString: strerror(errno)))")
        try Database(path: path("other.sqlite")).execute("CREATE TABLE note (text); INSERT INTO note VALUES ('keep')")
    }

    /// What was found of one case; empty if all is as it should be.
    private func disagreements(_ item: Case, in all: URL) async throws -> [String] {
        let folder = try makeFolder(item, in: all)
        let file = folder.appendingPathComponent("gateway.yaml").path
        let check = try await BuiltProgram.gateway.run(["check", "--config", file], in: folder)
        let run = try BuiltProgram.gateway.start(["run", "--config", file], in: folder)
        let isStarted = try await starts(run)
        run.send(SIGTERM)
        let ending = await run.ending()
        var found: [String] = []
        let isValid = check.ending == .status(0)
        if isValid != item.isValid { found.append("check: \(check.ending), \(check.output)") }
        if isStarted != item.isValid { found.append("run: started: \(isStarted), \(ending), \(run.output)") }
        if isStarted != isValid { found.append("check and run do not agree") }
        if item.isValid, ending != .status(0) { found.append("run ended with \(ending): \(run.output)") }
        if !item.isValid, check.ending != .status(78) || ending != .status(78) {
            found.append("an invalid configuration is status 78: \(check.ending), \(ending)")
        }
        if let says = item.says {
            if !check.output.contains(says) { found.append("check does not say \"\(says)\": \(check.output)") }
            if !run.output.contains(says) { found.append("run does not say \"\(says)\": \(run.output)") }
        } else if item.isValid, check.output.contains("warning") {
            found.append("check warns: \(check.output)")
        }
        return found.map { "\(item): \($0)" }
    }

    /// Waits until a gateway has sampled, and has said that nobody takes its readings now, since all names of brokers are
    /// those of nobody; or until it has ended.
    private func starts(_ run: ChildProcess) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(60)
        while run.isRunning, ContinuousClock.now < end {
            let output = run.output
            if output.contains("sampling begins"), output.contains("kept in the outbox") { return true }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }

    @Test func checkSaysValidIfAndOnlyIfRunStarts() async throws {
        // A socket's path has at most 107 bytes (unix(7)).
        let all = FileManager.default.temporaryDirectory.appendingPathComponent("start-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: all, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: all) }
        let cases = Self.valid + Self.invalid
        #expect(cases.count >= 60 && Self.valid.count >= 20)
        try await withThrowingTaskGroup(of: [String].self) { group in
            var rest = cases[...]
            for item in rest.prefix(6) { group.addTask { try await disagreements(item, in: all) } }
            rest = rest.dropFirst(6)
            while let found = try await group.next() {
                for text in found { Issue.record("\(text)") }
                if let item = rest.popFirst() { group.addTask { try await disagreements(item, in: all) } }
            }
        }
    }
}
