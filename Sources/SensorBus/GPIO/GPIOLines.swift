import Platform

/// The GPIO lines of a board. Requests and accesses block, on an I2C expander for the time of a transfer: they belong
/// on `executor`.
///
/// A line is asked for by its meaning, not its voltage: what is active is high, or low where the options say so.
public protocol GPIOLines: Sendable {
    /// The thread for the lines: actors that use them return it as their executor.
    var executor: ThreadExecutor { get }

    /// Takes a line as an input, with events at its edges, until the result goes.
    func input(_ line: GPIOLineID, options: GPIOInputOptions) throws(GPIOError) -> any GPIOInput

    /// Takes a line as an output, until the result goes.
    /// - Parameter isActive: its first value, without a glitch before it.
    func output(_ line: GPIOLineID, initially isActive: Bool, options: GPIOOutputOptions) throws(GPIOError)
        -> any GPIOOutput
}

/// An input that nobody else has.
public protocol GPIOInput: Sendable {
    /// The line as people know it, such as `pinctrl-rp1 17 (GPIO17)`.
    var name: String { get }

    /// Whether the debouncing of the options is done; if not, it is left to a `Debouncer`.
    var isDebounced: Bool { get }

    /// Whether it is active now.
    func isActive() throws(GPIOError) -> Bool

    /// The edges since the line was taken, in their order, for one reader. A failure is the last element. When so many
    /// come that the kernel or the stream has no room, some are missing: after a silence, `isActive` is the truth.
    func edges() -> AsyncStream<Result<GPIOEdge, GPIOError>>
}

/// An output that nobody else has.
public protocol GPIOOutput: Sendable {
    /// The line as people know it, such as `pinctrl-rp1 17 (GPIO17)`.
    var name: String { get }

    /// Makes it active or inactive.
    func set(_ isActive: Bool) throws(GPIOError)
}

/// How a line is found.
///
/// A chip is named by its label, such as `pinctrl-rp1`, which stays, rather than by its device, such as
/// `/dev/gpiochip0` or `gpiochip0`, whose number depends on the kernel: the header of a Raspberry Pi 5 was 4 and is 0.
public enum GPIOLineID: Sendable, Hashable {
    /// The line with a number on a chip.
    case offset(UInt32, chip: String)
    /// The line with a name, such as `GPIO17`, on any chip unless one is named.
    case name(String, chip: String?)
}

extension GPIOLineID: CustomStringConvertible {
    /// The chip and the line.
    public var description: String {
        switch self {
        case .offset(let offset, let chip): "\(chip) \(offset)"
        case .name(let name, nil): name
        case .name(let name, let chip?): "\(chip) \(name)"
        }
    }
}

/// A resistor of the chip's own at a line.
public enum GPIOBias: String, Sendable, CaseIterable {
    /// As it is.
    case asIs = "as_is"
    /// None.
    case disabled
    /// To the supply.
    case pullUp = "pull_up"
    /// To ground.
    case pullDown = "pull_down"
}

/// How an input is taken.
public struct GPIOInputOptions: Sendable, Equatable {
    /// Whether a low voltage is active.
    public var isActiveLow: Bool
    /// The resistor.
    public var bias: GPIOBias
    /// How long the line must be quiet before a change counts.
    public var debounce: Duration

    /// Makes the options.
    public init(isActiveLow: Bool = false, bias: GPIOBias = .asIs, debounce: Duration = .zero) {
        self.isActiveLow = isActiveLow
        self.bias = bias
        self.debounce = debounce
    }
}

/// How an output is taken.
public struct GPIOOutputOptions: Sendable, Equatable {
    /// Whether a low voltage is active.
    public var isActiveLow: Bool
    /// Whether it only pulls to ground and is left alone otherwise.
    public var isOpenDrain: Bool
    /// The resistor.
    public var bias: GPIOBias

    /// Makes the options.
    public init(isActiveLow: Bool = false, isOpenDrain: Bool = false, bias: GPIOBias = .asIs) {
        self.isActiveLow = isActiveLow
        self.isOpenDrain = isOpenDrain
        self.bias = bias
    }
}

/// A change of an input.
public struct GPIOEdge: Sendable, Equatable {
    /// Whether the line became active.
    public var isActive: Bool
    /// When, by the kernel's CLOCK_MONOTONIC.
    public var time: Duration

    /// Makes an edge.
    public init(isActive: Bool, time: Duration) {
        self.isActive = isActive
        self.time = time
    }
}
