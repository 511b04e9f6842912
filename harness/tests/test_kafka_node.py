"""One node of Apache Kafka: its life, its data, its clients' rights and their limits."""

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import unittest

from confluent_kafka import Producer
from support import error_of, folder_of, kafka, receive, send

from vigie_harness.checkout import ROOT
from vigie_harness.errors import HarnessError
from vigie_harness.kafka import KafkaCluster, Security
from vigie_harness.processes import wait_until


class Life(unittest.TestCase):
    """A node without anything before it."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = KafkaCluster(kafka(), folder_of(cls))
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.node = cls.cluster.node(1)
        cls.settings = cls.cluster.client_settings()

    def test_topics_have_the_settings_that_they_are_given(self):
        admin = self.cluster.admin
        admin.create_topic("settings", partitions=2, settings={"retention.ms": 60_000})
        admin.add_partitions("settings", 5)
        self.assertEqual(len(admin.metadata().topics["settings"].partitions), 5)
        admin.alter_topic("settings", max_message_bytes=1000)
        self.assertEqual(error_of(send, self.settings, "settings", "x" * 2000), "MSG_SIZE_TOO_LARGE")
        admin.alter_topic("settings", max_message_bytes=None)
        send(self.settings, "settings", "x" * 2000)
        admin.delete_topic("settings")
        self.assertFalse(admin.has_topic("settings"))
        with self.assertRaisesRegex(HarnessError, "cannot be deleted"):
            admin.delete_topic("settings")

    def test_records_and_offsets_of_groups_are_an_administrators(self):
        admin = self.cluster.admin
        admin.create_topic("records")
        for number in range(5):
            send(self.settings, "records", str(number))
        admin.delete_records("records", {0: 3})
        self.assertEqual(admin.offsets("records"), {0: (3, 5)})
        self.assertEqual(receive(self.settings, "records", 2, group="readers"), ["3", "4"])
        self.assertEqual(admin.group_offsets("readers"), {("records", 0): 5})
        admin.set_group_offsets("readers", {("records", 0): 4})
        self.assertEqual(admin.group_offsets("readers"), {("records", 0): 4})
        admin.delete_group("readers")

    def test_messages_outlive_a_stop_and_a_kill(self):
        self.cluster.admin.create_topic("kept")
        send(self.settings, "kept", "one")
        self.assertTrue(self.node.stop())
        self.assertFalse(self.node.is_running)
        self.node.start()
        send(self.settings, "kept", "two")
        self.node.kill()
        self.assertEqual(self.node.process.exit_status, -signal.SIGKILL)
        self.node.start()
        self.assertEqual(receive(self.settings, "kept", 2, group="kept"), ["one", "two"])

    def test_a_paused_node_hangs_and_goes_on(self):
        self.cluster.admin.create_topic("paused")
        self.node.pause()
        # The kernel still accepts connections in its name.
        with socket.create_connection(("127.0.0.1", self.node.port), 5):
            self.assertEqual(error_of(send, self.settings, "paused", "one", bound=1), "_MSG_TIMED_OUT")
        self.assertTrue(self.node.is_running)
        self.node.resume()
        send(self.settings, "paused", "two")

    def test_a_paused_node_can_be_stopped(self):
        self.node.pause()
        self.assertTrue(self.node.stop())
        self.node.start()

    def test_a_node_is_set_back_to_a_copy(self):
        self.cluster.admin.create_topic("back")
        send(self.settings, "back", "before")
        with self.assertRaisesRegex(HarnessError, "stop or kill it first"):
            self.node.copy_log_folder()
        self.node.stop()
        self.node.copy_log_folder()
        self.node.start()
        self.assertEqual(send(self.settings, "back", "after"), 1)
        self.node.stop()
        self.node.restore_log_folder()
        self.node.start()
        self.assertEqual(self.cluster.admin.offsets("back"), {0: (0, 1)})
        self.assertEqual(send(self.settings, "back", "another"), 1, "an offset that was given before")

    def test_a_quota_slows_a_client_down_until_it_is_lifted(self):
        self.cluster.admin.create_topic("quota")
        # The last time that the node told the client to wait; it tells on each connection by itself.
        delays = [0.0]
        producer = Producer(
            self.settings
            | {"client.id": "slow", "linger.ms": 0, "throttle_cb": lambda told: delays.append(told.throttle_time)}
        )

        def is_slow():
            producer.produce("quota", b"x" * 50_000)
            producer.flush(60)
            return delays[-1] > 0

        self.assertFalse(is_slow())
        self.cluster.admin.set_quota(client_id="slow", producer_byte_rate=10_000)
        wait_until("the client is slow", is_slow, 60)
        self.cluster.admin.set_quota(client_id="slow", producer_byte_rate=None)
        wait_until("the client is fast again", lambda: not is_slow(), 60)

    def test_the_topics_of_the_documentation_are_made(self):
        page = (ROOT / "documentation/kafka.md").read_text()
        (box,) = re.findall(r"^```sh\n(kafka-topics.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in box.splitlines():
            words = shlex.split(line)
            self.assertEqual(words[0], "kafka-topics.sh")
            # Here is one node, at another address.
            here = {"kafka-1:9092": self.cluster.bootstrap, "3": "1", "min.insync.replicas=2": "min.insync.replicas=1"}
            words = [here.get(word, word) for word in words[1:]]
            for _ in range(2):
                self.cluster.runtime.run("org.apache.kafka.tools.TopicCommand", *words)
        topics = self.cluster.admin.metadata().topics
        self.assertEqual(len(topics["sensor.readings"].partitions), 6)
        self.assertEqual(len(topics["sensor.readings.rejected"].partitions), 1)

    def test_what_a_node_is_may_be_seen(self):
        self.assertRegex(self.cluster.description, r"^Apache Kafka \d+\.\d+\.\d+$")
        self.assertGreater(self.node.process.resident_bytes, 50 << 20)
        self.assertGreater(self.node.process.cpu_seconds, 0)
        self.assertEqual(os.path.basename(os.readlink(f"/proc/{self.node.pid}/exe")), "java")
        with self.assertRaisesRegex(HarnessError, "no node 2"):
            self.cluster.node(2)


class Beginnings(unittest.TestCase):
    def test_a_port_that_another_program_took_is_another_one_then(self):
        cluster = KafkaCluster(kafka(), folder_of(self))
        self.addCleanup(cluster.close)
        node = cluster.node(1)
        node.choose_ports()
        lost = node.port
        with socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taker.bind(("127.0.0.1", lost))
            taker.listen()
            cluster.start()
            self.assertNotEqual(node.port, lost)
            send(cluster.client_settings(), "anything", "one")

    def test_a_node_that_cannot_start_says_so_with_the_end_of_its_log(self):
        cluster = KafkaCluster(kafka(), folder_of(self), properties={"num.partitions": "none"})
        self.addCleanup(cluster.close)
        with self.assertRaisesRegex(HarnessError, "(?s)Kafka's node 1 ended with status 1.*num.partitions"):
            cluster.start()

    def test_nodes_do_not_outlive_a_killed_parent(self):
        kafka()
        script = (
            "import sys\n"
            "from vigie_harness.kafka import KafkaCluster\n"
            "from vigie_harness.kafka.finding import find_kafka\n"
            "cluster = KafkaCluster(find_kafka(), sys.argv[1])\n"
            "cluster.launch()\n"
            "print(cluster.node(1).pid, flush=True)\n"
            "sys.stdin.read()\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", script, folder_of(self)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(parent.stdout.close)
        self.addCleanup(parent.stdin.close)
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()

        def is_gone():
            try:
                text = pathlib.Path(f"/proc/{pid}/stat").read_text()
            except FileNotFoundError:
                return True
            return text.rpartition(")")[2].split()[0] == "Z"

        wait_until("the node is gone", is_gone, 60)


class Secured(unittest.TestCase):
    """TLS with clients' certificates, SCRAM, and rights."""

    @classmethod
    def setUpClass(cls):
        security = Security(
            client_certificates=True,
            sasl="scram",
            users={"boss": "boss's", "alice": 'it"s \\ hers', "bob": "his"},
            super_users=["boss"],
        )
        cls.cluster = KafkaCluster(kafka(), folder_of(cls), security=security)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.admin.create_topic("readings")

    def test_each_may_do_what_is_granted(self):
        admin = self.cluster.admin
        admin.create_topic("granted")
        alice, bob = self.cluster.client_settings("alice"), self.cluster.client_settings("bob")
        send(self.cluster.client_settings("boss"), "granted", "from the boss")
        self.assertEqual(error_of(send, alice, "granted", "from alice"), "TOPIC_AUTHORIZATION_FAILED")
        admin.grant("alice", "write", topic="granted")
        send(alice, "granted", "from alice")
        self.assertIn(
            error_of(receive, bob, "granted", 1), ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED")
        )
        admin.grant("bob", "read", topic="granted")
        admin.grant("bob", "read", group="*")
        self.assertIn("from alice", receive(bob, "granted", 2, group="bobs"))
        admin.revoke("alice", "write", topic="granted")
        self.assertEqual(error_of(send, alice, "granted", "again"), "TOPIC_AUTHORIZATION_FAILED")

    def test_a_wrong_password_is_refused_and_a_new_one_taken(self):
        boss = self.cluster.client_settings("boss")
        wrong = boss | {"sasl.password": "wrong"}
        self.assertEqual(error_of(send, wrong, "readings", "one", bound=2), "_MSG_TIMED_OUT")
        self.cluster.admin.create_user("carol", "first")
        self.cluster.admin.create_user("carol", "second")
        self.cluster.admin.grant("carol", "write", topic="readings")
        send(boss | {"sasl.username": "carol", "sasl.password": "second"}, "readings", "one")

    def test_a_client_without_a_certificate_or_with_an_expired_one_is_refused(self):
        boss = self.cluster.client_settings("boss")
        bare = {
            key: value for key, value in boss.items() if key not in ("ssl.certificate.location", "ssl.key.location")
        }
        self.assertEqual(error_of(send, bare, "readings", "one", bound=2), "_MSG_TIMED_OUT")
        expired = self.cluster.authority.issue_expired("client", file="expired")
        old = self.cluster.client_settings("boss", expired)
        self.assertEqual(error_of(send, old, "readings", "one", bound=2), "_MSG_TIMED_OUT")

    def test_an_expired_certificate_of_the_broker_is_refused(self):
        node = self.cluster.node(1)
        self.addCleanup(node.restart)
        self.addCleanup(setattr, node, "certificate", node.certificate)
        node.certificate = self.cluster.authority.issue_expired("node-1", file="node-1-expired")
        node.restart()
        self.assertEqual(
            error_of(send, self.cluster.client_settings("boss"), "readings", "one", bound=2), "_MSG_TIMED_OUT"
        )


class OtherListeners(unittest.TestCase):
    def test_plain_users(self):
        security = Security(sasl="plain", users={"alice": 'it"s \\ hers', "bob": "his"})
        with KafkaCluster(kafka(), folder_of(self), security=security) as cluster:
            send(cluster.client_settings("alice"), "anything", "one")
            wrong = cluster.client_settings("bob") | {"sasl.password": "wrong"}
            self.assertEqual(error_of(send, wrong, "anything", "one", bound=2), "_MSG_TIMED_OUT")

    def test_names_of_certificates_have_rights(self):
        security = Security(client_certificates=True, authorise=True)
        with KafkaCluster(kafka(), folder_of(self), security=security) as cluster:
            self.assertEqual(security.protocol, "SSL")
            cluster.admin.create_topic("readings")
            settings = cluster.client_settings()
            self.assertEqual(error_of(send, settings, "readings", "one"), "TOPIC_AUTHORIZATION_FAILED")
            cluster.admin.grant("client", "write", topic="readings")
            send(settings, "readings", "one")


if __name__ == "__main__":
    unittest.main()
