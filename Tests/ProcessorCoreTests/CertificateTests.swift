import Testing

@testable import ProcessorCore

@Suite struct CertificateTests {
    private func certificate(
        missing: Int64 = 0, explained: [String: Int64] = [:], unread: UnreadMessages, mismatches: [String] = [],
        open: [String] = []
    ) -> (good: Bool, lines: [Substring]) {
        var certificate = Certificate()
        certificate.losses = explained
        if missing > 0 { certificate.losses["unknown"] = missing }
        for text in open { certificate.addOpen(text) }
        certificate.unread = unread
        certificate.mismatches = mismatches
        certificate.mismatchCount = Int64(mismatches.count)
        return (certificate.isGood, certificate.description.split(separator: "\n"))
    }

    @Test func unreadMessagesAreToldByPartition() {
        let (good, lines) = certificate(unread: .known([5: 743, 3: 716, 4: 0]))
        #expect(good)
        #expect(lines.contains("unread messages   716 of partition 3, 743 of partition 5"))
        #expect(lines.last == "verified          everything agrees that was read; 1459 messages are not read yet")
        #expect(certificate(unread: .known([0: 0])).lines.contains("unread messages   0"))
        #expect(certificate(unread: .known([:])).lines.last == "verified          everything agrees")
    }

    @Test func whatIsMissingIsNotLostWhileItMayBeUnread() {
        let (good, lines) = certificate(missing: 1428, unread: .known([3: 716]))
        #expect(!good)
        let missing =
            "missing readings  1428 (1428 unknown), listed in the table loss; those among the unread messages are not lost"
        #expect(lines.contains(Substring(missing)))
        let conclusion =
            "NOT VERIFIED      what was read agrees, but missing readings may be among the 716 unread messages"
        #expect(lines.last?.hasPrefix(conclusion) == true)
        let complete = certificate(missing: 1428, unread: .known([:]))
        #expect(complete.good && complete.lines.last == "verified          everything agrees")
    }

    @Test func aBrokerThatCannotBeAskedIsSaid() {
        let (good, lines) = certificate(unread: .notAsked("it is away"))
        #expect(good && lines.contains("unread messages   not asked: it is away"))
        #expect(lines.last == "verified          everything agrees")
        let holes = certificate(missing: 1, unread: .notAsked("it is away"))
        #expect(holes.good)
        #expect(
            holes.lines.last
                == "verified          everything agrees that was read; missing readings may be among what was not")
    }

    @Test func aMismatchComesFirst() {
        let (good, lines) = certificate(missing: 1, unread: .known([0: 1]), mismatches: ["1 windows never written"])
        #expect(!good && lines.suffix(2) == ["NOT VERIFIED      1 mismatches, of which:", "  1 windows never written"])
    }

    @Test func whatIsMissingIsToldByItsReasons() {
        let reasons: [String: Int64] = ["thinned": 7, "stopped": 0, "dropped_oldest": 12]
        let (good, lines) = certificate(missing: 7, explained: reasons, unread: .known([:]))
        #expect(good)
        #expect(
            lines.contains("missing readings  26 (12 dropped_oldest, 7 thinned, 7 unknown), listed in the table loss"))
        // What a gateway has given up is not waited for.
        let given = certificate(explained: reasons, unread: .known([0: 3]))
        #expect(given.good && given.lines.last?.hasPrefix("verified") == true)
    }

    @Test func nothingAgreesWhileNobodyKnowsHowFarStreamsGo() {
        let (good, lines) = certificate(unread: .known([:]), open: (1...12).map { "gateway \($0)" })
        #expect(!good && !lines.contains { $0.contains("agrees") && !$0.contains("what was read agrees, but") })
        #expect(
            lines.contains { $0.hasPrefix("NOT VERIFIED      what was read agrees, but nobody knows how far these") })
        #expect(lines.contains("  gateway 10") && lines.last == "  and 2 others")
        let both = certificate(unread: .known([:]), mismatches: ["1 windows never written"], open: ["g"])
        #expect(both.lines.contains { $0.hasPrefix("NOT VERIFIED      and nobody knows") })
    }

    @Test func moreIsMissingThanANumberHolds() {
        let all: [String: Int64] = ["thinned": .max, "unknown": .max]
        let text = certificate(explained: all, unread: .known([:])).lines.joined(separator: "\n")
        #expect(text.contains("missing readings  9223372036854775807 ("))
    }
}
