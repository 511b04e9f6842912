import CFaultyStorage

/// A machine whose storage fails as a test tells it to; `faulty_storage.h` says what it does to what was not synced.
///
/// Connections that are opened with its VFS keep its files alive until they are closed.
final class FaultyMachine: Sendable {
    /// What is wrong with the storage.
    struct Faults {
        /// Calls of one kind fail with SQLITE_IOERR: `count` of them after the next `after`.
        struct Failing {
            var after: Int64
            var count: Int64 = 1

            fileprivate var value: vigie_failing { vigie_failing(after: after, count: count) }
        }

        /// A lock that another process holds on every file.
        enum ForeignLock {
            case writer, exclusive
        }

        var reads: Failing?
        var writes: Failing?
        var syncs: Failing?
        /// How many bytes all files together may hold; nil for any number.
        var capacity: Int64?
        var isReadOnly = false
        /// Whether syncs report success and do nothing.
        var ignoresSyncs = false
        var foreignLock: ForeignLock?
    }

    /// One change of the storage.
    struct Operation: CustomStringConvertible {
        var kind: vigie_operation_kind
        var file: String

        var description: String {
            switch kind {
            case VIGIE_WRITE: "write to \(file)"
            case VIGIE_TRUNCATE: "truncation of \(file)"
            case VIGIE_SYNC: "sync of \(file)"
            case VIGIE_CREATE: "creation of \(file)"
            case VIGIE_DELETE: "deletion of \(file)"
            case VIGIE_SYNC_FOLDER: "sync of the folder"
            case VIGIE_IGNORED_SYNC: "ignored sync of \(file)"
            default: "nothing"
            }
        }
    }

    // The C side takes a lock in every call.
    private nonisolated(unsafe) let machine: OpaquePointer
    /// The name of its VFS for sqlite3_open_v2().
    let vfs: String

    init() {
        machine = FaultyMachine.existing(vigie_machine_new())
        vfs = String(cString: vigie_machine_vfs(machine))
    }

    private init(_ image: OpaquePointer) {
        machine = image
        vfs = String(cString: vigie_machine_vfs(image))
    }

    deinit { vigie_machine_free(machine) }

    private static func existing(_ machine: OpaquePointer?) -> OpaquePointer {
        guard let machine else { fatalError("no memory for a machine") }
        return machine
    }

    /// How many operations there were since the machine was made or last restarted.
    var operationCount: Int64 { vigie_machine_operations(machine) }

    /// The n-th of them, from 1.
    func operation(_ n: Int64) -> Operation {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { name in
            let kind = vigie_machine_operation(machine, n, name.baseAddress, Int32(name.count))
            return Operation(kind: kind, file: name.baseAddress.map { String(cString: $0) } ?? "")
        }
    }

    /// Cuts the power at the n-th operation, which may arrive in part; 0: now.
    func cut(atOperation n: Int64 = 0) { vigie_machine_cut_at(machine, n) }

    /// Whether calls are still answered.
    var hasPower: Bool { vigie_machine_has_power(machine) }

    /// Cuts the power, if that has not happened, and starts the machine with what the seed makes arrive.
    func restart(seed: UInt64) { vigie_machine_restart(machine, seed) }

    /// Ends the program alone, at the operation of `cut(atOperation:)` if that was reached: what it wrote is seen by the
    /// next program, and still waits for its sync.
    func kill() { vigie_machine_kill(machine) }

    /// What a power cut at the n-th operation leaves; n may be one more than there were. Images are taken in the order of n.
    func image(cutAtOperation n: Int64, seed: UInt64) -> FaultyMachine {
        FaultyMachine(FaultyMachine.existing(vigie_machine_image(machine, n, seed)))
    }

    /// Sets what is wrong with the storage from now on.
    func set(_ faults: Faults) {
        let none = vigie_failing(after: 0, count: 0)
        let lock =
            switch faults.foreignLock {
            case .writer: VIGIE_FOREIGN_WRITER
            case .exclusive: VIGIE_FOREIGN_EXCLUSIVE
            case nil: VIGIE_NO_FOREIGN_LOCK
            }
        vigie_machine_set_faults(
            machine,
            vigie_faults(
                reads: faults.reads?.value ?? none, writes: faults.writes?.value ?? none,
                syncs: faults.syncs?.value ?? none, capacity: faults.capacity ?? -1, is_read_only: faults.isReadOnly,
                ignores_syncs: faults.ignoresSyncs, foreign_lock: lock))
    }

    /// Microseconds that SQLite asked to sleep; it is not made to wait.
    var slept: Int64 { vigie_machine_slept(machine) }

    /// A file as programs see it; nil if there is none.
    func contents(of name: String) -> [UInt8]? {
        let size = vigie_machine_file_size(machine, name)
        guard size >= 0 else { return nil }
        return [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            count = Int(vigie_machine_read_file(machine, name, buffer.baseAddress, size))
        }
    }

    /// Puts a file on the medium in place of what was there; false if that is in use.
    func replaceContents(of name: String, with bytes: [UInt8]) -> Bool {
        vigie_machine_put_file(machine, name, bytes, Int64(bytes.count))
    }

    /// Takes a file away for good.
    func remove(_ name: String) { vigie_machine_remove_file(machine, name) }

    /// The log of a file is written once more, then fsync(2) of it and of the folder, by the program itself.
    /// - Returns: false if the power is gone.
    func sync(_ path: String) -> Bool {
        vigie_machine_rewrite(machine, path + "-wal") && vigie_machine_sync(machine, path + "-wal")
            && vigie_machine_sync(machine, "")
    }
}
