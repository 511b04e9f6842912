"""Everything that runs in a storm."""

import contextlib
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import timedelta

import psycopg

from ..checkout import must_have
from ..errors import HarnessError
from ..kafka.cluster import KafkaCluster
from ..kafka.home import KafkaHome
from ..postgres import Postgres
from ..proxy import TcpProxy
from .cards import Cards, contents
from .disk import SmallDisk
from .members import Incident, Member, NodeMember, PostgresMember, ProgramMember
from .oracle import Setting
from .poller import Poller
from .schedule import Layout
from .tap import Tap

TOPIC = "sensor.readings"
REJECTED = "sensor.readings.rejected"

# The tables that batches write.
TABLES = ("sensor_data", "sensor_data_agg", "sensor", "stream_progress", "consumed_offset", "alert", "loss")

SIZES = (timedelta(seconds=10), timedelta(seconds=5))
SLIDE = timedelta(seconds=5)
LATENESS, IDLE = 5, 3
WARM = 21.0
"""Degrees Celsius above which a reading has the status warning."""

SETTING = Setting(TOPIC, [(size, SLIDE) for size in SIZES], {"temperature": (float("-1e9"), WARM)})

# How long a standby that gets nothing waits for commits that it then lacks, in seconds.
COMMITS_WITHIN = 10.0

GATEWAYS, PROCESSORS, PARTITIONS = 3, 2, 4
INTERVALS = (120, 200)
"""Milliseconds between the readings of a gateway's stations."""

_GATEWAY = """\
gateway:
  id: {name}
mode: simulated
outbox:
  path: {outbox}
kafka:
  bootstrap: {kafka}
  topic: {topic}
clock:
  policy: trust
monitoring:
  listen: 127.0.0.1:0
simulation:
  seed: {seed}
  faults:
    - {{sensor_id: {name}-1, chip: bme280, kind: nack, start: 20s, length: 3s}}
stations:
{stations}"""

_STATION = """\
  - sensor_id: {name}-{number}
    place: {{latitude: 48.8566, longitude: 2.3522}}
    interval: {interval}ms
    chips:
      - {{type: bme280, bus: {number}, address: 0x76}}
      - {{type: ads1115, bus: {number}, address: 0x48, channel: 0, data_rate: 860, chemistry: li_ion,
          divider: {{upper: 100000, lower: 100000}}}}
"""

_PROCESSOR = """\
kafka:
  bootstrap: {kafka}
  topic: {topic}
  rejected_topic: {rejected}
  group: vigie-processor
  instance: {name}
  workers: {workers}
postgres:
  connection: {connection}
monitoring:
  listen: 127.0.0.1:0
windows:
{windows}lateness: {lateness}s
idle_timeout: {idle}s
update_interval: 1s
rules:
  temperature: {{warning: {{above: {warm}}}, hysteresis: 0.2, for: 1s}}
alerts:
  fault: {{severity: warning, for: 1s}}
  silence: {{intervals: 5, at_least: 4s}}
  loss: {{for: 5s, clear_after: 1d}}
log_level: info
"""


def layout(nodes: int, can_fill_disks: bool) -> Layout:
    """What there is to break in a world of so many nodes."""
    processors = [f"processor-{number}" for number in range(1, PROCESSORS + 1)]
    names = [f"kafka-{number}" for number in range(1, nodes + 1)]
    return Layout(
        gateways=[f"gateway-{number}" for number in range(1, GATEWAYS + 1)], processors=processors, nodes=names,
        links=[f"to {name}" for name in names] + [f"{name} to postgres" for name in processors], tables=TABLES,
        can_fill_disks=can_fill_disks)  # fmt: skip


class World:
    """Gateways with outboxes of their own, processors, Kafka and PostgreSQL, with proxies between, in one folder."""

    topic = TOPIC
    rejected = REJECTED
    setting = SETTING

    def __init__(
        self, folder: pathlib.Path, programs: pathlib.Path, home: KafkaHome, nodes: int, seed: int, can_fill_disks: bool
    ):
        self.folder = folder
        self.seed = seed
        self.fail_over_lock = threading.Lock()
        """Of whoever promotes a standby."""
        self.log_lock = threading.Lock()
        """Of whoever deletes messages of the topic."""
        self.incidents: list[Incident] = []
        self.members: dict[str, Member] = {}
        self.links: dict[str, TcpProxy] = {}
        self.disks: dict[str, SmallDisk] = {}
        self.outboxes: dict[str, pathlib.Path] = {}
        self.clones: dict[str, str] = {}
        """Second gateways on copies of outboxes, by name, with the gateway whose name each sends under."""
        self.cards = Cards()
        self._standbys = 0
        self._configurations: dict[str, str] = {}
        self._is_stopping = threading.Event()
        self._watch = threading.Thread(target=self._look_after_members, name="watch", daemon=True)
        self.layout = layout(nodes, can_fill_disks)
        for name in ("logs", "configuration", "outboxes", "copies", "programs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # A build that ends meanwhile changes nothing.
        for program in ("vigie-gateway", "vigie-processor"):
            must_have(programs, program)
            shutil.copy2(programs / program, folder / "programs" / program)
        self.kafka = KafkaCluster(home, folder / "kafka", nodes, with_proxies=True)
        self.postgres = Postgres(folder / "postgres", durable=True)
        self.tap: Tap
        self.poller: Poller

    # Its life

    def start(self) -> None:
        """Starts everything, and what watches it."""
        self.kafka.start()
        self.postgres.start()
        self.kafka.admin.create_topic(TOPIC, PARTITIONS)
        self.kafka.admin.create_topic(REJECTED, 1)
        self.members["postgres"] = PostgresMember("postgres", self.postgres, self._tell)
        for number, node in enumerate(self.kafka.nodes, 1):
            self.members[f"kafka-{number}"] = NodeMember(f"kafka-{number}", node, self._tell)
            self.links[f"to kafka-{number}"] = node.proxy
        self._prepare_processors()
        self._prepare_gateways()
        self.tap = Tap(self.kafka.inner_bootstrap, [TOPIC, REJECTED])
        self.poller = Poller(self.outboxes)
        self.tap.start()
        self.poller.start()
        for member in self.members.values():
            member.start()
        self._watch.start()

    def close(self) -> None:
        """Ends everything that still runs, in whatever state it is."""
        self._is_stopping.set()
        if self._watch.is_alive():
            self._watch.join(120)
        for name in ("tap", "poller"):
            if hasattr(self, name):
                getattr(self, name).stop()
        for name in (*self.gateways, *self.layout.processors):
            if member := self.members.get(name):
                member.kill()
        self.kafka.close()
        for name in self.layout.processors:
            if proxy := self.links.get(f"{name} to postgres"):
                proxy.close()
        self.postgres.stop()

    def remove(self) -> None:
        """Deletes all data of a world that is closed."""
        self.unmount(keep=False)
        self.postgres.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def unmount(self, keep: bool = True) -> None:
        """Takes the small disks away; their files stay behind, if they are to be kept."""
        for name, disk in self.disks.items():
            disk.free()
            if keep:
                shutil.copytree(disk.folder, self.folder / "outboxes" / f"{name}-kept", dirs_exist_ok=True)
            disk.unmount()
        self.disks = {}

    def heal(self) -> None:
        """Takes back whatever a fault may have left."""
        for name in self.layout.gateways:
            if name in self.disks:
                self.disks[name].free()
        for link in self.links.values():
            link.heal()
        for name, member in self.members.items():
            member.resume()
            if name not in self.clones or not self.is_settled(name):
                member.start()

    # Access past the proxies

    def connect(self, *, within: float = 0) -> psycopg.Connection:
        """A session; waits for so many seconds for a server that recovers from a crash or has no time."""
        deadline = time.monotonic() + within
        while True:
            try:
                return psycopg.connect(
                    f"{self.postgres.connection} application_name=vigie-storm connect_timeout=5", autocommit=True
                )
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def node(self, number: int) -> Member:
        return self.members[f"kafka-{number}"]

    def add_partitions(self, total: int) -> None:
        self.kafka.admin.add_partitions(TOPIC, total)

    def verify(self, connection: str | None = None) -> tuple[int, str]:
        """The status of `vigie-processor verify`, and what it says; of the storm's database or another one."""
        configuration = self._direct_configuration(connection)
        result = subprocess.run(
            [self.folder / "programs" / "vigie-processor", "verify", "--config", configuration],
            capture_output=True, text=True, errors="replace", timeout=300, check=False)  # fmt: skip
        return result.returncode, result.stdout + result.stderr

    def keep_statuses(self) -> None:
        """Asks every program how it is, and keeps the answers beside the logs."""
        for name in (*self.gateways, *self.layout.processors):
            log = self.folder / "logs" / f"{name}.log"
            with contextlib.suppress(OSError):
                address = re.findall(r"listening address=(http://\S+/)", log.read_text(errors="replace"))[-1:]
                for path in ("healthz", "status", "metrics") if address and self.members[name].is_running else ():
                    try:
                        with urllib.request.urlopen(address[0] + path, timeout=5) as answer:
                            text = answer.read()
                    except urllib.error.HTTPError as error:
                        # What is not well has another status, and says why.
                        text = error.read()
                    (self.folder / "logs" / f"{name}-{path}.txt").write_bytes(text)

    def fail_over(self, behind: int) -> int:
        """Lets the database die and puts a standby in its place that lacks the last `behind` commits of a gateway.

        Nobody else may stop or start the database meanwhile. Returns how many it lacks: fewer if nobody committed.
        """
        member = self.members["postgres"]
        primary = self.postgres
        self._standbys += 1
        standby = primary.make_standby(self.folder / f"standby-{self._standbys}")
        try:
            standby.cut_off()
            before = self._commits(standby)
            deadline = time.monotonic() + COMMITS_WITHIN
            while (lacks := self._lead(self._commits(primary), before)) < behind and time.monotonic() < deadline:
                time.sleep(0.2)
            primary.process.kill()
            standby.promote()
        except BaseException:
            standby.stop()
            standby.remove()
            if not primary.process.is_running:
                primary.start()
            raise
        self.postgres = member.server = standby
        for name in self.layout.processors:
            self.links[f"{name} to postgres"].target = self._socket
        primary.stop()
        primary.remove()
        return lacks

    @staticmethod
    def _commits(server: Postgres) -> dict[str, int]:
        """How often each gateway's readings were committed."""
        lines = server.psql("SELECT gateway_id, commit_number FROM gateway").splitlines()
        return {name: int(number) for name, _, number in (line.partition("|") for line in lines)}

    @staticmethod
    def _lead(now: dict[str, int], before: dict[str, int]) -> int:
        """The most that a gateway is ahead."""
        return max((number - before.get(name, 0) for name, number in now.items()), default=0)

    @property
    def _socket(self) -> str:
        """Where the database's sessions go: PostgreSQL knows its user by the other end, which is a proxy."""
        return str(pathlib.Path(self.postgres.sockets) / ".s.PGSQL.5432")

    # Outboxes

    @property
    def gateways(self) -> list[str]:
        """Every gateway that there is by now."""
        return [*self.layout.gateways, *self.clones]

    def is_settled(self, gateway: str) -> bool:
        """Whether nothing waits in an outbox, no reading and nothing that is to be told. Of one that has ended."""
        try:
            return contents(self.outboxes[gateway]).is_settled
        except sqlite3.Error:
            return False

    def unsettled(self, gateway: str) -> str:
        """What waits in an outbox, for a person."""
        try:
            found = contents(self.outboxes[gateway])
        except sqlite3.Error as error:
            return f"{gateway}: {error}"
        return (
            f"{gateway}: {len(found.waiting)} readings, {len(found.gaps)} gaps, the ends of {len(found.untold)} streams"
        )

    def start_clone(self, name: str, gateway: str, copy: pathlib.Path) -> Member:
        """Starts a second gateway under the name of one, on a copy of its outbox."""
        folder = self.folder / "outboxes" / name
        folder.mkdir()
        path = folder / "outbox.sqlite"
        shutil.move(copy, path)
        text = self._configurations[gateway].replace(str(self.outboxes[gateway]), str(path))
        member = self._program("vigie-gateway", name, text)
        # Whoever goes through them just now goes on with those that there were.
        self.outboxes = {**self.outboxes, name: path}
        self.clones = {**self.clones, name: gateway}
        self.poller.add(name, gateway, path)
        self.members = {**self.members, name: member}
        member.start()
        return member

    def restart_with(self, gateway: str, partitioner: str | None) -> None:
        """Ends a gateway and starts it with another way to choose partitions; None is the one by default."""
        text = self._configurations[gateway]
        if partitioner:
            topic = f"  topic: {TOPIC}\n"
            text = text.replace(topic, f"{topic}  properties: {{partitioner: {partitioner}}}\n")
        member = self.members[gateway]
        with member.held():
            member.terminate()
            (self.folder / "configuration" / f"{gateway}.yaml").write_text(text)
            member.start()

    def fail(self, member: str, sentence: str) -> None:
        """Tells of something that a gateway should have done."""
        self._tell(Incident(time.monotonic(), member, sentence, is_failure=True))

    # Parts

    def _tell(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def _look_after_members(self) -> None:
        while not self._is_stopping.wait(0.2):
            for member in self.members.values():
                member.look()

    def _prepare_gateways(self) -> None:
        for index, name in enumerate(self.layout.gateways):
            folder = self.folder / "outboxes" / name
            if self.layout.can_fill_disks:
                self.disks[name] = SmallDisk(folder)
            else:
                folder.mkdir(exist_ok=True)
            self.outboxes[name] = folder / "outbox.sqlite"
            stations = "".join(
                _STATION.format(name=name, number=number, interval=interval)
                for number, interval in enumerate(INTERVALS, 1)
            )
            text = _GATEWAY.format(
                name=name, outbox=self.outboxes[name], kafka=self.kafka.bootstrap, topic=TOPIC, stations=stations,
                seed=self.seed % 1000 + index)  # fmt: skip
            self._configurations[name] = text
            self.members[name] = self._program("vigie-gateway", name, text)

    def _prepare_processors(self) -> None:
        self._run_migration()
        for name in self.layout.processors:
            proxy = TcpProxy(self._socket)
            self.links[f"{name} to postgres"] = proxy
            connection = (
                f"host=127.0.0.1 port={proxy.port} user=vigie dbname=vigie application_name={name} sslmode=disable"
            )
            self.members[name] = self._program("vigie-processor", name, self._processor(name, connection))

    def _run_migration(self) -> None:
        command = [self.folder / "programs" / "vigie-processor", "migrate", "--config", self._direct_configuration()]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if result.returncode != 0:
            raise HarnessError(
                f"vigie-processor migrate ended with status {result.returncode}: {result.stdout}{result.stderr}"
            )

    def _direct_configuration(self, connection: str | None = None) -> pathlib.Path:
        path = self.folder / "configuration" / "direct.yaml"
        connection = connection or self.postgres.connection
        path.write_text(self._processor("direct", connection, kafka=self.kafka.inner_bootstrap))
        return path

    def _processor(self, name: str, connection: str, kafka: str | None = None) -> str:
        windows = "".join(f"  - {{size: {size.seconds}s, slide: {SLIDE.seconds}s}}\n" for size in SIZES)
        return _PROCESSOR.format(
            kafka=kafka or self.kafka.bootstrap, topic=TOPIC, rejected=REJECTED, name=name, workers=2,
            connection=json.dumps(connection), windows=windows, lateness=LATENESS, idle=IDLE, warm=WARM)  # fmt: skip

    def _program(self, program: str, name: str, configuration: str) -> ProgramMember:
        path = self.folder / "configuration" / f"{name}.yaml"
        path.write_text(configuration)
        arguments = [self.folder / "programs" / program, "run", "--config", path]
        return ProgramMember(name, arguments, self.folder / "logs" / f"{name}.log", self._tell)
