import Foundation
import Testing

@testable import SensorBus

/// The real libgpiod, where there is no chip: what a user gets to read. With a chip, edges and values are tested in a
/// guest of the kernel's own.
@Suite struct LinuxGPIOTests {
    /// A folder in place of /dev, with what `make` puts there.
    private func withFolder(_ make: (String) throws -> Void = { _ in }, _ test: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-gpio-\(UUID())")
            .resolvingSymlinksInPath().path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try make(folder)
        try test(folder)
    }

    private func refusal(_ line: GPIOLineID, in folder: String) -> GPIOError? {
        do throws(GPIOError) {
            _ = try LinuxGPIO(folder: folder).input(line, options: GPIOInputOptions())
            return nil
        } catch {
            return error
        }
    }

    @Test(
        arguments: [
            .name("GPIO17", chip: nil), .name("GPIO17", chip: "pinctrl-rp1"), .offset(17, chip: "pinctrl-rp1"),
            .offset(17, chip: "gpiochip0"), .offset(17, chip: "/dev/there-is-none"),
        ] as [GPIOLineID])
    func withoutAChip(line: GPIOLineID) throws {
        try withFolder { folder in
            let error = try #require(refusal(line, in: folder))
            #expect(error == GPIOError(.chipNotFound(available: []), line: "\(line)"))
            #expect(
                error.description == "\(line): no such GPIO chip; this kernel shows no GPIO chip: look for its driver "
                    + "and for /dev/gpiochip*")
            #expect(LinuxGPIO(folder: folder).chips().isEmpty)
        }
    }

    /// The real libgpiod looks at these files and refuses them.
    @Test func filesThatAreNoChips() throws {
        try withFolder { folder in
            let files = FileManager.default
            try #require(files.createFile(atPath: folder + "/gpiochip0", contents: Data("chip".utf8)))
            try files.createSymbolicLink(atPath: folder + "/gpiochip1", withDestinationPath: "/dev/null")
            try files.createSymbolicLink(atPath: folder + "/gpiochip2", withDestinationPath: "/dev/null")
            try files.createSymbolicLink(atPath: folder + "/gpiochip3", withDestinationPath: "/there/is/none")
        } _: { folder in
            let chips = LinuxGPIO(folder: folder).chips()
            #expect(chips.map(\.path) == ["/dev/null", folder + "/gpiochip0"])
            for (path, chip) in chips { #expect(chip == .failure(GPIOError(.notAChip, line: path))) }
            let available = ["/dev/null (is no GPIO chip)", "\(folder)/gpiochip0 (is no GPIO chip)"]
            let line = GPIOLineID.name("GPIO17", chip: nil)
            #expect(
                refusal(line, in: folder) == GPIOError(.chipNotFound(available: available), line: "GPIO17"))
            #expect(
                refusal(.offset(0, chip: folder + "/gpiochip0"), in: folder)
                    == GPIOError(.notAChip, line: folder + "/gpiochip0"))
            #expect(refusal(.offset(0, chip: "/dev/null"), in: folder) == GPIOError(.notAChip, line: "/dev/null"))
        }
    }

    /// Nothing stays open, whatever was refused. Of this process's files, those under the folder are counted.
    @Test func nothingStaysOpen() throws {
        try withFolder { folder in
            let path = folder + "/gpiochip0"
            try #require(FileManager.default.createFile(atPath: path, contents: Data()))
            for _ in 0..<50 { #expect(refusal(.offset(0, chip: path), in: folder) != nil) }
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
            }
            #expect(open.isEmpty)
        }
    }

    @Test(
        arguments: [
            (EACCES, .permissionDenied), (EPERM, .forbidden), (ENOTTY, .notAChip), (EINVAL, .unsupported),
            (ENXIO, .unsupported), (EOPNOTSUPP, .unsupported), (524, .unsupported), (ENODEV, .gone),
            (EIO, .other(code: EIO)),
        ] as [(Int32, GPIOError.Kind)])
    func errorNumbers(code: Int32, kind: GPIOError.Kind) {
        #expect(GPIOError.Kind(code: code) == kind)
    }

    @Test func aPersonLearnsWhatIsThereAndWhatToDo() {
        #expect(
            GPIOError(.lineNotFound(available: ["GPIO16", "GPIO27"]), line: "GPIO17").description
                == "GPIO17: no such GPIO line; there are GPIO16, GPIO27")
        #expect(
            GPIOError(.busy(consumer: "led0"), line: "pinctrl-rp1 17").description
                == "pinctrl-rp1 17: is in use by led0; end that program, or name another line")
        #expect(
            GPIOError(.ambiguous(candidates: ["/dev/gpiochip0 1", "/dev/gpiochip1 1"]), line: "LED").description
                == "LED: is not the only one; there are /dev/gpiochip0 1, /dev/gpiochip1 1; name the chip by its device "
                + "and the line by its number")
        #expect(
            GPIOError(.permissionDenied, line: "/dev/gpiochip0").description.contains("SupplementaryGroups=gpio"))
        #expect(GPIOError(.forbidden, line: "/dev/gpiochip0").description.contains("DeviceAllow=char-gpiochip rw"))
        let many = GPIOError(.lineNotFound(available: (0..<54).map { "GPIO\($0)" }), line: "LED").description
        #expect(many.hasSuffix("GPIO39 and 14 more"))
    }
}
