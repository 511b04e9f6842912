/// The calibration of one BME280 or BMP280 and the formulas that turn its raw values into physical ones
/// (BME280 datasheet BST-BME280-DS002, 4.2.2 and 4.2.3, the integer formulas).
///
/// Arithmetic is 64 bits wide, and checked where that may be too narrow: a damaged calibration gives an error, never
/// a trap.
struct BME280Calibration: Equatable {
    /// A calibration with which the formulas overflow or divide by zero.
    struct Unusable: Error, Equatable {}

    var t1: UInt16
    var t2: Int16
    var t3: Int16
    var p1: UInt16
    var p2: Int16
    var p3: Int16
    var p4: Int16
    var p5: Int16
    var p6: Int16
    var p7: Int16
    var p8: Int16
    var p9: Int16
    /// Nil on a BMP280.
    var humidity: Humidity?

    struct Humidity: Equatable {
        var h1: UInt8
        var h2: Int16
        var h3: UInt8
        /// 12 bits, signed.
        var h4: Int16
        /// 12 bits, signed.
        var h5: Int16
        var h6: Int8
    }

    /// Decodes the chip's registers (datasheet 4.2.2, table 16).
    /// - Parameters:
    ///   - first: 26 bytes from 0x88.
    ///   - second: 7 bytes from 0xE1; nil on a BMP280.
    init(first: [UInt8], second: [UInt8]?) {
        func unsigned(_ index: Int) -> UInt16 { UInt16(first[index]) | UInt16(first[index + 1]) << 8 }
        func signed(_ index: Int) -> Int16 { Int16(bitPattern: unsigned(index)) }
        t1 = unsigned(0)
        t2 = signed(2)
        t3 = signed(4)
        p1 = unsigned(6)
        p2 = signed(8)
        p3 = signed(10)
        p4 = signed(12)
        p5 = signed(14)
        p6 = signed(16)
        p7 = signed(18)
        p8 = signed(20)
        p9 = signed(22)
        humidity = second.map { second in
            Humidity(
                h1: first[25],
                h2: Int16(bitPattern: UInt16(second[0]) | UInt16(second[1]) << 8),
                h3: second[2],
                h4: Int16(Int8(bitPattern: second[3])) * 16 | Int16(second[4] & 0x0F),
                h5: Int16(Int8(bitPattern: second[5])) * 16 | Int16(second[4] >> 4),
                h6: Int8(bitPattern: second[6]))
        }
    }

    /// The fine temperature, which the other two formulas need.
    /// - Parameter raw: 20 bits.
    func fineTemperature(raw: Int) -> Int {
        // Within 36 bits for every raw value and calibration.
        let t1 = Int(self.t1)
        let v1 = (((raw >> 3) - t1 * 2) * Int(t2)) >> 11
        let difference = (raw >> 4) - t1
        let v2 = (((difference * difference) >> 12) * Int(t3)) >> 14
        return v1 + v2
    }

    /// Hundredths of a degree Celsius.
    func temperature(fine: Int) -> Int {
        (fine * 5 + 128) >> 8
    }

    /// 256ths of a pascal.
    /// - Parameter raw: 20 bits.
    func pressure(raw: Int, fine: Int) throws(Unusable) -> Int {
        let t = fine - 128_000
        let square = t * t
        let v2 = try square *! Int(p6) +! t *! Int(p5) *! (1 << 17) +! Int(p4) *! (1 << 35)
        let slope = try ((square *! Int(p3)) >> 8) +! t *! Int(p2) *! (1 << 12)
        let base = 1 << 47
        let v1 = try ((base +! slope) *! Int(p1)) >> 33
        guard v1 != 0 else { throw Unusable() }
        let distance = try (1_048_576 - raw) *! (1 << 31) -! v2
        // No overflow in the division: a product with 3125 is never the only number whose negative does not fit.
        let p = try (distance *! 3125) / v1
        let v3 = try (Int(p9) *! (p >> 13) *! (p >> 13)) >> 25
        let v4 = try (Int(p8) *! p) >> 19
        return try ((p +! v3 +! v4) >> 8) + Int(p7) * 16
    }

    /// 1024ths of a percent, 0 to 102400.
    /// - Parameter raw: 16 bits.
    func humidity(raw: Int, fine: Int, _ h: Humidity) throws(Unusable) -> Int {
        let t = fine - 76_800
        let input = ((raw << 14) - (Int(h.h4) << 20) - Int(h.h5) * t + 16_384) >> 15
        let curve = (((t * Int(h.h6)) >> 10) * (((t * Int(h.h3)) >> 11) + 32_768)) >> 10
        let gain = try ((curve + 2_097_152) *! Int(h.h2) +! 8192) >> 14
        let product = try input *! gain
        let root = product >> 15
        let correction = try (((root *! root) >> 7) *! Int(h.h1)) >> 4
        let value = try product -! correction
        return min(max(value, 0), 419_430_400) >> 12
    }
}

// Arithmetic that throws where Int's would trap.
infix operator *! : MultiplicationPrecedence
infix operator +! : AdditionPrecedence
infix operator -! : AdditionPrecedence

private func *! (left: Int, right: Int) throws(BME280Calibration.Unusable) -> Int {
    let (product, overflow) = left.multipliedReportingOverflow(by: right)
    guard !overflow else { throw BME280Calibration.Unusable() }
    return product
}

private func +! (left: Int, right: Int) throws(BME280Calibration.Unusable) -> Int {
    let (sum, overflow) = left.addingReportingOverflow(right)
    guard !overflow else { throw BME280Calibration.Unusable() }
    return sum
}

private func -! (left: Int, right: Int) throws(BME280Calibration.Unusable) -> Int {
    let (difference, overflow) = left.subtractingReportingOverflow(right)
    guard !overflow else { throw BME280Calibration.Unusable() }
    return difference
}
