import Foundation
import Testing

@testable import Platform

@Suite struct FileLockTests {
    @Test func sharedLocksBearEachOtherAndNoExclusiveOne() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-lock-\(UUID())").path
        defer { unlink(path) }
        let descriptors = (0..<3).map { _ in open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        defer { for descriptor in descriptors { close(descriptor) } }
        #expect(descriptors.allSatisfy { $0 >= 0 })
        #expect(try FileLock.take(descriptors[0], isShared: true, path))
        #expect(try FileLock.take(descriptors[1], isShared: true, path))
        #expect(try !FileLock.take(descriptors[2], isShared: false, path))
        let holders = FileLock.holders(of: descriptors[2])
        // A sandbox may keep /proc/locks to itself; what it tells must be true.
        #expect(holders.isEmpty || holders == [getpid()])
        flock(descriptors[0], LOCK_UN)
        flock(descriptors[1], LOCK_UN)
        #expect(try FileLock.take(descriptors[2], isShared: false, path))
        #expect(try !FileLock.take(descriptors[0], isShared: true, path))
        #expect(throws: SystemError("flock", "nothing", code: EBADF)) {
            try FileLock.take(-1, isShared: true, "nothing")
        }
    }

    @Test func theKernelsListIsRead() {
        let locks = """
            1: POSIX  ADVISORY  WRITE 401 00:06:345 0 EOF
            2: FLOCK  ADVISORY  READ 402 00:06:345 0 EOF
            3: FLOCK  ADVISORY  READ 403 00:06:345 0 EOF
            3: -> FLOCK  ADVISORY  WRITE 404 00:06:345 0 EOF
            4: FLOCK  ADVISORY  WRITE 405 00:06:3456 0 EOF
            5: FLOCK  ADVISORY  WRITE 406 fd:10:345 0 EOF
            6: FLOCK  ADVISORY  READ 403 00:06:345 0 EOF
            """
        #expect(FileLock.holders(in: locks, device: 0x6, inode: 345) == [402, 403])
        // Major 253, minor 16, and minors beyond a byte as makedev(3) spreads them.
        #expect(FileLock.holders(in: locks, device: 0xFD10, inode: 345) == [406])
        #expect(FileLock.holders(in: "1: FLOCK ADVISORY READ 7 08:101:9 0 EOF", device: 0x10_0801, inode: 9) == [7])
        #expect(FileLock.holders(in: "", device: 0x6, inode: 345).isEmpty)
    }
}
