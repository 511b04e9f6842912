import Glibc
import Testing

@testable import SensorBus

@Suite struct BusErrorTests {
    @Test(
        arguments: [
            (ENXIO, .notAcknowledged), (EREMOTEIO, .notAcknowledged), (ETIMEDOUT, .timedOut),
            (EAGAIN, .arbitrationLost),
            (EIO, .lengthOrStretch), (EOPNOTSUPP, .unsupported), (ENOTTY, .unsupported), (EACCES, .permissionDenied),
            (EPERM, .forbidden), (ENOENT, .missing), (ENODEV, .missing), (ENOTDIR, .missing),
            (EBUSY, .other(code: EBUSY)),
        ] as [(Int32, BusError.Kind)])
    func errorNumbers(code: Int32, kind: BusError.Kind) {
        #expect(BusError.Kind(code: code) == kind)
    }

    @Test func aPersonLearnsWhereAndWhatToDo() {
        let error = BusError(.notAcknowledged, bus: "/dev/i2c-1", address: 0x76)
        #expect(
            error.description
                == "/dev/i2c-1 0x76: not acknowledged; check the wiring, the chip's power and its address")
    }

    @Test func whatIsInTheWayOfABusHasItsOwnRemedy() {
        #expect(BusError(.permissionDenied, bus: "/dev/i2c-1").description.contains("SupplementaryGroups=i2c"))
        let forbidden = BusError(.forbidden, bus: "/dev/i2c-1").description
        #expect(forbidden.contains("DeviceAllow=char-i2c rw") && forbidden.hasSuffix("--device /dev/i2c-1"))
        #expect(!forbidden.contains("group"))
    }
}

@Suite struct I2CAddressTests {
    @Test func onlyAddressesThatAChipMayHave() {
        let valid = (-200...400).filter { I2CAddress(validating: $0) != nil }
        #expect(valid == Array(0x08...0x77))
        #expect(I2CAddress(validating: .max) == nil)
        #expect(I2CAddress(validating: 0x76) == 0x76)
    }

    @Test func isWrittenAndOrderedAsTheDatasheetsDo() {
        let address: I2CAddress = 0x08
        #expect(address.description == "0x08")
        #expect(I2CAddress(0x76).description == "0x76")
        #expect(address < 0x76)
    }
}
