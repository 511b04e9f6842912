"""What a sensor's row means at one moment: pure."""

import pandas

from vigie_dashboard.queries.now import STALE_AT_LEAST, STALE_INTERVALS
from vigie_dashboard.theme import STATUSES


def with_status(sensors: pandas.DataFrame) -> pandas.DataFrame:
    """Adds `status`, `catching_up` and `key`, the worst first."""
    frame = sensors.copy()
    limit = (frame["interval_ms"] * STALE_INTERVALS / 1000).clip(lower=STALE_AT_LEAST.total_seconds())
    is_stale = frame["age"] > limit
    status = pandas.Series("ok", index=frame.index)
    status[(frame["last_status"] == "warning") | (frame["severity"] == "warning")] = "warning"
    status[frame["last_status"] == "failure"] = "failure"
    status[is_stale] = "stale"
    status[frame["severity"] == "critical"] = "critical"
    frame["status"] = status
    frame["is_stale"] = is_stale
    # Old readings arrive just now: a board sends what it has kept.
    frame["catching_up"] = is_stale & (frame["arrival_age"] <= limit)
    frame["key"] = frame["gateway_id"] + "/" + frame["sensor_id"]
    rank = frame["status"].map({name: index for index, name in enumerate(STATUSES)})
    return frame.assign(rank=rank).sort_values(["rank", "gateway_id", "sensor_id"], ignore_index=True)
