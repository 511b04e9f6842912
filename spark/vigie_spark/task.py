"""What a task does on an executor: one partition's range, from Arrow batches to a commit in PostgreSQL."""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import psycopg
import pyarrow

from . import tables
from .database import Database, Refused, isolate, pass_time, write
from .decoding import Batch, BatchDecoder
from .idle import Stretch
from .kafka import LogReader, RejectedTopic
from .offsets import Position, Range, Restart, Verdict, judge_range
from .settings import Settings
from .strict import Rejection
from .transaction import Conflict, StaleOffset, Summary, UnannouncedConflicts

log = logging.getLogger("vigie.spark")

# What a task says of its range: one row.
REPORT = pyarrow.schema(
    [("partition", pyarrow.int32()), ("restart", pyarrow.string()),
     *((field.name, pyarrow.int64()) for field in dataclasses.fields(Summary))]
)  # fmt: skip
REPORT_SQL = ", ".join(
    f"{field.name} {'int' if field.name == 'partition' else 'string' if field.name == 'restart' else 'long'}"
    for field in REPORT
)


class Worker:
    """What a Python process of an executor keeps between tasks."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.database = Database(settings)
        self.decoder = BatchDecoder(settings.limits)
        self.rejected = RejectedTopic(settings.kafka)
        self.log = LogReader(settings.kafka)

    def commit(self, planned: Range, messages: pyarrow.Table) -> Summary:
        """Commits what is still to be committed of a range; Restart if the query is to begin again."""
        while True:
            stored = self.database.position(planned.partition)
            if judge_range(stored, planned) is Verdict.DONE:
                return Summary()
            try:
                return self._commit(planned, messages, stored)
            except StaleOffset as stale:
                # Another attempt, or the other engine: PostgreSQL says how far it came.
                log.info("%s", stale)

    def _commit(self, planned: Range, messages: pyarrow.Table, stored: Position) -> Summary:
        # Asked once the messages are here: if the log still has what was read last, they are of the same log, however
        # quickly the topic may be made anew while the query runs. Spark's connector does not notice that.
        if stored.last and not self.log.has(planned.partition, stored.last):
            raise Restart(f"the log of partition {planned.partition} is another one than was read before")
        if stored.next > planned.start:
            rest = [offset >= stored.next for offset in messages.column("offset").to_pylist()]
            messages = messages.filter(pyarrow.array(rest, pyarrow.bool_()))
        now = max(time.time_ns() // 1_000_000, self.database.clock())
        batch = self.decoder.decode(planned.partition, messages, now)
        if batch.rejected:
            self.rejected.publish(planned.partition, batch.rejected, now)
        self.database.prepare_days(batch, now)
        until = Position(planned.end, stored.generation, batch.last or stored.last)
        announced: set[tuple[str, int]] = set()
        self.database.held.release(time.monotonic())
        trials = self.database.trials
        while True:
            try:
                summary = write(self.database, batch, stored, until, now, announced)
                held = len(self.database.held.gateways.intersection(batch.gateways))
                return dataclasses.replace(summary, trials=self.database.trials - trials, held=held)
            except UnannouncedConflicts as found:
                self._announce(batch, found.conflicts, now)
                announced |= {(conflict.gateway_id, conflict.own_stream) for conflict in found.conflicts}
            except Refused:
                batch = self._isolate(batch, stored, until, now)

    def _announce(self, batch: Batch, conflicts: list[Conflict], now: int) -> None:
        """Sends conflicts to the rejected topic."""
        originals = []
        for conflict in conflicts:
            sequence = int(batch.readings["sequence"][conflict.row])
            stream = batch.streams[batch.readings["stream"][conflict.row]][1]
            detail = f"another reading has the number {sequence} of the stream {stream:016x}"
            rejection = Rejection("sequence_conflict", detail, "seq")
            row = int(batch.readings["row"][conflict.row])
            originals.append(batch.message(row, rejection, f"{conflict.own_stream:016x}"))
        self.rejected.publish(batch.partition, originals, now)

    def _isolate(self, batch: Batch, since: Position, until: Position, now: int) -> Batch:
        """The batch without what the database refuses, whose messages go to the rejected topic."""
        batch, reasons = isolate(self.database, batch, since, until, now)
        if not reasons:
            return batch
        messages = {
            part: batch.message_of_part(part, Rejection("refused_by_database", reason))
            for part, reason in sorted(reasons.items())
        }
        rejected = [message for message in messages.values() if message]
        self.rejected.publish(batch.partition, rejected, now)
        log.warning("%s messages that the database refuses went to the rejected topic: %s", len(rejected),
                    next(iter(reasons.values())))  # fmt: skip
        return batch.without(messages)

    def close(self) -> None:
        self.database.close()
        self.log.close()


_workers: dict[int, Worker] = {}


def worker(settings: Settings) -> Worker:
    """The worker of this process; made anew after a fork or with other settings."""
    known = _workers.get(os.getpid())
    if known is None or known.settings != settings or known.database.connection.closed:
        forget_worker()
        # Those of a process that this one is a fork of are not ours to close.
        _workers.clear()
        _workers[os.getpid()] = known = Worker(settings)
    return known


def forget_worker() -> None:
    known = _workers.pop(os.getpid(), None)
    if known:
        known.close()


Task = Callable[[Iterable[pyarrow.RecordBatch]], Iterator[pyarrow.RecordBatch]]


def task(settings: Settings, plan: Mapping[int, Range]) -> Task:
    """The function for `mapInArrow`. `plan` has the range of each partition."""

    def run(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        batches = [batch for batch in batches if batch.num_rows]
        if not batches:
            return
        messages = pyarrow.Table.from_batches(batches)
        partitions = messages.column("partition").unique().to_pylist()
        if len(partitions) != 1:
            raise ValueError(f"a task has messages of several partitions: {partitions}")
        summary, restart = Summary(), None
        try:
            summary = worker(settings).commit(plan[partitions[0]], messages)
        except Restart as found:
            restart = str(found)
        except psycopg.errors.LockNotAvailable:
            _end_paused_sessions(settings)
            forget_worker()
            raise
        except Exception:
            forget_worker()
            raise
        row = {"partition": partitions[0], "restart": restart, **dataclasses.asdict(summary)}
        yield pyarrow.RecordBatch.from_pylist([row], schema=REPORT)

    return run


# What a look at the passing of time is given, and what it says: one row a partition.
LOOK_SQL = "partition int, since long, through long"
LOOKED_SQL = "partition int, windows long"


def time_task(settings: Settings) -> Task:
    """The function for `mapInArrow` that writes what the passing of time makes due.

    Each row is a partition of the topic, with the time in which silence means something. As an Arrow function it has
    the processes of the micro-batches, with their connections.
    """

    def run(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            windows = []
            for row in batch.to_pylist():
                stretch = Stretch(row["since"], row["through"])
                windows.append(_pass_time(settings, row["partition"], stretch))
            yield pyarrow.RecordBatch.from_arrays(
                [batch.column("partition"), pyarrow.array(windows, pyarrow.int64())], ["partition", "windows"]
            )

    return run


def _pass_time(settings: Settings, partition: int, stretch: Stretch) -> int:
    try:
        return pass_time(worker(settings).database, partition, stretch, time.time_ns() // 1_000_000)
    except psycopg.errors.LockNotAvailable:
        # A batch has the gateways; the next look comes soon.
        log.debug("the gateways of partition %s are locked", partition)
        return 0
    except Exception:
        forget_worker()
        raise


def _end_paused_sessions(settings: Settings) -> None:
    with psycopg.connect(settings.postgres, autocommit=True, connect_timeout=10) as connection:
        ended = connection.execute(tables.END_PAUSED_SESSIONS).rowcount
        if ended:
            log.warning("ended %s sessions that held locks and did not go on", ended)
