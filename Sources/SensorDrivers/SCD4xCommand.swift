/// The commands of SCD40, SCD41 and SCD43 (SCD4x datasheet 3.5, table 9): code, execution time, and whether the chip
/// takes them while it measures periodically.
enum SCD4xCommand: UInt16, SensirionCommand, CaseIterable {
    case startPeriodicMeasurement = 0x21B1
    case readMeasurement = 0xEC05
    case stopPeriodicMeasurement = 0x3F86
    case setTemperatureOffset = 0x241D
    case getTemperatureOffset = 0x2318
    case setAltitude = 0x2427
    case getAltitude = 0x2322
    case ambientPressure = 0xE000
    case performForcedRecalibration = 0x362F
    case setAutomaticSelfCalibration = 0x2416
    case getAutomaticSelfCalibration = 0x2313
    case setSelfCalibrationTarget = 0x243A
    case getSelfCalibrationTarget = 0x233F
    case startLowPowerPeriodicMeasurement = 0x21AC
    case getDataReadyStatus = 0xE4B8
    case persistSettings = 0x3615
    case getSerialNumber = 0x3682
    case performSelfTest = 0x3639
    case performFactoryReset = 0x3632
    case reinitialise = 0x3646
    case getSensorVariant = 0x202F
    case measureSingleShot = 0x219D
    case measureSingleShotWithoutCO2 = 0x2196
    case powerDown = 0x36E0
    case wakeUp = 0x36F6

    var code: [UInt8] { [UInt8(rawValue >> 8), UInt8(rawValue & 0xFF)] }

    var executionTime: Duration {
        switch self {
        case .startPeriodicMeasurement, .startLowPowerPeriodicMeasurement: .zero
        case .stopPeriodicMeasurement: .milliseconds(500)
        case .performForcedRecalibration: .milliseconds(400)
        case .persistSettings: .milliseconds(800)
        case .performSelfTest: .seconds(10)
        case .performFactoryReset: .milliseconds(1200)
        case .reinitialise, .wakeUp: .milliseconds(30)
        case .measureSingleShot: .seconds(5)
        case .measureSingleShotWithoutCO2: .milliseconds(50)
        default: .milliseconds(1)
        }
    }

    /// Whether the chip takes it during periodic measurement.
    var isAllowedWhileMeasuring: Bool {
        switch self {
        case .readMeasurement, .stopPeriodicMeasurement, .ambientPressure, .getDataReadyStatus: true
        default: false
        }
    }

    /// Whether its answer can be had again. A measurement is gone from the chip once it was read (3.6.2); a
    /// recalibration or a self test is not to happen twice because of a damaged answer.
    var isRepeatable: Bool {
        switch self {
        case .readMeasurement, .performForcedRecalibration, .performSelfTest: false
        default: true
        }
    }
}

extension I2CDevice {
    /// Sends a command, with a word if it takes one, and waits for its execution time.
    /// - Throws: `.notAllowed`, before the bus is touched, if the chip would refuse it in its present state.
    func send(
        _ command: SCD4xCommand, _ word: UInt16? = nil, whileMeasuring: Bool,
        isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) {
        try check(command, whileMeasuring: whileMeasuring)
        try await send(command, word)
    }

    /// Sends a command, with a word if it takes one, and, after its execution time, reads its answer in a transfer of
    /// its own (3.4).
    func query(
        _ command: SCD4xCommand, _ word: UInt16? = nil, words: Int, whileMeasuring: Bool,
        isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) -> [UInt16] {
        try check(command, whileMeasuring: whileMeasuring)
        return try await query(command, word, words: words, isRepeatable: command.isRepeatable)
    }

    private func check(_ command: SCD4xCommand, whileMeasuring: Bool) throws(ChipError) {
        guard !whileMeasuring || command.isAllowedWhileMeasuring else {
            throw error(.notAllowed("the chip is measuring; stop it first"), "\(command)")
        }
    }
}
