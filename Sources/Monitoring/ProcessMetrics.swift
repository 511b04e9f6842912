import Glibc
import Platform

extension MetricsRegistry {
    /// Adds what the kernel knows of this process, under the names that Prometheus' client libraries share:
    /// `process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`, `process_start_time_seconds`.
    public func addProcessMetrics() {
        gauge("process_resident_memory_bytes", "Resident memory size in bytes.") { ProcessUsage.residentBytes }
        counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.") {
            ProcessUsage.cpuSeconds
        }
        gauge("process_open_fds", "Number of open file descriptors.") { openFileDescriptors() }
        let start = processStart()
        gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.") { start }
    }
}

/// What this process takes of the machine; nil where the kernel does not say.
public enum ProcessUsage {
    /// Resident memory: the second field of /proc/self/statm, in pages (proc(5)).
    public static var residentBytes: Double? {
        guard let text = contents(of: "/proc/self/statm") else { return nil }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Double(fields[1]) else { return nil }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// Time that all its threads have run.
    public static var cpuSeconds: Double? {
        var time = timespec()
        guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

private func openFileDescriptors() -> Double? {
    guard let directory = opendir("/proc/self/fd") else { return nil }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    // Without ".", ".." and the directory itself.
    return Double(count - 3)
}

/// The boot's wall-clock time plus field 22 of /proc/self/stat, in clock ticks since boot (proc(5)).
private func processStart() -> Double? {
    guard let stat = contents(of: "/proc/self/stat"), let kernel = contents(of: "/proc/stat"),
        let line = kernel.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
        let boot = Double(line.dropFirst("btime ".count)),
        // The second field, the program's name, may hold spaces and parentheses.
        let name = stat.lastIndex(of: ")")
    else { return nil }
    let fields = stat[name...].split(separator: " ")
    guard fields.count > 20, let ticks = Double(fields[20]) else { return nil }
    return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
}

/// A small file of /proc as text, or nil where it cannot be read.
private func contents(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
        bytes += chunk[..<count]
    }
}
