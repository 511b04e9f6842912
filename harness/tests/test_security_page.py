"""The rights that documentation/security.md gives by Kafka's own tool are enough for each program, and no more."""

import re
import shlex
import subprocess
import unittest

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from support import folder_of, kafka

from vigie_harness.checkout import ROOT
from vigie_harness.kafka import KafkaCluster, Security
from vigie_harness.kafka.home import java

TOPIC, REJECTED, GROUP = "sensor.readings", "sensor.readings.rejected", "vigie-processor"


def commands(kind: str) -> list[list[str]]:
    """The page's commands of kafka-acls.sh with a word, as words and without the program."""
    text = (ROOT / "documentation/security.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("kafka-acls.sh ")]
    return [line[1:] for line in lines if kind in line]


class SecurityPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        users = {name: f"password of {name}" for name in ("cellar-1", "cellar-2", "processor")}
        security = Security(sasl="plain", users=users, authorise=True)
        cls.cluster = KafkaCluster(kafka(), folder_of(cls), security=security)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        for topic in (TOPIC, REJECTED):
            cls.cluster.admin.create_topic(topic)

    def acls(self, words: list[str]):
        """What kafka-acls.sh runs, by the nodes' own listener."""
        for option in ("--bootstrap-server", "--command-config"):
            at = words.index(option)
            words = words[:at] + words[at + 2 :]
        command = [java(), "-cp", kafka().class_path, "org.apache.kafka.tools.AclCommand"]
        command += ["--bootstrap-server", self.cluster.inner_bootstrap, *words]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def send(self, user: str, topic: str) -> KafkaError | None:
        """Sends as the programs do, with an idempotent producer, and says what came of it."""
        outcome = []
        settings = self.cluster.client_settings(user) | {"enable.idempotence": True, "message.timeout.ms": 20_000}
        producer = Producer(settings)
        producer.produce(topic, b"x", on_delivery=lambda error, _: outcome.append(error))
        producer.flush(30)
        self.assertEqual(len(outcome), 1, f"{user} got no answer about {topic}")
        return outcome[0]

    def read(self, user: str, topic: str, group: str = GROUP) -> KafkaError | None:
        """Reads the first message and commits, and says what came of it."""
        settings = self.cluster.client_settings(user) | {"group.id": group, "auto.offset.reset": "earliest"}
        consumer = Consumer(settings)
        try:
            # As a member of the group: whoever commits without being one may be told only that no coordinator is known.
            consumer.subscribe([topic])
            message = consumer.poll(30)
            self.assertIsNotNone(message, f"{user} got no answer about {topic}")
            if message.error():
                return message.error()
            consumer.commit(message, asynchronous=False)
            return None
        except KafkaException as error:
            return error.args[0]
        finally:
            consumer.close()

    def refused(self, error: KafkaError | None):
        self.assertIsNotNone(error, "it was allowed")
        self.assertIn("AUTHORIZATION_FAILED", error.name())

    def test_its_rights_are_enough_and_no_more(self):
        self.refused(self.send("cellar-1", TOPIC))
        added, removed = commands("--add"), commands("--remove")
        self.assertEqual((len(added), len(removed)), (4, 1))
        for words in added:
            self.acls(words)
        self.assertIsNone(self.send("cellar-1", TOPIC))
        self.assertIsNone(self.read("processor", TOPIC))
        self.assertIsNone(self.send("processor", REJECTED))
        self.refused(self.read("cellar-1", TOPIC))
        self.refused(self.send("cellar-1", REJECTED))
        self.refused(self.send("cellar-2", TOPIC))
        self.refused(self.send("processor", TOPIC))
        self.refused(self.read("processor", TOPIC, group="another"))
        self.acls(*removed)
        self.refused(self.send("cellar-1", TOPIC))
