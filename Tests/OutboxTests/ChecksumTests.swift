import Foundation
import Platform
import Readings
import TestSupport
import Testing

@testable import Outbox

/// A row's checksum holds for whatever can be committed, and for nothing else.
@Suite struct ChecksumTests {
    /// The sum that another implementation of CRC-32 gives (Python's zlib).
    @Test func itIsCRC32() {
        let values: [Statement.Value] = [.text("hall"), .integer(-7), .real(nil), .real(20.5), .real(-0.0), .text("")]
        #expect(RowChecksum.of(values) == -684_783_444)
        #expect(RowChecksum.of([.integer(nil)]) == 0)
    }

    /// Whatever SQLite makes of a number, it is read as it was committed, from the table and from the bare pages.
    @Test func whatWasCommittedIsRead() async throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        let numbers: [Double] = [
            0, -0.0, 1, -1, 127, 128, 32_768, 1e15, 0x1p47, 0x1p53, 1e300, .leastNonzeroMagnitude,
            -.leastNormalMagnitude, 0.1, -40.0, 20.37,
        ]
        let records = try (1...200).map { number in
            var record = try record(number, sensor: "s\(number)", faults: number % 3 == 0 ? [try fault("crc")] : [])
            for quantity in Quantity.all {
                let number = numbers.randomElement(using: &random)
                record.reading.values[quantity] = Bool.random(using: &random) ? number : nil
            }
            record.reading.place = Bool.random(using: &random) ? nil : Place(latitude: -90, longitude: 0.0)
            record.bootTimeMilliseconds = Int64.random(in: 0...Int64.max, using: &random) >> Int64(number % 63)
            return record
        }
        let folder = try Folder()
        for isSalvaged in [false, true] {
            if isSalvaged { try Database(path: folder.file).execute("PRAGMA user_version = 999") }
            let outbox = try await Outbox.open(path: folder.file)
            if !isSalvaged { try await outbox.append(records) }
            let found = try await outbox.read(limit: 1000)
            #expect(found.map(\.reading.values) == records.map(\.reading.values))
            #expect(found.map(\.reading.place) == records.map(\.reading.place))
            #expect(found.map(\.bootTimeMilliseconds) == records.map(\.bootTimeMilliseconds))
            try await outbox.close()
        }
    }

    private func fault(_ kind: String) throws -> Fault {
        Fault(chip: try #require(Identifier("scd41")), kind: try #require(Identifier(kind)))
    }
}
