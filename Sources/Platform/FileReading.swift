import Glibc

/// Reads a whole file.
/// - Parameters:
///   - path: the file.
///   - limit: the most bytes it may have; a longer one fails with EFBIG.
///   - waits: whether to wait for what a pipe brings; if not, one without a writer is empty.
/// - Throws: the system call that failed.
public func readFile(_ path: String, limit: Int, waits: Bool = false) throws(SystemError) -> [UInt8] {
    let descriptor = try systemCall("open", path) { open(path, O_RDONLY | O_CLOEXEC | (waits ? 0 : O_NONBLOCK)) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
        let count = try systemCall("read", path) { read(descriptor, &chunk, chunk.count) }
        if count == 0 { return bytes }
        bytes.append(contentsOf: chunk[..<count])
        if bytes.count > limit { throw SystemError("read", path, code: EFBIG) }
    }
}
