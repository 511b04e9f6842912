/// What the kernel's virtual host controller asks of a device over USB/IP (Documentation/usb/usbip_protocol.rst): a
/// header of 48 bytes, all numbers big-endian, then the data of a transfer to the device.
enum USBIPRequest: Equatable {
    /// A transfer.
    struct Transfer: Equatable {
        /// What the answer names.
        var number: UInt32
        /// Whether data goes to the host.
        var isInput: Bool
        /// 0 is the control endpoint.
        var endpoint: UInt32
        /// The data, bytes.
        var length: Int
        /// Of a transfer on the control endpoint.
        var setup: USBSetup
    }

    /// USBIP_CMD_SUBMIT.
    case submit(Transfer)
    /// USBIP_CMD_UNLINK: take back the transfer `target`.
    case unlink(number: UInt32, target: UInt32)

    /// Bytes.
    static let headerLength = 48
    /// A control transfer says its length in 16 bits, and there are no others.
    static let longestTransfer = 65_535

    /// Reads a header.
    /// - Throws: if the stream makes no sense; where the next header begins is then unknown.
    init(header: [UInt8]) throws(USBIPProtocolError) {
        guard header.count == USBIPRequest.headerLength else { throw .shortHeader(header.count) }
        func word(_ index: Int) -> UInt32 {
            header[index * 4..<index * 4 + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
        let number = word(1)
        switch word(0) {
        case 1:
            guard let length = Int(exactly: Int32(bitPattern: word(6))),
                (0...USBIPRequest.longestTransfer).contains(length)
            else { throw .length(Int32(bitPattern: word(6))) }
            guard word(3) <= 1 else { throw .direction(word(3)) }
            self = .submit(
                Transfer(
                    number: number, isInput: word(3) == 1, endpoint: word(4), length: length,
                    setup: USBSetup(header[40..<48])))
        case 2:
            self = .unlink(number: number, target: word(5))
        default:
            throw .command(word(0))
        }
    }
}

/// A stream that is not USB/IP as the kernel speaks it.
enum USBIPProtocolError: Error, Equatable, CustomStringConvertible {
    /// A header with so many bytes.
    case shortHeader(Int)
    /// An unknown command.
    case command(UInt32)
    /// Neither to the host nor to the device.
    case direction(UInt32)
    /// A transfer with an impossible length.
    case length(Int32)

    /// One line for a person.
    var description: String {
        switch self {
        case .shortHeader(let count): "USB/IP: a header of \(count) bytes, 48 expected"
        case .command(let command): "USB/IP: unknown command \(command)"
        case .direction(let direction): "USB/IP: unknown direction \(direction)"
        case .length(let length): "USB/IP: a transfer of \(length) bytes, 0 to 65535 expected"
        }
    }
}

/// The first stage of a control transfer (USB 2.0, 9.3, table 9-2).
struct USBSetup: Equatable {
    /// bmRequestType.
    var requestType: UInt8
    /// bRequest.
    var request: UInt8
    /// wValue.
    var value: UInt16
    /// wIndex.
    var index: UInt16
    /// wLength.
    var length: UInt16

    /// Reads eight bytes; the words are little-endian.
    init(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes) + [UInt8](repeating: 0, count: max(0, 8 - bytes.count))
        func word(_ index: Int) -> UInt16 { UInt16(bytes[index]) | UInt16(bytes[index + 1]) << 8 }
        requestType = bytes[0]
        request = bytes[1]
        value = word(2)
        index = word(4)
        length = word(6)
    }

    /// Whether the data goes to the host.
    var isInput: Bool { requestType & 0x80 != 0 }

    /// Who defines the request.
    enum Kind: UInt8 { case standard, `class`, vendor, reserved }

    /// Bits 6 and 5 of bmRequestType.
    var kind: Kind { Kind(rawValue: requestType >> 5 & 0b11) ?? .reserved }
}

/// What a device answers.
enum USBIPReply: Equatable {
    /// USBIP_RET_SUBMIT for a transfer to the host that went well, with its data.
    case input(number: UInt32, data: [UInt8])
    /// USBIP_RET_SUBMIT for a transfer to the device that took `length` bytes.
    case output(number: UInt32, length: Int)
    /// USBIP_RET_SUBMIT for a request that the device does not know: it stalls (EPIPE).
    case stall(number: UInt32)
    /// USBIP_RET_UNLINK; `wasPending` if the transfer had not been answered and never will be.
    case unlinked(number: UInt32, wasPending: Bool)

    /// The answer as it is sent. Errors are negative error numbers (errno(3)).
    var bytes: [UInt8] {
        switch self {
        case .input(let number, let data): header(3, number, status: 0, length: data.count) + data
        case .output(let number, let length): header(3, number, status: 0, length: length)
        case .stall(let number): header(3, number, status: -32, length: 0)
        case .unlinked(let number, let wasPending): header(4, number, status: wasPending ? -104 : 0, length: 0)
        }
    }

    private func header(_ command: UInt32, _ number: UInt32, status: Int32, length: Int) -> [UInt8] {
        let words = [command, number, 0, 0, 0, UInt32(bitPattern: status), UInt32(clamping: length)]
        let filled = words + [UInt32](repeating: 0, count: USBIPRequest.headerLength / 4 - words.count)
        return filled.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
    }
}
