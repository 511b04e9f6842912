import Foundation
import HTTPClient
import KafkaClient
import Outbox
import Platform
import Readings
import Testing

/// The gateway in front of a node of Apache Kafka that hangs, dies, comes back and refuses: what it costs, how soon it
/// goes on, and what it says.
@Suite(Servers.areThere, .requiresKafkaNodes) struct GatewayBrokerTests {
    /// A gateway that takes ten readings a second.
    private struct Board {
        let site: Site
        let process: ChildProcess

        /// - Parameters:
        ///   - topic: the site's if nil.
        ///   - security: more lines of the section `kafka`.
        init(_ site: Site, bootstrap: String, topic: String? = nil, security: [String] = []) throws {
            self.site = site
            let file = try site.write(
                "gateway.yaml",
                """
                gateway: {id: cellar}
                mode: simulated
                clock: {policy: trust}
                outbox: {path: outbox.sqlite}
                monitoring: {listen: "127.0.0.1:0"}
                kafka:
                  bootstrap: "\(bootstrap)"
                  topic: \(topic ?? site.topic)
                  drain_time: 60s
                \(security.map { "  \($0)\n" }.joined())
                stations: [{sensor_id: air, interval: 100ms, chips: [{type: bme280}]}]

                """)
            process = try BuiltProgram.gateway.start(["run", "--config", file], in: site.folder)
        }

        /// What its endpoint answers.
        func get(_ path: String) async throws -> String {
            var address: Substring?
            try await waitUntil("the gateway listens", within: .seconds(120)) {
                try #require(process.isRunning, "\(process.output)")
                address = process.output.split(separator: "address=").dropFirst().first?.prefix { !$0.isWhitespace }
                return address != nil
            }
            let answer = try HTTPClient().get(try #require(HTTPAddress("\(address ?? "")\(path)")))
            return String(decoding: answer.body, as: UTF8.self)
        }

        /// How many readings the broker has acknowledged.
        func published() async throws -> Double {
            let line = try await get("metrics").split(separator: "\n").first {
                $0.hasPrefix("vigie_readings_published_total ")
            }
            return try #require(line.flatMap { Double($0.split(separator: " ")[1]) })
        }

        /// Waits until the broker acknowledges one more.
        /// - Returns: how long that took.
        @discardableResult
        func nextAcknowledgement() async throws -> Duration {
            let (start, before) = (ContinuousClock.now, try await published())
            while try await published() <= before {
                try #require(process.isRunning, "\(process.output)")
                try #require(start.duration(to: .now) < .seconds(120), "nothing acknowledged: \(process.output)")
                try await Task.sleep(for: .milliseconds(20))
            }
            return start.duration(to: .now)
        }

        /// Lines of its log about Kafka.
        func lines(_ level: String) -> [Substring] {
            process.output.split(separator: "\n").filter { $0.contains(" \(level)") && $0.contains(" kafka: ") }
        }

        func waitForLine(_ level: String, _ text: String) async throws {
            try await waitUntil("the gateway says: \(text)", within: .seconds(120)) {
                try #require(process.isRunning, "\(process.output)")
                return lines(level).contains { $0.contains(text) }
            }
        }

        /// The processor time that it has used, seconds.
        func processorTime() throws -> Double {
            let text = try String(contentsOfFile: "/proc/\(process.identifier)/stat", encoding: .utf8)
            // proc(5): utime and stime are the 12th and 13th field after the name.
            let fields = try #require(text.split(separator: ")").last).split(separator: " ")
            let ticks = try #require(Double(fields[11])) + #require(Double(fields[12]))
            return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        }

        /// Stops it, and compares the topic with what it numbered: each once, in order.
        /// - Parameter mayRepeat: whether some may be there twice, as after a producer that was made anew.
        func expectEachOnceInOrder(mayRepeat: Bool = false) async throws {
            process.send(SIGTERM)
            #expect(await process.ending() == .status(0), "\(process.output)")
            let outbox = try await Outbox.open(path: site.folder.appendingPathComponent("outbox.sqlite").path)
            let status = try await outbox.status()
            #expect(status.depth == 0 && status.dropped == 0 && status.quarantined == 0)
            struct Envelope: Decodable { var seq: Int64 }
            var numbers = try await site.readings().map {
                try JSONDecoder().decode(Envelope.self, from: Data($0.value)).seq
            }
            if mayRepeat {
                var seen: Set<Int64> = []
                numbers = numbers.filter { seen.insert($0).inserted }
            }
            #expect(numbers == Array(1...status.lastSequence))
        }
    }

    private func makeNode() async throws -> (ApacheKafka, Site) {
        let kafka = try await ApacheKafka()
        return (kafka, try await Site(partitions: 2, broker: kafka.innerBootstrap))
    }

    private func remove(_ kafka: ApacheKafka, _ site: Site) async throws {
        try await site.remove()
        try await kafka.remove()
    }

    /// librdkafka used to look at what waited behind its five requests again and again: a whole core.
    @Test(.timeLimit(.minutes(5)), arguments: [0, 50_000])
    func aBrokerThatHangsCostsNothing(backlog: Int) async throws {
        let (kafka, site) = try await makeNode()
        if backlog > 0 {
            let outbox = try await Outbox.open(path: site.folder.appendingPathComponent("outbox.sqlite").path)
            for first in stride(from: 0, to: backlog, by: 1000) {
                try await outbox.append((first..<first + 1000).map { try record($0) })
            }
        }
        let board = try Board(site, bootstrap: kafka.bootstrap)
        try await board.nextAcknowledgement()
        try await kafka.pause(1)
        let (start, before) = (ContinuousClock.now, try board.processorTime())
        try await board.waitForLine("warning", "takes requests and does not answer")
        try await Task.sleep(for: .seconds(5))
        let used = try board.processorTime() - before
        let seconds: Double = start.duration(to: .now) / .seconds(1)
        let share = used / seconds
        print("GatewayBrokerTests: \(share * 100) % of a core while the broker hangs, \(backlog) readings waiting")
        #expect(share < 0.1)
        try await kafka.resume(1)
        let wait = try await board.nextAcknowledgement()
        print("GatewayBrokerTests: \(wait) from SIGCONT to the next acknowledgement")
        #expect(wait < .seconds(10))
        try await board.waitForLine("notice", "takes readings again")
        #expect(board.lines("warning").count == 1 && board.lines("notice").count == 1, "\(board.process.output)")
        try await board.expectEachOnceInOrder()
        try await remove(kafka, site)
    }

    @Test(.timeLimit(.minutes(5))) func aBrokerThatDiesAndComesBackIsTwoLines() async throws {
        let (kafka, site) = try await makeNode()
        let board = try Board(site, bootstrap: kafka.bootstrap)
        try await board.nextAcknowledgement()
        try await kafka.kill(1)
        try await board.waitForLine("warning", "127.0.0.1:")
        let health = try await board.get("readyz")
        #expect(health.contains("kafka: degraded: ") && health.contains("check that the broker runs"), "\(health)")
        // Long enough for the pauses between attempts to have their full length.
        try await Task.sleep(for: .seconds(8))
        try await kafka.start(1)
        let wait = try await board.nextAcknowledgement()
        print("GatewayBrokerTests: \(wait) from the node's start to the next acknowledgement")
        #expect(wait < .seconds(10))
        try await board.waitForLine("notice", "takes readings again")
        #expect(board.lines("warning").count == 1 && board.lines("notice").count == 1, "\(board.process.output)")
        #expect(try await board.get("readyz").contains("kafka: healthy"))
        try await waitUntil("what waited is sent", within: .seconds(60)) {
            board.process.output.contains("all readings that waited are sent")
        }
        try await board.expectEachOnceInOrder()
        // Its log tells the whole story.
        let story = [
            "sampling begins stations=1", "readings=\"kept in the outbox, ", "takes readings again after=",
            "all readings that waited are sent", "stopping signal=15", "stopped waiting=0",
        ]
        let output = board.process.output
        let places = story.map { output.range(of: $0)?.lowerBound }
        #expect(!places.contains(nil) && places.compactMap(\.self) == places.compactMap(\.self).sorted(), "\(output)")
        try await remove(kafka, site)
    }

    @Test(.timeLimit(.minutes(5))) func whatIsForbiddenIsSaidAndTakenUpAgain() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-user-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let password = folder.appendingPathComponent("password")
        try "secret-\(UUID())\n".write(to: password, atomically: true, encoding: .utf8)
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(arguments: ["--sasl=plain", "--user=cellar:\(password.path)", "--authorise"]))
        let site = try await Site(partitions: 2, broker: kafka.innerBootstrap)
        try await kafka.allow("cellar", "all", topic: site.topic)
        let board = try Board(
            site, bootstrap: kafka.bootstrap,
            security: [
                "security: sasl_plaintext", "mechanism: PLAIN", "username: cellar", "password_file: \(password.path)",
            ])
        try await board.nextAcknowledgement()
        try await kafka.forbid("cellar", "write", topic: site.topic)
        try await board.waitForLine("warning", "cellar is not allowed to deliver to \(site.topic)")
        // The pauses between attempts grow meanwhile.
        try await Task.sleep(for: .seconds(10))
        try await kafka.withdraw("cellar", "write", topic: site.topic)
        try await kafka.allow("cellar", "all", topic: site.topic)
        let wait = try await board.nextAcknowledgement()
        print("GatewayBrokerTests: \(wait) from a right that is given back to the next acknowledgement")
        #expect(wait < .seconds(10))
        try await board.waitForLine("notice", "takes readings again")
        #expect(board.lines("warning").count == 1 && board.lines("notice").count == 1, "\(board.process.output)")
        try await board.expectEachOnceInOrder()
        try await remove(kafka, site)
        try FileManager.default.removeItem(at: folder)
    }

    /// A group of readings that is larger than the topic takes is no reason to give any of them up.
    @Test(.timeLimit(.minutes(5))) func aTopicThatTakesSmallerGroupsGetsThem() async throws {
        let (kafka, site) = try await makeNode()
        let board = try Board(site, bootstrap: kafka.bootstrap)
        try await board.nextAcknowledgement()
        try await kafka.alter(site.topic, ["max.message.bytes": "2000"])
        // What waits meanwhile goes in groups.
        try await kafka.pause(1)
        try await Task.sleep(for: .seconds(5))
        try await kafka.resume(1)
        try await waitUntil("a group is refused", within: .seconds(60)) {
            board.process.output.contains("refuses a group of readings")
        }
        try await board.nextAcknowledgement()
        try await board.expectEachOnceInOrder(mayRepeat: true)
        #expect(!board.process.output.contains("can never be sent"))
        try await remove(kafka, site)
    }

    @Test(.timeLimit(.minutes(5))) func aTopicThatIsMissingIsSaidSoonAndTakenUp() async throws {
        let kafka = try await ApacheKafka(ApacheKafka.Options(properties: ["auto.create.topics.enable": "false"]))
        let site = try await Site(partitions: 2, broker: kafka.innerBootstrap)
        let topic = "\(site.topic).late"
        let start = ContinuousClock.now
        let board = try Board(site, bootstrap: kafka.bootstrap, topic: topic)
        try await board.waitForLine("warning", "the topic or its partition does not exist")
        let wait = start.duration(to: .now)
        print("GatewayBrokerTests: \(wait) from the start until the missing topic is said")
        #expect(wait < .seconds(15))
        try await KafkaAdmin(configuration: site.kafka).createTopic(topic, partitions: 1, timeout: .seconds(60))
        try await board.nextAcknowledgement()
        try await board.waitForLine("notice", "takes readings again")
        #expect(board.lines("warning").count == 1, "\(board.process.output)")
        board.process.send(SIGTERM)
        #expect(await board.process.ending() == .status(0), "\(board.process.output)")
        try await remove(kafka, site)
    }

    private func record(_ number: Int) throws -> OutboxRecord {
        let reading = Reading(
            gatewayID: try #require(Identifier("cellar")), sensorID: try #require(Identifier("air")),
            streamID: StreamID(bits: 0), sequence: 0,
            eventTime: Timestamp(milliseconds: SystemWallClock().now().milliseconds - 100_000_000 + Int64(number)),
            intervalMilliseconds: 1000, values: [.temperature: 20])
        return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: Int64(number))
    }
}
