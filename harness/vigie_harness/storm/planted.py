"""Faults of data that are planted into tables that agree, to prove that the oracle finds each, and `verify` too.

`verify` has another session, so what is planted for it is committed, in a copy of the database.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg

from ..postgres import Postgres
from .oracle import Setting, Violation, examine

# A row in the middle of a stream that the topic shows, so that nothing at an end explains it, nor a lost outbox.
_MIDDLE = """
    SELECT gateway_id, stream_id, seq, sensor_id, event_time
    FROM (SELECT *, row_number() OVER (PARTITION BY gateway_id, stream_id ORDER BY seq) AS place,
            count(*) OVER (PARTITION BY gateway_id, stream_id) AS length
        FROM sensor_data) AS d
    WHERE place = length / 2
        AND EXISTS (SELECT FROM storm.tapped t
            WHERE (t.gateway_id, t.stream_id, t.seq) = (d.gateway_id, d.stream_id, d.seq))
        AND NOT EXISTS (SELECT FROM storm.excused e WHERE (e.gateway_id, e.stream_id) = (d.gateway_id, d.stream_id)
            AND d.seq BETWEEN e.first_seq AND e.last_seq)
    ORDER BY gateway_id, stream_id LIMIT 1
"""
_IS_MIDDLE = "(gateway_id, stream_id, seq) = (SELECT gateway_id, stream_id, seq FROM middle)"
_ONE_WINDOW = (
    "ctid = (SELECT ctid FROM sensor_data_agg WHERE reading_count > 1 ORDER BY window_start, sensor_id LIMIT 1)"
)

_ALERT = "id, gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at, detail, updated_at"


@dataclass(frozen=True)
class Plant:
    """A fault and the violation that must be found."""

    name: str
    statements: str
    expected: str


PLANTS = (
    Plant("a deleted row", f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}", "missing"),
    Plant(
        "a doubled row",
        f"INSERT INTO sensor_data SELECT * FROM sensor_data WHERE {_IS_MIDDLE}",
        "twice",
    ),
    Plant(
        "a lost number unsaid",
        f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}; DELETE FROM storm.tapped WHERE {_IS_MIDDLE}; "
        f"DELETE FROM storm.outboxed WHERE {_IS_MIDDLE}",
        "unsaid",
    ),
    Plant(
        "a lost end unsaid",
        "UPDATE storm.given SET last_seq = last_seq + 1",
        "unsaid",
    ),
    Plant(
        "an altered value",
        f"UPDATE sensor_data SET temperature = temperature + 0.01 WHERE {_IS_MIDDLE}",
        "altered",
    ),
    Plant(
        "an altered time",
        f"UPDATE sensor_data SET event_time = event_time + interval '1 ms' WHERE {_IS_MIDDLE}",
        "altered",
    ),
    Plant(
        "a row that nobody saw",
        f"DELETE FROM storm.tapped WHERE {_IS_MIDDLE}; DELETE FROM storm.outboxed WHERE {_IS_MIDDLE}",
        "invented",
    ),
    Plant(
        "a loss that is none",
        f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}; "
        "INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at) "
        "SELECT gateway_id, stream_id, seq, seq, now() FROM middle",
        "lost on the topic",
    ),
    Plant(
        "a loss of what is there",
        "INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at) "
        "SELECT gateway_id, stream_id, seq, seq, now() FROM middle",
        "loss with rows",
    ),
    Plant(
        "a number with two readings",
        f"UPDATE storm.outboxed SET temperature = temperature + 1 WHERE {_IS_MIDDLE}; "
        "INSERT INTO storm.outboxed (gateway_id, stream_id, seq, sensor_id, event_time, interval_ms, seen_at) "
        "SELECT gateway_id, stream_id, seq, sensor_id, event_time, 1, 0 FROM middle ON CONFLICT DO NOTHING",
        "two contents",
    ),
    Plant(
        "a wrong status",
        f"UPDATE sensor_data SET status = CASE status WHEN 'ok' THEN 'warning' ELSE 'ok' END WHERE {_IS_MIDDLE}",
        "status",
    ),
    Plant(
        "a row from elsewhere",
        f"UPDATE sensor_data SET kafka_offset = kafka_offset + 1 WHERE {_IS_MIDDLE}",
        "wrong place",
    ),
    Plant("progress that is behind", "UPDATE stream_progress SET last_seq = last_seq - 1", "progress"),
    Plant("a beginning that is too late", "UPDATE stream_progress SET first_seq = first_seq + 1", "progress"),
    Plant(
        "an altered window",
        f"UPDATE sensor_data_agg SET temperature_max = temperature_max + 1 WHERE {_ONE_WINDOW}",
        "window",
    ),
    Plant(
        "an average that is a little off",
        f"UPDATE sensor_data_agg SET temperature_avg = temperature_avg + 1e-6 WHERE {_ONE_WINDOW}",
        "window",
    ),
    Plant(
        "a window of one reading less",
        f"UPDATE sensor_data_agg SET reading_count = reading_count - 1 WHERE {_ONE_WINDOW}",
        "window",
    ),
    Plant("a deleted window", f"DELETE FROM sensor_data_agg WHERE {_ONE_WINDOW}", "window"),
    Plant(
        "a window of nothing",
        "UPDATE sensor_data_agg SET window_start = window_start - interval '1 day', "
        "window_end = window_end - interval '1 day' "
        f"WHERE {_ONE_WINDOW}",
        "window",
    ),
    Plant("a window left open", f"UPDATE sensor_data_agg SET is_final = false WHERE {_ONE_WINDOW}", "window open"),
    Plant(
        "an alert open twice",
        "DROP INDEX alert_open; "
        f"INSERT INTO alert ({_ALERT}) "
        "SELECT -n, 'planted', 'planted', 'silence', '', 'warning', now(), now(), '', now() "
        "FROM generate_series(1, 2) AS n",
        "alert open twice",
    ),
    Plant(
        "an alert that nobody will close",
        f"INSERT INTO alert ({_ALERT}) "
        "VALUES (-1, 'planted', 'planted', 'silence', '', 'warning', now(), now(), '', now())",
        "alert state",
    ),
    Plant(
        "a reading lost without a reason",
        f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}; DELETE FROM storm.tapped WHERE {_IS_MIDDLE}; "
        "INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at) "
        "SELECT gateway_id, stream_id, seq, seq, now() FROM middle",
        "unexplained",
    ),
    Plant(
        "a reading called unreadable",
        f"DELETE FROM storm.damaged; DELETE FROM sensor_data WHERE {_IS_MIDDLE}; "
        "INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at, reason) "
        "SELECT gateway_id, stream_id, seq, seq, now(), 'unreadable' FROM middle",
        "unreadable",
    ),
    Plant(
        "a deleted row of a lost outbox whose stream has ended",
        f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}; DELETE FROM storm.tapped WHERE {_IS_MIDDLE}; "
        "INSERT INTO storm.outboxed (gateway_id, stream_id, seq, sensor_id, event_time, interval_ms, seen_at) "
        "SELECT gateway_id, stream_id, seq, sensor_id, event_time, 1, 0 FROM middle; "
        "INSERT INTO storm.excused SELECT gateway_id, stream_id, seq, seq FROM middle; "
        "UPDATE stream_progress SET end_seq = last_seq",
        "missing",
    ),
    Plant(
        "a deleted row of the topic, of a lost outbox",
        f"DELETE FROM sensor_data WHERE {_IS_MIDDLE}; UPDATE stream_progress SET end_seq = NULL; "
        "INSERT INTO storm.excused SELECT gateway_id, stream_id, seq, seq FROM middle",
        "missing",
    ),
    Plant(
        "an end that was not told",
        "DELETE FROM storm.doubtful; UPDATE stream_progress SET end_seq = NULL",
        "end untold",
    ),
    Plant("a partition left unread", "UPDATE storm.topic_end SET next_offset = next_offset + 1", "unread"),
    Plant("a rejected message", "INSERT INTO storm.rejected VALUES (0, 'planted')", "rejected"),
)


# What only the storm saw, `verify` cannot know; nor what stands in one place only.
NOT_FOR_VERIFY = frozenset({
    "a lost end unsaid", "an altered time", "a row that nobody saw", "a number with two readings",
    "a row from elsewhere", "an end that was not told", "a partition left unread", "a rejected message",
})  # fmt: skip

_MIDDLE_SENSOR = "(gateway_id, sensor_id) = (SELECT gateway_id, sensor_id FROM middle)"

# What the oracle does not look at, or finds by what it saw.
FOR_VERIFY = (
    Plant(
        "a sliding window that was never written",
        "DELETE FROM sensor_data_agg WHERE ctid = (SELECT ctid FROM sensor_data_agg "
        "WHERE date_bin(window_size, window_start, timestamptz 'epoch') <> window_start "
        "ORDER BY window_start, sensor_id LIMIT 1)",
        "never written",
    ),
    Plant(
        "all windows of a sensor never written",
        f"DELETE FROM sensor_data_agg WHERE {_MIDDLE_SENSOR}",
        "never written",
    ),
    Plant(
        "a row moved to another window",
        f"UPDATE sensor_data SET event_time = event_time + interval '15 s' WHERE {_IS_MIDDLE}",
        "windows",
    ),
    Plant(
        "a sensor's wrong last event time",
        f"UPDATE sensor SET last_event_time = last_event_time + interval '1 s' WHERE {_MIDDLE_SENSOR}",
        "wrong last event time",
    ),
    Plant(
        "a sensor that was not written",
        f"UPDATE sensor SET last_commit = last_commit - 1 WHERE {_MIDDLE_SENSOR}",
        "wrong last commit",
    ),
    Plant(
        "a stream without its tail",
        "CREATE TEMPORARY TABLE tail ON COMMIT DROP AS SELECT d.gateway_id, d.stream_id, max(d.seq) AS seq "
        "FROM sensor_data d JOIN middle m USING (gateway_id, stream_id) GROUP BY 1, 2; "
        "DELETE FROM sensor_data d USING tail t "
        "WHERE (d.gateway_id, d.stream_id) = (t.gateway_id, t.stream_id) AND d.seq > t.seq - 3; "
        "UPDATE stream_progress p SET last_seq = t.seq - 3, end_seq = t.seq - 3 FROM tail t "
        "WHERE (p.gateway_id, p.stream_id) = (t.gateway_id, t.stream_id)",
        "",
    ),
    # A gateway's last commit may have written nothing that bears its number, such as an alert alone.
    Plant(
        "a commit that was not made",
        "UPDATE gateway g SET commit_number = "
        "(SELECT max(commit_number) - 1 FROM sensor_data d WHERE d.gateway_id = g.gateway_id)",
        "later commits",
    ),
    Plant("an offset that is missing", "DELETE FROM consumed_offset", "missing although there are readings"),
)


@contextlib.contextmanager
def planted(connection: psycopg.Connection, plant: Plant) -> Iterator[None]:
    """Plants a fault, and takes it out again. Nobody else sees it."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMPORARY TABLE middle ON COMMIT DROP AS {_MIDDLE}")
        connection.execute(plant.statements)
        yield


def unnoticed(connection: psycopg.Connection, setting: Setting) -> list[tuple[Plant, list[Violation]]]:
    """The plants that the oracle does not find, with what it found instead. Takes tables that agree."""
    failures = []
    for plant in PLANTS:
        with planted(connection, plant):
            found = examine(connection, setting)
        if plant.expected not in {violation.kind for violation in found}:
            failures.append((plant, found))
    return failures


def plants_for_verify() -> list[Plant]:
    """The faults that `verify` must find."""
    return [plant for plant in PLANTS if plant.name not in NOT_FOR_VERIFY] + list(FOR_VERIFY)


def unnoticed_by_verify(
    postgres: Postgres, verify: Callable[[str], tuple[int, str]], plants: list[Plant] | None = None
) -> list[tuple[Plant, str]]:
    """The plants that `verify` does not find, with what it says instead.

    Arguments:
        postgres: its database `vigie` has tables that agree, and nobody is connected to it.
        verify: its status and what it says of the database with a connection string.
        plants: all that it must find, by default.
    """
    failures = []
    for plant in plants_for_verify() if plants is None else plants:
        postgres.psql("DROP DATABASE IF EXISTS planted WITH (FORCE)", "postgres")
        postgres.psql("CREATE DATABASE planted TEMPLATE vigie", "postgres")
        connection_string = postgres.connection.replace("dbname=vigie", "dbname=planted")
        with psycopg.connect(connection_string) as connection:
            connection.execute(f"CREATE TEMPORARY TABLE middle ON COMMIT DROP AS {_MIDDLE}")
            connection.execute(plant.statements)
        status, certificate = verify(connection_string)
        # `expected` of the others is a kind of the oracle's.
        is_named = plant not in FOR_VERIFY or plant.expected in certificate
        if status != 1 or "mismatches" not in certificate or not is_named:
            failures.append((plant, certificate))
    postgres.psql("DROP DATABASE IF EXISTS planted WITH (FORCE)", "postgres")
    return failures
