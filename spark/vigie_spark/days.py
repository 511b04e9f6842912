"""The partitions of `sensor_data`: which ones a batch needs. `PartitionSpan` of the Swift package says the same."""

import datetime
from collections.abc import Iterable

DAY = 86_400_000
# Only what lies so many days in the past as a whole is put together to years and months.
_LEAST_AGES = (("year", 730), ("month", 40), ("day", None))


def _span(length: str, day: int) -> tuple[int, int, str]:
    """The days of a span, the end excluded, and its partition's name."""
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    match length:
        case "year":
            first, until, name = (
                date.replace(month=1, day=1),
                date.replace(year=date.year + 1, month=1, day=1),
                f"{date:%Y}",
            )
        case "month":
            first = date.replace(day=1)
            until, name = (first + datetime.timedelta(days=31)).replace(day=1), f"{date:%Y%m}"
        case _:
            first, until, name = date, date + datetime.timedelta(days=1), f"{date:%Y%m%d}"
    epoch = datetime.date(1970, 1, 1)
    return (first - epoch).days, (until - epoch).days, f"sensor_data_{name}"


def missing_spans(days: Iterable[int], today: int, existing: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """The partitions to make so that each of some days since 1970 has one: first day, end, name."""
    existing, spans = list(existing), []
    for day in sorted(days):
        if any(first <= day < until for first, until in existing):
            continue
        for length, least_age in _LEAST_AGES:
            first, until, name = _span(length, day)
            is_free = not any(first < other_until and other < until for other, other_until in existing)
            if least_age is None or (today - until >= least_age and is_free):
                existing.append((first, until))
                spans.append((first, until, name))
                break
    return spans


def written(day: int) -> str:
    """The beginning of a day since 1970, as a bound of a partition."""
    return f"{datetime.date(1970, 1, 1) + datetime.timedelta(days=day)}T00:00:00.000Z"
