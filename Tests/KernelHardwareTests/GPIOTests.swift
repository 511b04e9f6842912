import Synchronization
import Testing

@testable import KernelHardware

/// Numbers in this machine's byte order, as /dev/uhid has them.
private func native<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number) { Array($0) }
}

/// One after the other. (Swift 6.0 takes minutes for a long chain of +.)
private func joined(_ parts: [UInt8]...) -> [UInt8] { Array(parts.joined()) }

private func filled(_ bytes: [UInt8], to count: Int) -> [UInt8] {
    bytes + [UInt8](repeating: 0, count: count - bytes.count)
}

private let getLevels = joined(native(UInt32(9)), native(UInt32(77)), [0x03, 0])

private func setReport(_ data: [UInt8]) -> [UInt8] {
    filled(
        joined(native(UInt32(13)), native(UInt32(78)), [data.first ?? 0, 0], native(UInt16(data.count)), data), to: 4376
    )
}

@Suite struct UHIDMessageTests {
    @Test func eventsAreReadToTheByte() {
        #expect(UHIDEvent(joined(native(UInt32(2)), native(UInt64(0)))) == .start)
        #expect(UHIDEvent(native(UInt32(3))) == .stop)
        #expect(UHIDEvent(native(UInt32(4))) == .open)
        #expect(UHIDEvent(native(UInt32(5))) == .close)
        #expect(UHIDEvent(getLevels) == .getReport(id: 77, number: 3))
        #expect(UHIDEvent(setReport([0x04, 0xFF, 0x01])) == .setReport(id: 78, data: [0x04, 0xFF, 0x01]))
        let output = joined(filled(joined(native(UInt32(6)), [0x15, 0x01]), to: 4 + 4096), native(UInt16(2)), [1])
        #expect(UHIDEvent(output) == .output([0x15, 0x01]))
    }

    @Test func whatIsNotWholeIsUnknown() {
        #expect(UHIDEvent([]) == .unknown)
        #expect(UHIDEvent([9, 0, 0]) == .unknown)
        #expect(UHIDEvent(native(UInt32(99))) == .unknown)
        #expect(UHIDEvent(Array(getLevels.dropLast(2))) == .unknown)
        #expect(UHIDEvent(joined(native(UInt32(6)), [0x15])) == .unknown)
        #expect(UHIDEvent(joined(filled(native(UInt32(6)), to: 4 + 4096), native(UInt16(4097)), [1])) == .unknown)
        #expect(UHIDEvent(Array(setReport([4, 1, 1]).prefix(14))) == .unknown)
        #expect(
            UHIDEvent(filled(joined(native(UInt32(13)), native(UInt32(1)), [2, 0], native(UInt16(5000))), to: 5100))
                == .unknown)
    }

    @Test func answersAreWrittenToTheByte() {
        let create = UHIDReply.create(name: "chip", vendor: 0x10C4, product: 0xEA90, descriptor: [1, 2, 3]).bytes
        let expected = joined(
            native(UInt32(11)), filled(Array("chip".utf8), to: 128), filled(Array("vigie-simbus".utf8), to: 64),
            filled([], to: 64), native(UInt16(3)), native(UInt16(3)), native(UInt32(0x10C4)), native(UInt32(0xEA90)),
            filled([], to: 8), [1, 2, 3])
        #expect(create == expected)
        // A name that is too long still ends with a zero.
        let long = UHIDReply.create(name: String(repeating: "x", count: 500), vendor: 1, product: 1, descriptor: [])
            .bytes
        #expect(long.count == expected.count - 3 && long[4 + 126] == 0x78 && long[4 + 127] == 0)
        #expect(UHIDReply.input([0x16, 3]).bytes == joined(native(UInt32(12)), native(UInt16(2)), [0x16, 3]))
        #expect(
            UHIDReply.reportRead(id: 7, error: 0, data: [3, 9]).bytes
                == joined(native(UInt32(10)), native(UInt32(7)), native(UInt16(0)), native(UInt16(2)), [3, 9]))
        #expect(
            UHIDReply.reportWritten(id: 7, error: 5).bytes
                == joined(native(UInt32(14)), native(UInt32(7)), native(UInt16(5))))
    }
}

@Suite struct CP2112Tests {
    /// What a report read holds.
    private func read(_ chip: inout CP2112, _ number: UInt8) -> [UInt8]? {
        guard case .reportRead(id: 1, error: 0, let data)? = chip.answer(.getReport(id: 1, number: number)) else {
            return nil
        }
        return data
    }

    @Test func itIsTheChipThatTheKernelExpects() {
        var chip = CP2112(lines: SimulatedLines())
        #expect(read(&chip, 0x05) == [0x05, 0x0C, 0x02])
        #expect(read(&chip, 0x06)?.count == 14)
        #expect(read(&chip, 0x02) == [0x02, 0, 0, 0, 0])
        #expect(read(&chip, 0x03) == [0x03, 0])
        #expect(chip.answer(.getReport(id: 2, number: 0x7F)) == .reportRead(id: 2, error: 5, data: []))
        #expect(chip.answer(.setReport(id: 3, data: [0x7F, 0])) == .reportWritten(id: 3, error: 22))
        #expect(chip.answer(.setReport(id: 3, data: [0x04, 1])) == .reportWritten(id: 3, error: 22))
        #expect(chip.answer(.setReport(id: 3, data: [])) == .reportWritten(id: 3, error: 22))
        for event: UHIDEvent in [.start, .open, .close, .stop, .unknown] { #expect(chip.answer(event) == nil) }
    }

    @Test func itsOwnBusHasNoChip() {
        var chip = CP2112(lines: SimulatedLines())
        #expect(chip.answer(.output([0x10, 0x76 << 1, 0, 1])) == nil)
        #expect(chip.answer(.output([0x15, 1])) == .input([0x16, 3, 0, 0, 0, 0, 0]))
        #expect(chip.answer(.output([])) == nil)
    }

    @Test func inputsShowTheWorldAndOutputsTheProgram() {
        let changes = Mutex<[Bool]>([])
        let lines = SimulatedLines(high: [5]) { levels in changes.withLock { $0.append(levels.isHigh(5)) } }
        var chip = CP2112(lines: lines)
        #expect(read(&chip, 0x03) == [0x03, 0b0010_0000])
        lines.drive(2, high: true)
        #expect(read(&chip, 0x03) == [0x03, 0b0010_0100])
        // Line 5 becomes an output, which is low until it is set; line 2 cannot be set.
        #expect(
            chip.answer(.setReport(id: 1, data: [0x02, 0b0010_0000, 0xFF, 0, 0])) == .reportWritten(id: 1, error: 0))
        #expect(read(&chip, 0x02) == [0x02, 0b0010_0000, 0xFF, 0, 0])
        #expect(read(&chip, 0x03) == [0x03, 0b0000_0100])
        #expect(chip.answer(.setReport(id: 1, data: [0x04, 0xFF, 0b0010_0000])) == .reportWritten(id: 1, error: 0))
        #expect(read(&chip, 0x03) == [0x03, 0b0010_0100])
        _ = chip.answer(.setReport(id: 1, data: [0x04, 0x00, 0b0000_0100]))
        #expect(read(&chip, 0x03) == [0x03, 0b0010_0100])
        // The world does not win against an output.
        lines.drive(5, high: false)
        #expect(lines.lines[5] == .init(isOutput: true, isHigh: true, changes: 2))
        #expect(lines.lines[2] == .init(isOutput: false, isHigh: true, changes: 1))
        lines.drive(8, high: true)
        #expect(changes.withLock { $0 } == [true, false, true], "only changes of levels are told")
    }
}
