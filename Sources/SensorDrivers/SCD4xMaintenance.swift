import Readings

/// What a person does with the chip where it is mounted. Each of these stops the measurement, if there is one, and starts it
/// again. After an error the chip may be idle: open it again.
extension SCD4x {
    /// The settings that the chip works with.
    public struct StoredSettings: Sendable, Equatable {
        /// How much warmer the chip is than the air, degrees Celsius.
        public var temperatureOffset: Double
        /// Height above sea level, metres.
        public var altitude: Int
        /// Of the air; what overrides the altitude.
        public var ambientPressure: Pressure
        /// Whether it takes the lowest CO2 of a week for fresh air.
        public var automaticSelfCalibration: Bool
        /// The CO2 of fresh air for self-calibration.
        public var selfCalibrationTarget: Concentration
    }

    /// How long the chip must have measured in its mode before a forced recalibration (3.8.1).
    public static let settlingTime = Duration.seconds(180)

    /// Reads back the settings that are in force.
    public func readSettings() async throws(ChipError) -> StoredSettings {
        await mutex.lock()
        defer { mutex.unlock() }
        try await pause()
        func word(_ command: SCD4xCommand) async throws(ChipError) -> UInt16 {
            try await device.query(command, words: 1, whileMeasuring: false)[0]
        }
        let settings = StoredSettings(
            temperatureOffset: Double(try await word(.getTemperatureOffset)) * 175 / 65_535,
            altitude: Int(try await word(.getAltitude)),
            ambientPressure: Pressure(hectopascals: Double(try await word(.ambientPressure))),
            automaticSelfCalibration: try await word(.getAutomaticSelfCalibration) != 0,
            selfCalibrationTarget: Concentration(
                partsPerMillion: Double(try await word(.getSelfCalibrationTarget))))
        try await resume()
        return settings
    }

    /// Has the chip test itself, which takes 10 s (3.10.3).
    /// - Returns: 0 if it found nothing, else a code that only its maker can read.
    public func selfTest() async throws(ChipError) -> UInt16 {
        await mutex.lock()
        defer { mutex.unlock() }
        try await pause()
        let answer = try await device.query(.performSelfTest, words: 1, whileMeasuring: false)[0]
        try await resume()
        return answer
    }

    /// Tells the chip the true CO2 of the air around it, which it then takes for the air that it has measured (3.8.1).
    /// The correction lasts, also without power.
    /// - Parameter target: 400 to 5000 ppm, by a reference instrument or as fresh air has it.
    /// - Returns: by how much the values move, ppm; it may be negative.
    /// - Throws: `.invalidSetting`, and `.notAllowed` until it has measured for `settlingTime`, both before the bus is
    ///   touched; `.recalibrationFailed` if the chip says so; bus errors.
    public func forcedRecalibration(target: Concentration) async throws(ChipError) -> Int {
        let step = "\(SCD4xCommand.performForcedRecalibration)"
        guard let word = UInt16(exactly: target.partsPerMillion.rounded()), SCD4x.references.contains(Int(word)) else {
            throw device.error(.invalidSetting("reference \(target.partsPerMillion) ppm, 400 to 5000"), step)
        }
        await mutex.lock()
        defer { mutex.unlock() }
        guard measuringTime >= SCD4x.settlingTime else {
            throw device.error(
                .notAllowed(
                    "it has measured for \(measuringTime.components.seconds) s; at least"
                        + " \(SCD4x.settlingTime.components.seconds) s in steady air are needed"), step)
        }
        try await pause()
        let answer = try await device.query(.performForcedRecalibration, word, words: 1, whileMeasuring: false)[0]
        try await resume()
        guard answer != 0xFFFF else { throw device.error(.recalibrationFailed, step) }
        return Int(answer) - 0x8000
    }

    /// Stores the settings in force so that they outlast a power cut (3.10.1). The memory bears about 2000 writes, so
    /// this is for a person who asks for it: a driver's opening writes the settings anyway.
    public func persistSettings() async throws(ChipError) {
        try await perform(.persistSettings)
    }

    /// Makes all settings, and the history of recalibrations, those of the factory (3.10.4); then writes the driver's
    /// own again.
    public func factoryReset() async throws(ChipError) {
        try await perform(.performFactoryReset)
    }

    /// Makes the settings those that are stored (3.10.5); then writes the driver's own again.
    public func reinitialise() async throws(ChipError) {
        try await perform(.reinitialise)
    }

    private func perform(_ command: SCD4xCommand) async throws(ChipError) {
        await mutex.lock()
        defer { mutex.unlock() }
        try await pause()
        try await device.send(command, whileMeasuring: false)
        if command != .persistSettings { try await restoreSettings() }
        try await resume()
    }
}
