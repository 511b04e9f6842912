import Testing

@testable import KafkaClient

/// When a producer's partitions are paused because nothing is answered.
@Suite struct AnswerWatchTests {
    private let start = ContinuousClock.Instant.now

    private func look(
        _ watch: inout AnswerWatch, _ waiting: Int, at seconds: Double, answered: Bool = false, connections: Int = 1
    ) -> AnswerWatch.Action {
        watch.look(
            waiting: waiting, isAnswered: answered, connections: connections, at: start + .seconds(seconds))
    }

    /// What is done at each look, four times a second, from `first` on.
    private func looks(_ watch: inout AnswerWatch, _ waiting: Int, from first: Double, count: Int) -> [AnswerWatch
        .Action]
    {
        var actions: [AnswerWatch.Action] = []
        for index in 0..<count { actions.append(look(&watch, waiting, at: first + Double(index) / 4)) }
        return actions
    }

    @Test func aBrokerThatAnswersIsNeverPaused() {
        var watch = AnswerWatch()
        for second in 0..<100 {
            let action = look(&watch, 5000, at: Double(second), answered: true)
            #expect(action == .none)
        }
    }

    @Test func answersThatCeasePauseAndOneReleases() {
        var watch = AnswerWatch()
        _ = look(&watch, 100, at: 0, answered: true)
        let actions = looks(&watch, 100, from: 0.25, count: 12)
        #expect(actions.firstIndex(of: .hold) == 3 && actions.count { $0 != .none } == 1, "\(actions)")
        let answer = look(&watch, 95, at: 6, answered: true)
        let after = look(&watch, 95, at: 6.5)
        #expect(answer == .release && !watch.isHolding && after == .none)
    }

    /// Nobody knows whether requests are on their way: what waits may wait for a leader, or for a producer's number.
    @Test func whoWasNeverAnsweredIsNotPaused() {
        var watch = AnswerWatch()
        let actions = looks(&watch, 100, from: 0, count: 100)
        #expect(actions.allSatisfy { $0 == .none })
    }

    /// A pause ends by itself, and only an answer allows another.
    @Test func aPauseHasAnEnd() {
        var watch = AnswerWatch()
        _ = look(&watch, 100, at: 0, answered: true)
        let actions = looks(&watch, 100, from: 0.25, count: 400)
        #expect(actions.count { $0 == .hold } == 1 && actions.count { $0 == .release } == 1)
        #expect(actions.firstIndex(of: .release) == 3 + 40)
        _ = look(&watch, 90, at: 200, answered: true)
        let again = looks(&watch, 90, from: 200.25, count: 12)
        #expect(again.contains(.hold))
    }

    /// After an idle hour the wait begins with the messages, not with the hour.
    @Test func idlenessIsNotSilence() {
        var watch = AnswerWatch()
        _ = look(&watch, 1, at: 0, answered: true)
        let idle = look(&watch, 0, at: 1)
        let first = look(&watch, 100, at: 3600)
        #expect(idle == .none && first == .none)
    }

    /// As many as fit into requests on their way cost nothing; they may wait as they are.
    @Test func fewMessagesAreLeftAlone() {
        var watch = AnswerWatch()
        _ = look(&watch, AnswerWatch.harmless, at: 0, answered: true)
        let actions = looks(&watch, AnswerWatch.harmless, from: 0.25, count: 100)
        #expect(actions.allSatisfy { $0 == .none })
    }

    /// What was on its way is sent again then, perhaps to another leader, which may take its time.
    @Test func aConnectionThatIsMadeOrLostReleasesForGood() {
        var watch = AnswerWatch()
        _ = look(&watch, 100, at: 0, answered: true)
        _ = looks(&watch, 100, from: 0.25, count: 8)
        #expect(watch.isHolding)
        let change = look(&watch, 100, at: 3, connections: 2)
        var later: [AnswerWatch.Action] = []
        for second in 4..<100 { later.append(look(&watch, 100, at: Double(second), connections: 2)) }
        #expect(change == .release && later.allSatisfy { $0 == .none })
    }
}
