"""documentation/reading.schema.json says of the examples what the decoder says, and contract.md names what there is.

The decoder is held to the same examples by ReadingDecodingTests.
"""

import json
import re
import unittest

import jsonschema

from vigie_harness.checkout import ROOT

FOLDER = ROOT / "documentation"
SCHEMA = json.loads((FOLDER / "reading.schema.json").read_text())
EXAMPLES = json.loads((FOLDER / "reading.examples.json").read_text())
PAGE = (FOLDER / "contract.md").read_text()


def message(example) -> str:
    """The text of an example: the common message with one field changed or left out, unless it has its own."""
    if "message" in example:
        return example["message"]
    fields = EXAMPLES["message"] | {example["field"]: example["text"]}
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None) + "}"


def refuse(name):
    raise ValueError(f"{name} is not JSON")


class Contract(unittest.TestCase):
    def setUp(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        self.validator = jsonschema.Draft202012Validator(SCHEMA)

    def is_valid(self, text: str) -> bool:
        try:
            return self.validator.is_valid(json.loads(text, parse_constant=refuse))
        except ValueError:
            return False

    def test_the_schema_judges_every_example_as_the_decoder_does(self):
        verdicts = set()
        for example in EXAMPLES["examples"]:
            with self.subTest(example):
                verdicts.add(example["verdict"])
                is_taken = example["verdict"] == "accepted" or "schema_takes_it" in example
                self.assertEqual(self.is_valid(message(example)), is_taken)
        # Of bytes and of fields that stand twice a schema says nothing, and a decoder nothing of databases.
        elsewhere = {"too_large", "not_utf8", "duplicate_field", "refused_by_database"}
        self.assertEqual(verdicts | elsewhere, self.reasons() | {"accepted"})

    def reasons(self) -> set[str]:
        """Those of the decoder's source."""
        source = (ROOT / "Sources/ReadingDecoding/Rejection.swift").read_text()
        cases = re.findall(r"^        case (\w+)(?: = \"(\w+)\")?$", source, re.MULTILINE)
        return {written or name for name, written in cases}

    def test_every_field_has_examples_of_both_kinds(self):
        for field in SCHEMA["properties"]:
            found = {e["verdict"] == "accepted" for e in EXAMPLES["examples"] if e.get("field") == field}
            self.assertTrue(False in found, f"nothing rejected for {field}")
            self.assertIn(field, EXAMPLES["message"])

    def test_the_page_has_the_fields_and_reasons_that_there_are(self):
        tables = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
        named = {name for cell in tables for name in re.findall(r"`([^`]+)`", cell)}
        headers = set()
        for file in ("ProcessorCore/Rejected/RejectionHeaders.swift", "KafkaClient/KafkaHeader+Committed.swift"):
            headers |= set(re.findall(r"\"(vigie-[a-z-]+)\"", (ROOT / "Sources" / file).read_text()))
        for header in headers:
            self.assertIn(f"`{header}`", PAGE)
        named = {name for name in named if not name.startswith("vigie-")}
        self.assertEqual(named, set(SCHEMA["properties"]) | self.reasons())

    def test_the_message_of_the_page_is_valid(self):
        (text,) = re.findall(r"^```json\n(.*)\n```$", PAGE, re.MULTILINE)
        self.assertTrue(self.is_valid(text))
        self.assertEqual(set(json.loads(text)), set(SCHEMA["properties"]))


if __name__ == "__main__":
    unittest.main()
