"""Streams and admission against plain models, with random input. VIGIE_SEED repeats a run."""

import os
import random

import numpy
import pyarrow
import pytest

from vigie_spark.admission import Sensors, admit, judge
from vigie_spark.decoding import Batch
from vigie_spark.quantities import AGGREGATED_BITS, QUANTITIES
from vigie_spark.settings import QuantityRule, WindowPolicy, WindowSpecification
from vigie_spark.streams import StreamProgress, united

pytestmark = pytest.mark.ci

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
POLICY = WindowPolicy((WindowSpecification(600, 60), WindowSpecification(60, 60)), lateness=300)


def batch_of(rows: list[dict]) -> Batch:
    def column(name, kind, default=0):
        return numpy.array([row.get(name, default) for row in rows], dtype=kind)

    readings = {
        "stream": column("stream", numpy.int32), "sensor": column("sensor", numpy.int32),
        "faults": column("faults", numpy.int32, -1), "sequence": column("sequence", numpy.int64),
        "stream_first": column("stream_first", numpy.int64, 1), "event_time": column("event_time", numpy.int64),
        "interval": column("interval", numpy.int64, 10), "quantities": column("quantities", numpy.uint32),
        "values": numpy.array([[row.get("value", 0.0) for row in rows]] * len(QUANTITIES)),
    }  # fmt: skip
    streams = [(0, place) for place in range(8)]
    return Batch(0, pyarrow.table({}), ["g"], streams, [(0, f"s{place}") for place in range(8)], ["a:b"], readings,
                 numpy.arange(len(rows)), [], [], [], 0)  # fmt: skip


def facts(progress: StreamProgress) -> tuple:
    return (progress.first, progress.last, progress.last_admitted, progress.last_event_time, progress.end,
            list(progress.losses), progress.losses.numbers, sorted(progress.ranges_to_write()[0]))  # fmt: skip


def test_runs_admit_what_readings_admit_one_by_one():
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(300):
        rows, following = [], [1] * 3
        for time in range(chance.randrange(1, 60)):
            stream = chance.randrange(3)
            kind = chance.random()
            if kind < 0.7:
                sequence = following[stream]
            elif kind < 0.85:
                sequence = following[stream] + chance.randrange(1, 5)
            else:
                sequence = max(1, following[stream] - chance.randrange(1, 8))
            following[stream] = max(following[stream], sequence + 1)
            first = 1 if chance.random() < 0.8 else chance.randint(1, sequence)
            rows.append({"stream": stream, "sequence": sequence, "event_time": time, "stream_first": first})
        start = chance.choice((1, 1, 5))
        # Half of the streams have an end that was told before, and holes of several reasons up to it.
        told = [
            (place, chance.randrange(1, 60), chance.randrange(1, 40)) for place in range(3) if chance.random() < 0.5
        ]
        ours = [StreamProgress(first=start) for _ in range(8)]
        theirs = [StreamProgress(first=start) for _ in range(8)]
        for progress in (ours, theirs):
            for place, end, gap in told:
                progress[place].note(start, max(start, end), (0, 0))
                progress[place].note_gap([(start + gap, start + gap + 3)], 3)
            if start > 1:
                progress[0].note_gap([(start, start + 2)], 5)
        admitted = admit(batch_of(rows), ours)
        expected = [
            theirs[row["stream"]].admit(row["sequence"], row["event_time"], row["stream_first"]) for row in rows
        ]
        assert admitted.tolist() == expected
        assert [facts(progress) for progress in ours] == [facts(progress) for progress in theirs]


def test_streams_are_what_sets_of_numbers_say():
    """A model: which numbers were admitted, and the largest reason that was told of each."""
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(200):
        progress, admitted, reasons, known = StreamProgress(), set(), {}, set()
        for time in range(40):
            number = chance.randint(1, 30)
            match chance.randrange(3):
                case 0:
                    assert progress.admit(number, time) == (number not in admitted)
                    admitted.add(number)
                    known.add(number)
                case 1:
                    ranges = united((first, first + chance.randrange(4)) for first in chance.sample(range(1, 30), 2))
                    reason = chance.randrange(1, 9)
                    progress.note_gap(ranges, reason)
                    for first, last in ranges:
                        known.add(last)
                        for other in range(first, last + 1):
                            reasons[other] = max(reasons.get(other, 0), reason)
                case 2:
                    progress.note(1, number, (0, 0))
                    known.add(number)
            missing = {n: reasons.get(n, 0) for n in range(1, max(known) + 1) if n not in admitted}
            found = {n: loss.reason for loss in progress.losses for n in range(loss.first, loss.last + 1)}
            # A reason that was told of a number holds only while the number is missing.
            assert found == missing
            assert progress.losses.numbers == len(missing)
            for left, right in zip(list(progress.losses), list(progress.losses)[1:], strict=False):
                assert left.last < right.first
            reasons = {n: reason for n, reason in reasons.items() if n not in admitted}


def test_columns_judge_as_a_loop_over_readings_does():
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    rules = (QuantityRule(warning_above=30, critical_below=-5), *[QuantityRule()] * (len(QUANTITIES) - 1))
    for _ in range(200):
        rows = [
            {"sensor": chance.randrange(4), "event_time": 10_000 + chance.randrange(2000),
             "quantities": chance.choice((1, 3, 0b100001)), "faults": chance.choice((-1, -1, -1, 0)),
             "value": chance.choice((20.0, 31.0, -6.0))}
            for _ in range(chance.randrange(1, 50))
        ]  # fmt: skip
        sensors = Sensors.unknown([("g", f"s{place}") for place in range(8)])
        if chance.random() < 0.5:
            sensors.largest[:2], sensors.quantities[:2] = 11_000, 3
        largest, known = sensors.largest.tolist(), sensors.quantities.tolist()
        judged = judge(batch_of(rows), numpy.arange(len(rows)), sensors, rules, POLICY)
        found = {int(row): (int(judged.status[place]), bool(judged.is_late[place]), bool(judged.is_newest[place]))
                 for place, row in enumerate(judged.rows)}  # fmt: skip
        for place, row in enumerate(rows):
            sensor, bits = row["sensor"], row["quantities"] & AGGREGATED_BITS
            is_failure = row["faults"] >= 0 or bits & known[sensor] != known[sensor]
            passes = row["value"] > 30 or row["value"] < -5
            expected = (2 if is_failure else 1 if passes else 0, row["event_time"] < largest[sensor] - POLICY.lateness,
                        row["event_time"] >= largest[sensor])  # fmt: skip
            assert found[place] == expected, (place, row)
            largest[sensor] = max(largest[sensor], row["event_time"])
            known[sensor] |= bits


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([(5, 6), (1, 2)], [(1, 2), (5, 6)]), ([(1, 2), (3, 4)], [(1, 4)]), ([(1, 9), (2, 3)], [(1, 9)])],
)
def test_uniting_ranges(ranges, expected):
    assert united(ranges) == expected
