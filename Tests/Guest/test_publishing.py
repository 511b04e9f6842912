"""The release gateway in a virtual machine publishes to the Kafka of this machine, over the guest's network card."""

import collections
import json
import os
import pathlib
import re
import shutil
import tempfile
import unittest
import uuid

import board
import guest
from confluent_kafka import Consumer, KafkaException

from vigie_harness.kafka import KafkaAdmin
from vigie_harness.processes import wait_until

KAFKA = os.environ.get("VIGIE_KAFKA", "")


@unittest.skipUnless(
    re.fullmatch(r"127\.0\.0\.1:\d+", KAFKA), "VIGIE_KAFKA names no single broker on loopback: run `make test`"
)
class PublishingTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-guest-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.topic = f"guest-{uuid.uuid4().hex[:8]}.readings"
        cls.admin = KafkaAdmin({"bootstrap.servers": KAFKA})
        cls.admin.create_topic(cls.topic, partitions=2, replicas=1)
        port = KAFKA.rpartition(":")[2]
        scenario = f"publishing kafka_port={port} kafka_topic={cls.topic}"
        cls.console, cls.log = board.run_scenario(cls.folder, scenario, network=True)
        cls.readings = cls.read_topic()

    @classmethod
    def read_topic(cls):
        """All readings on the topic, in the order of each of its partitions."""
        count = sum(end - begin for begin, end in cls.admin.offsets(cls.topic).values())
        consumer = Consumer(
            {"bootstrap.servers": KAFKA, "group.id": cls.topic, "auto.offset.reset": "earliest", "log_level": 0}
        )
        messages = []

        def are_read():
            if message := consumer.poll(0.1):
                if message.error():
                    raise KafkaException(message.error())
                messages.append(json.loads(message.value()))
            return len(messages) == count

        try:
            consumer.subscribe([cls.topic])
            wait_until(f"{count} messages are read", are_read, 120, interval=0)
        finally:
            consumer.close()
        # The rest are reports of the gateway.
        return [message for message in messages if "sensor_id" in message]

    def run(self, result=None):
        result = super().run(result)
        if result and not result.wasSuccessful() and hasattr(self, "log"):
            board.keep(self.log)
        return result

    def test_every_reading_of_the_board_is_on_the_topic_once(self):
        numbers = sorted(reading["seq"] for reading in self.readings)
        self.assertGreaterEqual(len(numbers), 100)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        self.assertEqual(len({reading["stream_id"] for reading in self.readings}), 1)
        self.assertIn("\nOUTBOX 0\n", self.console, "what is acknowledged is no longer on the board")
        self.assertIn("\nGATEWAY 0\n", self.console)

    def test_the_readings_have_the_values_that_were_set(self):
        stations = collections.Counter(reading["sensor_id"] for reading in self.readings)
        self.assertEqual(set(stations), set(board.FIRST))
        for reading in self.readings:
            self.assertEqual(reading["gateway_id"], "guest")
            self.assertNotIn("simulated", reading, "hardware mode is not simulated")
            expected = board.FIRST[reading["sensor_id"]]
            if reading.get("faults"):
                # Real time passes unevenly in a guest, and a chip may be late: what is there is right all the same.
                continue
            self.assertEqual({name for name in board.QUANTITIES if name in reading}, set(expected), reading)
            for name, value in expected.items():
                self.assertAlmostEqual(reading[name], value, delta=board.TOLERANCE[name], msg=f"{name} of {reading}")
        sound = {reading["sensor_id"] for reading in self.readings if not reading.get("faults")}
        self.assertEqual(sound, set(board.FIRST), "each station has given a whole reading")


if __name__ == "__main__":
    try:
        unittest.main()
    except guest.GuestError as error:
        raise SystemExit(f"vigie: {error}") from None
