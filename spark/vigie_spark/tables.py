"""All SQL of the job, and the columns of the tables that it reads and writes, each named once.

The tables are the processor's: documentation/tables.md explains them. Times travel as milliseconds since 1970.
"""

import secrets
from collections.abc import Iterable

from .quantities import AGGREGATED_NAMES, NAMES
from .settings import FINGERPRINT_BITS
from .windows import SUMS

# The schema that this engine knows, `schema_migration.number`.
SCHEMA = 12

TIME = "timestamptz"


def names(columns: Iterable[str], table: str | None = None) -> str:
    return ", ".join(f"{table}.{column}" if table else column for column in columns)


def _time(milliseconds: str) -> str:
    """A time, from milliseconds since 1970, in SQL."""
    return f"(timestamptz 'epoch' + {milliseconds} * interval '1 millisecond')"


def _milliseconds(time: str) -> str:
    """Milliseconds since 1970, from a time, in SQL; null from an infinite one."""
    return f"CASE WHEN isfinite({time}) THEN (extract(epoch FROM {time}) * 1000)::int8 END"


def _typed(value: str, kind: str) -> str:
    """A value that travels as milliseconds if it is a time."""
    return _time(value) if kind == TIME else value


def _arrays(columns: dict[str, str]) -> str:
    """`unnest(%s::text[], ...)` with one array a column. Times come in milliseconds."""
    arrays = (f"%s::{'int8' if kind == TIME else kind}[]" for kind in columns.values())
    return f"unnest({', '.join(arrays)})"


def _values(columns: dict[str, str], table: str) -> str:
    """What `_arrays` gives, with the types of the columns."""
    return ", ".join(_typed(f"{table}.{name}", kind) for name, kind in columns.items())


def _look_up(table: str, columns: dict[str, str]) -> str:
    """The rows `t` of a table with the values of arrays in columns that begin its key. OFFSET keeps the planner from
    reading the whole table."""
    matches = " AND ".join(f"t.{name} = n.{name}" for name in columns)
    return (f"{_arrays(columns)} AS n ({names(columns)}) "
            f"CROSS JOIN LATERAL (SELECT * FROM {table} t WHERE {matches} OFFSET 0) AS t")  # fmt: skip


# MARK: Transactions

# The settings end with the transaction. Each row is found by its index, so that a statement costs what it is about.
BEGIN = """
SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
SET LOCAL jit = off; SET LOCAL work_mem = '64MB';
LOCK TABLE ONLY sensor_data IN ROW EXCLUSIVE MODE
"""

# Sessions of this role that have a transaction of more than ten seconds, hold locks on gateways or offsets, and wait
# for their client: a processor or a task that was stopped by a signal, or whose machine sleeps.
END_PAUSED_SESSIONS = """
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
    AND a.wait_event = 'ClientRead' AND a.xact_start < clock_timestamp() - interval '10 seconds'
    AND EXISTS (
        SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted
            AND l.relation IN ('consumed_offset'::regclass, 'gateway'::regclass)
            AND l.mode IN ('RowExclusiveLock', 'RowShareLock'))
"""

SCHEMA_NUMBER = "SELECT coalesce(max(number), 0) FROM schema_migration"
# What is deferred is otherwise only checked by a COMMIT.
CHECK_NOW = "SET CONSTRAINTS ALL IMMEDIATE"
DATABASE_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8"

# MARK: consumed_offset

MARK = ("message_offset", "message_timestamp", "message_size", "message_checksum")
POSITION = ("next_offset", "log_generation", *MARK)
POSITIONS = f"SELECT kafka_partition, {names(POSITION)} FROM consumed_offset WHERE topic = %s"
POSITION_OF_PARTITION = f"SELECT {names(POSITION)} FROM consumed_offset WHERE topic = %s AND kafka_partition = %s"
INSERT_POSITIONS = """
INSERT INTO consumed_offset (topic, kafka_partition, next_offset, updated_at)
SELECT %s, unnest(%s::int4[]), 0, now() ON CONFLICT DO NOTHING
"""
# A compare-and-set: only if the database still has where the range begins.
ADVANCE = f"""
UPDATE consumed_offset SET {", ".join(f"{name} = %s" for name in POSITION)}, updated_at = {_time("%s")}
WHERE topic = %s AND kafka_partition = %s AND next_offset = %s AND log_generation = %s
"""

# MARK: gateway

# What the sign of `gateway.writer_token` says. Tokens are random and new with each transaction; those of the processor
# are positive. One of this engine is negative: the transaction left a row for every window that was due, with all
# readings, of each sensor of the gateway, which a processor with its windows in memory does not promise. Its lowest
# digits say of which sizes and slides: others have no rows yet.
_FINGERPRINT = 1 << FINGERPRINT_BITS


def new_token(fingerprint: int) -> int:
    """A token of a transaction that leaves every due window of these sizes and slides in its row."""
    return -((1 << 62) + secrets.randbits(62 - FINGERPRINT_BITS) * _FINGERPRINT + fingerprint)


def is_trusted(token: int, fingerprint: int) -> bool:
    """Whether whoever wrote a token left every due window of these sizes and slides in its row."""
    return token < 0 and -token % _FINGERPRINT == fingerprint


LOCK_GATEWAYS = """
WITH locked AS MATERIALIZED (
    SELECT g.gateway_id, g.writer_token AS previous_token FROM unnest(%s::text[]) AS n (gateway_id)
        JOIN gateway g ON g.gateway_id = n.gateway_id
    ORDER BY g.gateway_id COLLATE "C" FOR UPDATE OF g)
UPDATE gateway g SET commit_number = g.commit_number + 1,
    writer_token = CASE WHEN l.gateway_id = ANY (%s::text[]) THEN %s ELSE %s END,
    kafka_partition = coalesce(%s::int4, g.kafka_partition)
FROM locked l WHERE g.gateway_id = l.gateway_id
RETURNING g.gateway_id, g.commit_number, l.previous_token
"""
INSERT_GATEWAYS = """
INSERT INTO gateway (gateway_id, commit_number, writer_token, kafka_partition)
SELECT gateway_id, 0, 0, %s FROM unnest(%s::text[]) AS n (gateway_id) ON CONFLICT DO NOTHING
"""
KNOWN_GATEWAYS = "SELECT gateway_id FROM gateway WHERE gateway_id = ANY (%s::text[])"
GATEWAYS_OF_PARTITION = """
SELECT gateway_id, writer_token FROM gateway WHERE kafka_partition = %s ORDER BY gateway_id COLLATE "C"
"""

# MARK: retention, expired, partitions of sensor_data

CUTOFF = f"SELECT {_milliseconds('readings_since')}, {_milliseconds('windows_since')} FROM retention"
ADD_EXPIRED = """
INSERT INTO expired AS e (gateway_id, stream_id, on_arrival, readings)
SELECT gateway_id, stream_id, true, readings FROM unnest(%s::text[], %s::text[], %s::int8[])
    AS n (gateway_id, stream_id, readings)
ON CONFLICT (gateway_id, stream_id, on_arrival) DO UPDATE SET readings = e.readings + excluded.readings
"""

# Serialises the making of partitions, as the processor does; "vigie-d" in ASCII.
PARTITION_LOCK = "SELECT pg_advisory_xact_lock(x'76696769652d64'::int8)"
EXISTING_PARTITIONS = """
SELECT floor(extract(epoch FROM since) / 86400)::int8, ceil(extract(epoch FROM until) / 86400)::int8
FROM (SELECT substring(bound, 'FROM \\(''([^'']+)''\\)')::timestamptz AS since,
        substring(bound, 'TO \\(''([^'']+)''\\)$')::timestamptz AS until, bound
    FROM (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sensor_data'::regclass) p) p
WHERE bound <> 'DEFAULT'
"""


def make_partition(name: str, since: str, until: str) -> str:
    return (f"CREATE TABLE {name} (LIKE sensor_data INCLUDING DEFAULTS INCLUDING CONSTRAINTS); "
            f"ALTER TABLE sensor_data ATTACH PARTITION {name} FOR VALUES FROM ('{since}') TO ('{until}')")  # fmt: skip


# MARK: stream_progress, loss

STREAM = {"gateway_id": "text", "stream_id": "text"}
STREAM_FACTS = {"first_seq": "int8", "last_seq": "int8", "last_event_time": TIME, "end_seq": "int8",
                "previous_stream_id": "text", "previous_known": "bool"}  # fmt: skip
_STREAM_ROW = STREAM | STREAM_FACTS | {"lost": "int8", "updated_at": TIME}
STREAMS = f"""
SELECT t.gateway_id, t.stream_id, t.first_seq, t.last_seq, {_milliseconds("t.last_event_time")}, t.end_seq,
    t.previous_stream_id, t.previous_known
FROM {_look_up("stream_progress", STREAM)}
"""
SAVE_STREAMS = f"""
INSERT INTO stream_progress ({names(_STREAM_ROW)}) SELECT {_values(_STREAM_ROW, "s")}
FROM {_arrays(_STREAM_ROW)} AS s ({names(_STREAM_ROW)})
ON CONFLICT ({names(STREAM)}) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _STREAM_ROW if name not in STREAM)}
"""

LOSS = {"first_seq": "int8", "last_seq": "int8", "after_time": TIME, "before_time": TIME, "reason": "text"}
_LOSS_ROW = STREAM | LOSS | {"detected_at": TIME}
LOSSES = f"""
SELECT t.gateway_id, t.stream_id, t.first_seq, t.last_seq, {_milliseconds("t.after_time")},
    {_milliseconds("t.before_time")}, t.reason
FROM {_look_up("loss", STREAM)} ORDER BY t.gateway_id, t.stream_id, t.first_seq
"""
DELETE_LOSSES = """
DELETE FROM loss l USING unnest(%s::text[], %s::text[], %s::int8[]) AS g (gateway_id, stream_id, first_seq)
WHERE l.gateway_id = g.gateway_id AND l.stream_id = g.stream_id AND l.first_seq = g.first_seq
"""
INSERT_LOSSES = f"""
INSERT INTO loss ({names(_LOSS_ROW)}) SELECT {_values(_LOSS_ROW, "n")}
FROM {_arrays(_LOSS_ROW)} AS n ({names(_LOSS_ROW)})
"""

# MARK: sensor_data

# As a row is written, in the order of COPY.
READING = ("gateway_id", "sensor_id", "stream_id", "seq", "event_time", "time_quality", "interval_ms", *NAMES, "faults",
           "latitude", "longitude", "simulated", "status", "late", "kafka_partition", "kafka_offset", "ingested_at",
           "commit_number", "in_windows")  # fmt: skip
COPY_READINGS = f"COPY sensor_data ({names(READING)}) FROM STDIN (FORMAT binary)"

_CANDIDATE = {"position": "int8", "gateway_id": "text", "sensor_id": "text", "event_time": TIME, "stream_id": "text",
              "seq": "int8"} | dict.fromkeys(NAMES, "float8")  # fmt: skip
# Which of some readings have a row with their number, at their sensor and time, from which no quantity differs that
# both have. LATERAL with a limit, so that each is found by the index.
SAME_READINGS = f"""
SELECT c.position FROM (SELECT {
    ", ".join(_typed(f"a.{name}", kind) + f" AS {name}" for name, kind in _CANDIDATE.items())
}
    FROM {_arrays(_CANDIDATE)} AS a ({names(_CANDIDATE)}) OFFSET 0) AS c
CROSS JOIN LATERAL (SELECT FROM sensor_data d
    WHERE d.gateway_id = c.gateway_id AND d.sensor_id = c.sensor_id AND d.event_time = c.event_time
        AND d.event_time >= {_time("%s")} AND d.event_time <= {_time("%s")}
        AND d.stream_id = c.stream_id AND d.seq = c.seq
        AND {" AND ".join(f"(d.{name} = c.{name}) IS NOT FALSE" for name in NAMES)} LIMIT 1) AS found
"""

# MARK: sequence_conflict

_CONFLICT = {"gateway_id": "text", "own_stream_id": "text", "stream_id": "text", "seq": "int8", "sensor_id": "text",
             "event_time": TIME, "topic": "text", "kafka_partition": "int4", "kafka_offset": "int8",
             "detected_at": TIME}  # fmt: skip
KNOWN_CONFLICTS = """
SELECT c.gateway_id, c.own_stream_id FROM sequence_conflict c
JOIN unnest(%s::text[], %s::text[]) AS n (gateway_id, own_stream_id)
    ON c.gateway_id = n.gateway_id AND c.own_stream_id = n.own_stream_id
"""
_IS_ADMITTED = """
EXISTS (SELECT FROM stream_progress p WHERE p.gateway_id = c.gateway_id AND p.stream_id = c.own_stream_id
    AND p.first_seq <= 1 AND p.last_seq >= 1)
AND NOT EXISTS (SELECT FROM loss l WHERE l.gateway_id = c.gateway_id AND l.stream_id = c.own_stream_id
    AND l.first_seq <= 1 AND l.last_seq >= 1)
"""
INSERT_CONFLICTS = f"""
INSERT INTO sequence_conflict ({names(_CONFLICT)}, settled_at)
SELECT {_values(_CONFLICT, "c")}, CASE WHEN {_IS_ADMITTED} THEN {_time("c.detected_at")} END
FROM {_arrays(_CONFLICT)} AS c ({names(_CONFLICT)}) ON CONFLICT DO NOTHING RETURNING gateway_id
"""
SETTLE_CONFLICTS = f"""
UPDATE sequence_conflict c SET settled_at = {_time("%s")}
FROM unnest(%s::text[], %s::text[]) AS n (gateway_id, own_stream_id)
WHERE c.gateway_id = n.gateway_id AND c.own_stream_id = n.own_stream_id AND c.settled_at IS NULL
RETURNING c.gateway_id
"""

# MARK: sensor

SENSOR = {"gateway_id": "text", "sensor_id": "text"}
SENSOR_STATE = {"first_event_time": TIME, "last_arrival": TIME, "final_through": TIME, "quantities": "int2",
                "last_commit": "int8"}  # fmt: skip
SENSOR_LATEST = {
    "last_event_time": TIME,
    "interval_ms": "int4",
    "last_status": "text",
    **dict.fromkeys(NAMES, "float8"),
    "faults": "text",
    "latitude": "float8",
    "longitude": "float8",
    "time_quality": "text",
    "simulated": "bool",
}
_SENSOR_READ = ", ".join(
    _milliseconds(f"t.{name}") if kind == TIME else f"t.{name}"
    for name, kind in (SENSOR | {"last_event_time": TIME, "interval_ms": "int4"} | SENSOR_STATE).items()
)
SENSORS = f"SELECT {_SENSOR_READ} FROM {_look_up('sensor', SENSOR)}"
# Those of some gateways that may have readings in open windows. The last parameter is the longest window.
OPEN_SENSORS = f"""
SELECT {_SENSOR_READ} FROM unnest(%s::text[]) AS n (gateway_id) CROSS JOIN LATERAL (
    SELECT * FROM sensor t WHERE t.gateway_id = n.gateway_id
        AND t.last_event_time + %s * interval '1 millisecond' > t.final_through OFFSET 0) t
"""
_SENSOR_ROW = SENSOR | SENSOR_STATE | SENSOR_LATEST
# A sensor's faults come as one text: an array of arrays would have to be rectangular.
SAVE_SENSORS = f"""
INSERT INTO sensor ({names(_SENSOR_ROW)})
SELECT {
    ", ".join(
        "string_to_array(s.faults, ' ')" if name == "faults" else _time(f"s.{name}") if kind == TIME else f"s.{name}"
        for name, kind in _SENSOR_ROW.items()
    )
}
FROM {_arrays(_SENSOR_ROW)} AS s ({names(_SENSOR_ROW)})
ON CONFLICT ({names(SENSOR)}) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in SENSOR_STATE | SENSOR_LATEST)}
"""
SAVE_SENSOR_STATES = f"""
UPDATE sensor t SET
    {", ".join(f"{name} = {_typed(f's.{name}', kind)}" for name, kind in SENSOR_STATE.items())}
FROM {_arrays(SENSOR | SENSOR_STATE)} AS s ({names(SENSOR | SENSOR_STATE)})
WHERE t.gateway_id = s.gateway_id AND t.sensor_id = s.sensor_id
"""

# MARK: sensor_data_agg

_WINDOW_KEY = {"sensor_id": "text", "gateway_id": "text", "window_size": "int8", "window_start": TIME}
_COUNTS = {f"{name}_count": "int8" for name in AGGREGATED_NAMES}
_STATISTICS = {f"{name}_{what}": "float8" for name in AGGREGATED_NAMES for what in ("avg", "min", "max", "stddev")}
_ADDED = dict.fromkeys(SUMS, "int8") | _COUNTS
# As `windows_parameters` gives them.
WINDOW = _WINDOW_KEY | _ADDED | _STATISTICS | {"is_final": "bool", "revision": "int4", "commit_number": "int8"}
_WINDOW_ROW = _WINDOW_KEY | {"window_end": TIME} | _ADDED | {"coverage": "float8"} | _STATISTICS | {
    "is_final": "bool", "revision": "int4", "commit_number": "int8", "updated_at": TIME
}  # fmt: skip
_SIZE = "w.window_size * interval '1 millisecond'"


def _window_value(name: str, kind: str) -> str:
    match name:
        case "window_size":
            return _SIZE
        case "window_end":
            return _time("(w.window_start + w.window_size)")
        case "coverage":
            return "least(1, w.covered_ms::float8 / w.window_size)"
        case "updated_at":
            return _time("%s")
    return _typed(f"w.{name}", kind)


# The first parameter is the time, as in the next statement.
SAVE_WINDOWS = f"""
INSERT INTO sensor_data_agg ({names(_WINDOW_ROW)})
SELECT {", ".join(_window_value(name, kind) for name, kind in _WINDOW_ROW.items())}
FROM {_arrays(WINDOW)} AS w ({names(WINDOW)})
ON CONFLICT ({names(_WINDOW_KEY)}) DO UPDATE SET
    {
    ", ".join(
        "revision = sensor_data_agg.revision + sensor_data_agg.is_final::integer"
        if name == "revision"
        else f"{name} = excluded.{name}"
        for name in _WINDOW_ROW
        if name not in _WINDOW_KEY
    )
}
"""


def _folded(name: str) -> str:
    """Merges the statistics of a quantity into a row (Chan, Golub, LeVeque)."""
    known, new = f"a.{name}_count", f"w.{name}_count"
    difference = f"(w.{name}_avg - a.{name}_avg)"

    def deviations(table: str) -> str:
        return f"coalesce({table}.{name}_stddev ^ 2 * ({table}.{name}_count - 1), 0)"

    def either(statistic: str, expression: str) -> str:
        return (f"{name}_{statistic} = CASE WHEN {new} = 0 THEN a.{name}_{statistic} "
                f"WHEN {known} = 0 THEN w.{name}_{statistic} ELSE {expression} END")  # fmt: skip

    spread = f"{deviations('a')} + {deviations('w')} + {difference} ^ 2 * ({known}::float8 * {new} / ({known} + {new}))"
    return ", ".join([
        either("avg", f"a.{name}_avg + {difference} * ({new}::float8 / ({known} + {new}))"),
        f"{name}_min = least(a.{name}_min, w.{name}_min)", f"{name}_max = greatest(a.{name}_max, w.{name}_max)",
        either("stddev", f"sqrt(({spread}) / ({known} + {new} - 1))"),
    ])  # fmt: skip


FOLD_WINDOWS = f"""
UPDATE sensor_data_agg a SET {", ".join(f"{name} = a.{name} + w.{name}" for name in _ADDED)},
    {", ".join(_folded(name) for name in AGGREGATED_NAMES)},
    coverage = least(1, (a.covered_ms + w.covered_ms)::float8 / w.window_size),
    is_final = w.is_final, revision = a.revision + w.revision, commit_number = w.commit_number,
    updated_at = {_time("%s")}
FROM {_arrays(WINDOW)} WITH ORDINALITY AS w ({names(WINDOW)}, position)
WHERE a.sensor_id = w.sensor_id AND a.gateway_id = w.gateway_id AND a.window_size = {_SIZE}
    AND a.window_start = {_time("w.window_start")} AND {" AND ".join(f"a.{name} IS NOT NULL" for name in _ADDED)}
RETURNING w.position
"""
# Opens final windows again that end after a time.
REOPEN_WINDOWS = f"""
UPDATE sensor_data_agg a SET is_final = false, revision = a.revision + 1, updated_at = {_time("%s")}
FROM unnest(%s::text[], %s::text[], %s::int8[], %s::int8[]) AS w (sensor_id, gateway_id, window_size, after)
WHERE a.sensor_id = w.sensor_id AND a.gateway_id = w.gateway_id AND a.window_size = {_SIZE}
    AND a.window_start > {_time("w.after")} AND a.is_final
"""
# Makes windows final whose ends lie after one time and not after another.
FINISH_WINDOWS = f"""
UPDATE sensor_data_agg a SET is_final = true, commit_number = w.commit_number, updated_at = {_time("%s")}
FROM unnest(%s::text[], %s::text[], %s::int8[], %s::int8[], %s::int8[], %s::int8[])
    AS w (sensor_id, gateway_id, window_size, after, through, commit_number)
WHERE a.sensor_id = w.sensor_id AND a.gateway_id = w.gateway_id AND a.window_size = {_SIZE}
    AND a.window_start > {_time("w.after")} AND a.window_start <= {_time("w.through")} AND NOT a.is_final
"""


def writes_windows(statement: str) -> bool:
    return statement.lstrip().startswith(("INSERT INTO sensor_data_agg", "UPDATE sensor_data_agg"))


# MARK: Panes from raw rows

PANE = (
    *SUMS,
    *(f"{name}_{what}" for name in AGGREGATED_NAMES for what in ("count", "avg", "deviations", "min", "max")),
)
_PANE_SUMS = {
    "reading_count": "count(*)", "warning_count": "count(*) FILTER (WHERE d.status = 'warning')",
    "failure_count": "count(*) FILTER (WHERE d.status = 'failure')", "late_count": "count(*) FILTER (WHERE d.late)",
    "covered_ms": "sum(d.interval_ms)::int8",
}  # fmt: skip
_PANE_VALUES = {"count": "count(d.{0})", "avg": "coalesce(avg(d.{0}), 0)",
                "deviations": "coalesce(var_pop(d.{0}) * count(d.{0}), 0)", "min": "coalesce(min(d.{0}), 0)",
                "max": "coalesce(max(d.{0}), 0)"}  # fmt: skip
# The panes of stretches of event time of sensors, without the rows of one commit of their gateways (-1: of none).
# LATERAL, so that each is found by the index; the bounds of all together keep the other days out.
PANES = f"""
SELECT r.position, p.* FROM (
    SELECT gateway_id, sensor_id, {_time("since")} AS since, {_time("until")} AS until, commit_number, position
    FROM unnest(%s::text[], %s::text[], %s::int8[], %s::int8[], %s::int8[])
        WITH ORDINALITY AS r (gateway_id, sensor_id, since, until, commit_number, position) OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT (extract(epoch FROM date_bin(%s * interval '1 millisecond', d.event_time, timestamptz 'epoch')) * 1000)::int8
            AS pane, {", ".join(_PANE_SUMS[name] for name in SUMS)},
        {", ".join(value.format(name) for name in AGGREGATED_NAMES for value in _PANE_VALUES.values())}
    FROM sensor_data d WHERE d.sensor_id = r.sensor_id AND d.gateway_id = r.gateway_id
        AND d.event_time >= r.since AND d.event_time < r.until AND d.commit_number <> r.commit_number
        AND d.event_time >= {_time("%s")} AND d.event_time < {_time("%s")} AND d.in_windows
    GROUP BY pane) p
"""

# MARK: alert_state, alert, alert_notification

ALERT_STATE = {
    "gateway_id": "text",
    "sensor_id": "text",
    "kind": "text",
    "variable": "text",
    "side": "text",
    "since": TIME,
    "critical_since": TIME,
    "worst": "float8",
    "detail": "text",
    "severity": "text",
    "alert_id": "int8",
}
_ALERT_STATE_READ = ", ".join(
    _milliseconds(f"t.{name}") if kind == TIME else f"t.{name}" for name, kind in ALERT_STATE.items()
)
_ALERT_ORDER = "ORDER BY t.gateway_id, t.sensor_id, t.since, t.kind, t.variable"
SENSOR_ALERTS = f"SELECT {_ALERT_STATE_READ} FROM {_look_up('alert_state', SENSOR)} {_ALERT_ORDER}"
# Of streams and gateways, by all of the key.
OTHER_ALERTS = f"""
SELECT {_ALERT_STATE_READ}
FROM {_look_up("alert_state", SENSOR | {"kind": "text", "variable": "text"})} {_ALERT_ORDER}
"""
# Of a sensor all, of a stream or a gateway one; the variable is null for all.
DELETE_ALERT_STATES = """
DELETE FROM alert_state s
USING unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS d (gateway_id, sensor_id, kind, variable)
WHERE s.gateway_id = d.gateway_id AND s.sensor_id = d.sensor_id
    AND (d.kind IS NULL OR s.kind = d.kind AND s.variable = d.variable)
"""
INSERT_ALERT_STATES = f"""
INSERT INTO alert_state ({names(ALERT_STATE)}) SELECT {_values(ALERT_STATE, "n")}
FROM {_arrays(ALERT_STATE)} AS n ({names(ALERT_STATE)})
"""
ALERT_IDS = "SELECT nextval('alert_id') FROM generate_series(1, %s)"
ALERT = {
    "id": "int8",
    "gateway_id": "text",
    "sensor_id": "text",
    "kind": "text",
    "variable": "text",
    "severity": "text",
    "pending_since": TIME,
    "opened_at": TIME,
    "escalated_at": TIME,
    "closed_at": TIME,
    "value": "float8",
    "worst_value": "float8",
    "detail": "text",
    "updated_at": TIME,
}
INSERT_ALERTS = f"""
INSERT INTO alert ({names(ALERT)}) SELECT {_values(ALERT, "n")} FROM {_arrays(ALERT)} AS n ({names(ALERT)})
"""
ALERT_CHANGE = {"id": "int8", "severity": "text", "detail": "text", "escalated_at": TIME, "closed_at": TIME,
                "worst_value": "float8"}  # fmt: skip
UPDATE_ALERTS = f"""
UPDATE alert a SET severity = u.severity, detail = u.detail, updated_at = {_time("%s")},
    escalated_at = coalesce({_time("u.escalated_at")}, a.escalated_at),
    closed_at = coalesce({_time("u.closed_at")}, a.closed_at), worst_value = u.worst_value
FROM {_arrays(ALERT_CHANGE)} AS u ({names(ALERT_CHANGE)}) WHERE a.id = u.id
"""
_TOLD = {"id": "int8", "event": "text", "severity": "text", "time": TIME, "value": "float8", "worst": "float8",
         "detail": "text"}  # fmt: skip


def _text_time(time: str) -> str:
    return f"to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


# What the webhook is to be told; the content is made now, so that it is the same however often it is sent.
NOTIFY = f"""
INSERT INTO alert_notification (alert_id, event, payload, created_at, next_attempt_at)
SELECT n.id, n.event, json_build_object('event', n.event, 'alert_id', n.id, 'kind', a.kind, 'variable', a.variable,
    'severity', n.severity, 'gateway_id', a.gateway_id, 'sensor_id', a.sensor_id, 'time', {_text_time(_time("n.time"))},
    'since', {_text_time("a.pending_since")}, 'opened_at', {_text_time("a.opened_at")}, 'value', n.value,
    'worst_value', n.worst, 'detail', n.detail)::text, {_time("%s")}, {_time("%s")}
FROM {_arrays(_TOLD)} WITH ORDINALITY AS n ({names(_TOLD)}, position) JOIN alert a ON a.id = n.id ORDER BY n.position
"""
# Alerts about logs are no gateway's: `gateway_id` and `sensor_id` are empty, `variable` names the partition. One that
# is open already stays. Values: the variable, what was found, and the time four times.
_LOG_ALERT = "gateway_id = '' AND sensor_id = '' AND kind = 'log'"
OPEN_LOG_ALERT = f"""
WITH opened AS (
    INSERT INTO alert
        (id, gateway_id, sensor_id, kind, variable, severity, detail, pending_since, opened_at, updated_at)
    VALUES (nextval('alert_id'), '', '', 'log', %s, 'warning', %s, {_time("%s")}, {_time("%s")}, {_time("%s")})
    ON CONFLICT (gateway_id, sensor_id, kind, variable) WHERE closed_at IS NULL DO NOTHING
    RETURNING id, variable, detail
), noted AS (
    INSERT INTO alert_state (gateway_id, sensor_id, kind, variable, since, detail, severity, alert_id)
    SELECT '', '', 'log', variable, {_time("%s")}, detail, 'warning', id FROM opened
)
SELECT id, detail FROM opened
"""
# Values: the variables, and the time twice.
CLOSE_LOG_ALERTS = f"""
WITH over AS (DELETE FROM alert_state WHERE {_LOG_ALERT} AND variable = ANY (%s::text[]) RETURNING alert_id)
UPDATE alert a SET closed_at = greatest({_time("%s")}, opened_at), updated_at = {_time("%s")}
FROM over WHERE a.id = over.alert_id RETURNING id, detail
"""
RULES = "SELECT quantity, severity, side, bound, hysteresis, minimum_duration_ms FROM alert_rule"
LOCK_RULES = "LOCK TABLE alert_rule IN SHARE ROW EXCLUSIVE MODE"
DELETE_RULES = "DELETE FROM alert_rule"
INSERT_RULES = """
INSERT INTO alert_rule (quantity, severity, side, bound, hysteresis, minimum_duration_ms)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::int8[])
"""
# Of gateways whose last messages came from partitions that the topic does not have any more: somebody must look after
# their windows and their silence.
TAKE_GATEWAYS = """
WITH locked AS MATERIALIZED (
    SELECT gateway_id FROM gateway WHERE kafka_partition <> ALL (%s) ORDER BY gateway_id COLLATE "C" FOR UPDATE)
UPDATE gateway g SET kafka_partition = %s FROM locked l WHERE g.gateway_id = l.gateway_id
"""
OPEN_CONFLICTS = """
SELECT n.gateway_id, (SELECT count(*) FROM sequence_conflict c
    WHERE c.gateway_id = n.gateway_id AND c.settled_at IS NULL) FROM unnest(%s::text[]) AS n (gateway_id)
"""
# Of gateways' sensors those that may become silent: whose silence is no alert yet.
SPEAKING_SENSORS = f"""
SELECT {_SENSOR_READ} FROM unnest(%s::text[]) AS n (gateway_id) CROSS JOIN LATERAL (
    SELECT * FROM sensor t WHERE t.gateway_id = n.gateway_id AND NOT EXISTS (SELECT FROM alert_state a
        WHERE a.gateway_id = t.gateway_id AND a.sensor_id = t.sensor_id AND a.kind = 'silence') OFFSET 0) t
"""

# MARK: Heartbeats

_HEARTBEAT = ("instance", "worker", "host", "process_id", "version", "topic", "consumer_group", "partitions", "lag",
              "messages_per_second", "state")  # fmt: skip
# The database's clock says when.
SAVE_PROCESSOR = f"""
INSERT INTO processor ({names(_HEARTBEAT)}, started_at, updated_at)
VALUES ({", ".join(f"%({name})s" for name in _HEARTBEAT)}, to_timestamp(%(started_at)s), now())
ON CONFLICT (instance, worker) DO UPDATE SET (endpoint, started_at, updated_at, {names(_HEARTBEAT)}) =
    (NULL, excluded.started_at, excluded.updated_at, {names(_HEARTBEAT, "excluded")})
"""
# Who was gone for longer is forgotten, as by the processor.
FORGET_PROCESSORS = "DELETE FROM processor WHERE updated_at < now() - interval '1 hour'"
# The row of a job that has taken the name over stays.
LEAVE_PROCESSORS = "DELETE FROM processor WHERE instance = %s AND process_id = %s"
