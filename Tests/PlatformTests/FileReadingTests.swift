import Foundation
import Platform
import Testing

@Suite struct FileReadingTests {
    /// Around the size of the chunks in which it reads.
    @Test(arguments: [1, 16_383, 16_384, 16_385, 100_000])
    func readsTheWholeFileWithinTheLimit(size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-platform-\(UUID())")
        try Data(bytes).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try readFile(file.path, limit: size) == bytes)
        #expect(throws: SystemError("read", file.path, code: EFBIG)) { try readFile(file.path, limit: size - 1) }
    }

    @Test func anEmptyFileHasNoBytes() throws {
        #expect(try readFile("/dev/null", limit: 0) == [])
    }

    /// Files of /proc say that they are empty, and are not.
    @Test func readsWhatHasNoSize() throws {
        #expect(try readFile("/proc/self/status", limit: 100_000).starts(with: Array("Name:".utf8)))
    }

    @Test func aFileWithoutAnEndMeetsTheLimit() {
        #expect(throws: SystemError("read", "/dev/zero", code: EFBIG)) { try readFile("/dev/zero", limit: 1_000_000) }
    }

    @Test func saysWhatFailed() {
        #expect(throws: SystemError("open", "/nonexistent/file", code: ENOENT)) {
            try readFile("/nonexistent/file", limit: 10)
        }
        #expect(throws: SystemError("read", "/proc", code: EISDIR)) { try readFile("/proc", limit: 10) }
    }

    @Test func leavesNoDescriptorOpen() throws {
        // The lowest free number is given to the next open(2); others may come and go, but not hundreds.
        for _ in 0..<2000 {
            _ = try readFile("/proc/self/comm", limit: 100)
            #expect(throws: SystemError.self) { try readFile("/dev/zero", limit: 10) }
        }
        let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        #expect((0..<1000).contains(descriptor))
    }
}
