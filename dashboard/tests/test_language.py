"""Both languages say everything, and write numbers as they should."""

import re
import string
import unittest
from datetime import UTC, datetime, timedelta, timezone

from vigie_dashboard.language import LANGUAGES, language_of
from vigie_harness.dashboard.application import DASHBOARD

ENGLISH, FRENCH = LANGUAGES["en"], LANGUAGES["fr"]
PACKAGE = DASHBOARD / "vigie_dashboard"


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


class Texts(unittest.TestCase):
    def test_both_languages_have_the_same_keys_and_values(self):
        self.assertEqual(sorted(ENGLISH.texts), sorted(FRENCH.texts))
        for key, text in ENGLISH.texts.items():
            self.assertEqual(fields(text), fields(FRENCH.texts[key]), key)

    def test_texts_that_the_program_names_are_there(self):
        named = set()
        for path in PACKAGE.rglob("*.py"):
            if path.parent.name != "language":
                # Not the beginnings of keys, which end in a dot.
                named |= set(re.findall(r"\btext\(\s*\"([a-z0-9_.]*[a-z0-9_])\"", path.read_text()))
                for key in re.findall(r"\bcount\(\s*\"([a-z0-9_.]*[a-z0-9_])\"", path.read_text()):
                    named |= {f"{key}.one", f"{key}.other"}
        self.assertGreater(len(named), 3)
        self.assertEqual(named - set(ENGLISH.texts), set())

    def test_language_is_the_choice_then_the_browsers_then_english(self):
        self.assertEqual(language_of("fr", "en-GB").code, "fr")
        self.assertEqual(language_of(None, "fr-BE").code, "fr")
        self.assertEqual(language_of("xx", "de-DE").code, "en")
        self.assertEqual(language_of(None, None).code, "en")


class LossReasons(unittest.TestCase):
    def test_every_reason_of_the_processor_has_its_words(self):
        source = (PACKAGE.parents[1] / "Sources/Readings/GatewayReport.swift").read_text()
        cases = re.search(r"enum GapReason.*?\n    }", source, re.DOTALL)[0]
        reasons = [written or name for name, written in re.findall(r"case (\w+)(?: = \"(\w+)\")?", cases)]
        self.assertGreater(len(reasons), 5)
        for language in (ENGLISH, FRENCH):
            for reason in [*reasons, "unknown", "other", "rejected"]:
                self.assertIn(f"loss_reason.{reason}", language.texts)
        self.assertEqual(ENGLISH.loss_reason("eaten_by_a_cat"), "eaten by a cat")


class Faults(unittest.TestCase):
    def test_a_fault_in_words(self):
        self.assertEqual(ENGLISH.fault("scd41:crc"), "SCD41: wrong checksum")
        self.assertEqual(FRENCH.fault("bme280:not_acknowledged"), "BME280 : ne répond pas")

    def test_one_that_is_not_known_is_shown_all_the_same(self):
        self.assertEqual(ENGLISH.fault("sps30:fan_blocked"), "SPS30: fan blocked")
        self.assertEqual(ENGLISH.fault("something"), "something")

    def test_every_fault_of_the_drivers_has_words(self):
        source = (DASHBOARD.parent / "Sources/SensorDrivers/ChipError.swift").read_text()
        names = re.findall(r': "([a-z_]+)"$', source.split("var faultName")[1].split("extension")[0], re.MULTILINE)
        self.assertGreater(len(names), 10)
        self.assertEqual([name for name in names if f"fault.{name}" not in ENGLISH.texts], [])


class Numbers(unittest.TestCase):
    def test_separators_and_signs(self):
        self.assertEqual(ENGLISH.number(1234567.891, 1), "1,234,567.9")
        self.assertEqual(FRENCH.number(1234567.891, 1), "1\u202f234\u202f567,9")
        self.assertEqual(ENGLISH.number(-0.04, 1), "0.0")
        self.assertEqual(FRENCH.number(-2.5, 1), "\u22122,5")
        self.assertEqual(ENGLISH.number(3, signed=True), "+3")
        self.assertEqual(ENGLISH.number(0, signed=True), "0")
        self.assertEqual(ENGLISH.number(None), "–")
        self.assertEqual(ENGLISH.number(float("nan")), "–")

    def test_units(self):
        self.assertEqual(ENGLISH.value("temperature", 21.44), "21.4\u202f°C")
        self.assertEqual(FRENCH.value("temperature", 21.44), "21,4\u202f°C")
        self.assertEqual(FRENCH.percent(0.987, 1), "98,7\u202f%")
        self.assertEqual(ENGLISH.compact(12_345_678), "12.3\u202fM")

    def test_durations(self):
        self.assertEqual(ENGLISH.duration(0.25), "250\u202fms")
        self.assertEqual(FRENCH.duration(4.25), "4,2\u202fs")
        self.assertEqual(ENGLISH.duration(61), "1\u202fmin\u00a01\u202fs")
        self.assertEqual(ENGLISH.duration(timedelta(hours=3, minutes=5)), "3\u202fh\u00a05\u202fmin")
        self.assertEqual(FRENCH.duration(timedelta(days=2, hours=1)), "2\u202fj\u00a01\u202fh")
        self.assertEqual(ENGLISH.ago(-3), "just now")
        self.assertEqual(FRENCH.ago(20), "il y a 20\u202fs")
        self.assertEqual(
            [ENGLISH.age(age) for age in (-1, 0.9, 9.99, 70.5)],
            ["0\u202fs", "0\u202fs", "9\u202fs", "1\u202fmin\u00a010\u202fs"],
        )

    def test_dates(self):
        zone = timezone(timedelta(hours=2))
        moment = datetime(2026, 2, 28, 23, 5, tzinfo=UTC)
        self.assertEqual(ENGLISH.date(moment, zone), "1\u00a0Mar 2026")
        self.assertEqual(FRENCH.date_time(moment, zone), "1\u00a0mars 01:05")
        self.assertEqual(FRENCH.moment(moment, moment, zone), "01:05")

    def test_plurals(self):
        for language in LANGUAGES.values():
            keys = [key.removesuffix(".one") for key in language.texts if key.endswith(".one")]
            for key in keys:
                self.assertIn(f"{key}.other", language.texts)


if __name__ == "__main__":
    unittest.main()
