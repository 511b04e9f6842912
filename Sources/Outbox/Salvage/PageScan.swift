import Glibc
import Platform

/// Finds the rows of tables in a file of SQLite that SQLite itself cannot open or read.
///
/// It looks at each page by itself, of the file and of the log beside it, and takes the rows from those that are leaves
/// of tables (https://www.sqlite.org/fileformat.html, sections 1.6, 2.1 and 4). Neither the header nor the schema nor
/// the pages between root and leaves are needed. A row may come several times, also one that had been deleted: its page
/// may be free by now, or stand in the log in an older form. A row that reaches into bytes that are not there, or whose
/// length is not that of its fields, is none.
struct PageScan {
    /// One row.
    struct Row: StoredRow {
        /// Its key.
        var key: Int64
        /// Its fields, the key's own null among them.
        var fields: [Field]

        var count: Int { fields.count }

        func integer(at column: Int32) -> Int64? {
            if case .integer(let value)? = field(column) { value } else { nil }
        }

        func real(at column: Int32) -> Double? {
            switch field(column) {
            case .real(let value)?: value
            // SQLite stores a number without decimals as a whole one.
            case .integer(let value)?: Double(value)
            default: nil
            }
        }

        func text(at column: Int32) -> String? {
            guard case .text(let bytes)? = field(column) else { return nil }
            return String(validating: bytes, as: UTF8.self)
        }

        func blob(at column: Int32) -> [UInt8]? {
            if case .blob(let bytes)? = field(column) { bytes } else { nil }
        }

        private func field(_ column: Int32) -> Field? {
            fields.indices.contains(Int(column)) ? fields[Int(column)] : nil
        }
    }

    /// A field of a row.
    enum Field: Equatable {
        case null
        case integer(Int64)
        case real(Double)
        case text([UInt8])
        case blob([UInt8])
    }

    private let descriptor: Int32
    private let log: Int32
    private let pageSize = Int(OutboxFile.pageSize)

    /// Scans a file and its log.
    /// - Parameters:
    ///   - path: the file.
    ///   - row: gets each row that is found.
    /// - Throws: the file's `SystemError` if it cannot be opened, and what `row` throws. Parts that cannot be read are left out.
    static func run(_ path: String, row: (Row) throws -> Void) throws {
        // A pipe would be waited for.
        let descriptor = try systemCall("open", path) { open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
        let log = open(path + "-wal", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { if log >= 0 { close(log) } }
        let scan = PageScan(descriptor: descriptor, log: log)
        try scan.scanFile(row)
        try scan.scanLog(row)
    }

    private func scanFile(_ row: (Row) throws -> Void) throws {
        let length = lseek(descriptor, 0, SEEK_END)
        guard length > 0 else { return }
        // The last page may be there in part.
        for number in 1...(Int(length) - 1) / pageSize + 1 {
            guard let page = page(number) else { continue }
            try scan(page, header: number == 1 ? 100 : 0, row)
        }
    }

    private func scanLog(_ row: (Row) throws -> Void) throws {
        var status = stat()
        guard log >= 0, fstat(log, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
        let length = Int(lseek(log, 0, SEEK_END))
        var position = 32
        while position + 24 < length {
            if let page = bytes(log, at: position + 24), let number = bytes(log, at: position, count: 4) {
                try scan(page, header: number == [0, 0, 0, 1] ? 100 : 0, row)
            }
            position += 24 + pageSize
        }
    }

    /// A page of the file, as far as it is there; nil if nothing of it can be read.
    private func page(_ number: Int) -> [UInt8]? {
        guard number > 0, number <= 1 << 30 else { return nil }
        return bytes(descriptor, at: (number - 1) * pageSize)
    }

    private func bytes(_ descriptor: Int32, at position: Int, count: Int? = nil) -> [UInt8]? {
        let count = count ?? pageSize
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + filled }, count - filled, off_t(position + filled))
            }
            if got < 0, errno == EINTR { continue }
            if got <= 0 { break }
            filled += got
        }
        return filled > 0 ? Array(bytes.prefix(filled)) : nil
    }

    private func scan(_ page: [UInt8], header: Int, _ row: (Row) throws -> Void) throws {
        // 13: a leaf of a table.
        guard page.count >= header + 8, page[header] == 0x0D else { return }
        let cells = Int(page[header + 3]) << 8 | Int(page[header + 4])
        let first = header + 8
        guard first + cells * 2 <= pageSize else { return }
        for pointer in stride(from: first, to: first + cells * 2, by: 2) where pointer + 2 <= page.count {
            let start = Int(page[pointer]) << 8 | Int(page[pointer + 1])
            // No cell lies among the pointers to cells.
            guard start >= first + cells * 2, start < page.count else { continue }
            if let found = cell(page, at: start) { try row(found) }
        }
    }

    /// Reads a cell of a leaf: the length of its row, its key, and the row, whose end may be on further pages.
    private func cell(_ page: [UInt8], at start: Int) -> Row? {
        var reader = ByteReader(page[start...])
        guard let length = reader.number(), (1...1 << 20).contains(length), let key = reader.number() else {
            return nil
        }
        let total = Int(length)
        let (usable, least) = (pageSize, (pageSize - 12) * 32 / 255 - 23)
        var local = total
        if total > usable - 35 {
            let wanted = least + (total - least) % (usable - 4)
            local = wanted <= usable - 35 ? wanted : least
        }
        guard var row = reader.take(local) else { return nil }
        if local < total {
            guard var next = reader.take(4).map(bigEndian) else { return nil }
            while row.count < total {
                let end = min(usable, 4 + total - row.count)
                guard next != 0, let further = self.page(Int(next)), further.count >= end else { return nil }
                next = bigEndian(Array(further[..<4]))
                row += further[4..<end]
            }
        }
        return fields(row).map { Row(key: key, fields: $0) }
    }

    /// Reads a row: the length of its head, the types of its fields, and the fields.
    private func fields(_ row: [UInt8]) -> [Field]? {
        var types = ByteReader(row[...])
        guard let headLength = types.number(), (1...Int64(row.count)).contains(headLength) else { return nil }
        var content = ByteReader(row[Int(headLength)...])
        types.end = Int(headLength)
        var fields: [Field] = []
        while !types.isAtEnd {
            guard let type = types.number(), type >= 0, let field = content.field(type: type) else { return nil }
            fields.append(field)
        }
        return content.isAtEnd ? fields : nil
    }
}

private func bigEndian(_ bytes: [UInt8]) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

/// Takes the parts of a row off bytes; never reads beyond their end.
private struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    var end: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
        end = bytes.endIndex
    }

    var isAtEnd: Bool { position >= end }

    mutating func take(_ count: Int) -> [UInt8]? {
        guard count >= 0, end - position >= count else { return nil }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// A number of one to nine bytes, seven bits each, the high ones first.
    mutating func number() -> Int64? {
        var value: UInt64 = 0
        for index in 0..<9 {
            guard position < end else { return nil }
            let byte = bytes[position]
            position += 1
            if index == 8 { return Int64(bitPattern: value << 8 | UInt64(byte)) }
            value = value << 7 | UInt64(byte & 0x7F)
            if byte & 0x80 == 0 { return Int64(bitPattern: value) }
        }
        return nil
    }

    /// A field by its type's number.
    mutating func field(type: Int64) -> PageScan.Field? {
        switch type {
        case 0: return .null
        case 1...6:
            let width = [1, 2, 3, 4, 6, 8][Int(type) - 1]
            guard let bytes = take(width) else { return nil }
            let value = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let unused = UInt64(64 - width * 8)
            return .integer(Int64(bitPattern: value << unused) >> Int64(unused))
        case 7: return take(8).map { .real(Double(bitPattern: $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })) }
        case 8: return .integer(0)
        case 9: return .integer(1)
        case 10, 11: return nil
        default:
            let length = (type - 12) / 2
            guard length <= 1 << 20, let bytes = take(Int(length)) else { return nil }
            return type % 2 == 0 ? .blob(bytes) : .text(bytes)
        }
    }
}
