"""What a storm is made of: members that die and are noticed, disks that are full, the eyes of the oracle."""

import errno
import pathlib
import shutil
import sqlite3
import tempfile
import time
import unittest

from confluent_kafka import Producer

from vigie_harness.kafka.cluster import KafkaCluster
from vigie_harness.kafka.finding import find_kafka
from vigie_harness.kafka.home import KafkaMissing
from vigie_harness.processes import wait_until
from vigie_harness.storm.disk import SmallDisk
from vigie_harness.storm.members import ProgramMember
from vigie_harness.storm.poller import Poller
from vigie_harness.storm.tap import RESENT, Tap


class FolderTests(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-storm-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


class MemberTests(FolderTests):
    def member(self, script: str, excuse=lambda: None) -> ProgramMember:
        self.incidents = []
        log = self.folder / "log"
        member = ProgramMember("program", ["bash", "-c", script], log, self.incidents.append, excuse)
        self.addCleanup(member.kill)
        return member

    def started(self, script: str, **more) -> ProgramMember:
        """A member that has said that it is ready."""
        member = self.member(script, **more)
        member.start()
        wait_until("it is ready", lambda: "ready" in (self.folder / "log").read_text())
        return member

    def test_an_end_in_order_is_no_incident(self):
        member = self.started("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
        member.terminate()
        member.look()
        self.assertFalse(member.is_running)
        self.assertEqual(self.incidents, [])

    def test_a_stop_that_does_not_end_is_a_failure(self):
        member = self.started("trap '' TERM; echo ready; while :; do sleep 0.01; done")
        member.terminate(bound=0.3)
        self.assertFalse(member.is_running)
        self.assertEqual([each.is_failure for each in self.incidents], [True])
        self.assertIn("did not end", self.incidents[0].sentence)

    def test_a_stop_by_the_signal_is_a_failure_and_one_with_a_status_is_told(self):
        self.started("echo ready; exec sleep 60").terminate()
        self.assertEqual([each.is_failure for each in self.incidents], [True])
        (self.folder / "log").unlink()
        self.started("trap 'exit 1' TERM; echo ready; while :; do sleep 0.01; done").terminate()
        self.assertEqual([each.is_failure for each in self.incidents], [False])

    def test_an_end_by_itself_is_a_failure_and_it_is_started_again(self):
        member = self.started("echo ready; exit 3")
        wait_until("it has ended", lambda: not member.is_running)
        member.look()
        self.assertEqual([each.is_failure for each in self.incidents], [True])
        self.assertIn("status 3", self.incidents[0].sentence)
        self.assertEqual(member.starts, 2)

    def test_an_end_with_an_excuse_is_told_but_not_a_crash(self):
        member = self.started("echo ready; exit 3", excuse=lambda: "with a full disk")
        wait_until("it has ended", lambda: not member.is_running)
        member.look()
        self.assertEqual([each.is_failure for each in self.incidents], [False])
        (self.folder / "log").unlink()
        member = self.started("echo ready; kill -SEGV $$", excuse=lambda: "with a full disk")
        wait_until("it has ended", lambda: not member.is_running)
        member.look()
        self.assertEqual([each.is_failure for each in self.incidents], [True])

    def test_who_was_killed_stays_down_until_it_is_started(self):
        member = self.started("echo ready; exec sleep 60")
        member.kill()
        member.look()
        self.assertFalse(member.is_running)
        self.assertEqual(self.incidents, [])
        member.start()
        self.assertTrue(member.is_running)


@unittest.skipUnless(SmallDisk.is_possible(), "this user may not mount file systems")
class DiskTests(FolderTests):
    def test_a_full_disk_takes_no_page_until_it_is_freed(self):
        disk = SmallDisk(self.folder / "disk", 4 << 20)
        self.addCleanup(disk.unmount)
        other = disk.folder / "other"
        other.write_bytes(b"first")
        disk.fill()
        with self.assertRaises(OSError) as refused, open(other, "ab", buffering=0) as file:
            for _ in range(2):
                # The rest of its last page is still there.
                self.assertLess(file.write(bytes(1 << 20)), 4096)
        self.assertEqual(refused.exception.errno, errno.ENOSPC)
        disk.free()
        with open(other, "ab", buffering=0) as file:
            self.assertEqual(file.write(bytes(1 << 20)), 1 << 20)


class PollerTests(FolderTests):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "outbox.sqlite"
        self.outbox = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.outbox.close)
        self.outbox.execute("PRAGMA journal_mode = WAL")
        self.outbox.executescript("""
            CREATE TABLE outbox (stream_id TEXT NOT NULL, dropped INTEGER NOT NULL DEFAULT 0);
            INSERT INTO outbox (stream_id) VALUES ('00000000000000aa');
            CREATE TABLE reading (seq INTEGER PRIMARY KEY AUTOINCREMENT, event_time INTEGER, sensor_id TEXT,
                interval_ms INTEGER, temperature REAL, humidity REAL, co2 REAL, pressure REAL, battery_level REAL,
                battery_voltage REAL);
            CREATE TABLE quarantine (seq INTEGER PRIMARY KEY);
            """)
        self.poller = Poller({"gateway-1": self.path})
        self.addCleanup(self.poller.close)
        self.view = self.poller.views["gateway-1"]

    def add(self, count: int = 1):
        for _ in range(count):
            self.outbox.execute("INSERT INTO reading (event_time, sensor_id, temperature) VALUES (1000, 'a', 20.5)")

    def test_it_remembers_what_is_gone(self):
        self.add(3)
        self.poller.look()
        self.outbox.execute("DELETE FROM reading")
        self.add(2)
        self.poller.look()
        self.assertEqual([seq for _, seq in self.view.readings], [1, 2, 3, 4, 5])
        self.assertEqual((self.view.depth, self.view.last_number), (2, 5))
        self.assertEqual(self.view.readings["00000000000000aa", 1][0][:3], (1, 1000, "a"))

    def test_it_knows_the_last_number_of_readings_that_it_never_saw(self):
        self.add(3)
        self.outbox.execute("DELETE FROM reading")
        self.poller.look()
        self.assertEqual((self.view.readings, self.view.depth, self.view.last_number), ({}, 0, 3))

    def test_numbers_that_go_back_are_a_problem(self):
        self.add(3)
        self.poller.look()
        self.outbox.executescript("DELETE FROM reading; UPDATE sqlite_sequence SET seq = 1")
        self.poller.look()
        self.assertEqual(len(self.view.problems), 1)

    def test_it_looks_while_another_program_writes(self):
        self.add(1)
        self.outbox.execute("BEGIN IMMEDIATE")
        self.add(1)
        self.poller.look()
        self.assertEqual(self.view.last_number, 1, "what is not committed was not seen")
        self.outbox.execute("COMMIT")
        self.poller.look()
        self.assertEqual(self.view.last_number, 2)


class TapTests(FolderTests):
    def test_it_sees_every_partition_also_those_that_are_added(self):
        try:
            home = find_kafka()
        except KafkaMissing as missing:
            self.skipTest(str(missing))
        with KafkaCluster(home, self.folder / "kafka") as kafka:
            kafka.admin.create_topic("readings", 1)
            tap = Tap(kafka.inner_bootstrap, ["readings"])
            tap.start()
            producer = Producer({"bootstrap.servers": kafka.inner_bootstrap, "log_level": 0})
            producer.produce("readings", b'{"sensor_id": "a", "seq": 1}', b"key", 0)
            producer.flush(30)
            wait_until("the first message is seen", lambda: tap.count("readings") == 1)
            kafka.admin.add_partitions("readings", 2)
            deadline = time.monotonic() + 30
            while (
                time.monotonic() < deadline and 1 not in producer.list_topics("readings").topics["readings"].partitions
            ):
                time.sleep(0.05)
            producer.produce("readings", b"no reading", None, 1, headers={RESENT: b"again"})
            producer.flush(30)
            wait_until("the second message is seen", lambda: tap.positions("readings") == {0: 1, 1: 1})
            tap.stop()
        first, second = tap.messages
        self.assertEqual((first.reading, first.key, first.is_resent), ({"sensor_id": "a", "seq": 1}, b"key", False))
        self.assertEqual((second.reading, second.key, second.is_resent), (None, None, True))
        self.assertEqual(tap.doubtful, [])


if __name__ == "__main__":
    unittest.main()
