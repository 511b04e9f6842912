"""What the job says of itself: heartbeats in the table `processor`, and metrics on Spark's own page."""

import contextlib
import dataclasses
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import psycopg
import pyspark
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from . import __version__, tables
from .settings import Settings
from .transaction import Summary

log = logging.getLogger("vigie.spark")

HEARTBEAT = 3.0
"""Seconds between two heartbeats, as with the processor; five are missed before one counts as gone."""

COUNTS = {field.name: f"{field.name}_total" for field in dataclasses.fields(Summary)}
"""The metrics that only grow, by their names in a summary."""
GAUGES = ("lag_messages", "partitions", "healthy", "batch_milliseconds")


class Progress:
    """What the job does, told by the threads that do it and asked for by those that show it."""

    def __init__(self, publish: Callable[[str, int], None] = lambda name, value: None):
        """`publish` is told each metric that changes."""
        self._lock = threading.Lock()
        self._publish = publish
        self._totals = dict.fromkeys(COUNTS, 0)
        self._state = "starting"
        self._partitions: tuple[int, ...] = ()
        self._lag: int | None = None

    @property
    def state(self) -> str:
        """starting, healthy or degraded."""
        with self._lock:
            return self._state

    @property
    def partitions(self) -> tuple[int, ...]:
        with self._lock:
            return self._partitions

    @property
    def lag(self) -> int | None:
        """Offsets between what is committed and the end of the topic; None if that is not known."""
        with self._lock:
            return self._lag

    @property
    def messages(self) -> int:
        """That were committed since the job began."""
        with self._lock:
            return self._totals["messages"]

    def note_partitions(self, partitions: Iterable[int]) -> None:
        with self._lock:
            self._partitions = tuple(sorted(partitions))
            self._publish("partitions", len(self._partitions))

    def note_batch(self, counts: Mapping[str, int], seconds: float) -> None:
        """A micro-batch was committed."""
        with self._lock:
            for name, count in counts.items():
                self._totals[name] += count
                if count:
                    self._publish(COUNTS[name], self._totals[name])
            self._publish("batch_milliseconds", round(seconds * 1000))
            self._set_state("healthy")

    def note_lag(self, lag: int) -> None:
        """Broker and database were asked how much is still to be read; without any there is nothing to do."""
        with self._lock:
            self._lag = lag
            self._publish("lag_messages", lag)
            if not lag:
                self._set_state("healthy")

    def note_trouble(self) -> None:
        """The query does not run, or what is asked does not answer."""
        with self._lock:
            self._lag = None
            self._set_state("degraded")

    def _set_state(self, state: str) -> None:
        self._state = state
        self._publish("healthy", int(state == "healthy"))


# MARK: The heartbeat


class Heartbeat:
    """Writes a row of `processor` every few seconds, on a thread and a connection of its own, and takes it away at the
    end: `with Heartbeat(settings, progress): ...`."""

    def __init__(self, settings: Settings, progress: Progress):
        self._settings = settings
        self._progress = progress
        # A processor with the same configuration, such as `run --maintenance` beside the job, has a row of its own.
        self._instance = f"{settings.instance}-spark"
        self._started = time.time()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ending.set()
        self._thread.join(30)

    def _run(self) -> None:
        connection, has_failed = None, False
        then, messages = time.monotonic(), self._progress.messages
        while True:
            is_last = self._ending.wait(HEARTBEAT if connection or has_failed else 0)
            now, count = time.monotonic(), self._progress.messages
            rate = (count - messages) / max(now - then, 0.001)
            then, messages = now, count
            try:
                if connection is None:
                    connection = psycopg.connect(
                        self._settings.postgres, autocommit=True, connect_timeout=10,
                        application_name="vigie-spark heartbeat",
                    )  # fmt: skip
                if is_last:
                    connection.execute(tables.LEAVE_PROCESSORS, (self._instance, os.getpid()))
                else:
                    self._write(connection, rate)
                if has_failed:
                    log.info("heartbeats are written again")
                has_failed = False
            except psycopg.Error as error:
                if connection:
                    connection.close()
                connection = None
                # Once: the job says the rest. In the end the others see in time that it is gone.
                if not has_failed:
                    log.warning("cannot write a heartbeat into the database: %s", str(error).strip())
                has_failed = True
            if is_last:
                break
        if connection:
            connection.close()

    def _write(self, connection: psycopg.Connection, rate: float) -> None:
        progress = self._progress
        values = {
            "instance": self._instance, "worker": 0, "host": socket.gethostname(), "process_id": os.getpid(),
            "version": f"{__version__} on Spark {pyspark.__version__}", "topic": self._settings.kafka.topic,
            "consumer_group": self._settings.group, "partitions": list(progress.partitions), "lag": progress.lag,
            "messages_per_second": rate, "state": progress.state, "started_at": self._started,
        }  # fmt: skip
        connection.execute(tables.SAVE_PROCESSOR, values)
        connection.execute(tables.FORGET_PROCESSORS)


# MARK: Metrics


METRICS = {
    # One name from start to start: else it is the application's number.
    "spark.metrics.namespace": "vigie",
    "spark.ui.prometheus.enabled": "true",
    "spark.sql.streaming.metricsEnabled": "true",
    "spark.metrics.conf.*.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
}
"""Spark's settings for metrics at /metrics/prometheus of its page; what the user sets comes first."""


def register_metrics(spark: SparkSession) -> Callable[[str, int], None]:
    """Adds the job's metrics to the driver's, and returns what sets one.

    Spark shows accumulators as metrics of the source AccumulatorSource. No task adds to these.
    """
    context, jvm = spark.sparkContext._jsc.sc(), spark.sparkContext._jvm
    accumulators = {name: context.longAccumulator(name) for name in (*COUNTS.values(), *GAUGES)}
    named = jvm.java.util.HashMap()
    for name, accumulator in accumulators.items():
        named[name] = accumulator
    mapped = jvm.org.apache.spark.api.python.PythonUtils.toScalaMap(named)
    source = getattr(jvm.org.apache.spark.metrics.source, "LongAccumulatorSource$")
    getattr(source, "MODULE$").register(context, mapped)

    def publish(name: str, value: int) -> None:
        # Without Spark there is nobody to show it, and the job learns that by itself.
        with contextlib.suppress(Py4JError, OSError):
            accumulators[name].setValue(value)

    return publish
