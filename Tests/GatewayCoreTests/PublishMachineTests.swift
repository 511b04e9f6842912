import KafkaClient
import Platform
import TestSupport
import Testing

@testable import GatewayCore

/// A publisher without an outbox, a producer or a clock: it does at once what the machine says, and remembers it.
private struct Rig {
    typealias Action = PublishMachine.Action
    typealias Event = PublishMachine.Event

    var machine: PublishMachine
    var now = ContinuousClock.now
    /// What the outbox holds, by number, with its size.
    var outbox: [Int64: Int] = [:]
    /// Reports that wait.
    var reports: [Int64] = []
    /// What was given to the producer and has no answer, in order.
    var sent: [(token: UInt64, sequence: Int64?, report: Int64?, size: Int)] = []
    var log: [Action] = []
    var quarantined: [Int64] = []
    var isDiskWell = true
    var takesWrites = true
    var isConnected = true
    var canMakeProducer = true
    private var found: [PublishMachine.Candidate] = []

    init(limit: Int = 100, rate: Double = 1_000_000) {
        machine = PublishMachine(limit: limit, rate: rate)
    }

    /// A rig whose outbox holds so many readings of 100 bytes, and that has sent what it may.
    static func sending(_ count: Int64, limit: Int = 100, size: Int = 100) -> Rig {
        var rig = Rig(limit: limit)
        if count > 0 { for number in 1...count { rig.outbox[number] = size } }
        rig.tell(.appended)
        return rig
    }

    mutating func tell(_ event: Event) {
        var queue = machine.handle(event, at: now)[...]
        while let action = queue.popFirst() {
            log.append(action)
            switch action {
            case .makeProducer: queue += answer(canMakeProducer ? .producerMade : .producerNotMade)
            case .tryFiles: queue += answer(canMakeProducer ? .filesUsable(isWorking: isConnected) : .filesNotUsable)
            case .dropProducer: sent = []
            case .read(let limit):
                let after = machine.window.sentThrough
                guard isDiskWell else {
                    queue += answer(.notRead)
                    break
                }
                let all = outbox.keys.filter { $0 > after }.sorted()
                found = reports.map { PublishMachine.Candidate(extra: .report($0), size: 50) }
                found += all.prefix(limit).map { PublishMachine.Candidate(sequence: $0, size: outbox[$0] ?? 0) }
                queue += answer(.found(found, after: after, isEnd: all.count <= limit))
            case .send(let index, let token):
                var report: Int64?
                if case .report(let id)? = found[index].extra { report = id }
                sent.append((token, found[index].sequence, report, found[index].size))
            case .quarantine(let sequence, _):
                guard takesWrites else {
                    queue += answer(.notQuarantined(sequence))
                    break
                }
                quarantined.append(sequence)
                outbox[sequence] = nil
                queue += answer(.quarantined(sequence))
            case .acknowledge(let through): for number in outbox.keys where number <= through { outbox[number] = nil }
            case .acknowledgeExtra(.report(let id)), .giveUpExtra(.report(let id), _): reports.removeAll { $0 == id }
            default: break
            }
        }
    }

    private mutating func answer(_ event: Event) -> [Action] { machine.handle(event, at: now) }

    /// Answers all that is on its way, at once.
    mutating func answerAll(_ error: KafkaError? = nil, producerError: KafkaError? = nil) {
        let answers = sent.map { (token: $0.token, error: error) }
        sent = []
        tell(.answered(answers, producerError: producerError))
    }

    var numbersOnTheirWay: [Int64] { sent.compactMap(\.sequence) }
    var pauses: Int { log.count { if case .pause = $0 { true } else { false } } }
}

private let tooLarge = KafkaError(.messageTooLarge, "produce")
private let invalid = KafkaError(KafkaError.Code(rawValue: 87), "produce")
private let noRight = KafkaError(.topicAuthorizationFailed, "produce")
private let lost = KafkaError(KafkaError.Code(rawValue: 59), "produce", isFatal: true)

@Suite struct PublishMachineTests {
    @Test func beginsByMakingAProducerAndSendsInOrder() {
        var rig = Rig()
        #expect(rig.machine.mode == .connecting)
        rig.outbox = [1: 100, 2: 100, 3: 100]
        rig.tell(.appended)
        #expect(rig.machine.mode == .sending)
        #expect(rig.numbersOnTheirWay == [1, 2, 3])
        rig.answerAll()
        #expect(rig.outbox.isEmpty && rig.log.contains(.acknowledge(through: 3)))
        #expect(rig.log.contains(.noteWaiting(true)) && rig.log.contains(.noteWaiting(false)))
    }

    @Test func withoutAProducerItPausesAndTriesAgain() {
        var rig = Rig()
        (rig.outbox, rig.canMakeProducer) = ([1: 100], false)
        rig.tell(.appended)
        #expect(rig.machine.mode == .connecting && rig.pauses == 1)
        rig.tell(.appended)
        #expect(rig.pauses == 1, "it tries again after the pause only")
        rig.tell(.pauseEnded)
        #expect(rig.pauses == 2)
        rig.canMakeProducer = true
        rig.tell(.filesChanged(isWorking: false))
        #expect(rig.numbersOnTheirWay == [1], "a file that changed ends the pause")
    }

    /// An error that time may mend: the same readings, in order, after a pause; nothing is given up.
    @Test(arguments: [noRight, KafkaError(.messageTimedOut, "x"), KafkaError(KafkaError.Code(rawValue: -1), "unknown")])
    func aTemporaryErrorWaits(error: KafkaError) {
        var rig = Rig.sending(5)
        rig.answerAll(error)
        #expect(rig.machine.mode == .sending && rig.pauses == 1 && rig.numbersOnTheirWay.isEmpty)
        rig.tell(.pauseEnded)
        #expect(rig.numbersOnTheirWay == [1, 2, 3, 4, 5])
        rig.answerAll()
        #expect(rig.outbox.isEmpty && rig.quarantined.isEmpty && rig.log.contains(.resetPauses))
    }

    @Test(arguments: [PublishMachine.Event.connected, .recovered, .flush, .pauseEnded])
    func theseEndAPause(event: PublishMachine.Event) {
        var rig = Rig.sending(2)
        rig.answerAll(noRight)
        rig.tell(event)
        #expect(rig.numbersOnTheirWay == [1, 2])
    }

    /// The first success after an outage sends the rest at once.
    @Test func aSuccessEndsAPauseAndShortensTheNext() {
        var rig = Rig.sending(9, limit: 5)
        let first = rig.sent[0]
        rig.tell(.answered([(rig.sent[4].token, noRight)], producerError: nil))
        #expect(rig.pauses == 0, "the others have no answer yet")
        rig.tell(.answered(rig.sent[0..<4].map { ($0.token, nil) }, producerError: nil))
        #expect(rig.pauses == 0 || rig.numbersOnTheirWay.count == 5)
        #expect(first.sequence == 1 && rig.outbox.keys.min() == 5)
    }

    @Test func aRefusedGroupIsSentOneByOneAndOnlyTheCulpritIsPutAway() {
        var rig = Rig.sending(6)
        // The producer begins with 5.
        #expect(rig.numbersOnTheirWay == [1, 2, 3, 4, 5])
        rig.answerAll(invalid)
        #expect(rig.machine.mode == .oneByOne(through: 5))
        #expect(rig.pauses == 0, "it goes on at once")
        for number in Int64(1)...5 {
            #expect(rig.numbersOnTheirWay == [number])
            rig.answerAll(number == 3 ? invalid : nil)
        }
        #expect(rig.quarantined == [3])
        #expect(rig.machine.mode == .sending && rig.numbersOnTheirWay == [6])
        rig.answerAll()
        #expect(rig.outbox.isEmpty)
    }

    /// A single reading on its way is refused alone.
    @Test func aLoneReadingThatIsRefusedIsPutAwayAtOnce() {
        var rig = Rig.sending(1)
        rig.answerAll(tooLarge)
        #expect(rig.quarantined == [1] && rig.outbox.isEmpty && rig.machine.mode == .sending)
    }

    /// What the network may have spoilt is refused alone three times before it is given up.
    @Test func aDamagedMessageHasThreeTries() {
        var rig = Rig.sending(1)
        let damaged = KafkaError(KafkaError.Code(rawValue: 2), "produce")
        for _ in 1...2 {
            rig.answerAll(damaged)
            #expect(rig.quarantined.isEmpty)
            rig.tell(.pauseEnded)
        }
        rig.answerAll(damaged)
        #expect(rig.quarantined == [1])
    }

    /// One reading after the other is refused: it is the topic's doing, and nothing more is put away.
    @Test func aTopicThatRefusesEverythingIsWaitedFor() {
        var rig = Rig.sending(40)
        for _ in 0..<40 {
            rig.answerAll(tooLarge)
            if rig.numbersOnTheirWay.isEmpty { break }
        }
        #expect(rig.quarantined.count == PublishMachine.mostRefusalsInARow)
        #expect(rig.log.contains { if case .noteAllRefused = $0 { true } else { false } })
        for _ in 0..<20 {
            rig.tell(.pauseEnded)
            #expect(rig.numbersOnTheirWay == [11], "one alone is tried again")
            rig.answerAll(tooLarge)
        }
        #expect(rig.quarantined.count == PublishMachine.mostRefusalsInARow)
        #expect(rig.log.count { if case .noteAllRefused = $0 { true } else { false } } == 1)
        rig.tell(.pauseEnded)
        while !rig.sent.isEmpty { rig.answerAll() }
        #expect(rig.log.contains(.noteTakenAgain) && rig.outbox.isEmpty)
    }

    /// The topic's limit is far below a group's size: groups become smaller, and it does not fall back for ever.
    @Test func groupsBecomeAsSmallAsTheTopicTakes() {
        var rig = Rig.sending(3000, limit: 200)
        let most = 2000
        var (refusals, answers) = (0, 0)
        while !rig.sent.isEmpty {
            let bytes = rig.sent.reduce(0) { $0 + $1.size }
            answers += 1
            if bytes > most { refusals += 1 }
            rig.answerAll(bytes > most ? tooLarge : nil)
        }
        #expect(rig.outbox.isEmpty && rig.quarantined.isEmpty)
        #expect(refusals <= 4, "\(refusals) refusals")
        #expect(answers < 700, "\(answers) requests for 3000 readings, of which 20 go into one")
        // After a while it is tried whether the topic takes more.
        #expect(rig.machine.mostBytes.map { $0 <= most } ?? false)
        rig.tell(.timer(.probe))
        for number in Int64(3001)...6000 { rig.outbox[number] = 100 }
        rig.tell(.appended)
        while !rig.sent.isEmpty { rig.answerAll() }
        #expect(rig.machine.mostBytes.map { $0 > most } ?? true)
    }

    @Test func aLostProducerIsReplacedAndNothingIsLost() {
        var rig = Rig.sending(5)
        let old = rig.sent
        rig.tell(.answered([(old[0].token, nil)], producerError: lost))
        #expect(rig.machine.mode == .connecting)
        #expect(rig.log.contains(.dropProducer) && rig.pauses == 1)
        rig.tell(.answered(old[1...].map { ($0.token, nil) }, producerError: nil))
        #expect(rig.outbox.count == 4, "answers of the old producer count no more")
        rig.tell(.pauseEnded)
        #expect(rig.numbersOnTheirWay == [2, 3, 4, 5])
        rig.answerAll()
        #expect(rig.outbox.isEmpty)
    }

    @Test(arguments: [45, 47, 59, 90] as [Int32])
    func anErrorOfTheProducersNumberMakesAnotherOne(code: Int32) {
        var rig = Rig.sending(3)
        rig.answerAll(KafkaError(KafkaError.Code(rawValue: code), "produce"))
        #expect(rig.log.contains(.dropProducer) && rig.quarantined.isEmpty && rig.outbox.count == 3)
    }

    @Test func aDiskThatCannotBeReadIsTriedAgain() {
        var rig = Rig()
        (rig.outbox, rig.isDiskWell) = ([1: 100], false)
        rig.tell(.appended)
        #expect(rig.machine.mode == .waitingForDisk)
        #expect(rig.log.last == .start(.disk, PublishMachine.diskPause))
        rig.isDiskWell = true
        rig.tell(.timer(.disk))
        #expect(rig.machine.mode == .sending && rig.numbersOnTheirWay == [1])
    }

    /// What the disk does not take into quarantine is skipped; the readings behind it go out, once.
    @Test func aQuarantineThatCannotBeWrittenWaitsInMemory() {
        var rig = Rig.sending(5)
        rig.answerAll(invalid)
        rig.answerAll()
        #expect(rig.numbersOnTheirWay == [2])
        // The outbox can be read and takes no writes.
        rig.takesWrites = false
        rig.answerAll(invalid)
        #expect(rig.log.contains(.start(.disk, PublishMachine.diskPause)))
        for number in Int64(3)...5 {
            #expect(rig.numbersOnTheirWay == [number])
            rig.answerAll()
        }
        #expect(rig.outbox.keys.sorted() == [2, 3, 4, 5], "nothing behind it is deleted before it is safe")
        rig.tell(.appended)
        rig.tell(.timer(.disk))
        #expect(rig.sent.isEmpty, "nothing is sent again")
        rig.takesWrites = true
        rig.tell(.timer(.disk))
        #expect(rig.quarantined == [2] && rig.outbox.isEmpty)
    }

    @Test func reportsGoFirstAndAgainUntilTheyAreAcknowledged() {
        var rig = Rig()
        (rig.outbox, rig.reports) = ([1: 100], [7])
        rig.tell(.appended)
        #expect(rig.sent.map(\.report) == [7, nil])
        rig.tell(.appended)
        #expect(rig.sent.count == 2, "one that is on its way is not sent again")
        rig.answerAll(noRight)
        rig.tell(.pauseEnded)
        #expect(rig.sent.map(\.report) == [7, nil])
        rig.answerAll()
        #expect(rig.reports.isEmpty && rig.outbox.isEmpty)
    }

    @Test func aReportThatIsRefusedAloneIsGivenUp() {
        var rig = Rig()
        rig.reports = [7]
        rig.tell(.appended)
        rig.answerAll(tooLarge)
        #expect(rig.log.contains { if case .giveUpExtra(.report(7), _) = $0 { true } else { false } })
    }

    @Test func theRateBoundsADrain() {
        var rig = Rig(limit: 1000, rate: 50)
        for number in Int64(1)...200 { rig.outbox[number] = 100 }
        let start = rig.now
        rig.tell(.appended)
        var steps = 0
        while !rig.outbox.isEmpty, steps < 10_000 {
            steps += 1
            if !rig.sent.isEmpty { rig.answerAll() }
            if rig.sent.isEmpty {
                rig.now += PublishMachine.ratePause
                rig.tell(.timer(.rate))
            }
        }
        let seconds = start.duration(to: rig.now) / .seconds(1)
        // A second's worth goes at once.
        #expect((2.9...3.5).contains(seconds), "\(seconds) s for 200 readings at 50 a second")
    }

    @Test func aFlushAndAStopDoNotKeepToTheRate() {
        var rig = Rig(limit: 1000, rate: 1)
        for number in Int64(1)...100 { rig.outbox[number] = 100 }
        rig.tell(.appended)
        rig.tell(.stop)
        while !rig.sent.isEmpty { rig.answerAll() }
        #expect(rig.outbox.isEmpty && rig.log.last == .finish && rig.machine.mode == .finished)
    }

    @Test func aStopEndsWhenAllIsSentOrItsTimeIsOver() {
        var rig = Rig.sending(3)
        rig.tell(.stop)
        #expect(rig.machine.mode == .sending)
        rig.answerAll()
        #expect(rig.machine.mode == .finished)
        var other = Rig.sending(3)
        other.tell(.stop)
        other.answerAll(noRight)
        #expect(other.machine.mode == .sending)
        other.tell(.drainTimeOver)
        #expect(other.machine.mode == .finished && other.outbox.count == 3)
    }

    @Test func aStopWithAnEmptyOutboxEndsAtOnce() {
        var rig = Rig.sending(0)
        rig.tell(.stop)
        #expect(rig.machine.mode == .finished)
    }

    /// New files: a producer that works gets its answers first, and one that does not is not waited for.
    @Test func filesThatChangeRenewTheProducer() {
        var rig = Rig.sending(3)
        rig.tell(.filesChanged(isWorking: true))
        #expect(rig.log.last == .start(.renewal, PublishMachine.renewalTime))
        rig.outbox[4] = 100
        rig.tell(.appended)
        #expect(rig.numbersOnTheirWay == [1, 2, 3], "nothing more goes to the old one")
        rig.answerAll()
        #expect(rig.log.contains(.dropProducer) && rig.numbersOnTheirWay == [4])

        var stuck = Rig.sending(3)
        stuck.tell(.filesChanged(isWorking: true))
        stuck.tell(.timer(.renewal))
        #expect(stuck.log.contains(.dropProducer) && stuck.numbersOnTheirWay == [1, 2, 3])

        var away = Rig.sending(3)
        away.isConnected = false
        away.tell(.filesChanged(isWorking: false))
        #expect(away.log.contains(.dropProducer) && away.numbersOnTheirWay == [1, 2, 3])

        var refused = Rig.sending(3)
        refused.canMakeProducer = false
        refused.tell(.filesChanged(isWorking: true))
        #expect(!refused.log.contains(.dropProducer))
        refused.answerAll()
        #expect(refused.outbox.isEmpty, "the old one goes on")
    }

    @Test func aFullProducerIsGivenTheRestWhenItHasAnswered() {
        var rig = Rig.sending(3)
        let token = rig.sent[1].token
        rig.sent.removeAll { $0.sequence != 1 }
        rig.tell(.notTaken(token, KafkaError(.queueFull, "send")))
        #expect(rig.numbersOnTheirWay == [1], "it is not asked again before there is an answer")
        rig.answerAll()
        #expect(rig.numbersOnTheirWay == [2, 3])
    }

    @Test func theProducersOwnLimitPutsOneReadingAway() {
        var rig = Rig.sending(3)
        let token = rig.sent[1].token
        rig.sent = [rig.sent[0]]
        rig.tell(.notTaken(token, tooLarge))
        #expect(rig.quarantined == [2])
        rig.answerAll()
        while !rig.sent.isEmpty { rig.answerAll() }
        #expect(rig.outbox.isEmpty)
    }

    /// Whatever a broker does: what it never takes alone is put away, everything else arrives, in order of the first copy,
    /// and an end is reached once the broker is well.
    @Test func nothingIsLostWhateverTheBrokerDoes() {
        var random = SeededGenerator(seed: printedSeed())
        for _ in 0..<40 {
            var rig = Rig(limit: Int.random(in: 1...60, using: &random), rate: 1_000_000)
            let count = Int64.random(in: 1...300, using: &random)
            var bad: Set<Int64> = []
            for number in 1...count {
                rig.outbox[number] = Int.random(in: 50...400, using: &random)
                if Int.random(in: 0..<40, using: &random) == 0 { bad.insert(number) }
            }
            let most = Int.random(in: 401...20_000, using: &random)
            var taken: [Int64] = []
            rig.tell(.appended)
            for step in 0..<20_000 {
                if rig.outbox.isEmpty { break }
                let isRough = step < 500
                let pick = isRough ? Int.random(in: 0..<12, using: &random) : 11
                if rig.sent.isEmpty {
                    rig.tell([.pauseEnded, .connected, .timer(.disk), .flush][Int.random(in: 0..<4, using: &random)])
                    continue
                }
                switch pick {
                case 0: rig.answerAll(noRight)
                case 1: rig.answerAll(noRight, producerError: lost)
                case 2: rig.tell(.filesChanged(isWorking: Bool.random(using: &random)))
                case 3: rig.tell(.timer(.renewal))
                case 4: rig.answerAll(KafkaError(.messageTimedOut, "x"))
                default:
                    // A request of some of them, which is taken or refused as a whole.
                    let request = Array(rig.sent.prefix(Int.random(in: 1...rig.sent.count, using: &random)))
                    rig.sent.removeFirst(request.count)
                    let bytes = request.reduce(0) { $0 + $1.size }
                    var error: KafkaError?
                    if bytes > most { error = tooLarge }
                    if request.contains(where: { $0.sequence.map(bad.contains) ?? false }) { error = invalid }
                    if error == nil { taken += request.compactMap(\.sequence) }
                    rig.tell(.answered(request.map { ($0.token, error) }, producerError: nil))
                }
            }
            #expect(rig.outbox.isEmpty, "\(rig.outbox.count) of \(count) are left in mode \(rig.machine.mode)")
            #expect(Set(rig.quarantined) == bad, "\(rig.quarantined), \(bad)")
            #expect(Set(taken).union(bad) == Set(1...count))
        }
    }
}
