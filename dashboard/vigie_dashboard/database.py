"""Reads the processor's tables: in read-only transactions, within a bound of time, and with errors that say what is so.

Nothing is set per session, so that a pooler in transaction mode may stand between.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pandas
import psycopg
from psycopg import errors, rows, sql
from psycopg_pool import ConnectionPool, PoolTimeout

# The newest of the processor's migrations that something here needs.
SCHEMA_NEEDED = 6

# How long a reader waits for a connection before being told that the database is away.
CONNECT_SECONDS = 4.0

# So many pages the server asks of its disk at once where it knows which ones it will need: a sensor's readings of an
# hour lie on hundreds. By itself it asks for one after the other, before PostgreSQL 18.
PAGES_AHEAD = 64

# Of one transaction. A server whose system cannot read ahead has 0, and takes nothing else.
_SETTINGS = """
    SELECT set_config('statement_timeout', %s, true), set_config('timezone', 'UTC', true),
           set_config('effective_io_concurrency', CASE pages WHEN 0 THEN 0 ELSE greatest(pages, %s) END::text, true)
    FROM (SELECT current_setting('effective_io_concurrency')::int AS pages) AS server
"""


class DatabaseError(Exception):
    """Something between a reader and the data."""


class DatabaseAway(DatabaseError):
    """It does not answer, or it broke off."""


class NotVigie(DatabaseError):
    """It answers, and has no tables of Vigie that can be seen."""


class SchemaTooOld(DatabaseError):
    """Its tables are those of an older processor."""


class NotAllowed(DatabaseError):
    """This login may not read the tables."""


class TooSlow(DatabaseError):
    """A query went beyond its bound of time."""


Parameters = Mapping[str, Any] | None


class Reader:
    """One read-only transaction: all its queries see the same moment."""

    def __init__(self, connection: psycopg.Connection):
        self._connection = connection
        # What the queries took, for tests and for who wants to know.
        self.seconds = 0.0

    def rows(self, query: sql.Composable | str, parameters: Parameters = None) -> list[dict[str, Any]]:
        start = time.perf_counter()
        with self._connection.cursor(row_factory=rows.dict_row, binary=True) as cursor:
            found = cursor.execute(query, parameters).fetchall()
        self.seconds += time.perf_counter() - start
        return found

    def row(self, query: sql.Composable | str, parameters: Parameters = None) -> dict[str, Any]:
        """The only row of a query that always has one."""
        return self.rows(query, parameters)[0]

    def frame(self, query: sql.Composable | str, parameters: Parameters = None) -> pandas.DataFrame:
        """All rows as a data frame that has its columns also when it is empty."""
        start = time.perf_counter()
        with self._connection.cursor(row_factory=rows.tuple_row, binary=True) as cursor:
            found = cursor.execute(query, parameters).fetchall()
            names = [column.name for column in cursor.description]
        self.seconds += time.perf_counter() - start
        return pandas.DataFrame.from_records(found, columns=names)


class Database:
    """All connections of this program. Made once, used by every reader's thread."""

    def __init__(self, connection: str, statement_timeout_seconds: float = 10.0):
        self._statement_timeout = f"{round(statement_timeout_seconds * 1000)}ms"
        self._known_schema = False
        self._lock = threading.Lock()
        self._pool = ConnectionPool(
            connection,
            min_size=0,
            max_size=8,
            max_idle=60,
            timeout=CONNECT_SECONDS,
            reconnect_timeout=CONNECT_SECONDS,
            open=False,
            check=ConnectionPool.check_connection,
            # A statement that is prepared belongs to a session, which a pooler may change.
            kwargs={
                "connect_timeout": round(CONNECT_SECONDS),
                "prepare_threshold": None,
                "application_name": "vigie-dashboard",
            },
            configure=_configure,
        )

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """Gives a transaction; raises one of this module's errors, whatever went wrong."""
        with self._lock:
            if self._pool.closed:
                self._pool.open()
        with _told(), self._pool.connection() as connection, connection.transaction():
            connection.execute(_SETTINGS, (self._statement_timeout, PAGES_AHEAD))
            if not self._known_schema:
                _check_schema(connection)
                self._known_schema = True
            yield Reader(connection)

    def close(self) -> None:
        self._pool.close()


def _configure(connection: psycopg.Connection) -> None:
    connection.read_only = True


def _check_schema(connection: psycopg.Connection) -> None:
    found = connection.execute("SELECT to_regclass('sensor_data')::text, to_regclass('schema_migration')::text")
    if None in found.fetchone():
        raise NotVigie("the database has no table sensor_data that this login can see")
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM schema_migration").fetchone()
    if number < SCHEMA_NEEDED:
        raise SchemaTooOld(f"the schema is at {number}, and {SCHEMA_NEEDED} is needed")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what psycopg raises into this module's errors, without the query and its values."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseAway(str(error)) from error
    except errors.QueryCanceled as error:
        raise TooSlow(str(error)) from error
    except errors.InsufficientPrivilege as error:
        raise NotAllowed(str(error)) from error
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise SchemaTooOld(str(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.AdminShutdown) as error:
        raise DatabaseAway(str(error)) from error
