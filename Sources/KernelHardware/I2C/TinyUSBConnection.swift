import SensorBus

/// The device's end of a USB/IP connection: bytes in, bytes out.
struct TinyUSBConnection {
    private var device: TinyUSBDevice
    private var input: [UInt8] = []
    /// Transfers that have no answer.
    private var pending: Set<UInt32> = []

    init(_ device: TinyUSBDevice) {
        self.device = device
    }

    /// Takes what the host sent, in pieces of any size.
    /// - Returns: what to send to it.
    /// - Throws: if the stream makes no sense; the connection is then of no more use.
    mutating func receive(_ bytes: some Collection<UInt8>) throws(USBIPProtocolError) -> [UInt8] {
        input += bytes
        var output: [UInt8] = []
        var start = 0
        while input.count - start >= USBIPRequest.headerLength {
            let body = start + USBIPRequest.headerLength
            switch try USBIPRequest(header: Array(input[start..<body])) {
            case .submit(let transfer):
                let end = body + (transfer.isInput ? 0 : transfer.length)
                guard input.count >= end else {
                    input.removeFirst(start)
                    return output
                }
                if let reply = device.answer(transfer, data: Array(input[body..<end])) {
                    output += reply.bytes
                } else {
                    pending.insert(transfer.number)
                }
                start = end
            case .unlink(let number, let target):
                let wasPending = pending.remove(target) != nil
                output += USBIPReply.unlinked(number: number, wasPending: wasPending).bytes
                start = body
            }
        }
        input.removeFirst(start)
        return output
    }
}
