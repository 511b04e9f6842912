import KafkaClient

/// Decides what the publisher does next. A value without input or output: it is told what happened and what time it is,
/// and answers with what is to be done.
///
///                  producer made              a batch is refused
///     connecting ----------------> sending ---------------------> oneByOne
///         ^                        |  ^  ^                          |
///         |  producer lost         |  |  '--------------------------'
///         '------------------------'  |    what was refused is through
///                                     |
///         waitingForDisk -------------'  the outbox can be read again
///
/// No error of Kafka ends it. Only a stop does: when the outbox is empty, or when the time for it is over.
struct PublishMachine: Sendable {
    /// What the publisher is about.
    enum Mode: Equatable, Sendable {
        /// There is no producer; one is being made, or a pause after a failure runs.
        case connecting
        /// Messages are sent in groups.
        case sending
        /// Up to this number, each message is sent when the one before it has its answer: a group was refused, and only
        /// so is it known which message is at fault.
        case oneByOne(through: Int64)
        /// The outbox cannot be read.
        case waitingForDisk
        /// The end.
        case finished
    }

    /// A message that could be sent now.
    struct Candidate: Equatable, Sendable {
        /// The reading's number; nil for another message.
        var sequence: Int64?
        /// What it is, if it is no reading of the queue.
        var extra: Extra?
        /// Its bytes in a request, about.
        var size: Int
        /// Why it can never be sent, if that is known without asking the broker.
        var refusal: String?
    }

    /// A message that has no place in the order of the readings.
    enum Extra: Hashable, Sendable {
        /// A report of the gateway, by the outbox's number of it.
        case report(Int64)
        /// A reading of the quarantine that is sent once more, by its number.
        case requeued(Int64)
    }

    /// A timer of the machine.
    enum Timer: Equatable, Sendable {
        /// Readings may be sent again within the rate.
        case rate
        /// The disk is tried again.
        case disk
        /// A producer that is to be made anew has had its time to get its answers.
        case renewal
        /// The largest size of a group is tried again.
        case probe
    }

    /// What happened.
    enum Event: Sendable {
        /// There may be new readings.
        case appended
        /// The outbox gave these, in the order in which they are to be sent, from what is behind the number `after` on.
        /// `isEnd`: there are no more.
        case found([Candidate], after: Int64, isEnd: Bool)
        /// The outbox cannot be read now.
        case notRead
        /// The producer did not take the message with this token.
        case notTaken(UInt64, KafkaError)
        /// The broker, or the producer in its place, has answered; `producerError` is the producer's fatal error.
        case answered([(token: UInt64, error: KafkaError?)], producerError: KafkaError?)
        /// A producer is there.
        case producerMade
        /// No producer can be made, as a file of the configuration cannot be used.
        case producerNotMade
        /// The files of certificates, keys or the password have changed. `isWorking`: a broker is connected.
        case filesChanged(isWorking: Bool)
        /// A producer can be made with them. `isWorking`: a broker is connected.
        case filesUsable(isWorking: Bool)
        /// None can be made with them.
        case filesNotUsable
        /// A reading is in quarantine.
        case quarantined(Int64)
        /// The disk did not take a reading into quarantine.
        case notQuarantined(Int64)
        /// A timer has run down.
        case timer(Timer)
        /// A pause after a failure is over.
        case pauseEnded
        /// A broker is connected.
        case connected
        /// The cluster takes readings again.
        case recovered
        /// Send now, whatever pause there is.
        case flush
        /// Send what is there, then stop.
        case stop
        /// Stop now.
        case drainTimeOver
    }

    /// What is to be done, in this order.
    enum Action: Equatable, Sendable {
        /// Make a producer; answer `producerMade` or `producerNotMade`.
        case makeProducer
        /// Let the producer go; its answers count no more.
        case dropProducer
        /// Find out whether a producer can be made with the files as they are; answer `filesUsable` or `filesNotUsable`.
        case tryFiles
        /// Read so many messages behind `window.sentThrough`; answer `found` or `notRead`.
        case read(limit: Int)
        /// Give the producer one of the messages that were found, by its index; answer `notTaken` if it does not take it.
        case send(index: Int, token: UInt64)
        /// Put a reading into quarantine; answer `quarantined` or `notQuarantined`.
        case quarantine(Int64, reason: String)
        /// The broker has all readings up to this number, or the quarantine does.
        case acknowledge(through: Int64)
        /// The broker has a message that is no reading of the queue.
        case acknowledgeExtra(Extra)
        /// The broker refuses such a message for good.
        case giveUpExtra(Extra, reason: String)
        /// Nothing is on its way any more: what waits may be dropped where there is no room for it.
        case release
        /// The broker answers, and has so many readings more.
        case noteDelivered(Int)
        /// Wait, longer each time, then say `pauseEnded`. The error is nil if it is no error of a message.
        case pause(KafkaError?)
        /// The next pause is a short one.
        case resetPauses
        /// Say `timer` after this time.
        case start(Timer, Duration)
        /// Whether messages wait for an answer.
        case noteWaiting(Bool)
        /// A group was refused as a whole, and is sent one by one.
        case noteOneByOne(reason: String)
        /// One reading after the other is refused, so it is not about one of them: nothing is put into quarantine.
        case noteAllRefused(reason: String)
        /// Readings are taken again after `noteAllRefused`.
        case noteTakenAgain
        /// What waited while the cluster took nothing is through.
        case noteDrained
        /// Nothing more is to be done.
        case finish
    }

    /// So many readings are put into quarantine one after the other; the next one shows that no reading is to blame.
    static let mostRefusalsInARow = 10
    /// The most messages that are read at once: more would only take memory.
    static let mostAtOnce = 1000
    /// How long the disk is left alone after it failed.
    static let diskPause = Duration.seconds(1)
    /// How long a producer may wait for its answers before it is made anew with new files.
    static let renewalTime = Duration.seconds(5)
    /// After this time without a refusal, larger groups than the largest that was taken are tried.
    static let probeTime = Duration.seconds(600)
    /// How long to wait when the rate is used up.
    static let ratePause = Duration.milliseconds(100)

    private(set) var window: InFlightWindow
    /// The most bytes on their way, so that no request has more; nil for no limit.
    private(set) var mostBytes: Int?
    /// The most bytes of a group that were taken since the last refusal.
    private(set) var largestTaken = 0
    private var smallestRefused: Int?
    /// Whether the next message would be more than `mostBytes`.
    private var isFull = false

    private var hasProducer = false
    private var isMakingProducer = false
    private var singlyThrough: Int64?
    private var isDiskTrouble = false
    /// Whether the timer of the disk runs.
    private var isDiskPaused = false
    private var isReading = false
    private var mayHaveMore = true
    private var isPaused = false
    private var isStopping = false
    private var isFinished = false
    private var isWaiting = false
    private var isDraining = false
    /// Whether the producer is to be made anew when it has its answers.
    private var isRenewing = false
    private var refusalsInARow = 0
    private var isAllRefused = false
    private var aloneRefusals: (sequence: Int64, count: Int)?
    private var held: [Int64: String] = [:]
    /// What is on its way and is no reading of the queue, by its token.
    private var extras: [UInt64: Extra] = [:]

    private let rate: Double
    private var allowance: Double
    private var allowanceSince: ContinuousClock.Instant?
    private var isRateUsedUp = false

    /// - Parameters:
    ///   - limit: the most messages on their way at once.
    ///   - rate: the most readings a second; a second's worth may go at once.
    init(limit: Int, rate: Double) {
        window = InFlightWindow(limit: limit)
        self.rate = rate
        allowance = rate
    }

    /// What the publisher is about.
    var mode: Mode {
        if isFinished { return .finished }
        if isDiskTrouble { return .waitingForDisk }
        guard hasProducer else { return .connecting }
        return singlyThrough.map { .oneByOne(through: $0) } ?? .sending
    }

    /// Takes what happened.
    /// - Returns: what is to be done.
    mutating func handle(_ event: Event, at now: ContinuousClock.Instant) -> [Action] {
        guard !isFinished else { return [] }
        var actions: [Action] = []
        switch event {
        case .appended:
            mayHaveMore = true
        case .found(let candidates, let after, let isEnd):
            isReading = false
            isDiskTrouble = false
            mayHaveMore = true
            if after == window.sentThrough { actions += send(candidates, isEnd: isEnd, at: now) }
        case .notRead:
            isReading = false
            isDiskTrouble = true
            actions += leaveDiskAlone()
        case .notTaken(let token, let error): actions += notTaken(token, error, at: now)
        case .answered(let answers, let producerError):
            actions += settle(answers, at: now)
            if let producerError, hasProducer { actions += loseProducer(producerError) }
        case .producerMade:
            (hasProducer, isMakingProducer, isPaused) = (true, false, false)
        case .producerNotMade:
            isMakingProducer = false
            actions += pause(nil)
        case .filesChanged(let isWorking):
            isPaused = isPaused && isWorking
            if hasProducer { actions.append(.tryFiles) }
        case .filesUsable(let isWorking):
            guard hasProducer else { break }
            if isWorking {
                isRenewing = true
                actions.append(.start(.renewal, Self.renewalTime))
            } else {
                actions += renew()
            }
        case .filesNotUsable: break
        case .quarantined(let sequence):
            held[sequence] = nil
            window.release(sequence)
            actions += acknowledge(at: now)
        case .notQuarantined: actions += leaveDiskAlone()
        case .timer(let timer): actions += ended(timer)
        case .pauseEnded, .connected: isPaused = false
        case .recovered:
            isPaused = false
            isDraining = true
        case .flush:
            (isPaused, isRateUsedUp) = (false, false)
            allowance = max(allowance, Double(window.limit))
        case .stop:
            isStopping = true
            mayHaveMore = true
            isRateUsedUp = false
        case .drainTimeOver:
            isFinished = true
            return [.finish]
        }
        return actions + next(at: now)
    }

    // MARK: What is next

    private mutating func next(at now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        if window.isSettled == isWaiting {
            isWaiting.toggle()
            actions.append(.noteWaiting(isWaiting))
        }
        if isRenewing, window.isSettled { actions += renew() }
        if window.isEmpty, !mayHaveMore, !isReading {
            if isDraining {
                isDraining = false
                actions.append(.noteDrained)
            }
            if isStopping {
                isFinished = true
                return actions + [.finish]
            }
        }
        guard mayHaveMore, !isPaused, !isReading, !isDiskTrouble, !isRenewing else { return actions }
        guard hasProducer else {
            if !isMakingProducer {
                isMakingProducer = true
                actions.append(.makeProducer)
            }
            return actions
        }
        guard let room = room(at: now) else { return actions }
        guard room > 0 else {
            if !isRateUsedUp {
                isRateUsedUp = true
                actions.append(.start(.rate, Self.ratePause))
            }
            return actions
        }
        isReading = true
        actions.append(.read(limit: min(room, Self.mostAtOnce)))
        return actions
    }

    /// How many messages may be sent now, of which the rate allows at least one; 0 if the rate allows none, nil if there is
    /// no room for another reason.
    private mutating func room(at now: ContinuousClock.Instant) -> Int? {
        if let through = singlyThrough {
            guard window.isSettled else { return nil }
            if window.sentThrough >= through { singlyThrough = nil }
        }
        if window.hasFailed { return nil }
        if singlyThrough == nil {
            guard window.isWorthFilling else { return nil }
            // An answer makes room.
            if isFull, !window.isSettled { return nil }
            isFull = false
        }
        let room = singlyThrough == nil ? window.room : 1
        if isStopping { return room }
        if let since = allowanceSince {
            allowance = min(max(rate, allowance), allowance + rate * (since.duration(to: now) / .seconds(1)))
        }
        allowanceSince = now
        return isRateUsedUp ? 0 : min(room, Int(allowance))
    }

    private mutating func send(
        _ candidates: [Candidate], isEnd: Bool, at now: ContinuousClock.Instant
    ) -> [Action] {
        var actions: [Action] = []
        var taken = 0
        let isSingle = singlyThrough != nil
        // What happened while they were read may have taken the room.
        if hasProducer, !isPaused, !window.hasFailed, !isRenewing {
            for (index, candidate) in candidates.enumerated() {
                if isSingle, !window.isSettled { break }
                if let mostBytes, window.unanswered > 0, window.unansweredBytes + candidate.size > mostBytes {
                    isFull = true
                    break
                }
                if candidate.sequence.map({ $0 <= window.sentThrough }) ?? false {
                    taken += 1
                    continue
                }
                if let refusal = candidate.refusal, let sequence = candidate.sequence {
                    actions += quarantine(sequence, refusal, at: now)
                } else if let extra = candidate.extra, extras.values.contains(extra) {
                    // It is on its way.
                } else {
                    let token = window.send(candidate.sequence, size: candidate.size, at: now)
                    if let extra = candidate.extra { extras[token] = extra }
                    actions.append(.send(index: index, token: token))
                    if candidate.sequence != nil { allowance -= 1 }
                }
                taken += 1
            }
        }
        mayHaveMore = !isEnd || taken < candidates.count
        if isEnd, taken == candidates.count { window.rest() }
        return actions + acknowledge(at: now)
    }

    // MARK: Answers

    private mutating func settle(
        _ answers: [(token: UInt64, error: KafkaError?)], at now: ContinuousClock.Instant
    ) -> [Action] {
        isFull = false
        var actions: [Action] = []
        var failure: KafkaError?
        var (delivered, deliveredBytes, isAnyDelivered) = (0, 0, false)
        for answer in answers {
            let refusal = answer.error.map(Refusal.init)
            let extra = extras.removeValue(forKey: answer.token)
            guard let entry = window.settle(answer.token, refusal.map { .failed($0) } ?? .acknowledged) else {
                continue
            }
            if refusal == nil {
                isAnyDelivered = true
                if entry.sequence != nil { delivered += 1 }
                deliveredBytes += entry.size
                if let extra { actions.append(.acknowledgeExtra(extra)) }
                continue
            }
            failure = failure ?? answer.error
            // What is refused alone is given up here, as it is known here only which it is.
            if let extra, entry.isAlone, case .ofMessage(_, _, let reason)? = refusal {
                actions.append(.giveUpExtra(extra, reason: reason))
            }
        }
        if isAnyDelivered {
            actions.append(.noteDelivered(delivered))
            actions += noteTaken(bytes: deliveredBytes)
        }
        actions += acknowledge(at: now)
        if isAnyDelivered, failure == nil {
            actions.append(.resetPauses)
            isPaused = false
        }
        guard window.hasFailed else { return actions }
        // The first error is told at once; what is to be done about it shows when all answers are there.
        guard window.isSettled else { return actions }
        return actions + resolve(failure, at: now)
    }

    /// Decides what becomes of messages that failed, once all have an answer.
    private mutating func resolve(_ failure: KafkaError?, at now: ContinuousClock.Instant) -> [Action] {
        let failed = window.failed
        window.rewind()
        mayHaveMore = true
        let refused = failed.filter { if case .ofMessage = $0.refusal { true } else { false } }
        if failed.contains(where: { $0.refusal == .ofProducer }), refused.isEmpty {
            return loseProducer(failure)
        }
        guard let last = refused.last, case .ofMessage(let isTooLarge, _, let reason) = last.refusal else {
            return pause(failure)
        }
        if failed.count == 1, last.entry.isAlone {
            guard let sequence = last.entry.sequence else { return [] }
            return refusedAlone(sequence, last.refusal, reason, failure, at: now)
        }
        let through = refused.compactMap(\.entry.sequence).last ?? window.sentThrough + 1
        singlyThrough = max(singlyThrough ?? through, through)
        var actions: [Action] = [.noteOneByOne(reason: reason)]
        if isTooLarge {
            let bytes = refused.reduce(0) { $0 + $1.entry.size }
            smallestRefused = min(smallestRefused ?? bytes, bytes)
            mostBytes = max(1, min(mostBytes ?? bytes, bytes) / 2)
            largestTaken = 0
            actions.append(.start(.probe, Self.probeTime))
        }
        return actions
    }

    private mutating func refusedAlone(
        _ sequence: Int64, _ refusal: Refusal, _ reason: String, _ failure: KafkaError?,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        let count = aloneRefusals?.sequence == sequence ? (aloneRefusals?.count ?? 0) + 1 : 1
        aloneRefusals = (sequence, count)
        guard count >= refusal.refusalsNeeded else { return pause(failure) }
        guard refusalsInARow < Self.mostRefusalsInARow else {
            let isNew = !isAllRefused
            isAllRefused = true
            return (isNew ? [.noteAllRefused(reason: reason)] : []) + pause(failure)
        }
        refusalsInARow += 1
        return quarantine(sequence, reason, at: now) + acknowledge(at: now)
    }

    private mutating func quarantine(
        _ sequence: Int64, _ reason: String, at now: ContinuousClock.Instant
    ) -> [Action] {
        window.hold(sequence, at: now)
        held[sequence] = reason
        return [.quarantine(sequence, reason: reason)]
    }

    /// Something was taken: what is refused now is about the message that is refused.
    private mutating func noteTaken(bytes: Int) -> [Action] {
        refusalsInARow = 0
        aloneRefusals = nil
        largestTaken = max(largestTaken, bytes)
        if let most = mostBytes, singlyThrough == nil, bytes >= most / 4 * 3 {
            // A tenth below what was refused it stays, until the topic's limit is tried again.
            let grown = most + most / 4 + 1
            mostBytes = smallestRefused.map { min(grown, max(most, $0 / 10 * 9)) } ?? grown
            if smallestRefused == nil, most > 8_000_000 { mostBytes = nil }
        }
        guard isAllRefused else { return [] }
        isAllRefused = false
        return [.noteTakenAgain]
    }

    private mutating func acknowledge(at now: ContinuousClock.Instant) -> [Action] {
        window.takeAcknowledged(at: now).map { [.acknowledge(through: $0)] } ?? []
    }

    private mutating func notTaken(
        _ token: UInt64, _ error: KafkaError, at now: ContinuousClock.Instant
    ) -> [Action] {
        let entry = window.entry(of: token)
        window.takeBack(from: token)
        let extra = extras[token]
        extras = extras.filter { $0.key < token }
        mayHaveMore = true
        if error.code == .queueFull {
            // Room comes with the next answer, if one is awaited.
            isFull = true
            return window.isSettled ? pause(error) : []
        }
        switch Refusal(error) {
        case .ofMessage(_, _, let reason):
            if let extra { return [.giveUpExtra(extra, reason: reason)] }
            // It is the producer's own limit, so no other message is to blame.
            return entry?.sequence.map { quarantine($0, reason, at: now) } ?? []
        case .ofProducer: return loseProducer(error)
        case .forNow: return pause(error)
        }
    }

    // MARK: The producer, the disk, pauses

    private mutating func loseProducer(_ error: KafkaError?) -> [Action] {
        dropProducer() + pause(error)
    }

    private mutating func renew() -> [Action] {
        isPaused = false
        return dropProducer()
    }

    private mutating func dropProducer() -> [Action] {
        (hasProducer, isRenewing) = (false, false)
        window.restart()
        extras = [:]
        mayHaveMore = true
        return [.dropProducer]
    }

    private mutating func pause(_ error: KafkaError?) -> [Action] {
        isPaused = true
        return window.isSettled ? [.release, .pause(error)] : [.pause(error)]
    }

    private mutating func leaveDiskAlone() -> [Action] {
        guard !isDiskPaused else { return [] }
        isDiskPaused = true
        return [.start(.disk, Self.diskPause)]
    }

    private mutating func retryDisk() -> [Action] {
        (isDiskTrouble, isDiskPaused) = (false, false)
        mayHaveMore = true
        return held.sorted { $0.key < $1.key }.map { .quarantine($0.key, reason: $0.value) }
    }

    private mutating func ended(_ timer: Timer) -> [Action] {
        switch timer {
        case .rate: isRateUsedUp = false
        case .disk: return retryDisk()
        case .renewal: return isRenewing ? renew() : []
        case .probe: smallestRefused = nil
        }
        return []
    }
}
