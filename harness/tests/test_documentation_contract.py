"""The schemas of documentation/ say of the examples what the decoder says, and contract.md names what there is.

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
REPORT_SCHEMA = json.loads((FOLDER / "report.schema.json").read_text())
REPORT_EXAMPLES = json.loads((FOLDER / "report.examples.json").read_text())
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
        elsewhere = {"too_large", "not_utf8", "duplicate_field", "refused_by_database", "sequence_conflict"}
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
        for file in ("ProcessorCore/DeadLetters/RejectionHeaders.swift", "KafkaClient/KafkaHeader+Committed.swift"):
            headers |= set(re.findall(r"\"(vigie-[a-z-]+)\"", (ROOT / "Sources" / file).read_text()))
        for header in headers:
            self.assertIn(f"`{header}`", PAGE)
        named = {name for name in named if not name.startswith("vigie-")}
        fields = set(SCHEMA["properties"]) | self.fields(REPORT_SCHEMA) | self.gap_reasons()
        self.assertEqual(named, fields - {"streams", "gaps"} | self.reasons())

    def fields(self, schema) -> set[str]:
        """Those of a schema and of the objects in it."""
        parts = dict(schema.get("properties", {}))
        found = set(parts)
        for part in [*parts.values(), *([schema["items"]] if "items" in schema else [])]:
            found |= self.fields(part)
        return found

    def gap_reasons(self) -> set[str]:
        """Those of the encoder's source."""
        source = (ROOT / "Sources/Readings/GatewayReport.swift").read_text()
        cases = re.search(r"enum GapReason.*?\n    }", source, re.DOTALL)[0]
        return {written or name for name, written in re.findall(r"case (\w+)(?: = \"(\w+)\")?", cases)}

    def test_the_schema_of_reports_judges_every_example_as_the_decoder_does(self):
        jsonschema.Draft202012Validator.check_schema(REPORT_SCHEMA)
        validator = jsonschema.Draft202012Validator(REPORT_SCHEMA)
        for example in REPORT_EXAMPLES["examples"]:
            with self.subTest(example):
                text = example.get("message") or f'{{"schema":1,"gateway_id":"gw-1","report":{example["report"]}}}'
                is_taken = example["verdict"] == "accepted" or "schema_takes_it" in example
                self.assertEqual(validator.is_valid(json.loads(text)), is_taken)
        # Whatever is a reading is no report.
        self.assertFalse(validator.is_valid({"schema": 1, "gateway_id": "g", "sensor_id": "s", "report": {}}))

    def test_the_messages_of_the_page_are_valid(self):
        reading, report = re.findall(r"^```json\n(.*)\n```$", PAGE, re.MULTILINE)
        self.assertTrue(self.is_valid(reading))
        self.assertEqual(set(json.loads(reading)), set(SCHEMA["properties"]))
        self.assertTrue(jsonschema.Draft202012Validator(REPORT_SCHEMA).is_valid(json.loads(report)))


if __name__ == "__main__":
    unittest.main()
