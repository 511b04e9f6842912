import Foundation
import Platform
import TestSupport
import Testing

@testable import GatewayCore

@Suite struct PublishWindowTests {
    private func window(sent count: Int64, limit: Int = 10) -> PublishWindow {
        var window = PublishWindow(limit: limit)
        for sequence in 1...count { window.send(sequence) }
        return window
    }

    private func expectAcknowledged(
        _ window: inout PublishWindow, _ expected: Int64?, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let through = window.takeAcknowledged()
        #expect(through == expected, sourceLocation: sourceLocation)
    }

    private func expectRewind(
        _ window: inout PublishWindow, _ expected: Bool, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let isRewound = window.rewind()
        #expect(isRewound == expected, sourceLocation: sourceLocation)
    }

    @Test func acknowledgesFromTheFrontAlone() {
        var window = window(sent: 4)
        window.settle(2, isDelivered: true)
        expectAcknowledged(&window, nil)
        window.settle(1, isDelivered: true)
        expectAcknowledged(&window, 2)
        expectAcknowledged(&window, nil)
        window.settle(4, isDelivered: true)
        window.settle(3, isDelivered: true)
        expectAcknowledged(&window, 4)
        #expect(window.isEmpty)
        #expect(window.sentThrough == 4)
    }

    @Test func isBounded() {
        var window = window(sent: 3, limit: 3)
        #expect(window.room == 0)
        window.settle(1, isDelivered: true)
        #expect(window.room == 0)
        _ = window.takeAcknowledged()
        #expect(window.room == 1)
    }

    @Test func sendsAgainFromTheFirstFailureOnceAllIsAnswered() {
        var window = window(sent: 5)
        window.settle(1, isDelivered: true)
        window.settle(2, isDelivered: true)
        window.settle(3, isDelivered: false)
        window.settle(4, isDelivered: true)
        expectAcknowledged(&window, 2)
        #expect(window.room == 0)
        expectRewind(&window, false)
        window.settle(5, isDelivered: false)
        expectRewind(&window, true)
        #expect(window.sentThrough == 2)
        #expect(window.room == 10)
    }

    @Test func aSkippedReadingHoldsNothingUp() {
        var window = PublishWindow(limit: 10)
        window.send(1)
        window.skip(2)
        window.send(3)
        window.settle(3, isDelivered: true)
        window.settle(1, isDelivered: true)
        expectAcknowledged(&window, 3)
    }

    @Test func aNewProducerBeginsAtTheOldestThatIsThere() {
        var window = window(sent: 6)
        window.settle(1, isDelivered: true)
        window.settle(3, isDelivered: true)
        _ = window.takeAcknowledged()
        window.restart()
        #expect(window == PublishWindow(limit: window.limit))
        // A late report changes nothing.
        window.settle(2, isDelivered: true)
        expectAcknowledged(&window, nil)
    }

    /// Whatever fails, everything is acknowledged in the end, in order and each number once.
    @Test func everythingArrivesWhateverFails() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        let last: Int64 = 500
        var window = PublishWindow(limit: 20)
        var onTheirWay: [Int64] = []
        var acknowledged: Int64 = 0
        var steps = 0
        while acknowledged < last, steps < 100_000 {
            steps += 1
            while window.room > 0, window.sentThrough < last {
                #expect(window.sentThrough >= acknowledged || window == PublishWindow(limit: 20), "seed \(seed)")
                // What is acknowledged is not there any more.
                let next = max(window.sentThrough, acknowledged) + 1
                window.send(next)
                onTheirWay.append(next)
            }
            if let index = onTheirWay.indices.randomElement(using: &random) {
                window.settle(onTheirWay.remove(at: index), isDelivered: Int.random(in: 0..<10, using: &random) > 0)
            }
            if let through = window.takeAcknowledged() {
                #expect(through > acknowledged, "seed \(seed)")
                acknowledged = through
            }
            if Int.random(in: 0..<50, using: &random) == 0 {
                window.restart()
                onTheirWay = []
            }
            _ = window.rewind()
        }
        #expect(acknowledged == last, "seed \(seed)")
    }
}
