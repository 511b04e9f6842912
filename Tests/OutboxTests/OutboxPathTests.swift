import Foundation
import Glibc
import Testing

@testable import Outbox

@Suite struct OutboxPathTests {
    private func write(_ bytes: [UInt8], to path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    @Test func aNameThatIsNoFilesIsRefused() throws {
        let folder = try Folder()
        func refusal(_ name: String) -> String { OutboxPath.refusal(of: folder.path + "/" + name) ?? "" }
        try write(Array("text".utf8), to: folder.path + "/file")
        #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_un(sun_family: sa_family_t(AF_UNIX), sun_path: sockaddr_un().sun_path)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (folder.path + "/socket").utf8) }
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        #expect(isBound)
        #expect(symlink("circle", folder.path + "/circle") == 0)
        #expect(symlink("pipe", folder.path + "/link") == 0)
        #expect(refusal("").hasPrefix("it is a folder"))
        #expect(refusal(".").hasPrefix("it is a folder"))
        #expect(refusal("none/").hasPrefix("it is a folder"))
        #expect(refusal("pipe") == "it is a pipe and no file")
        #expect(refusal("link") == "it is a pipe and no file")
        #expect(refusal("socket") == "it is a socket and no file")
        #expect(OutboxPath.refusal(of: "/dev/null") == "it is a device and no file")
        #expect(refusal("file/outbox.sqlite") == "a part of it is a file and no folder")
        #expect(refusal("circle") == "its links lead in a circle")
        #expect(refusal(String(repeating: "x", count: 256)).contains("too long"))
        #expect(refusal(String(repeating: "folder/", count: 600) + "x").contains("too long"))
    }

    /// The longest names that are allowed can be used, with all that the outbox puts beside its file.
    @Test func theLongestNamesCanBeUsed() async throws {
        let folder = try Folder()
        func longest(_ path: (Int) -> String) throws -> String {
            let count = try #require((1...4096).last { OutboxPath.refusal(of: path($0)) == nil })
            return path(count)
        }
        let name = try longest { folder.path + "/" + String(repeating: "x", count: $0) }
        let deep = folder.path + String(repeating: "/" + String(repeating: "d", count: 99), count: 3)
        try FileManager.default.createDirectory(atPath: deep, withIntermediateDirectories: true)
        for path in [name, try longest { deep + "/" + String(repeating: "x", count: $0) }] {
            var outbox = try await Outbox.open(path: path)
            try await outbox.append(try records(1...3))
            try await outbox.close()
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try file.write(contentsOf: Data(repeating: 0x41, count: 4096))
            try file.close()
            outbox = try await Outbox.open(path: path)
            #expect(try await sequences(outbox) == [1, 2, 3])
        }
    }

    @Test func whatSomebodyElseNeedsIsRefusedAndLeftAsItIs() throws {
        let folder = try Folder()
        try write(Array("gateway: {id: here}\nstations: [ \u{e4} ]\n".utf8), to: folder.file)
        #expect(OutboxPath.refusal(of: folder.file) == "it is a text and no outbox")
        // A character is cut by the end of what is looked at.
        try write(Array(String(repeating: "\u{20ac}", count: 40_000).utf8), to: folder.file)
        #expect(OutboxPath.refusal(of: folder.file) == "it is a text and no outbox")

        for (name, pragma) in [("rollback", "PRAGMA page_size = 1024"), ("log", "PRAGMA journal_mode = WAL")] {
            let path = "\(folder.path)/\(name)?#%.sqlite"
            let other = try Database(path: path)
            try other.execute("\(pragma); CREATE TABLE outbox (id INTEGER PRIMARY KEY); INSERT INTO outbox VALUES (7)")
            // All of it is in the log, where there is one, or already in the file.
            for _ in 0..<2 {
                let before = try folder.files.map { FileManager.default.contents(atPath: "\(folder.path)/\($0)") }
                #expect(OutboxPath.refusal(of: path) == "it is a database of another program")
                let after = try folder.files.map { FileManager.default.contents(atPath: "\(folder.path)/\($0)") }
                #expect(before == after)
                try other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            }
        }
    }

    /// Every start samples: nothing that was an outbox, or may have been one, is a reason not to start.
    @Test func whatMayBeAnOutboxIsNotRefused() async throws {
        let folder = try Folder()
        #expect(OutboxPath.refusal(of: folder.file) == nil)
        #expect(OutboxPath.refusal(of: folder.path + "/none/outbox.sqlite") == nil)
        for bytes in [[], [0x0A], [UInt8](repeating: 0, count: 8192), [0xFF, 0xD8, 0xFF, 0xE0, 0x00], [0x01, 0x41]] {
            try write(bytes, to: folder.file)
            #expect(OutboxPath.refusal(of: folder.file) == nil, "\(bytes)")
        }
        #expect(unlink(folder.file) == 0)
        try Database(path: folder.file).execute("CREATE TABLE a (b); DROP TABLE a")
        #expect(OutboxPath.refusal(of: folder.file) == nil)
        #expect(unlink(folder.file) == 0)
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...3))
        #expect(OutboxPath.refusal(of: folder.file) == nil, "while a gateway has it")
        // Its tables are in the log alone, as after a kill.
        let killed = folder.path + "/killed.sqlite"
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: folder.file + suffix, toPath: killed + suffix)
        }
        #expect(OutboxPath.refusal(of: killed) == nil)
        // Somebody wrote into the file, and the log still has the readings.
        try write(Array("oh".utf8), to: killed)
        #expect(OutboxPath.refusal(of: killed) == nil)
    }

    @Test func whatStandsBesideTheOutboxIsTaken() throws {
        let folder = try Folder()
        try write([1], to: folder.file)
        #expect(link(folder.file, folder.path + "/hard") == 0)
        #expect(symlink("outbox.sqlite-wal", folder.path + "/soft") == 0)
        for name in [
            "outbox.sqlite", "outbox.sqlite-shm", "outbox.sqlite-journal", "outbox.sqlite.lock", "hard", "soft",
        ] {
            #expect(OutboxPath.isTaken("\(folder.path)/\(name)", byOutbox: folder.file), "\(name)")
        }
        // Neither is there, and they are written in two ways.
        let (other, own) = ("\(folder.path)/./new.sqlite-wal", "\(folder.path)/new.sqlite")
        #expect(OutboxPath.isTaken(other, byOutbox: own))
        #expect(!OutboxPath.isTaken(folder.path + "/outbox", byOutbox: folder.file))
    }

    /// What SQLite takes for a database in memory is a file's name here.
    @Test func aNameThatMeansMemoryIsAFile() throws {
        let folder = try Folder()
        let here = FileManager.default.currentDirectoryPath
        for name in [":memory:", "file::memory:", "file:x?mode=memory"] {
            // A relative path begins at the folder of the process, which other tests use: so the way there is written out.
            let up = Array(repeating: "..", count: here.split(separator: "/").count).joined(separator: "/")
            let path = "\(up)\(folder.path)/\(name)"
            try Database(path: path).execute("CREATE TABLE t (x)")
            #expect(FileManager.default.fileExists(atPath: "\(folder.path)/\(name)"), "\(name)")
        }
    }

    /// Only damaged outboxes are deleted in the end, and only after two newer ones.
    @Test func whatWasNoOutboxIsNeverDeleted() async throws {
        let folder = try Folder()
        for year in 2001...2004 {
            try write(Array("dear diary".utf8), to: "\(folder.file).salvaged-\(year)0101T000000")
        }
        for _ in 0..<4 {
            let outbox = try await Outbox.open(path: folder.file)
            try await outbox.append(try records(1...100))
            try await outbox.close()
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: folder.file))
            try file.write(contentsOf: Data(repeating: 0x41, count: 4096))
            try file.close()
        }
        await (try await Outbox.open(path: folder.file)).prepare()
        let aside = try folder.files.filter { $0.contains(".salvaged-") && !$0.hasSuffix("-wal") }
        #expect(aside.filter { $0.contains("salvaged-200") }.count == 4)
        #expect(aside.count == 6)
    }
}
