"""Windows against a plain model: each reading in each of its windows. VIGIE_SEED repeats a run."""

import os
import random
import statistics

import numpy
import pytest

from vigie_spark import tables
from vigie_spark.admission import NEVER, Sensors
from vigie_spark.quantities import AGGREGATED_NAMES
from vigie_spark.settings import WindowPolicy, WindowSpecification
from vigie_spark.windows import SUMS, Totals, merged, outlook

pytestmark = pytest.mark.ci

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
POLICY = WindowPolicy((WindowSpecification(600, 60), WindowSpecification(60, 60), WindowSpecification(90, 30)), 300)


def panes(readings: list[tuple[int, int, float]]) -> Totals:
    """The panes of readings: sensor, time and temperature."""
    count = len(readings)
    columns = {name: numpy.ones(count, dtype=numpy.int64) for name in SUMS}
    values = numpy.array([value for _, _, value in readings], dtype=float)
    for name in AGGREGATED_NAMES:
        has = numpy.full(count, int(name == "temperature"), dtype=numpy.int64)
        columns |= {f"{name}_count": has, f"{name}_avg": values, f"{name}_deviations": numpy.zeros(count),
                    f"{name}_min": values, f"{name}_max": values}  # fmt: skip
    sensor = numpy.array([sensor for sensor, _, _ in readings], dtype=numpy.int64)
    start = numpy.array([time for _, time, _ in readings], dtype=numpy.int64) // POLICY.pane * POLICY.pane
    return merged(Totals(sensor, numpy.full(count, POLICY.pane, dtype=numpy.int64), start, columns))


def test_windows_are_the_sums_of_their_readings():
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(50):
        readings = [(chance.randrange(3), 10_000 + chance.randrange(1500), chance.uniform(-1e6, 1e6))
                    for _ in range(chance.randrange(1, 60))]  # fmt: skip
        before = Sensors.unknown([("g", str(place)) for place in range(3)])
        stand = outlook(POLICY, before, numpy.ones(3, dtype=bool))
        stand.largest = numpy.array([max((time for sensor, time, _ in readings if sensor == place), default=NEVER)
                                     for place in range(3)])  # fmt: skip
        windows = stand.windows(panes(readings), is_earlier=False)
        expected: dict[tuple[int, int, int], list[float]] = {}
        for sensor, time, value in readings:
            for specification in POLICY.specifications:
                due = stand.largest[sensor] // specification.slide * specification.slide + specification.slide
                first = time // specification.slide * specification.slide + specification.slide
                for end in range(first, first + specification.size, specification.slide):
                    if end <= due:
                        key = (sensor, specification.size, end - specification.size)
                        expected.setdefault(key, []).append(value)
        keys = list(zip(windows.sensor.tolist(), windows.size.tolist(), windows.start.tolist(), strict=True))
        assert sorted(keys) == sorted(expected)
        deviations = windows.deviation("temperature")
        for row, key in enumerate(keys):
            values = expected[key]
            mean = windows.columns["temperature_avg"][row]
            assert windows.columns["reading_count"][row] == len(values)
            assert windows.columns["temperature_min"][row] == min(values)
            assert windows.columns["temperature_max"][row] == max(values)
            assert abs(mean - statistics.fmean(values)) <= 1e-9 * max(1, abs(mean))
            if len(values) > 1:
                assert abs(deviations[row] - statistics.stdev(values)) <= 1e-6 * max(1, abs(mean))


def test_tokens_say_whose_windows_have_their_rows():
    policies = [
        WindowPolicy(tuple(WindowSpecification(*pair) for pair in pairs), 600_000)
        for pairs in (
            [(600_000, 60_000), (60_000, 60_000)],
            [(600_000, 60_000)],
            [(600_000, 120_000)],
            [(60_000, 60_000)],
        )
    ]
    assert len({policy.fingerprint for policy in policies}) == len(policies)
    turned = WindowPolicy(policies[0].specifications[::-1], 1)
    assert turned.fingerprint == policies[0].fingerprint
    for policy in policies:
        token = tables.new_token(policy.fingerprint)
        assert -(2**63) < token < 0 and tables.new_token(policy.fingerprint) != token
        for other in policies:
            assert tables.is_trusted(token, other.fingerprint) == (other is policy)
        # Windows that are held back, and the processor's.
        assert not tables.is_trusted(-token, policy.fingerprint)
