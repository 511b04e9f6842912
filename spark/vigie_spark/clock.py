"""The passing of time: what becomes due without messages."""

import logging
import time
import uuid

import psycopg
from pyspark.sql import SparkSession

from .alert_rows import close_log_alerts
from .idle import CaughtUp
from .kafka import LogReader
from .offset_rows import stored_positions
from .progress import Progress
from .settings import Settings
from .task import LOOK_SQL, LOOKED_SQL, time_task
from .trouble import Trouble, root_cause

log = logging.getLogger("vigie.spark")


class Clock:
    """Looks every few seconds for what the passing of time makes due, also without messages: a task a partition."""

    def __init__(self, spark: SparkSession, settings: Settings, progress: Progress):
        self._spark = spark
        self._settings = settings
        self._progress = progress
        self._trouble = Trouble("cannot look at what time makes due")
        self._caught_up = CaughtUp()
        self._next = 0.0
        self.jobs = f"vigie-time-{uuid.uuid4()}"
        """The group of the jobs of looks, by which whoever ends the job cancels them."""
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
                self._spark.sparkContext.setJobGroup(self.jobs, "what the passing of time makes due")
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
