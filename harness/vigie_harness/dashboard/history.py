"""Fills a scratch database with sensors and days of history that have all that the views must cope with.

    VIGIE_POSTGRES=... .vigie/venv/bin/python -m vigie_harness.dashboard.history [--sensors 12] [--days 3]

With --follow it goes on making readings until it is ended.

Gaps, alerts open and closed, faults, losses, late readings, simulated and estimated ones, a sensor that is silent, and
two processors. The schema is that of the processor's own migrations; the same seed gives the same data.
"""

import argparse
import math
import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from ..checkout import ROOT

SCHEMA = ROOT / "Sources" / "ProcessorCore" / "Store" / "Schema"

SITES = (
    ("lyon-school", 45.7640, 4.8357),
    ("marseille-archive", 43.2965, 5.3698),
    ("mons-office", 50.4542, 3.9523),
    ("brest-lab", 48.3904, -4.4861),
)
ROOMS = ("classroom", "library", "office", "corridor", "vault", "laboratory", "canteen", "gymnasium")

QUANTITIES = ("temperature", "humidity", "co2", "pressure", "battery_level")
COLUMNS = [
    "gateway_id",
    "sensor_id",
    "stream_id",
    "seq",
    "event_time",
    "time_quality",
    "interval_ms",
    "temperature",
    "humidity",
    "co2",
    "pressure",
    "battery_level",
    "battery_voltage",
    "faults",
    "latitude",
    "longitude",
    "simulated",
    "status",
    "late",
    "kafka_partition",
    "kafka_offset",
    "ingested_at",
]


# Quantity, severity, side, bound, hysteresis, minimum duration in milliseconds. Nothing here ever passes the last.
RULES = (
    ("co2", "warning", "above", 1500.0, 100.0, 300_000),
    ("co2", "critical", "above", 3000.0, 100.0, 300_000),
    ("battery_level", "warning", "below", 15.0, 5.0, 0),
    ("battery_level", "critical", "below", 5.0, 5.0, 0),
    ("temperature", "warning", "above", 30.0, 0.5, 300_000),
    ("temperature", "critical", "above", 45.0, 0.5, 300_000),
    ("temperature", "warning", "below", 16.0, 0.5, 300_000),
)


@dataclass
class Plan:
    """What is wanted."""

    now: datetime
    sensors: int = 12
    days: float = 3.0
    interval: int = 60
    seed: int = 1


@dataclass
class Sensor:
    gateway: str
    name: str
    latitude: float
    longitude: float
    index: int
    # What it is there to show: "", silent, hot, stuffy, faulty, battery, simulated, estimated, critical.
    part: str
    phase: float
    last: dict = field(default_factory=dict)


PARTS = ("hot", "silent", "critical", "faulty", "", "battery", "simulated", "estimated", "", "", "stuffy", "")


def migrate(connection: psycopg.Connection) -> None:
    """Makes the processor's tables, in an empty database."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migration "
        "(number bigint PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    (found,) = connection.execute("SELECT coalesce(max(number), 0) FROM schema_migration").fetchone()
    for path in sorted(SCHEMA.glob("*.sql")):
        number, name = re.fullmatch(r"(\d+)-(.*)\.sql", path.name).groups()
        if int(number) > found:
            connection.execute(path.read_text())
            connection.execute("INSERT INTO schema_migration (number, name) VALUES (%s, %s)", (int(number), name))


def make_sensors(plan: Plan) -> list[Sensor]:
    chance = random.Random(plan.seed)
    made = []
    for index in range(plan.sensors):
        gateway, latitude, longitude = SITES[index % len(SITES)]
        room = ROOMS[index // len(SITES) % len(ROOMS)]
        number = index // (len(SITES) * len(ROOMS))
        # Some share one place, as in the same building.
        spread = 0.0 if index % 3 == 0 else 0.004
        made.append(
            Sensor(
                gateway=gateway,
                name=f"{gateway.split('-')[0]}-{room}" + (f"-{number}" if number else ""),
                latitude=latitude + chance.uniform(-spread, spread),
                longitude=longitude + chance.uniform(-spread, spread),
                index=index,
                part=PARTS[index % len(PARTS)],
                phase=chance.uniform(0, 2 * math.pi),
            )
        )
    return made


def readings(plan: Plan, sensor: Sensor, chance: random.Random) -> Iterator[dict]:
    """All readings of one sensor, in order of time."""
    start = plan.now - timedelta(days=plan.days)
    count = int(plan.days * 86400 / plan.interval)
    gap_from, gap_to = count * 0.6, count * 0.6 + 7200 / plan.interval
    for step in range(count + 1):
        time = start + timedelta(seconds=step * plan.interval, milliseconds=sensor.index * 137 % 1000)
        age = (plan.now - time).total_seconds()
        # A board that was off for two hours, and one that had a short break lately.
        if gap_from <= step < gap_to and sensor.index % 4 == 1:
            continue
        if 900 < age < 1500 and sensor.index % 4 == 2:
            continue
        if sensor.part == "silent" and age < 1800:
            continue
        hour = time.hour + time.minute / 60
        day = math.sin((hour - 9) / 24 * 2 * math.pi)
        busy = max(0.0, math.sin((hour - 7) / 11 * math.pi)) if 7 <= hour <= 18 and time.weekday() < 5 else 0.0
        values = {
            "temperature": 20.5 + 1.8 * day + 0.6 * busy + 0.4 * math.sin(sensor.phase) + chance.gauss(0, 0.08),
            "humidity": 47 - 6 * day + 3 * math.cos(sensor.phase) + chance.gauss(0, 0.5),
            "co2": 430 + 520 * busy * (0.7 + 0.3 * math.sin(sensor.phase)) + chance.gauss(0, 12),
            "pressure": 1012 + 6 * math.sin(step * plan.interval / 200000 + sensor.phase / 9) + chance.gauss(0, 0.15),
            "battery_level": max(3.0, 96 - 4 * step / max(count, 1) - sensor.index % 5),
        }
        if sensor.index % 5 == 4:
            values["pressure"] = None
        if sensor.part == "hot" and age < 3000:
            values["temperature"] += min(17.0, (3000 - age) / 150)
        if sensor.part == "critical" and age < 2400:
            values["co2"] += min(2900.0, (2400 - age) * 1.6)
        if sensor.part == "stuffy" and age < 1500:
            values["co2"] += 1300
        if sensor.part == "battery":
            values["battery_level"] = max(7.0, 40 - 33 * step / max(count, 1))
        faults = None
        if sensor.part == "faulty" and (age < 2700 or chance.random() < 0.002):
            faults, values["co2"] = ["scd41:crc"], None
        warning = values["temperature"] > 30 or (values["co2"] or 0) > 1500 or values["battery_level"] < 15
        yield {
            "gateway_id": sensor.gateway,
            "sensor_id": sensor.name,
            "event_time": time,
            "time_quality": "estimated" if sensor.part == "estimated" and age < 5400 else "synced",
            "interval_ms": plan.interval * 1000,
            **values,
            "battery_voltage": 3.3 + 0.9 * values["battery_level"] / 100,
            "faults": faults,
            "latitude": sensor.latitude,
            "longitude": sensor.longitude,
            "simulated": sensor.part == "simulated",
            "status": "failure" if faults else "warning" if warning else "ok",
            "late": gap_to <= step < gap_to + 30 and sensor.index % 4 == 1,
        }


def fill(connection: psycopg.Connection, plan: Plan) -> list[Sensor]:
    """Makes all rows; the tables must be empty."""
    sensors = make_sensors(plan)
    _partitions(connection, plan)
    sequences: dict[str, int] = {}
    with connection.cursor().copy(f"COPY sensor_data ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for sensor in sensors:
            chance = random.Random(plan.seed * 1000 + sensor.index)
            for row in readings(plan, sensor, chance):
                sequence = sequences.get(sensor.gateway, 0) + 1
                sequences[sensor.gateway] = sequence
                row |= {
                    "stream_id": _stream(sensor.gateway),
                    "seq": sequence,
                    "kafka_partition": sensor.index % 4,
                    "kafka_offset": sequence,
                    "ingested_at": row["event_time"] + timedelta(seconds=3600 if row["late"] else 0.06),
                }
                copy.write_row([row[column] for column in COLUMNS])
                sensor.last = row
    connection.execute("ANALYZE sensor_data")
    _sensors(connection, plan)
    _windows(connection, plan)
    _streams(connection, plan, sequences)
    connection.cursor().executemany("INSERT INTO alert_rule VALUES (%s, %s, %s, %s, %s, %s)", RULES)
    _alerts(connection, plan, sensors)
    _processors(connection, plan)
    for table in ("sensor", "sensor_data_agg", "alert", "loss"):
        connection.execute(f"ANALYZE {table}")
    return sensors


def _stream(gateway: str) -> str:
    return f"{sum(ord(letter) * 31**place for place, letter in enumerate(gateway)) % 16**16:016x}"


def _partitions(connection: psycopg.Connection, plan: Plan) -> None:
    day = (plan.now - timedelta(days=plan.days)).astimezone(UTC).date()
    while day <= plan.now.date() + timedelta(days=1):
        connection.execute(
            f"CREATE TABLE sensor_data_{day:%Y%m%d} PARTITION OF sensor_data "
            f"FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
        )
        day += timedelta(days=1)


def _sensors(connection: psycopg.Connection, plan: Plan) -> None:
    connection.execute(
        """
        INSERT INTO sensor
        SELECT gateway_id, sensor_id, first, event_time, ingested_at, event_time - interval '10 min',
               (temperature IS NOT NULL)::int + 2 * (humidity IS NOT NULL)::int + 4 + 8 * (pressure IS NOT NULL)::int
                   + 16,
               interval_ms, status, temperature, humidity, co2, pressure, battery_level, battery_voltage, faults,
               latitude, longitude, time_quality, simulated
        FROM (
            SELECT DISTINCT ON (gateway_id, sensor_id) *,
                   min(event_time) OVER (PARTITION BY gateway_id, sensor_id) AS first
            FROM sensor_data ORDER BY gateway_id, sensor_id, event_time DESC
        ) AS latest
        """
    )


def _windows(connection: psycopg.Connection, plan: Plan) -> None:
    """Sliding windows of 10 minutes and tumbling ones of a minute, as the processor's default has them."""
    values = ", ".join(
        f"avg({name}) AS {name}_avg, min({name}) AS {name}_min, max({name}) AS {name}_max, "
        f"stddev_samp({name}) AS {name}_stddev"
        for name in QUANTITIES
    )
    names = ", ".join(f"{name}_{part}" for name in QUANTITIES for part in ("avg", "min", "max", "stddev"))
    for size, slides in (("1 min", 1), ("10 min", 10)):
        connection.execute(
            f"""
            INSERT INTO sensor_data_agg (sensor_id, gateway_id, window_size, window_start, window_end, reading_count,
                {names}, warning_count, failure_count, late_count, coverage, revision, is_final, updated_at)
            SELECT sensor_id, gateway_id, interval '{size}', start, start + interval '{size}', readings, {names},
                warnings, failures, lates, least(1, readings * every / extract(epoch FROM interval '{size}')),
                (lates > 0)::int, start + interval '{size}' < %(now)s::timestamptz - interval '10 min', %(now)s
            FROM (
                SELECT sensor_id, gateway_id, date_bin('1 min', event_time, 'epoch') - step * interval '1 min' AS start,
                    count(*) AS readings, {values},
                    count(*) FILTER (WHERE status = 'warning') AS warnings,
                    count(*) FILTER (WHERE status = 'failure') AS failures,
                    count(*) FILTER (WHERE late) AS lates, max(interval_ms) / 1000.0 AS every
                FROM sensor_data, generate_series(0, {slides - 1}) AS step
                GROUP BY 1, 2, 3
            ) AS windows
            """,
            {"now": plan.now},
        )


def _streams(connection: psycopg.Connection, plan: Plan, sequences: dict[str, int]) -> None:
    for index, (gateway, last) in enumerate(sequences.items()):
        stream = _stream(gateway)
        lost = 37 if index == 1 else 0
        connection.execute(
            "INSERT INTO stream_progress VALUES (%s, %s, %s, %s, %s, %s)",
            (gateway, stream, last + lost, plan.now, lost, plan.now),
        )
        connection.execute("INSERT INTO gateway VALUES (%s, 1, 1, %s)", (gateway, index))
        if lost:
            first = last // 2
            connection.execute(
                "INSERT INTO loss VALUES (%s, %s, %s, %s, %s, %s, %s, 'dropped_oldest')",
                (
                    gateway,
                    stream,
                    first,
                    first + lost - 1,
                    plan.now - timedelta(hours=9),
                    plan.now - timedelta(hours=8),
                    plan.now - timedelta(hours=8),
                ),
            )
    for partition in range(4):
        connection.execute(
            "INSERT INTO consumed_offset VALUES ('sensor.readings', %s, %s, %s)", (partition, 100_000, plan.now)
        )


def _alert(connection, sensor, kind, variable, severity, since, closed=None, value=None, worst=None, detail=""):
    (number,) = connection.execute("SELECT nextval('alert_id')").fetchone()
    opened = since + timedelta(minutes=5)
    escalated = opened + timedelta(minutes=4) if severity == "critical" else None
    connection.execute(
        "INSERT INTO alert VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            number,
            sensor.gateway,
            "" if kind == "loss" else sensor.name,
            kind,
            variable,
            severity,
            since,
            opened,
            escalated,
            closed,
            value,
            worst,
            detail,
            closed or opened,
        ),
    )
    if not closed:
        connection.execute(
            "INSERT INTO alert_state VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                sensor.gateway,
                "" if kind == "loss" else sensor.name,
                kind,
                variable,
                "above" if detail.startswith("above") else "below" if detail.startswith("below") else None,
                since,
                escalated,
                worst,
                detail,
                severity,
                number,
            ),
        )


def _alerts(connection: psycopg.Connection, plan: Plan, sensors: list[Sensor]) -> None:
    now, minute = plan.now, timedelta(minutes=1)
    for sensor in sensors:
        if sensor.part == "hot":
            _alert(
                connection,
                sensor,
                "threshold",
                "temperature",
                "warning",
                now - 28 * minute,
                value=30.4,
                worst=sensor.last["temperature"],
                detail="above 30.0",
            )
        elif sensor.part == "critical":
            _alert(
                connection,
                sensor,
                "threshold",
                "co2",
                "critical",
                now - 30 * minute,
                value=1530.0,
                worst=sensor.last["co2"],
                detail="above 3000.0",
            )
        elif sensor.part == "stuffy":
            _alert(
                connection,
                sensor,
                "threshold",
                "co2",
                "warning",
                now - 24 * minute,
                value=1740.0,
                worst=1812.0,
                detail="above 1500.0",
            )
        elif sensor.part == "silent":
            _alert(connection, sensor, "silence", "", "warning", now - 30 * minute, detail="no reading for 300 s")
        elif sensor.part == "faulty":
            _alert(connection, sensor, "fault", "scd41", "warning", now - 45 * minute, detail="scd41:crc")
        elif sensor.part == "battery":
            _alert(
                connection,
                sensor,
                "battery",
                "battery_level",
                "warning",
                now - timedelta(hours=5),
                value=14.9,
                worst=7.0,
                detail="below 15.0",
            )
    chance = random.Random(plan.seed)
    hours = plan.days * 24
    for _ in range(int(plan.days * 6)):
        sensor = chance.choice(sensors)
        since = now - timedelta(hours=chance.uniform(2, max(hours, 3)))
        kind, variable, value, detail = chance.choice(
            (
                ("threshold", "co2", 1622.0, "above 1500.0"),
                ("threshold", "temperature", 31.2, "above 30.0"),
                ("fault", "scd41", None, "scd41:not_acknowledged"),
                ("silence", "", None, "no reading for 320 s"),
            )
        )
        _alert(
            connection,
            sensor,
            kind,
            variable,
            "critical" if chance.random() < 0.2 else "warning",
            since,
            closed=since + timedelta(minutes=chance.uniform(8, 90)),
            value=value,
            worst=value,
            detail=detail,
        )
    _alert(
        connection,
        sensors[1],
        "loss",
        _stream(sensors[1].gateway),
        "warning",
        now - timedelta(hours=8),
        detail="37 readings missing",
    )


def _processors(connection: psycopg.Connection, plan: Plan) -> None:
    for index in range(2):
        connection.execute(
            "INSERT INTO processor VALUES (%s, 0, %s, %s, '1.0.0', 'sensor.readings', 'vigie-processor', %s, %s, %s, "
            "%s, 'healthy', %s, %s)",
            (
                f"processor-{index + 1}",
                f"central-{index + 1}",
                4100 + index,
                [index * 2, index * 2 + 1],
                f"http://127.0.0.1:{9465 + index}",
                3 - index,
                6.2 + index,
                plan.now - timedelta(hours=30 - index),
                plan.now,
            ),
        )


def follow(connection: psycopg.Connection, plan: Plan, sensors: list[Sensor]) -> None:
    """Goes on where the history ends, at the sensors' interval."""
    chance = random.Random(plan.seed)
    while True:
        time.sleep(plan.interval)
        with connection.transaction():
            for sensor in sensors:
                if sensor.part == "silent":
                    continue
                row = sensor.last
                now = datetime.now(UTC)
                row |= {"event_time": now - timedelta(milliseconds=60), "ingested_at": now, "late": False}
                row["seq"] += 1_000_000
                for name, step in (("temperature", 0.08), ("humidity", 0.4), ("co2", 9.0), ("pressure", 0.1)):
                    if row[name] is not None:
                        row[name] += chance.gauss(0, step)
                connection.execute(
                    f"INSERT INTO sensor_data ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})",
                    [row[column] for column in COLUMNS],
                )
                connection.execute(
                    """
                    UPDATE sensor SET last_event_time = %(event_time)s, last_arrival = %(ingested_at)s,
                        temperature = %(temperature)s, humidity = %(humidity)s, co2 = %(co2)s, pressure = %(pressure)s
                    WHERE gateway_id = %(gateway_id)s AND sensor_id = %(sensor_id)s
                    """,
                    row,
                )
            connection.execute("UPDATE processor SET updated_at = now()")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sensors", type=int, default=12)
    parser.add_argument("--days", type=float, default=3.0)
    parser.add_argument("--interval", type=int, default=60, help="seconds between two readings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--follow", action="store_true", help="go on making readings")
    arguments = parser.parse_args()
    plan = Plan(datetime.now(UTC), arguments.sensors, arguments.days, arguments.interval, arguments.seed)
    with psycopg.connect(os.environ["VIGIE_POSTGRES"]) as connection:
        migrate(connection)
        sensors = fill(connection, plan)
        (count,) = connection.execute("SELECT count(*) FROM sensor_data").fetchone()
        connection.commit()
        print(f"{count} readings of {plan.sensors} sensors over {plan.days:g} days", flush=True)
        if arguments.follow:
            connection.autocommit = True
            follow(connection, plan, sensors)


if __name__ == "__main__":
    main()
