"""What is shown as CSV: for programs, so the names are the tables', in every language, with the units beside them.

Times are ISO 8601 with their distance to UTC, numbers have a point, and a byte order mark tells spreadsheets that it is
UTF-8.
"""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

import pandas

from vigie_dashboard.quantities import BY_NAME

_UNITS = {
    "coverage": "share",
    "coverage_earlier": "share",
    "warning_share": "share of readings",
    "failure_share": "share of readings",
    "seconds": "s",
    "median_seconds": "s",
    "hour": "local",
    "weekday": "1 = Monday",
}
_STATISTICS = ("avg", "min", "max", "stddev", "avg_earlier", "difference")


def csv(frame: pandas.DataFrame, zone: ZoneInfo, quantity: str | None = None) -> bytes:
    """A frame with its times on the reader's clock; `quantity` is whose average, extremes and so on there are."""
    table = frame.copy()
    for column in table.columns:
        if isinstance(table[column].dtype, pandas.DatetimeTZDtype):
            table[column] = [_iso(moment, zone) for moment in table[column]]
        elif pandas.api.types.is_datetime64_dtype(table[column].dtype):
            table[column] = table[column].dt.strftime("%Y-%m-%dT%H:%M:%S")
    table.columns = [_header(column, quantity) for column in table.columns]
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def series_columns(quantities: Iterable[str]) -> list[str]:
    """Those of a frame of buckets that are shown when some quantities are."""
    columns = ["gateway_id", "sensor_id", "bucket"]
    for quantity in quantities:
        columns += [f"{quantity}_{part}" for part in ("avg", "min", "max", "stddev", "count")]
    return [*columns, "readings", "coverage", "warnings", "failures", "late"]


def _iso(moment: pandas.Timestamp, zone: ZoneInfo) -> str:
    return "" if pandas.isna(moment) else moment.tz_convert(zone).isoformat(timespec="seconds")


def _header(column: str, quantity: str | None) -> str:
    if column == "bucket":
        return "bucket_start"
    if quantity and column in _STATISTICS:
        return f"{quantity}_{column} ({BY_NAME[quantity].unit})"
    for name, known in BY_NAME.items():
        if column.startswith(f"{name}_") and column[len(name) + 1 :] in _STATISTICS:
            return f"{column} ({known.unit})"
    return f"{column} ({_UNITS[column]})" if column in _UNITS else column
