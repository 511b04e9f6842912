import Foundation
import KafkaClient
import Readings
import Synchronization
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A message that a test sends.
struct Outgoing {
    var key: [UInt8]? = Array("g".utf8)
    var value: [UInt8]?
    var headers: [KafkaHeader] = []
    var partition: Int32 = 0
}

extension Site {
    /// Sends messages and waits until the broker has all of them.
    /// - Returns: the offset of each.
    @discardableResult
    func send(_ messages: [Outgoing], to topic: String? = nil) async throws -> [Int64] {
        let reports = Mutex<[UInt64: DeliveryReport]>([:])
        var configuration = kafka
        configuration.properties["message.max.bytes"] = "2000000"
        configuration.properties["linger.ms"] = "5"
        let producer = try KafkaProducer(configuration: configuration) { batch in
            reports.withLock { known in for report in batch { known[report.token] = report } }
        }
        for (index, message) in messages.enumerated() {
            try producer.send(
                topic: topic ?? self.topic, key: message.key, value: message.value, headers: message.headers,
                partition: message.partition, token: UInt64(index))
            if index % 50_000 == 49_999 { try await producer.flush(timeout: .seconds(120)) }
        }
        try await producer.flush(timeout: .seconds(120))
        await producer.close(timeout: .seconds(120))
        return try messages.indices.map { index in
            let report = try #require(reports.withLock { $0[UInt64(index)] })
            try #require(report.error == nil, "\(String(describing: report.error))")
            return report.offset
        }
    }

    /// A valid reading of one minute ago or so: one every 100 ms from `start` on.
    func reading(
        _ sequence: Int64, gateway: String = "g", sensor: String = "s", from start: Timestamp,
        temperature: Double = 20, step: Int64 = 100
    ) throws -> Reading {
        Reading(
            gatewayID: try #require(Identifier(gateway)), sensorID: try #require(Identifier(sensor)),
            streamID: StreamID(bits: 0xabc), sequence: sequence,
            eventTime: Timestamp(milliseconds: start.milliseconds + sequence * step), intervalMilliseconds: step,
            values: [.temperature: temperature, .co2: 500])
    }

    /// The readings of the topic, without the reports of gateways.
    func readings() async throws -> [Message] {
        try await messages(of: topic).filter { message in
            let fields = try? JSONSerialization.jsonObject(with: Data(message.value)) as? [String: Any]
            return fields?["sensor_id"] != nil
        }
    }

    /// A report of each gateway that all streams in the database have ended where they are.
    func reportsOfEnds() throws -> [Outgoing] {
        let rows = try database.query(
            "SELECT gateway_id, stream_id, first_seq, last_seq FROM stream_progress ORDER BY 1")
        var streams: [String: [GatewayReport.Stream]] = [:]
        for row in 0..<rows.rowCount {
            streams[try rows.value(row, 0), default: []].append(
                GatewayReport.Stream(
                    streamID: try #require(StreamID(try rows.value(row, 1))), first: try rows.value(row, 2),
                    last: try rows.value(row, 3)))
        }
        return try streams.flatMap { name, streams in
            GatewayReport(gatewayID: try #require(Identifier(name)), streams: streams).encoded()
                .map { Outgoing(key: Array(name.utf8), value: $0) }
        }
    }

    /// What a running processor's endpoint answers; nil while it does not.
    func get(_ path: String, of processor: ChildProcess) async throws -> String? {
        // The log says the port: the configuration leaves it to the kernel.
        let address = processor.output.split(whereSeparator: { " \"\n".contains($0) })
            .last { $0.contains("http://127.0.0.1:") }
        guard let address, let start = address.range(of: "http://"),
            let url = URL(string: address[start.lowerBound...].trimmingCharacters(in: ["/"]) + path)
        else { return nil }
        let (data, _) = try await URLSession.shared.data(from: url)
        return String(decoding: data, as: UTF8.self)
    }

    /// The sum of a metric's series.
    func metric(_ name: String, of processor: ChildProcess) async throws -> Double {
        let text = try #require(try await get("/metrics", of: processor))
        return text.split(separator: "\n").filter { $0.hasPrefix("\(name) ") || $0.hasPrefix("\(name){") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }
}

/// As the other `waitUntil`, for a condition that has to wait itself.
func waitUntil(
    _ what: String, within limit: Duration, isolation: isolated (any Actor)? = #isolation,
    whenAsked condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "not within \(limit): \(what)")
        try await Task.sleep(for: .milliseconds(50))
    }
}
