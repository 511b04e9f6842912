import SensorBus

extension ChipPart {
    /// Without single shots.
    public static let scd40 = ChipPart("SCD40")
    /// With single shots.
    public static let scd41 = ChipPart("SCD41")
    /// An SCD41 of narrower tolerance.
    public static let scd43 = ChipPart("SCD43")
    /// One of the three that did not say which.
    public static let scd4x = ChipPart("SCD4x")
}

extension SCD4x {
    /// SCD40, SCD41, SCD43: the serial number and the variant, which it refuses while it measures; then the data ready
    /// status, which it does not (SCD4x datasheet 3.9.2, 3.10.2).
    public static let probe = Probe(
        "SCD4x", writes: 2, addresses: [SCD4x.address]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        if let finding = try await identifyAtRest(scan, address, &evidence) { return finding }
        guard case .words(let ready) = try await scan.query([0xE4, 0xB8], words: 1, address) else { return nil }
        let answer = Finding.Evidence(
            "command 0xE4B8", hexadecimal(ready[0], digits: 4), "data ready status, checksum right")
        if scan.mayStopMeasurements, try scan.transfer([0x3F, 0x86], 0, address) != nil {
            try await scan.wait(SCD4xCommand.stopPeriodicMeasurement.executionTime)
            if var finding = try await identifyAtRest(scan, address, &evidence) {
                finding.note = "it was measuring, and was stopped"
                return finding
            }
        }
        return Finding(
            address, .scd4x, .likely, [answer],
            note: "it is measuring, and says its serial number and variant only when stopped (--stop-measurement)")
    }

    private static func identifyAtRest(
        _ scan: isolated Identification, _ address: I2CAddress, _ evidence: inout [Finding.Evidence]
    ) async throws(BusInventory.Trouble) -> Finding? {
        let words: [UInt16]
        switch try await scan.query([0x36, 0x82], words: 3, address) {
        case .words(let answer): words = answer
        case .garbled(let bytes):
            evidence.append(Finding.Evidence.garbled("command 0x3682", bytes))
            return nil
        case .silence: return nil
        }
        var answers = [
            Finding.Evidence("command 0x3682", Finding.Evidence.serial(words), "serial number, checksums right")
        ]
        var part = ChipPart.scd4x
        if case .words(let variant) = try await scan.query([0x20, 0x2F], words: 1, address) {
            answers.append(Finding.Evidence("command 0x202F", hexadecimal(variant[0], digits: 4), "variant"))
            switch variant[0] >> 12 {
            case 0: part = .scd40
            case 1: part = .scd41
            case 5: part = .scd43
            default: break
            }
        }
        return Finding(address, part, .certain, answers)
    }
}
