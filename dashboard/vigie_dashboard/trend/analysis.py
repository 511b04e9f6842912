"""What is worked out from buckets: sums over sensors and periods, rankings, comparisons and correlations."""

from collections.abc import Sequence
from itertools import combinations
from zoneinfo import ZoneInfo

import numpy
import pandas

from vigie_dashboard.quantities import QUANTITIES

SENSOR = ["gateway_id", "sensor_id"]
NAMES = [quantity.name for quantity in QUANTITIES]

# A bucket with less than that of its readings is shown as one that says little.
LOW_COVERAGE = 0.5
# Two numbers always lie on a line; a coefficient of so few says nothing.
FEWEST_PAIRS = 8


def is_low(frame: pandas.DataFrame) -> pandas.Series:
    """Buckets with too few readings, or with none. What was before a sensor's first reading is owed by nobody."""
    return (frame["expected_windows"] > 0) & (frame["coverage"].fillna(0) < LOW_COVERAGE)


def coverage(frame: pandas.DataFrame) -> float:
    """That of all buckets together; not a number if nothing was expected."""
    expected = frame["expected_windows"].sum()
    return float((frame["coverage"].fillna(0) * frame["expected_windows"]).sum() / expected) if expected else numpy.nan


def pooled(frame: pandas.DataFrame, quantity: str) -> dict[str, float]:
    """Count, average, extremes and standard deviation of all readings in some buckets, as if read one by one."""
    rows = frame[frame[f"{quantity}_count"].fillna(0) > 0]
    counts = rows[f"{quantity}_count"].to_numpy(float)
    averages = rows[f"{quantity}_avg"].to_numpy(float)
    count = counts.sum()
    if count == 0:
        return {"count": 0, "avg": numpy.nan, "min": numpy.nan, "max": numpy.nan, "stddev": numpy.nan}
    average = (counts * averages).sum() / count
    deviations = rows[f"{quantity}_stddev"].fillna(0).to_numpy(float)
    squares = ((counts - 1) * deviations**2 + counts * (averages - average) ** 2).sum()
    return {
        "count": int(count),
        "avg": float(average),
        "min": float(rows[f"{quantity}_min"].min()),
        "max": float(rows[f"{quantity}_max"].max()),
        "stddev": float(numpy.sqrt(squares / (count - 1))) if count > 1 else numpy.nan,
    }


def ranking(frame: pandas.DataFrame, quantity: str) -> pandas.DataFrame:
    """A row a sensor, the highest average first; those without the quantity last."""
    rows = []
    for (gateway, sensor), group in frame.groupby(SENSOR, sort=True):
        readings = int(group["readings"].sum())
        rows.append(
            {
                "gateway_id": gateway,
                "sensor_id": sensor,
                **pooled(group, quantity),
                "coverage": coverage(group),
                "readings": readings,
                "warning_share": group["warnings"].sum() / readings if readings else numpy.nan,
                "failure_share": group["failures"].sum() / readings if readings else numpy.nan,
            }
        )
    columns = [*SENSOR, "count", "avg", "min", "max", "stddev"]
    columns += ["coverage", "readings", "warning_share", "failure_share"]
    ranked = pandas.DataFrame(rows, columns=columns)
    return ranked.sort_values(["avg", *SENSOR], ascending=[False, True, True], na_position="last", ignore_index=True)


def coverage_by_sensor(frame: pandas.DataFrame) -> pandas.DataFrame:
    """What each sensor's averages rest on."""
    rows = [
        {
            "gateway_id": gateway,
            "sensor_id": sensor,
            "readings": int(group["readings"].sum()),
            "coverage": coverage(group),
            "low_buckets": int(is_low(group).sum()),
            "buckets": int((group["expected_windows"] > 0).sum()),
            "late": int(group["late"].sum()),
            "failures": int(group["failures"].sum()),
        }
        for (gateway, sensor), group in frame.groupby(SENSOR, sort=True)
    ]
    columns = [*SENSOR, "readings", "coverage", "low_buckets", "buckets", "late", "failures"]
    return pandas.DataFrame(rows, columns=columns).sort_values(["coverage", *SENSOR], ignore_index=True)


def aligned(
    current: pandas.DataFrame, earlier: pandas.DataFrame, quantity: str, days: int, zone: ZoneInfo
) -> pandas.DataFrame:
    """Both periods side by side on the clock of the current one, by the same time of the reader's day.

    `moment` is a time on the reader's clock. When that repeats an hour its two averages become one; an hour that the
    clock left out has no counterpart.
    """
    columns = [f"{quantity}_count", f"{quantity}_avg", "coverage", "expected_windows"]

    def by_moment(frame: pandas.DataFrame, shift: pandas.Timedelta) -> pandas.DataFrame:
        moment = frame["bucket"].dt.tz_convert(zone).dt.tz_localize(None).dt.as_unit("us") + shift
        rows = frame[[*SENSOR, *columns]].assign(moment=moment)
        count = rows[f"{quantity}_count"].fillna(0).astype(float)
        covered = rows["coverage"].fillna(0).astype(float) * rows["expected_windows"]
        total = rows[f"{quantity}_avg"].astype(float).fillna(0) * count
        rows = rows.assign(count=count, total=total, covered=covered)
        sums = rows.groupby([*SENSOR, "moment"])[["count", "total", "covered", "expected_windows"]].sum()
        return pandas.DataFrame(
            {
                "avg": sums["total"] / sums["count"].where(sums["count"] > 0),
                "count": sums["count"],
                "coverage": sums["covered"] / sums["expected_windows"].where(sums["expected_windows"] > 0),
            }
        )

    both = by_moment(current, pandas.Timedelta(0)).join(
        by_moment(earlier, pandas.Timedelta(days=days)), how="left", suffixes=("", "_earlier")
    )
    return both.assign(difference=both["avg"] - both["avg_earlier"]).reset_index()


def differences(current: pandas.DataFrame, earlier: pandas.DataFrame, quantity: str) -> pandas.DataFrame:
    """The averages of both periods, sensor by sensor, the largest difference first."""
    columns = [*SENSOR, "avg", "coverage"]
    both = ranking(current, quantity)[columns].merge(
        ranking(earlier, quantity)[columns], on=SENSOR, how="left", suffixes=("", "_earlier")
    )
    both["difference"] = both["avg"] - both["avg_earlier"]
    return both.sort_values(
        "difference", key=lambda column: column.abs(), ascending=False, na_position="last", ignore_index=True
    )


def deviations(frame: pandas.DataFrame, least_coverage: float = LOW_COVERAGE) -> pandas.DataFrame:
    """The buckets' averages about each sensor's own average, so that two places that differ do not pass for two
    quantities that move together. Buckets with less than `least_coverage` are left out."""
    rows = frame[frame["coverage"].fillna(0) >= least_coverage]
    averages = rows[[f"{name}_avg" for name in NAMES]].astype(float)
    averages.columns = NAMES
    centred = averages - averages.groupby([rows["gateway_id"], rows["sensor_id"]]).transform("mean")
    return pandas.concat([rows[[*SENSOR, "bucket"]], centred], axis=1)


def correlations(frame: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Pearson's r of every two quantities of `deviations`, and from how many buckets. Not a number where there are too
    few, or where a quantity does not move at all."""
    names = [name for name in NAMES if frame[name].notna().any()]
    r = pandas.DataFrame(numpy.nan, index=names, columns=names)
    n = pandas.DataFrame(0, index=names, columns=names)
    for name in names:
        n.loc[name, name] = int(frame[name].notna().sum())
    for first, second in combinations(names, 2):
        pairs = frame[[first, second]].dropna()
        n.loc[first, second] = n.loc[second, first] = len(pairs)
        if len(pairs) >= FEWEST_PAIRS and (pairs.std() > 1e-9).all():
            r.loc[first, second] = r.loc[second, first] = pairs[first].corr(pairs[second])
    return r, n


def week(frame: pandas.DataFrame, value: str, fill: float = numpy.nan) -> pandas.DataFrame:
    """A value by weekday (a row from 0, Monday, to 6) and hour (a column from 0 to 23)."""
    table = frame.pivot_table(index="weekday", columns="hour", values=value, aggfunc="sum", min_count=1)
    table = table.astype(float).reindex(index=range(1, 8), columns=range(24))
    table.index = range(7)
    return table if numpy.isnan(fill) else table.fillna(fill)


def failure_shares(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The share of readings that failed, where there were readings."""
    readings = week(frame, "readings")
    return week(frame, "failures") / readings.where(readings > 0)


def labels(sensors: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What to call each sensor: its own name, with its gateway's where that is needed to tell two apart."""
    names = [name for _, name in sensors]
    return {
        (gateway, name): f"{gateway} / {name}" if names.count(name) > 1 else name or gateway
        for gateway, name in sensors
    }
