import Alerting
import ProcessorStatus
import Readings
import Windowing

/// What the processor remembers of one gateway between batches: copies of some of its rows. They are true as long as the
/// gateway's row has the token that this process wrote last, which is checked under the row's lock before every use.
final class GatewayState {
    /// The token that this process wrote last.
    var token: Int64 = 0
    /// The number of the transaction that this copy belongs to.
    var commitNumber: Int64 = 0
    /// The progress of the streams that were needed.
    var streams: [StreamID: StreamProgress] = [:]
    /// When each of them was last needed, by the processor's clock, milliseconds since 1970.
    var streamUse: [StreamID: Int64] = [:]
    /// The sensors that were needed, by their names.
    var sensors: [String: SensorState] = [:]
    /// The sensors whose panes are still to be loaded.
    var sensorsWithoutPanes: Set<String> = []
    /// Whether every sensor is in memory that time may make due.
    var isWhole = false
    /// While it is not whole: the name of the last sensor that was looked at for that.
    var loadedThrough = ""
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

    /// Whether everything is in memory that time may make due.
    var isComplete: Bool { isWhole && sensorsWithoutPanes.isEmpty }
}

/// A sensor, by its names.
struct SensorName: Hashable {
    var gatewayID: String
    var sensorID: String
}

extension GatewayState {
    /// What a stream takes: its progress, its places in two tables, and its ranges.
    static func bytes(of stream: StreamProgress) -> Int {
        MemoryLayout<StreamProgress>.stride + 64 + MemoryLayout<LossRange>.stride * stream.losses.count
    }

    /// What it takes in memory, without what the allocator adds.
    func size(_ policy: WindowPolicy) -> StateSize {
        var size = StateSize()
        for stream in streams.values { size.bytes += GatewayState.bytes(of: stream) }
        for (name, sensor) in sensors {
            size.sensors += 1
            size.panes += sensor.windows.paneCount
            size.windows += sensor.windows.openWindowCount(policy)
            size.bytes += SensorState.bytes + name.utf8.count + sensor.gatewayID.utf8.count
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
    /// The reading with the largest event time; nil if none was admitted since the row was written.
    var latest: LatestReading?
    /// The number of the transaction that admitted its last reading.
    var lastCommit: Int64

    init(
        gatewayID: String, sensorID: String, windows: SensorWindows = SensorWindows(),
        quantities: QuantitySet = [], firstEventTime: Int64 = .max, lastArrival: Int64 = .min,
        interval: Int64 = 0, lastCommit: Int64 = 0
    ) {
        self.gatewayID = gatewayID
        self.sensorID = sensorID
        self.windows = windows
        self.quantities = quantities
        self.firstEventTime = firstEventTime
        self.lastArrival = lastArrival
        self.interval = interval
        self.lastCommit = lastCommit
    }

    /// What one takes without panes and names: the object with its header, and its place in the table.
    static let bytes = 16 + MemoryLayout<SensorWindows>.stride + 160

    var name: SensorName { SensorName(gatewayID: gatewayID, sensorID: sensorID) }
}

/// A reading as the table `sensor` shows it.
struct LatestReading {
    var row: ReadingBatch.Row
    var faults: [String]?
    var status: Status
}
