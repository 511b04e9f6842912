import CGPIO
import Glibc
import Platform

/// The lines of the kernel's GPIO character devices, `/dev/gpiochipN`, through libgpiod 1.6 or 2.
public struct LinuxGPIO: GPIOLines {
    /// A chip that the kernel shows.
    public struct Chip: Sendable, Equatable, CustomStringConvertible {
        /// The device file, such as `/dev/gpiochip0`.
        public var path: String
        /// What the chip's driver calls it, such as `pinctrl-rp1`.
        public var label: String
        /// How many lines it has.
        public var lineCount: Int

        /// Makes one.
        public init(path: String, label: String, lineCount: Int) {
            self.path = path
            self.label = label
            self.lineCount = lineCount
        }

        /// `label (device)`.
        public var description: String { "\(label) (\(path))" }
    }

    /// Where a line is, and who has it.
    public struct Location: Sendable, Equatable {
        /// The chip.
        public var chip: Chip
        /// The line's number on it.
        public var offset: UInt32
        /// Who has the line; empty if nobody says so.
        public var consumer: String

        /// Makes one.
        public init(chip: Chip, offset: UInt32, consumer: String) {
            self.chip = chip
            self.offset = offset
            self.consumer = consumer
        }
    }

    /// Who has the lines that a gateway takes.
    public static let consumer = "vigie-gateway"

    /// The thread for the lines.
    public let executor = ThreadExecutor(name: "gpio")
    private let folder: String
    private let consumer: String

    /// Makes an access to the chips.
    /// - Parameters:
    ///   - folder: where the device files are.
    ///   - consumer: who has the lines, for gpioinfo(1) and other programs that want them; at most 31 bytes.
    public init(folder: String = "/dev", consumer: String = LinuxGPIO.consumer) {
        self.folder = folder
        self.consumer = consumer
    }

    /// The chips, each once, whatever links lead to it.
    /// - Returns: with each device file what it is, or why it cannot be told.
    public func chips() -> [(path: String, chip: Result<Chip, GPIOError>)] {
        paths().map { path in
            do throws(GPIOError) {
                return (path, .success(try GPIOChipHandle(path).described()))
            } catch {
                return (path, .failure(error))
            }
        }
    }

    /// Looks for a line and leaves it alone.
    public func location(of line: GPIOLineID) throws(GPIOError) -> Location {
        let (chip, offset) = try find(line)
        return Location(chip: try chip.described(), offset: offset, consumer: try chip.line(offset).consumer)
    }

    /// Takes a line as an input.
    public func input(_ line: GPIOLineID, options: GPIOInputOptions) throws(GPIOError) -> any GPIOInput {
        var request = vigie_gpio_options()
        request.is_active_low = options.isActiveLow
        request.bias = options.bias.code
        request.debounce_microseconds = UInt(min(max(.zero, options.debounce), .seconds(3600)) / .microseconds(1))
        return try take(line, request)
    }

    /// Takes a line as an output.
    public func output(
        _ line: GPIOLineID, initially isActive: Bool, options: GPIOOutputOptions
    ) throws(GPIOError) -> any GPIOOutput {
        var request = vigie_gpio_options()
        request.is_output = true
        request.is_active = isActive
        request.is_active_low = options.isActiveLow
        request.is_open_drain = options.isOpenDrain
        request.bias = options.bias.code
        return try take(line, request)
    }

    private func take(_ line: GPIOLineID, _ request: vigie_gpio_options) throws(GPIOError) -> LinuxGPIOLine {
        let (chip, offset) = try find(line)
        return try LinuxGPIOLine(chip, offset, request, consumer: consumer, asked: line)
    }

    /// The device files of chips, by what links lead to, in the order of their numbers.
    private func paths() -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(folder + "/gpiochip*", 0, nil, &found) == 0 else { return [] }
        var paths: [String] = []
        for index in 0..<Int(found.gl_pathc) {
            guard let path = found.gl_pathv[index].flatMap({ resolved(String(cString: $0)) }) else { continue }
            if !paths.contains(path) { paths.append(path) }
        }
        return paths.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    /// The chip and the number of a line.
    private func find(_ line: GPIOLineID) throws(GPIOError) -> (GPIOChipHandle, UInt32) {
        switch line {
        case .offset(let offset, let name):
            let chips = try candidates(name, for: line)
            guard let chip = chips.first, chips.count == 1 else {
                throw GPIOError(.ambiguous(candidates: chips.map(\.path)), line: "\(line)")
            }
            let count = try chip.described().lineCount
            guard offset < count else {
                throw GPIOError(
                    .lineNotFound(available: count == 0 ? [] : ["0 to \(count - 1)"]), line: "\(line)")
            }
            return (chip, offset)
        case .name(let name, let chip):
            var matches: [(chip: GPIOChipHandle, offset: UInt32)] = []
            var others: [String] = []
            for chip in try candidates(chip, for: line) {
                for (offset, other) in try chip.lineNames().enumerated() {
                    if other == name { matches.append((chip, UInt32(offset))) }
                    if !other.isEmpty { others.append(other) }
                }
            }
            guard let match = matches.first else { throw GPIOError(.lineNotFound(available: others), line: "\(line)") }
            guard matches.count == 1 else {
                throw GPIOError(.ambiguous(candidates: matches.map { "\($0.chip.path) \($0.offset)" }), line: "\(line)")
            }
            return match
        }
    }

    /// The chips that a name may mean, at least one.
    /// - Parameter name: a path, a device's name, or a label; nil for all.
    private func candidates(_ name: String?, for line: GPIOLineID) throws(GPIOError) -> [GPIOChipHandle] {
        if let name, name.hasPrefix("/") {
            guard let path = resolved(name) else {
                throw GPIOError(.chipNotFound(available: available()), line: "\(line)")
            }
            return [try GPIOChipHandle(path)]
        }
        var chips: [GPIOChipHandle] = []
        var denied: GPIOError?
        for path in paths() {
            do throws(GPIOError) {
                let chip = try GPIOChipHandle(path)
                let names = [path, String(path.dropFirst(folder.utf8.count + 1)), try chip.described().label]
                if name.map(names.contains) ?? true { chips.append(chip) }
            } catch {
                // One that goes just now, or that belongs to somebody else, is not the one unless none is.
                if [.permissionDenied, .forbidden].contains(error.kind) { denied = error }
            }
        }
        guard chips.isEmpty else { return chips }
        if let denied { throw denied }
        throw GPIOError(.chipNotFound(available: available()), line: "\(line)")
    }

    private func available() -> [String] {
        chips().map { path, chip in
            switch chip {
            case .success(let chip): chip.description
            case .failure(let error): "\(path) (\(error.kind))"
            }
        }
    }
}

extension GPIOBias {
    fileprivate var code: vigie_gpio_bias {
        switch self {
        case .asIs: VIGIE_GPIO_BIAS_AS_IS
        case .disabled: VIGIE_GPIO_BIAS_DISABLED
        case .pullUp: VIGIE_GPIO_BIAS_PULL_UP
        case .pullDown: VIGIE_GPIO_BIAS_PULL_DOWN
        }
    }
}

/// Where a path leads through all links; nil if to nothing.
private func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
}

/// Owns an open chip.
final class GPIOChipHandle: Sendable {
    /// For libgpiod's functions, one at a time: `LinuxGPIOLine` sees to it once a line is taken.
    nonisolated(unsafe) let pointer: OpaquePointer
    let path: String

    init(_ path: String) throws(GPIOError) {
        guard let pointer = vigie_gpio_open(path) else { throw GPIOError(opening: path, code: errno) }
        self.pointer = pointer
        self.path = path
    }

    deinit {
        vigie_gpio_close(pointer)
    }

    /// What the kernel says of it.
    func described() throws(GPIOError) -> LinuxGPIO.Chip {
        var info = vigie_gpio_chip_info()
        guard vigie_gpio_chip_describe(pointer, &info) == 0 else { throw GPIOError(.init(code: errno), line: path) }
        return LinuxGPIO.Chip(path: path, label: String(info.label), lineCount: Int(info.line_count))
    }

    /// What the kernel says of one of its lines.
    func line(_ offset: UInt32) throws(GPIOError) -> (name: String, consumer: String) {
        var info = vigie_gpio_line_info()
        guard vigie_gpio_line_describe(pointer, offset, &info) == 0 else {
            throw GPIOError(.init(code: errno), line: "\(path) \(offset)")
        }
        return (String(info.name), String(info.consumer))
    }

    /// The names of all lines, by their numbers; empty for a line without one.
    func lineNames() throws(GPIOError) -> [String] {
        var names: [String] = []
        for offset in 0..<UInt32(clamping: try described().lineCount) { names.append(try line(offset).name) }
        return names
    }
}

extension GPIOError {
    /// Why a device file cannot be opened as a chip.
    fileprivate init(opening path: String, code: Int32) {
        // libgpiod 2 says ENODEV of a device that is something else.
        self.init(code == ENODEV ? .notAChip : Kind(code: code), line: path)
    }
}

extension String {
    fileprivate init(_ text: vigie_gpio_text) {
        self = withUnsafePointer(to: text) { String(cString: vigie_gpio_text_pointer($0)) }
    }
}
