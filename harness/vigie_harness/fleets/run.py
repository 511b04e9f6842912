"""Some fleets on one topic, read by one processor into one database."""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import make_conninfo

from ..errors import HarnessError
from ..kafka.admin import KafkaAdmin
from ..processes import Process, last_lines
from .account import Account, Topics, read_topics
from .table import Fleet, Size

PARTITIONS = 3
STATE_MIB = 64
"""What the state of streams and sensors may take in memory (`state_size`)."""
MEMORY_MIB = 700
"""What the whole processor may take besides: a batch, what is on its way from the broker, and libraries."""

_CONSUMED = "SELECT coalesce(sum(next_offset), 0) FROM consumed_offset"


@dataclass(frozen=True)
class Servers:
    """Where everything is. `connection` is libpq's, to any database of the server."""

    bootstrap: str
    connection: str
    programs: pathlib.Path


@dataclass
class Outcome:
    """What a run gave."""

    messages: int = 0
    seconds: float = 0
    """From the start of the processor until all was read."""
    peak_mib: int = 0
    """The most memory that the processor had (proc(5), VmHWM)."""
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    losses: dict[str, Counter[str]] = field(default_factory=dict)
    late: dict[str, tuple] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class FleetRun:
    """Sends fleets, has them read, and accounts for them. They must have the same settings."""

    def __init__(
        self, fleets: Sequence[Fleet], size: Size, seed: int, servers: Servers, folder: pathlib.Path, name: str,
        bound: float,
    ):  # fmt: skip
        self.fleets = fleets
        self.size = size
        self.seed = seed
        self.servers = servers
        self.bound = bound
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.topic = f"vigie-fleets-{name}"
        self.rejected_topic = f"{self.topic}.rejected"
        self.database = re.sub("[^a-z0-9]", "_", self.topic)
        self.configuration = self.folder / "processor.yaml"

    def run(self) -> Outcome:
        admin = KafkaAdmin({"bootstrap.servers": self.servers.bootstrap})
        admin.create_topic(self.topic, PARTITIONS)
        admin.create_topic(self.rejected_topic, 1)
        with psycopg.connect(self.servers.connection, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {self.database}")
            try:
                return self._run()
            finally:
                server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
                admin.delete_topic(self.topic)
                admin.delete_topic(self.rejected_topic)

    def _run(self) -> Outcome:
        outcome = Outcome()
        self._configure()
        manifests = self._produce()
        self._command("migrate")
        began = time.monotonic()
        processor = Process(
            "vigie-processor", [self.servers.programs / "vigie-processor", "run", "--config", self.configuration],
            self.folder / "processor.log")  # fmt: skip
        try:
            topics = Topics(self.servers.bootstrap)
            self._wait_for_all(processor, topics)
            outcome.seconds = time.monotonic() - began
            with psycopg.connect(self._connection, autocommit=True) as connection:
                outcome.messages = read_topics(connection, topics, self.topic, self.rejected_topic)
                conflicts = sum(manifest["conflicts"] for all_runs in manifests.values() for manifest in all_runs)
                if conflicts:
                    self._command("redrive", "--reason", "sequence_conflict")
                    self._wait_for_all(processor, topics)
                outcome.peak_mib = peak_mib(processor)
                if not processor.stop(60):
                    outcome.faults.append(f"the processor {processor.ending}: {last_lines(processor.log)}")
                account = Account(connection, "late_policy: drop" in self.fleets[0].settings)
                (rows,) = connection.execute("SELECT count(*) FROM sensor_data").fetchone()
        finally:
            processor.kill()
        for fleet in self.fleets:
            outcome.faults += account.faults(fleet, manifests[fleet.name])
        accounted = sum(sum(counts.values()) for counts in account.classes.values())
        if accounted != outcome.messages:
            outcome.faults.append(f"{outcome.messages} messages have become {accounted} things")
        said = sum(counts["row"] for counts in account.classes.values()) + conflicts
        if rows != said:
            outcome.faults.append(f"{rows} rows, expected {said}")
        if outcome.peak_mib > STATE_MIB + MEMORY_MIB:
            outcome.faults.append(f"the processor took {outcome.peak_mib} MiB of memory")
        verified = self._command("verify", may_fail=True)
        if "verified          everything agrees" not in verified:
            outcome.faults.append(f"verify does not say that everything agrees:\n{verified}")
        outcome.classes, outcome.losses, outcome.late = account.classes, account.losses, account.late
        return outcome

    @property
    def _connection(self) -> str:
        return make_conninfo(self.servers.connection, dbname=self.database)

    def _configure(self) -> None:
        settings = "\n".join(self.fleets[0].settings)
        self.configuration.write_text(f"""\
kafka:
  bootstrap: "{self.servers.bootstrap}"
  topic: {self.topic}
  rejected_topic: {self.rejected_topic}
  group: {self.topic}
postgres:
  connection: "{self._connection}"
monitoring:
  listen: "127.0.0.1:0"
windows:
  - {{size: 10m, slide: 1m}}
  - {{size: 1m, slide: 1m}}
lateness: 10m
state_size: {STATE_MIB}MiB
{settings}
""")

    def _produce(self) -> dict[str, list[dict]]:
        """Sends all fleets, and returns what each of their runs says that it sent."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(self._produce_one, range(len(self.fleets))))
        return dict(zip([fleet.name for fleet in self.fleets], found, strict=True))

    def _produce_one(self, place: int) -> list[dict]:
        fleet = self.fleets[place]
        manifests = []
        for number, words in enumerate(fleet.runs(self.size)):
            manifest = self.folder / f"{fleet.name}-{number}.json"
            arguments = [
                self.servers.programs / "vigie-fleet", "produce", f"--bootstrap={self.servers.bootstrap}",
                f"--topic={self.topic}", f"--name={fleet.name}", f"--seed={self.seed * 100 + number}",
                f"--manifest={manifest}", *words]  # fmt: skip
            for _ in range(fleet.repeats):
                run(arguments, self.bound)
            manifests.append(json.loads(manifest.read_text()))
        return manifests

    def _command(self, name: str, *words: str, may_fail: bool = False) -> str:
        program = self.servers.programs / "vigie-processor"
        return run([program, name, "--config", self.configuration, *words], self.bound, may_fail)

    def _wait_for_all(self, processor: Process, topics: Topics) -> None:
        """Waits until the processor has read and committed what is on the topic."""
        total = sum(topics.ends(self.topic).values())
        with psycopg.connect(self._connection, autocommit=True) as connection:
            processor.wait_until(lambda: connection.execute(_CONSUMED).fetchone()[0] >= total, self.bound)


def run(arguments: Sequence, bound: float, may_fail: bool = False) -> str:
    """Runs a program, and returns what it prints. HarnessError if it fails."""
    words = [str(word) for word in arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=bound, check=False)
    except subprocess.TimeoutExpired:
        raise HarnessError(f"not within {bound:.0f} s: {' '.join(words)}") from None
    if done.returncode and not may_fail:
        raise HarnessError(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout + done.stderr


def peak_mib(process: Process) -> int:
    """The most memory that a process has had, MiB (proc(5), VmHWM)."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) // 1024
