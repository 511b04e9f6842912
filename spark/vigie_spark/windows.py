"""Windows without panes in memory: what a batch adds to which windows, and what else has become due.

No input or output.

Panes and windows are columns: one row a pane, or a window, of a sensor. Two rows of statistics merge into one by the
formula of Chan, Golub and LeVeque, so a batch is added up to panes, panes to windows, and windows to their rows.

Whoever holds a gateway's row knows from its token how its windows were left (`Trust` in `tables`). If this engine wrote
them, the row of each window that was due holds all readings, so a batch is folded in and no raw row is read, but for a
window that becomes due: it is computed once from the raw rows before the batch. What the processor left may be behind:
all open windows are then computed from raw rows.
"""

import dataclasses

import numpy

from .admission import FAILURE, NEVER, WARNING, Judged, Sensors
from .decoding import Batch
from .quantities import AGGREGATED, AGGREGATED_NAMES, NAMES
from .settings import WindowPolicy

SUMS = ("reading_count", "warning_count", "failure_count", "late_count", "covered_ms")


@dataclasses.dataclass
class Totals:
    """What stretches of event time of sensors add up to, a row each."""

    sensor: numpy.ndarray
    """The places of their sensors."""
    size: numpy.ndarray
    """Milliseconds."""
    start: numpy.ndarray
    """Milliseconds since 1970."""
    columns: dict[str, numpy.ndarray]
    """SUMS; and of each aggregated quantity `_count`, `_avg`, `_deviations` (the sum of the squared ones), `_min` and
    `_max`, which say nothing where the count is 0."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> numpy.ndarray:
        return self.start + self.size

    def take(self, rows: numpy.ndarray) -> "Totals":
        return Totals(self.sensor[rows], self.size[rows], self.start[rows],
                      {name: column[rows] for name, column in self.columns.items()})  # fmt: skip

    def deviation(self, quantity: str) -> numpy.ndarray:
        """The sample standard deviation; NaN for fewer than two values."""
        count = self.columns[f"{quantity}_count"]
        with numpy.errstate(divide="ignore", invalid="ignore"):
            return numpy.where(count > 1, numpy.sqrt(self.columns[f"{quantity}_deviations"] / (count - 1)), numpy.nan)


def joined(parts: list[Totals]) -> Totals:
    """All rows of some totals, those of one stretch added up."""
    both = Totals(
        *(numpy.concatenate([getattr(part, name) for part in parts]) for name in ("sensor", "size", "start")),
        {name: numpy.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )  # fmt: skip
    return merged(both)


def merged(totals: Totals) -> Totals:
    """The same with one row for each stretch of a sensor."""
    if not len(totals):
        return totals
    order = numpy.lexsort((totals.start, totals.size, totals.sensor))
    totals = totals.take(order)
    is_new = numpy.ones(len(totals), dtype=bool)
    is_new[1:] = (numpy.diff(totals.sensor) != 0) | (numpy.diff(totals.size) != 0) | (numpy.diff(totals.start) != 0)
    starts = numpy.flatnonzero(is_new)
    if len(starts) == len(totals):
        return totals
    group = numpy.cumsum(is_new) - 1
    columns = {name: numpy.add.reduceat(totals.columns[name], starts) for name in SUMS}
    for name in AGGREGATED_NAMES:
        count, mean = totals.columns[f"{name}_count"], totals.columns[f"{name}_avg"]
        columns[f"{name}_count"] = number = numpy.add.reduceat(count, starts)
        whole = numpy.add.reduceat(numpy.where(count > 0, count * mean, 0), starts) / numpy.maximum(number, 1)
        spread = totals.columns[f"{name}_deviations"] + count * (mean - whole[group]) ** 2
        columns[f"{name}_avg"] = whole
        columns[f"{name}_deviations"] = numpy.add.reduceat(numpy.where(count > 0, spread, 0), starts)
        for statistic, reduce, nothing in (("min", numpy.minimum, numpy.inf), ("max", numpy.maximum, -numpy.inf)):
            values = numpy.where(count > 0, totals.columns[f"{name}_{statistic}"], nothing)
            columns[f"{name}_{statistic}"] = reduce.reduceat(values, starts)
    return Totals(totals.sensor[starts], totals.size[starts], totals.start[starts], columns)


def floored(times, step: int):
    return times // step * step


def panes_of(batch: Batch, judged: Judged, in_windows: numpy.ndarray, policy: WindowPolicy) -> Totals:
    """The panes that the readings of a batch make, those that windows count."""
    rows = judged.rows[in_windows]
    readings, count = batch.readings, len(rows)
    columns = {
        "reading_count": numpy.ones(count, dtype=numpy.int64),
        "warning_count": (judged.status[in_windows] == WARNING).astype(numpy.int64),
        "failure_count": (judged.status[in_windows] == FAILURE).astype(numpy.int64),
        "late_count": judged.is_late[in_windows].astype(numpy.int64),
        "covered_ms": readings["interval"][rows],
    }
    for place in AGGREGATED:
        value = readings["values"][place, rows]
        columns |= {
            f"{NAMES[place]}_count": (readings["quantities"][rows] >> place & 1).astype(numpy.int64),
            f"{NAMES[place]}_avg": value, f"{NAMES[place]}_deviations": numpy.zeros(count),
            f"{NAMES[place]}_min": value, f"{NAMES[place]}_max": value,
        }  # fmt: skip
    start = floored(readings["event_time"][rows], policy.pane)
    size = numpy.full(count, policy.pane, dtype=numpy.int64)
    return merged(Totals(judged.sensor[in_windows].astype(numpy.int64), size, start, columns))


@dataclasses.dataclass
class Outlook:
    """Where the windows of some sensors stand, before and after a transaction. Times in milliseconds since 1970."""

    policy: WindowPolicy
    largest_before: numpy.ndarray
    final_before: numpy.ndarray
    """Windows that end at or before it were final."""
    final: numpy.ndarray
    """The same once windows are open again that readings of the batch fell into although they were final."""
    final_after: numpy.ndarray
    largest: numpy.ndarray
    is_trusted: numpy.ndarray
    """Whether the row of each window that was due holds all readings before the transaction."""

    def without(self, is_left_out: numpy.ndarray) -> "Outlook":
        """The same with nothing due of some sensors."""

        def never(times: numpy.ndarray) -> numpy.ndarray:
            return numpy.where(is_left_out, NEVER, times)

        return dataclasses.replace(
            self, largest_before=never(self.largest_before), final_before=never(self.final_before),
            final=never(self.final), final_after=never(self.final_after), largest=never(self.largest),
        )  # fmt: skip

    def due(self, largest: numpy.ndarray, slide: int) -> numpy.ndarray:
        """Windows that end at or before it are due: their last slide has begun."""
        return numpy.where(largest == NEVER, NEVER, floored(largest, slide) + slide)

    def written(self, slide: int) -> numpy.ndarray:
        """Windows that end at or before it have rows that hold all readings before the transaction."""
        due = self.due(self.largest_before, slide)
        return numpy.where(self.is_trusted, numpy.maximum(due, self.final_before), self.final_before)

    def through(self, slide: int) -> numpy.ndarray:
        """Windows that end at or before it have rows after the transaction."""
        return numpy.maximum(self.due(self.largest, slide), self.final_after)

    @property
    def is_reopened(self) -> numpy.ndarray:
        return self.final < self.final_before

    def earlier_ranges(self) -> list[tuple[int, int, int]]:
        """Which raw rows before the transaction are needed, for windows that have no row yet: sensors, each with its
        stretch of event time, the end excluded."""
        since = numpy.full(len(self.largest), 2**62, dtype=numpy.int64)
        for specification in self.policy.specifications:
            written, slide = self.written(specification.slide), specification.slide
            # Where nothing is final yet, all that there is.
            first_end = numpy.where(written == NEVER, NEVER, floored(written, slide) + slide)
            start = numpy.where(first_end == NEVER, 0, first_end - specification.size)
            is_due = (first_end <= self.through(slide)) & (start <= self.largest_before)
            since = numpy.minimum(since, numpy.where(is_due, start, 2**62))
        places = numpy.flatnonzero((since < 2**62) & (self.largest_before != NEVER))
        pane = self.policy.pane
        return [
            (place, floored(int(since[place]), pane), int(self.largest_before[place]) + 1) for place in places.tolist()
        ]

    def windows(self, panes: Totals, is_earlier: bool) -> Totals:
        """What panes add to the windows that have rows after the transaction, those of earlier readings only to windows
        whose rows do not hold them."""
        parts = []
        for specification in self.policy.specifications:
            size, slide = specification.size, specification.slide
            through = self.through(slide)[panes.sensor]
            written = self.written(slide)[panes.sensor]
            first_end = floored(panes.start, slide) + slide
            for step in range(size // slide):
                end = first_end + step * slide
                is_meant = end <= through
                if not is_meant.any():
                    break
                if is_earlier:
                    is_meant &= end > written
                rows = numpy.flatnonzero(is_meant)
                sizes = numpy.full(len(rows), size, dtype=numpy.int64)
                parts.append(dataclasses.replace(panes.take(rows), size=sizes, start=end[rows] - size))
        return joined(parts) if parts else panes.take(numpy.empty(0, numpy.int64))

    def has_row(self, windows: Totals) -> numpy.ndarray:
        """Which windows have a row that holds all readings before the transaction."""
        has_row = numpy.zeros(len(windows), dtype=bool)
        for specification in self.policy.specifications:
            rows = numpy.flatnonzero(windows.size == specification.size)
            has_row[rows] = windows.end[rows] <= self.written(specification.slide)[windows.sensor[rows]]
        return has_row


def outlook(
    policy: WindowPolicy, before: Sensors, is_trusted: numpy.ndarray, judged: Judged | None = None,
    event_time: numpy.ndarray | None = None, idle_through: numpy.ndarray | None = None,
) -> Outlook:  # fmt: skip
    """Where windows stand.

    Args:
        before: the sensors as they were.
        judged: the readings of the transaction, with the event time of each.
        idle_through: makes windows final that end at or before it, of sensors that are silent; NEVER for none.
    """
    largest, final = before.largest.copy(), before.final_through.copy()
    if judged is not None and len(judged.rows):
        numpy.maximum.at(largest, judged.sensor, judged.largest)
        # A reading that is not late although its windows are final: its sensor was silent and then sent what it had
        # measured meanwhile, or the lateness was raised. The watermark at the first one opens the windows again.
        opens = numpy.flatnonzero(~judged.is_late & (event_time < before.final_through[judged.sensor]))
        places, first = numpy.unique(judged.sensor[opens], return_index=True)
        final[places] = judged.largest[opens[first]] - policy.lateness
    watermark = numpy.where(largest == NEVER, NEVER, largest - policy.lateness)
    final_after = numpy.maximum(final, watermark)
    if idle_through is not None:
        final_after = numpy.maximum(final_after, idle_through)
    return Outlook(policy, before.largest.copy(), before.final_through.copy(), final, final_after, largest, is_trusted)
