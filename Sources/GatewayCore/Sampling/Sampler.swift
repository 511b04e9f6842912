import Monitoring

/// All stations of a gateway, each on its own schedule.
struct Sampler: Service {
    let stations: [Station]

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown {
                try await sample()
                // Recordings have ended; what they gave is still to be published.
                try await Task.sleep(for: .seconds(Int64.max / 1_000_000_000))
            }
        } catch is CancellationError {}
    }

    /// Samples every station until it ends.
    func sample() async throws {
        try await stations.onTheirTime { stations in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for station in stations { group.addTask { try await station.run() } }
                try await group.waitForAll()
            }
        }
    }
}
