"""The pages of the documentation name what there is: tests, files, headings; and its drawing is that of its script."""

import re
import runpy
import unittest
import xml.etree.ElementTree

from vigie_harness.checkout import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("documentation/*.md"), *ROOT.glob("hardware/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page) -> set[str]:
    """Those of its headings, as they are made of them for the web."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Documentation(unittest.TestCase):
    def test_links_within_the_project_lead_somewhere(self):
        for page in PAGES:
            for target in LINK.findall(page.read_text()):
                with self.subTest(f"{page.relative_to(ROOT)}: {target}"):
                    if "://" in target:
                        continue
                    file, _, anchor = target.partition("#")
                    place = (page.parent / file) if file else page
                    self.assertTrue(place.exists(), "there is no such file")
                    if anchor:
                        self.assertIn(anchor, anchors(place))

    def test_the_failure_table_names_tests_that_there_are(self):
        page = (ROOT / "documentation/architecture.md").read_text()
        table = page[page.index("## What happens when") :]
        tests = {}
        for file in (ROOT / "Tests").rglob("*Tests.swift"):
            text = file.read_text()
            for suite in re.findall(r"(?:struct|class) (\w+Tests)\b", text):
                tests.setdefault(suite, set()).update(re.findall(r"@Test[\s\S]*?func (\w+)\(", text))
        rows = [line for line in table.splitlines() if line.startswith("| ") and "what happens |" not in line]
        self.assertGreater(len(rows), 20)
        for row in rows:
            proof = row.split(" | ")[-1]
            self.assertIn("`", proof, f"nothing proves: {row}")
            for name in re.findall(r"`([^`]+)`", proof):
                with self.subTest(name):
                    if name.startswith("make "):
                        self.assertIn(f"\n{name[5:]}:", (ROOT / "Makefile").read_text())
                    elif "/" in name:
                        self.assertTrue((ROOT / name).exists())
                    else:
                        suite, test = name.split(".")
                        self.assertIn(test, tests.get(suite, ()))

    def test_metrics_and_lines_of_the_log_are_those_of_the_programs(self):
        sources = "\n".join(file.read_text() for file in sorted((ROOT / "Sources").rglob("*.swift")))
        others = {"vigie_dashboard", "vigie_harness", "vigie_reader", "vigie_restored"}
        for page in PAGES:
            for name in set(re.findall(r"\bvigie_[a-z_]+\b", page.read_text())) - others:
                with self.subTest(f"{page.relative_to(ROOT)}: {name}"):
                    self.assertTrue(f'"{name}"' in sources, "no program has it")
        symptoms = (ROOT / "documentation/operations.md").read_text().partition("## What is wrong")[2]
        lines = [
            text
            for row in re.findall(r"^\| (.+?) \| ", symptoms, re.MULTILINE)
            for text in re.findall(r"`([^`]+)`", row)
            if " " in text and text != "bus ..."
        ]
        self.assertGreater(len(lines), 4)
        for line in lines:
            with self.subTest(line):
                self.assertTrue(line.removesuffix(" N") in sources, "no program says it")

    def test_the_drawing_is_that_of_the_script(self):
        text = (ROOT / "documentation/architecture.svg").read_text()
        drawing = runpy.run_path(str(ROOT / "documentation/draw.py"))["architecture"]()
        self.assertEqual(text, drawing.svg(), "architecture.svg is old: run documentation/draw.py")
        xml.etree.ElementTree.fromstring(text)


if __name__ == "__main__":
    unittest.main()
