import Glibc
import Platform
import Testing

@Suite(.serialized) struct SignalTests {
    @Test func everyStreamOfASignalReceivesIt() async throws {
        var first = try signalStream([SIGWINCH]).makeAsyncIterator()
        var second = try signalStream([SIGWINCH, SIGURG]).makeAsyncIterator()
        kill(getpid(), SIGWINCH)
        #expect(await first.next() == SIGWINCH)
        #expect(await second.next() == SIGWINCH)
        kill(getpid(), SIGURG)
        #expect(await second.next() == SIGURG)
    }

    @Test func aHeldSignalWaitsForWhoAsksForIt() async throws {
        // Its default action would end the tests.
        try holdSignals([SIGIO])
        kill(getpid(), SIGIO)
        var first = try signalStream([SIGIO]).makeAsyncIterator()
        #expect(await first.next() == SIGIO)
        // Released is only what nobody receives.
        releaseSignals()
        kill(getpid(), SIGIO)
        #expect(await first.next() == SIGIO)
    }

    @Test func aReleasedSignalHasItsDefaultActionAgain() throws {
        func hasHandler() -> Bool {
            var action = sigaction()
            sigaction(SIGCHLD, nil, &action)
            return action.__sigaction_handler.sa_handler != nil
        }
        try holdSignals([SIGCHLD])
        #expect(hasHandler())
        releaseSignals()
        #expect(!hasHandler())
    }
}
