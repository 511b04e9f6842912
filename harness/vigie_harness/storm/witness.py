"""What tap and poller saw, as tables of a schema of their own beside Vigie's, for the oracle's SQL."""

from collections.abc import Iterable

import psycopg

from .cards import Cards
from .poller import OutboxView
from .tap import Seen

# Of a reading, as its JSON names them and as the tables do.
VALUES = ("temperature", "humidity", "co2", "pressure", "battery_level", "battery_voltage", "latitude", "longitude")

TABLES = f"""
    DROP SCHEMA IF EXISTS storm CASCADE;
    CREATE SCHEMA storm;
    -- A row for each message that held a reading.
    CREATE TABLE storm.tapped (
        kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, is_resent boolean NOT NULL,
        gateway_id text NOT NULL, stream_id text NOT NULL, seq bigint NOT NULL, stream_first bigint,
        sensor_id text NOT NULL, event_time timestamptz NOT NULL, interval_ms integer NOT NULL,
        {", ".join(f"{name} float8" for name in VALUES)}, faults text[], simulated boolean NOT NULL,
        -- Seconds after the storm began.
        seen_at float8 NOT NULL,
        -- How often the topic had been made anew before; whether the message was still there in the end.
        log integer NOT NULL DEFAULT 0, is_there boolean NOT NULL DEFAULT true,
        PRIMARY KEY (log, kafka_partition, kafka_offset)
    );
    -- A reading may stand in several outboxes.
    CREATE TABLE storm.outboxed (
        gateway_id text NOT NULL, stream_id text NOT NULL, seq bigint NOT NULL, sensor_id text NOT NULL,
        event_time timestamptz NOT NULL, interval_ms integer NOT NULL,
        {", ".join(f"{name} float8" for name in VALUES[:6])},
        seen_at float8 NOT NULL
    );
    CREATE INDEX ON storm.outboxed (gateway_id, stream_id, seq);
    -- The highest number that an outbox says to have given.
    CREATE TABLE storm.given (
        gateway_id text NOT NULL, stream_id text NOT NULL, last_seq bigint NOT NULL,
        PRIMARY KEY (gateway_id, stream_id)
    );
    -- Readings that may be missing, as only a file held them that the storm removed or damaged, or messages that it
    -- deleted.
    CREATE TABLE storm.excused (
        gateway_id text NOT NULL, stream_id text NOT NULL, first_seq bigint NOT NULL, last_seq bigint NOT NULL);
    CREATE INDEX ON storm.excused (gateway_id, stream_id, first_seq);
    -- Streams whose end may never be told; without a stream any of that gateway.
    CREATE TABLE storm.doubtful (gateway_id text NOT NULL, stream_id text);
    -- Gateways of which a copy of the outbox went on: it takes its own last number for the end of the stream.
    CREATE TABLE storm.copied (gateway_id text NOT NULL);
    -- Gateways whose outbox was damaged.
    CREATE TABLE storm.damaged (gateway_id text NOT NULL);
    CREATE TABLE storm.topic_end (
        topic text NOT NULL, kafka_partition integer NOT NULL, next_offset bigint NOT NULL,
        PRIMARY KEY (topic, kafka_partition)
    );
    CREATE TABLE storm.rejected (kafka_offset bigint NOT NULL, value text);
"""


def write(
    connection: psycopg.Connection, *, topic: str, rejected_topic: str, messages: Iterable[Seen],
    views: Iterable[OutboxView], ends: dict[int, int], began: float, cards: Cards,
    starts: dict[int, int] | None = None, log: int = 0,
) -> None:  # fmt: skip
    """Writes what was seen; what an earlier storm saw goes.

    Arguments:
        topic, rejected_topic: of the readings, and of messages that are none.
        messages, views: what tap and poller saw.
        starts, ends: the first offset of each partition of the topic in the end, and the one after the last.
        began: time.monotonic() at the storm's beginning.
        cards: what the storm did to outboxes.
        log: how often the topic was made anew.
    """
    starts = starts or {}
    connection.execute(TABLES)
    names = (
        "kafka_partition, kafka_offset, is_resent, gateway_id, stream_id, seq, stream_first, sensor_id, event_time, "
        f"interval_ms, {', '.join(VALUES)}, faults, simulated, seen_at, log, is_there"
    )
    rejected = []
    gone = []
    with connection.cursor().copy(f"COPY storm.tapped ({names}) FROM STDIN") as copy:
        for seen in messages:
            is_there = seen.log == log and seen.offset >= starts.get(seen.partition, 0)
            if seen.topic == topic and seen.report and not is_there:
                gone.append(seen.report)
            if seen.topic == rejected_topic:
                rejected.append(seen)
            elif seen.topic == topic and (reading := seen.reading):
                copy.write_row([
                    seen.partition, seen.offset, seen.is_resent, reading["gateway_id"], reading["stream_id"],
                    reading["seq"], reading.get("stream_first"), reading["sensor_id"], reading["event_time"],
                    reading["interval_ms"], *(reading.get(name) for name in VALUES), reading.get("faults"),
                    reading.get("simulated", False), round(seen.at - began, 3), seen.log, is_there,
                ])  # fmt: skip
    for seen in rejected:
        text = (seen.value or b"").decode(errors="replace").replace("\0", "?")
        connection.execute("INSERT INTO storm.rejected VALUES (%s, %s)", [seen.offset, text])
    for partition, end in ends.items():
        connection.execute("INSERT INTO storm.topic_end VALUES (%s, %s, %s)", [topic, partition, end])
    for view in views:
        _write_outbox(connection, view, began)
    _write_cards(connection, cards)
    _write_deleted(connection, gone)
    # Of Vigie's tables too: a server that was promoted a moment ago does not know yet how they have grown.
    connection.execute("ANALYZE")


def _write_cards(connection: psycopg.Connection, cards: Cards) -> None:
    for table, rows in (
        ("excused", sorted(cards.excused)), ("doubtful", list(cards.doubtful)),
        ("copied", [[gateway] for gateway in cards.copied]), ("damaged", [[gateway] for gateway in cards.damaged]),
    ):  # fmt: skip
        with connection.cursor().copy(f"COPY storm.{table} FROM STDIN") as target:
            for row in rows:
                target.write_row(row)


def _write_deleted(connection: psycopg.Connection, reports: list[tuple[str, dict]]) -> None:
    """What was on the topic and is not there any more may have been read by nobody."""
    connection.execute("""
        INSERT INTO storm.excused SELECT DISTINCT gateway_id, stream_id, seq, seq FROM storm.tapped WHERE NOT is_there;
        INSERT INTO storm.doubtful SELECT DISTINCT gateway_id, stream_id FROM storm.tapped WHERE NOT is_there
    """)
    for gateway, report in reports:
        for stream in report.get("streams", []):
            connection.execute("INSERT INTO storm.doubtful VALUES (%s, %s)", [gateway, stream["stream_id"]])
        for gap in report.get("gaps", []):
            for first, last in gap["ranges"]:
                connection.execute(
                    "INSERT INTO storm.excused VALUES (%s, %s, %s, %s)", [gateway, gap["stream_id"], first, last]
                )


def _write_outbox(connection: psycopg.Connection, view: OutboxView, began: float) -> None:
    for stream, last in view.given.items():
        connection.execute(
            "INSERT INTO storm.given VALUES (%s, %s, %s) "
            "ON CONFLICT (gateway_id, stream_id) DO UPDATE SET last_seq = greatest(given.last_seq, excluded.last_seq)",
            [view.gateway, stream, last],
        )
    insert = f"""
        INSERT INTO storm.outboxed (gateway_id, stream_id, seq, event_time, sensor_id, interval_ms,
            {", ".join(VALUES[:6])}, seen_at)
        VALUES (%s, %s, %s, timestamptz 'epoch' + %s * interval '1 millisecond', %s, %s,
            {", ".join(["%s"] * 6)}, %s)
        """
    rows = [
        (view.gateway, stream, *row, round(at - began, 3)) for (stream, _), (row, at) in view.readings.items()
    ]  # fmt: skip
    if rows:
        connection.cursor().executemany(insert, rows)
