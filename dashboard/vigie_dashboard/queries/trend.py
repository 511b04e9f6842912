"""The Trend view's SQL: windows put together into buckets by the database, so that a year costs as few rows as a day.

Windows slide: those that begin every minute and last ten overlap. Only those that begin at a multiple of their size are
read, one look-up in the primary key each: together they hold every reading once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas

from vigie_dashboard.database import Reader
from vigie_dashboard.quantities import QUANTITIES
from vigie_dashboard.trend.period import Grid, Sensor

# The beginning of the bucket that holds a window. Hours and days are the reader's, not UTC's, and a day is as long as
# its zone makes it. An hour that the clock repeats stays two.
_BUCKETS = {
    "minutes": "date_bin(%(bucket)s, {time}, '1970-01-01 00:00Z')",
    "hour": "date_trunc('hour', {time}, %(zone)s)",
    "hours": "date_bin(%(bucket)s, {time} AT TIME ZONE %(zone)s, '2000-01-01') AT TIME ZONE %(zone)s",
    "day": "date_trunc('day', {time}, %(zone)s)",
}

_CHOSEN = "unnest(%(gateways)s::text[], %(sensors)s::text[]) AS chosen (gateway_id, sensor_id)"

_SENSORS = """
    SELECT gateway_id, sensor_id, first_event_time, last_event_time, quantities, simulated
    FROM sensor ORDER BY gateway_id, sensor_id
    """

# A few look-ups a size, as the primary key is skipped through.
_WINDOW_SIZES = f"""
    WITH RECURSIVE size AS (
        SELECT gateway_id, sensor_id,
            (SELECT min(w.window_size) FROM sensor_data_agg w
                WHERE w.sensor_id = chosen.sensor_id AND w.gateway_id = chosen.gateway_id) AS window_size
        FROM {_CHOSEN}
        UNION ALL
        SELECT gateway_id, sensor_id,
            (SELECT min(w.window_size) FROM sensor_data_agg w
                WHERE w.sensor_id = size.sensor_id AND w.gateway_id = size.gateway_id
                    AND w.window_size > size.window_size)
        FROM size WHERE window_size IS NOT NULL
    )
    SELECT gateway_id, sensor_id, extract(epoch FROM window_size)::float8 AS seconds,
        (SELECT min(w.window_start) FROM sensor_data_agg w
            WHERE w.sensor_id = size.sensor_id AND w.gateway_id = size.gateway_id
                AND w.window_size = size.window_size) AS first_start,
        (SELECT max(w.window_start) FROM sensor_data_agg w
            WHERE w.sensor_id = size.sensor_id AND w.gateway_id = size.gateway_id
                AND w.window_size = size.window_size) AS last_start
    FROM size WHERE window_size IS NOT NULL
    ORDER BY gateway_id, sensor_id, seconds
    """


def _bucket_kind(seconds: int) -> str:
    if seconds < 3600:
        return "minutes"
    return {3600: "hour", 86400: "day"}.get(seconds, "hours")


def _quantity_totals(quantity: str) -> str:
    # A window's average rests on its readings. Windows without the quantity count for nothing in it.
    return f"""
        sum(w.reading_count) FILTER (WHERE w.{quantity}_avg IS NOT NULL) AS {quantity}_count,
        sum(w.{quantity}_avg * w.reading_count) AS {quantity}_sum,
        min(w.{quantity}_min) AS {quantity}_min,
        max(w.{quantity}_max) AS {quantity}_max,
        sum((w.reading_count - 1) * coalesce(w.{quantity}_stddev, 0) ^ 2
            + w.reading_count * w.{quantity}_avg ^ 2) AS {quantity}_squares"""


def _quantity_columns(quantity: str) -> str:
    mean = f"{quantity}_sum / {quantity}_count"
    return f"""
        {quantity}_count::bigint,
        {mean} AS {quantity}_avg, {quantity}_min, {quantity}_max,
        sqrt(greatest(0, {quantity}_squares - {quantity}_count * ({mean}) ^ 2) / nullif({quantity}_count - 1, 0))
            AS {quantity}_stddev"""


# What every aggregate of windows needs. OFFSET 0 keeps the look-ups what they are: the planner cannot know how many
# windows there will be, and would rather read the whole table. A sensor owes
# windows from its first reading on, and those that are over now.
_WINDOWS = f"""
    FROM {_CHOSEN}
    JOIN sensor s ON s.gateway_id = chosen.gateway_id AND s.sensor_id = chosen.sensor_id
    CROSS JOIN generate_series(%(first)s::timestamptz, %(last)s::timestamptz, %(step)s::interval)
        AS start (window_start)
    LEFT JOIN LATERAL (
        SELECT * FROM sensor_data_agg w WHERE w.sensor_id = s.sensor_id AND w.gateway_id = s.gateway_id
            AND w.window_size = %(step)s AND w.window_start = start.window_start
        OFFSET 0
    ) w ON true
    """

_EXPECTED = "start.window_start + %(step)s > s.first_event_time"

_COUNTS = f"""
    coalesce(sum(w.reading_count), 0)::bigint AS readings,
    coalesce(sum(w.warning_count), 0)::bigint AS warnings,
    coalesce(sum(w.failure_count), 0)::bigint AS failures,
    coalesce(sum(w.late_count), 0)::bigint AS late,
    count(*) FILTER (WHERE {_EXPECTED}) AS expected_windows,
    coalesce(sum(w.coverage), 0) / nullif(count(*) FILTER (WHERE {_EXPECTED}), 0) AS coverage
    """


def _series(bucket_seconds: int) -> str:
    bucket = _BUCKETS[_bucket_kind(bucket_seconds)].format(time="start.window_start")
    names = [quantity.name for quantity in QUANTITIES]
    return f"""
        WITH total AS (
            SELECT s.gateway_id, s.sensor_id, {bucket} AS bucket, {_COUNTS},
                {",".join(map(_quantity_totals, names))}
            {_WINDOWS}
            GROUP BY 1, 2, 3
        )
        SELECT gateway_id, sensor_id, bucket, readings, warnings, failures, late, expected_windows,
            CASE WHEN coverage > 1 THEN 1 ELSE coverage END AS coverage,
            {",".join(map(_quantity_columns, names))}
        FROM total ORDER BY gateway_id, sensor_id, bucket
        """


_FAILURE_HOURS = f"""
    SELECT extract(isodow FROM start.window_start AT TIME ZONE %(zone)s)::int AS weekday,
        extract(hour FROM start.window_start AT TIME ZONE %(zone)s)::int AS hour, {_COUNTS}
    {_WINDOWS}
    GROUP BY 1, 2 ORDER BY 1, 2
    """

# What is about a gateway's stream has no sensor: it concerns all sensors of that gateway.
_ALERTS = """
    FROM alert a
    WHERE a.opened_at >= %(from)s AND a.opened_at < %(to)s
        AND (%(everything)s
            OR a.sensor_id = '' AND a.gateway_id = ANY (%(gateways)s::text[])
            OR (a.gateway_id, a.sensor_id) IN (SELECT * FROM unnest(%(gateways)s::text[], %(sensors)s::text[])))
    """

# An alert that is still open has lasted up to now.
_LASTED = "extract(epoch FROM least(coalesce(a.closed_at, %(now)s), %(now)s) - a.opened_at)"


def _alerts_in_time(bucket_seconds: int) -> str:
    bucket = _BUCKETS[_bucket_kind(bucket_seconds)].format(time="a.opened_at")
    return f"""
        SELECT {bucket} AS bucket, a.kind, a.severity, count(*) AS alerts
        {_ALERTS}
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """


# A loss names its stream, which is a number to a reader: all losses are one cause.
_ALERTS_BY_CAUSE = f"""
    SELECT a.kind, CASE WHEN a.kind = 'loss' THEN '' ELSE a.variable END AS variable, count(*) AS alerts,
        count(*) FILTER (WHERE a.severity = 'critical') AS critical,
        count(*) FILTER (WHERE a.closed_at IS NULL) AS still_open,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY {_LASTED})::float8 AS median_seconds
    {_ALERTS}
    GROUP BY 1, 2 ORDER BY alerts DESC, 1, 2
    """

# The sensors with the most alerts.
_ALERTS_BY_SENSOR = f"""
    WITH by_kind AS (
        SELECT a.gateway_id, a.sensor_id, a.kind, count(*) AS alerts, sum({_LASTED})::float8 AS seconds
        {_ALERTS}
        GROUP BY 1, 2, 3
    ), by_sensor AS (
        SELECT *, sum(alerts) OVER sensor AS in_all FROM by_kind WINDOW sensor AS (PARTITION BY gateway_id, sensor_id)
    ), ranked AS (
        SELECT *, dense_rank() OVER (ORDER BY in_all DESC, gateway_id, sensor_id) AS place FROM by_sensor
    )
    SELECT gateway_id, sensor_id, kind, alerts, seconds, max(place) OVER () AS sensors_in_all
    FROM ranked ORDER BY place, kind
    """

_ALERT_HOURS = f"""
    SELECT extract(isodow FROM a.opened_at AT TIME ZONE %(zone)s)::int AS weekday,
        extract(hour FROM a.opened_at AT TIME ZONE %(zone)s)::int AS hour, count(*) AS alerts
    {_ALERTS}
    GROUP BY 1, 2 ORDER BY 1, 2
    """

# A hole lies between the last reading before it and the first after it. The largest are listed, all are counted.
_LOSSES = """
    SELECT gateway_id, stream_id, last_seq - first_seq + 1 AS readings, reason,
        coalesce(after_time, before_time, detected_at) AS after_time,
        coalesce(before_time, detected_at) AS before_time,
        detected_at, count(*) OVER () AS holes,
        least(sum(last_seq - first_seq + 1) OVER (), 9223372036854775807)::bigint AS readings_in_all
    FROM loss
    WHERE gateway_id = ANY (%(gateways)s::text[])
        AND coalesce(before_time, detected_at) >= %(from)s AND coalesce(after_time, before_time, detected_at) < %(to)s
    ORDER BY readings DESC, after_time, gateway_id, stream_id LIMIT %(limit)s
    """


def sensors(reader: Reader) -> pandas.DataFrame:
    """Every sensor, with what the reader chooses by."""
    return reader.frame(_SENSORS)


def window_sizes(reader: Reader, chosen: Sequence[Sensor]) -> pandas.DataFrame:
    """The window sizes that each sensor has, in seconds, with the beginnings of the first and the last window of each:
    a size that was configured yesterday does not reach back further."""
    return reader.frame(_WINDOW_SIZES, _chosen(chosen))


def windows_since(reader: Reader) -> datetime | None:
    """Windows that began before this have been deleted; None if none has."""
    return reader.row("SELECT CASE WHEN isfinite(windows_since) THEN windows_since END AS since FROM retention")[
        "since"
    ]


def series(reader: Reader, chosen: Sequence[Sensor], grid: Grid) -> pandas.DataFrame:
    """Every bucket of every chosen sensor, also those with nothing in them. Averages are weighted by readings."""
    return _timed(reader.frame(_series(grid.bucket), _chosen(chosen) | _grid(grid)), "bucket")


def failure_hours(reader: Reader, chosen: Sequence[Sensor], grid: Grid) -> pandas.DataFrame:
    """Failures and warnings by weekday (1 is Monday) and hour of the reader's clock, with the readings they are of."""
    return reader.frame(_FAILURE_HOURS, _chosen(chosen) | _grid(grid))


class Alerts:
    """The alerts that were opened in a period, of the chosen sensors, or of all if none is given."""

    def __init__(self, reader: Reader, chosen: Sequence[Sensor] | None, grid: Grid, now: datetime):
        self._reader = reader
        self._grid = grid
        self._parameters = (
            _chosen(chosen or ())
            | _grid_zone(grid)
            | {"everything": chosen is None, "from": grid.start, "to": grid.end, "now": now}
        )

    def in_time(self) -> pandas.DataFrame:
        """How many of each kind and severity in each bucket that has one."""
        return _timed(self._reader.frame(_alerts_in_time(self._grid.bucket), self._parameters), "bucket")

    def by_cause(self) -> pandas.DataFrame:
        return self._reader.frame(_ALERTS_BY_CAUSE, self._parameters)

    def by_sensor(self) -> pandas.DataFrame:
        """Those with the most alerts first."""
        return self._reader.frame(_ALERTS_BY_SENSOR, self._parameters)

    def by_hour(self) -> pandas.DataFrame:
        return self._reader.frame(_ALERT_HOURS, self._parameters)


def losses(reader: Reader, chosen: Sequence[Sensor], grid: Grid, limit: int = 200) -> pandas.DataFrame:
    """Holes in the chosen sensors' gateways' streams that touch the period."""
    parameters = {
        "gateways": sorted({sensor.gateway for sensor in chosen}),
        "from": grid.start,
        "to": grid.end,
        "limit": limit,
    }
    frame = reader.frame(_LOSSES, parameters)
    for column in ("after_time", "before_time", "detected_at"):
        frame = _timed(frame, column)
    return frame


def _chosen(chosen: Sequence[Sensor]) -> dict[str, Any]:
    return {
        "gateways": [sensor.gateway for sensor in chosen],
        "sensors": [sensor.name for sensor in chosen],
    }


def _grid_zone(grid: Grid) -> dict[str, Any]:
    return {"zone": grid.zone, "bucket": timedelta(seconds=grid.bucket)}


def _grid(grid: Grid) -> dict[str, Any]:
    step = timedelta(seconds=grid.step)
    return _grid_zone(grid) | {"first": grid.first_window, "last": grid.last_window, "step": step}


def _timed(frame: pandas.DataFrame, column: str) -> pandas.DataFrame:
    """With a column of times in UTC, also when there is no row to tell what it holds."""
    frame[column] = pandas.to_datetime(frame[column], utc=True)
    return frame
