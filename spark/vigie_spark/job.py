"""The job: Spark Structured Streaming over Spark's own Kafka connector, begun again wherever PostgreSQL says.

A query may end at any moment. Every start has a new checkpoint folder and begins at the offsets in PostgreSQL; what
goes wrong ends the query, and the next one begins there. Each micro-batch has one task a partition, and each task one
transaction (`task`), so nothing but a row of counts comes to the driver.
"""

import argparse
import contextlib
import logging
import random
import signal
import sys
import threading

import psycopg
from pyspark.sql import SparkSession

from .clock import Clock
from .configuration import duration
from .kafka import KafkaUnreachable
from .kafka_settings import FileUnusable
from .native import LibraryMissing, library
from .offsets import Restart
from .positions import SchemaUnknown, check_schema, locate
from .progress import Heartbeat, Progress, register_metrics
from .query import Query, remove_old_checkpoints
from .session import check_connector, quieten, session
from .settings import Settings, SettingsError, read_settings
from .trouble import Trouble, root_cause

log = logging.getLogger("vigie.spark")


class SparkLost(Exception):
    """Spark itself has ended under the job: the job has to be started anew."""


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
        threading.Thread(target=self._cancel_looks, args=(clock,), daemon=True).start()
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

    def _cancel_looks(self, clock: Clock) -> None:
        """A look waits for executors for ever, if the cluster has none; what it does is undone, and done by others."""
        self._stopping.wait()
        with contextlib.suppress(Exception):
            self._spark.sparkContext._jsc.sc().cancelJobGroupAndFutureJobs(clock.jobs)

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


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError("expected a whole number above 0")
    return int(text)


def _trigger(text: str) -> str:
    """A duration of the configuration as an interval of Spark."""
    milliseconds = duration().convert(text)
    if milliseconds is None:
        raise argparse.ArgumentTypeError("expected a duration such as 500ms")
    return f"{milliseconds} milliseconds"


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        print(f"vigie-spark: {line}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="vigie-spark", description="Vigie's processor on Apache Spark.")
    parser.add_argument("--check", action="store_true", help="validate the configuration and exit")
    parser.add_argument("--config", required=True, help="the processor's configuration file")
    parser.add_argument("--master", help="Spark's master, such as local[2]; by default what spark-submit says")
    parser.add_argument("--batch", type=_count, default=200_000, help="the most messages of a micro-batch (200000)")
    parser.add_argument(
        "--trigger", type=_trigger, default="500ms", help="the least time between micro-batches (500ms)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # It tells of each exception in a callback, which the job does too.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
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
        remove_old_checkpoints()
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
