"""Periods of time on the reader's clock, and the buckets that they are shown in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pandas

# The buckets to choose from, in seconds. From an hour on they begin on the reader's clock.
BUCKETS = (60, 600, 1800, 3600, 21_600, 86_400)
HOUR, DAY = 3600, 86_400

# More points than that are no line any more, and fewer are no trend.
MOST_POINTS = 1500
_FEWEST_POINTS = 2
# About what a chart shows well.
_WISHED_POINTS = 200

# So many look-ups of windows take the database about a second.
MOST_WINDOWS = 400_000


@dataclass(frozen=True, order=True)
class Sensor:
    gateway: str
    name: str

    @property
    def label(self) -> str:
        return f"{self.gateway} / {self.name}"


@dataclass(frozen=True)
class Grid:
    """A period from `start` to before `end`, cut into buckets that are each put together from windows."""

    start: datetime
    end: datetime
    # Seconds.
    bucket: int
    # The size of the windows, seconds.
    step: int
    # The name of the reader's time zone.
    zone: str

    @property
    def first_window(self) -> datetime:
        """Windows begin at multiples of their size since 1970."""
        step = self.step
        return _from_epoch(-(-self.start.timestamp() // step) * step)

    @property
    def last_window(self) -> datetime:
        """The last one that is over at the end of the period."""
        return _from_epoch((self.end.timestamp() // self.step - 1) * self.step)

    @property
    def windows(self) -> int:
        """How many of one sensor there are."""
        return max(0, round((self.last_window - self.first_window).total_seconds()) // self.step + 1)

    def moved_back(self, days: int) -> "Grid":
        """The same times of day, so many days before, whatever the clock did in between."""
        return replace(
            self,
            start=_days_before(self.start, days, ZoneInfo(self.zone)),
            end=_days_before(self.end, days, ZoneInfo(self.zone)),
        )


def zone_name(zone: tzinfo) -> str:
    """What PostgreSQL calls it."""
    return getattr(zone, "key", "UTC")


def last_days(now: datetime, days: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """From the same time of day, so many days before, up to the minute."""
    end = now.replace(second=0, microsecond=0)
    return _days_before(end, days, zone), end


def bucket_start(moment: datetime, bucket: int, zone: tzinfo) -> datetime:
    """The beginning of the bucket that holds a moment, as the database cuts them."""
    if bucket < HOUR:
        return _from_epoch(moment.timestamp() // bucket * bucket)
    local = moment.astimezone(zone)
    hours = bucket // HOUR
    if hours == 1:
        # The fold stays: of an hour that the clock repeats, each is its own.
        return local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    start = local.replace(hour=local.hour // hours * hours if hours < 24 else 0, minute=0, second=0, microsecond=0)
    return start.replace(fold=0).astimezone(UTC)


def buckets_for(length: timedelta) -> list[int]:
    """The buckets that make a chart of a period."""
    seconds = length.total_seconds()
    fitting = [bucket for bucket in BUCKETS if _FEWEST_POINTS <= seconds / bucket <= MOST_POINTS]
    return fitting or [BUCKETS[0] if seconds < BUCKETS[0] * _FEWEST_POINTS else BUCKETS[-1]]


def usual_bucket(length: timedelta) -> int:
    """The finest that is not too fine."""
    fitting = buckets_for(length)
    return next((bucket for bucket in fitting if length.total_seconds() / bucket <= _WISHED_POINTS), fitting[-1])


def window_size(sizes: pandas.DataFrame, bucket: int, start: datetime, end: datetime) -> int | None:
    """The largest windows that buckets can be put together from and that every chosen sensor has for the period.

    `sizes` has a row for each sensor and size: seconds, first_start, last_start. A size that has been configured only
    since yesterday, or is no longer, is not taken for what lies before or after. None if there is no such size.
    """
    if sizes.empty:
        return None
    by_sensor = ["gateway_id", "sensor_id"]
    slack = pandas.Timedelta(hours=1)
    needed_from = sizes.groupby(by_sensor)["first_start"].transform("min").clip(lower=pandas.Timestamp(start))
    needed_to = sizes.groupby(by_sensor)["last_start"].transform("max").clip(upper=pandas.Timestamp(end))
    size = pandas.to_timedelta(sizes["seconds"], unit="s")
    reaches = (sizes["first_start"] <= needed_from + size + slack) & (sizes["last_start"] + size + slack >= needed_to)
    divides = (sizes["seconds"] > 0) & (bucket % sizes["seconds"].clip(lower=1) == 0)
    sensors = sizes.groupby(by_sensor).ngroups
    counts = sizes[divides & reaches].groupby("seconds").size()
    common = counts[counts == sensors]
    return None if common.empty else int(common.index.max())


def possible_buckets(sizes: pandas.DataFrame, start: datetime, end: datetime) -> list[int]:
    """Those of `buckets_for` that there are windows for."""
    return [bucket for bucket in buckets_for(end - start) if window_size(sizes, bucket, start, end)]


def make_grid(start: datetime, end: datetime, bucket: int, step: int, zone: tzinfo) -> Grid:
    """A grid whose first bucket is whole."""
    return Grid(bucket_start(start, bucket, zone), end, bucket, step, zone_name(zone))


def is_too_much(grid: Grid, sensors: Sequence[Sensor]) -> bool:
    return grid.windows * len(sensors) > MOST_WINDOWS


def _days_before(moment: datetime, days: int, zone: tzinfo) -> datetime:
    local = moment.astimezone(zone).replace(tzinfo=None) - timedelta(days=days)
    return local.replace(tzinfo=zone).astimezone(UTC)


def _from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
