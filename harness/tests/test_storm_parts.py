"""What a storm is made of: members that die and are noticed, disks that are full, the eyes of the oracle."""

import contextlib
import errno
import pathlib
import shutil
import sqlite3
import tempfile
import time
import types
import unittest
from unittest import mock

from confluent_kafka import Producer

from vigie_harness.kafka.cluster import KafkaCluster
from vigie_harness.kafka.finding import find_kafka
from vigie_harness.kafka.home import KafkaMissing
from vigie_harness.processes import wait_until
from vigie_harness.storm import members
from vigie_harness.storm.cards import Cards, contents, copy
from vigie_harness.storm.disk import SmallDisk
from vigie_harness.storm.faults import OutboxDamaged, OutboxDeleted, OutboxRestored
from vigie_harness.storm.members import ProgramMember
from vigie_harness.storm.oracle import Violation
from vigie_harness.storm.poller import Poller
from vigie_harness.storm.run import compare
from vigie_harness.storm.schedule import Fault
from vigie_harness.storm.tap import RESENT, Tap


class FolderTests(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-storm-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


class MemberTests(FolderTests):
    def member(self, script: str) -> ProgramMember:
        self.incidents = []
        log = self.folder / "log"
        member = ProgramMember("program", ["bash", "-c", script], log, self.incidents.append)
        self.addCleanup(member.kill)
        return member

    def started(self, script: str) -> ProgramMember:
        """A member that has said that it is ready."""
        member = self.member(script)
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
        # A program that never handles the signal is waited for as one that is still being loaded.
        with mock.patch.object(members, "LOADING", 0.1):
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


TABLES = """
    CREATE TABLE outbox (last_number INTEGER NOT NULL, dropped INTEGER NOT NULL, readings INTEGER);
    INSERT INTO outbox VALUES (0, 0, NULL);
    CREATE TABLE reading (seq INTEGER PRIMARY KEY, stream_id INTEGER, event_time INTEGER, sensor_id TEXT,
        interval_ms INTEGER, temperature REAL, humidity REAL, co2 REAL, pressure REAL, battery_level REAL,
        battery_voltage REAL);
    CREATE TABLE quarantine (seq INTEGER PRIMARY KEY);
    CREATE TABLE gap (id INTEGER PRIMARY KEY, stream_id INTEGER, first INTEGER, last INTEGER);
    CREATE TABLE stream (ordinal INTEGER PRIMARY KEY, stream_id INTEGER, first INTEGER, last INTEGER,
        is_running INTEGER, told INTEGER);
    """


class OutboxTests(FolderTests):
    """A file with the tables of an outbox, as far as the storm looks at them."""

    def setUp(self):
        super().setUp()
        self.path = self.folder / "outbox.sqlite"
        self.outbox = self.made()

    def made(self) -> sqlite3.Connection:
        outbox = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(outbox.close)
        outbox.execute("PRAGMA journal_mode = WAL")
        outbox.executescript(TABLES)
        return outbox

    def add(self, *numbers: int, stream: int = 0xAA, temperature: float = 20.5):
        self.outbox.executemany(
            "INSERT INTO reading (seq, stream_id, event_time, sensor_id, temperature) VALUES (?, ?, 1000, 'a', ?)",
            [(number, stream, temperature) for number in numbers],
        )


class PollerTests(OutboxTests):
    def setUp(self):
        super().setUp()
        self.poller = Poller({"gateway-1": self.path})
        self.addCleanup(self.poller.close)
        self.view = self.poller.views["gateway-1"]

    def test_it_remembers_what_is_gone(self):
        self.add(1, 2, 3)
        self.poller.look()
        self.outbox.execute("DELETE FROM reading")
        self.add(4, 5)
        self.poller.look()
        self.assertEqual([seq for _, seq in self.view.readings], [1, 2, 3, 4, 5])
        self.assertEqual((self.view.depth, self.view.last_number), (2, 5))
        self.assertEqual(self.view.readings["00000000000000aa", 1][0][:3], (1, 1000, "a"))
        self.assertEqual(self.view.given, {"00000000000000aa": 5})

    def test_it_knows_the_last_number_of_readings_that_it_never_saw(self):
        self.outbox.execute("UPDATE outbox SET last_number = 3")
        self.poller.look()
        self.assertEqual((self.view.readings, self.view.depth, self.view.last_number), ({}, 0, 3))

    def test_numbers_of_one_file_that_go_back_are_a_problem(self):
        self.add(1, 2, 3)
        self.poller.look()
        self.outbox.execute("DELETE FROM reading WHERE seq > 1")
        self.poller.look()
        self.assertEqual(len(self.view.problems), 1)

    def test_another_file_begins_where_it_likes_and_what_was_seen_stays(self):
        self.add(1, 2, 3)
        self.poller.look()
        with self.poller.looking_away("gateway-1"):
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink()
            self.outbox = self.made()
        self.add(1, stream=-1)
        self.poller.look()
        self.assertEqual(self.view.problems, [])
        self.assertEqual(self.view.last_number, 1)
        self.assertEqual(self.view.given, {"00000000000000aa": 3, "f" * 16: 1})

    def test_one_number_of_a_stream_for_two_readings_is_a_problem_in_another_file_too(self):
        self.add(1)
        self.poller.look()
        with self.poller.looking_away("gateway-1"):
            self.path.unlink()
            self.path.with_name(self.path.name + "-wal").unlink()
            self.path.with_name(self.path.name + "-shm").unlink()
            self.outbox = self.made()
        self.add(1, temperature=21)
        self.poller.look()
        self.assertEqual(len(self.view.problems), 1)

    def test_it_looks_a_last_time_at_a_file_that_goes(self):
        self.add(1)
        with self.poller.looking_away("gateway-1") as view:
            self.assertEqual(list(view.readings), [("00000000000000aa", 1)])

    def test_it_looks_while_another_program_writes(self):
        self.add(1)
        self.outbox.execute("BEGIN IMMEDIATE")
        self.add(2)
        self.poller.look()
        self.assertEqual(self.view.last_number, 1, "what is not committed was not seen")
        self.outbox.execute("COMMIT")
        self.poller.look()
        self.assertEqual(self.view.last_number, 2)


class CardTests(OutboxTests):
    def test_contents_are_what_would_be_missed(self):
        self.add(8, 9)
        self.outbox.executescript("""
            INSERT INTO gap VALUES (1, 0xAA, 5, 7);
            INSERT INTO stream (stream_id, first, last, is_running, told) VALUES
                (1, 1, 3, 0, 2), (2, 4, 4, 0, 1), (3, 4, NULL, 0, 1), (0xAA, 5, NULL, 1, 1)
            """)
        found = contents(self.path)
        mine = "00000000000000aa"
        self.assertEqual(found.last_number, 9)
        self.assertEqual(found.waiting, {(mine, 8), (mine, 9)})
        self.assertEqual(found.gaps, [(mine, 5, 7)])
        self.assertEqual(found.untold, {f"{2:016x}", mine}, "nobody can tell the end of the third")
        self.assertFalse(found.is_settled)
        self.outbox.executescript("DELETE FROM reading; DELETE FROM gap; UPDATE stream SET told = 2")
        self.assertTrue(contents(self.path).is_settled)

    def test_what_an_older_copy_has_too_is_not_excused(self):
        self.add(1, 2)
        target = self.folder / "copy.sqlite"
        copy(self.path, target)
        self.add(3)
        cards = Cards()
        cards.lost("gateway-1", contents(self.path), contents(target))
        mine = "00000000000000aa"
        self.assertEqual(cards.excused, {("gateway-1", mine, 3, 3)})
        self.assertEqual(cards.doubtful, {("gateway-1", mine)})
        self.assertEqual(cards.copied, {"gateway-1"})

    def test_a_copy_is_whole_while_the_file_is_in_use(self):
        self.add(*range(1, 500))
        self.outbox.execute("BEGIN IMMEDIATE")
        self.add(500)
        copy(self.path, self.folder / "copy.sqlite")
        self.outbox.execute("COMMIT")
        self.assertEqual(len(contents(self.folder / "copy.sqlite").waiting), 499)


class FakeMember:
    is_running = True

    def __init__(self):
        self.calls = []

    def held(self):
        return contextlib.nullcontext()

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


class OutboxFaultTests(OutboxTests):
    """What faults do to files, without a gateway."""

    def act(self, kind, **parameters):
        self.poller = Poller({"gateway-1": self.path})
        self.addCleanup(self.poller.close)
        self.member = FakeMember()
        (self.folder / "copies").mkdir(exist_ok=True)
        world = types.SimpleNamespace(
            members={"gateway-1": self.member}, outboxes={"gateway-1": self.path}, poller=self.poller, cards=Cards(),
            folder=self.folder)  # fmt: skip
        return world, kind(world, Fault(1, 0, kind.name, "gateway-1", 1, 7, parameters))

    def test_a_deleted_outbox_of_a_stopped_gateway_is_gone_with_what_it_held(self):
        self.add(1, 2)
        world, action = self.act(OutboxDeleted, of="a stopped gateway")
        action.begin()
        self.assertEqual([each.name for each in self.folder.glob("outbox*")], [])
        self.assertEqual({seq for _, _, seq, _ in world.cards.excused}, {1, 2})
        action.end()
        self.assertEqual(self.member.calls, ["terminate", "start"])

    def test_an_older_copy_comes_back_without_the_log_of_the_newer_file(self):
        self.add(1)
        world, action = self.act(OutboxRestored, of="a killed gateway")
        action.begin()
        self.add(2)
        action.end()
        self.assertEqual(self.member.calls, ["kill", "start"])
        self.assertEqual({seq for _, seq in contents(self.path).waiting}, {1})
        self.assertEqual({seq for _, _, seq, _ in world.cards.excused}, {2})

    def test_damage_is_whole_pages_behind_the_first_or_the_header(self):
        self.add(*range(1, 2000))
        self.outbox.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = self.path.read_bytes()
        for what, amount, changed_pages in (("bytes of noise for a header", 100, 1), ("pages of zeros", 2, 2)):
            self.path.write_bytes(before)
            world, action = self.act(OutboxDamaged, **{"of": "a running gateway", what: amount})
            action.begin()
            after = self.path.read_bytes()
            self.assertEqual(len(after), len(before))
            changed = {at // 4096 for at in range(len(before)) if before[at] != after[at]}
            self.assertEqual(0 in changed, "header" in what)
            self.assertEqual(len(changed), changed_pages)
            self.assertEqual(len(world.cards.excused), 1999)
            self.assertEqual(world.cards.damaged, {"gateway-1"})


class CertificateTests(unittest.TestCase):
    """What must be said of the certificate of `verify`."""

    GOOD = "readings          7 in 2 streams, each once\nverified          everything agrees"
    OPEN = (
        "readings          7 in 2 streams, each once\n"
        "NOT VERIFIED      what was read agrees, but nobody knows how far these streams go. A gateway's report tells "
        "the end of a stream when it starts with the next one:\n"
        "  gateway-1 has 2 open streams: a (1 to 3), b (1 to 4)"
    )

    def test_it_must_agree_and_name_the_gateways_with_open_streams(self):
        self.assertEqual(compare(0, self.GOOD, 7, set(), []), [])
        self.assertEqual(compare(1, self.OPEN, 7, {"gateway-1"}, []), [])
        self.assertEqual(
            compare(1, f"{self.OPEN}\n  and 18 others", 7, {"gateway-1", "gateway-2"}, []), [], "only ten are listed"
        )

    def test_whatever_else_it_says_is_wrong(self):
        for status, text, rows, gateways in (
            (0, self.GOOD, 8, set()),
            (0, self.GOOD, 7, {"gateway-1"}),
            (1, self.OPEN, 7, set()),
            (1, self.OPEN, 7, {"gateway-1", "gateway-2"}),
            (1, self.OPEN + "\nNOT VERIFIED      1 mismatches, of which:", 7, {"gateway-1"}),
            (0, self.OPEN, 7, {"gateway-1"}),
        ):
            with self.subTest(status=status, text=text, rows=rows, gateways=gateways):
                self.assertEqual(len(compare(status, text, rows, gateways, [])), 1)
        self.assertEqual(len(compare(0, self.GOOD, 7, set(), [Violation("missing", "", 1, [])])), 1)


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
            self.assertTrue(tap.has_seen_all("readings", {0: 1, 1: 1}))
            self.assertFalse(tap.has_seen_all("readings", {0: 1, 1: 2}))
            kafka.admin.delete_topic("readings")
            kafka.admin.create_topic("readings", 2)
            tap.begin_anew("readings")
            for value in (b"{}", b'{"gateway_id": "g", "report": {"streams": []}}'):
                producer.produce("readings", value, None, 0)
            producer.flush(30)
            wait_until("the new topic is read", lambda: tap.positions("readings") == {0: 2, 1: 0})
            self.assertEqual(tap.log("readings"), 1)
            tap.stop()
        first, second, third, fourth = tap.messages
        self.assertEqual((first.reading, first.key, first.is_resent), ({"sensor_id": "a", "seq": 1}, b"key", False))
        self.assertEqual((second.reading, second.key, second.is_resent), (None, None, True))
        self.assertEqual([message.log for message in tap.messages], [0, 0, 1, 1])
        self.assertEqual((third.offset, third.report, first.report), (0, None, None))
        self.assertEqual(fourth.report, ("g", {"streams": []}))
        self.assertEqual(tap.doubtful, [])


if __name__ == "__main__":
    unittest.main()
