/// The pages of an SQLite file (https://www.sqlite.org/fileformat2.html), read without SQLite: says which pages hold which
/// row, so that a test knows what a damage leaves readable.
struct SQLiteFile {
    /// The pages of one table.
    struct Table {
        var root: Int
        /// Interior pages, the root among them unless it is a leaf.
        var interior: [Int] = []
        /// Leaf pages in the order of their keys.
        var leaves: [Int] = []
        /// For each row its leaf and the pages of its overflow chain.
        var pages: [Int64: [Int]] = [:]
    }

    var bytes: [UInt8]

    var pageSize: Int {
        let size = number(at: 16, bytes: 2)
        return size == 1 ? 65_536 : size
    }

    var pageCount: Int { bytes.count / pageSize }

    /// The bytes of a page, from 1.
    func range(ofPage page: Int) -> Range<Int> { (page - 1) * pageSize..<page * pageSize }

    func number(at offset: Int, bytes count: Int) -> Int {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) }
    }

    mutating func set(_ value: Int, at offset: Int, bytes count: Int) {
        for index in 0..<count { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * (count - 1 - index))) }
    }

    /// Where a page's B-tree header begins.
    func header(ofPage page: Int) -> Int { (page - 1) * pageSize + (page == 1 ? 100 : 0) }

    /// Where the cells of a B-tree page begin.
    func cells(ofPage page: Int) -> [Int] {
        let header = header(ofPage: page)
        let first = header + (bytes[header] == 5 ? 12 : 8)
        return (0..<number(at: header + 3, bytes: 2)).map {
            (page - 1) * pageSize + number(at: first + 2 * $0, bytes: 2)
        }
    }

    /// Walks a table of an undamaged file.
    func table(root: Int) -> Table {
        var table = Table(root: root)
        walk(root, &table)
        return table
    }

    /// The rightmost child of an interior page.
    func rightmostPointer(ofPage page: Int) -> Int { header(ofPage: page) + 8 }

    private func walk(_ page: Int, _ table: inout Table) {
        let header = header(ofPage: page)
        if bytes[header] == 5 {
            table.interior.append(page)
            for cell in cells(ofPage: page) { walk(number(at: cell, bytes: 4), &table) }
            walk(number(at: rightmostPointer(ofPage: page), bytes: 4), &table)
            return
        }
        table.leaves.append(page)
        for cell in cells(ofPage: page) {
            let (payload, payloadEnd) = varint(at: cell)
            let (key, keyEnd) = varint(at: payloadEnd)
            let usable = pageSize - Int(bytes[20])
            let most = usable - 35
            let least = (usable - 12) * 32 / 255 - 23
            let spilled = least + (Int(payload) - least) % (usable - 4)
            var pages = [page]
            if payload > most {
                var next = number(at: keyEnd + (spilled <= most ? spilled : least), bytes: 4)
                while next != 0 {
                    pages.append(next)
                    next = number(at: (next - 1) * pageSize, bytes: 4)
                }
            }
            table.pages[key] = pages
        }
    }

    private func varint(at offset: Int) -> (value: Int64, end: Int) {
        var value: UInt64 = 0
        for index in 0..<8 {
            let byte = bytes[offset + index]
            value = value << 7 | UInt64(byte & 0x7F)
            if byte < 0x80 { return (Int64(bitPattern: value), offset + index + 1) }
        }
        return (Int64(bitPattern: value << 8 | UInt64(bytes[offset + 8])), offset + 9)
    }
}
