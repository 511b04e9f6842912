import Alerting
import Readings

/// Which copies of rows leave memory: those that nobody has needed for an hour and time makes nothing due of, and, beyond a
/// bound, those of the sensors and streams that have been quiet for longest. All come back when they are needed.
struct StateEviction {
    /// What the copies may take together, bytes, by `GatewayState.size`.
    let bound: Int
    /// Whether silence means anything, so that a sensor is needed until its silence is an alert.
    let looksForSilence: Bool

    /// What nobody needed for so long is not needed soon, milliseconds.
    static let quietTime: Int64 = 3_600_000
    /// Beyond the bound it goes back to this share of it, so that it does not have to be done for every batch.
    private static let share = 0.8

    /// What left memory.
    struct Outcome: Equatable {
        var sensors = 0
        var streams = 0
        /// The gateways of which something left that time may make due.
        var incomplete: Set<String> = []
    }

    /// Drops what is not needed.
    /// - Parameters:
    ///   - bytes: what all copies take now.
    ///   - now: by the processor's clock, milliseconds since 1970.
    func evict(from cache: inout [String: GatewayState], bytes: Int, now: Int64) -> Outcome {
        var outcome = Outcome()
        for (gatewayID, state) in cache {
            for (streamID, use) in state.streamUse where now - use > StateEviction.quietTime {
                drop(streamID, of: state, &outcome)
            }
            for sensor in Array(state.sensors.values) where isDone(sensor, now: now) {
                drop(sensor, of: state, &outcome)
            }
            if state.sensors.isEmpty, state.streams.isEmpty { cache[gatewayID] = nil }
        }
        if bytes > bound { shrink(cache, by: bytes - Int(Double(bound) * StateEviction.share), &outcome) }
        return outcome
    }

    /// Whether time makes nothing due of a sensor, and it has been quiet for long.
    private func isDone(_ sensor: SensorState, now: Int64) -> Bool {
        sensor.windows.isEmpty && (sensor.alerts.isSilent || !looksForSilence)
            && now - sensor.lastArrival > StateEviction.quietTime
    }

    /// Drops the sensors and streams that have been quiet for longest.
    private func shrink(_ cache: [String: GatewayState], by excess: Int, _ outcome: inout Outcome) {
        var rest = excess
        let streams = cache.values.flatMap { state in state.streamUse.map { (state, $0.key, $0.value) } }
        // A stream with many ranges costs more than anything else, and comes back at once.
        for (state, streamID, _) in streams.sorted(by: { $0.2 < $1.2 }) where rest > 0 {
            guard let ranges = state.streams[streamID]?.losses.count, ranges > 1000 else { continue }
            rest -= ranges * MemoryLayout<LossRange>.stride
            drop(streamID, of: state, &outcome)
        }
        let sensors = cache.flatMap { gatewayID, state in state.sensors.values.map { (gatewayID, state, $0) } }
        for (gatewayID, state, sensor) in sensors.sorted(by: { $0.2.lastArrival < $1.2.lastArrival }) where rest > 0 {
            rest -= SensorState.bytes + sensor.windows.paneBytes
            drop(sensor, of: state, &outcome)
            // Its windows are still to be written, and its silence to be noticed.
            if !sensor.windows.isEmpty || looksForSilence && !sensor.alerts.isSilent {
                state.isWhole = false
                state.loadedThrough = ""
                outcome.incomplete.insert(gatewayID)
            }
        }
    }

    private func drop(_ streamID: StreamID, of state: GatewayState, _ outcome: inout Outcome) {
        state.streams[streamID] = nil
        state.streamUse[streamID] = nil
        if let key = state.streamAlerts.removeValue(forKey: streamID)?.state?.key {
            state.alertIDs[AlertIdentity(sensorID: "", key: key)] = nil
        }
        outcome.streams += 1
    }

    private func drop(_ sensor: SensorState, of state: GatewayState, _ outcome: inout Outcome) {
        state.sensors[sensor.sensorID] = nil
        state.sensorsWithoutPanes.remove(sensor.sensorID)
        for alert in sensor.alerts.states {
            state.alertIDs[AlertIdentity(sensorID: sensor.sensorID, key: alert.key)] = nil
        }
        outcome.sensors += 1
    }
}
