import Monitoring
import Outbox
import Platform
import SensorBus

extension Gateway {
    /// The stations, with their chips not opened yet, to be read once: nothing is recorded, and no other program may use
    /// their buses meanwhile.
    package func stationsToObserve() throws -> [Station] {
        let hardware = try settings.hardware(claim: .exclusive)
        return try stations(on: hardware, record: nil, metrics: GatewayMetrics(MetricsRegistry()))
    }

    /// The stations, with their chips not opened yet.
    /// - Parameters:
    ///   - hardware: what their chips are on.
    ///   - record: takes each reading; nil drops them. A station waits for it, so it must be quick.
    ///   - pace: the interval of a station now, of the one that is set.
    ///   - whenDead: called with the name of a chip whose power should be cycled.
    func stations(
        on hardware: Hardware, record: (@Sendable (OutboxRecord) async -> Void)?, metrics: GatewayMetrics,
        health: Health = Health(),
        pace: @escaping @Sendable (Duration) -> Duration = { $0 },
        whenDead: @escaping @Sendable (String) -> Void = { _ in }
    ) throws -> [Station] {
        let isSimulated = settings.mode == .simulated
        let isTrusted = isSimulated || settings.clock == .trust
        let bootID = try String(
            decoding: readFile("/proc/sys/kernel/random/boot_id", limit: 64).filter { $0 > 0x20 }, as: UTF8.self)
        var segments = BusSegments(settings.stations)
        var watches: [String: BusWatch] = [:]
        return try settings.stations.enumerated().map { index, station in
            let chips = try station.chips.map { chip in
                let bus = try hardware.bus(index, chip.location.bus)
                let watch =
                    watches[bus.name] ?? BusWatch(bus, metrics: metrics, health: health, log: log.component("bus"))
                watches[bus.name] = watch
                let monitor = ChipMonitor(
                    sensorID: station.sensorID, chip: chip.name, metrics: metrics, health: health,
                    log: log.component("chip"), wallClock: hardware.wallClock)
                // A twin has no noise.
                let freezeLimit = station.freezeLimit ?? (isSimulated ? 0 : StationSettings.usualFreezeLimit)
                return ChipSupervisor(
                    chip, bus: segments.bus(of: chip.location, on: bus), watch: watch, clock: hardware.clock,
                    patience: hardware.patience, freezeLimit: freezeLimit, monitor: monitor
                ) {
                    whenDead("\(station.sensorID)/\(chip.name)")
                }
            }
            return Station(
                settings: station, gatewayID: settings.gatewayID, chips: chips, record: record,
                wallClock: hardware.wallClock, clock: hardware.clock, executor: hardware.virtualTime?.executor,
                timeQuality: { isTrusted ? .synced : kernelTimeQuality() }, bootID: bootID, isSimulated: isSimulated,
                end: hardware.end, pace: pace, metrics: metrics, log: log.component("station"))
        }
    }
}
