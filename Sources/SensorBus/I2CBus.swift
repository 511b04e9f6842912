import Platform

/// An I2C bus: transfers that block, on a thread that is the bus's own.
///
/// A chip is an actor on the bus's `executor`. So a blocking transfer never sits on Swift's cooperative pool, two
/// transfers on one bus exclude each other, and a chip that awaits its conversion lets the other chips go on.
public protocol I2CBus: Sendable {
    /// The bus as people know it, such as `/dev/i2c-1`.
    var name: String { get }

    /// The bus's thread. Transfers belong on it: actors that use the bus return it as their executor.
    var executor: ThreadExecutor { get }

    /// Writes `bytes` to a chip in one transfer.
    func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError)

    /// Reads `count` bytes from a chip in one transfer.
    func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8]

    /// Writes `bytes` and, after a repeated start, reads `count` bytes: how a register is read.
    func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8]
}
