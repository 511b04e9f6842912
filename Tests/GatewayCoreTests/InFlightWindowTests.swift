import Foundation
import KafkaClient
import Platform
import TestSupport
import Testing

@testable import GatewayCore

@Suite struct InFlightWindowTests {
    private let start = ContinuousClock.Instant.now

    private func window(sent count: Int64, limit: Int = 10) -> InFlightWindow {
        var window = InFlightWindow(limit: limit)
        for sequence in 1...count { window.send(sequence, at: start) }
        return window
    }

    private func expectAcknowledged(
        _ window: inout InFlightWindow, _ expected: Int64?, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let through = window.takeAcknowledged(at: start)
        #expect(through == expected, sourceLocation: sourceLocation)
    }

    private func expectRewind(
        _ window: inout InFlightWindow, _ expected: Bool, sourceLocation: SourceLocation = #_sourceLocation
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
        #expect(window.room == 1)
        _ = window.takeAcknowledged(at: start)
        #expect(window.room == 1)
    }

    /// Doubles from answer to answer while there is more to send, up to the limit.
    @Test func aBrokerThatAnswersIsGivenMore() {
        var window = InFlightWindow(limit: 100)
        var paces: [Int] = []
        for _ in 0..<6 {
            paces.append(window.room)
            let first = window.sentThrough + 1
            for sequence in first..<first + Int64(window.room) { window.send(sequence, at: start) }
            for sequence in first...window.sentThrough { window.settle(sequence, isDelivered: true) }
            _ = window.takeAcknowledged(at: start)
        }
        #expect(paces == [5, 10, 20, 40, 80, 100])
    }

    /// Readings that come one by one do not pile up in a producer whose broker is silent, whatever it took before.
    @Test func aSilentBrokerIsGivenFew() {
        var window = InFlightWindow(limit: 1000)
        for sequence in 1...5 as ClosedRange<Int64> { window.send(sequence, at: start) }
        for sequence in 1...5 as ClosedRange<Int64> { window.settle(sequence, isDelivered: true) }
        _ = window.takeAcknowledged(at: start)
        #expect(window.room == 10)
        var sent = 0
        for sequence in 6...100 as ClosedRange<Int64> where window.room > 0 {
            window.send(sequence, at: start)
            window.rest()
            sent += 1
        }
        #expect(sent == InFlightWindow.leastPace)
    }

    /// Readings are given in groups while there are many on their way, and one by one while there are few.
    @Test func isFilledWhenAQuarterOfItIsFree() {
        var window = InFlightWindow(limit: 80)
        for sequence in 1...4 as ClosedRange<Int64> { window.send(sequence, at: start) }
        #expect(window.isWorthFilling && window.room == 1)
        window.send(5, at: start)
        #expect(!window.isWorthFilling)
        var answered: Int64 = 0
        func answer(_ count: Int64) {
            for _ in 0..<count {
                answered += 1
                window.settle(answered, isDelivered: true)
            }
            _ = window.takeAcknowledged(at: start)
        }
        while window.pace < 80 {
            while window.room > 0 { window.send(window.sentThrough + 1, at: start) }
            answer(5)
        }
        while window.room > 0 { window.send(window.sentThrough + 1, at: start) }
        answer(19)
        #expect(!window.isWorthFilling && window.room == 19)
        answer(1)
        #expect(window.isWorthFilling)
    }

    /// A slow link or a quota is given less, until answers come soon again.
    @Test func lateAnswersHalveThePace() {
        var window = InFlightWindow(limit: 1000)
        var now = start
        func answer(after seconds: Double) -> Int {
            let first = window.sentThrough + 1
            for sequence in first..<first + Int64(window.room) { window.send(sequence, at: now) }
            for sequence in first...window.sentThrough { window.settle(sequence, isDelivered: true) }
            now += .seconds(seconds)
            _ = window.takeAcknowledged(at: now)
            return window.pace
        }
        #expect([0.1, 0.1, 0.1, 0.1].map(answer) == [10, 20, 40, 80])
        #expect([3, 6, 6, 6, 6, 6].map(answer) == [80, 40, 20, 10, 5, 5])
        #expect([1.5].map(answer) == [10])
    }

    /// What is on its way when the outbox is empty may stay: a link with a long way needs it.
    @Test func restingTakesNothingBack() {
        var window = window(sent: 5, limit: 100)
        for sequence in 1...5 as ClosedRange<Int64> { window.settle(sequence, isDelivered: true) }
        _ = window.takeAcknowledged(at: start)
        for sequence in 6...13 as ClosedRange<Int64> { window.send(sequence, at: start) }
        window.rest()
        #expect(window.pace == 8 && window.room == 0)
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
        #expect(window.room == InFlightWindow.leastPace)
    }

    @Test func aHeldReadingWaitsForTheDiskAlone() {
        var window = InFlightWindow(limit: 10)
        window.send(1, at: start)
        window.hold(2, at: start)
        window.send(3, at: start)
        window.settle(3, isDelivered: true)
        window.settle(1, isDelivered: true)
        expectAcknowledged(&window, 1)
        window.release(2)
        expectAcknowledged(&window, 3)
    }

    @Test func aNewProducerBeginsBehindWhatWasAcknowledged() {
        var window = window(sent: 6)
        window.settle(1, isDelivered: true)
        window.settle(3, isDelivered: true)
        _ = window.takeAcknowledged(at: start)
        window.restart()
        #expect(window.isEmpty && window.sentThrough == 1 && window.pace == InFlightWindow.leastPace)
        // A late report changes nothing.
        window.settle(2, .acknowledged)
        window.send(2, at: start)
        window.settle(2, .acknowledged)
        expectAcknowledged(&window, nil)
    }

    /// Whatever fails, everything is acknowledged in the end, in order and each number once.
    @Test func everythingArrivesWhateverFails() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        let last: Int64 = 500
        var window = InFlightWindow(limit: 20)
        var onTheirWay: [Int64] = []
        var acknowledged: Int64 = 0
        var steps = 0
        while acknowledged < last, steps < 100_000 {
            steps += 1
            while window.room > 0, window.sentThrough < last {
                #expect(window.sentThrough >= acknowledged, "seed \(seed)")
                // What is acknowledged is not there any more.
                let next = max(window.sentThrough, acknowledged) + 1
                window.send(next, at: start)
                onTheirWay.append(next)
            }
            if let index = onTheirWay.indices.randomElement(using: &random) {
                window.settle(onTheirWay.remove(at: index), isDelivered: Int.random(in: 0..<10, using: &random) > 0)
            }
            if let through = window.takeAcknowledged(at: start) {
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

extension InFlightWindow {
    /// Takes what became of a reading, by its number.
    fileprivate mutating func settle(_ sequence: Int64, isDelivered: Bool) {
        guard let index = entries.lastIndex(where: { $0.sequence == sequence }) else { return }
        settle(firstToken + UInt64(index), isDelivered ? .acknowledged : .failed(.forNow))
    }
}
