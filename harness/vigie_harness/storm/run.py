"""One storm, from start to verdict."""

import json
import pathlib
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console

from ..errors import HarnessError
from ..interrupts import Stopped
from ..kafka.home import KafkaHome
from . import oracle, planted, witness
from .disk import SmallDisk
from .faults import BY_NAME, KINDS, Action, Void
from .members import Incident
from .oracle import Violation
from .report import Entry, Story, Timeline
from .schedule import Fault, Layout, draw
from .world import World

# How long a fault waits for what it needs, such as a session that can be ended, in seconds.
PATIENCE = 5.0
# Bounds of what comes after the last fault, in seconds.
EMPTY, READ, FINAL = 240.0, 180.0, 90.0
# The end of the line of a certificate behind which gateways with open streams stand.
OPEN_STREAMS_FOLLOW = "when it starts with the next one:"
# Sensors of which a window is open: that of the last reading is written some time after its row.
WINDOWS_TO_COME = """
    SELECT count(*) FROM sensor
    WHERE final_through < date_bin(%s, last_event_time, timestamptz 'epoch') + %s
        OR EXISTS (SELECT FROM sensor_data_agg w WHERE NOT w.is_final
            AND (w.gateway_id, w.sensor_id) = (sensor.gateway_id, sensor.sensor_id))
"""


@dataclass(frozen=True)
class Plan:
    """What a storm is to be."""

    seed: int
    faults: int
    nodes: int = 1
    every: float = 1.0
    """Mean seconds between the beginnings of two faults."""
    only: tuple[str, ...] = ()
    """The kinds of faults that come; all of them if it is empty."""
    proves: bool = False
    """Whether faults of data are planted after a good end, which the oracle and `verify` must find."""
    keeps: bool = False
    """Whether logs and data of a good end stay too."""

    @property
    def command(self) -> str:
        every = "" if self.every == Plan.every else f" --every {self.every:g}"
        only = f" --only '{', '.join(self.only)}'" if self.only else ""
        return f"vigie-storm --seed {self.seed} --faults {self.faults} --nodes {self.nodes}{every}{only}"


@dataclass
class Verdict:
    """What came of it."""

    plan: Plan
    violations: list[Violation] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Failures that are neither: the certificate's, or of the storm itself."""
    figures: dict = field(default_factory=dict)
    story: str = ""
    folder: pathlib.Path | None = None
    """Where logs and data stayed."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds of each part of it, in order."""
    was_interrupted: bool = False

    @property
    def is_good(self) -> bool:
        failures = [incident for incident in self.incidents if incident.is_failure]
        return not (self.violations or self.problems or failures or self.was_interrupted)


def compare(
    status: int, certificate: str, rows: int, open_gateways: set[str], violations: list[Violation],
    doubtful: set[str] = frozenset(),
) -> list[str]:  # fmt: skip
    """What `verify` says against what the oracle says: it must agree, and name every gateway that has open streams.

    Arguments:
        status, certificate: of `verify`.
        rows: how many there are.
        open_gateways: those of which the end of a stream is not known.
        violations: what the oracle says.
        doubtful: gateways that may be named besides.

    Returns: what is wrong about it.
    """
    lines = certificate.splitlines()
    agrees = status == 0 and "NOT VERIFIED" not in certificate
    if agrees and violations:
        kinds = ", ".join(violation.kind for violation in violations)
        return [f"verify says that everything agrees, the oracle does not: {kinds}"]
    problems = []
    unknown = [number for number, line in enumerate(lines) if line.endswith(OPEN_STREAMS_FOLLOW)]
    named = set()
    for line in lines[unknown[0] + 1 :] if unknown else []:
        if not line.startswith("  "):
            break
        named.add(line.split()[0])
    # The certificate lists ten.
    silent = open_gateways - named if "and" not in named else set()
    if silent:
        problems.append(f"verify does not name {', '.join(sorted(silent))}, of which a stream's end is not known")
    if strange := named - open_gateways - doubtful - {"and"}:
        problems.append(f"verify names {', '.join(sorted(strange))}, of which the end of every stream is known")
    if (status == 0) == bool(named) or "mismatches" in certificate:
        problems.append(f"verify ended with status {status}")
    if f"{rows} in " not in certificate:
        problems.append(f"verify counts other readings than the {rows} rows")
    return [*problems[:-1], f"{problems[-1]}:\n{certificate.strip()}"] if problems else []


def schedule(plan: Plan, layout: Layout) -> list[Fault]:
    kinds = [kind for kind in KINDS if not plan.only or kind.name in plan.only]
    return draw(kinds, layout, plan.seed, plan.faults, plan.every)


class Storm:
    """Runs a plan. `stop` ends it in order, from any thread or a signal handler.

    While it is starting, a signal handler may raise Stopped instead, so that nothing waits for servers that start.
    """

    def __init__(self, plan: Plan, folder: pathlib.Path, programs: pathlib.Path, home: KafkaHome, console: Console):
        self.plan = plan
        self.folder = folder
        self.programs = programs
        self.home = home
        self.console = console
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._world: World | None = None
        self.is_starting = True
        self.timeline: Timeline

    def stop(self) -> None:
        self._stopping.set()
        if self._world:
            for member in self._world.members.values():
                member.abandon()

    def run(self) -> Verdict:
        verdict = Verdict(self.plan)
        self._phase_began = time.monotonic()
        self.folder.mkdir(parents=True)
        # User postgres must pass through.
        self.folder.chmod(0o711)
        self.timeline = Timeline(self.console, self.plan.faults, self.folder / "timeline.txt")
        world = None
        try:
            world = World(
                self.folder, self.programs, self.home, self.plan.nodes, self.plan.seed, SmallDisk.is_possible()
            )
            self._world = world
            self._blow(world, verdict)
        except Stopped:
            verdict.was_interrupted = True
        except (HarnessError, psycopg.Error, KafkaException, OSError) as error:
            verdict.problems.append(f"the storm itself: {type(error).__name__}: {error}")
            verdict.story = verdict.story or self._plain_story(verdict, world)
        finally:
            self.is_starting = False
            if world:
                verdict.incidents = list(world.incidents)
                world.close()
            self.timeline.close()
        self._leave(world, verdict)
        self._end_phase(verdict, "end")
        return verdict

    def _end_phase(self, verdict: Verdict, name: str) -> None:
        now = time.monotonic()
        verdict.phases[name] = now - self._phase_began
        self._phase_began = now

    # Its parts

    def _blow(self, world: World, verdict: Verdict) -> None:
        faults = schedule(self.plan, world.layout)
        (self.folder / "schedule.json").write_text(json.dumps([vars(fault) for fault in faults], indent=1))
        world.start()
        self.is_starting = False
        self._end_phase(verdict, "start")
        if not world.layout.can_fill_disks:
            self.timeline.say("Disks are not filled: this user may not mount file systems.")
        self.timeline.restart_clock()
        began_at = datetime.now(UTC)
        self.timeline.say(
            f"Storm of seed {self.plan.seed}: {len(faults)} faults, {self.home.description}, {self.plan.nodes} node"
            f"{'s' if self.plan.nodes > 1 else ''}, PostgreSQL {world.postgres.version}"
        )
        with self.timeline.progress():
            self._do(world, faults)
            self._end_phase(verdict, "faults")
            if self._stopping.is_set():
                verdict.was_interrupted = True
                return
            bounds = self._settle(world, verdict)
            self._end_phase(verdict, "coming to rest")
        self._judge(world, verdict, bounds, began_at)
        self._end_phase(verdict, "judgement")

    def _do(self, world: World, faults: list[Fault]) -> None:
        # Something to lose comes first.
        self._wait(lambda: world.tap.count(world.topic) >= 50, 60)
        start = self.timeline.now
        for fault in faults:
            while (left := start + fault.at - self.timeline.now) > 0 and not self._stopping.is_set():
                self._stopping.wait(min(left, 0.5))
                self._show(world)
            if self._stopping.is_set():
                break
            thread = threading.Thread(
                target=self._do_one, args=(world, fault), name=f"fault {fault.number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.5)
                self._show(world)

    def _do_one(self, world: World, fault: Fault) -> None:
        entry = self.timeline.begin(fault)
        action = BY_NAME[fault.kind](world, fault)
        try:
            self._begin(action)
            try:
                self._stopping.wait(fault.duration)
            finally:
                action.end()
            self.timeline.end(entry)
        except Void as void:
            self.timeline.make_void(entry, str(void))
        except (HarnessError, psycopg.Error, KafkaException, OSError, sqlite3.Error) as error:
            self.timeline.make_void(entry, f"{type(error).__name__}: {error}")

    def _begin(self, action: Action) -> None:
        """Does a fault; where that cannot be done because of another one, a moment later."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                action.begin()
                return
            except Void:
                if time.monotonic() > deadline or self._stopping.wait(0.2):
                    raise

    def _show(self, world: World) -> None:
        seen = world.tap.count(world.topic)
        self.timeline.update(f"{seen} messages on the topic, {world.poller.depth} readings in outboxes")

    def _wait(self, is_so, bound: float) -> bool:
        deadline = time.monotonic() + bound
        while not is_so():
            if time.monotonic() > deadline or self._stopping.is_set():
                return False
            time.sleep(0.1)
        return True

    def _settle(self, world: World, verdict: Verdict) -> dict[int, tuple[int, int]]:
        """Heals everything, lets everything come to rest, and returns the topic's first offset and end by partition."""
        began = self.timeline.now
        world.heal()
        # Everything that waits is sent, then the gateways end; what they sampled last is sent as they do.
        deadline = time.monotonic() + EMPTY
        while True:
            # A gateway that has only just been started has something to tell of that, too.
            self._stopping.wait(3)
            self._wait(lambda: world.poller.depth < 200, max(1, deadline - time.monotonic()))
            for name in world.gateways:
                world.members[name].terminate()
            unsettled = [name for name in world.gateways if not world.is_settled(name)]
            if not unsettled or time.monotonic() > deadline or self._stopping.is_set():
                break
            for name in unsettled:
                world.members[name].start()
        world.poller.look_soon()
        if unsettled:
            verdict.problems.append(
                f"{EMPTY:.0f} s after the last fault something waits in the outboxes of {', '.join(unsettled)}: "
                + "; ".join(world.unsettled(name) for name in unsettled)
            )
        emptied = self.timeline.now
        world.poller.stop()
        bounds = world.kafka.admin.offsets(world.topic)
        ends = {partition: end for partition, (_, end) in bounds.items()}
        if not self._wait(lambda: world.tap.positions(world.topic) == ends, 60):
            verdict.problems.append(f"the tap saw {world.tap.positions(world.topic)} of {ends}")
        with world.connect(within=READ) as connection:
            self._wait(lambda: self._is_read(connection, world.topic, ends), READ)
            read = self.timeline.now
            size, slide = max(world.setting.windows)
            self._wait(lambda: self._value(connection, WINDOWS_TO_COME, [slide, size]) == 0, FINAL)
        world.tap.stop()
        verdict.figures |= {
            "seconds until outboxes were empty": round(emptied - began, 1),
            "until all was read": round(read - emptied, 1),
            "until all windows were final": round(self.timeline.now - read, 1),
        }
        return bounds

    @staticmethod
    def _value(connection: psycopg.Connection, sql: str, parameters: list | None = None):
        return connection.execute(sql, parameters).fetchone()[0]

    @staticmethod
    def _is_read(connection: psycopg.Connection, topic: str, ends: dict[int, int]) -> bool:
        rows = connection.execute("SELECT kafka_partition, next_offset FROM consumed_offset WHERE topic = %s", [topic])
        read = dict(rows.fetchall())
        return all(read.get(partition, 0) == end for partition, end in ends.items())

    def _judge(self, world: World, verdict: Verdict, bounds: dict[int, tuple[int, int]], began_at: datetime) -> None:
        starts = {partition: start for partition, (start, _) in bounds.items()}
        ends = {partition: end for partition, (_, end) in bounds.items()}
        with world.connect() as connection:
            # Written before the processors end, and their windows are at rest by now.
            with connection.transaction():
                witness.write(
                    connection, topic=world.topic, rejected_topic=world.rejected, messages=world.tap.messages,
                    views=world.poller.views.values(), ends=ends, began=self.timeline.began,
                    cards=world.cards, starts=starts, log=world.tap.log(world.topic))  # fmt: skip
            verdict.violations = oracle.examine(connection, world.setting)
            self._count(connection, verdict, world)
            status, certificate = world.verify()
            (self.folder / "certificate.txt").write_text(certificate)
            verdict.problems += compare(
                status,
                certificate,
                verdict.figures["rows"],
                oracle.open_gateways(connection),
                verdict.violations,
                oracle.doubtful_gateways(connection),
            )
            if verdict.violations or verdict.problems:
                world.keep_statuses()
            for name in world.layout.processors:
                world.members[name].terminate()
            verdict.figures["slowest stop of a processor, s"] = round(
                max(world.members[name].slowest_stop for name in world.layout.processors), 1
            )
            for view in world.poller.views.values():
                verdict.problems += view.problems
                if view.dropped or view.quarantined:
                    verdict.problems.append(
                        f"{view.gateway} dropped {view.dropped} and quarantined {view.quarantined} readings"
                    )
            verdict.problems += world.tap.doubtful
            if self.plan.proves and not verdict.violations:
                for plant, found in planted.unnoticed(connection, world.setting):
                    verdict.problems.append(
                        f"the oracle did not find {plant.name}; it found {[str(each) for each in found]}"
                    )
            verdict.incidents = list(world.incidents)
            story = Story(connection, self.timeline.entries, self.timeline.began, began_at)
            failures = [incident for incident in verdict.incidents if incident.is_failure]
            if not verdict.is_good:
                verdict.story = "\n".join([*verdict.problems, story.tell(verdict.violations, failures)])

        if self.plan.proves and not verdict.violations and not verdict.problems:
            for plant, certificate in planted.unnoticed_by_verify(world.postgres, world.verify):
                verdict.problems.append(f"verify did not find {plant.name}; it says:\n{certificate}")

    def _count(self, connection: psycopg.Connection, verdict: Verdict, world: World) -> None:
        def value(sql):
            return self._value(connection, sql)

        verdict.figures |= {
            "messages on the topic": value("SELECT count(*) FROM storm.tapped"),
            "of which sent by the storm": value("SELECT count(*) FROM storm.tapped WHERE is_resent"),
            "of which sent again by gateways": value(
                "SELECT count(*) - count(DISTINCT (gateway_id, stream_id, seq)) FROM storm.tapped WHERE NOT is_resent"
            ),
            "rows": value("SELECT count(*) FROM sensor_data"),
            "late": value("SELECT count(*) FROM sensor_data WHERE late"),
            "windows": value("SELECT count(*) FROM sensor_data_agg"),
            "recorded losses": value("SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss"),
            "of which unreadable after damage": value(
                "SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss WHERE reason = 'unreadable'"
            ),
            "lost with outboxes": value(oracle.LOST_WITH_OUTBOXES),
            "lost with the topic": value(oracle.LOST_WITH_THE_TOPIC),
            "streams whose end nobody knows": value(oracle.OPEN_STREAMS),
            "second gateways on copies": len(world.clones),
            "alerts": value("SELECT count(*) FROM alert"),
            "starts of programs": sum(member.starts for member in world.members.values() if member.is_ours),
        }

    def _plain_story(self, verdict: Verdict, world: World | None) -> str:
        incidents = world.incidents if world else []
        story = Story(None, self.timeline.entries, self.timeline.began, datetime.now(UTC))
        return "\n".join([*verdict.problems, story.tell([], incidents)])

    def _leave(self, world: World | None, verdict: Verdict) -> None:
        """Keeps logs and data of what failed, and deletes the rest."""
        entries: list[Entry] = self.timeline.entries
        if verdict.is_good and not self.plan.keeps and world:
            world.remove()
            return
        verdict.folder = self.folder
        if world:
            world.unmount()
            shutil.rmtree(self.folder / "programs", ignore_errors=True)
        failures = [incident for incident in verdict.incidents if incident.is_failure]
        if not verdict.is_good and not verdict.story:
            verdict.story = "\n".join([*verdict.problems, *(f"{each.member} {each.sentence}" for each in failures)])
        (self.folder / "story.txt").write_text(f"{self.plan.command}\n{verdict.story}\n")
        facts = {
            "plan": vars(self.plan), "good": verdict.is_good, "figures": verdict.figures, "problems": verdict.problems,
            "violations": [vars(each) for each in verdict.violations],
            "incidents": [vars(each) | {"at": round(each.at - self.timeline.began, 1)} for each in verdict.incidents],
            "faults": [entry.line for entry in entries],
        }  # fmt: skip
        (self.folder / "result.json").write_text(json.dumps(facts, indent=1, default=str))
