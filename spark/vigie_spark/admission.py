"""What becomes of each reading of a batch: admitted or known before, its status, late or not. No input or output.

Columns are walked by numpy; Python loops go over runs of numbers and over sensors, not over readings.
"""

import dataclasses
import hashlib
import struct
from collections.abc import Sequence

import numpy

from .decoding import Batch
from .quantities import AGGREGATED, AGGREGATED_BITS, NAMES
from .settings import QuantityRule, WindowPolicy
from .streams import REJECTED, StreamProgress, reason_of, united

OK, WARNING, FAILURE = 0, 1, 2
STATUSES = ("ok", "warning", "failure")
# Before every time, and far enough from the smallest number for a difference.
NEVER = -(2**62)


@dataclasses.dataclass
class Sensors:
    """What is known of some sensors, a column each: copies of their rows. Times in milliseconds since 1970."""

    names: list[tuple[str, str]]
    """Gateway and sensor."""
    largest: numpy.ndarray
    """The largest event time; NEVER before the first reading."""
    final_through: numpy.ndarray
    """Windows that end at or before it are final; NEVER before the first reading."""
    quantities: numpy.ndarray
    """A bit for each that it has given."""
    first_event_time: numpy.ndarray
    last_arrival: numpy.ndarray
    interval: numpy.ndarray
    last_commit: numpy.ndarray

    @classmethod
    def unknown(cls, names: list[tuple[str, str]]) -> "Sensors":
        """Sensors that have no rows."""

        def column(value):
            return numpy.full(len(names), value, dtype=numpy.int64)

        return cls(names, column(NEVER), column(NEVER), column(0), column(2**62), column(NEVER), column(0), column(0))


# MARK: Numbers


def first_numbers(batch: Batch, stream_places: dict) -> numpy.ndarray:
    """The smallest number that a batch tells of each of its streams."""
    first = numpy.full(len(batch.streams), 2**62, dtype=numpy.int64)
    numpy.minimum.at(first, batch.readings["stream"], batch.readings["stream_first"])
    for gateway, report in batch.reports:
        for told in report.streams:
            place = stream_places[gateway, told.stream_id]
            first[place] = min(first[place], told.first)
        for gap in report.gaps:
            if gap.ranges:
                place = stream_places[gateway, gap.stream_id]
                first[place] = min(first[place], min(range_[0] for range_ in gap.ranges))
    return first


def named_streams(batch: Batch, stream_places: dict) -> numpy.ndarray:
    """Which streams of a batch a reading or a report names, and not only rejected readings."""
    named = numpy.zeros(len(batch.streams), dtype=bool)
    named[batch.readings["stream"]] = True
    for gateway, report in batch.reports:
        for told in [*report.streams, *(gap for gap in report.gaps if gap.ranges)]:
            named[stream_places[gateway, told.stream_id]] = True
    return named


def note_reports(
    batch: Batch, stream_places: dict, progress: Sequence[StreamProgress], rejected: Sequence[tuple[int, int]] = ()
) -> None:
    """Takes note of what a batch's reports say of streams, and of the numbers of rejected readings.

    `rejected` has numbers of streams that are known otherwise, each with its stream's place. What is rejected says
    nothing of where a stream begins.
    """
    gaps: dict[tuple[int, int], list] = {}
    for gateway, report in batch.reports:
        for told in report.streams:
            progress[stream_places[gateway, told.stream_id]].note(told.first, told.last, told.previous)
        for gap in report.gaps:
            if gap.ranges:
                key = (stream_places[gateway, gap.stream_id], reason_of(gap.reason))
                gaps.setdefault(key, []).extend(gap.ranges)
    for place, number in rejected:
        if number >= progress[place].first:
            gaps.setdefault((place, REJECTED), []).append((number, number))
    # All ranges of a batch together, so that whoever tells the same again and again costs no more than once.
    for (place, reason), ranges in gaps.items():
        progress[place].note_gap(united(ranges), reason)


def admit(batch: Batch, progress: Sequence[StreamProgress]) -> numpy.ndarray:
    """Which readings are admitted, by their numbers; the others were admitted before."""
    readings = batch.readings
    admitted = numpy.zeros(batch.count, dtype=bool)
    if not batch.count:
        return admitted
    # In the order of arrival within each stream, in runs of numbers that follow one another.
    order = numpy.argsort(readings["stream"], kind="stable")
    stream, sequence = readings["stream"][order], readings["sequence"][order]
    stream_first, event_time = readings["stream_first"][order], readings["event_time"][order]
    breaks = (numpy.diff(stream) != 0) | (numpy.diff(sequence) != 1) | (numpy.diff(stream_first) != 0)
    starts = numpy.concatenate([[0], numpy.flatnonzero(breaks) + 1])
    ends = numpy.concatenate([starts[1:], [batch.count]])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        state = progress[stream[start]]
        run_first = int(stream_first[start])
        while start < end:
            whole = None
            if run_first >= state.first:
                first, last = int(sequence[start]), int(sequence[end - 1])
                whole = state.admit_run(first, last, int(event_time[start]), int(event_time[end - 1]))
            if whole is not None:
                admitted[order[start:end]] = whole
                break
            admitted[order[start]] = state.admit(int(sequence[start]), int(event_time[start]), run_first)
            start += 1
    return admitted


# MARK: Numbers that come again


def own_stream(gateway_id: str, stream_id: int, sequence: int, sensor_id: str, event_time: int, values: dict) -> int:
    """The stream that is made for a conflict: the first 64 bits of SHA-256 over what the reading is."""
    lines = [gateway_id, f"{stream_id:016x}", str(sequence), sensor_id, str(event_time)]
    for place, name in enumerate(NAMES):
        if place in values:
            # Adding zero makes of -0 what it is equal to.
            bits = struct.unpack("<Q", struct.pack("<d", values[place] + 0.0))[0]
            lines.append(f"{name} {bits}")
    return int.from_bytes(hashlib.sha256("\n".join(lines).encode()).digest()[:8], "big")


def compare_within(batch: Batch, admitted: numpy.ndarray, cutoff: int) -> tuple[list[int], list[int]]:
    """Compares readings whose numbers were admitted before with those of the batch that were admitted under them.

    Returns those that differ, and those whose reading is older than the batch. Copies of an outbox may estimate times
    differently, and what is older than the retention is not there to be compared: these are duplicates without a look.
    """
    readings = batch.readings
    candidates = numpy.flatnonzero(~admitted & (readings["is_estimated"] == 0) & (readings["event_time"] >= cutoff))
    if not len(candidates):
        return [], []
    streams, sequences = readings["stream"], readings["sequence"]
    near = admitted & numpy.isin(sequences, sequences[candidates]) & numpy.isin(streams, streams[candidates])
    first = {(int(streams[row]), int(sequences[row])): row for row in numpy.flatnonzero(near)}
    conflicts, older = [], []
    for row in candidates.tolist():
        known = first.get((int(streams[row]), int(sequences[row])))
        if known is None:
            older.append(row)
        elif not _is_same(readings, row, known):
            conflicts.append(row)
    return conflicts, older


def _is_same(readings: dict, left: int, right: int) -> bool:
    """Whether two readings with one number are the same: no quantity that both have differs."""
    if any(readings[name][left] != readings[name][right] for name in ("sensor", "event_time")):
        return False
    both = int(readings["quantities"][left] & readings["quantities"][right])
    values = readings["values"]
    return all(values[place, left] == values[place, right] for place in range(len(NAMES)) if both >> place & 1)


# MARK: The centre's opinion


@dataclasses.dataclass
class Judged:
    """The readings that are kept, by sensors and in the order of arrival within each; a column each."""

    rows: numpy.ndarray
    """Their places in the batch."""
    sensor: numpy.ndarray
    """The places of their sensors."""
    status: numpy.ndarray
    is_late: numpy.ndarray
    is_newest: numpy.ndarray
    """Whether no reading of its sensor before it has a larger event time."""
    largest: numpy.ndarray
    """The largest event time of its sensor up to and with it."""


def judge(
    batch: Batch, rows: numpy.ndarray, sensors: Sensors, rules: Sequence[QuantityRule], policy: WindowPolicy
) -> Judged:
    """Judges readings that are kept: their status, and whether they come after their sensors' watermarks."""
    readings = batch.readings
    rows = rows[numpy.argsort(readings["sensor"][rows], kind="stable")]
    sensor, event_time = readings["sensor"][rows], readings["event_time"][rows]
    starts = _starts(sensor)

    bits = readings["quantities"][rows] & AGGREGATED_BITS
    known = _known_before(bits, sensor, starts, sensors.quantities)
    is_failure = (readings["faults"][rows] >= 0) | ((bits & known) != known)
    passes = numpy.zeros(len(rows), dtype=bool)
    for place, rule in enumerate(rules):
        if rule.lowest == -numpy.inf and rule.highest == numpy.inf:
            continue
        value = readings["values"][place, rows]
        has_value = readings["quantities"][rows] >> place & 1
        passes |= (has_value == 1) & ((value > rule.highest) | (value < rule.lowest))
    status = numpy.where(is_failure, FAILURE, numpy.where(passes, WARNING, OK)).astype(numpy.int8)

    before, largest = _running_largest(event_time, sensor, starts, sensors.largest)
    return Judged(
        rows, sensor, status, is_late=event_time < before - policy.lateness, is_newest=event_time >= before,
        largest=largest,
    )  # fmt: skip


def _starts(groups: numpy.ndarray) -> numpy.ndarray:
    """Where each group of equal neighbours begins."""
    return numpy.flatnonzero(numpy.diff(groups, prepend=-1)) if len(groups) else numpy.empty(0, numpy.int64)


def _known_before(bits, sensor, starts, quantities) -> numpy.ndarray:
    """The quantities that the sensor of each row had given before it."""
    known = quantities[sensor]
    if not len(bits):
        return known
    place = numpy.arange(len(bits))
    start = numpy.repeat(starts, numpy.diff(numpy.append(starts, len(bits))))
    for quantity in AGGREGATED:
        # The last row up to each that has the quantity, and whether that is one before it of the same sensor.
        seen = numpy.maximum.accumulate(numpy.where(bits >> quantity & 1, place, -1))
        before = numpy.concatenate([[-1], seen[:-1]])
        known = known | numpy.where(before >= start, 1 << quantity, 0)
    return known


def _running_largest(event_time, sensor, starts, initial) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The largest event time of each row's sensor before it, and with it."""
    if not len(event_time):
        return event_time, event_time
    # One running maximum over all sensors: each lies above the ones before it, as event times are below 2^42 (2109).
    shift = numpy.cumsum(numpy.isin(numpy.arange(len(sensor)), starts)).astype(numpy.int64) << 42
    running = numpy.maximum.accumulate(shift + event_time) - shift
    before = numpy.concatenate([[NEVER], running[:-1]])
    before[starts] = NEVER
    initial = initial[sensor]
    return numpy.maximum(before, initial), numpy.maximum(running, initial)


def advance(sensors: Sensors, judged: Judged, batch: Batch, now: int, commit: numpy.ndarray) -> numpy.ndarray:
    """Moves sensors on by their readings, all but their windows. `commit` has the commit number of each sensor.

    Returns for each sensor the row of its newest reading in `judged`, -1 if there is none.
    """
    readings = batch.readings
    touched = numpy.unique(judged.sensor)
    numpy.minimum.at(sensors.first_event_time, judged.sensor, readings["event_time"][judged.rows])
    numpy.maximum.at(sensors.largest, judged.sensor, judged.largest)
    numpy.bitwise_or.at(
        sensors.quantities, judged.sensor, (readings["quantities"][judged.rows] & AGGREGATED_BITS).astype(numpy.int64)
    )
    sensors.last_arrival[touched] = now
    sensors.last_commit[touched] = commit[touched]
    newest = numpy.full(len(sensors.names), -1, dtype=numpy.int64)
    rows = numpy.flatnonzero(judged.is_newest)
    numpy.maximum.at(newest, judged.sensor[rows], rows)
    has_newest = numpy.flatnonzero(newest >= 0)
    sensors.interval[has_newest] = readings["interval"][judged.rows[newest[has_newest]]]
    return newest
