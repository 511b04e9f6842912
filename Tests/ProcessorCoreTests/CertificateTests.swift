import Testing

@testable import ProcessorCore

@Suite struct CertificateTests {
    private func certificate(
        missing: Int64 = 0, unread: UnreadMessages, mismatches: [String] = []
    ) -> (good: Bool, lines: [Substring]) {
        var certificate = Certificate()
        certificate.missing = missing
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
        let missing = "missing readings  1428, listed in the table loss; those among the unread messages are not lost"
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
}
