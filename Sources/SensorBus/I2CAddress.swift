/// A 7-bit address on an I2C bus, 0x08 to 0x77; the others are reserved (NXP UM10204, 3.1.12).
public struct I2CAddress: Sendable, Hashable, Comparable {
    /// The addresses that a chip may have.
    public static let valid: ClosedRange<UInt8> = 0x08...0x77

    /// The address as it stands in the datasheet, without the read/write bit.
    public let value: UInt8

    /// Checks an address that comes from outside, such as a configuration file.
    /// - Returns: nil if it is not 0x08 to 0x77.
    public init?(validating value: Int) {
        guard let byte = UInt8(exactly: value), I2CAddress.valid.contains(byte) else { return nil }
        self.value = byte
    }

    /// Orders by value.
    public static func < (left: I2CAddress, right: I2CAddress) -> Bool {
        left.value < right.value
    }
}

extension I2CAddress: ExpressibleByIntegerLiteral {
    /// An address written in the source; a reserved one is a mistake of the programmer and stops the program.
    public init(integerLiteral value: UInt8) {
        precondition(I2CAddress.valid.contains(value), "\(value) is not a 7-bit I2C address")
        self.value = value
    }
}

extension I2CAddress: CustomStringConvertible {
    /// As i2cdetect(8) and the datasheets write it, such as `0x76`.
    public var description: String {
        let digits = String(value, radix: 16)
        return digits.utf8.count < 2 ? "0x0\(digits)" : "0x\(digits)"
    }
}
