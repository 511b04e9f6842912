"""What each kind of fault does: a class a kind. `KINDS` has them all."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from confluent_kafka import KafkaException, Producer

from ..errors import HarnessError
from ..proxy import Direction
from .cards import LAST, Contents, contents, copy
from .schedule import Fault, Kind
from .tap import RESENT, Seen

if TYPE_CHECKING:
    from .world import World

# Bytes of a page of an outbox's file.
PAGE = 4096
# How long a gateway may take to put its outbox back, in seconds.
PUT_BACK = 60.0


class Void(Exception):
    """The fault could not be done as things stand, such as a session to end where no server runs; the text says why."""


class Action(Kind):
    """A kind of fault that can be done to a world."""

    def __init__(self, world: "World", fault: Fault):
        self.world = world
        self.fault = fault
        self.chance = random.Random(fault.seed)

    def begin(self) -> None:
        """Does it. Raises Void if that cannot be done, and has done nothing then."""
        raise NotImplementedError

    def end(self) -> None:
        """Takes it back, for kinds that last."""

    @property
    def member(self):
        return self.world.members[self.fault.target]


# Processes


class _OfProcess(Action):
    @classmethod
    def targets(cls, layout):
        return [*layout.gateways, *layout.processors, *layout.nodes, "postgres"]


class Kill(_OfProcess):
    """SIGKILL, and a start after a while."""

    name = "kill"
    weight = 4.0
    duration = (0.2, 12.0)

    def begin(self):
        self.member.kill()

    def end(self):
        self.member.start()


class Pause(_OfProcess):
    """SIGSTOP, and SIGCONT after a while. Of PostgreSQL its first process, so that nobody can connect."""

    name = "pause"
    weight = 3.0
    duration = (0.3, 60.0)

    def begin(self):
        self.member.pause()

    def end(self):
        self.member.resume()


class Terminate(_OfProcess):
    """An end in order, and a start after a while."""

    name = "terminate"
    weight = 2.5
    duration = (0.1, 8.0)

    def begin(self):
        self.member.terminate()

    def end(self):
        self.member.start()


class Roll(Action):
    """All processors are stopped and started, one after the other, as an update does it."""

    name = "roll"
    weight = 1.0

    @classmethod
    def targets(cls, layout):
        return ["processors"] if layout.processors else []

    @classmethod
    def needs(cls, target, layout):
        return layout.processors

    def begin(self):
        for processor in self.world.layout.processors:
            self.world.members[processor].terminate()
            self.world.members[processor].start()


class KillLeader(Action):
    """SIGKILL of the node that leads a partition of the topic."""

    name = "kill leader"
    weight = 2.5
    duration = (0.5, 12.0)

    @classmethod
    def targets(cls, layout):
        return ["kafka"] if len(layout.nodes) > 1 else []

    @classmethod
    def needs(cls, target, layout):
        return ["leader"]

    def begin(self):
        self.killed = None
        try:
            topic = self.world.kafka.admin.metadata(5).topics[self.world.topic]
        except (KafkaException, KeyError) as error:
            raise Void("no node says who leads") from error
        leaders = sorted({partition.leader for partition in topic.partitions.values() if partition.leader > 0})
        running = [number for number in leaders if self.world.node(number).is_running]
        if not running:
            raise Void("no leader runs")
        self.killed = self.world.node(self.chance.choice(running))
        self.killed.kill()

    def end(self):
        if self.killed:
            self.killed.start()


# Connections


_WAYS = {"both ways": Direction.BOTH, "requests": Direction.TO_SERVER, "answers": Direction.TO_CLIENT}


class _OfLink(Action):
    @classmethod
    def targets(cls, layout):
        return layout.links

    @classmethod
    def needs(cls, target, layout):
        return [f"link {target}"]

    @property
    def link(self):
        return self.world.links[self.fault.target]

    @property
    def direction(self):
        return _WAYS[self.fault.parameters["of"]]

    def end(self):
        if self.duration[1] > 0:
            self.link.heal()


class Cut(_OfLink):
    """All connections are closed in order."""

    name = "cut"

    def begin(self):
        if not self.link.cut():
            raise Void("no connection was open")


class Reset(_OfLink):
    """All connections are reset."""

    name = "reset"

    def begin(self):
        if not self.link.reset():
            raise Void("no connection was open")


class Refuse(_OfLink):
    """Nobody listens for a while."""

    name = "refuse"
    duration = (0.2, 15.0)

    def begin(self):
        self.link.refuse()


class Delay(_OfLink):
    """Everything comes later."""

    name = "delay"
    duration = (1.0, 20.0)

    @classmethod
    def parameters(cls, chance):
        return {"of": chance.choice(list(_WAYS)), "seconds": round(chance.uniform(0.02, 1.5), 2)}

    def begin(self):
        self.link.delay(self.fault.parameters["seconds"], self.direction)


class Throttle(_OfLink):
    """Connections are slow."""

    name = "throttle"
    duration = (1.0, 20.0)

    @classmethod
    def parameters(cls, chance):
        return {"of": chance.choice(list(_WAYS)), "bytes/s": chance.choice([300, 1000, 3000, 10_000, 30_000])}

    def begin(self):
        self.link.throttle(self.fault.parameters["bytes/s"], self.direction)


class BlackHole(_OfLink):
    """What is sent disappears: nobody answers, nobody closes."""

    name = "black hole"
    weight = 2.0
    duration = (0.5, 45.0)

    @classmethod
    def parameters(cls, chance):
        return {"of": chance.choice(list(_WAYS))}

    def begin(self):
        self.link.swallow(self.direction)


# Outboxes


class _OfOutbox(Action):
    @classmethod
    def targets(cls, layout):
        return layout.gateways

    @classmethod
    def needs(cls, target, layout):
        return [f"outbox {target}"]


class DiskFull(_OfOutbox):
    """The outbox's file system has no room left."""

    name = "disk full"
    duration = (0.5, 20.0)

    @classmethod
    def targets(cls, layout):
        return layout.gateways if layout.can_fill_disks else []

    def begin(self):
        self.world.disks[self.fault.target].fill()

    def end(self):
        self.world.disks[self.fault.target].free()


class OutboxLocked(_OfOutbox):
    """Another program has the outbox's lock for writing, as a shell with an open transaction has."""

    name = "outbox locked"
    duration = (0.3, 15.0)

    def begin(self):
        self.holder = None
        try:
            # Begun and ended by two threads at most, never at the same time.
            path = self.world.outboxes[self.fault.target]
            self.holder = sqlite3.connect(
                f"file:{path}?mode=rw", uri=True, timeout=2, isolation_level=None, check_same_thread=False
            )
            self.holder.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self.end()
            raise Void(f"the lock is not to be had: {error}") from error

    def end(self):
        if self.holder:
            with contextlib.suppress(sqlite3.Error):
                self.holder.execute("ROLLBACK")
            self.holder.close()
            self.holder = None


@dataclass(frozen=True)
class _File:
    """The file of an outbox as a fault finds it."""

    inode: int
    contents: Contents


class _OfFile(_OfOutbox):
    """Something happens to the file of an outbox while its gateway runs, or after that was stopped or killed."""

    duration = (0.3, 8.0)

    @classmethod
    def needs(cls, target, layout):
        return [target, f"outbox {target}"]

    @classmethod
    def parameters(cls, chance):
        return {"of": chance.choice(["a running gateway", "a stopped gateway", "a killed gateway"])}

    @property
    def path(self):
        return self.world.outboxes[self.fault.target]

    @property
    def is_running(self):
        """Whether the gateway is to run meanwhile."""
        return self.fault.parameters["of"] == "a running gateway"

    def read(self) -> Contents:
        try:
            return contents(self.path)
        except sqlite3.Error as error:
            raise Void(f"the outbox cannot be read: {error}") from error

    def find(self) -> _File:
        """Waits until the gateway has the file open and commits to it: before that it has no other to put back."""
        first, inode = self.read().last_number, self._inode()
        # While the broker is away it commits every two seconds.
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline and self.member.is_running:
            time.sleep(0.05)
            found = self.read()
            if found.last_number > first and inode == self._inode():
                return _File(inode, found)
        raise Void("the gateway commits nothing")

    def stop(self) -> None:
        if self.fault.parameters["of"] == "a killed gateway":
            self.member.kill()
        else:
            self.member.terminate()

    def remove(self) -> None:
        """Removes the file and what SQLite has beside it."""
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def wait_until_put_back(self, before: _File, placed: int | None = None) -> None:
        """The gateway puts back what it has open: another file, which has all numbers."""
        deadline = time.monotonic() + PUT_BACK
        while time.monotonic() < deadline:
            with contextlib.suppress(Void):
                is_new = self._inode() not in (None, before.inode, placed)
                if is_new and self.read().last_number >= before.contents.last_number:
                    return
            time.sleep(0.1)
        self.world.fail(self.fault.target, f"did not put its outbox back within {PUT_BACK:.0f} s")

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None


class OutboxDeleted(_OfFile):
    """The file is deleted. A gateway that runs puts it back; without one what waited in it is lost, as with a card."""

    name = "outbox deleted"

    def begin(self):
        with self.member.held():
            if self.is_running:
                found = self.find()
                with self.world.poller.looking_away(self.fault.target):
                    self.remove()
                # Who kills it before loses what the deleted file held.
                self.wait_until_put_back(found)
                return
            self.read()
            self.stop()
            with self.world.poller.looking_away(self.fault.target):
                # What is committed by now is in it too.
                self.world.cards.lost(self.fault.target, contents_or_all(self.world, self.fault.target))
                self.remove()

    def end(self):
        if not self.is_running:
            self.member.start()


class OutboxRestored(_OfFile):
    """A copy is taken, and later it or an older one is put in the file's place."""

    name = "older outbox"
    duration = (0.5, 15.0)

    def begin(self):
        copies = self.world.folder / "copies"
        mine = copies / f"{self.fault.target}-{self.fault.number:04}.sqlite"
        try:
            copy(self.path, mine)
            contents(mine)
        except (sqlite3.Error, OSError) as error:
            raise Void(f"the outbox cannot be copied: {error}") from error
        self.chosen = self.chance.choice(sorted(copies.glob(f"{self.fault.target}-*.sqlite")))

    def end(self):
        placed = self.path.with_name(f"placed-{self.fault.number}")
        shutil.copyfile(self.chosen, placed)
        inode = placed.stat().st_ino
        try:
            with self.member.held():
                if self.is_running:
                    found = self.find()
                    self._place(placed)
                    self.wait_until_put_back(found, inode)
                    return
                self.read()
                self.stop()
                try:
                    self._place(placed, is_lost=True)
                finally:
                    self.member.start()
        finally:
            placed.unlink(missing_ok=True)

    def _place(self, placed: pathlib.Path, is_lost: bool = False) -> None:
        with self.world.poller.looking_away(self.fault.target):
            if is_lost:
                dead = contents_or_all(self.world, self.fault.target)
                self.world.cards.lost(self.fault.target, dead, contents(placed))
            self.remove()
            os.replace(placed, self.path)


class OutboxDamaged(_OfFile):
    """Whole pages of the file are zeros or noise, as of a card that loses them; sometimes the header."""

    name = "outbox damaged"

    @classmethod
    def parameters(cls, chance):
        found = super().parameters(chance)
        what = chance.choice(["zeros", "noise"])
        # One in five is the header, which is a hundred bytes.
        pages = chance.choice([0, 1, 1, 2, 5])
        return found | ({f"pages of {what}": pages} if pages else {f"bytes of {what} for a header": 100})

    def begin(self):
        with self.member.held():
            self.read()
            if not self.is_running:
                self.stop()
            elif not self.member.is_running:
                raise Void("the gateway does not run")
            if self.chance.random() < 0.7:
                self._checkpoint()
            with self.world.poller.looking_away(self.fault.target):
                self.world.cards.harmed(self.fault.target, contents_or_all(self.world, self.fault.target))
                self._damage()

    def _checkpoint(self) -> None:
        """Puts what stands in SQLite's log into the file, where damage strikes it; mostly the log has all of it."""
        with contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(f"file:{self.path}?mode=rw", uri=True, timeout=1, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _damage(self) -> None:
        (what, amount) = next((name, value) for name, value in self.fault.parameters.items() if name != "of")
        with open(self.path, "r+b", buffering=0) as file:
            count = os.fstat(file.fileno()).st_size // PAGE
            pages = self.chance.sample(range(1, count), min(amount, count - 1)) if count > 1 else []
            places = [(0, amount)] if "header" in what else [(page * PAGE, PAGE) for page in pages]
            for offset, length in places:
                harm = self.chance.randbytes(length) if "noise" in what else bytes(length)
                os.pwrite(file.fileno(), harm, offset)

    def end(self):
        if not self.is_running:
            self.member.start()


class OutboxCloned(_OfOutbox):
    """A second gateway runs under the same name on a copy, as of a card that was cloned."""

    name = "outbox cloned"
    duration = (2.0, 30.0)

    @classmethod
    def needs(cls, target, layout):
        # The first one may be struck meanwhile.
        return [f"clone of {target}"]

    def begin(self):
        target = self.world.folder / "copies" / f"clone-{self.fault.number:04}.sqlite"
        try:
            copy(self.world.outboxes[self.fault.target], target)
            there = contents(target)
        except (sqlite3.Error, OSError) as error:
            raise Void(f"the outbox cannot be copied: {error}") from error
        self.world.cards.copied_of(self.fault.target, there)
        self.clone = self.world.start_clone(
            f"{self.fault.target}-clone-{self.fault.number}", self.fault.target, target)  # fmt: skip

    def end(self):
        self.clone.terminate()


def contents_or_all(world: "World", gateway: str) -> Contents:
    """What stands in an outbox; if that cannot be read, whatever was seen in it since the storm began."""
    try:
        return contents(world.outboxes[gateway])
    except sqlite3.Error:
        given = world.poller.views[gateway].given
        return Contents(gaps=[(stream, 1, LAST) for stream in given], untold=set(given))


# The database


def _words(error: psycopg.Error) -> str:
    """What the database says, without the way to it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return "the database: " + lines[0].rpartition("failed: ")[2]


_SESSIONS = """
    SELECT pid FROM pg_stat_activity WHERE datname = 'vigie' AND backend_type = 'client backend'
    AND application_name <> 'vigie-storm' ORDER BY pid
"""


class _OfSessions(Action):
    @classmethod
    def targets(cls, layout):
        return ["database"]

    @classmethod
    def needs(cls, target, layout):
        return ["sessions"]

    @contextlib.contextmanager
    def _database(self):
        """A connection, if there is one to be had."""
        try:
            with self.world.connect() as connection:
                yield connection
        except psycopg.Error as error:
            raise Void(_words(error)) from error

    def _sessions(self) -> list[int]:
        with self._database() as connection:
            pids = [pid for (pid,) in connection.execute(_SESSIONS)]
        if not pids:
            raise Void("no session was open")
        return pids


class EndSessions(_OfSessions):
    """pg_terminate_backend of sessions, of one or of all."""

    name = "end sessions"
    weight = 1.5

    def begin(self):
        pids = self._sessions()
        chosen = pids if self.chance.random() < 0.5 else [self.chance.choice(pids)]
        with self._database() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [chosen])


class KillSession(_OfSessions):
    """SIGKILL of a session's process, after which PostgreSQL ends all and recovers as after a crash."""

    name = "kill session"
    weight = 0.7

    def begin(self):
        _signal(self.chance.choice(self._sessions()), signal.SIGKILL)


class PauseSession(_OfSessions):
    """SIGSTOP of a session's process: a statement that does not end, and locks that stay."""

    name = "pause session"
    duration = (0.3, 40.0)

    def begin(self):
        self.pid = None
        pid = self.chance.choice(self._sessions())
        _signal(pid, signal.SIGSTOP)
        self.pid = pid

    def end(self):
        if self.pid:
            with contextlib.suppress(Void):
                _signal(self.pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise Void("the session had ended") from error


class LockTable(_OfSessions):
    """Somebody has a table for himself for a while."""

    name = "lock table"
    weight = 1.5
    duration = (0.3, 12.0)

    @classmethod
    def targets(cls, layout):
        return layout.tables

    @classmethod
    def needs(cls, target, layout):
        # One at a time: two that wait for each other's would be ended by PostgreSQL.
        return ["table lock"]

    def begin(self):
        self.holder = None
        try:
            self.holder = self.world.connect()
            self.holder.execute("SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '120s'; BEGIN")
            self.holder.execute(f"LOCK TABLE {self.fault.target} IN ACCESS EXCLUSIVE MODE")
        except psycopg.Error as error:
            self.end()
            raise Void(_words(error)) from error

    def end(self):
        if self.holder:
            with contextlib.suppress(psycopg.Error):
                self.holder.close()
            self.holder = None


class StandbyPromoted(Action):
    """The database dies, and a standby that lacks its last commits takes its place."""

    name = "standby promoted"
    weight = 2.5
    # About what the copy takes: it goes on by itself.
    duration = (4.0, 8.0)

    @classmethod
    def targets(cls, layout):
        return ["postgres"]

    @classmethod
    def needs(cls, target, layout):
        return ["postgres", "sessions", "table lock"]

    @classmethod
    def parameters(cls, chance):
        return {"commits behind": chance.choice([1, 2, 2, 2, 5])}

    def begin(self):
        # On a busy machine the one before may not be done.
        if not self.world.fail_over_lock.acquire(blocking=False):
            raise Void("another standby is being promoted")
        try:
            with self.member.held():
                if not self.member.is_running:
                    raise Void("the database does not run")
                self.world.fail_over(self.fault.parameters["commits behind"])
        except subprocess.CalledProcessError as error:
            raise Void(f"the database: {error.stderr.strip()}") from error
        finally:
            self.world.fail_over_lock.release()


# The topic


class _OfTopic(Action):
    @classmethod
    def targets(cls, layout):
        return ["topic"]

    @classmethod
    def needs(cls, target, layout):
        return [cls.name]


class AddPartition(_OfTopic):
    """The topic gets one more partition, and gateways' readings go elsewhere from then on."""

    name = "add partition"
    weight = 0.8

    @classmethod
    def limit(cls, layout):
        return layout.partitions_to_add

    def begin(self):
        try:
            now = len(self.world.kafka.admin.metadata(5).topics[self.world.topic].partitions)
            self.world.add_partitions(now + 1)
        except (KafkaException, KeyError, HarnessError) as error:
            raise Void(f"Kafka: {error}") from error


class _OfLog(_OfTopic):
    """Something happens to what the topic holds, while the processors run or are stopped."""

    duration = (0.3, 6.0)
    RUNNING, STOPPED = "under running processors", "under stopped processors"

    @classmethod
    def targets(cls, layout):
        return [cls.RUNNING, cls.STOPPED] if layout.processors else []

    @classmethod
    def needs(cls, target, layout):
        needs = ["log", AddPartition.name, Resend.name]
        return needs + (list(layout.processors) if target == cls.STOPPED else [])

    def begin(self):
        self.stopped = []
        # A topic may take longer to come than its fault was to last.
        with self.world.log_lock:
            # What is not seen before it is deleted could be looked for by nobody.
            self.ends = self._ends()
            if self.fault.target == self.STOPPED:
                self.stopped = [self.world.members[name] for name in self.world.layout.processors]
                for processor in self.stopped:
                    processor.terminate()
            try:
                self.change()
            except BaseException:
                self.end()
                raise

    def end(self):
        for processor in self.stopped:
            processor.start()
        self.stopped = []

    def change(self) -> None:
        """Does it."""
        raise NotImplementedError

    def _ends(self) -> dict[int, int]:
        try:
            return {partition: end for partition, (_, end) in self.world.kafka.admin.offsets(self.world.topic).items()}
        except (KafkaException, HarnessError) as error:
            raise Void(f"Kafka: {error}") from error


class LogCut(_OfLog):
    """Old messages are deleted, as retention does it: some of them, or all that are there."""

    name = "log cut"
    weight = 1.5

    def change(self):
        if not self._wait_for_tap():
            raise Void("the tap has not seen all messages")
        before = {
            partition: end if self.chance.random() < 0.5 else self.chance.randint(0, end)
            for partition, end in self.ends.items()
            if end
        }
        try:
            self.world.kafka.admin.delete_records(self.world.topic, before)
        except (KafkaException, HarnessError) as error:
            raise Void(f"Kafka: {error}") from error

    def _wait_for_tap(self) -> bool:
        deadline = time.monotonic() + 3
        while not self.world.tap.has_seen_all(self.world.topic, self.ends):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


class TopicMadeAnew(LogCut):
    """The topic is deleted and made anew, sometimes with more messages than it had, all of them old.

    The gateways hold their breath meanwhile, so that nothing is acknowledged that nobody saw.
    """

    name = "topic made anew"
    weight = 2.5

    @classmethod
    def parameters(cls, chance):
        return {"filled beyond the old offsets": chance.choice(["yes", "no"])}

    @classmethod
    def limit(cls, layout):
        return layout.topic_anew

    @classmethod
    def needs(cls, target, layout):
        clones = [f"clone of {gateway}" for gateway in layout.gateways]
        return [*super().needs(target, layout), *layout.gateways, *clones]

    def change(self):
        gateways = [self.world.members[name] for name in self.world.gateways]
        for gateway in gateways:
            gateway.pause()
        try:
            self._wait_until_quiet()
            seen = [message for message in self.world.tap.messages if message.topic == self.world.topic]
            admin = self.world.kafka.admin
            admin.delete_topic(self.world.topic)
            # Without the topic nothing would go on.
            self._persistently(lambda: admin.create_topic(self.world.topic, len(self.ends)))
            self.world.tap.begin_anew(self.world.topic)
            if self.fault.parameters["filled beyond the old offsets"] == "yes" and seen:
                send_again(self.world, [
                    (self.chance.choice(seen), partition)
                    for partition, end in self.ends.items() for _ in range(end + 5)
                ])  # fmt: skip
        except (KafkaException, HarnessError) as error:
            raise Void(f"Kafka: {error}") from error
        finally:
            for gateway in gateways:
                gateway.resume()

    def _wait_until_quiet(self) -> None:
        """Waits until what the gateways had sent is there and seen: until nothing has come for a second."""
        # Whatever keeps it on its way ends: there is no time to wait for it.
        for node in self.world.layout.nodes:
            self.world.links[f"to {node}"].heal()
        deadline = time.monotonic() + 10
        quiet_since = time.monotonic()
        while time.monotonic() < deadline:
            before, self.ends = self.ends, self._ends()
            if before != self.ends:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > 1 and self._wait_for_tap():
                return
            time.sleep(0.1)
        raise Void("the tap has not seen all messages")

    def _persistently(self, do) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                return do()
            except (KafkaException, HarnessError):
                if self.world.kafka.admin.has_topic(self.world.topic):
                    return None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


class Resend(_OfTopic):
    """Old messages come again, out of order and on other partitions."""

    name = "resend"
    weight = 2.0

    @classmethod
    def parameters(cls, chance):
        return {"messages": chance.choice([1, 10, 50, 200, 500])}

    def begin(self):
        seen = [
            message
            for message in self.world.tap.messages
            if message.topic == self.world.topic and not message.is_resent
        ]
        if not seen:
            raise Void("the topic is empty")
        chosen = self.chance.sample(seen, min(len(seen), self.fault.parameters["messages"]))
        partitions = sorted(self.world.tap.positions(self.world.topic))
        send_again(self.world, [(message, self.chance.choice(partitions)) for message in chosen])


class Spread(Action):
    """A gateway's readings go to other partitions than its own.

    Either it chooses them otherwise, or all that it sends comes at once on another partition too.
    """

    name = "spread"
    weight = 1.5
    duration = (1.0, 20.0)
    OTHER, COPIES = "another partitioner", "copies at once"

    @classmethod
    def targets(cls, layout):
        return layout.gateways

    @classmethod
    def needs(cls, target, layout):
        return [target, Resend.name]

    @classmethod
    def parameters(cls, chance):
        return {"of": chance.choice([cls.OTHER, cls.COPIES])}

    def begin(self):
        self._is_ending = threading.Event()
        self._thread = None
        if self.fault.parameters["of"] == self.OTHER:
            # The default is consistent_random, which is CRC-32 for messages with a key.
            self.world.restart_with(self.fault.target, self.chance.choice(["murmur2", "fnv1a"]))
        else:
            self._thread = threading.Thread(target=self._copy, name=f"copies {self.fault.number}", daemon=True)
            self._thread.start()

    def end(self):
        self._is_ending.set()
        if self._thread:
            self._thread.join()
        else:
            self.world.restart_with(self.fault.target, None)

    def _copy(self) -> None:
        tap = self.world.tap
        next_one = len(tap.messages)
        while not self._is_ending.wait(0.02):
            fresh = tap.messages[next_one:]
            next_one += len(fresh)
            partitions = sorted(tap.positions(self.world.topic))
            copies = [
                (message, self.chance.choice(partitions))
                for message in fresh
                if partitions and message.topic == self.world.topic and not message.is_resent
                and message.key == self.fault.target.encode()
            ]  # fmt: skip
            if copies:
                # Where nobody takes them there are none.
                with contextlib.suppress(Void, KafkaException):
                    send_again(self.world, copies)


def send_again(world: "World", messages: list[tuple[Seen, int]]) -> None:
    """Sends old messages, each to a partition. Void if Kafka takes none."""
    producer = Producer({
        "bootstrap.servers": world.kafka.inner_bootstrap, "acks": "all", "log_level": 0, "delivery.timeout.ms": 60_000,
    })  # fmt: skip
    for message, partition in messages:
        producer.produce(world.topic, message.value, message.key, partition, headers={RESENT: b"again"})
    deadline = time.monotonic() + 20
    while len(producer) and time.monotonic() < deadline:
        producer.flush(0.2)
    if len(producer) == len(messages):
        raise Void("Kafka takes nothing")


KINDS: tuple[type[Action], ...] = (
    Kill, Pause, Terminate, Roll, KillLeader, Cut, Reset, Refuse, Delay, Throttle, BlackHole, DiskFull, OutboxLocked,
    EndSessions, KillSession, PauseSession, LockTable, StandbyPromoted, AddPartition, Resend, Spread, LogCut,
    TopicMadeAnew,
    OutboxDeleted, OutboxRestored, OutboxDamaged, OutboxCloned,
)  # fmt: skip

BY_NAME = {kind.name: kind for kind in KINDS}

# Kinds under one name.
GROUPS = {
    "log": [LogCut.name, TopicMadeAnew.name],
    "outbox": [OutboxDeleted.name, OutboxRestored.name, OutboxDamaged.name, OutboxCloned.name],
}
