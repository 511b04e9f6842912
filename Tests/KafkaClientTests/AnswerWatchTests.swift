import Testing

@testable import KafkaClient

/// When a producer's partitions are paused because nothing is answered.
@Suite struct AnswerWatchTests {
    private let start = ContinuousClock.Instant.now

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private func look(
        _ watch: inout AnswerWatch, _ waiting: Int, at seconds: Double, answered: Bool = false, connections: Int = 1
    ) -> AnswerWatch.Action {
        watch.look(waiting: waiting, isAnswered: answered, connections: connections, at: at(seconds))
    }

    @Test func aBrokerThatAnswersIsNeverPaused() {
        var watch = AnswerWatch()
        for second in 0..<100 {
            let action = look(&watch, 5000, at: Double(second), answered: true)
            #expect(action == .none)
        }
    }

    @Test func silencePausesAndAnAnswerReleases() {
        var watch = AnswerWatch()
        var actions: [AnswerWatch.Action] = []
        for quarter in 0..<20 { actions.append(look(&watch, 100, at: Double(quarter) / 4)) }
        // The first look begins the wait; a second later, once.
        #expect(actions.firstIndex(of: .hold) == 4 && actions.count { $0 != .none } == 1, "\(actions)")
        let answer = look(&watch, 95, at: 6, answered: true)
        #expect(answer == .release && !watch.isHolding)
        let after = look(&watch, 95, at: 6.5)
        #expect(after == .none)
    }

    /// After an idle hour the wait begins with the messages, not with the hour.
    @Test func idlenessIsNotSilence() {
        var watch = AnswerWatch()
        let idle = look(&watch, 0, at: 0)
        let first = look(&watch, 100, at: 3600)
        #expect(idle == .none && first == .none)
    }

    /// As many as fit into requests on their way cost nothing; they may wait as they are.
    @Test func fewMessagesAreLeftAlone() {
        var watch = AnswerWatch()
        for second in 0..<100 {
            let action = look(&watch, AnswerWatch.harmless, at: Double(second))
            #expect(action == .none)
        }
    }

    @Test func aConnectionThatIsMadeOrLostReleases() {
        var watch = AnswerWatch()
        _ = look(&watch, 100, at: 0)
        let hold = look(&watch, 100, at: 1)
        let release = look(&watch, 100, at: 2, connections: 2)
        let wait = look(&watch, 100, at: 2.5, connections: 2)
        let again = look(&watch, 100, at: 3, connections: 2)
        #expect(hold == .hold && release == .release && wait == .none && again == .hold)
    }
}
