"""The Trend view as a reader uses it, on a database with some days of readings."""

import json
import os
import re
import unittest
from datetime import UTC, datetime

import psycopg
from streamlit.testing.v1 import AppTest

from vigie_harness.dashboard import history
from vigie_harness.dashboard.application import PATIENCE, scratch_database

# The view by itself, with a reader in Paris, and the language that the environment says.
SCRIPT = """
import os
from zoneinfo import ZoneInfo
from vigie_dashboard.context import Context
from vigie_dashboard.database import Database
from vigie_dashboard.language import LANGUAGES
from vigie_dashboard.settings import Settings
from vigie_dashboard.states import guarded
from vigie_dashboard.theme import LIGHT
from vigie_dashboard.views import trend
settings = Settings(os.environ["TREND_DATABASE"])
database = Database(settings.postgres)
context = Context(settings, database, LANGUAGES[os.environ["TREND_LANGUAGE"]], LIGHT, ZoneInfo("Europe/Paris"))
with guarded(context):
    trend.render(context)
database.close()
"""

# What is kept by a name of no language.
IN_URL = ("trend-period", "trend-section")
SECTIONS = ("evolution", "alerts", "sensors", "periods", "correlation", "coverage")


class TrendView(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        plan = history.Plan(now=datetime.now(UTC), sensors=4, days=3, interval=300)
        cls.address = cls.enterClassContext(scratch_database(plan))

    def run_view(self, language: str = "en", address: str | None = None, **chosen) -> AppTest:
        os.environ["TREND_DATABASE"] = address or self.address
        os.environ["TREND_LANGUAGE"] = language
        test = AppTest.from_string(SCRIPT, default_timeout=PATIENCE)
        for key, value in chosen.items():
            name = key.replace("_", "-")
            test.session_state[f"chosen.{name}" if name in IN_URL else name] = value
        test.run()
        self.assertEqual([error.message for error in test.exception], [])
        return test

    def titles(self, test: AppTest) -> list[str]:
        return [element.value for element in test.subheader]

    def test_every_section_shows_in_both_languages(self):
        for language, wrong in (("en", "Something went wrong"), ("fr", "Une erreur")):
            for section in SECTIONS:
                with self.subTest(language=language, section=section):
                    # With a day there is a day before it to compare with.
                    test = self.run_view(language, trend_section=section, trend_period="24h")
                    self.assertFalse([title for title in self.titles(test) if wrong in title], self.titles(test))
                    self.assertTrue(test.get("plotly_chart"))
                    self.assertTrue(test.get("download_button"))
                    shown = test.button_group(key=f"trend-section-{language}").value
                    self.assertEqual(shown, section)

    def test_a_figure_for_each_quantity_that_is_chosen(self):
        test = self.run_view(trend_quantities=["humidity", "pressure"])
        self.assertEqual(self.titles(test), ["Humidity (%)", "Pressure (hPa)"])
        self.assertEqual(len(test.get("plotly_chart")), 2)

    def test_the_bounds_of_the_rules_are_drawn_or_told(self):
        test = self.run_view(trend_quantities=["temperature"])
        (figure,) = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]
        shapes = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "line"]
        drawn = {shape["y0"] for shape in shapes}
        told = {float(bound) for bound in re.findall(r"[<>] ([0-9.]+)", self.titles(test)[0])}
        self.assertEqual(drawn | told, {rule[3] for rule in history.RULES if rule[0] == "temperature"})
        self.assertFalse(drawn & told)
        low, high = figure["layout"]["yaxis"]["range"]
        self.assertTrue(all(low < bound < high for bound in drawn))
        # Only in the plot of the values, not in those of coverage below it.
        self.assertEqual(
            {(shape["xref"], shape["yref"]) for shape in shapes} or {("x domain", "y")}, {("x domain", "y")}
        )

    def test_one_figure_a_sensor(self):
        test = self.run_view(trend_quantities=["humidity"], trend_layout="apart")
        self.assertEqual(len(test.get("plotly_chart")), 3)

    def test_figures_are_written_as_the_language_has_them(self):
        values = {metric.label: metric.value for metric in self.run_view("fr").metric}
        self.assertEqual(sorted(values), ["Couverture", "Mesures", "Pannes", "Perdues"])
        self.assertIn("\u202f%", values["Couverture"])
        self.assertNotIn(",", values["Mesures"])

    def test_nothing_chosen_says_so(self):
        test = self.run_view(trend_sensors=[])
        self.assertIn("Choose at least one sensor", test.info[0].value)
        self.assertFalse(test.get("plotly_chart"))

    def test_a_period_without_readings_says_so(self):
        early = datetime(2020, 1, 1).date()
        test = self.run_view(trend_period="custom", trend_dates=(early, early))
        self.assertEqual(len(test.info), 1)
        self.assertFalse(test.get("plotly_chart"))

    def test_an_earlier_period_without_readings_says_so(self):
        test = self.run_view(trend_section="periods", trend_period="7d")
        self.assertIn("no readings in the earlier period", test.info[0].value)

    def test_a_database_without_readings(self):
        with scratch_database() as address:
            test = self.run_view(address=address)
            self.assertIn("No readings yet", self.titles(test)[0])

    def test_of_less_than_a_day_a_day_is_shown(self):
        self.assertEqual(self.run_view().button_group(key="trend-period-en").value, "7d")
        with scratch_database(history.Plan(now=datetime.now(UTC), sensors=2, days=0.2, interval=300)) as address:
            self.assertEqual(self.run_view(address=address).button_group(key="trend-period-en").value, "24h")

    def test_windows_that_were_deleted_are_told(self):
        plan = history.Plan(now=datetime.now(UTC), sensors=2, days=0.2, interval=300)
        with scratch_database(plan) as address:
            with psycopg.connect(address) as connection:
                connection.execute("UPDATE retention SET windows_since = now() - interval '1 hour'")
            test = self.run_view(address=address)
            self.assertIn("have been deleted", test.warning[0].value)


if __name__ == "__main__":
    unittest.main()
