"""The job: Spark Structured Streaming over Spark's own Kafka connector, begun again wherever PostgreSQL says.

A query may end at any moment. Every start has a new checkpoint folder and begins at the offsets in PostgreSQL; what
goes wrong ends the query, and the next one begins there. Each micro-batch has one task a partition, and each task one
transaction (`task`), so nothing but a row of counts comes to the driver.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

import psycopg
import pyspark
from pyspark import SparkConf, SparkContext
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession, functions

from . import tables
from .alert_rows import close_log_alerts, open_log_alert
from .idle import CaughtUp
from .kafka import KafkaUnreachable, LogReader
from .kafka_settings import FileUnusable
from .native import LibraryMissing, library
from .offsets import Position, Range, Restart
from .progress import METRICS, Heartbeat, Progress, register_metrics
from .settings import Settings, SettingsError, read_settings
from .task import LOOK_SQL, LOOKED_SQL, REPORT_SQL, task, time_task
from .transaction import Summary, position_of

log = logging.getLogger("vigie.spark")

# The headers of a message, as the connector gives them.
HEADERS_SQL = "array<struct<key: string, value: binary>>"


# Seconds that a micro-batch has to end in order when the job is told to stop.
GRACE = 30


class SchemaUnknown(Exception):
    """The database has another schema than this engine knows."""


class SparkLost(Exception):
    """Spark itself has ended under the job: the job has to be started anew."""


# MARK: Before a start


def stored_positions(connection: psycopg.Connection, topic: str) -> dict[int, Position]:
    return {partition: position_of(row) for partition, *row in connection.execute(tables.POSITIONS, (topic,))}


def check_schema(connection: psycopg.Connection) -> None:
    try:
        found = connection.execute(tables.SCHEMA_NUMBER).fetchone()[0]
    except psycopg.errors.UndefinedTable:
        found = 0
    if found != tables.SCHEMA:
        remedy = "run `vigie-processor migrate`" if found < tables.SCHEMA else "run a newer job"
        raise SchemaUnknown(f"the database has schema {found}, this job knows {tables.SCHEMA}: {remedy}")


def locate(settings: Settings) -> dict[int, Position]:
    """Where each partition is to be read from, once its log was compared with the one that was read before."""
    topic = settings.kafka.topic
    reader = LogReader(settings.kafka)
    try:
        with psycopg.connect(settings.postgres, autocommit=True, connect_timeout=10) as connection:
            check_schema(connection)
            bounds = reader.bounds()
            stored = stored_positions(connection, topic)
            if new := bounds.keys() - stored.keys():
                connection.execute(tables.INSERT_POSITIONS, (topic, sorted(new)))
                stored = stored_positions(connection, topic)
            partitions = sorted(bounds)
            if taken := connection.execute(tables.TAKE_GATEWAYS, (partitions, partitions[0])).rowcount:
                log.info("took up %s gateways of partitions that are gone", taken)
            for partition, move in reader.compare(stored).items():
                log.warning("partition %s: %s, reading from offset %s", partition, move.reason, move.to.next)
                since, now = stored[partition], time.time_ns() // 1_000_000
                with connection.transaction():
                    if not advance(connection, topic, partition, since, move.to):
                        raise Restart(f"somebody else reads partition {partition}")
                    if move.to.generation != since.generation:
                        detail = f"read up to offset {since.next} of another log; reading from offset {move.to.next}"
                        open_log_alert(connection, topic, partition, detail, settings.notifies, now)
                stored[partition] = move.to
            return {partition: stored[partition] for partition in bounds}
    finally:
        reader.close()


def advance(connection: psycopg.Connection, topic: str, partition: int, since: Position, until: Position) -> bool:
    """Writes how far a partition was read where nothing else is to be written; False if somebody else did."""
    mark = dataclasses.astuple(until.last) if until.last else (None,) * 4
    now = time.time_ns() // 1_000_000
    done = connection.execute(
        tables.ADVANCE,
        (until.next, until.generation, *mark, now, topic, partition, since.next, since.generation),
    )
    return done.rowcount == 1


# MARK: A query


def planned_ends(checkpoint: pathlib.Path, batch: int, topic: str) -> dict[int, int]:
    """Where the ranges of a micro-batch end: Spark writes them to the checkpoint before it runs one.

    Rows do not say it, as the last offsets of a range may be markers of transactions.
    """
    lines = (checkpoint / "offsets" / str(batch)).read_text().splitlines()
    return {int(partition): end for partition, end in json.loads(lines[2])[topic].items()}


class Query:
    """One run of the streaming query, from the offsets in PostgreSQL until something ends it."""

    def __init__(
        self, spark: SparkSession, settings: Settings, starts: dict[int, Position], trigger: str, progress: Progress
    ):
        self._settings = settings
        self._progress = progress
        progress.note_partitions(starts)
        self._generations = {partition: position.generation for partition, position in starts.items()}
        self._next = {partition: position.next for partition, position in starts.items()}
        self._checkpoint = pathlib.Path(tempfile.mkdtemp(prefix="vigie-spark-checkpoint-"))
        self._is_stopping = False
        self._turn = threading.Lock()
        self.batches = 0
        self.total = Summary()
        self.restart: Restart | None = None
        topic = settings.kafka.topic
        frame = (
            spark.readStream.format("kafka")
            .options(**settings.kafka.connector())
            .option("subscribe", topic)
            .option(
                "startingOffsets",
                json.dumps({topic: {str(partition): next_ for partition, next_ in self._next.items()}}),
            )
            .option("kafka.isolation.level", "read_committed")
            # A task asks for the partition's bounds between two fetches, and the fetch that it began before, behind the
            # last message, is waited for in vain: half a second by default. Nobody fetches between micro-batches.
            .option("kafka.fetch.max.wait.ms", "10")
            .option("failOnDataLoss", "false")
            .option("includeHeaders", "true")
            .option("maxOffsetsPerTrigger", settings.batch)
            .load()
        )
        self._query = (
            frame.writeStream.queryName("vigie")
            .foreachBatch(self._run)
            .option("checkpointLocation", self._checkpoint.as_uri())
            .trigger(processingTime=trigger)
            .start()
        )

    def await_end(self, seconds: float) -> bool:
        """Waits for the query's end. Raises what ended it, Restart if the query is to begin again."""
        try:
            return bool(self._query.awaitTermination(seconds))
        except Exception:
            if self.restart:
                raise self.restart from None
            raise

    def stop(self) -> None:
        """Ends the query, after the micro-batch that runs if that takes no longer than GRACE. What is not committed
        then is undone; PostgreSQL knows."""
        self._is_stopping = True
        if self._turn.acquire(timeout=GRACE):
            self._turn.release()
        try:
            self._query.stop()
        finally:
            shutil.rmtree(self._checkpoint, ignore_errors=True)

    def _run(self, frame: DataFrame, batch: int) -> None:
        with self._turn:
            # Whatever Spark notes of a batch that is not run, nobody reads it.
            if self._is_stopping:
                return
            try:
                self._commit(frame, batch)
            except Restart as restart:
                self.restart = restart
                raise
            self.batches += 1

    def _commit(self, frame: DataFrame, batch: int) -> None:
        began = time.monotonic()
        plan = self._plan(batch)
        columns = frame.select(
            "partition", "offset", "timestamp", "timestampType", "key", "value",
            # After each row Spark asks how large the Arrow batch has become, and of a column of lists that are null it
            # counts all rows each time: nine tenths of the executors' time. Empty lists cost nothing.
            functions.coalesce("headers", functions.array().cast(HEADERS_SQL)).alias("headers"),
        )  # fmt: skip
        reports = columns.mapInArrow(task(self._settings, plan), REPORT_SQL).collect()
        for report in reports:
            if report.restart:
                raise Restart(report.restart)
        done = {report.partition for report in reports}
        self._pass_markers([planned for partition, planned in plan.items() if partition not in done])
        self._next |= {partition: planned.end for partition, planned in plan.items()}
        counts = {name: sum(report[name] for report in reports) for name in dataclasses.asdict(self.total)}
        for name, count in counts.items():
            setattr(self.total, name, getattr(self.total, name) + count)
        self._progress.note_batch(counts, time.monotonic() - began)
        log.info("batch %s: %s", batch, {name: count for name, count in counts.items() if count})

    def _plan(self, batch: int) -> dict[int, Range]:
        plan = {}
        for partition, end in planned_ends(self._checkpoint, batch, self._settings.kafka.topic).items():
            start = self._next.get(partition)
            if start is None:
                raise Restart(f"partition {partition} is new")
            if end < start:
                raise Restart(f"partition {partition} ends at {end}, and was read up to {start}")
            if end > start:
                plan[partition] = Range(partition, start, end, self._generations[partition])
        return plan

    def _pass_markers(self, ranges: list[Range]) -> None:
        """Notes ranges without a message: nothing but markers of transactions, or messages that were not committed."""
        if not ranges:
            return
        topic = self._settings.kafka.topic
        with psycopg.connect(self._settings.postgres, autocommit=True, connect_timeout=10) as connection:
            stored = stored_positions(connection, topic)
            for planned in ranges:
                position = stored.get(planned.partition)
                if position and position.generation == planned.generation and position.next >= planned.end:
                    continue
                since = Position(planned.start, planned.generation)
                until = Position(planned.end, planned.generation, position.last if position else None)
                if not advance(connection, topic, planned.partition, since, until):
                    raise Restart(f"partition {planned.partition} is not at {planned.start} any more")


# MARK: The passing of time


class Trouble:
    """What keeps the job from its work. Each thing that is wrong is one line of the log, and the end is one."""

    def __init__(self, what: str):
        self._what = what
        self._told: set[str] = set()
        self._began = 0.0

    def tell(self, text: str) -> None:
        # Numbers are of attempts, ports and times.
        told = re.sub(r"\d+", "", text)
        if not self._told:
            self._began = time.monotonic()
        log.log(logging.DEBUG if told in self._told else logging.WARNING, "%s: %s", self._what, text)
        self._told.add(told)

    def end(self) -> None:
        if self._told:
            log.info("that is over after %.0f s: %s", time.monotonic() - self._began, self._what)
        self._told = set()


class Clock:
    """Looks every few seconds for what the passing of time makes due, also without messages: a task a partition."""

    def __init__(self, spark: SparkSession, settings: Settings, progress: Progress):
        self._spark = spark
        self._settings = settings
        self._progress = progress
        self._trouble = Trouble("cannot look at what time makes due")
        self._caught_up = CaughtUp()
        self._next = 0.0
        self._reader: LogReader | None = None
        self._connection: psycopg.Connection | None = None

    def look(self) -> None:
        """Does what is due, if it is time for a look. A look that fails is repeated; the query goes on."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._settings.update_interval / 1000
        try:
            self._confirm()
            rows = [
                (partition, stretch.since, stretch.through)
                for partition, stretch in sorted(self._caught_up.stretches.items())
            ]
            if rows:
                frame = self._spark.createDataFrame(rows, LOOK_SQL)
                looked = frame.mapInArrow(time_task(self._settings), LOOKED_SQL).collect()
                if written := sum(row.windows for row in looked):
                    log.info("the passing of time: %s windows", written)
            self._trouble.end()
        except Exception as error:
            self._trouble.tell(root_cause(error))
            self._progress.note_trouble()
            self.close()

    def _confirm(self) -> None:
        """Notes the partitions of which everything is in the database that was there a moment ago."""
        if self._reader is None:
            self._reader = LogReader(self._settings.kafka)
        if self._connection is None:
            self._connection = psycopg.connect(self._settings.postgres, autocommit=True, connect_timeout=10)
        now = time.time_ns() // 1_000_000
        topic = self._settings.kafka.topic
        bounds = self._reader.bounds()
        stored = {partition: position for partition, position in stored_positions(self._connection, topic).items()
                  if partition in bounds}  # fmt: skip
        reached = [partition for partition, position in stored.items() if position.next >= bounds[partition][1]]
        for partition in reached:
            self._caught_up.confirm(partition, now)
        self._progress.note_lag(sum(max(0, bounds[partition][1] - stored[partition].next) for partition in stored))
        with self._connection.transaction():
            if closed := close_log_alerts(self._connection, topic, reached, self._settings.notifies, now):
                log.info("%s partitions with another log were read to their ends", closed)

    def close(self) -> None:
        if self._reader:
            self._reader.close()
        if self._connection:
            self._connection.close()
        self._reader = self._connection = None


# MARK: The job


class Job:
    """Runs queries until it is told to stop."""

    def __init__(
        self, spark: SparkSession, settings: Settings, trigger: str = "500 milliseconds",
        stopping: threading.Event | None = None,
    ):  # fmt: skip
        """`stopping` is set by whoever wants the job to end, also before it runs."""
        self._spark = spark
        self._settings = settings
        self._trigger = trigger
        self._progress = Progress(register_metrics(spark))
        self._stopping = stopping or threading.Event()
        self._backoff = 0.1
        self.query: Query | None = None

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Returns after `stop`. Raises what no second try mends."""
        with Heartbeat(self._settings, self._progress):
            self._run()

    def _run(self) -> None:
        clock = Clock(self._spark, self._settings, self._progress)
        trouble = Trouble("the query does not run")
        while not self._stopping.is_set():
            try:
                self._run_query(clock, trouble)
            except (SchemaUnknown, SettingsError, LibraryMissing):
                raise
            except Exception as error:
                if self._stopping.is_set():
                    # Whoever ends the job may end Spark at the same time.
                    log.debug("", exc_info=True)
                    break
                if is_lost(self._spark):
                    raise SparkLost(root_cause(error)) from None
                if not isinstance(error, Restart):
                    self._progress.note_trouble()
                trouble.tell(str(error).strip() if isinstance(error, EXPECTED) else root_cause(error))
                log.debug("", exc_info=True)
                self._wait()
        clock.close()

    def _run_query(self, clock: Clock, trouble: Trouble) -> None:
        """One query until the job is told to stop. Raises what ends it before."""
        self.query = query = Query(self._spark, self._settings, locate(self._settings), self._trigger, self._progress)
        try:
            while not self._stopping.is_set() and not query.await_end(0.5):
                if query.batches:
                    trouble.end()
                    self._backoff = 0.1
                clock.look()
        finally:
            query.stop()

    def _wait(self) -> None:
        self._stopping.wait(self._backoff * random.uniform(0.5, 1))
        self._backoff = min(self._backoff * 2, 10)


# Errors whose text says all.
EXPECTED = (Restart, KafkaUnreachable, FileUnusable, psycopg.Error)


def is_lost(spark: SparkSession) -> bool:
    """Whether Spark's own process has ended, or was told to."""
    try:
        return spark.sparkContext._jsc.sc().isStopped()
    except Exception:
        return True


def root_cause(error: Exception) -> str:
    """The line of an error that says why: Spark puts its own frames, states and plans around it."""
    text = str(error).partition("=== Streaming Query ===")[0].partition("JVM stacktrace:")[0]
    lines = [re.sub(r"( *SQLSTATE: \w+)+$", "", line).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if "Traceback (most recent call last)" in text:
        # The innermost one is the last; its frames are indented.
        return next(line for line in reversed(lines) if not line[0].isspace())[:500]
    return (lines[0] if lines else repr(error)).rpartition("terminated with exception: ")[2].strip()[:500]


def jars() -> list[str]:
    """The connector's jars: in the folder that VIGIE_SPARK_JARS names, else where `spark/environment` has put them."""
    fetched = pathlib.Path(__file__).resolve().parents[2] / ".vigie" / "spark" / "jars"
    named = os.environ.get("VIGIE_SPARK_JARS")
    folder = pathlib.Path(named) if named else fetched
    found = sorted(folder.resolve().glob("*.jar"))
    # One of another version would fail in the middle of a batch, with the name of a class.
    connector = f"spark-sql-kafka-0-10_2.13-{pyspark.__version__}.jar"
    if connector not in (path.name for path in found):
        remedy = "correct VIGIE_SPARK_JARS, or unset it" if named else "run spark/environment"
        raise SettingsError(f"{folder} has no {connector}, the connector of this PySpark: {remedy}")
    return [str(path) for path in found]


def check_connector(spark: SparkSession) -> None:
    """SettingsError if Spark has no Kafka connector, which whoever calls spark-submit has to name."""
    try:
        spark.readStream.format("kafka").option("kafka.bootstrap.servers", "-").option("subscribe", "-").load()
    except AnalysisException as error:
        raise SettingsError(
            f"Spark has no Kafka connector ({root_cause(error)}): start the job by spark/submit, or give spark-submit "
            f"--packages org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}"
        ) from None


def is_given(name: str) -> bool:
    """Whether whoever starts the job has set one of Spark's settings."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        # spark-submit has started the JVM with all of them.
        SparkContext._ensure_initialized()
        return SparkConf().contains(name)
    return f"{name}=" in os.environ.get("PYSPARK_SUBMIT_ARGS", "")


def session(name: str, master: str | None) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master and master.startswith("local"):
        # Nobody else needs its page. With a cluster the executors must reach the driver.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName(name)
    # Under spark-submit its command line says it all (spark/submit).
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        # Executors find this package where the driver has it.
        package = str(pathlib.Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        os.environ["PYTHONPATH"] = path
        builder = builder.config("spark.executorEnv.PYTHONPATH", path).config("spark.jars", ",".join(jars()))
        if named := os.environ.get("VIGIE_SPARK_LIBRARY"):
            builder = builder.config("spark.executorEnv.VIGIE_SPARK_LIBRARY", named)
    # The name of a file, which every node has at the same place; a password never travels so.
    if named := os.environ.get("PGPASSFILE"):
        builder = builder.config("spark.executorEnv.PGPASSFILE", named)
    if master:
        builder = builder.master(master)
    for name, value in METRICS.items():
        if not is_given(name):
            builder = builder.config(name, value)
    return (
        builder.config("spark.sql.session.timeZone", "UTC")
        # Every executor's Python keeps its connection to PostgreSQL from task to task.
        .config("spark.python.worker.reuse", "true")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "20000")
        .config("spark.sql.streaming.numRecentProgressUpdates", "20")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        print(f"vigie-spark: {line}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="vigie-spark", description="Vigie's processor on Apache Spark.")
    parser.add_argument("--check", action="store_true", help="validate the configuration and exit")
    parser.add_argument("--config", required=True, help="the processor's configuration file")
    parser.add_argument("--master", help="Spark's master, such as local[2]; by default what spark-submit says")
    parser.add_argument("--batch", type=int, default=200_000, help="the most messages of a micro-batch (200000)")
    parser.add_argument("--trigger", default="500 milliseconds", help="the least time between two micro-batches")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        settings = read_settings(arguments.config, arguments.batch, checking_files=True)
        if arguments.check:
            print(f"{arguments.config}: valid")
            return 0
        library()
        # Before Spark starts, which takes a while. A database that is away is waited for later.
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(settings.postgres, autocommit=True, connect_timeout=10) as connection,
        ):
            check_schema(connection)
        return run(settings, arguments.master, arguments.trigger, stopping)
    except (SettingsError, LibraryMissing, SchemaUnknown) as error:
        _complain(error)
        return 2


def run(settings: Settings, master: str | None, trigger: str, stopping: threading.Event) -> int:
    """Runs the job until `stopping` is set; returns the exit status."""
    spark = None
    try:
        if stopping.is_set():
            return 0
        spark = session("vigie", master)
        quieten(spark)
        check_connector(spark)
        if page := spark.sparkContext.uiWebUrl:
            log.info("its page is at %s", page)
        Job(spark, settings, trigger, stopping).run()
        return 0
    except (SettingsError, LibraryMissing, SchemaUnknown):
        raise
    except Exception as error:
        if stopping.is_set():
            return 0
        if not isinstance(error, SparkLost):
            raise
        print(f"vigie-spark: Spark has ended: {error}", file=sys.stderr)
        return 1
    finally:
        if spark:
            with contextlib.suppress(Exception):
                spark.stop()


# Of a failed query these say hundreds of lines, again and again while a server is away; the job says why in one.
LOUD = {
    "org.apache.hadoop.util.Shell": "ERROR",
    "org.apache.kafka": "ERROR",
    "org.apache.spark.api.python": "OFF",
    "org.apache.spark.executor.Executor": "OFF",
    "org.apache.spark.scheduler.DAGScheduler": "ERROR",
    "org.apache.spark.scheduler.TaskSetManager": "OFF",
    "org.apache.spark.sql.execution.datasources.v2.WriteToDataSourceV2Exec": "OFF",
    "org.apache.spark.sql.execution.streaming": "OFF",
    "org.apache.spark.sql.kafka010": "OFF",
}


def quieten(spark: SparkSession) -> None:
    """Leaves to the log of the driver what is not said by the job's own lines."""
    spark.sparkContext.setLogLevel("WARN")
    log4j = spark.sparkContext._jvm.org.apache.logging.log4j
    for name, level in LOUD.items():
        log4j.core.config.Configurator.setLevel(name, log4j.Level.toLevel(level))
