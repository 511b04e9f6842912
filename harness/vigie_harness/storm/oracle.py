"""What the tables must say about what tap and poller saw. SQL of its own; it reads no line that Vigie's programs print.

Windows are compared thus: counts, minima and maxima exactly, averages within 1e-9 and standard deviations within 1e-6
of max(1, |average|). An open window's row may be behind: it holds the rows that had been written when it was last
updated. After everything has come to rest (`settled`) no window may be open.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
from psycopg.rows import dict_row

QUANTITIES = ("temperature", "humidity", "co2", "pressure", "battery_level")

# Of one kind of violation so many are kept, and the rest counted.
EXAMPLES = 200


@dataclass(frozen=True)
class Setting:
    """What the processors were told, as far as the tables depend on it."""

    topic: str
    windows: Sequence[tuple[timedelta, timedelta]]
    """Size and slide of each."""
    warnings: dict[str, tuple[float, float]] = field(default_factory=dict)
    """For a quantity the values below and above which a reading has the status warning."""


@dataclass
class Violation:
    """One thing that must not be, and where."""

    kind: str
    sentence: str
    count: int
    examples: list[dict]

    def __str__(self) -> str:
        return f"{self.kind}: {self.count} × {self.sentence}"

    @property
    def readings(self) -> list[tuple[str, str, int, int]]:
        """The readings concerned: gateway, stream, first and last number."""
        return [
            (row["gateway_id"], row["stream_id"], row["seq"], row.get("last_seq") or row["seq"])
            for row in self.examples
            if row.get("stream_id") and row.get("seq") is not None
        ]


# Whether a reading {n} may be missing: the storm took it away with a file, and the centre does not take its stream for
# ended. An older copy of a file ends a stream with what it knows of it, and nobody else can know better.
_EXCUSED = """EXISTS (SELECT FROM storm.excused e LEFT JOIN stream_progress p
                    ON p.gateway_id = e.gateway_id AND p.stream_id = e.stream_id
                WHERE e.gateway_id = {n}.gateway_id AND e.stream_id = {n}.stream_id
                    AND {n}.seq BETWEEN e.first_seq AND e.last_seq
                    AND (p.last_seq IS NULL OR p.end_seq IS DISTINCT FROM p.last_seq
                        OR {n}.seq > p.last_seq
                            AND EXISTS (SELECT FROM storm.copied c WHERE c.gateway_id = e.gateway_id)))"""

# How many readings went with files, as far as anybody saw them.
LOST_WITH_OUTBOXES = """
    SELECT count(*) FROM (SELECT DISTINCT gateway_id, stream_id, seq FROM storm.outboxed) AS o
    WHERE EXISTS (SELECT FROM storm.excused e WHERE e.gateway_id = o.gateway_id AND e.stream_id = o.stream_id
            AND o.seq BETWEEN e.first_seq AND e.last_seq)
        AND NOT EXISTS (SELECT FROM sensor_data d
            WHERE (d.gateway_id, d.stream_id, d.seq) = (o.gateway_id, o.stream_id, o.seq))
        AND NOT EXISTS (SELECT FROM storm.tapped t
            WHERE (t.gateway_id, t.stream_id, t.seq) = (o.gateway_id, o.stream_id, o.seq))
"""

# How many readings were on the topic and deleted before anybody had read them.
LOST_WITH_THE_TOPIC = """
    SELECT count(*) FROM (SELECT DISTINCT gateway_id, stream_id, seq FROM storm.tapped WHERE NOT is_there) AS t
    WHERE NOT EXISTS (SELECT FROM sensor_data d
        WHERE (d.gateway_id, d.stream_id, d.seq) = (t.gateway_id, t.stream_id, t.seq))
"""
OPEN_STREAMS = "SELECT count(*) FROM stream_progress WHERE end_seq IS DISTINCT FROM last_seq"

# Each gives a row for each violation. Columns gateway_id, stream_id, seq (and last_seq for a range) name readings.
_STREAMS = {
    "missing": (
        "a reading that was seen is neither a row nor in a recorded loss",
        f"""
        SELECT n.gateway_id, n.stream_id, n.seq, n.sensor_id, n.event_time, n.on_topic
        FROM (SELECT gateway_id, stream_id, seq, min(sensor_id) AS sensor_id, min(event_time) AS event_time,
                bool_or(on_topic) AS on_topic
            FROM (SELECT gateway_id, stream_id, seq, sensor_id, event_time, is_there AS on_topic
                    FROM storm.tapped
                UNION ALL SELECT gateway_id, stream_id, seq, sensor_id, event_time, false FROM storm.outboxed) AS saw
            GROUP BY 1, 2, 3) AS n
        WHERE NOT EXISTS (SELECT FROM sensor_data d WHERE d.gateway_id = n.gateway_id
                AND d.stream_id = n.stream_id AND d.seq = n.seq)
            AND NOT EXISTS (SELECT FROM loss l WHERE l.gateway_id = n.gateway_id AND l.stream_id = n.stream_id
                AND n.seq BETWEEN l.first_seq AND l.last_seq)
            AND (n.on_topic OR NOT {_EXCUSED.format(n="n")})
        ORDER BY 1, 2, 3
        """,
    ),
    "lost on the topic": (
        "a reading is listed as lost although the topic holds it",
        """
        SELECT DISTINCT t.gateway_id, t.stream_id, t.seq, t.sensor_id, t.event_time, t.kafka_partition, t.kafka_offset
        FROM storm.tapped t JOIN loss l ON l.gateway_id = t.gateway_id AND l.stream_id = t.stream_id
            AND t.seq BETWEEN l.first_seq AND l.last_seq
        WHERE t.is_there
        ORDER BY 1, 2, 3
        """,
    ),
    "unsaid": (
        "a number below the highest is neither a row nor in a recorded loss, and was seen by nobody",
        f"""
        SELECT n.gateway_id, n.stream_id, n.seq
        FROM (SELECT gateway_id, stream_id, min(first) AS first, max(last) AS last
            FROM (SELECT gateway_id, stream_id, coalesce(min(stream_first), 1) AS first, max(seq) AS last
                    FROM storm.tapped GROUP BY 1, 2
                UNION ALL SELECT gateway_id, stream_id, min(seq), max(seq) FROM storm.outboxed GROUP BY 1, 2
                UNION ALL SELECT gateway_id, stream_id, last_seq, last_seq FROM storm.given
                UNION ALL SELECT gateway_id, stream_id, first_seq, last_seq FROM stream_progress
                UNION ALL SELECT gateway_id, stream_id, min(seq), max(seq) FROM sensor_data GROUP BY 1, 2) AS all_say
            GROUP BY 1, 2) AS s
        CROSS JOIN LATERAL (SELECT s.gateway_id, s.stream_id, seq FROM generate_series(s.first, s.last) AS seq) AS n
        WHERE NOT EXISTS (SELECT FROM sensor_data d WHERE d.gateway_id = s.gateway_id
                AND d.stream_id = s.stream_id AND d.seq = n.seq)
            AND NOT EXISTS (SELECT FROM loss l WHERE l.gateway_id = s.gateway_id AND l.stream_id = s.stream_id
                AND n.seq BETWEEN l.first_seq AND l.last_seq)
            AND NOT EXISTS (SELECT FROM storm.tapped t WHERE t.gateway_id = s.gateway_id
                AND t.stream_id = s.stream_id AND t.seq = n.seq)
            AND NOT EXISTS (SELECT FROM storm.outboxed o WHERE o.gateway_id = s.gateway_id
                AND o.stream_id = s.stream_id AND o.seq = n.seq)
            AND NOT {_EXCUSED.format(n="n")}
        ORDER BY 1, 2, 3
        """,
    ),
    "twice": (
        "a reading has more than one row",
        """
        SELECT gateway_id, stream_id, seq, count(*) AS rows, min(sensor_id) AS sensor_id, min(event_time) AS event_time
        FROM sensor_data GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY 1, 2, 3
        """,
    ),
    "invented": (
        "a row holds a reading that neither topic nor outbox ever showed",
        """
        SELECT gateway_id, stream_id, seq, sensor_id, event_time FROM sensor_data d
        WHERE NOT EXISTS (SELECT FROM storm.tapped t WHERE t.gateway_id = d.gateway_id
                AND t.stream_id = d.stream_id AND t.seq = d.seq)
            AND NOT EXISTS (SELECT FROM storm.outboxed o WHERE o.gateway_id = d.gateway_id
                AND o.stream_id = d.stream_id AND o.seq = d.seq)
        ORDER BY 1, 2, 3
        """,
    ),
    "two contents": (
        "one number stands for two readings",
        """
        SELECT gateway_id, stream_id, seq, count(*) AS contents, array_agg(DISTINCT sensor_id) AS sensors,
            array_agg(DISTINCT event_time) AS times
        FROM (SELECT DISTINCT gateway_id, stream_id, seq, sensor_id, event_time, interval_ms, temperature, humidity,
                co2, pressure, battery_level, battery_voltage
            FROM (SELECT gateway_id, stream_id, seq, sensor_id, event_time, interval_ms, temperature, humidity, co2,
                    pressure, battery_level, battery_voltage FROM storm.tapped
                UNION ALL SELECT gateway_id, stream_id, seq, sensor_id, event_time, interval_ms, temperature, humidity,
                    co2, pressure, battery_level, battery_voltage FROM storm.outboxed) AS both_saw) AS contents
        GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY 1, 2, 3
        """,
    ),
    "altered": (
        "a row does not hold what the topic held",
        """
        SELECT DISTINCT d.gateway_id, d.stream_id, d.seq, d.sensor_id, d.event_time
        FROM sensor_data d JOIN storm.tapped t USING (gateway_id, stream_id, seq)
        WHERE (d.sensor_id, d.event_time, d.interval_ms, d.temperature, d.humidity, d.co2, d.pressure, d.battery_level,
                d.battery_voltage, d.latitude, d.longitude, d.simulated, coalesce(d.faults, '{}'))
            IS DISTINCT FROM (t.sensor_id, t.event_time, t.interval_ms, t.temperature, t.humidity, t.co2, t.pressure,
                t.battery_level, t.battery_voltage, t.latitude, t.longitude, t.simulated, coalesce(t.faults, '{}'))
        ORDER BY 1, 2, 3
        """,
    ),
    "wrong place": (
        "a row says to come from a place of the topic where this reading does not stand",
        """
        SELECT d.gateway_id, d.stream_id, d.seq, d.kafka_partition, d.kafka_offset
        FROM sensor_data d WHERE NOT EXISTS (SELECT FROM storm.tapped t
            WHERE (t.kafka_partition, t.kafka_offset, t.gateway_id, t.stream_id, t.seq)
                = (d.kafka_partition, d.kafka_offset, d.gateway_id, d.stream_id, d.seq))
        ORDER BY 1, 2, 3
        """,
    ),
    "unexplained": (
        "a reading is lost, and nobody can say why",
        """
        SELECT n.gateway_id, n.stream_id, n.seq
        FROM loss l CROSS JOIN LATERAL (SELECT l.gateway_id, l.stream_id, seq
            FROM generate_series(l.first_seq, l.last_seq) AS seq) AS n
        WHERE l.reason = 'unknown' AND NOT EXISTS (SELECT FROM storm.excused e WHERE e.gateway_id = n.gateway_id
            AND e.stream_id = n.stream_id AND n.seq BETWEEN e.first_seq AND e.last_seq)
        ORDER BY 1, 2, 3
        """,
    ),
    "unreadable": (
        "readings were told to be unreadable by a gateway whose outbox was not damaged",
        """
        SELECT gateway_id, stream_id, first_seq AS seq, last_seq FROM loss l
        WHERE reason = 'unreadable' AND NOT EXISTS (SELECT FROM storm.damaged d WHERE d.gateway_id = l.gateway_id)
        ORDER BY 1, 2, 3
        """,
    ),
    "loss with rows": (
        "a recorded loss holds readings that are rows",
        """
        SELECT l.gateway_id, l.stream_id, l.first_seq AS seq, l.last_seq, count(*) AS rows
        FROM loss l JOIN sensor_data d ON d.gateway_id = l.gateway_id AND d.stream_id = l.stream_id
            AND d.seq BETWEEN l.first_seq AND l.last_seq
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
        """,
    ),
    "loss twice": (
        "two recorded losses hold the same number",
        """
        SELECT l.gateway_id, l.stream_id, l.first_seq AS seq, l.last_seq, o.first_seq AS other_first
        FROM loss l JOIN loss o ON o.gateway_id = l.gateway_id AND o.stream_id = l.stream_id
            AND o.first_seq > l.first_seq AND o.first_seq <= l.last_seq
        ORDER BY 1, 2, 3
        """,
    ),
    "progress": (
        "the progress of a stream is not that of its rows and losses",
        """
        SELECT gateway_id, stream_id, p.first_seq AS says_first, least(d.first, l.first) AS has_first,
            p.last_seq AS says_last, greatest(d.last, l.last) AS has_last,
            p.lost AS says_lost, coalesce(l.lost, 0) AS has_lost
        FROM (SELECT gateway_id, stream_id, min(seq) AS first, max(seq) AS last FROM sensor_data GROUP BY 1, 2) AS d
            FULL JOIN stream_progress p USING (gateway_id, stream_id)
            LEFT JOIN (SELECT gateway_id, stream_id, min(first_seq) AS first, max(last_seq) AS last,
                    sum(last_seq - first_seq + 1) AS lost
                FROM loss GROUP BY 1, 2) AS l USING (gateway_id, stream_id)
        -- A stream that was told and has given no number yet ends before it begins.
        WHERE p.first_seq IS DISTINCT FROM coalesce(least(d.first, l.first), p.first_seq)
            OR p.last_seq IS DISTINCT FROM coalesce(greatest(d.last, l.last), p.first_seq - 1)
            OR p.lost IS DISTINCT FROM coalesce(l.lost, 0)
        """,
    ),
}

_ALERTS = {
    "alert open twice": (
        "an alert is open more than once",
        """
        SELECT gateway_id, sensor_id, kind, variable, count(*) AS open FROM alert WHERE closed_at IS NULL
        GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
        """,
    ),
    "alert state": (
        "what processors take for open is not what the table of alerts says",
        """
        SELECT a.id, coalesce(a.gateway_id, s.gateway_id) AS gateway_id,
            coalesce(a.sensor_id, s.sensor_id) AS sensor_id, coalesce(a.kind, s.kind) AS kind,
            coalesce(a.variable, s.variable) AS variable, a.closed_at
        FROM (SELECT * FROM alert WHERE closed_at IS NULL) AS a
            FULL JOIN (SELECT * FROM alert_state WHERE alert_id IS NOT NULL) AS s ON s.alert_id = a.id
        WHERE a.id IS NULL OR s.alert_id IS NULL
        """,
    ),
}

_SETTLED = {
    "unread": (
        "a partition was not read to its end",
        """
        SELECT kafka_partition, t.next_offset AS end, c.next_offset AS read
        FROM storm.topic_end t LEFT JOIN consumed_offset c USING (topic, kafka_partition)
        WHERE topic = %(topic)s AND t.next_offset IS DISTINCT FROM coalesce(c.next_offset, 0)
        """,
    ),
    "end untold": (
        "a stream's end was not told, although nothing took away the outbox that knows it",
        """
        SELECT gateway_id, stream_id, greatest(last_seq, first_seq) AS seq, end_seq FROM stream_progress p
        WHERE end_seq IS DISTINCT FROM last_seq AND NOT EXISTS (SELECT FROM storm.doubtful d
            WHERE d.gateway_id = p.gateway_id AND coalesce(d.stream_id, p.stream_id) = p.stream_id)
        ORDER BY 1, 2
        """,
    ),
    "window open": (
        "a window is open although its sensor is long silent",
        """
        SELECT gateway_id, sensor_id, window_size, window_start, updated_at FROM sensor_data_agg WHERE NOT is_final
        """,
    ),
    "rejected": (
        "a message was rejected",
        "SELECT kafka_offset, left(value, 200) AS value FROM storm.rejected",
    ),
}


def _window_check(settled: bool) -> tuple[str, str]:
    """Every window against a recomputation from the rows, in both directions."""
    # Of an open window only the rows of commits up to its own.
    written = "" if settled else "AND (w.is_final OR d.commit_number <= w.commit_number)"
    sums = ", ".join(
        f"avg(d.{name}) AS {name}_avg, min(d.{name}) AS {name}_min, max(d.{name}) AS {name}_max, "
        f"stddev_samp(d.{name}) AS {name}_stddev"
        for name in QUANTITIES
    )
    wrong = []
    for name in QUANTITIES:
        wrong += [f"w.{name}_{part} IS DISTINCT FROM r.{name}_{part}" for part in ("min", "max")]
        for part, tolerance in (("avg", 1e-9), ("stddev", 1e-6)):
            found, expected = f"w.{name}_{part}", f"r.{name}_{part}"
            wrong.append(
                f"({found} IS NULL) <> ({expected} IS NULL) OR abs({found} - {expected}) > "
                f"{tolerance} * greatest(1, abs(r.{name}_avg))"
            )
    # A window that is not written yet may be open; a final one, and after all came to rest every one, must be there.
    due = "true" if settled else "e.window_start + e.window_size <= s.final_through"
    return (
        "a window is not what its rows come to",
        f"""
        WITH definition(window_size, slide) AS (
            SELECT * FROM unnest(%(sizes)s::interval[], %(slides)s::interval[])),
        expected AS (
            SELECT DISTINCT d.gateway_id, d.sensor_id, window_size, first AS window_start
            FROM sensor_data d, definition, LATERAL generate_series(
                date_bin(slide, d.event_time, timestamptz 'epoch') - window_size + slide,
                date_bin(slide, d.event_time, timestamptz 'epoch'), slide) AS first
            WHERE d.in_windows),
        compared AS (
            SELECT w.gateway_id, w.sensor_id, w.window_size, w.window_start, w.is_final, w.reading_count AS has,
                r.reading_count AS should_have,
                CASE
                    WHEN NOT EXISTS (SELECT FROM definition x WHERE x.window_size = w.window_size
                        AND date_bin(x.slide, w.window_start, timestamptz 'epoch') = w.window_start) THEN 'undefined'
                    WHEN w.window_end <> w.window_start + w.window_size THEN 'end'
                    WHEN w.reading_count <> r.reading_count THEN 'number of readings'
                    WHEN w.warning_count <> r.warning_count THEN 'number of warnings'
                    WHEN w.failure_count <> r.failure_count THEN 'number of failures'
                    WHEN w.late_count <> r.late_count THEN 'number of late readings'
                    WHEN abs(w.coverage - r.coverage) > 1e-9 THEN 'coverage'
                    WHEN {" OR ".join(f"({text})" for text in wrong)} THEN 'values'
                END AS wrong
            FROM sensor_data_agg w CROSS JOIN LATERAL (
                SELECT count(*) AS reading_count, count(*) FILTER (WHERE d.status = 'warning') AS warning_count,
                    count(*) FILTER (WHERE d.status = 'failure') AS failure_count,
                    count(*) FILTER (WHERE d.late) AS late_count,
                    least(1, coalesce(sum(d.interval_ms), 0)
                        / (extract(epoch FROM w.window_size)::float8 * 1000)) AS coverage,
                    {sums}
                FROM sensor_data d WHERE d.gateway_id = w.gateway_id AND d.sensor_id = w.sensor_id
                    AND d.event_time >= w.window_start AND d.event_time < w.window_start + w.window_size
                    AND d.in_windows {written}) AS r)
        SELECT * FROM compared WHERE wrong IS NOT NULL
        UNION ALL
        SELECT e.gateway_id, e.sensor_id, e.window_size, e.window_start, NULL, NULL, NULL, 'never written'
        FROM expected e LEFT JOIN sensor_data_agg w USING (gateway_id, sensor_id, window_size, window_start)
            LEFT JOIN sensor s USING (gateway_id, sensor_id)
        WHERE w.window_start IS NULL AND ({due})
        ORDER BY 1, 2, 3, 4
        """,
    )


def _status_check(warnings: dict[str, tuple[float, float]]) -> tuple[str, str]:
    """The status of readings, as far as it follows from the reading alone."""
    beyond = [f"(coalesce({name} < {low} OR {name} > {high}, false))" for name, (low, high) in warnings.items()]
    return (
        "a row has a status that its values do not have",
        f"""
        SELECT gateway_id, stream_id, seq, sensor_id, event_time, status FROM sensor_data
        WHERE CASE
            WHEN cardinality(coalesce(faults, '{{}}')) > 0 THEN status <> 'failure'
            -- A failure may also be the lack of a quantity that the sensor is known to give.
            WHEN status = 'failure' THEN temperature IS NOT NULL AND humidity IS NOT NULL AND pressure IS NOT NULL
            WHEN {" OR ".join(beyond) or "false"} THEN status <> 'warning'
            ELSE status <> 'ok'
        END
        ORDER BY 1, 2, 3
        """,
    )


def checks(setting: Setting, settled: bool) -> dict[str, tuple[str, str]]:
    """All checks by kind: what a row means, and the statement."""
    found = dict(_STREAMS)
    found["window"] = _window_check(settled)
    found["status"] = _status_check(setting.warnings)
    found |= _ALERTS
    if settled:
        found |= _SETTLED
    return found


def examine(connection: psycopg.Connection, setting: Setting, settled: bool = True) -> list[Violation]:
    """All violations, in the order of the checks. `connection` sees Vigie's tables and the witness' in one snapshot."""
    values = {
        "topic": setting.topic,
        "sizes": [size for size, _ in setting.windows],
        "slides": [slide for _, slide in setting.windows],
    }
    violations = []
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        for kind, (sentence, sql) in checks(setting, settled).items():
            # A statement that names no value is sent without any.
            cursor.execute(sql, values if re.search(r"%\(\w+\)s", sql) else None)
            rows = cursor.fetchall()
            if rows:
                violations.append(Violation(kind, sentence, len(rows), rows[:EXAMPLES]))
    return violations


def doubtful_gateways(connection: psycopg.Connection) -> set[str]:
    """The gateways of which nobody may know what came before a stream, as a report of it was deleted with the topic."""
    return {gateway for (gateway,) in connection.execute("SELECT DISTINCT gateway_id FROM storm.doubtful")}


def open_gateways(connection: psycopg.Connection) -> set[str]:
    """The gateways of which the end of a stream is not known, of one of which something came."""
    return {
        gateway
        for (gateway,) in connection.execute(
            "SELECT DISTINCT gateway_id FROM stream_progress "
            "WHERE end_seq IS DISTINCT FROM last_seq AND last_seq >= first_seq"
        )
    }
