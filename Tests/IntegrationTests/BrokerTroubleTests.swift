import Foundation
import Testing

/// Whatever happens on the way to Apache Kafka and in it, both programs stay, wait and go on, and every reading is there
/// once.
@Suite(Servers.areThere, .requiresKafkaNodes) struct BrokerTroubleTests {
    @Test(.timeLimit(.minutes(10))) func bothProgramsLiveThroughWhatBrokersDo() async throws {
        let kafka = try await ApacheKafka(ApacheKafka.Options(arguments: ["--via-proxy"]))
        let site = try await Site(partitions: 2, broker: kafka.innerBootstrap)
        let gatewayFile = try site.write(
            "gateway.yaml",
            """
            gateway: {id: cellar}
            mode: simulated
            clock: {policy: trust}
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "\(kafka.bootstrap)", topic: \(site.topic), drain_time: 60s}
            stations: [{sensor_id: air, interval: 50ms, chips: [{type: bme280}]}]

            """)
        let processorFile = try site.writeProcessorConfiguration(bootstrap: kafka.bootstrap)
        let gateway = try BuiltProgram.gateway.start(["run", "--config", gatewayFile], in: site.folder)
        let processor = try BuiltProgram.processor.start(["run", "--config", processorFile], in: site.folder)
        let programs = [gateway, processor]
        try await site.waitForProgress(programs, "the start")

        for (name, cause, mend) in [
            ("a broker that is killed", { try await kafka.kill(1) }, { try await kafka.start(1) }),
            ("a broker that is stopped", { try await kafka.stop(1) }, { try await kafka.start(1) }),
            ("a broker that hangs", { try await kafka.pause(1) }, { try await kafka.resume(1) }),
            ("connections that are reset", { try await kafka.disturb(.reset) }, {}),
            (
                "connections that are refused",
                {
                    try await kafka.disturb(.refuse)
                    try await kafka.disturb(.cut)
                }, { try await kafka.disturb(.heal) }
            ),
            (
                "a network that swallows everything", { try await kafka.disturb(.swallow) },
                {
                    try await kafka.disturb(.heal)
                    try await kafka.disturb(.reset)
                }
            ),
            (
                "a network of half a second", { try await kafka.disturb(.delay(seconds: 0.5)) },
                { try await kafka.disturb(.heal) }
            ),
            (
                "a quota of 500 bytes a second", { try await kafka.limit(producing: 500, consuming: 500) },
                { try await kafka.limit() }
            ),
        ] as [(String, () async throws -> Void, () async throws -> Void)] {
            try await cause()
            // Long enough that requests are on their way, and none that ends in time hides it.
            try await Task.sleep(for: .seconds(1))
            try await mend()
            let mended = ContinuousClock.now
            try await site.waitForProgress(programs, "after \(name)")
            print("  \(name): rows again \(mended.duration(to: .now)) after it was mended")
        }
        try await site.expectEverythingOnce(gateway, processor)
        try await site.remove()
        try await kafka.remove()
    }
}
