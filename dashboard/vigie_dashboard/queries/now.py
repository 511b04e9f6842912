"""What the view `now` reads.

Latest values come from `sensor`, which has a row a sensor. Whatever touches `sensor_data` names a short range of times
as values, so that the planner leaves out all other days. What is about all sensors is counted among the rows of that
time, which stand side by side: a look into the index for each of a thousand sensors would be a thousand pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas

from vigie_dashboard.database import Reader
from vigie_dashboard.quantities import BY_NAME, QUANTITIES
from vigie_dashboard.queries.rules import bounds

# A sensor is stale when so many of its intervals have passed without a reading, and at least so much time.
STALE_INTERVALS = 3
STALE_AT_LEAST = timedelta(seconds=10)
# Further back than this nobody looks for a reading of an hour ago: older ones mean stale anyway.
LONGEST_LOOK_BACK = timedelta(hours=6)


@dataclass(frozen=True)
class Overview:
    """All but the series: one moment."""

    # The database's clock, so that a wrong one of this machine makes nobody stale.
    now: datetime
    sensors: pandas.DataFrame
    alerts: pandas.DataFrame
    bounds: pandas.DataFrame
    # reporting, in_alarm, readings (a minute), each now and before: `<name>` and `<name>_before`.
    figures: dict[str, float]


def overview(reader: Reader) -> Overview:
    found = sensors(reader)
    if found.empty:
        now = reader.row("SELECT now() AS now")["now"]
    else:
        now = found["now"].iloc[0].to_pydatetime()
    return Overview(now, found, open_alerts(reader), bounds(reader), figures(reader, found, now))


def sensors(reader: Reader) -> pandas.DataFrame:
    """The latest known facts of every sensor, and the worst of its open alerts."""
    quantities = ", ".join(quantity.name for quantity in QUANTITIES)
    return reader.frame(
        f"""
        WITH worst AS (
            SELECT gateway_id, sensor_id, min(severity) AS severity FROM alert
            WHERE closed_at IS NULL AND kind <> 'silence'
            GROUP BY gateway_id, sensor_id
        )
        SELECT gateway_id, sensor_id, last_event_time, last_arrival, interval_ms, last_status, {quantities},
               faults, latitude, longitude, time_quality, simulated, now() AS now,
               extract(epoch FROM now() - last_event_time)::float8 AS age,
               extract(epoch FROM now() - last_arrival)::float8 AS arrival_age,
               worst.severity
        FROM sensor LEFT JOIN worst USING (gateway_id, sensor_id)
        ORDER BY gateway_id, sensor_id
        """
    )


def open_alerts(reader: Reader) -> pandas.DataFrame:
    """What is wrong now, the worst first, then the newest."""
    return reader.frame(
        """
        SELECT id, gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at, value, worst_value, detail
        FROM alert
        WHERE closed_at IS NULL
        ORDER BY severity = 'critical' DESC, pending_since DESC, id DESC
        """
    )


def figures(reader: Reader, found: pandas.DataFrame, now: datetime) -> dict[str, float]:
    """The key figures now and an hour ago."""
    before = now - timedelta(hours=1)
    # Long enough for a few readings of each sensor.
    slowest = float(found["interval_ms"].median()) / 1000 if len(found) else 1.0
    span = timedelta(minutes=1) if slowest <= 15 else timedelta(minutes=5)
    counted = reader.row(
        """
        WITH before AS MATERIALIZED (
            SELECT gateway_id, sensor_id, count(*) AS readings, max(event_time) AS last
            FROM sensor_data
            WHERE event_time > %(from_before)s AND event_time <= %(before)s
            GROUP BY gateway_id, sensor_id
        ), known AS (
            SELECT sensor.gateway_id, sensor.sensor_id, first_event_time, before.last,
                   greatest(interval_ms::bigint * %(intervals)s * interval '1 ms', %(least)s) AS patience
            FROM sensor LEFT JOIN before USING (gateway_id, sensor_id)
        )
        SELECT (SELECT count(*)::float8 FROM sensor_data
                WHERE event_time > %(from)s AND event_time <= %(now)s) AS readings,
               (SELECT coalesce(sum(readings), 0)::float8 FROM before) AS readings_before,
               (SELECT count(*)::float8 FROM known
                WHERE CASE WHEN last > %(before)s - patience THEN true
                           -- Only of those that measure more rarely there may be something that was not seen yet.
                           WHEN patience <= %(span)s THEN false
                           ELSE EXISTS (SELECT FROM sensor_data AS data
                                        WHERE data.sensor_id = known.sensor_id AND data.gateway_id = known.gateway_id
                                            AND data.event_time > %(oldest)s AND data.event_time <= %(before)s
                                            AND data.event_time > %(before)s - patience) END) AS reporting_before,
               (SELECT count(*)::float8 FROM known WHERE first_event_time <= %(before)s) AS known_before,
               (SELECT count(DISTINCT (gateway_id, sensor_id))::float8 FROM alert
                WHERE opened_at <= %(before)s AND (closed_at IS NULL OR closed_at > %(before)s)
                    AND kind <> 'silence' AND sensor_id <> '') AS in_alarm_before
        """,
        {
            "now": now,
            "from": now - span,
            "before": before,
            "from_before": before - span,
            "span": span,
            "oldest": before - LONGEST_LOOK_BACK,
            "intervals": STALE_INTERVALS,
            "least": STALE_AT_LEAST,
        },
    )
    minutes = span.total_seconds() / 60
    return {
        "reporting_before": counted["reporting_before"],
        "stale_before": max(0.0, counted["known_before"] - counted["reporting_before"]),
        "known_before": counted["known_before"],
        "in_alarm_before": counted["in_alarm_before"],
        "readings": counted["readings"] / minutes,
        "readings_before": counted["readings_before"] / minutes,
    }


def series(
    reader: Reader,
    chosen: Sequence[tuple[str, str]],
    quantities: Sequence[str],
    since: datetime,
    until: datetime,
    bucket: timedelta | None,
) -> pandas.DataFrame:
    """The readings of (gateway, sensor) pairs, or their means over buckets of time."""
    names = [name for name in quantities if name in BY_NAME]
    parameters = {
        "gateways": [gateway for gateway, _ in chosen],
        "sensors": [sensor for _, sensor in chosen],
        "since": since,
        "until": until,
        "bucket": bucket,
    }
    if bucket is None:
        columns = ", ".join(f"data.{name}" for name in names)
        query = f"""
            SELECT gateway_id, sensor_id, event_time, interval_ms, simulated, time_quality = 'estimated' AS estimated,
                   status, {columns}
            FROM unnest(%(gateways)s::text[], %(sensors)s::text[]) AS chosen (gateway_id, sensor_id)
            JOIN sensor_data AS data USING (sensor_id, gateway_id)
            WHERE event_time > %(since)s AND event_time <= %(until)s
            ORDER BY gateway_id, sensor_id, event_time
            """
    else:
        columns = ", ".join(f"avg(data.{name}) AS {name}" for name in names)
        query = f"""
            SELECT gateway_id, sensor_id, date_bin(%(bucket)s, event_time, 'epoch') + %(bucket)s / 2 AS event_time,
                   max(interval_ms) AS interval_ms, bool_or(simulated) AS simulated,
                   bool_or(time_quality = 'estimated') AS estimated, max(status) AS status, {columns}
            FROM unnest(%(gateways)s::text[], %(sensors)s::text[]) AS chosen (gateway_id, sensor_id)
            JOIN sensor_data AS data USING (sensor_id, gateway_id)
            WHERE event_time > %(since)s AND event_time <= %(until)s
            GROUP BY 1, 2, 3
            ORDER BY 1, 2, 3
            """
    return reader.frame(query, parameters)
