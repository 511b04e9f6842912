import Alerting
import ProcessorStatus
import Readings
import Windowing

/// What the processor remembers of one gateway between batches: a copy of its rows, checked against their revisions
/// under the rows' locks before every use.
final class GatewayState {
    /// The revision of each stream's row that this copy belongs to.
    var revisions: [StreamID: Int64] = [:]
    /// The progress of each stream.
    var streams: [StreamID: StreamProgress] = [:]
    /// Its sensors.
    var sensors: [String: SensorState] = [:]
    /// When its open windows were last written, by the processor's clock, milliseconds since 1970.
    var lastUpdate: Int64 = 0
    /// The partition that its readings come from.
    var partition: Int32
    /// The streams in which readings are missing for so long that it is an alert.
    var streamAlerts: [StreamID: StreamAlert] = [:]
    /// The rows of the alerts that are open.
    var alertIDs: [AlertIdentity: Int64] = [:]

    init(partition: Int32) {
        self.partition = partition
    }
}

extension GatewayState {
    /// What it takes in memory, without what the allocator adds.
    func size(_ policy: WindowPolicy) -> StateSize {
        var size = StateSize()
        size.bytes = MemoryLayout<StreamProgress>.stride * streams.count
        for stream in streams.values { size.bytes += MemoryLayout<LossRange>.stride * stream.losses.count }
        for (name, sensor) in sensors {
            size.sensors += 1
            size.panes += sensor.windows.paneCount
            size.windows += sensor.windows.openWindowCount(policy)
            // The object with its header, its two names, and its place in the table.
            size.bytes += 16 + MemoryLayout<SensorWindows>.stride + 160 + name.utf8.count + sensor.gatewayID.utf8.count
            size.bytes += sensor.windows.paneBytes
        }
        return size
    }
}

/// What the processor remembers of one sensor.
final class SensorState {
    let gatewayID: String
    let sensorID: String
    /// Its open windows and watermark.
    var windows: SensorWindows
    /// The quantities that it has given.
    var quantities: QuantitySet
    /// Milliseconds since 1970.
    var firstEventTime: Int64
    /// When its last reading was admitted, by the processor's clock, milliseconds since 1970.
    var lastArrival: Int64
    /// The sampling interval of its newest reading, milliseconds; 0 before the first.
    var interval: Int64
    /// What is wrong with it.
    var alerts = SensorAlerts()
    /// The reading with the largest event time; nil if none was admitted since the state was loaded.
    var latest: LatestReading?

    init(
        gatewayID: String, sensorID: String, windows: SensorWindows = SensorWindows(),
        quantities: QuantitySet = [], firstEventTime: Int64 = .max, lastArrival: Int64 = .min,
        interval: Int64 = 0
    ) {
        self.gatewayID = gatewayID
        self.sensorID = sensorID
        self.windows = windows
        self.quantities = quantities
        self.firstEventTime = firstEventTime
        self.lastArrival = lastArrival
        self.interval = interval
    }
}

/// A reading as the table `sensor` shows it.
struct LatestReading {
    var row: ReadingBatch.Row
    var faults: [String]?
    var status: Status
}
