"""What the view `operation` reads."""

from dataclasses import dataclass
from typing import Any

import pandas

from vigie_dashboard.database import Reader

# Holes that are shown one by one.
MOST_HOLES = 500


@dataclass(frozen=True)
class Operation:
    """How the pipeline is, as far as the database knows: all of one moment."""

    # Whether any sensor has ever been seen.
    has_readings: bool
    # By pipeline: heartbeats of each processor.
    processors: pandas.DataFrame
    # By topic and partition.
    offsets: pandas.DataFrame
    # By gateway: ages, clock, streams, losses, and how late its latest readings came.
    gateways: pandas.DataFrame
    # The holes found last.
    losses: pandas.DataFrame
    # `holes` and `readings`, of all.
    loss_total: dict[str, Any]
    # Of the webhook: `waiting`, `oldest_age`, `attempts`, `last_error`.
    notifications: dict[str, Any]


def read(reader: Reader) -> Operation:
    """Everything that the view shows of the database."""
    gateways = reader.frame(GATEWAYS).merge(reader.frame(DELAYS), on="gateway_id", how="left")
    return Operation(
        has_readings=not gateways.empty,
        processors=reader.frame(PROCESSORS),
        offsets=reader.frame(OFFSETS),
        gateways=gateways,
        losses=reader.frame(LOSSES, {"limit": MOST_HOLES}),
        loss_total=reader.row(LOSS_TOTAL),
        notifications=reader.row(NOTIFICATIONS),
    )


PROCESSORS = """
    SELECT instance, worker, host, version, topic, consumer_group, partitions, endpoint, lag, messages_per_second,
           state, started_at, updated_at, extract(epoch FROM now() - updated_at)::float8 AS age
    FROM processor ORDER BY instance, worker
"""

# Offsets are the truth of what is in the tables, whether or not a processor lives.
OFFSETS = """
    SELECT topic, kafka_partition AS partition, next_offset, updated_at,
           extract(epoch FROM now() - updated_at)::float8 AS age
    FROM consumed_offset ORDER BY topic, kafka_partition
"""

# One row a gateway. Times are of its newest reading and of its last arrival: their difference is how far behind the
# gateway's sending is, their ages whether it sends at all.
GATEWAYS = """
    WITH streams AS (
        SELECT gateway_id, count(*) AS streams, sum(last_seq - first_seq + 1)::float8 AS numbered,
               least(sum(lost), 9223372036854775807)::bigint AS missing
        FROM stream_progress GROUP BY gateway_id
    ), gone AS (
        SELECT gateway_id, sum(readings)::bigint AS expired FROM expired GROUP BY gateway_id
    )
    SELECT gateway_id, count(*) AS sensors, max(last_event_time) AS measured_at, max(last_arrival) AS arrived_at,
           extract(epoch FROM now() - max(last_event_time))::float8 AS measured_age,
           extract(epoch FROM now() - max(last_arrival))::float8 AS arrival_age,
           max(interval_ms)::float8 / 1000 AS interval, sum(1000.0 / greatest(interval_ms, 1))::float8 AS expected_rate,
           count(*) FILTER (WHERE time_quality = 'estimated') AS estimated,
           count(*) FILTER (WHERE simulated) AS simulated,
           coalesce(min(streams.streams), 0) AS streams, coalesce(min(streams.numbered), 0) AS numbered,
           coalesce(min(streams.missing), 0) AS missing, array_agg(DISTINCT kafka_partition) AS partitions,
           coalesce(min(gone.expired), 0) AS expired
    FROM sensor LEFT JOIN streams USING (gateway_id) LEFT JOIN gone USING (gateway_id)
        LEFT JOIN gateway USING (gateway_id)
    GROUP BY gateway_id ORDER BY gateway_id
"""

# Sensor by sensor, so that the index on sensor and time serves it, and of the newest days alone.
DELAYS = """
    SELECT sensor.gateway_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY recent.delay) AS delay,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY recent.delay) AS delay_95, count(*) AS readings,
           count(*) FILTER (WHERE recent.late) AS late
    FROM sensor CROSS JOIN LATERAL (
        SELECT extract(epoch FROM ingested_at - event_time)::float8 AS delay, late FROM sensor_data
        WHERE sensor_data.sensor_id = sensor.sensor_id AND sensor_data.gateway_id = sensor.gateway_id
            AND event_time > now() - interval '10 minutes'
        ORDER BY event_time DESC LIMIT 8
    ) AS recent
    GROUP BY sensor.gateway_id
"""

# The losses that were found last, with their bounds in time as far as they are known.
LOSSES = """
    SELECT gateway_id, stream_id, first_seq, last_seq, last_seq - first_seq + 1 AS readings, reason, after_time,
           before_time, detected_at, extract(epoch FROM now() - detected_at)::float8 AS age
    FROM loss ORDER BY detected_at DESC, gateway_id, first_seq LIMIT %(limit)s
"""

LOSS_TOTAL = """
    SELECT count(*) AS holes, least(coalesce(sum(last_seq - first_seq + 1), 0), 9223372036854775807)::bigint AS readings
    FROM loss
"""

NOTIFICATIONS = """
    SELECT count(*) AS waiting, extract(epoch FROM now() - min(created_at))::float8 AS oldest_age,
           coalesce(max(attempts), 0) AS attempts,
           (array_agg(last_error ORDER BY id) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
    FROM alert_notification WHERE sent_at IS NULL
"""
