"""What the tests of the Spark job share: databases, topics, both engines, and comparisons of what they wrote.

VIGIE_KAFKA and VIGIE_POSTGRES say where the servers are (tools/with-services), VIGIE_BIN where Vigie's programs are.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import confluent_kafka
import psycopg
import pyarrow
import pytest
import yaml
from confluent_kafka.admin import AdminClient, NewTopic

from vigie_spark.job import Job
from vigie_spark.offsets import Position, Range
from vigie_spark.positions import locate
from vigie_spark.session import jars
from vigie_spark.settings import Settings, SettingsError, read_settings
from vigie_spark.task import Worker

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("VIGIE_BIN") or ROOT / ".build" / "debug")

needs_servers = pytest.mark.skipif(
    not (os.environ.get("VIGIE_KAFKA") and os.environ.get("VIGIE_POSTGRES")), reason="run with tools/with-services"
)


def _missing_connector() -> str | None:
    try:
        jars()
    except SettingsError as missing:
        return str(missing)
    return None


# Where they are required they fail, as the job does.
needs_connector = pytest.mark.skipif(
    os.environ.get("VIGIE_SPARK_REQUIRED") != "1" and bool(_missing_connector()), reason=_missing_connector() or ""
)

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
# A JVM that compiles little starts sooner, and a test ends soon after.
QUICK = "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC' --conf spark.ui.enabled=false pyspark-shell"
# Seconds for an engine to start and to get on, on a busy machine.
BOUND = 600

_numbers = itertools.count()


def unique(name: str) -> str:
    return f"{name}_{os.getpid()}_{next(_numbers)}"


def wait_until(what: str, is_so: Callable[[], object], bound: float = 300):
    """Waits for a state and returns what `is_so` returned."""
    deadline = time.monotonic() + bound
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"not within {bound:.0f} s: {what}"
        time.sleep(0.2)
    return found


# MARK: Servers


def make_topic(partitions: int = 2) -> str:
    """A topic of its own, with the topic of its rejected messages."""
    name = unique("readings").replace("_", "-")
    admin = AdminClient({"bootstrap.servers": os.environ["VIGIE_KAFKA"]})
    topics = [NewTopic(name, partitions, 1), NewTopic(f"{name}.a", 1, 1), NewTopic(f"{name}.b", 1, 1)]
    for future in admin.create_topics(topics).values():
        future.result()
    return name


def produce(topic: str, count: int, *options: str, seed: int = 1, gateways: int = 20) -> None:
    subprocess.run(
        [PROGRAMS / "vigie-fleet", "produce", "--bootstrap", os.environ["VIGIE_KAFKA"], "--topic", topic,
         "--count", str(count), "--seed", str(seed), "--gateways", str(gateways), *options],
        check=True, capture_output=True,
    )  # fmt: skip


def send(topic: str, messages: list[tuple[bytes | None, bytes | None]], partition: int = 0) -> None:
    """Sends messages, each a key and a value."""
    producer = confluent_kafka.Producer({"bootstrap.servers": os.environ["VIGIE_KAFKA"], "linger.ms": 5})
    for key, value in messages:
        producer.produce(topic, key=key, value=value, partition=partition)
        producer.poll(0)
    assert producer.flush(30) == 0


class Transactions:
    """Sends messages to partition 0 in transactions: those of one become readable all at once, or never. A marker of
    the transaction follows them."""

    def __init__(self, topic: str):
        self._topic = topic
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": os.environ["VIGIE_KAFKA"], "transactional.id": unique("tests")}
        )
        self._producer.init_transactions(120)

    def send(self, messages: list[tuple[bytes | None, bytes | None]]) -> None:
        """Sends messages that cannot be read yet."""
        self._producer.begin_transaction()
        for key, value in messages:
            self._producer.produce(self._topic, key=key, value=value, partition=0)
        assert self._producer.flush(60) == 0

    def commit(self) -> None:
        self._producer.commit_transaction(60)

    def abort(self) -> None:
        self._producer.abort_transaction(60)


def make_anew(topic: str, partitions: int = 1) -> None:
    """Deletes a topic and makes it again, empty."""
    admin = AdminClient({"bootstrap.servers": os.environ["VIGIE_KAFKA"]})
    admin.delete_topics([topic])[topic].result()

    def is_made() -> bool:
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
            return True
        except confluent_kafka.KafkaException:
            # The broker has not forgotten the old one yet.
            return False

    wait_until(f"{topic} is made anew", is_made)


def ends(topic: str) -> dict[int, int]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": os.environ["VIGIE_KAFKA"], "group.id": "tests"})
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        return {
            partition: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=60)[1]
            for partition in partitions
        }
    finally:
        consumer.close()


def read_all(topic: str) -> list[confluent_kafka.Message]:
    """All messages of a topic with one partition that were committed, once more."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": os.environ["VIGIE_KAFKA"], "group.id": "tests", "enable.partition.eof": True}
    )
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        messages = []
        while True:
            for message in consumer.consume(500, 0.1):
                if not (error := message.error()):
                    messages.append(message)
                elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    return messages
    finally:
        consumer.close()


@dataclasses.dataclass
class Centre:
    """A database of its own, and the configuration with which either engine works on it."""

    connection: str
    file: pathlib.Path
    settings: Settings

    def query(self, sql: str, *parameters) -> list[tuple]:
        with psycopg.connect(self.connection, autocommit=True) as connection:
            return connection.execute(sql, parameters or None).fetchall()

    def next_offsets(self) -> dict[int, int]:
        return dict(self.query(
            "SELECT kafka_partition, next_offset FROM consumed_offset WHERE topic = %s", self.settings.kafka.topic
        ))  # fmt: skip

    def has_read(self, topic: str) -> bool:
        found = self.next_offsets()
        return all(found.get(partition, 0) >= end for partition, end in ends(topic).items())


def make_centre(folder: pathlib.Path, topic: str, side: str = "a", **configuration) -> Centre:
    """A migrated database. `side` names the topic of rejected messages."""
    folder.mkdir(exist_ok=True)
    name, server = unique("vigie_spark"), os.environ["VIGIE_POSTGRES"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    connection = psycopg.conninfo.make_conninfo(server, dbname=name)
    file = folder / f"{name}.yaml"
    kafka = {"bootstrap": os.environ["VIGIE_KAFKA"], "topic": topic, "rejected_topic": f"{topic}.{side}",
             "group": name, "instance": name}  # fmt: skip
    root = {
        "kafka": kafka | configuration.pop("kafka", {}),
        "postgres": {"connection": connection},
        "rules": {
            "temperature": {"warning": {"above": 23}, "critical": {"above": 40}, "hysteresis": 0.5, "for": "2s"},
            "co2": {"warning": {"above": 1200}, "critical": {"above": 3000}, "hysteresis": 50},
            "humidity": {"warning": {"below": 20}},
        },
        "alerts": {"fault": {}, "loss": {"for": "10s"}, "conflict": {"severity": "critical"}},
    } | configuration  # fmt: skip
    file.write_text(yaml.safe_dump(root))
    subprocess.run([PROGRAMS / "vigie-processor", "migrate", "--config", file], check=True, capture_output=True)
    return Centre(connection, file, read_settings(file))


# MARK: Engines


@contextlib.contextmanager
def running(command: list, log: pathlib.Path, **environment) -> Iterator[subprocess.Popen]:
    """A program; it is killed in the end if it still runs."""
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment,
                                 start_new_session=True)  # fmt: skip
    try:
        yield child
    finally:
        if child.poll() is None:
            kill(child)


def kill(child: subprocess.Popen) -> None:
    """SIGKILL, also to what the program has started: Spark's Python has a JVM as its child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def processor(centre: Centre) -> Iterator[subprocess.Popen]:
    command = [PROGRAMS / "vigie-processor", "run", "--config", centre.file]
    with running(command, centre.file.with_suffix(".processor.log")) as child:
        yield child


@contextlib.contextmanager
def spark_job(
    centre: Centre, batch: int = 200_000, conf: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    command = [sys.executable, ROOT / "spark" / "job.py", "--master", "local[2]", "--config", centre.file,
               "--batch", str(batch)]  # fmt: skip
    log = centre.file.with_suffix(".spark.log")
    options = " ".join(f"--conf {name}={value}" for name, value in (conf or {}).items())
    arguments = QUICK.replace("pyspark-shell", f"{options} pyspark-shell")
    with running(command, log, SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable,
                 PYSPARK_SUBMIT_ARGS=arguments) as child:  # fmt: skip
        yield child


class RunningJob:
    """A job in a thread of this process, with what it writes to the log."""

    def __init__(self, spark, settings: Settings):
        self.job = Job(spark, settings)
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="job")
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.lines.append(record.getMessage())

    def _run(self) -> None:
        try:
            self.job.run()
        except BaseException as error:
            self.error = error

    def start(self) -> None:
        logger = logging.getLogger("vigie.spark")
        logger.setLevel(logging.INFO)
        logger.addHandler(self._handler)
        self._thread.start()

    def stop(self, bound: float = BOUND) -> float:
        """Ends the job; returns how many seconds that took."""
        began = time.monotonic()
        self.job.stop()
        self._thread.join(bound)
        logging.getLogger("vigie.spark").removeHandler(self._handler)
        assert not self._thread.is_alive(), f"the job does not end within {bound} s"
        assert self.error is None, self.error
        return time.monotonic() - began

    def said(self, text: str) -> int:
        """How many lines of the log have a text."""
        return sum(text in line for line in self.lines)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()


@contextlib.contextmanager
def running_job(spark, centre: Centre, batch: int = 200_000) -> Iterator[RunningJob]:
    job = RunningJob(spark, dataclasses.replace(centre.settings, batch=batch))
    job.start()
    try:
        yield job
    finally:
        job.stop()


def run_processor(centre: Centre, bound: float = 300) -> None:
    """The processor until it has read all that there is and was told to stop."""
    with processor(centre) as child:
        wait_until("the processor has read all", lambda: centre.has_read(centre.settings.kafka.topic), bound)
        child.terminate()
        assert child.wait(30) == 0


MESSAGE = pyarrow.schema([
    ("partition", pyarrow.int32()), ("offset", pyarrow.int64()), ("timestamp", pyarrow.timestamp("us")),
    ("timestampType", pyarrow.int32()), ("key", pyarrow.binary()), ("value", pyarrow.binary()),
    ("headers", pyarrow.list_(pyarrow.struct([("key", pyarrow.string()), ("value", pyarrow.binary())]))),
])  # fmt: skip


def table_of(messages: list[confluent_kafka.Message]) -> pyarrow.Table:
    """Messages as Spark gives them to a task."""
    rows = [
        {"partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1] * 1000,
         "timestampType": message.timestamp()[0] - 1, "key": message.key(), "value": message.value(),
         "headers": [{"key": key, "value": value} for key, value in message.headers() or []] or None}
        for message in messages
    ]  # fmt: skip
    return pyarrow.Table.from_pylist(rows, schema=MESSAGE)


class Tasks:
    """What Spark's tasks do, without Spark: ranges of chosen sizes, one after the other."""

    def __init__(self, centre: Centre, largest: int, seed: int = 1):
        self.centre = centre
        self._largest = largest
        self._random = random.Random(seed)
        self.worker = Worker(centre.settings)

    def run(self, at_most: int = 2**62) -> list:
        """Commits ranges until all is read, at most so many."""
        topic, summaries = self.centre.settings.kafka.topic, []
        positions = locate(self.centre.settings)
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": os.environ["VIGIE_KAFKA"], "group.id": "tests", "isolation.level": "read_committed"}
        )
        try:
            for partition, end in ends(topic).items():
                position: Position = positions[partition]
                while position.next < end and len(summaries) < at_most:
                    until = min(end, position.next + self._random.randint(1, self._largest))
                    consumer.assign([confluent_kafka.TopicPartition(topic, partition, position.next)])
                    messages: list[confluent_kafka.Message] = []
                    while not messages or messages[-1].offset() < until - 1:
                        messages += [message for message in consumer.consume(500, 0.1)
                                     if not message.error()]  # fmt: skip
                    messages = [message for message in messages if message.offset() < until]
                    planned = Range(partition, position.next, until, position.generation)
                    summaries.append(self.worker.commit(planned, table_of(messages)))
                    position = dataclasses.replace(position, next=until)
        finally:
            consumer.close()
        return summaries


# MARK: Comparisons

_NOT_COMPARED = {"sensor_data": {"ingested_at", "commit_number"}}


def columns(centre: Centre, table: str) -> list[str]:
    return [name for (name,) in centre.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", table
    ) if name not in _NOT_COMPARED.get(table, ())]  # fmt: skip


def rows(centre: Centre) -> list[tuple]:
    names = ", ".join(columns(centre, "sensor_data"))
    return centre.query(f"SELECT {names} FROM sensor_data ORDER BY kafka_partition, kafka_offset")


def losses(centre: Centre) -> list[tuple]:
    return centre.query(
        "SELECT gateway_id, stream_id, first_seq, last_seq, after_time, before_time, reason FROM loss ORDER BY 1, 2, 3"
    )


def lost_numbers(centre: Centre) -> list[tuple[str, str, int, int]]:
    """The numbers of streams that are not there, for whatever reason: ranges that do not touch."""
    merged: list[tuple[str, str, int, int]] = []
    for gateway, stream, first, last, *_ in losses(centre):
        if merged and merged[-1][:2] == (gateway, stream) and merged[-1][3] == first - 1:
            first = merged.pop()[2]
        merged.append((gateway, stream, first, last))
    return merged


def streams(centre: Centre) -> list[tuple]:
    return centre.query("""
        SELECT gateway_id, stream_id, first_seq, last_seq, last_event_time, end_seq, previous_stream_id, previous_known,
            lost FROM stream_progress ORDER BY 1, 2
    """)


def sensors(centre: Centre) -> list[tuple]:
    names = [name for name in columns(centre, "sensor") if name not in ("last_arrival", "last_commit", "final_through")]
    return centre.query(f"SELECT {', '.join(names)} FROM sensor ORDER BY gateway_id, sensor_id")


def rejected(centre: Centre) -> set[tuple]:
    """The rejected messages by their source positions, with reasons."""
    found = set()
    for message in read_all(centre.settings.kafka.rejected_topic):
        headers = {name: (value or b"").decode() for name, value in message.headers()}
        found.add((int(headers["vigie-partition"]), int(headers["vigie-offset"]), headers["vigie-reason"],
                   headers.get("vigie-own-stream"), message.key(), message.value()))  # fmt: skip
    return found


def details(centre: Centre) -> dict[tuple[int, int], str]:
    """What the headers of rejected messages say for a person."""
    found = {}
    for message in read_all(centre.settings.kafka.rejected_topic):
        headers = {name: (value or b"").decode() for name, value in message.headers()}
        # The clocks of the two engines differ.
        detail = headers["vigie-detail"].split(" is in the future of ")[0]
        found[int(headers["vigie-partition"]), int(headers["vigie-offset"])] = detail
    return found


def alerts(centre: Centre) -> list[tuple]:
    """Alerts about what readings say. Those about holes depend on where batches end."""
    return centre.query("""
        SELECT gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at, escalated_at, closed_at,
            value, worst_value, detail
        FROM alert WHERE kind IN ('threshold', 'battery', 'fault') ORDER BY 1, 2, 3, 4, 6, 7
    """)


def alert_states(centre: Centre) -> list[tuple]:
    """What is pending or open about what readings say, and which alerts about holes and conflicts are open."""
    return centre.query("""
        SELECT gateway_id, sensor_id, kind, variable, side, since, critical_since, worst, detail, severity
        FROM alert_state WHERE kind IN ('threshold', 'battery', 'fault')
        UNION ALL SELECT gateway_id, sensor_id, kind, variable, NULL, NULL, NULL, NULL, NULL, severity
        FROM alert_state WHERE kind IN ('loss', 'conflict') ORDER BY 1, 2, 3, 4
    """)


def assert_windows_equal(left: Centre, right: Centre) -> int:
    """Compares final windows as design 6 says what equal means; returns how many."""
    key = ("gateway_id", "sensor_id", "window_size", "window_start")
    names = columns(left, "sensor_data_agg")
    found = []
    for centre in (left, right):
        rows_ = centre.query(f"SELECT {', '.join(names)} FROM sensor_data_agg WHERE is_final")
        windows = [dict(zip(names, row, strict=True)) for row in rows_]
        found.append({tuple(window[name] for name in key): window for window in windows})
    ours, theirs = found
    assert ours.keys() == theirs.keys(), (
        f"only one side: {sorted(map(str, ours.keys() ^ theirs.keys()))[:6]} of {len(ours)} and {len(theirs)}"
    )
    exact = [name for name in names if name.endswith(("_count", "_min", "_max", "covered_ms", "coverage"))]
    quantities = [name.removesuffix("_avg") for name in names if name.endswith("_avg")]
    for place, one in ours.items():
        other = theirs[place]
        for name in exact:
            assert one[name] == other[name], (place, name, one[name], other[name])
        for name in quantities:
            mean = one[f"{name}_avg"]
            for statistic, tolerance in (("avg", 1e-9), ("stddev", 1e-6)):
                pair = one[f"{name}_{statistic}"], other[f"{name}_{statistic}"]
                if None in pair:
                    assert pair == (None, None), (place, name, statistic, pair)
                else:
                    assert abs(pair[0] - pair[1]) <= tolerance * max(1, abs(mean)), (place, name, statistic, pair)
    return len(ours)


def assert_same_readings(left: Centre, right: Centre) -> None:
    """Compares the rows, streams and alerts that two engines wrote of the same messages."""
    assert rows(left) == rows(right)
    assert losses(left) == losses(right)
    assert streams(left) == streams(right)
    assert alerts(left) == alerts(right)


def assert_equal(left: Centre, right: Centre) -> None:
    """Compares all that two engines wrote of the same messages; the certificate agrees on both."""
    assert_same_readings(left, right)
    assert sensors(left) == sensors(right)
    assert alert_states(left) == alert_states(right)
    assert rejected(left) == rejected(right)
    assert details(left) == details(right)
    assert conflicts(left) == conflicts(right)
    assert certificate(left) == certificate(right)
    for centre in (left, right):
        if conflicts(centre):
            # They are open, and nothing else is wrong.
            assert "what else was read agrees, but" in certificate(centre)
        else:
            verify(centre)
    assert assert_windows_equal(left, right) > 100


def conflicts(centre: Centre) -> list[tuple]:
    return centre.query("""
        SELECT gateway_id, own_stream_id, stream_id, seq, sensor_id, event_time, kafka_partition, kafka_offset
        FROM sequence_conflict WHERE settled_at IS NULL ORDER BY 1, 2
    """)


def certificate(centre: Centre) -> str:
    """The certificate, whatever it says."""
    command = [PROGRAMS / "vigie-processor", "verify", "--config", centre.file]
    return subprocess.run(command, capture_output=True, text=True).stdout


def verify(centre: Centre) -> str:
    """The certificate; it must agree."""
    result = subprocess.run([PROGRAMS / "vigie-processor", "verify", "--config", centre.file], capture_output=True,
                            text=True)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def reading(seq: int, event_time: int, gateway: str = "g-1", stream: str = "00000000000000aa", **fields) -> bytes:
    """A reading as a gateway writes it."""
    from vigie_spark.strict import write_time

    entries = {
        "schema": 1, "gateway_id": gateway, "sensor_id": f"{gateway}-s", "stream_id": stream, "seq": seq,
        "event_time": write_time(event_time), "time_quality": "synced", "interval_ms": 1000, "temperature": 20.5,
    } | fields  # fmt: skip
    return json.dumps(entries).encode()
