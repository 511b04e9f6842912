import Platform
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import KernelHardware

/// Bytes as the kernel sends them.
private func submit(
    _ number: UInt8, input: Bool, endpoint: UInt8 = 0, length: Int, setup: [UInt8], data: [UInt8] = []
) -> [UInt8] {
    let words: [UInt32] = [
        1, UInt32(number), 0x0001_0002, input ? 1 : 0, UInt32(endpoint), input ? 0x200 : 0,
        UInt32(truncatingIfNeeded: length), 0, 0xFFFF_FFFF, 0,
    ]
    return words.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } } + setup + data
}

private func unlink(_ number: UInt8, target: UInt8) -> [UInt8] {
    [0, 0, 0, 2, 0, 0, 0, number, 0, 1, 0, 2] + [UInt8](repeating: 0, count: 8) + [0, 0, 0, target]
        + [UInt8](repeating: 0, count: 24)
}

/// A message of an I2C transfer as i2c-tiny-usb sends it.
private func message(
    _ number: UInt8, first: Bool, last: Bool, write data: [UInt8], to address: UInt8
) -> [UInt8] {
    let request = 4 + (first ? 1 : 0) + (last ? 2 : 0) as UInt8
    // The kernel says by 0x0200 that the buffer suits direct memory access.
    return submit(
        number, input: false, length: data.count,
        setup: [0x41, request, 0x00, 0x02, address, 0, UInt8(data.count), 0], data: data)
}

private func message(_ number: UInt8, first: Bool, last: Bool, read count: Int, from address: UInt8) -> [UInt8] {
    let request = 4 + (first ? 1 : 0) + (last ? 2 : 0) as UInt8
    return submit(
        number, input: true, length: count,
        setup: [0xC1, request, 0x01, 0x02, address, 0, UInt8(count), 0])
}

private func status(_ number: UInt8) -> [UInt8] {
    submit(number, input: true, length: 1, setup: [0xC1, 3, 0, 0, 0, 0, 1, 0])
}

/// USBIP_RET_SUBMIT.
private func reply(_ number: UInt8, length: Int? = nil, _ data: [UInt8] = []) -> [UInt8] {
    [0, 0, 0, 3, 0, 0, 0, number] + [UInt8](repeating: 0, count: 16)
        + [0, 0, 0, UInt8(length ?? data.count)] + [UInt8](repeating: 0, count: 20) + data
}

/// The same with EPIPE.
private func stall(_ number: UInt8) -> [UInt8] {
    [0, 0, 0, 3, 0, 0, 0, number] + [UInt8](repeating: 0, count: 12) + [0xFF, 0xFF, 0xFF, 0xE0]
        + [UInt8](repeating: 0, count: 24)
}

private func unlinked(_ number: UInt8, wasPending: Bool) -> [UInt8] {
    [0, 0, 0, 4, 0, 0, 0, number] + [UInt8](repeating: 0, count: 12)
        + (wasPending ? [0xFF, 0xFF, 0xFF, 0x98] : [0, 0, 0, 0]) + [UInt8](repeating: 0, count: 24)
}

@Suite struct USBIPTests {
    private func connection(_ bus: any I2CBus = PlaybackBus([])) -> TinyUSBConnection {
        TinyUSBConnection(TinyUSBDevice(bus: bus, product: "bus"))
    }

    @Test func headersAreReadToTheByte() throws {
        let bytes = submit(7, input: true, length: 18, setup: [0x80, 6, 0x02, 0x01, 0x09, 0x04, 18, 0])
        #expect(
            try USBIPRequest(header: bytes)
                == .submit(
                    .init(
                        number: 7, isInput: true, endpoint: 0, length: 18,
                        setup: USBSetup([0x80, 6, 0x02, 0x01, 0x09, 0x04, 18, 0]))))
        let setup = USBSetup([0x80, 6, 0x02, 0x01, 0x09, 0x04, 18, 0])
        #expect(setup.value == 0x0102 && setup.index == 0x0409 && setup.length == 18 && setup.isInput)
        #expect(setup.kind == .standard)
        #expect(try USBIPRequest(header: unlink(9, target: 7)) == .unlink(number: 9, target: 7))
    }

    @Test func aStreamThatMakesNoSenseIsRefused() {
        func error(_ header: [UInt8]) -> USBIPProtocolError? {
            do throws(USBIPProtocolError) {
                _ = try USBIPRequest(header: header)
                return nil
            } catch {
                return error
            }
        }
        let setup = [UInt8](repeating: 0, count: 8)
        let sound = submit(1, input: true, length: 1, setup: setup)
        #expect(error(Array(sound.dropLast())) == .shortHeader(47))
        #expect(error([]) == .shortHeader(0))
        #expect(error(submit(1, input: true, length: -1, setup: setup)) == .length(-1))
        #expect(error(submit(1, input: true, length: 65_536, setup: setup)) == .length(65_536))
        var other = sound
        other[3] = 5
        #expect(error(other) == .command(5))
        other = sound
        other[15] = 2
        #expect(error(other) == .direction(2))
    }

    @Test func theKernelFindsAnI2CTinyUSB() throws {
        var connection = connection()
        // Device, configuration, product; the last longer than asked for.
        let device: [UInt8] = [18, 1, 0x10, 0x01, 0xFF, 0, 0, 8, 0x03, 0x04, 0x31, 0xC6, 0x05, 0x02, 1, 2, 0, 1]
        #expect(
            try connection.receive(submit(1, input: true, length: 64, setup: [0x80, 6, 0, 1, 0, 0, 64, 0]))
                == reply(1, device))
        #expect(
            try connection.receive(submit(2, input: true, length: 9, setup: [0x80, 6, 0, 2, 0, 0, 9, 0]))
                == reply(2, [9, 2, 18, 0, 1, 1, 0, 0x80, 50]))
        #expect(
            try connection.receive(submit(3, input: true, length: 255, setup: [0x80, 6, 2, 3, 9, 4, 255, 0]))
                == reply(3, [8, 3, 0x62, 0, 0x75, 0, 0x73, 0]))
        // It has neither a qualifier nor a second configuration.
        #expect(
            try connection.receive(submit(4, input: true, length: 10, setup: [0x80, 6, 0, 6, 0, 0, 10, 0])) == stall(4))
        #expect(
            try connection.receive(submit(5, input: false, length: 0, setup: [0, 9, 1, 0, 0, 0, 0, 0])) == reply(5))
        #expect(
            try connection.receive(submit(6, input: true, length: 1, setup: [0x80, 8, 0, 0, 0, 0, 1, 0]))
                == reply(6, [1]))
        #expect(
            try connection.receive(submit(7, input: false, length: 0, setup: [0, 9, 2, 0, 0, 0, 0, 0])) == stall(7))
        // Echo, functions, delay.
        #expect(
            try connection.receive(submit(8, input: true, length: 2, setup: [0xC1, 0, 0x34, 0x12, 0, 0, 2, 0]))
                == reply(8, [0x34, 0x12]))
        #expect(
            try connection.receive(submit(9, input: true, length: 4, setup: [0xC1, 1, 0, 0, 0, 0, 4, 0]))
                == reply(9, [0x01, 0x00, 0xFF, 0x0E]))
        #expect(
            try connection.receive(submit(10, input: false, length: 0, setup: [0x41, 2, 10, 0, 0, 0, 0, 0]))
                == reply(10))
        #expect(try connection.receive(status(11)) == reply(11, [0]))
    }

    @Test func whatTheDeviceDoesNotKnowStalls() throws {
        let bus = PlaybackBus([])
        var connection = connection(bus)
        let inputs: [[UInt8]] = [
            // An unknown vendor's request, one of a class, an endpoint that there is not.
            submit(1, input: true, length: 1, setup: [0xC1, 8, 0, 0, 0, 0, 1, 0]),
            submit(1, input: true, length: 1, setup: [0xA1, 1, 0, 0, 0, 0, 1, 0]),
            submit(1, input: true, endpoint: 1, length: 1, setup: [0xC1, 3, 0, 0, 0, 0, 1, 0]),
            // USB/IP and USB, or USB/IP and the setup, say different directions or lengths.
            submit(1, input: true, length: 1, setup: [0x41, 7, 0, 0, 0x76, 0, 1, 0]),
            submit(1, input: false, length: 1, setup: [0xC1, 7, 1, 0, 0x76, 0, 1, 0], data: [0]),
            submit(1, input: false, length: 2, setup: [0x41, 7, 0, 0, 0x76, 0, 1, 0], data: [0, 0]),
            submit(1, input: false, length: 1, setup: [0x41, 7, 0, 0, 0x76, 0, 2, 0], data: [0]),
            // A standard request that is not for this device.
            submit(1, input: false, length: 0, setup: [0x00, 0xFF, 0, 0, 0, 0, 0, 0]),
        ]
        for input in inputs { #expect(try connection.receive(input) == stall(1), "\(input)") }
        try bus.finish()
    }

    @Test func messagesThatCannotBeAreRefusedWithoutTheBus() throws {
        let bus = PlaybackBus([])
        var connection = connection(bus)
        let inputs: [[UInt8]] = [
            // Reserved addresses, one of 10 bits, a read that USB says is a write.
            message(1, first: true, last: true, write: [], to: 0x03),
            message(1, first: true, last: true, write: [], to: 0x78),
            submit(1, input: false, length: 0, setup: [0x41, 7, 0x10, 0, 0x76, 0, 0, 0]),
            submit(1, input: false, length: 0, setup: [0x41, 7, 0, 0, 0x76, 1, 0, 0]),
            submit(1, input: false, length: 1, setup: [0x41, 7, 1, 0, 0x76, 0, 1, 0], data: [0]),
        ]
        for input in inputs {
            _ = try connection.receive(input)
            #expect(try connection.receive(status(2)) == reply(2, [2]), "\(input)")
        }
        try bus.finish()
    }

    @Test func aRegisterReadIsOneTransferAndPlainTransfersAreTwo() throws {
        let bus = PlaybackBus([
            .write([0xD0], thenRead: [0x60, 0x61], at: 0x76),
            .write([0xF4, 0x25], to: 0x76), .read([1, 2, 3], from: 0x76),
        ])
        var connection = connection(bus)
        // As the kernel does it: each message, and then whether it was acknowledged.
        #expect(
            try connection.receive(message(1, first: true, last: false, write: [0xD0], to: 0x76)) == reply(1, length: 1)
        )
        #expect(try connection.receive(status(2)) == reply(2, [1]))
        #expect(
            try connection.receive(message(3, first: false, last: true, read: 2, from: 0x76)) == reply(3, [0x60, 0x61]))
        #expect(try connection.receive(status(4)) == reply(4, [1]))

        #expect(
            try connection.receive(message(5, first: true, last: true, write: [0xF4, 0x25], to: 0x76))
                == reply(5, length: 2))
        #expect(try connection.receive(status(6)) == reply(6, [1]))
        #expect(
            try connection.receive(message(7, first: true, last: true, read: 3, from: 0x76)) == reply(7, [1, 2, 3]))
        #expect(try connection.receive(status(8)) == reply(8, [1]))
        try bus.finish()
    }

    @Test func aHeldWriteHappensAlsoWhenNoReadFollows() throws {
        let bus = PlaybackBus([
            // Followed by a message to another chip, by another write, and by a new transfer.
            .write([1], to: 0x76), .read([9], from: 0x77),
            .write([2], to: 0x76), .write([3], to: 0x76),
            .write([4], to: 0x76), .read([8], from: 0x76),
        ])
        var connection = connection(bus)
        for (index, bytes) in [
            message(1, first: true, last: false, write: [1], to: 0x76),
            message(2, first: false, last: true, read: 1, from: 0x77),
            message(3, first: true, last: false, write: [2], to: 0x76),
            message(4, first: false, last: true, write: [3], to: 0x76),
            message(5, first: true, last: false, write: [4], to: 0x76),
            message(6, first: true, last: true, read: 1, from: 0x76),
        ].enumerated() {
            let answer = try connection.receive(bytes)
            #expect(answer.prefix(24) == reply(UInt8(index + 1))[..<24])
        }
        try bus.finish()
    }

    @Test func aRefusalReachesTheKernel() throws {
        let bus = PlaybackBus([
            .write([], to: 0x10).failing(.notAcknowledged),
            .read([0, 0], from: 0x62).failing(.notAcknowledged),
            .write([0xD0], thenRead: [0], at: 0x76).failing(.notAcknowledged),
            .read([], from: 0x10),
        ])
        var connection = connection(bus)
        #expect(try connection.receive(message(1, first: true, last: true, write: [], to: 0x10)) == reply(1))
        #expect(try connection.receive(status(2)) == reply(2, [2]))
        // The kernel takes only a read of full length for one that went well, and then asks.
        #expect(
            try connection.receive(message(3, first: true, last: true, read: 2, from: 0x62)) == reply(3, [0xFF, 0xFF]))
        #expect(try connection.receive(status(4)) == reply(4, [2]))
        _ = try connection.receive(message(5, first: true, last: false, write: [0xD0], to: 0x76))
        #expect(try connection.receive(message(6, first: false, last: true, read: 1, from: 0x76)) == reply(6, [0xFF]))
        #expect(try connection.receive(status(7)) == reply(7, [2]))
        // A read of nothing, as i2cdetect -r may make it.
        #expect(try connection.receive(message(8, first: true, last: true, read: 0, from: 0x10)) == reply(8))
        #expect(try connection.receive(status(9)) == reply(9, [1]))
        try bus.finish()
    }

    @Test func aStuckBusAnswersOnlyThatTheTransferIsTakenBack() throws {
        let bus = PlaybackBus([.write([1], to: 0x76).failing(.timedOut), .write([2], to: 0x76)])
        var connection = connection(bus)
        #expect(try connection.receive(message(1, first: true, last: true, write: [1], to: 0x76)) == [])
        #expect(try connection.receive(unlink(2, target: 1)) == unlinked(2, wasPending: true))
        #expect(
            try connection.receive(message(3, first: true, last: true, write: [2], to: 0x76)) == reply(3, length: 1))
        // Taken back too late, twice, and without ever having been there.
        #expect(try connection.receive(unlink(4, target: 3)) == unlinked(4, wasPending: false))
        #expect(try connection.receive(unlink(5, target: 1)) == unlinked(5, wasPending: false))
        #expect(try connection.receive(unlink(6, target: 200)) == unlinked(6, wasPending: false))
        try bus.finish()
    }

    @Test func theStreamMayComeInAnyPieces() throws {
        let stream =
            message(1, first: true, last: true, write: [0xF4, 0x25], to: 0x76) + status(2)
            + message(3, first: true, last: false, write: [0xD0], to: 0x76)
            + message(4, first: false, last: true, read: 1, from: 0x76)
        let expected = reply(1, length: 2) + reply(2, [1]) + reply(3, length: 1) + reply(4, [0x60])
        for size in 1...stream.count {
            let bus = PlaybackBus([.write([0xF4, 0x25], to: 0x76), .write([0xD0], thenRead: [0x60], at: 0x76)])
            var connection = connection(bus)
            var answers: [UInt8] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                answers += try connection.receive(stream[start..<min(start + size, stream.count)])
            }
            #expect(answers == expected, "in pieces of \(size)")
            try bus.finish()
        }
    }

    /// Random headers, most of them nearly right, never stop the program, and each that is taken gets one answer.
    @Test func randomRequestsAreAnsweredOrRefused() throws {
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: ImmediateClock())
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedBME280(world: world), at: 0x76)
        var connection = connection(bus)
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        var taken = 0
        for _ in 0..<20_000 {
            let length = Int.random(in: 0...40, using: &random)
            let isInput = Bool.random(using: &random)
            var bytes = submit(
                UInt8.random(in: 0...255, using: &random), input: isInput,
                endpoint: Int.random(in: 0..<8, using: &random) == 0 ? 1 : 0, length: length,
                setup: [
                    UInt8.random(in: 0...255, using: &random), UInt8.random(in: 0...9, using: &random),
                    UInt8.random(in: 0...3, using: &random), 0, Bool.random(using: &random) ? 0x76 : 0x10, 0,
                    UInt8(length), 0,
                ], data: isInput ? [] : (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) })
            if Int.random(in: 0..<50, using: &random) == 0 {
                bytes[Int.random(in: 0..<48, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            do throws(USBIPProtocolError) {
                let answer = try connection.receive(bytes)
                if answer.count >= 48 { taken += 1 }
            } catch {
                connection = self.connection(bus)
            }
        }
        #expect(taken > 10_000, "seed \(seed)")
    }
}

@Suite struct VirtualPortTests {
    @Test func theStatusFileIsRead() {
        let text = """
            hub port sta spd dev      sockfd local_busid
            hs  0000 006 002 00010002 000005 1-1
            hs  0001 004 000 00000000 000000 0-0
            hs  0002 005 000 00000000 000000 0-0
            ss  0008 004 000 00000000 000000 0-0

            """
        #expect(
            VirtualPort.all(in: text) == [
                VirtualPort(number: 0, isFree: false, device: "1-1"), VirtualPort(number: 1, isFree: true, device: nil),
                VirtualPort(number: 2, isFree: false, device: nil),
            ])
        #expect(VirtualPort.all(in: "") == [])
        #expect(VirtualPort.all(in: "hs x y\nhs 1 2 3 4 5 6 7\nhs 0 z 0 0 0 1-1\n") == [])
    }
}
