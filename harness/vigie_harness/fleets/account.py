"""What became of each message, beside what the fleets say that they sent.

The messages of the topic and of the rejected topic are put into tables beside Vigie's, and SQL of its own compares them
by their places on the topic. It trusts nothing that the processor prints or counts.
"""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import psycopg
from confluent_kafka import Consumer, Message, TopicPartition

from ..errors import HarnessError
from .table import Fleet

# The numbers of a gateway behind its fleet's name, and the filling of the longest names.
_NUMBER = "-[0-9]{4,}-*$"
_FLEET = f"regexp_replace(gateway_id, '{_NUMBER}', '')"
_LATENESS = "interval '10 minutes'"
# Seconds without a message that only a broker that hangs takes.
_SILENCE = 60.0

_TABLES = """
    CREATE SCHEMA IF NOT EXISTS fleets;
    CREATE TABLE fleets.sent (
        kafka_partition integer, kafka_offset bigint, fleet text, is_report boolean,
        gateway_id text, sensor_id text, stream_id text, seq bigint, event_time timestamptz);
    CREATE TABLE fleets.rejected (kafka_partition integer, kafka_offset bigint, reason text);
"""

# Each message has one class. One that has become several rows stands there several times, which the sum shows.
_CLASSES = """
    SELECT fleet, class, count(*) FROM (
        SELECT s.fleet, CASE
            WHEN d.seq IS NOT NULL AND r.reason IS NOT NULL THEN 'both a row and rejected'
            WHEN (d.gateway_id, d.sensor_id, d.stream_id, d.seq, d.event_time)
                = (s.gateway_id, s.sensor_id, s.stream_id, s.seq, s.event_time) THEN 'row'
            WHEN d.seq IS NOT NULL THEN 'a row of another reading'
            WHEN r.reason IS NOT NULL THEN r.reason
            WHEN s.is_report THEN 'report'
            WHEN EXISTS (SELECT FROM sensor_data o
                WHERE (o.gateway_id, o.sensor_id, o.stream_id, o.seq, o.event_time)
                    = (s.gateway_id, s.sensor_id, s.stream_id, s.seq, s.event_time)) THEN 'duplicate'
            ELSE 'nothing at all' END AS class
        FROM fleets.sent s
            LEFT JOIN sensor_data d USING (kafka_partition, kafka_offset)
            LEFT JOIN fleets.rejected r USING (kafka_partition, kafka_offset)) AS judged
    GROUP BY 1, 2
"""

_LOSSES = f"SELECT {_FLEET}, reason, sum(last_seq::numeric - first_seq + 1) FROM loss GROUP BY 1, 2"

_STREAMS = """
    SELECT gateway_id, stream_id, first_seq, last_seq, end_seq FROM stream_progress WHERE last_seq >= first_seq
"""

# Late depends on order alone: before what the sensor's readings had reached when it came.
_LATE = f"""
    SELECT fleet, count(*), count(*) FILTER (WHERE late), count(*) FILTER (WHERE late IS DISTINCT FROM should_be),
        count(*) FILTER (WHERE in_windows IS DISTINCT FROM NOT (should_be AND %(drops)s))
    FROM (SELECT {_FLEET} AS fleet, late, in_windows, coalesce(event_time < max(event_time)
                OVER (PARTITION BY gateway_id, sensor_id ORDER BY kafka_offset
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) - {_LATENESS}, false) AS should_be
        FROM sensor_data) AS rows
    GROUP BY 1
"""


def fleet_of(key: bytes | None) -> str | None:
    """The fleet of a message, by its key: the gateway's id, and what scatters it."""
    name, _, _ = (key or b"").decode(errors="replace").partition("/")
    found = re.sub(_NUMBER, "", name)
    return found if found != name else None


def sent_row(message: Message) -> tuple:
    """A message of the topic as a row of fleets.sent; what is no reading has no identity."""
    place = (message.partition(), message.offset(), fleet_of(message.key()))
    content = None
    # Garbage of every kind; RecursionError is that of deep nesting.
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(message.value() or b"")
    if not isinstance(content, dict):
        return (*place, False, None, None, None, None, None)
    texts = [content.get(name) for name in ("gateway_id", "sensor_id", "stream_id")]
    texts = [text if isinstance(text, str) and "\0" not in text else None for text in texts]
    seq, time = content.get("seq"), None
    with contextlib.suppress(ValueError, TypeError):
        time = datetime.fromisoformat(content.get("event_time"))
    is_report = "report" in content and "sensor_id" not in content
    return (*place, is_report, *texts, seq if type(seq) is int and abs(seq) < 1 << 63 else None, time)


def rejected_row(message: Message) -> tuple:
    """A message of the rejected topic as a row of fleets.rejected."""
    headers = {name: value.decode(errors="replace") for name, value in message.headers() or [] if value is not None}
    return int(headers["vigie-partition"]), int(headers["vigie-offset"]), headers["vigie-reason"]


class Topics:
    """Reads whole topics."""

    def __init__(self, bootstrap: str):
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "vigie-fleets", "enable.auto.commit": False, "log_level": 0,
        })  # fmt: skip

    def ends(self, topic: str) -> dict[int, int]:
        """The offset after the last message of each partition."""
        partitions = self.consumer.list_topics(topic, timeout=60).topics[topic].partitions
        return {
            partition: self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)[1]
            for partition in partitions
        }

    def messages(self, topic: str) -> Iterator[Message]:
        """All that is on a topic now."""
        missing = {partition: end for partition, end in self.ends(topic).items() if end}
        self.consumer.assign([TopicPartition(topic, partition, 0) for partition in missing])
        deadline = time.monotonic() + _SILENCE
        while missing:
            # It returns when it has so many, or after that time.
            found = self.consumer.consume(5000, timeout=0.1)
            if found:
                deadline = time.monotonic() + _SILENCE
            elif time.monotonic() > deadline:
                raise HarnessError(f"nothing comes of {topic} any more; its ends are {missing}")
            for message in found:
                if message.error():
                    raise HarnessError(f"{topic}: {message.error()}")
                yield message
                if message.offset() + 1 >= missing.get(message.partition(), 1 << 63):
                    del missing[message.partition()]
        self.consumer.unassign()


def _copy(connection: psycopg.Connection, table: str, rows: Iterable[tuple]) -> int:
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def read_topics(connection: psycopg.Connection, topics: Topics, topic: str, rejected_topic: str) -> int:
    """Puts what is on both topics into tables beside Vigie's, and returns how many messages were sent."""
    connection.execute(_TABLES)
    count = _copy(connection, "fleets.sent", map(sent_row, topics.messages(topic)))
    _copy(connection, "fleets.rejected", map(rejected_row, topics.messages(rejected_topic)))
    connection.execute("ANALYZE fleets.sent")
    connection.execute("ANALYZE fleets.rejected")
    return count


def expected_classes(fleet: Fleet, manifests: Sequence[dict]) -> Counter[str]:
    """What must become of a fleet's messages, by what it says."""
    found: Counter[str] = Counter()
    for manifest in manifests:
        for reason, count in manifest["rejected"].items():
            found[reason] += count * fleet.repeats
        found["report"] += manifest["reports"] * fleet.repeats
        found["sequence_conflict"] += manifest["conflicts"] * fleet.repeats
        if fleet.rejected:
            found[fleet.rejected] += (manifest["readings"] + manifest["duplicates"]) * fleet.repeats
        else:
            found["row"] += manifest["readings"]
            found["duplicate"] += manifest["duplicates"] * fleet.repeats + manifest["readings"] * (fleet.repeats - 1)
    return +found


def expected_losses(fleet: Fleet, manifests: Sequence[dict]) -> Counter[str]:
    """How many numbers must be lost, by their reasons."""
    found: Counter[str] = Counter()
    for manifest in manifests:
        for stream in manifest["streams"]:
            lost = sum(stream["lost"].values())
            found.update(stream["lost"])
            if fleet.rejected:
                found["rejected"] += stream["last_seq"] - stream["first_seq"] + 1 - lost
    return +found


def differences(what: str, expected: Counter[str], found: Counter[str]) -> list[str]:
    """A sentence for each number that is not what it must be."""
    return [
        f"{what}: {found[name]} of {name}, expected {expected[name]}"
        for name in sorted(expected.keys() | found.keys())
        if found[name] != expected[name]
    ]


class Account:
    """What the database says became of the fleets on a topic."""

    def __init__(self, connection: psycopg.Connection, drops_late: bool):
        self.classes: dict[str, Counter[str]] = {}
        self.losses: dict[str, Counter[str]] = {}
        for fleet, name, count in connection.execute(_CLASSES):
            self.classes.setdefault(fleet, Counter())[name] += count
        for fleet, reason, count in connection.execute(_LOSSES):
            self.losses.setdefault(fleet, Counter())[reason] += int(count)
        self.streams = {(row[0], row[1]): tuple(row[2:]) for row in connection.execute(_STREAMS)}
        self.late = {row[0]: tuple(row[1:]) for row in connection.execute(_LATE, {"drops": drops_late})}

    def faults(self, fleet: Fleet, manifests: Sequence[dict]) -> list[str]:
        """All that is not as the fleet says, one sentence each."""
        name = fleet.name
        faults = differences(name, expected_classes(fleet, manifests), self.classes.get(name, Counter()))
        faults += differences(f"{name}, lost", expected_losses(fleet, manifests), self.losses.get(name, Counter()))
        wrong = [
            f"{stream['gateway_id']} {stream['stream_id']} is {found}, expected {expected}"
            for manifest in manifests
            for stream in manifest["streams"]
            if stream["last_seq"] >= stream["first_seq"]
            for expected in [(stream["first_seq"], stream["last_seq"], stream["last_seq"])]
            if (found := self.streams.get((stream["gateway_id"], stream["stream_id"]))) != expected
        ]
        if wrong:
            faults.append(f"{name}: first, last and end of {len(wrong)} streams are wrong, such as {wrong[0]}")
        if not fleet.is_scattered and name in self.late:
            _, _, wrongly, wrong_windows = self.late[name]
            if wrongly:
                faults.append(f"{name}: {wrongly} rows are wrongly late, or wrongly not")
            if wrong_windows:
                faults.append(f"{name}: {wrong_windows} rows are wrongly in windows, or wrongly not")
        return faults
