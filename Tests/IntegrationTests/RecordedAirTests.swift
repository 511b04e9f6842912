import Foundation
import KafkaClient
import PostgresClient
import Readings
import Testing

/// A day of measurements of a real office (Data/README.md) goes through register-level chips, the drivers, the outbox,
/// Kafka and the processor; what comes out must be what the recording says, to the chips' resolution.
@Suite(Servers.areThere) struct RecordedAirTests {
    /// Sampled in the middle of the recording's minutes, so that an SCD41 value of five seconds ago is the same row's.
    private static let start = "2015-02-04T23:00:30Z"
    private static let interval: Int64 = 60_000
    private static let samples = 1440

    @Test(.timeLimit(.minutes(10)))
    func averagesAreThoseOfTheRecording() async throws {
        let site = try await Site(partitions: 2)
        let recording = try #require(Bundle.module.url(forResource: "Data/office-2015-02-05", withExtension: "csv"))
        let gatewayConfiguration = try writeGatewayConfiguration(site, recording: recording)
        let processorConfiguration = try site.writeProcessorConfiguration()
        let migration = try await BuiltProgram.processor.run(
            ["migrate", "--config", processorConfiguration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")

        let processor = try BuiltProgram.processor.start(["run", "--config", processorConfiguration], in: site.folder)
        let gateway = try BuiltProgram.gateway.start(["run", "--config", gatewayConfiguration], in: site.folder)
        try await waitUntil("every sample is stored", within: .seconds(120)) {
            try #require(processor.isRunning && gateway.isRunning, "\(processor.output)\(gateway.output)")
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) >= Self.samples
        }
        try await waitUntil("every window is written", within: .seconds(120), every: .milliseconds(200)) {
            try site.database.query(Windows.differences).rowCount == 0
        }
        gateway.send(SIGTERM)
        processor.send(SIGTERM)
        #expect(await gateway.ending() == .status(0), "\(gateway.output)")
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        try compare(site, try Recording(recording))
        let verification = try await BuiltProgram.processor.run(
            ["verify", "--config", processorConfiguration], in: site.folder)
        #expect(verification.ending == .status(0), "\(verification.output)")
        try await site.remove()
    }

    private func writeGatewayConfiguration(_ site: Site, recording: URL) throws -> String {
        try site.write(
            "gateway.yaml",
            """
            gateway: {id: recorded}
            mode: simulated
            outbox: {path: outbox.sqlite}
            kafka:
              bootstrap: "\(site.kafka.bootstrapServers)"
              topic: \(site.topic)
            simulation:
              speed: unlimited
              recording:
                file: "\(recording.path)"
                columns: {time: date, temperature: Temperature, humidity: Humidity, co2: CO2}
                utc_offset_minutes: 60
                start: \(Self.start)
                times: kept
            stations:
              - sensor_id: office
                interval: 60s
                chips:
                  - {type: bme280}
                  - {type: scd41}

            """)
    }

    /// Compares every 10-minute window with the mean of what the recording held at its sample times.
    private func compare(_ site: Site, _ recording: Recording) throws {
        let first = try #require(Timestamp(Self.start)).milliseconds
        let times = (0..<Int64(Self.samples)).map { first + $0 * Self.interval }
        let windows = try site.database.query(
            """
            SELECT window_start, reading_count, temperature_avg, humidity_avg, co2_avg FROM sensor_data_agg
            WHERE window_size = interval '10 minutes' ORDER BY window_start
            """)
        // One a minute, some of which reach into the day from before it, and up to nine more that reach beyond its end: these
        // have a row once silence has made them final.
        #expect((Self.samples...Self.samples + 9).contains(windows.rowCount))
        // Temperature: the BME280's 0.01 degrees. Humidity: its 0.008 % and that of the simulated converter. CO2: whole
        // ppm. Each value is at most one step away, and so is a mean.
        let tolerances = [0.011, 0.02, 1.0]
        var worst = [0.0, 0.0, 0.0]
        for row in 0..<windows.rowCount {
            let start = try windows.value(row, 0, as: PostgresTimestamp.self).milliseconds
            let inside = times.filter { (start..<start + 600_000).contains($0) }
            #expect(try windows.value(row, 1, as: Int64.self) == inside.count)
            let air = inside.map { recording.values(at: $0) }
            for quantity in 0..<3 {
                let expected = air.map { $0[quantity] }.reduce(0, +) / Double(air.count)
                let found = try #require(try windows.optional(row, 2 + quantity, as: Double.self))
                worst[quantity] = max(worst[quantity], abs(found - expected))
            }
        }
        print("RecordedAirTests: largest differences of window averages \(worst) (degrees C, %RH, ppm)")
        for (difference, tolerance) in zip(worst, tolerances) { #expect(difference <= tolerance) }
    }
}

/// The CSV file, read without any of the product's code.
private struct Recording {
    private var rows: [(time: Int64, values: [Double])] = []

    init(_ file: URL) throws {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(secondsFromGMT: 3600)
        format.dateFormat = "yyyy-MM-dd HH:mm:ss"
        for line in try String(contentsOf: file, encoding: .utf8).split(whereSeparator: \.isNewline).dropFirst() {
            let fields = line.split(separator: ",").map { $0.trimmingCharacters(in: ["\""]) }
            let time = try #require(format.date(from: fields[1]))
            let values = try [2, 3, 5].map { try #require(Double(fields[$0])) }
            rows.append((Int64(time.timeIntervalSince1970 * 1000), values))
        }
    }

    /// Temperature, humidity and CO2 of the last row at or before a time.
    func values(at time: Int64) -> [Double] {
        rows.last { $0.time <= time }?.values ?? []
    }
}
