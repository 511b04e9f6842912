import SensorBus
import SimulatedHardware
import TestSupport

@testable import SensorDrivers

/// The chip's registers and transfers, as the datasheet's memory map and register descriptions have them.
enum BME280Transcript {
    static let address: I2CAddress = 0x76
    static let first: [UInt8] = [
        0x10, 0x6E, 0x6C, 0x66, 0x32, 0x00, 0x5D, 0x95, 0xB8, 0xD5, 0xD0, 0x0B, 0x77, 0x1E, 0x9D, 0xFF, 0xF9, 0xFF,
        0xAC, 0x26, 0x0A, 0xD8, 0xBD, 0x10, 0x00, 0x4B,
    ]
    static let second: [UInt8] = [0x6E, 0x01, 0x00, 0x13, 0x05, 0x00, 0x1E]
    static let data: [UInt8] = [0x4A, 0x52, 0xC0, 0x80, 0x96, 0xC0, 0x7A, 0x76]

    static func opening(id: UInt8 = 0x60, first: [UInt8] = first, second: [UInt8]? = second) -> [PlaybackBus.Exchange] {
        var transfers: [PlaybackBus.Exchange] = [
            .write([0xD0], thenRead: [id], at: address),
            .write([0xE0, 0xB6], to: address),
            .write([0xF3], thenRead: [0x00], at: address),
            .write([0x88], thenRead: first, at: address),
        ]
        if let second { transfers.append(.write([0xE1], thenRead: second, at: address)) }
        transfers.append(.write([0xF4, 0x00], to: address))
        if second != nil { transfers.append(.write([0xF2, 0x01], to: address)) }
        transfers.append(.write([0xF5, 0x00], to: address))
        transfers.append(.write([0xF4, 0x24], to: address))
        return transfers
    }

    static func measuring(_ data: [UInt8]) -> [PlaybackBus.Exchange] {
        // Eight bytes are a BME280's, six a BMP280's.
        (data.count == 8 ? [.write([0xF2, 0x01], to: address)] : []) + [
            .write([0xF4, 0x25], to: address),
            .write([0xF3], thenRead: [0x00], at: address),
            .write([0xF7], thenRead: data, at: address),
        ]
    }

    /// Raw values as the data registers hold them.
    static func data(pressure: Int, temperature: Int, humidity: Int? = nil) -> [UInt8] {
        func twentyBits(_ raw: Int) -> [UInt8] {
            [UInt8(raw >> 12), UInt8(raw >> 4 & 0xFF), UInt8(raw & 0xF) << 4]
        }
        return twentyBits(pressure) + twentyBits(temperature)
            + (humidity.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } ?? [])
    }

    static func open(_ bus: PlaybackBus, settings: BME280.Settings = .init()) async throws -> BME280 {
        try await BME280.open(bus: bus, address: address, settings: settings, clock: ImmediateClock())
    }
}

/// A calibration written as the datasheet's coefficients, and the registers that hold it.
struct Coefficients: CustomStringConvertible {
    /// T1 to T3.
    var t: [Int]
    /// P1 to P9.
    var p: [Int]
    /// H1 to H6; empty on a BMP280.
    var h: [Int] = []

    var description: String { "T \(t) P \(p) H \(h)" }

    var first: [UInt8] {
        let words = (t + p).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        return words + [0, h.isEmpty ? 0 : UInt8(h[0])]
    }

    var second: [UInt8]? {
        guard h.count == 6 else { return nil }
        let bytes = [h[1], h[1] >> 8, h[2], h[3] >> 4, h[3] & 0x0F | (h[4] & 0x0F) << 4, h[4] >> 4, h[5]]
        return bytes.map { UInt8(truncatingIfNeeded: $0) }
    }

    var calibration: BME280Calibration { BME280Calibration(first: first, second: second) }
}
