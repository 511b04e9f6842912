import Foundation
import Platform
import Testing

@Suite struct SystemErrorTests {
    @Test func namesTheCallTheSubjectAndTheReason() {
        #expect(
            SystemError("open", "/dev/i2c-1", code: ENOENT).description == "open /dev/i2c-1: No such file or directory")
        #expect(SystemError("fsync", code: EIO).description == "fsync: Input/output error")
    }

    @Test func aCallThatSucceedsGivesItsResult() throws {
        #expect(try systemCall("read") { 7 } == 7)
        #expect(try systemCall("close") { Int32(0) } == 0)
    }

    @Test func anInterruptedCallIsMadeAgain() throws {
        var calls = 0
        let result = try systemCall("read") {
            calls += 1
            guard calls > 3 else {
                errno = EINTR
                return -1
            }
            return 42
        }
        #expect(result == 42)
        #expect(calls == 4)
    }

    @Test func aFailureIsTyped() {
        var calls = 0
        #expect(throws: SystemError("write", "/dev/full", code: ENOSPC)) {
            try systemCall("write", "/dev/full") {
                calls += 1
                errno = ENOSPC
                return -1
            }
        }
        #expect(calls == 1)
    }
}
