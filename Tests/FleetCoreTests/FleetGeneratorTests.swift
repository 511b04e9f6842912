import Foundation
import Platform
import ReadingDecoding
import Readings
import TestSupport
import Testing

@testable import FleetCore

private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z
private let seed = printedSeed()

private func troubled(messages: Int = 20_000, seed: UInt64 = seed) -> FleetPlan {
    var plan = FleetPlan(start: start)
    plan.gateways = 20
    plan.sensorsPerGateway = 3
    plan.messages = messages
    plan.seed = seed
    plan.duplicates = 0.05
    plan.malformed = 0.05
    plan.anomalies = 0.03
    plan.faults = 0.04
    plan.outOfOrder = 0.1
    plan.late = 0.02
    return plan
}

@Suite struct FleetGeneratorTests {
    @Test func theSamePlanGivesTheSameMessages() throws {
        let plan = troubled(messages: 3000)
        #expect(try Array(FleetGenerator(plan)) == Array(FleetGenerator(plan)), "seed \(seed)")
        var other = plan
        other.seed &+= 1
        #expect(try Array(FleetGenerator(plan)) != Array(FleetGenerator(other)))
    }

    @Test func episodesLastAndSilentSensorsEnd() throws {
        var plan = FleetPlan(start: start)
        plan.gateways = 4
        plan.sensorsPerGateway = 2
        plan.messages = 8 * 400
        plan.seed = seed
        plan.episodes = 0.5
        plan.silent = 2
        var generator = try FleetGenerator(plan)
        let decoder = ReadingDecoder()
        let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
        var troubled: [String: [Bool]] = [:]
        var sequences: [StreamID: [Int64]] = [:]
        while let message = generator.next() {
            let reading = try message.bytes.withUnsafeBytes { try #require(try decoder.decode($0, now: now).reading) }
            let values = reading.values
            let isTroubled =
                values[.temperature] ?? 0 > 40 || values[.humidity] ?? 0 > 87 || values[.co2] ?? 0 > 2500
                || values[.pressure] ?? 2000 < 960 || values[.batteryLevel] ?? 100 < 6
            troubled["\(reading.sensorID)", default: []].append(isTroubled)
            sequences[reading.streamID, default: []].append(reading.sequence)
        }
        #expect(troubled.values.reduce(0) { $0 + $1.count { $0 } } == generator.manifest.episodes, "seed \(seed)")
        #expect(generator.manifest.episodes > 100)
        let counts = troubled.sorted { $0.key < $1.key }.map(\.value.count)
        #expect(counts.suffix(2) == [200, 200] && counts.prefix(6).allSatisfy { $0 > 450 })
        for runs in troubled.values.map({ $0.split(separator: false) }) {
            // The last may be cut off.
            #expect(runs.dropLast().allSatisfy { $0.count >= 5 }, "seed \(seed)")
        }
        for numbers in sequences.values { #expect(numbers == Array(1...Int64(numbers.count))) }
    }

    @Test func everyStreamIsWholeAndTheManifestTellsTheTruth() throws {
        let plan = troubled()
        var generator = try FleetGenerator(plan)
        let decoder = ReadingDecoder()
        let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
        var sequences: [StreamID: [Int64]] = [:]
        var readings: Set<[UInt8]> = []
        var duplicates = 0
        var faulty = 0
        var malformed: [Malformation: Int] = [:]
        var count = 0
        while let message = generator.next() {
            count += 1
            switch message.kind {
            case .reading:
                let reading = try message.bytes.withUnsafeBytes {
                    try #require(try decoder.decode($0, now: now).reading)
                }
                #expect(reading.gatewayID == message.gateway)
                sequences[reading.streamID, default: []].append(reading.sequence)
                #expect(readings.insert(message.bytes).inserted)
                if !reading.faults.isEmpty { faulty += 1 }
            case .duplicate:
                // What it repeats may itself still be held back: then the repeat comes first.
                duplicates += 1
            case .malformed(let kind):
                malformed[kind, default: 0] += 1
            case .conflict, .report: Issue.record("\(message.kind), which the plan does not ask for")
            }
        }
        let manifest = generator.manifest
        #expect(count == plan.messages && manifest.messages == count)
        #expect(manifest.readings == readings.count && manifest.duplicates == duplicates)
        #expect(manifest.malformed == malformed && manifest.faults == faulty)
        #expect(manifest.readings + manifest.duplicates + malformed.values.reduce(0, +) == count)
        #expect(sequences.count == plan.gateways)
        for stream in manifest.streams {
            let found = try #require(sequences[stream.stream])
            #expect(found != found.sorted(), "nothing was overtaken, seed \(seed)")
            #expect(found.sorted() == Array(1...stream.lastSequence), "seed \(seed)")
        }
        for (share, found) in [
            (plan.duplicates, duplicates), (plan.malformed, malformed.values.reduce(0, +)),
            (plan.anomalies, manifest.anomalies), (plan.faults, manifest.faults), (plan.late, manifest.late),
            (plan.outOfOrder, manifest.outOfOrder),
        ] {
            #expect((0.7...1.3).contains(Double(found) / Double(count) / share), "seed \(seed)")
        }
    }

    /// A reading may come under the number of a malformed one, but no malformed one has a number that never comes.
    @Test func theNumbersOfMalformedMessagesCome() throws {
        var plan = FleetPlan(start: start)
        plan.gateways = 7
        plan.messages = 400
        plan.seed = seed
        plan.malformed = 0.9
        plan.malformations = [.impossibleTemperature]
        plan.outOfOrder = 0.3
        for readingsPerStream in [0, 3] {
            plan.readingsPerStream = readingsPerStream
            var generator = try FleetGenerator(plan)
            let text = try Regex(
                "\"stream_id\":\"([0-9a-f]+)\",\"seq\":([0-9]+)", as: (Substring, Substring, Substring).self)
            var come: Set<String> = []
            var claimed: Set<String> = []
            while let message = generator.next() {
                guard message.kind != .report else { continue }
                let found = try #require(String(decoding: message.bytes, as: UTF8.self).firstMatch(of: text))
                let number = "\(found.1) \(found.2)"
                if message.kind == .reading { come.insert(number) } else { claimed.insert(number) }
            }
            #expect(generator.manifest.messages == 400)
            // A board that has not sent anything has no number that came.
            let sent = Set(come.map { $0.prefix(16) })
            #expect(claimed.allSatisfy { come.contains($0) || !sent.contains($0.prefix(16)) }, "seed \(seed)")
            #expect(claimed.count > 10)
        }
    }

    @Test func everyStreamEndsWithAReport() throws {
        var generator = try FleetGenerator(troubled(messages: 300))
        while generator.next() != nil {}
        let decoder = ReadingDecoder()
        let manifest = generator.manifest
        #expect(manifest.reports.count == manifest.streams.count)
        for (message, stream) in zip(manifest.reports, manifest.streams) {
            let decoded = try message.bytes.withUnsafeBytes { try decoder.decodeMessage($0, now: start) }
            guard case .report(let report) = decoded else {
                Issue.record("no report")
                continue
            }
            #expect(message.gateway == stream.gateway && report.gatewayID == stream.gateway && report.gaps.isEmpty)
            #expect(report.streams.map(\.streamID) == [stream.stream])
            #expect(report.streams.map(\.first) == [1] && report.streams.map(\.last) == [stream.lastSequence])
        }
    }

    @Test(arguments: Malformation.allCases)
    func everyMalformationIsRejectedForItsReason(malformation: Malformation) throws {
        let decoder = ReadingDecoder()
        var random = SeededGenerator(seed: seed)
        var generator = try FleetGenerator(troubled(messages: 200))
        while let message = generator.next() {
            guard message.kind == .reading else { continue }
            let reading = try message.bytes.withUnsafeBytes { try #require(try decoder.decode($0, now: start).reading) }
            let bytes = malformation.message(from: reading, using: &random)
            let rejection = bytes.withUnsafeBytes { bytes -> Rejection? in
                do throws(Rejection) {
                    _ = try decoder.decodeMessage(bytes, now: start)
                    return nil
                } catch {
                    return error
                }
            }
            #expect(rejection?.reason.rawValue == malformation.expectedReason, "seed \(seed)")
        }
    }

    @Test func samplesFollowThePlansClock() throws {
        var plan = FleetPlan(start: start)
        plan.gateways = 2
        plan.sensorsPerGateway = 2
        plan.intervalMicroseconds = 10_000_000
        #expect(
            (0..<6).map { plan.eventTime(ofSample: $0).milliseconds - start.milliseconds }
                == [0, 2500, 5000, 7500, 10_000, 12_500])
    }

    @Test func healthyAirIsPlausible() throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let room = Room(using: &random)
            let day = stride(from: 0, to: 86_400_000, by: 600_000).map { offset in
                room.values(at: Timestamp(milliseconds: start.milliseconds + Int64(offset)), using: &random)
            }
            let temperatures = day.compactMap(\.[.temperature])
            #expect(temperatures.allSatisfy { (14...30).contains($0) })
            let swing = (temperatures.max() ?? 0) - (temperatures.min() ?? 0)
            #expect((3...7).contains(swing))
            #expect(day.compactMap(\.[.humidity]).allSatisfy { (25...65).contains($0) })
            #expect(day.compactMap(\.[.co2]).allSatisfy { (380...1200).contains($0) })
            #expect(day.compactMap(\.[.pressure]).allSatisfy { (980...1040).contains($0) })
            #expect(day.compactMap(\.[.batteryLevel]).allSatisfy { (14...100).contains($0) })
        }
    }

    @Test(
        arguments: [
            \FleetPlan.gateways, \FleetPlan.sensorsPerGateway,
        ] as [WritableKeyPath<FleetPlan, Int> & Sendable])
    func refusesAFleetOfNothing(part: WritableKeyPath<FleetPlan, Int> & Sendable) {
        var plan = FleetPlan(start: start)
        plan[keyPath: part] = 0
        #expect(throws: FleetError.self) { try FleetGenerator(plan) }
    }

    @Test func refusesSharesAndTimesThatCannotBe() {
        var plan = FleetPlan(start: start)
        plan.malformed = 0.5
        plan.duplicates = 0.5
        #expect(throws: FleetError.self) { try plan.validate() }
        plan = FleetPlan(start: Timestamp(milliseconds: .max))
        #expect(throws: FleetError.self) { try plan.validate() }
        plan = FleetPlan(start: start)
        plan.messages = .max
        #expect(throws: FleetError.self) { try plan.validate() }
        plan.messages = 1_000_000_000_000
        plan.intervalMicroseconds = 2_678_400_000_000
        plan.gateways = 1
        plan.sensorsPerGateway = 1
        #expect(throws: FleetError.self) { try plan.validate() }
    }

    @Test func theManifestIsJSON() throws {
        var generator = try FleetGenerator(troubled(messages: 500))
        while generator.next() != nil {}
        let manifest = generator.manifest
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(manifest.json.utf8)) as? [String: Any])
        #expect(object["messages"] as? Int == 500 && object["readings"] as? Int == manifest.readings)
        let streams = try #require(object["streams"] as? [[String: Any]])
        #expect(streams.map { $0["last_seq"] as? Int } == manifest.streams.map { Int($0.lastSequence) })
    }

    /// Restarts, numbers that never come, two boards of one gateway, odd reports and conflicts: readings and reports
    /// together say of every stream what the manifest says.
    @Test func readingsAndReportsSayWhatTheManifestSays() throws {
        var plan = FleetPlan(start: start)
        plan.name = "hostile"
        plan.gateways = 3
        plan.sensorsPerGateway = 2
        plan.boardsPerGateway = 2
        plan.messages = 4000
        plan.seed = seed
        plan.readingsPerStream = 20
        plan.isAnnounced = true
        plan.firstNumber = 1000
        plan.jump = 1 << 40
        plan.lost = 0.1
        plan.reportedLost = 0.1
        plan.oddReports = 0.1
        plan.conflicts = 0.05
        plan.duplicates = 0.05
        var generator = try FleetGenerator(plan)
        let decoder = ReadingDecoder()
        var told: [StreamID: (first: Int64, last: Int64)] = [:]
        var explained: [StreamID: [String: Int64]] = [:]
        var numbers: [StreamID: [Int64: Reading]] = [:]
        var kinds: [String: Int] = [:]
        func take(_ message: FleetMessage) throws {
            kinds["\(message.kind)", default: 0] += 1
            if kinds.count == 1 { #expect(message.kind == .report, "the first stream is told first") }
            switch try message.bytes.withUnsafeBytes({ try decoder.decodeMessage($0, now: start + 86_400_000) }) {
            case .reading(let decoded):
                let reading = try #require(decoded.reading)
                let known = numbers[reading.streamID]?[reading.sequence]
                switch message.kind {
                case .reading: #expect(known == nil, "seed \(seed)")
                case .duplicate: #expect(known == reading, "seed \(seed)")
                case .conflict: #expect(known != nil && known?.eventTime != reading.eventTime, "seed \(seed)")
                default: Issue.record("\(message.kind)")
                }
                if message.kind == .reading { numbers[reading.streamID, default: [:]][reading.sequence] = reading }
            case .report(let report):
                for stream in report.streams {
                    let known = told[stream.streamID] ?? (.max, 0)
                    told[stream.streamID] = (min(known.first, stream.first), max(known.last, stream.last ?? 0))
                }
                for gap in report.gaps {
                    for range in gap.ranges where numbers[gap.streamID]?[range.lowerBound] == nil {
                        explained[gap.streamID, default: [:]][gap.reason, default: 0] += Int64(range.count)
                    }
                }
            }
        }
        while let message = generator.next() { try take(message) }
        let manifest = generator.manifest
        #expect(kinds["report"] == manifest.reportsBetween)
        #expect(kinds["conflict"] == manifest.conflicts && kinds["duplicate"] == manifest.duplicates)
        #expect(kinds["reading"] == manifest.readings)
        #expect(manifest.messages == plan.messages)
        #expect(manifest.readings + manifest.duplicates + manifest.conflicts == plan.messages)
        for report in manifest.reports { try take(report) }
        #expect(manifest.streams.count > 100)
        for stream in manifest.streams {
            let (first, last) = try #require(told[stream.stream])
            #expect(first == stream.first && last == stream.lastSequence, "\(stream), seed \(seed)")
            var reasons = stream.lost
            let unknown = reasons.removeValue(forKey: "unknown") ?? 0
            #expect(reasons == explained[stream.stream] ?? [:], "\(stream), seed \(seed)")
            let present = Int64(numbers[stream.stream]?.count ?? 0)
            #expect(
                last - first + 1 == present + unknown + reasons.values.reduce(0, +), "\(stream), seed \(seed)")
            for reading in numbers[stream.stream, default: [:]].values {
                #expect(reading.streamFirst ?? 1 == stream.first && (first...last).contains(reading.sequence))
            }
        }
    }

    @Test func extremesAreWithinTheContractAndScatteredMessagesHaveManyKeys() throws {
        var plan = FleetPlan(start: start)
        plan.gateways = 2
        plan.messages = 300
        plan.seed = seed
        plan.extremes = Set(Extreme.allCases)
        plan.isScattered = true
        var generator = try FleetGenerator(plan)
        let decoder = ReadingDecoder()
        var intervals: Set<Int64> = []
        var temperatures: Set<Double?> = []
        var keys: Set<String> = []
        while let message = generator.next() {
            let reading = try message.bytes.withUnsafeBytes {
                try #require(try decoder.decode($0, now: start + 86_400_000).reading)
            }
            intervals.insert(reading.intervalMilliseconds)
            temperatures.insert(reading.values[.temperature])
            keys.insert(message.keySuffix)
            #expect(reading.faults.count == 64 && reading.place.map { abs($0.latitude) } == 90)
            #expect(reading.gatewayID.description.utf8.count == 64 && reading.sensorID.description.utf8.count == 64)
        }
        #expect(intervals == [1, 604_800_000] && temperatures == [nil, -100, 200], "seed \(seed)")
        #expect(keys.count > 20, "seed \(seed)")
    }

    @Test func refusesNumbersBeyondTheContractAndConflictsOutOfOrder() {
        var plan = FleetPlan(start: start)
        plan.jump = 9_007_199_254_740_991
        #expect(throws: FleetError.self) { try plan.validate() }
        plan = FleetPlan(start: start)
        plan.conflicts = 0.1
        plan.outOfOrder = 0.1
        #expect(throws: FleetError.self) { try plan.validate() }
        plan = FleetPlan(start: start)
        plan.name = "no name"
        #expect(throws: FleetError.self) { try plan.validate() }
    }
}

extension Timestamp {
    fileprivate static func + (time: Timestamp, milliseconds: Int64) -> Timestamp {
        Timestamp(milliseconds: time.milliseconds + milliseconds)
    }
}
