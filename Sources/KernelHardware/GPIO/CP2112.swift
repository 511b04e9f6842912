/// A CP2112, a USB bridge with eight GPIO lines, as a twin at the level of its HID reports (Silicon Labs AN495, and the kernel's
/// driver, drivers/hid/hid-cp2112.c). It waits for nothing and answers at once.
///
/// The real one is an I2C adapter too. This one is too, without a chip: every transfer on it is not acknowledged.
struct CP2112 {
    /// The lines.
    let lines: SimulatedLines
    /// Which outputs push and pull; the others only pull down. The twins make no difference.
    private var pushPull: UInt8 = 0

    /// EIO and EINVAL (errno(3)).
    private static let ioError: UInt16 = 5
    private static let invalid: UInt16 = 22

    private enum Report {
        static let configuration: UInt8 = 0x02
        static let levels: UInt8 = 0x03
        static let setLevels: UInt8 = 0x04
        static let version: UInt8 = 0x05
        static let busConfiguration: UInt8 = 0x06
        static let transferStatusRequest: UInt8 = 0x15
        static let transferStatus: UInt8 = 0x16
        static let lock: UInt8 = 0x20
    }

    /// What its reports look like (HID 1.11, 6.2.2): of the vendor, with those numbers that the kernel looks for.
    static let reportDescriptor: [UInt8] = [
        0x06, 0x00, 0xFF,  // Usage page of the vendor.
        0x09, 0x01, 0xA1, 0x01,  // Usage 1, a collection.
        0x15, 0x00, 0x26, 0xFF, 0x00, 0x75, 0x08,  // Bytes of 0 to 255.
        0x85, 0x13, 0x95, 0x3F, 0x09, 0x01, 0x81, 0x02,  // 0x13 to the host, 63 bytes.
        0x85, Report.transferStatus, 0x95, 0x06, 0x09, 0x01, 0x81, 0x02,
        0x85, 0x14, 0x95, 0x3F, 0x09, 0x01, 0x91, 0x02,  // 0x14 to the device.
        0xC0,
    ]

    /// Makes a chip on lines.
    init(lines: SimulatedLines) {
        self.lines = lines
    }

    /// What the device itself sends after something was said to it, or answers.
    mutating func answer(_ event: UHIDEvent) -> UHIDReply? {
        switch event {
        case .getReport(let id, let number):
            guard let data = report(number) else {
                return .reportRead(id: id, error: CP2112.ioError, data: [])
            }
            return .reportRead(id: id, error: 0, data: data)
        case .setReport(let id, let data):
            return .reportWritten(id: id, error: set(data) ? 0 : CP2112.invalid)
        case .output(let data):
            guard data.first == Report.transferStatusRequest else { return nil }
            // An error: the address was not acknowledged. No retries, no bytes.
            return .input([Report.transferStatus, 3, 0, 0, 0, 0, 0])
        case .start, .stop, .open, .close, .unknown:
            return nil
        }
    }

    private func report(_ number: UInt8) -> [UInt8]? {
        let state = lines.current
        switch number {
        case Report.configuration: return [number, state.outputs, pushPull, 0, 0]
        case Report.levels: return [number, state.levels]
        // Part 12, version 2.
        case Report.version: return [number, 0x0C, 0x02]
        // 100 kHz, the device's own address 1, no time-outs and no retries.
        case Report.busConfiguration: return [number, 0, 0x01, 0x86, 0xA0, 0x02, 0, 0, 0, 0, 0, 0, 0, 0]
        // Nothing may be programmed.
        case Report.lock: return [number, 0, 0]
        default: return nil
        }
    }

    private mutating func set(_ data: [UInt8]) -> Bool {
        switch (data.first, data.count) {
        case (Report.configuration, 3...):
            pushPull = data[2]
            lines.change { $0.outputs = data[1] }
        case (Report.setLevels, 3...):
            lines.change { $0.latch = $0.latch & ~data[2] | data[1] & data[2] }
        case (Report.busConfiguration, _): break
        default: return false
        }
        return true
    }
}
