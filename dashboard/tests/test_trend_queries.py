"""What the Trend view reads, against what is worked out by hand."""

import unittest
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas
import psycopg

from vigie_dashboard.database import Database
from vigie_dashboard.queries import trend as queries
from vigie_dashboard.trend.analysis import aligned, coverage, failure_shares
from vigie_dashboard.trend.period import Sensor, make_grid, window_size
from vigie_harness.dashboard.application import scratch_database

PARIS = ZoneInfo("Europe/Paris")
KITCHEN = Sensor("home", "kitchen")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TrendQueries(unittest.TestCase):
    def setUp(self):
        address = self.enterContext(scratch_database())
        self.connection = self.enterContext(psycopg.connect(address, autocommit=True))
        self.database = Database(address)
        self.addCleanup(self.database.close)

    def read(self, query, *arguments):
        with self.database.read() as reader:
            return query(reader, *arguments)

    def sensor(self, first: str, sensor: Sensor = KITCHEN):
        self.connection.execute(
            "INSERT INTO sensor (gateway_id, sensor_id, first_event_time, last_event_time, last_arrival, final_through,"
            " quantities, interval_ms, last_status, time_quality, simulated)"
            " VALUES (%s, %s, %s, now(), now(), now(), 1, 60000, 'ok', 'synced', false)",
            (sensor.gateway, sensor.name, at(first)),
        )

    def window(self, start: str | datetime, size: str = "10 min", count: int = 10, sensor: Sensor = KITCHEN, **others):
        begin = at(start) if isinstance(start, str) else start
        values = {"coverage": 1.0, "warning_count": 0, "failure_count": 0, "late_count": 0, **others}
        columns = ", ".join(values)
        self.connection.execute(
            "INSERT INTO sensor_data_agg (sensor_id, gateway_id, window_size, window_start, window_end, reading_count,"
            f" revision, is_final, updated_at, {columns}) VALUES (%s, %s, %s, %s, %s::timestamptz + %s::interval, %s,"
            f" 0, true, now(), {', '.join(['%s'] * len(values))})",
            (sensor.name, sensor.gateway, size, begin, begin, size, count, *values.values()),
        )

    def temperature(self, average, spread=0.0, low=None, high=None):
        return {
            "temperature_avg": average,
            "temperature_stddev": spread,
            "temperature_min": average if low is None else low,
            "temperature_max": average if high is None else high,
        }

    def test_an_average_weighs_each_window_by_its_readings(self):
        self.sensor("2026-11-02T10:00")
        self.window("2026-11-02T10:00", count=10, failure_count=1, **self.temperature(20, 1, 17, 22))
        self.window("2026-11-02T10:10", count=30, warning_count=2, **self.temperature(24, 2, 18, 29))
        # Without a temperature: its readings count, but not for that.
        self.window("2026-11-02T10:20", count=5, coverage=0.5, late_count=3)
        # It slides: the same readings once more.
        self.window("2026-11-02T10:01", count=10, **self.temperature(1000))
        grid = make_grid(at("2026-11-02T10:00"), at("2026-11-02T11:00"), 3600, 600, UTC)
        (row,) = self.read(queries.series, [KITCHEN], grid).to_dict("records")
        self.assertEqual(row["bucket"], at("2026-11-02T10:00"))
        self.assertEqual((row["readings"], row["temperature_count"]), (45, 40))
        self.assertEqual((row["warnings"], row["failures"], row["late"]), (2, 1, 3))
        # (10 * 20 + 30 * 24) / 40
        self.assertAlmostEqual(row["temperature_avg"], 23)
        self.assertEqual((row["temperature_min"], row["temperature_max"]), (17, 29))
        # ((9 * 1 + 29 * 4) + 10 * (20 - 23)^2 + 30 * (24 - 23)^2) / 39
        self.assertAlmostEqual(row["temperature_stddev"], (245 / 39) ** 0.5)
        # Of six windows, three are there, one of them by half.
        self.assertEqual(row["expected_windows"], 6)
        self.assertAlmostEqual(row["coverage"], 2.5 / 6)
        self.assertIsNone(row["humidity_avg"])

    def test_a_bucket_without_windows_is_there_and_empty(self):
        self.sensor("2026-11-02T10:00")
        self.window("2026-11-02T12:00", **self.temperature(20))
        grid = make_grid(at("2026-11-02T09:00"), at("2026-11-02T13:00"), 3600, 600, UTC)
        frame = self.read(queries.series, [KITCHEN], grid)
        self.assertEqual(list(frame["readings"]), [0, 0, 0, 10])
        # Before its first reading nothing was owed.
        self.assertEqual(list(frame["expected_windows"]), [0, 6, 6, 6])
        self.assertTrue(pandas.isna(frame["coverage"][0]))
        self.assertEqual(list(frame["coverage"][1:3]), [0, 0])
        self.assertAlmostEqual(coverage(frame), 1 / 18)

    def test_days_are_the_readers_when_the_clocks_change(self):
        self.sensor("2026-01-01T00:00")
        for first, hours in (("2026-03-28T23:00", 23), ("2026-10-24T22:00", 25)):
            with self.subTest(hours):
                begin = at(first)
                for hour in range(hours):
                    self.window(begin + timedelta(hours=hour), "1 h", 1, **self.temperature(hour))
                end = begin + timedelta(hours=hours)
                by_day = self.read(queries.series, [KITCHEN], make_grid(begin, end, 86_400, 3600, PARIS))
                self.assertEqual(list(by_day["bucket"]), [begin])
                self.assertEqual(by_day["readings"][0], hours)
                self.assertEqual(by_day["expected_windows"][0], hours)
                self.assertAlmostEqual(by_day["temperature_avg"][0], (hours - 1) / 2)
                # An hour that comes twice stays two, one that is left out is none.
                by_hour = self.read(queries.series, [KITCHEN], make_grid(begin, end, 3600, 3600, PARIS))
                self.assertEqual(list(by_hour["bucket"]), [begin + timedelta(hours=hour) for hour in range(hours)])
                # Quarters of the day: the first is an hour shorter or longer.
                by_quarter = self.read(queries.series, [KITCHEN], make_grid(begin, end, 21_600, 3600, PARIS))
                self.assertEqual(list(by_quarter["readings"]), [hours - 18, 6, 6, 6])

    def test_the_week_before_is_aligned_by_the_readers_clock(self):
        self.sensor("2026-01-01T00:00")
        # Noon in Paris on Monday 23 March (UTC+1) and on Monday 30 March (UTC+2).
        self.window("2026-03-23T11:00", "1 h", 2, **self.temperature(18))
        self.window("2026-03-30T10:00", "1 h", 2, **self.temperature(21))
        grid = make_grid(at("2026-03-29T22:00"), at("2026-03-30T22:00"), 3600, 3600, PARIS)
        earlier_grid = grid.moved_back(7)
        self.assertEqual((earlier_grid.start, earlier_grid.end), (at("2026-03-22T23:00"), at("2026-03-23T23:00")))
        current = self.read(queries.series, [KITCHEN], grid)
        earlier = self.read(queries.series, [KITCHEN], earlier_grid)
        both = aligned(current, earlier, "temperature", 7, PARIS).dropna(subset=["avg"])
        (row,) = both.to_dict("records")
        self.assertEqual(row["moment"], datetime(2026, 3, 30, 12))
        self.assertEqual((row["avg"], row["avg_earlier"], row["difference"]), (21, 18, 3))

    def test_the_size_of_windows_is_the_largest_that_reaches_as_far(self):
        self.sensor("2026-11-01T00:00")
        for hour in range(48):
            self.window(at("2026-11-01T00:00") + timedelta(hours=hour))
            self.window(at("2026-11-01T00:00") + timedelta(hours=hour), "1 min")
            if hour >= 24:
                self.window(at("2026-11-01T00:00") + timedelta(hours=hour), "1 h")
        sizes = self.read(queries.window_sizes, [KITCHEN])
        self.assertEqual(list(sizes["seconds"]), [60, 600, 3600])
        self.assertEqual(sizes["first_start"][2], at("2026-11-02T00:00"))
        end = at("2026-11-02T23:30")
        self.assertEqual(window_size(sizes, 3600, at("2026-11-02T00:00"), end), 3600)
        # Windows of an hour have been made only since the second day.
        self.assertEqual(window_size(sizes, 3600, at("2026-11-01T00:00"), end), 600)
        # 10 minutes do not divide one.
        self.assertEqual(window_size(sizes, 60, at("2026-11-02T00:00"), end), 60)
        self.assertIsNone(window_size(sizes, 30, at("2026-11-02T00:00"), end))
        self.assertIsNone(window_size(self.read(queries.window_sizes, [Sensor("home", "attic")]), 60, end, end))

    def test_failures_by_hour_of_the_readers_week(self):
        self.sensor("2026-11-01T00:00")
        # Monday 00:10 in Paris is Sunday in UTC.
        self.window("2026-11-01T23:10", count=10, failure_count=3)
        self.window("2026-11-08T23:20", count=20)
        grid = make_grid(at("2026-11-01T23:00"), at("2026-11-09T23:00"), 3600, 600, PARIS)
        hours = self.read(queries.failure_hours, [KITCHEN], grid)
        shares = failure_shares(hours)
        self.assertAlmostEqual(shares.loc[0, 0], 3 / 30)
        self.assertEqual(int(shares.notna().to_numpy().sum()), 1)

    def alert(self, number, sensor, kind, opened, minutes=None, gateway="home", severity="warning", variable="co2"):
        self.connection.execute(
            "INSERT INTO alert (id, gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at,"
            " closed_at, detail, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '', now())",
            (number, gateway, sensor, kind, variable, severity, at(opened), at(opened),
             None if minutes is None else at(opened) + timedelta(minutes=minutes)),
        )  # fmt: skip

    def test_alerts_by_time_cause_sensor_and_hour(self):
        self.alert(1, "kitchen", "threshold", "2026-11-02T10:05", 10)
        self.alert(2, "kitchen", "threshold", "2026-11-02T10:55", 30, severity="critical")
        self.alert(3, "kitchen", "silence", "2026-11-02T11:00", variable="")
        self.alert(4, "", "loss", "2026-11-02T11:30", 5, variable="0011223344556677")
        self.alert(5, "hall", "threshold", "2026-11-02T11:30", 5, gateway="office")
        # The period ends before it.
        self.alert(6, "attic", "threshold", "2026-11-02T12:00", 5)
        grid = make_grid(at("2026-11-02T10:00"), at("2026-11-02T12:00"), 3600, 600, PARIS)
        now = at("2026-11-02T13:00")

        def alerts(chosen, part):
            return self.read(lambda reader: getattr(queries.Alerts(reader, chosen, grid, now), part)())

        in_time = alerts([KITCHEN], "in_time")
        self.assertEqual(
            list(in_time.itertuples(index=False, name=None)),
            [
                (pandas.Timestamp("2026-11-02T10:00Z"), "threshold", "critical", 1),
                (pandas.Timestamp("2026-11-02T10:00Z"), "threshold", "warning", 1),
                (pandas.Timestamp("2026-11-02T11:00Z"), "loss", "warning", 1),
                (pandas.Timestamp("2026-11-02T11:00Z"), "silence", "warning", 1),
            ],
        )
        causes = alerts([KITCHEN], "by_cause").set_index(["kind", "variable"])
        self.assertEqual(causes.loc[("threshold", "co2"), "median_seconds"], 20 * 60)
        self.assertEqual(causes.loc[("threshold", "co2"), "critical"], 1)
        # Still open: two hours up to now.
        self.assertEqual(tuple(causes.loc[("silence", ""), ["still_open", "median_seconds"]]), (1, 7200))
        self.assertEqual(causes.loc[("loss", ""), "alerts"], 1)
        everywhere = alerts(None, "by_sensor")
        self.assertEqual(
            list(everywhere[["gateway_id", "sensor_id", "kind", "alerts"]].itertuples(index=False, name=None)),
            [
                ("home", "kitchen", "silence", 1),
                ("home", "kitchen", "threshold", 2),
                ("home", "", "loss", 1),
                ("office", "hall", "threshold", 1),
            ],
        )
        # Monday, 11 and 12 o'clock in Paris.
        hours = alerts(None, "by_hour")
        self.assertEqual(list(hours.itertuples(index=False, name=None)), [(1, 11, 2), (1, 12, 3)])
        self.assertTrue(alerts([Sensor("office", "roof")], "in_time").empty)

    def test_losses_that_touch_the_period(self):
        for number, after, before in ((1, "09:00", "10:10"), (2, "11:00", "11:01"), (3, "12:00", "12:30")):
            self.connection.execute(
                "INSERT INTO loss VALUES ('home', '00ff', %s, %s, %s, %s, now())",
                (number * 100, number * 101, at(f"2026-11-02T{after}"), at(f"2026-11-02T{before}")),
            )
        self.connection.execute("INSERT INTO loss VALUES ('office', '00ff', 1, 9, now(), now(), now())")
        self.connection.execute("UPDATE loss SET reason = 'thinned' WHERE first_seq = 200")
        grid = make_grid(at("2026-11-02T10:00"), at("2026-11-02T12:00"), 3600, 600, UTC)
        found = self.read(queries.losses, [KITCHEN], grid, 1)
        # 200 to 202 is more than 100 to 101; both are counted.
        self.assertEqual((list(found["readings"]), list(found["reason"])), ([3], ["thinned"]))
        self.assertEqual((found["holes"][0], found["readings_in_all"][0]), (2, 5))

    def test_retention(self):
        self.assertIsNone(self.read(queries.windows_since))
        self.connection.execute("UPDATE retention SET windows_since = '2026-10-01Z'")
        self.assertEqual(self.read(queries.windows_since), at("2026-10-01T00:00"))


if __name__ == "__main__":
    unittest.main()
