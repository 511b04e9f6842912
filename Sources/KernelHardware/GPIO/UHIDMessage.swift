/// What the kernel tells a HID device of user space through /dev/uhid (linux/uhid.h, struct uhid_event): a number of
/// four bytes, then what belongs to it, packed and in the machine's byte order.
enum UHIDEvent: Equatable {
    case start, stop, open, close
    /// A report for the device, its number first.
    case output([UInt8])
    /// A report is wanted.
    case getReport(id: UInt32, number: UInt8)
    /// A report for the device, to be acknowledged, its number first.
    case setReport(id: UInt32, data: [UInt8])
    /// Something else, or not whole.
    case unknown

    /// The largest event, bytes.
    static let largest = 4376
    /// The most data of one report, UHID_DATA_MAX.
    static let mostData = 4096

    /// Reads an event.
    init(_ bytes: [UInt8]) {
        self = UHIDEvent.decode(bytes) ?? .unknown
    }

    private static func decode(_ bytes: [UInt8]) -> UHIDEvent? {
        guard let type = native(bytes, at: 0, as: UInt32.self) else { return nil }
        switch type {
        case 2: return .start
        case 3: return .stop
        case 4: return .open
        case 5: return .close
        case 6:
            guard let size = native(bytes, at: 4 + mostData, as: UInt16.self), size <= mostData else { return nil }
            return .output(Array(bytes[4..<4 + Int(size)]))
        case 9:
            guard let id = native(bytes, at: 4, as: UInt32.self), let number = native(bytes, at: 8, as: UInt8.self)
            else { return nil }
            return .getReport(id: id, number: number)
        case 13:
            guard let id = native(bytes, at: 4, as: UInt32.self), let size = native(bytes, at: 10, as: UInt16.self),
                size <= mostData, bytes.count >= 12 + Int(size)
            else { return nil }
            return .setReport(id: id, data: Array(bytes[12..<12 + Int(size)]))
        default: return nil
        }
    }
}

/// What the device tells the kernel.
enum UHIDReply: Equatable {
    /// UHID_CREATE2: here is a USB device of these numbers.
    case create(name: String, vendor: UInt32, product: UInt32, descriptor: [UInt8])
    /// UHID_INPUT2: a report, its number first.
    case input([UInt8])
    /// UHID_GET_REPORT_REPLY, with an error number or 0.
    case reportRead(id: UInt32, error: UInt16, data: [UInt8])
    /// UHID_SET_REPORT_REPLY, with an error number or 0.
    case reportWritten(id: UInt32, error: UInt16)

    private static let usb: UInt16 = 3

    /// As it is written to /dev/uhid.
    var bytes: [UInt8] {
        switch self {
        case .create(let name, let vendor, let product, let descriptor):
            let descriptor = descriptor.prefix(UHIDEvent.mostData)
            var bytes = native(UInt32(11)) + padded(name, 128) + padded("vigie-simbus", 64) + padded("", 64)
            bytes += native(UInt16(descriptor.count)) + native(UHIDReply.usb) + native(vendor) + native(product)
            return bytes + native(UInt32(0)) + native(UInt32(0)) + descriptor
        case .input(let data):
            let data = Array(data.prefix(UHIDEvent.mostData))
            return native(UInt32(12)) + native(UInt16(data.count)) + data
        case .reportRead(let id, let error, let data):
            let data = Array(data.prefix(UHIDEvent.mostData))
            return native(UInt32(10)) + native(id) + native(error) + native(UInt16(data.count)) + data
        case .reportWritten(let id, let error):
            return native(UInt32(14)) + native(id) + native(error)
        }
    }

    /// A text of a fixed length that ends with a zero.
    private func padded(_ text: String, _ length: Int) -> [UInt8] {
        let bytes = Array(text.utf8.prefix(length - 1))
        return bytes + [UInt8](repeating: 0, count: length - bytes.count)
    }
}

private func native<Number: FixedWidthInteger>(_ bytes: [UInt8], at offset: Int, as type: Number.Type) -> Number? {
    guard offset + MemoryLayout<Number>.size <= bytes.count else { return nil }
    return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
}

private func native<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number) { Array($0) }
}
