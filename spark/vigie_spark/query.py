"""One run of the streaming query: each micro-batch has one task a partition, and each task one transaction."""

import dataclasses
import json
import logging
import os
import pathlib
import shutil
import tempfile
import threading
import time

import psycopg
from pyspark.sql import DataFrame, SparkSession, functions

from .offset_rows import advance, stored_positions
from .offsets import Position, Range, Restart
from .progress import Progress
from .settings import Settings
from .task import REPORT_SQL, task
from .transaction import Summary

log = logging.getLogger("vigie.spark")

# The headers of a message, as the connector gives them.
HEADERS_SQL = "array<struct<key: string, value: binary>>"


# Seconds that a micro-batch has to end in order when the job is told to stop.
GRACE = 30


CHECKPOINT = "vigie-spark-checkpoint-"


def remove_old_checkpoints() -> None:
    """Removes what jobs of this machine have left that were killed: nobody reads a checkpoint again."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{CHECKPOINT}*-*"):
        owner = folder.name.removeprefix(CHECKPOINT).partition("-")[0]
        if owner.isdigit() and not pathlib.Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


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
        # It goes with the query, also with one that does not start.
        self._folder = tempfile.TemporaryDirectory(prefix=f"{CHECKPOINT}{os.getpid()}-", ignore_cleanup_errors=True)
        self._checkpoint = pathlib.Path(self._folder.name)
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
            self._folder.cleanup()

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
        topic, now = self._settings.kafka.topic, time.time_ns() // 1_000_000
        with psycopg.connect(self._settings.postgres, autocommit=True, connect_timeout=10) as connection:
            stored = stored_positions(connection, topic)
            for planned in ranges:
                position = stored.get(planned.partition)
                if position and position.generation == planned.generation and position.next >= planned.end:
                    continue
                since = Position(planned.start, planned.generation)
                until = Position(planned.end, planned.generation, position.last if position else None)
                if not advance(connection, topic, planned.partition, since, until, now):
                    raise Restart(f"partition {planned.partition} is not at {planned.start} any more")
