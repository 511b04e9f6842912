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

    /// What may leave memory, and when it was last needed.
    private enum Candidate {
        case stream(StreamID, StreamProgress)
        case sensor(String, SensorState)
    }

    /// Drops the sensors and streams that have been quiet for longest.
    private func shrink(_ cache: [String: GatewayState], by excess: Int, _ outcome: inout Outcome) {
        var candidates: [(use: Int64, state: GatewayState, candidate: Candidate)] = []
        for (gatewayID, state) in cache {
            for (streamID, progress) in state.streams {
                // A stream with many ranges costs more than anything else, and comes back at once.
                let use = progress.losses.count > 1000 ? .min : state.streamUse[streamID] ?? .min
                candidates.append((use, state, .stream(streamID, progress)))
            }
            for sensor in state.sensors.values {
                candidates.append((sensor.lastArrival, state, .sensor(gatewayID, sensor)))
            }
        }
        candidates.sort { $0.use < $1.use }
        var rest = excess
        for (_, state, candidate) in candidates {
            if rest <= 0 { break }
            switch candidate {
            case .stream(let streamID, let progress):
                rest -= GatewayState.bytes(of: progress)
                drop(streamID, of: state, &outcome)
            case .sensor(let gatewayID, let sensor):
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
