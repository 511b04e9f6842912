import Alerting
import Platform
import Readings
import TestSupport
import Testing
import Windowing

@testable import ProcessorCore

/// What leaves memory, and what is to be looked at again because of that.
@Suite struct StateEvictionTests {
    private let hour: Int64 = 3_600_000
    private let policy: WindowPolicy

    init() throws {
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 0))
    }

    /// A sensor whose last reading came at some time; its windows are open until `close`.
    private func sensor(_ name: String, lastArrival: Int64, isSilent: Bool = true) -> SensorState {
        let sensor = SensorState(gatewayID: "g", sensorID: name, lastArrival: lastArrival, interval: 1000)
        sensor.windows.add(
            Observation(eventTime: lastArrival, interval: 1000, status: .ok, values: [.temperature: 1]), policy: policy)
        if isSilent {
            let rule = SilenceRule(severity: .warning, intervals: 1, least: 0)
            sensor.alerts.look(at: lastArrival + 2000, silentSince: lastArrival, interval: 1000, rule: rule) { _ in }
        }
        return sensor
    }

    private func gateway(_ sensors: [SensorState]) -> GatewayState {
        let gateway = GatewayState(partition: 0)
        gateway.isWhole = true
        for sensor in sensors {
            gateway.sensors[sensor.sensorID] = sensor
            gateway.alertIDs[AlertIdentity(sensorID: sensor.sensorID, key: AlertKey(.silence))] = 1
        }
        return gateway
    }

    private func close(_ sensor: SensorState) {
        sensor.windows.advance(through: .max / 2, policy: policy) { _ in }
    }

    @Test func whatIsQuietForAnHourLeaves() {
        let old = sensor("old", lastArrival: 0)
        let open = sensor("open", lastArrival: 0)
        let new = sensor("new", lastArrival: 1)
        let unnoticed = sensor("unnoticed", lastArrival: 0, isSilent: false)
        for sensor in [old, new, unnoticed] { close(sensor) }
        let gateway = gateway([old, open, new, unnoticed])
        let ended = StreamProgress(first: 1)
        gateway.streams = [StreamID(bits: 1): ended, StreamID(bits: 2): ended]
        gateway.streamUse = [StreamID(bits: 1): 0, StreamID(bits: 2): 1]
        var cache = ["g": gateway, "h": GatewayState(partition: 0)]
        let outcome = StateEviction(bound: .max, looksForSilence: true).evict(from: &cache, bytes: 0, now: hour + 1)
        #expect(outcome == StateEviction.Outcome(sensors: 1, streams: 1))
        #expect(gateway.sensors.keys.sorted() == ["new", "open", "unnoticed"] && gateway.isWhole)
        #expect(gateway.streams.keys.map(\.bits) == [2] && gateway.streamUse.count == 1)
        #expect(gateway.alertIDs.keys.map(\.sensorID).sorted() == ["new", "open", "unnoticed"])
        #expect(cache.keys.sorted() == ["g"], "nothing is left of the other one")
        // Where silence means nothing, nobody waits for it.
        let silence = StateEviction(bound: .max, looksForSilence: false)
        #expect(silence.evict(from: &cache, bytes: 0, now: hour + 1).sensors == 1)
        #expect(gateway.sensors["unnoticed"] == nil)
    }

    @Test func beyondTheBoundThoseLeaveThatAreQuietForLongest() {
        let sensors = (0..<100).map { sensor("s\($0)", lastArrival: Int64($0)) }
        let gateway = gateway(sensors)
        gateway.loadedThrough = "z"
        var cache = ["g": gateway]
        let size = gateway.size(policy).bytes
        let eviction = StateEviction(bound: size * 3 / 4, looksForSilence: true)
        #expect(eviction.evict(from: &cache, bytes: size / 2, now: 100).sensors == 0)
        let outcome = eviction.evict(from: &cache, bytes: size, now: 100)
        #expect((30...60).contains(outcome.sensors) && outcome.incomplete == ["g"])
        #expect(gateway.size(policy).bytes <= size * 3 / 4)
        #expect(gateway.sensors["s0"] == nil && gateway.sensors["s99"] != nil)
        #expect(!gateway.isWhole && gateway.loadedThrough.isEmpty, "their windows are to be written still")
    }

    /// A stream with very many ranges goes before any sensor.
    /// A gateway that begins a stream a minute, or a board that makes them up: the sensors that send go on without a pause.
    @Test func streamsThatNobodyNeedsLeaveBeforeSensorsThatSend() {
        let gateway = gateway([sensor("s", lastArrival: 5_000)])
        for number in 1...1000 {
            gateway.streams[StreamID(bits: UInt64(number))] = StreamProgress(first: 1)
            gateway.streamUse[StreamID(bits: UInt64(number))] = Int64(number)
        }
        let size = gateway.size(policy).bytes
        var cache = ["g": gateway]
        let outcome = StateEviction(bound: size / 2, looksForSilence: true).evict(from: &cache, bytes: size, now: 5_000)
        #expect(outcome.sensors == 0 && outcome.streams > 500 && outcome.incomplete.isEmpty)
        #expect(gateway.size(policy).bytes <= size / 2)
        #expect(gateway.streams[StreamID(bits: 1)] == nil && gateway.streams[StreamID(bits: 1000)] != nil)
    }

    @Test func longListsOfHolesLeaveFirst() {
        let gateway = gateway([sensor("s", lastArrival: 0)])
        let ranges = (1...5000).map { LossRange(first: $0 * 2, last: $0 * 2) }
        gateway.streams[StreamID(bits: 1)] = StreamProgress(first: 1, last: 20_000, losses: LossRanges(ranges))
        gateway.streamUse[StreamID(bits: 1)] = 0
        var cache = ["g": gateway]
        let outcome = StateEviction(bound: 100_000, looksForSilence: true)
            .evict(from: &cache, bytes: gateway.size(policy).bytes, now: 10)
        #expect(outcome == StateEviction.Outcome(streams: 1))
    }

    // MARK: Digests of losses

    /// The digests against a look at every range, over random changes.
    @Test func digestsAreWhatAllRangesComeTo() {
        var random = SeededGenerator(seed: printedSeed())
        var losses = LossRanges()
        var ranges: [Int64: LossRange] = [:]
        for _ in 0..<3000 {
            let first = Int64.random(in: 0..<1500, using: &random) * 10
            var range: LossRange?
            if Int.random(in: 0..<4, using: &random) > 0 {
                func time() -> Int64? {
                    Int.random(in: 0..<3, using: &random) == 0
                        ? nil : first + Int64.random(in: 0...2000, using: &random)
                }
                range = LossRange(
                    first: first, last: first + Int64.random(in: 0...8, using: &random),
                    reason: [.unknown, .thinned, .stopped].randomElement(using: &random) ?? .unknown,
                    timeBefore: time(), timeAfter: time())
            }
            losses[first] = range
            ranges[first] = range
            guard Int.random(in: 0..<50, using: &random) == 0 else { continue }
            let since = Int64.random(in: -100...18_000, using: &random)
            let digests = losses.digests(since: since)
            for reason in LossReason.allCases {
                let mine = ranges.values.filter { $0.reason == reason }
                func seen(_ range: LossRange) -> Int64? { [range.timeBefore, range.timeAfter].compactMap { $0 }.max() }
                let recent = mine.filter { (seen($0) ?? .min) >= since }
                let found = digests.filter { $0.reason == reason }
                #expect(found.reduce(0) { $0 + $1.count } == recent.reduce(0) { $0 + $1.count })
                #expect(found.compactMap { $0.seen?.lowerBound }.min() == recent.compactMap(seen).min())
                #expect(
                    found.reduce(0) { $0 + $1.untimed }
                        == mine.filter { seen($0) == nil }.reduce(0) { $0 + $1.count })
            }
        }
    }
}
