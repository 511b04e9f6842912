import SensorBus

/// A chip that a scan can tell from others by what it answers. The parts stand beside their drivers.
public struct ChipPart: Sendable, Hashable {
    /// The name as its maker writes it, such as `SHT4x` for a whole family.
    public let title: String
    /// The name as configuration and JSON have it, such as `sht4x`.
    public var name: String { title.lowercased() }

    /// Names a part.
    init(_ title: String) {
        self.title = title
    }
}

/// What a scan found at one address.
public struct Finding: Sendable, Equatable {
    /// How sure it is that the chip is the one named.
    public enum Certainty: String, Sendable {
        /// It answered with an identification or a checksum that no other chip gives.
        case certain
        /// Its registers look as that chip's do, and it has nothing that identifies it.
        case likely
        /// Somebody answers; what it is, nobody knows.
        case unknown
    }

    /// What was asked, what was answered, and what that means.
    public struct Evidence: Sendable, Equatable {
        /// Such as `register 0xD0`.
        public var asked: String
        /// Such as `0x60`.
        public var answer: String
        /// Such as `chip id`; empty if it means nothing by itself.
        public var meaning: String

        init(_ asked: String, _ answer: String, _ meaning: String = "") {
            self.asked = asked
            self.answer = answer
            self.meaning = meaning
        }
    }

    /// Where it answers.
    public var address: I2CAddress
    /// The channel that it is behind; nil: on the bus itself.
    public var channel: MultiplexerChannel?
    /// Which chip it is; nil if that is not known.
    public var part: ChipPart?
    /// How sure that is.
    public var certainty: Certainty
    /// Why.
    public var evidence: [Evidence]
    /// More for a person, such as that the chip is measuring; nil if there is nothing to say.
    public var note: String?
    /// The kernel's driver that has the chip, such as `rtc-ds1307`; it was not touched then.
    public var kernelDriver: String?

    init(
        _ address: I2CAddress, _ part: ChipPart? = nil, _ certainty: Certainty = .unknown,
        _ evidence: [Evidence] = [], note: String? = nil, kernelDriver: String? = nil
    ) {
        self.address = address
        self.part = part
        self.certainty = certainty
        self.evidence = evidence
        self.note = note
        self.kernelDriver = kernelDriver
    }
}

/// What a scan found on one bus.
public struct BusInventory: Sendable, Equatable {
    /// Why a scan ended before its end.
    public enum Trouble: Error, Sendable, Equatable {
        /// The bus failed, or a few transfers one after the other did.
        case failed(BusError)
        /// Every address answers with zeros: nobody drives the data line, somebody holds it low.
        case heldLow
        /// The program was told to stop.
        case cancelled
    }

    /// What answers, by address; then what is behind multiplexers, by channel and address.
    public var findings: [Finding]
    /// Why the scan ended early; nil: it did not.
    public var trouble: Trouble?
    /// What else a person should know of this bus.
    public var notes: [String]
}

extension BusInventory.Trouble: CustomStringConvertible {
    /// What is wrong, and what to do.
    public var description: String {
        switch self {
        case .failed(let error): "\(error)"
        case .heldLow:
            "every address answers with zeros: the data line (SDA) is held low or not connected to its pull-up;"
                + " unplug the sensors one after the other, and cycle their power"
        case .cancelled: "interrupted"
        }
    }
}
