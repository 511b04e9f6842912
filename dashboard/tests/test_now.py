"""The view `now`: its logic, its queries against a real PostgreSQL, and what it shows."""

import re
import unittest
from datetime import UTC, datetime, timedelta
from unittest import mock

import numpy
import pandas
import psycopg

from vigie_dashboard.charts import places, series
from vigie_dashboard.charts.bounds import value_range
from vigie_dashboard.database import Database
from vigie_dashboard.language import LANGUAGES
from vigie_dashboard.queries import now as queries
from vigie_dashboard.sensor_status import with_status
from vigie_dashboard.theme import DARK, LIGHT
from vigie_dashboard.views.now import bucket_for, in_order
from vigie_harness.dashboard import history
from vigie_harness.dashboard.application import application, scratch_database, small_plan, view_alone

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def html(test) -> str:
    return "\n".join(element.proto.body for element in test.get("html"))


def readings(*minutes: float, interval: int = 60) -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "time": [pandas.Timestamp(NOW) + pandas.Timedelta(minutes=minute) for minute in minutes],
            "key": "g/s",
            "interval_ms": interval * 1000,
            "simulated": False,
            "estimated": False,
            "temperature": [20.0 + minute / 10 for minute in minutes],
        }
    )


def bounds(*rows: tuple[str, str, str, float]) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=["quantity", "severity", "side", "bound"])


class Status(unittest.TestCase):
    def frame(self, **changes) -> pandas.DataFrame:
        row = {
            "gateway_id": "g",
            "sensor_id": "s",
            "interval_ms": 5000,
            "last_status": "ok",
            "severity": None,
            "age": 1.0,
            "arrival_age": 1.0,
        }
        return with_status(pandas.DataFrame([row | changes]))

    def status(self, **changes) -> str:
        return self.frame(**changes)["status"].iloc[0]

    def test_the_worst_counts(self):
        self.assertEqual(self.status(), "ok")
        self.assertEqual(self.status(last_status="warning"), "warning")
        self.assertEqual(self.status(severity="warning"), "warning")
        self.assertEqual(self.status(last_status="failure", severity="warning"), "failure")
        self.assertEqual(self.status(age=15.1), "stale")
        self.assertEqual(self.status(age=15.0), "ok")
        self.assertEqual(self.status(age=99, severity="critical"), "critical")

    def test_a_fast_sensor_is_not_stale_at_once(self):
        self.assertEqual(self.status(interval_ms=100, age=9.9), "ok")
        self.assertEqual(self.status(interval_ms=100, age=10.1), "stale")

    def test_old_readings_that_arrive_now(self):
        self.assertTrue(self.frame(age=900.0).catching_up.iloc[0])
        self.assertFalse(self.frame(age=900.0, arrival_age=900.0).catching_up.iloc[0])

    def test_the_worst_are_first(self):
        rows = [
            {
                "gateway_id": "g",
                "sensor_id": name,
                "interval_ms": 5000,
                "last_status": status,
                "severity": severity,
                "age": age,
                "arrival_age": age,
            }
            for name, status, severity, age in (
                ("a", "ok", None, 1.0),
                ("b", "ok", None, 90.0),
                ("c", "warning", None, 1.0),
                ("d", "warning", "critical", 1.0),
                ("e", "failure", None, 1.0),
            )
        ]
        self.assertEqual(list(with_status(pandas.DataFrame(rows))["sensor_id"]), ["d", "e", "c", "b", "a"])


class Series(unittest.TestCase):
    def test_a_gap_is_empty_and_a_late_reading_is_none(self):
        drawn = series.with_gaps(readings(0, 1, 3.4, 6), 0.0)
        # 2.4 intervals are drawn across, 2.6 are not.
        self.assertEqual(list(drawn["temperature"].isna()), [False, False, False, True, False])
        self.assertTrue(drawn["time"].is_monotonic_increasing)

    def test_what_is_a_gap_depends_on_the_interval(self):
        self.assertEqual(len(series.with_gaps(readings(0, 10, 20, interval=600), 0.0)), 3)
        self.assertEqual(len(series.with_gaps(readings(0, 10, 20, interval=60), 0.0)), 5)
        self.assertEqual(len(series.with_gaps(readings(0, 10, 20, interval=60), 600.0)), 3)

    def test_the_axis_shows_a_bound_that_is_near(self):
        values = pandas.Series([20.0, 26.0])
        near = bounds(("temperature", "warning", "above", 30.0))
        far = bounds(("temperature", "warning", "above", 60.0))
        self.assertGreater(value_range(values, near, "temperature")[1], 30)
        self.assertLess(value_range(values, far, "temperature")[1], 30)
        self.assertIsNone(value_range(pandas.Series([None], dtype=float), near, "temperature"))
        self.assertEqual(value_range(pandas.Series([99.0, 100.0]), bounds(), "humidity")[1], 100.0)

    def test_the_figure_has_bands_marks_and_gaps(self):
        frame = readings(0, 1, 2, 9, 10)
        frame["simulated"] = True
        frame.loc[0, "estimated"] = True
        figure = series.figure(
            frame,
            ["g/s"],
            ["temperature"],
            bounds(("temperature", "critical", "above", 20.5)),
            NOW,
            NOW + timedelta(minutes=11),
            0.0,
            LANGUAGES["fr"],
            LIGHT,
        )
        line, marks = figure.data
        self.assertEqual((line.line.dash, line.connectgaps, len(line.x)), ("dot", False, 6))
        self.assertIn("simulé", line.name)
        self.assertIn("heure estimée", marks.name)
        self.assertEqual([shape.type for shape in figure.layout.shapes], ["rect", "line"])
        self.assertTrue(any("Critique > 20,5" in (note.text or "") for note in figure.layout.annotations))

    def test_a_bound_that_the_axis_does_not_reach_is_told_too(self):
        figure = series.figure(
            readings(0, 1, 2), ["g/s"], ["temperature"],
            bounds(("temperature", "warning", "above", 60.0), ("temperature", "critical", "above", 1070.0)),
            NOW, NOW + timedelta(minutes=3), 0.0, LANGUAGES["en"], LIGHT,
        )  # fmt: skip
        self.assertEqual(len(figure.layout.shapes), 0)
        title = figure.layout.annotations[-1].text
        self.assertIn("beyond the axis: ▲ > 60.0\u202f°C  ◆ > 1,070.0\u202f°C", title)

    def test_the_name_of_a_bound_stays_on_its_plot(self):
        # The values go far beyond the bound that lies just below the axis' end.
        figure = series.figure(
            readings(0, 1, 2, 100), ["g/s"], ["temperature"], bounds(("temperature", "warning", "above", 29.99)),
            NOW, NOW + timedelta(minutes=3), 0.0, LANGUAGES["en"], LIGHT,
        )  # fmt: skip
        self.assertEqual(figure.layout.annotations[0].yanchor, "top")

    def test_long_periods_are_averaged(self):
        self.assertIsNone(bucket_for(3600, 5))
        self.assertEqual(bucket_for(12 * 3600, 5), timedelta(seconds=60))
        self.assertIsNone(bucket_for(12 * 3600, 60))


class Values(unittest.TestCase):
    """Those that stand beside their sensors on the map."""

    def labels(self, xs: list[float], ys: list[float], texts: list[str]):
        xs, ys = numpy.array(xs, float), numpy.array(ys, float)
        markers = numpy.stack((xs - places.RADIUS, ys - places.RADIUS, xs + places.RADIUS, ys + places.RADIUS))
        shown, positions = places.with_room(xs, ys, texts, range(len(texts)), places.Boxes(markers))
        boxes = [
            places.beside(x, y, len(text) * places.LETTER_WIDTH)[position]
            for x, y, text, position in zip(xs, ys, shown, positions, strict=True)
            if text
        ]
        return shown, positions, [*boxes, *markers.T.tolist()]

    def test_one_alone_has_its_value_above(self):
        shown, positions, _ = self.labels([0], [0], ["21.4"])
        self.assertEqual((shown, positions), (["21.4"], ["top center"]))

    def test_each_of_a_few_at_one_place_has_room(self):
        # As close as they stand on a phone.
        xs, ys = places.spread(numpy.zeros(3), numpy.zeros(3), 11.0)
        shown, positions, _ = self.labels(xs.tolist(), ys.tolist(), ["1,739", "3,323", "426"])
        self.assertNotIn("", shown)
        self.assertGreater(len(set(positions)), 1)

    def test_no_value_covers_another_or_a_sensor(self):
        for seed_ in range(30):
            chance = numpy.random.default_rng(seed_)
            count = int(chance.integers(2, 90))
            xs, ys = chance.uniform(-170, 170, count), chance.uniform(-200, 200, count)
            shown, _, boxes = self.labels(xs.tolist(), ys.tolist(), ["1,234"] * count)
            self.assertTrue(any(shown), f"seed {seed_}")
            texts = sum(1 for text in shown if text)
            for index in range(texts):
                others = places.Boxes(numpy.array([box for place, box in enumerate(boxes) if place != index]).T)
                self.assertFalse(others.meet(boxes[index]), f"seed {seed_}")


class Places(unittest.TestCase):
    def test_those_at_one_place_are_spread(self):
        xs, ys = places.spread(numpy.zeros(20), numpy.zeros(20), 1.0)
        apart = numpy.hypot(xs[:, None] - xs, ys[:, None] - ys) + numpy.eye(20) * 9
        self.assertGreater(apart.min(), 0.7)

    def test_those_that_are_apart_stay_where_they_are(self):
        xs, ys = places.spread(numpy.array([0.0, 5.0, 9.0]), numpy.array([0.0, 0.0, 3.0]), 1.0)
        self.assertEqual((xs.tolist(), ys.tolist()), ([0.0, 5.0, 9.0], [0.0, 0.0, 3.0]))

    def test_a_sensor_stays_at_its_place_as_its_status_changes(self):
        def where(order: list[str], worst: str) -> dict[str, tuple[float, float]]:
            frame = pandas.DataFrame({"sensor_id": order}).assign(
                gateway_id="g", age=1.0, latitude=48.0, longitude=-4.0, temperature=20.04, humidity=None, co2=400.0
            )
            frame["status"] = ["critical" if name == worst else "ok" for name in order]
            figure = places.figure(frame, "status", LANGUAGES["en"], DARK)
            return {
                text.split("<br>")[0]: (x, y)
                for trace in figure.data
                if trace.text is not None
                for text, x, y in zip(trace.text, trace.x, trace.y, strict=True)
            }

        self.assertEqual(len(where(["a", "b", "c"], "")), 3)
        self.assertEqual(where(["a", "b", "c"], ""), where(["c", "a", "b"], "c"))

    def test_what_the_pointer_says(self):
        frame = pandas.DataFrame(
            {"sensor_id": ["a", "b"], "status": ["ok", "stale"], "age": [-2.0, 61.7], "temperature": [20.04, None],
             "humidity": [None, 44.4], "co2": [1234.0, None]}
        )  # fmt: skip
        self.assertEqual(
            places._hover(frame, LANGUAGES["fr"]),
            ["<b>a</b><br>● OK · à l’instant<br>20,0\u202f°C · 1\u202f234\u202fppm",
             "<b>b</b><br>○ Muet · il y a 1\u202fmin\u00a01\u202fs<br>44\u202f%"],
        )  # fmt: skip

    def test_scale(self):
        self.assertEqual([places.nice_length(extent) for extent in (4, 12, 900, 0.5)], [1, 2, 200, 0.1])

    def test_no_place_no_map(self):
        frame = pandas.DataFrame({"latitude": [None], "longitude": [None]})
        self.assertIsNone(places.figure(frame, "status", LANGUAGES["en"], DARK))


class Table(unittest.TestCase):
    def test_orders(self):
        frame = pandas.DataFrame(
            {"sensor_id": ["c", "a", "b"], "gateway_id": "g", "age": [1.0, 5.0, 3.0], "co2": [None, 400.0, 900.0],
             "battery_level": [50.0, 7.0, None]}
        )  # fmt: skip
        wanted = {"worst": "cab", "name": "abc", "age": "abc", "co2": "bac", "battery_level": "acb"}
        self.assertEqual({order: "".join(in_order(frame, order)["sensor_id"]) for order in wanted}, wanted)


class Seeded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plan = small_plan()
        cls.address = cls.enterClassContext(scratch_database(cls.plan))
        cls.database = Database(cls.address)
        cls.addClassCleanup(cls.database.close)

    def test_overview(self):
        with self.database.read() as reader:
            found = queries.overview(reader)
        sensors = with_status(found.sensors)
        self.assertEqual(len(sensors), 12)
        self.assertEqual(sensors["status"].iloc[0], "critical")
        self.assertEqual(int(sensors["is_stale"].sum()), 1)
        self.assertEqual(list(found.alerts["severity"])[:2], ["critical", "warning"])
        self.assertEqual(len(found.alerts), 7)
        known = {(row.quantity, row.severity, row.side): row.bound for row in found.bounds.itertuples()}
        self.assertEqual(known, {rule[:3]: rule[3] for rule in history.RULES})
        self.assertEqual(found.figures["reporting_before"], 12)
        self.assertEqual(found.figures["stale_before"], 0)
        # One every two minutes from each.
        self.assertAlmostEqual(found.figures["readings_before"], 6, delta=1.5)

    def test_a_sensor_that_measures_rarely_reported_an_hour_ago(self):
        # Others measure every two minutes, and of all what came in five is looked at; this one had its turn before.
        with scratch_database(self.plan) as address:
            sensor = {"gateway_id": "lyon-school", "sensor_id": "lyon-office"}
            with psycopg.connect(address) as connection:
                (latest,) = connection.execute(
                    "SELECT last_event_time FROM sensor "
                    "WHERE (gateway_id, sensor_id) = (%(gateway_id)s, %(sensor_id)s)",
                    sensor,
                ).fetchone()
            before = latest - timedelta(hours=1)

            def reporting(interval: timedelta, last: timedelta) -> float:
                """How many reported an hour ago, if its last reading then had such an age."""
                with psycopg.connect(address) as connection:
                    values = sensor | {"from": before - timedelta(hours=7), "to": before + timedelta(minutes=30),
                                       "interval": interval.total_seconds() * 1000, "last": before - last}  # fmt: skip
                    where = "(gateway_id, sensor_id) = (%(gateway_id)s, %(sensor_id)s)"
                    connection.execute(f"UPDATE sensor SET interval_ms = %(interval)s WHERE {where}", values)
                    connection.execute(
                        f"""
                        WITH gone AS (DELETE FROM sensor_data WHERE {where} AND event_time BETWEEN %(from)s AND %(to)s
                                      RETURNING *)
                        INSERT INTO sensor_data
                        SELECT gateway_id, sensor_id, stream_id, seq, %(last)s, {", ".join(history.COLUMNS[5:])}
                        FROM gone LIMIT 1
                        """,
                        values,
                    )
                database = Database(address)
                try:
                    with database.read() as reader:
                        return queries.figures(reader, queries.sensors(reader), latest)["reporting_before"]
                finally:
                    database.close()

            minute = timedelta(minutes=1)
            self.assertEqual(reporting(10 * minute, 20 * minute), 12)
            self.assertEqual(reporting(10 * minute, 31 * minute), 11)
            self.assertEqual(reporting(2 * minute, 4 * minute), 12)
            self.assertEqual(reporting(2 * minute, 7 * minute), 11)
            # Nobody looks back further than that.
            self.assertEqual(reporting(240 * minute, 350 * minute), 12)
            self.assertEqual(reporting(240 * minute, 370 * minute), 11)

    def test_series_of_chosen_sensors_only(self):
        since = self.plan.now - timedelta(hours=1)
        chosen = [("lyon-school", "lyon-classroom"), ("mons-office", "mons-classroom")]
        with self.database.read() as reader:
            plain = queries.series(reader, chosen, ["temperature", "co2"], since, self.plan.now, None)
            mean = queries.series(reader, chosen, ["co2"], since, self.plan.now, timedelta(minutes=10))
            none = queries.series(reader, [("mons-office", "lyon-classroom")], ["co2"], since, self.plan.now, None)
        self.assertEqual(set(plain["sensor_id"]), {"lyon-classroom", "mons-classroom"})
        self.assertTrue((plain["event_time"] > since).all())
        self.assertLess(len(mean), len(plain) / 3)
        self.assertTrue(none.empty)

    def test_only_the_days_that_are_asked_for_are_read(self):
        with self.database.read() as reader:
            plan = reader.frame(
                "EXPLAIN SELECT count(*) FROM sensor_data WHERE sensor_id = %(sensor)s AND event_time > %(since)s",
                {"sensor": "lyon-classroom", "since": self.plan.now - timedelta(minutes=1)},
            )
        text = "\n".join(plain for plain in plan.iloc[:, 0])
        self.assertNotIn(f"sensor_data_{self.plan.now - timedelta(days=1):%Y%m%d}", text)

    def test_what_the_page_shows(self):
        with view_alone("now", self.address) as test:
            page = html(test.run())
            self.assertIn("Act now", page)
            self.assertIn("mons-classroom", page)
            self.assertIn("CO₂ above 3,000\u202fppm", page)
            self.assertIn("37 readings missing", page)
            self.assertIn('<span class="vg-of">/ 12</span>', page)

    def test_the_table(self):
        with view_alone("now", self.address) as test:
            page = html(test.run())
            rows = re.findall(r"<tr>(.*?)</tr>", page)[1:]
            self.assertEqual(len(rows), 12)
            self.assertIn("mons-classroom", rows[0])
            self.assertIn("◆ <span>Critical", rows[0])
            test.text_input(key="find").set_value("LIBR").run()
            found = re.findall(r'<th scope="row"><b>(.*?)</b>', html(test))
            self.assertEqual(len(found), 4)
            self.assertTrue(all("library" in name for name in found), found)
            test.text_input(key="find").set_value("<b>nowhere").run()
            self.assertIn("Nothing matches what is chosen", test.info[0].value)

    def test_a_long_list_of_alerts_shows_the_worst_and_the_rest_when_asked(self):
        line = '<span class="vg-since"'
        with mock.patch("vigie_dashboard.views.now_parts.MOST_ALERTS", 3), view_alone("now", self.address) as test:
            page = html(test.run())
            self.assertEqual(page.count(line), 3)
            self.assertIn("and 4 more", page)
            test.toggle(key="alerts").set_value(True).run()
            self.assertEqual(html(test).count(line), 7)
            self.assertNotIn("more</div>", html(test))

    def test_a_long_table_shows_the_worst_and_the_rest_when_asked(self):
        with mock.patch("vigie_dashboard.views.now.MOST_ROWS", 5), view_alone("now", self.address) as test:
            self.assertEqual(html(test.run()).count('scope="row"'), 5)
            self.assertTrue(any("first 5 of 12" in caption.value for caption in test.caption))
            test.toggle(key="every").set_value(True).run()
            self.assertEqual(html(test).count('scope="row"'), 12)

    def test_french(self):
        with view_alone("now", self.address, language="fr") as test:
            page = html(test.run())
            self.assertIn("15\u202fmin", list(test.button_group(key="period-fr").options))
            self.assertIn("Agir maintenant", page)
            self.assertIn("CO₂ au-dessus de 3\u202f000\u202fppm", page)

    def test_choices_survive_refreshes(self):
        with application(self.address) as test:
            test.run()
            test.multiselect(key="sensors").set_value(["brest-lab/brest-office"]).run()
            test.button_group(key="period-en").set_value("3h").run()
            for _ in range(3):
                test.run()
            self.assertEqual(test.multiselect(key="sensors").value, ["brest-lab/brest-office"])
            self.assertEqual(test.button_group(key="period-en").value, "3h")

    def test_the_url_has_the_choices_in_no_language(self):
        with application(self.address) as test:
            test.run()
            self.assertEqual(dict(test.query_params), {})
            test.button_group(key="quantities-en").set_value(["humidity", "co2"]).run()
            test.selectbox(key="colour-en").set_value("temperature").run()
            test.selectbox(key="order-en").set_value("battery_level").run()
            test.button_group(key="period-en").set_value("15m").run()
            told = {
                "quantities": ["humidity", "co2"],
                "colour": "temperature",
                "order": "battery_level",
                "period": "15m",
            }
            self.assertEqual(dict(test.query_params), told)
            # Another language is another name for the same choice.
            test.button_group(key="lang").set_value("fr").run()
            self.assertEqual(test.button_group(key="quantities-fr").value, ["humidity", "co2"])
            self.assertEqual(test.selectbox(key="colour-fr").value, "temperature")
            self.assertLessEqual(told.items(), dict(test.query_params).items())
            test.button_group(key="period-fr").set_value("1h").run()
            self.assertNotIn("period", test.query_params)
            test.button_group(key="quantities-fr").set_value([]).run()
            self.assertEqual(test.query_params["quantities"], "")

    def test_a_url_that_somebody_sent_chooses(self):
        with application(self.address) as test:
            test.query_params |= {"quantities": ["pressure", "nonsense"], "colour": "co2", "period": "7 years"}
            test.run()
            self.assertEqual(test.button_group(key="quantities-en").value, ["pressure"])
            self.assertEqual(test.selectbox(key="colour-en").value, "co2")
            self.assertEqual(test.button_group(key="period-en").value, "1h")


if __name__ == "__main__":
    unittest.main()
