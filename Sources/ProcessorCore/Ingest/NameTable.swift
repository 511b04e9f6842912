/// Numbers names in the order in which they are first seen, without making a string of a name seen before.
///
/// An open-addressing table over one array of bytes.
struct NameTable: Sendable {
    private struct Entry {
        var hash: UInt64
        var scope: Int32
        var offset: Int32
        var count: Int32
    }

    private var entries: [Entry] = []
    private var bytes: [UInt8] = []
    /// Index into `entries`, or -1; a power of two of them, at most half in use.
    private var slots = [Int32](repeating: -1, count: 64)

    /// The number of a name.
    /// - Parameters:
    ///   - name: its bytes.
    ///   - scope: names of different scopes are different names.
    /// - Returns: its number from 0, and whether it is new.
    mutating func index(of name: UnsafeBufferPointer<UInt8>, in scope: Int32) -> (index: Int32, isNew: Bool) {
        let hash = NameTable.hash(name, scope)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            if matches(entries[Int(slots[slot])], hash, name, scope) { return (slots[slot], false) }
            slot = (slot + 1) & (slots.count - 1)
        }
        let index = Int32(entries.count)
        entries.append(Entry(hash: hash, scope: scope, offset: Int32(bytes.count), count: Int32(name.count)))
        bytes.append(contentsOf: name)
        slots[slot] = index
        if entries.count * 2 > slots.count { grow() }
        return (index, true)
    }

    private func matches(_ entry: Entry, _ hash: UInt64, _ name: UnsafeBufferPointer<UInt8>, _ scope: Int32) -> Bool {
        guard entry.hash == hash, entry.scope == scope, entry.count == name.count else { return false }
        return bytes.withUnsafeBufferPointer { bytes in
            for index in 0..<name.count where bytes[Int(entry.offset) + index] != name[index] { return false }
            return true
        }
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: slots.count * 2)
        for (index, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash) & (slots.count - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Int32(index)
        }
    }

    /// FNV-1a over the bytes, mixed at the end so that the low bits depend on all of them.
    private static func hash(_ name: UnsafeBufferPointer<UInt8>, _ scope: Int32) -> UInt64 {
        var hash = 0xcbf2_9ce4_8422_2325 ^ UInt64(UInt32(bitPattern: scope))
        for byte in name { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash ^= hash >> 32
        return hash &* 0x9e37_79b9_7f4a_7c15 ^ (hash >> 29)
    }
}
