import SensorBus

/// The USB device that the kernel's driver i2c-tiny-usb drives (drivers/i2c/busses/i2c-tiny-usb.c), with an I2C bus
/// behind it. It waits for nothing: it answers each transfer, or never.
struct TinyUSBDevice {
    /// The bus behind it.
    private let bus: any I2CBus
    private let product: String
    private var configuration: UInt8 = 0
    /// Whether the chip acknowledged the last message.
    private var status = Status.idle
    /// A message that is not the last of its transfer, until the one that follows: a register's number before the read
    /// of the register. The bus gets the two as one.
    private var held: (address: I2CAddress, bytes: [UInt8])?

    private enum Status: UInt8 {
        case idle, acknowledged, refused
    }

    /// What happened to a message on the bus.
    private enum Outcome {
        case acknowledged([UInt8])
        case refused
        /// The bus is stuck: there will be no answer, and the driver gives up after 2 s.
        case never
    }

    /// The vendor's requests.
    private enum Request {
        static let echo: UInt8 = 0
        static let functions: UInt8 = 1
        static let setDelay: UInt8 = 2
        static let status: UInt8 = 3
        /// Plus 1 for the first message of a transfer and 2 for the last.
        static let transfer: ClosedRange<UInt8> = 4...7
    }

    /// Of a message (linux/i2c.h).
    private enum MessageFlag {
        static let read: UInt16 = 0x0001
        static let tenBitAddress: UInt16 = 0x0010
    }

    /// Plain I2C, and the SMBus calls that the kernel makes of it (linux/i2c.h, I2C_FUNC_I2C, I2C_FUNC_SMBUS_EMUL
    /// without checksums).
    private static let functions: UInt32 = 0x0EFF_0001

    /// Makes a device.
    /// - Parameters:
    ///   - bus: the bus behind it.
    ///   - product: what lsusb(8) shows.
    init(bus: any I2CBus, product: String) {
        self.bus = bus
        self.product = product
    }

    /// Answers a transfer.
    /// - Parameter data: of a transfer to the device.
    /// - Returns: nil if it never answers.
    mutating func answer(_ transfer: USBIPRequest.Transfer, data: [UInt8]) -> USBIPReply? {
        let setup = transfer.setup
        let stall = USBIPReply.stall(number: transfer.number)
        // A transfer without data is one to the device, whatever the request says.
        guard transfer.endpoint == 0, transfer.length == 0 || transfer.isInput == setup.isInput,
            transfer.isInput || (data.count == transfer.length && data.count == Int(setup.length))
        else { return stall }
        let length = min(transfer.length, Int(setup.length))
        let answer: [UInt8]?
        switch setup.kind {
        case .standard: answer = standard(setup)
        case .vendor where Request.transfer.contains(setup.request):
            switch message(setup, data: data, count: length) {
            case .acknowledged(let bytes):
                status = .acknowledged
                answer = bytes
            case .refused:
                status = .refused
                // Nobody drives the line: it is high.
                answer = [UInt8](repeating: 0xFF, count: transfer.isInput ? length : 0)
            case .never: return nil
            }
        case .vendor: answer = vendor(setup)
        case .class, .reserved: answer = nil
        }
        guard let answer else { return stall }
        return transfer.isInput
            ? .input(number: transfer.number, data: Array(answer.prefix(length)))
            : .output(number: transfer.number, length: data.count)
    }

    private mutating func vendor(_ setup: USBSetup) -> [UInt8]? {
        switch setup.request {
        case Request.echo: littleEndian(setup.value)
        case Request.functions: littleEndian(TinyUSBDevice.functions)
        case Request.setDelay: []  // Half a clock, microseconds: twins have no clock.
        case Request.status: [status.rawValue]
        default: nil
        }
    }

    private mutating func message(_ setup: USBSetup, data: [UInt8], count: Int) -> Outcome {
        let isFirst = setup.request & 1 != 0
        let isLast = setup.request & 2 != 0
        let isRead = setup.value & MessageFlag.read != 0
        let before = held
        held = nil
        guard setup.value & MessageFlag.tenBitAddress == 0, let address = I2CAddress(validating: Int(setup.index))
        else { return .refused }
        // A read must also be one for USB, and a write too, unless it has no bytes.
        guard isRead == setup.isInput || setup.length == 0 else { return .refused }
        do throws(BusError) {
            if let before {
                if !isFirst, isRead, before.address == address {
                    return .acknowledged(try bus.write(before.bytes, thenRead: count, at: address))
                }
                try bus.write(before.bytes, to: before.address)
            }
            if isRead { return .acknowledged(try bus.read(count, from: address)) }
            if isLast { try bus.write(data, to: address) } else { held = (address, data) }
            return .acknowledged([])
        } catch {
            return error.kind == .timedOut ? .never : .refused
        }
    }

    /// The requests that every device knows (USB 2.0, 9.4).
    private mutating func standard(_ setup: USBSetup) -> [UInt8]? {
        switch (setup.requestType, setup.request) {
        case (0x80, 6): return descriptor(setup.value)
        case (0x80, 8): return [configuration]
        case (0x00, 9):
            guard setup.value <= 1 else { return nil }
            configuration = UInt8(setup.value)
            return []
        case (0x80, 0), (0x81, 0): return [0, 0]
        case (0x81, 10): return [0]
        case (0x01, 11): return setup.value == 0 ? [] : nil
        default: return nil
        }
    }

    /// A descriptor (USB 2.0, 9.6) by its type and index.
    private func descriptor(_ value: UInt16) -> [UInt8]? {
        switch (value >> 8, value & 0xFF) {
        case (1, 0):
            // USB 1.1, a vendor's class, packets of 8 bytes, 0403:c631 (i2c-tiny-usb), version 2.05.
            return [18, 1, 0x10, 0x01, 0xFF, 0, 0, 8, 0x03, 0x04, 0x31, 0xC6, 0x05, 0x02, 1, 2, 0, 1]
        case (2, 0):
            // One configuration, powered by the bus, with one interface that has no endpoint but the control one.
            return [9, 2, 18, 0, 1, 1, 0, 0x80, 50] + [9, 4, 0, 0, 0, 0xFF, 0, 0, 0]
        case (3, 0): return [4, 3, 0x09, 0x04]
        case (3, 1): return string("Vigie")
        case (3, 2): return string(product)
        default: return nil
        }
    }

    private func string(_ text: String) -> [UInt8] {
        let units = text.utf16.prefix(126).flatMap { littleEndian($0) }
        return [UInt8(units.count + 2), 3] + units
    }

    private func littleEndian<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
        (0..<Word.bitWidth / 8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
    }
}
