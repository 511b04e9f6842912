"""Reads and writes rows of windows."""

import dataclasses
from collections.abc import Mapping

import numpy
import psycopg

from . import tables
from .alert_rows import columns_of
from .quantities import AGGREGATED_NAMES
from .retention import Cutoff
from .settings import WindowPolicy
from .windows import SUMS, Outlook, Totals, joined, merged


class WindowRows:
    """The windows that a transaction has to do with."""

    def __init__(self, connection: psycopg.Connection, policy: WindowPolicy, now: int, commits: Mapping[str, int]):
        """`commits` has the number of this commit for each gateway that is locked."""
        self._connection = connection
        self._policy = policy
        self._now = now
        self._commits = commits
        self.count = 0
        """How many were written."""

    def settle(self, names: list[tuple[str, str]], stand: Outlook, panes: Totals | None, kept_since: Cutoff) -> None:
        """Brings the rows of windows to where the sensors stand.

        Args:
            panes: what the transaction's readings add; None for nothing.
        """
        self._reopen(names, stand)
        parts = [stand.windows(panes, is_earlier=False)] if panes is not None else []
        ranges = [(*names[place], since, until, self._commits[names[place][0]], place)
                  for place, since, until in stand.earlier_ranges()]  # fmt: skip
        if ranges:
            parts.append(stand.windows(self._panes(ranges), is_earlier=True))
        parts = [part for part in parts if len(part)]
        if parts:
            windows = joined(parts) if len(parts) > 1 else merged(parts[0])
            is_kept = windows.start >= max(kept_since.readings, kept_since.windows)
            windows = windows.take(numpy.flatnonzero(is_kept))
            has_row = stand.has_row(windows)
            missing = self._fold(names, stand, windows.take(numpy.flatnonzero(has_row)))
            self._save(names, stand, windows.take(numpy.flatnonzero(~has_row)))
            if len(missing):
                self._recompute(names, stand, missing)
        self._finish(names, stand)

    def _reopen(self, names, stand: Outlook) -> None:
        rows = [
            (names[place][1], names[place][0], specification.size, int(stand.final[place]) - specification.size)
            for place in numpy.flatnonzero(stand.is_reopened).tolist()
            for specification in self._policy.specifications
        ]
        if rows:
            self._connection.execute(tables.REOPEN_WINDOWS, (self._now, *columns_of(rows)))

    def _finish(self, names, stand: Outlook) -> None:
        rows = [
            (names[place][1], names[place][0], specification.size,
             max(int(stand.final[place]), 0) - specification.size, int(stand.final_after[place]) - specification.size,
             self._commits[names[place][0]])
            for place in numpy.flatnonzero(stand.final_after > stand.final).tolist()
            for specification in self._policy.specifications
        ]  # fmt: skip
        if rows:
            self._connection.execute(tables.FINISH_WINDOWS, (self._now, *columns_of(rows)))

    def _panes(self, ranges: list[tuple]) -> Totals:
        """The panes of raw rows: of (gateway, sensor, since, until, commit to leave out, place of the sensor)."""
        pane = self._policy.pane
        times = (min(range_[2] for range_ in ranges), max(range_[3] for range_ in ranges))
        columns = columns_of([range_[:5] for range_ in ranges])
        rows = self._connection.execute(tables.PANES, (*columns, pane, *times)).fetchall()
        places = [range_[5] for range_ in ranges]
        values = list(zip(*rows, strict=True)) or [()] * (2 + len(tables.PANE))
        columns = {
            name: numpy.array(column, dtype=numpy.int64 if name.endswith(("_count", "_ms")) else numpy.float64)
            for name, column in zip(tables.PANE, values[2:], strict=True)
        }
        return Totals(
            numpy.array([places[position - 1] for position in values[0]], dtype=numpy.int64),
            numpy.full(len(rows), pane, dtype=numpy.int64), numpy.array(values[1], dtype=numpy.int64), columns,
        )  # fmt: skip

    def _parameters(self, names, stand: Outlook, windows: Totals, revision: numpy.ndarray) -> list[list]:
        """A column for each of `tables.WINDOW`."""
        sensors = [names[place] for place in windows.sensor.tolist()]
        columns = {
            "sensor_id": [sensor for _, sensor in sensors], "gateway_id": [gateway for gateway, _ in sensors],
            "window_size": windows.size.tolist(), "window_start": windows.start.tolist(),
            "is_final": (windows.end <= stand.final_after[windows.sensor]).tolist(), "revision": revision.tolist(),
            "commit_number": [self._commits[gateway] for gateway, _ in sensors],
        }  # fmt: skip
        for name in SUMS:
            columns[name] = windows.columns[name].tolist()
        for name in AGGREGATED_NAMES:
            count = windows.columns[f"{name}_count"]
            columns[f"{name}_count"] = count.tolist()
            for statistic in ("avg", "min", "max"):
                columns[f"{name}_{statistic}"] = _where(windows.columns[f"{name}_{statistic}"], count > 0)
            columns[f"{name}_stddev"] = _where(windows.deviation(name), count > 1)
        return [columns[name] for name in tables.WINDOW]

    def _fold(self, names, stand: Outlook, windows: Totals) -> Totals:
        """Folds windows into their rows; those that stay final get a revision. Returns those that cannot be folded."""
        if not len(windows):
            return windows
        is_late = windows.end <= stand.final[windows.sensor]
        parameters = self._parameters(names, stand, windows, is_late.astype(numpy.int32))
        folded = numpy.zeros(len(windows), dtype=bool)
        for (position,) in self._connection.execute(tables.FOLD_WINDOWS, (self._now, *parameters)):
            folded[position - 1] = True
        self.count += int(folded.sum())
        return windows.take(numpy.flatnonzero(~folded))

    def _save(self, names, stand: Outlook, windows: Totals) -> None:
        if len(windows):
            parameters = self._parameters(names, stand, windows, numpy.zeros(len(windows), dtype=numpy.int32))
            self._connection.execute(tables.SAVE_WINDOWS, (self._now, *parameters))
            self.count += len(windows)

    def _recompute(self, names, stand: Outlook, windows: Totals) -> None:
        """Computes windows from raw rows, those of the transaction included."""
        ranges = [
            (*names[place], start, start + size, -1, row)
            for row, (place, start, size) in enumerate(
                zip(windows.sensor.tolist(), windows.start.tolist(), windows.size.tolist(), strict=True))
        ]  # fmt: skip
        panes = self._panes(ranges)
        rows = panes.sensor
        whole = dataclasses.replace(
            panes, sensor=windows.sensor[rows], size=windows.size[rows], start=windows.start[rows]
        )
        self._save(names, stand, merged(whole))


def _where(values: numpy.ndarray, is_there: numpy.ndarray) -> list:
    return [value if there else None for value, there in zip(values.tolist(), is_there.tolist(), strict=True)]
