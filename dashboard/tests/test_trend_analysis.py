"""Periods, rankings, correlations and downloads of the Trend view, without a database."""

import math
import unittest
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy
import pandas

from vigie_dashboard.trend import analysis, period
from vigie_dashboard.trend.download import csv, series_columns

PARIS = ZoneInfo("Europe/Paris")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def buckets(rows: list[dict]) -> pandas.DataFrame:
    """A frame as the query gives it; what a row does not say is missing."""
    columns = ["readings", "warnings", "failures", "late"]
    defaults = {"gateway_id": "home", "sensor_id": "kitchen", "expected_windows": 6, "coverage": 1.0}
    for name in analysis.NAMES:
        columns += [f"{name}_{part}" for part in ("count", "avg", "min", "max", "stddev")]
    made = [{**dict.fromkeys(columns, math.nan), **dict.fromkeys(columns[:4], 0), **defaults, **row} for row in rows]
    for index, row in enumerate(made):
        row.setdefault("bucket", pandas.Timestamp("2026-11-02T00:00Z") + pandas.Timedelta(hours=index))
    return pandas.DataFrame(made)


class Periods(unittest.TestCase):
    def test_a_day_before_is_the_same_time_of_day(self):
        start, end = period.last_days(at("2026-03-29T10:30:12"), 1, PARIS)
        # 12:30 in summer time, and 12:30 in winter time: 23 hours.
        self.assertEqual((start, end), (at("2026-03-28T11:30"), at("2026-03-29T10:30")))

    def test_buckets_begin_on_the_readers_clock(self):
        moment = at("2026-10-25T01:40")
        for bucket, begin in ((600, "01:40"), (1800, "01:30"), (3600, "01:00")):
            self.assertEqual(period.bucket_start(moment, bucket, PARIS), at(f"2026-10-25T{begin}"), bucket)
        # 02:40 after the clocks went back: the day began at 22:00 UTC.
        self.assertEqual(period.bucket_start(moment, 86_400, PARIS), at("2026-10-24T22:00"))
        self.assertEqual(period.bucket_start(at("2026-11-02T12:00"), 21_600, PARIS), at("2026-11-02T11:00"))

    def test_a_chart_has_neither_too_many_nor_too_few_points(self):
        self.assertEqual(period.usual_bucket(timedelta(days=1)), 600)
        self.assertEqual(period.usual_bucket(timedelta(days=7)), 3600)
        self.assertEqual(period.usual_bucket(timedelta(days=30)), 21_600)
        self.assertEqual(period.buckets_for(timedelta(days=365)), [21_600, 86_400])
        for days in (1, 2, 7, 30, 365, 1000):
            for bucket in period.buckets_for(timedelta(days=days)):
                self.assertLessEqual(days * 86_400 / bucket, period.MOST_POINTS)

    def test_windows_of_a_grid_are_whole_and_over(self):
        grid = period.make_grid(at("2026-11-02T10:03"), at("2026-11-02T11:07"), 600, 600, UTC)
        self.assertEqual(grid.first_window, at("2026-11-02T10:00"))
        self.assertEqual(grid.last_window, at("2026-11-02T10:50"))
        self.assertEqual(grid.windows, 6)


class Analysis(unittest.TestCase):
    def test_pooled_is_what_all_readings_give(self):
        groups = [[1.0, 2.0, 3.0], [10.0], [4.0, 8.0]]
        rows = [
            {
                "temperature_count": len(group),
                "temperature_avg": numpy.mean(group),
                "temperature_min": min(group),
                "temperature_max": max(group),
                "temperature_stddev": numpy.std(group, ddof=1) if len(group) > 1 else math.nan,
            }
            for group in groups
        ]
        found = analysis.pooled(buckets([*rows, {}]), "temperature")
        everything = [value for group in groups for value in group]
        self.assertEqual((found["count"], found["min"], found["max"]), (6, 1, 10))
        self.assertAlmostEqual(found["avg"], numpy.mean(everything))
        self.assertAlmostEqual(found["stddev"], numpy.std(everything, ddof=1))

    def test_ranking_puts_the_highest_first_and_what_has_no_value_last(self):
        rows = [
            {"sensor_id": name, "readings": 4, "failures": 1, "co2_count": count, "co2_avg": value, "co2_stddev": 1.0}
            for name, count, value in (("a", 3, 500.0), ("b", 0, math.nan), ("c", 3, 900.0))
        ]
        ranked = analysis.ranking(buckets(rows), "co2")
        self.assertEqual(list(ranked["sensor_id"]), ["c", "a", "b"])
        self.assertEqual(list(ranked["failure_share"]), [0.25] * 3)

    def test_correlation_is_within_each_sensor(self):
        # In each sensor, humidity falls as temperature rises; the warmer sensor is the more humid one.
        rows = [
            {"sensor_id": name, "temperature_avg": level + step, "humidity_avg": 3 * level - step}
            for name, level in (("a", 10.0), ("b", 20.0))
            for step in range(6)
        ]
        rows.append({"sensor_id": "b", "temperature_avg": 1000.0, "humidity_avg": 1000.0, "coverage": 0.4})
        r, n = analysis.correlations(analysis.deviations(buckets(rows)))
        self.assertAlmostEqual(r.loc["temperature", "humidity"], -1)
        self.assertEqual(n.loc["temperature", "humidity"], 12)
        self.assertNotIn("co2", r.index)

    def test_a_coefficient_of_too_few_or_of_what_does_not_move_is_none(self):
        few = buckets([{"temperature_avg": float(i), "humidity_avg": float(i)} for i in range(7)])
        still = buckets([{"temperature_avg": float(i), "humidity_avg": 50.0} for i in range(20)])
        for frame, count in ((few, 7), (still, 20)):
            r, n = analysis.correlations(analysis.deviations(frame))
            self.assertTrue(math.isnan(r.loc["temperature", "humidity"]))
            self.assertEqual(n.loc["temperature", "humidity"], count)

    def test_an_hour_that_comes_twice_is_one_moment(self):
        rows = [
            {"bucket": pandas.Timestamp("2026-10-25T00:00Z"), "co2_avg": 400.0, "co2_count": 1},
            {"bucket": pandas.Timestamp("2026-10-25T01:00Z"), "co2_avg": 800.0, "co2_count": 3},
        ]
        earlier = [{"bucket": pandas.Timestamp("2026-10-18T00:00Z"), "co2_avg": 500.0, "co2_count": 1}]
        (row,) = analysis.aligned(buckets(rows), buckets(earlier), "co2", 7, PARIS).to_dict("records")
        self.assertEqual((row["moment"], row["avg"], row["difference"]), (datetime(2026, 10, 25, 2), 700, 200))

    def test_low_coverage_is_of_what_was_expected(self):
        frame = buckets([{"coverage": 0.49}, {"coverage": 0.5}, {"coverage": math.nan, "expected_windows": 0}])
        self.assertEqual(list(analysis.is_low(frame)), [True, False, False])

    def test_names_tell_sensors_apart(self):
        names = analysis.labels([("a", "hall"), ("b", "hall"), ("b", "roof")])
        self.assertEqual(list(names.values()), ["a / hall", "b / hall", "roof"])


class Downloads(unittest.TestCase):
    def test_units_times_and_numbers(self):
        frame = buckets([{"readings": 12, "temperature_avg": 21.5, "temperature_count": 12}])
        text = csv(frame[series_columns(["temperature"])], PARIS).decode("utf-8-sig")
        header, row, end = text.split("\r\n")
        self.assertEqual(
            header,
            "gateway_id,sensor_id,bucket_start,temperature_avg (°C),temperature_min (°C),temperature_max (°C),"
            "temperature_stddev (°C),temperature_count,readings,coverage (share),warnings,failures,late",
        )
        self.assertEqual(row, "home,kitchen,2026-11-02T01:00:00+01:00,21.5,,,,12,12,1.0,0,0,0")
        self.assertEqual(end, "")

    def test_unit_of_a_ranking(self):
        frame = pandas.DataFrame({"sensor_id": ["a"], "avg": [600.0], "failure_share": [0.1]})
        text = csv(frame, PARIS, "co2").decode("utf-8-sig")
        self.assertEqual(text, "sensor_id,avg,failure_share\r\n".replace("avg", "co2_avg (ppm)").replace(
            "failure_share", "failure_share (share of readings)") + "a,600.0,0.1\r\n")  # fmt: skip


if __name__ == "__main__":
    unittest.main()
