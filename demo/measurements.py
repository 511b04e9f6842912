"""What the demo shows: read from PostgreSQL and from the programs' own metrics, never from inside them."""

import collections
import dataclasses
import datetime
import re
import time
import urllib.request

import psycopg
from psycopg.rows import namedtuple_row


@dataclasses.dataclass
class Board:
    name: str
    address: str
    waiting: float | None
    """Readings in the outbox; None if the board does not answer."""
    resident: float | None
    """Resident memory in bytes."""


@dataclasses.dataclass
class Snapshot:
    uptime: float
    sensors: list
    boards: list
    rate: float
    """Readings stored a second, over the last seconds."""
    stored: int
    """Readings stored since the start of this demo."""
    median: float | None
    """Seconds from a measurement's begin, which its reading is stamped with, to its row."""
    nearly_worst: float | None
    """The 95th percentile of the same."""
    timed: int
    """Of how many readings these are."""
    period: str
    """From when these readings are, in words."""
    with_start: int
    """How many of these hold the 5 s that the first measurement of an SCD41 takes."""
    windows: int
    """Windows written or updated since the start of this demo."""
    final_windows: int
    lost: int
    dashboard: str | None = None
    """Where the dashboard answers."""
    rules: list = dataclasses.field(default_factory=list)
    """The bounds beyond which a value makes the status a warning: rows of `alert_rule`."""
    first: float | None = None
    """Seconds from when everything ran to the first row; below 0 if it was there before. None if there is none yet."""
    error: str | None = None


SENSORS = """
    SELECT gateway_id, sensor_id, last_event_time, last_status, temperature, humidity, co2, pressure, battery_level,
           battery_voltage, faults, latitude, longitude, interval_ms, simulated
    FROM sensor ORDER BY gateway_id, sensor_id
"""

RULES = "SELECT quantity, severity, side, bound FROM alert_rule ORDER BY quantity, severity, side"

STORED = """
    SELECT least(coalesce(sum(last_seq - lost), 0), 9223372036854775807)::bigint AS stored FROM stream_progress
"""

LOST = "SELECT coalesce(sum(last_seq - first_seq + 1), 0)::bigint AS lost FROM loss"

WINDOWS = """
    SELECT count(*) AS written, count(*) FILTER (WHERE is_final) AS final FROM sensor_data_agg WHERE updated_at >= %s
"""

# Of the rows since the demo's start, how long after everything ran the first one was there.
FIRST = """
    SELECT extract(epoch FROM min(first) - %(runs_at)s)::float8 AS seconds
    FROM sensor, LATERAL (
        SELECT min(ingested_at) AS first FROM sensor_data
        WHERE sensor_data.sensor_id = sensor.sensor_id AND sensor_data.gateway_id = sensor.gateway_id
            AND event_time > %(started_at)s AND event_time < %(started_at)s + interval '1 minute'
    ) AS firsts
"""

# Seconds of which the latency is shown while the demo runs; the summary's is of the whole run.
RECENT = 30

# By sensor, so that the index on sensor and time serves it however much has been stored.
LATENCY = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) AS median,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY delay) AS nearly_worst,
           count(*) AS timed,
           count(*) FILTER (WHERE has_co2 AND event_time = begin) AS with_start
    FROM sensor, LATERAL (
        SELECT min(event_time) AS begin FROM sensor_data
        WHERE sensor_data.sensor_id = sensor.sensor_id AND sensor_data.gateway_id = sensor.gateway_id
            AND event_time > %(started_at)s AND event_time < %(started_at)s + interval '1 minute'
    ) AS begins, LATERAL (
        SELECT event_time, co2 IS NOT NULL AS has_co2, extract(epoch FROM ingested_at - event_time)::float8 AS delay
        FROM sensor_data
        WHERE sensor_data.sensor_id = sensor.sensor_id AND sensor_data.gateway_id = sensor.gateway_id
            AND event_time > %(since)s
    ) AS delays
"""


class Measurements:
    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.database = psycopg.connect(pipeline.connection, autocommit=True, row_factory=namedtuple_row)
        self.started = time.monotonic()
        self.started_at = datetime.datetime.now(datetime.UTC)
        self.stored_before = self.database.execute(STORED).fetchone().stored
        self.lost_before = self.database.execute(LOST).fetchone().lost
        # (time, readings stored), for the rate over the last seconds.
        self.history = collections.deque(maxlen=12)
        self.last = None
        self.runs_at = self.started_at

    def begin(self):
        """Everything runs from now on; readings of boards that started a moment ago count already."""
        self.started = time.monotonic()
        self.runs_at = datetime.datetime.now(datetime.UTC)

    def take(self, of_whole_run=False):
        """The state now, with the latency of the last seconds or of the whole run.

        When PostgreSQL does not answer: the last state, with the error.
        """
        try:
            self.last = self._take(of_whole_run)
        except psycopg.Error as error:
            if self.last is None:
                raise
            self.last.error = str(error).strip().splitlines()[0]
        return self.last

    def _take(self, of_whole_run):
        def one(query, *parameters):
            return self.database.execute(query, parameters).fetchone()

        now = time.monotonic()
        stored = one(STORED).stored - self.stored_before
        self.history.append((now, stored))
        then, stored_then = self.history[0]
        times = {"started_at": self.started_at, "runs_at": self.runs_at}
        recently = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=RECENT)
        since = self.started_at if of_whole_run else recently
        latency = self.database.execute(LATENCY, times | {"since": since}).fetchone()
        first = self.database.execute(FIRST, times).fetchone()
        windows = one(WINDOWS, self.started_at)
        return Snapshot(
            uptime=now - self.started,
            sensors=self.database.execute(SENSORS).fetchall(),
            boards=[self._board(gateway) for gateway in self.pipeline.gateways],
            rate=(stored - stored_then) / (now - then) if now > then else 0,
            stored=stored,
            median=latency.median,
            nearly_worst=latency.nearly_worst,
            timed=latency.timed,
            period="the whole run" if of_whole_run else f"the last {RECENT} s",
            with_start=latency.with_start,
            windows=windows.written,
            final_windows=windows.final,
            lost=one(LOST).lost - self.lost_before,
            rules=self.database.execute(RULES).fetchall(),
            first=first.seconds,
            dashboard=self.pipeline.dashboard.address if self.pipeline.dashboard else None,
        )

    def _board(self, gateway):
        values = metrics(gateway.address)
        return Board(
            gateway.name,
            gateway.address,
            values.get("vigie_outbox_readings"),
            values.get("process_resident_memory_bytes"),
        )


def metrics(address):
    """The metrics of a program by name, each the sum over its labels; nothing if it does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=1) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    values = collections.defaultdict(float)
    for name, value in re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
        values[name] += float(value)
    return values
