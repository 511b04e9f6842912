import Testing

@testable import KafkaClient

@Suite struct FetchInterruptionsTests {
    @Test func linesOfPartitionsThatABrokerDoesNotGiveAreRead() {
        var interruptions = FetchInterruptions()
        interruptions.note(
            line: "[thrd:127.0.0.1:9092/bootstrap]: sensor.readings [13]: broker unavailable: fetch: "
                + "Broker: Unknown topic or partition")
        interruptions.note(line: "a [0]: broker unavailable: fetch: Broker: Not leader for partition")
        interruptions.note(line: "[thrd:main]: sensor.readings [7] no longer reported in metadata")
        for other in [
            "[thrd:main]: sensor.readings [x]: broker unavailable: fetch: ", "]: broker unavailable: ",
            "[1]: broker unavailable: ", "sensor.readings [3]: other", "", "[4] no longer reported in metadata",
        ] { interruptions.note(line: other) }
        let expected = [
            TopicPartition("sensor.readings", 13), TopicPartition("a", 0), TopicPartition("sensor.readings", 7),
        ]
        #expect(interruptions.unavailable == Set(expected))
        #expect(interruptions.lostBrokers.isEmpty)
    }
}
