"""The connection of one process to PostgreSQL: transactions on it, and what to do with what the database refuses."""

import logging
import time
from collections.abc import Callable, Sequence

import numpy
import psycopg

from . import tables
from .admission import NEVER
from .days import DAY, missing_spans, written
from .decoding import Batch
from .idle import Stretch, idle_through
from .isolation import HeldWindows, described, may_be_the_fault_of_a_row, refused
from .offset_rows import position_of
from .offsets import Position
from .retention import cutoff
from .settings import Settings
from .transaction import Summary, Transaction

log = logging.getLogger("vigie.spark")

_LONGEST_TIME = 2**62
# The most gateways whose rows are locked at once without a batch.
MOST_GATEWAYS = 500


class _Cursor(psycopg.Cursor):
    """Tells its connection the statement that it begins, as an error of psycopg does not say it."""

    def execute(self, query, *arguments, **options):
        self.connection.statement = query
        return super().execute(query, *arguments, **options)

    def copy(self, statement, *arguments, **options):
        self.connection.statement = statement
        return super().copy(statement, *arguments, **options)


class Connection(psycopg.Connection):
    statement = ""
    """What was begun last."""


class Refused(Exception):
    """The database refuses a transaction for what it is to write, and would take it without some of it."""

    def __init__(self, error: psycopg.Error, statement: str):
        self.statement = statement
        super().__init__(described(error, statement))


class Database:
    """The connection of one process to PostgreSQL, and what is known of its partitions and of refused windows."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.connection = Connection.connect(
            settings.postgres, application_name="vigie-spark", autocommit=True, connect_timeout=10,
            cursor_factory=_Cursor,
        )  # fmt: skip
        self.held = HeldWindows()
        self.trials = 0
        self._days: set[int] = set()

    def close(self) -> None:
        self.connection.close()

    def clock(self) -> int:
        """The database's clock, milliseconds since 1970."""
        return self.connection.execute(tables.DATABASE_CLOCK).fetchone()[0]

    def position(self, partition: int) -> Position | None:
        row = self.connection.execute(tables.POSITION_OF_PARTITION, (self.settings.kafka.topic, partition)).fetchone()
        return position_of(row) if row else None

    def prepare_days(self, batch: Batch, now: int) -> None:
        """Makes the day partitions that a batch needs, outside of its transaction."""
        days = set(numpy.unique(batch.readings["event_time"] // DAY).tolist()) - self._days
        if not days:
            return
        first = cutoff(self.connection).readings // DAY
        needed = {day for day in days if day >= first}
        with self.connection.transaction():
            if missing_spans(needed, now // DAY, self._existing()):
                self.connection.execute(tables.PARTITION_LOCK)
                for since, until, name in missing_spans(needed, now // DAY, self._existing()):
                    self.connection.execute(tables.make_partition(name, written(since), written(until)))
        self._days |= needed

    def transact(self, now: int, body: Callable[[Transaction], object]) -> None:
        """Commits what `body` writes, or nothing of it. Raises Refused, or what psycopg or `body` says."""
        try:
            with self.connection.transaction():
                body(self._begin(now))
                self.connection.statement = "COMMIT"
        except psycopg.Error as error:
            raise self._refusal(error) from error

    def refusal(self, now: int, body: Callable[[Transaction], object], held: frozenset[str]) -> Refused | None:
        """Why the database refuses what `body` writes; None if it would take it. Nothing of it is kept.

        Args:
            held: the gateways whose windows are left out.
        """
        self.trials += 1
        try:
            with self.connection.transaction(force_rollback=True):
                body(self._begin(now, held))
                self.connection.execute(tables.CHECK_NOW)
        except psycopg.Error as error:
            if self.connection.statement == tables.CHECK_NOW:
                self.connection.statement = "COMMIT"
            found = self._refusal(error)
            if not isinstance(found, Refused):
                raise
            return found
        return None

    def _begin(self, now: int, held: frozenset[str] | None = None) -> Transaction:
        self.connection.execute(tables.BEGIN)
        held = self.held.gateways if held is None else held
        return Transaction(self.connection, self.settings, now, held)

    def _refusal(self, error: psycopg.Error) -> Exception:
        return Refused(error, self.connection.statement) if may_be_the_fault_of_a_row(error) else error

    def hold_windows(self, gateways: Sequence[str], refusal: Callable[[Sequence[str]], str | None]) -> None:
        """Finds the gateways whose windows the database refuses, and holds these back."""
        found = refused(gateways, refusal)
        if not found:
            return
        names = sorted(gateways[place] for place in found)
        self.held.hold(names, time.monotonic())
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        log.error(
            "the database refuses the windows of %s%s; they wait for its operator: %s", names[0], more,
            found[min(found)],
        )  # fmt: skip

    def forget_days(self) -> None:
        self._days = set()

    def _existing(self) -> list[tuple[int, int]]:
        rows = self.connection.execute(tables.EXISTING_PARTITIONS).fetchall()
        return [(-_LONGEST_TIME if since is None else since, _LONGEST_TIME if until is None else until)
                for since, until in rows]  # fmt: skip


def write(
    database: Database, batch: Batch, since: Position, until: Position, now: int, announced: set[tuple[str, int]]
) -> Summary:
    """Commits a batch, or nothing of it.

    Args:
        since: where PostgreSQL is, which is where the batch begins.
        now: the time of the transaction, milliseconds since 1970.
        announced: the conflicts that are in the rejected topic, by gateways and own streams.

    Raises: StaleOffset, UnannouncedConflicts, Refused, or what psycopg says.
    """
    summary = Summary()

    def body(transaction: Transaction) -> None:
        nonlocal summary
        transaction.advance_offset(batch.partition, since, until)
        summary = transaction.write(batch, announced)

    database.transact(now, body)
    return summary


def isolate(
    database: Database, batch: Batch, since: Position, until: Position, now: int
) -> tuple[Batch, dict[int, str]]:
    """Finds what the database refuses of a batch, in transactions that are rolled back.

    Refused windows cost no reading: they are held back, and `database` remembers whose.

    Returns: the batch, and why which of its parts are refused; none if windows were held back, or if the database
    takes the batch by now.

    Raises: Refused if the database refuses what it holds already, or what psycopg says.
    """

    def refusal(some: Batch, held: frozenset[str]) -> Refused | None:
        def body(transaction: Transaction) -> None:
            transaction.advance_offset(some.partition, since, until)
            transaction.write(some, None)

        return database.refusal(now, body, held)

    def text(found: Refused | None) -> str | None:
        return str(found) if found else None

    # A day's partition may have been dropped between two batches.
    database.forget_days()
    database.prepare_days(batch, now)
    held = database.held.gateways
    found = refusal(batch, held)
    if found is None:
        return batch, {}
    log.warning("the database refuses a part of a batch, looking for it: %s", found)
    if tables.writes_windows(found.statement):
        everybody = frozenset(batch.gateways)
        database.hold_windows(
            batch.gateways, lambda some: text(refusal(batch, held | everybody - frozenset(some)))
        )  # fmt: skip
        return batch, {}
    # What is refused without any reading is no reading's fault.
    known = [gateway for gateway in batch.gateways if gateway not in held]

    def refusal_of_time(gateways: Sequence[str]) -> Refused | None:
        return database.refusal(now, lambda transaction: transaction.pass_time(list(gateways), None), frozenset())

    if found := refusal_of_time(known):
        if not tables.writes_windows(found.statement):
            raise found
        database.hold_windows(known, lambda some: text(refusal_of_time(some)))
        return batch, {}
    return batch, refused(range(batch.part_count), lambda parts: text(refusal(batch.keeping(parts), held)))


def pass_time(database: Database, partition: int, stretch: Stretch | None, now: int) -> int:
    """Writes what the passing of time makes due of the gateways of a partition, in portions: windows of silent sensors
    become final, and what the processor left is completed.

    Args:
        stretch: in what time silence means something; None for none.

    Returns: how many windows were written.
    """
    settings, written_ = database.settings, 0
    database.held.release(time.monotonic())
    tokens = dict(database.connection.execute(tables.GATEWAYS_OF_PARTITION, (partition,)))
    fingerprint = settings.windows.fingerprint
    gateways = [gateway for gateway in tokens if gateway not in database.held.gateways]
    for start in range(0, len(gateways), MOST_GATEWAYS):
        portion = gateways[start : start + MOST_GATEWAYS]
        # A look without locks: most of the time nothing is due.
        looked = Transaction(database.connection, settings, now, frozenset())
        sensors = looked.load_sensors([], portion)
        due = {gateway for gateway, _ in sensors.names if not tables.is_trusted(tokens[gateway], fingerprint)}
        if stretch:
            ends = idle_through(sensors, stretch, settings.idle_timeout, settings.windows)
            due |= {sensors.names[place][0] for place in numpy.flatnonzero(ends != NEVER).tolist()}
            due |= {gateway for gateway, _, _, _ in looked.silent_sensors(portion, stretch)}
        written_ += _pass_time(database, sorted(due, key=str.encode), stretch, now)
    return written_


def _pass_time(database: Database, gateways: list[str], stretch: Stretch | None, now: int) -> int:
    """The same of some gateways; what the database refuses of their windows is held back."""
    if not gateways:
        return 0
    count = 0

    def body(transaction: Transaction, some: Sequence[str] = gateways) -> None:
        nonlocal count
        transaction.pass_time(list(some), stretch)
        count = transaction.windows.count

    def refusal(some: Sequence[str]) -> str | None:
        found = database.refusal(now, lambda transaction: body(transaction, some), frozenset())
        return str(found) if found else None

    try:
        database.transact(now, body)
        return count
    except Refused as found:
        log.warning("the database refuses windows, looking for them: %s", found)
    database.hold_windows(gateways, refusal)
    rest = [gateway for gateway in gateways if gateway not in database.held.gateways]
    # What is refused for another reason is tried again at the next look, and then says why.
    if rest and len(rest) < len(gateways):
        database.transact(now, lambda transaction: body(transaction, rest))
        return count
    return 0
