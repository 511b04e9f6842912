"""The dashboard's quantities are those that the processor stores, and have words in every language."""

import pathlib
import re
import unittest

from vigie_dashboard.language import LANGUAGES, en, fr
from vigie_dashboard.quantities import QUANTITIES, READING_QUANTITIES

SOURCE = pathlib.Path(__file__).parents[2] / "Sources/Readings/Quantity.swift"


def body(declaration: str) -> str:
    """What stands in the braces of a property of the Swift enumeration."""
    found = re.search(re.escape(declaration) + r" \{\n(.*?)\n    \}\n", SOURCE.read_text(), re.DOTALL)
    assert found, declaration
    return found[1]


class Quantities(unittest.TestCase):
    def test_they_are_those_of_the_processor_in_the_same_order(self):
        names = dict(re.findall(r"case \.(\w+): \"(\w+)\"", body("public var name: String")))
        cases = re.findall(r"^    case (\w+)(?: = 0)?$", SOURCE.read_text(), re.MULTILINE)
        self.assertEqual([quantity.name for quantity in READING_QUANTITIES], [names[case] for case in cases])
        found = re.search(r"public var isAggregated: Bool \{ self != \.(\w+) \}", SOURCE.read_text())
        others = {names[found[1]]}
        self.assertEqual({quantity.name for quantity in READING_QUANTITIES} - {q.name for q in QUANTITIES}, others)

    def test_they_have_words_in_every_language(self):
        for language in (en, fr):
            for quantity in READING_QUANTITIES:
                self.assertIn(f"quantity.{quantity.name}", language.TEXTS)

    def test_an_index_has_no_unit(self):
        english = LANGUAGES["en"]
        self.assertEqual(english.value("voc_index", 104.4), "104")
        self.assertEqual(english.quantity_with_unit("voc_index"), "VOC index")
        self.assertEqual(english.quantity_with_unit("pm2_5"), "Particles PM2.5 (µg/m³)")


if __name__ == "__main__":
    unittest.main()
