"""The run of `make test`: what did not run is told, and a part that takes too long is ended."""

import contextlib
import io
import os
import signal
import sys
import time
import unittest
from unittest import mock

from support import folder_of, is_running

from vigie_harness import interrupts, test_run

# Says who it is, in a link, and waits; a stubborn one does not listen to SIGTERM.
ORPHAN = """
import os, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.symlink(str(os.getpid()), f"{sys.argv[1]}/{sys.argv[2]}")
time.sleep(600)
"""


class Skipped(unittest.TestCase):
    def test_the_lines_of_all_runners_are_understood(self):
        for line, test in (
            ('➜ Test b() skipped: "because"', "b(): because"),
            ("➜ Test nothing() skipped.", "nothing(): no reason given"),
            ('➜ Test "a name" skipped: "because "quoted""', '"a name": because "quoted"'),
            ("test_x (module.Class.test_x) ... skipped 'no java'", "module.Class.test_x: no java"),
            ('setUpClass (module.Class) ... skipped "needs Kafka: it\'s away"', "module.Class: needs Kafka: it's away"),
            ("spark/tests ... skipped 'no PyPI'", "spark/tests: no PyPI"),
            ("SKIPPED [2] spark/tests/test_a.py:12: no connector", "spark/tests/test_a.py:12: no connector"),
        ):
            self.assertEqual(test_run.skipped_test(line), test)

    def test_other_lines_are_no_skipped_tests(self):
        for line in (
            '➜ Suite Whole skipped: "why"',
            "◇ Test d() started.",
            "✔ Test run with 5 tests in 1 suite passed after 0.001 seconds.",
            "test_x (module.Class.test_x) ... ok",
            "OK (skipped=1)",
        ):
            self.assertIsNone(test_run.skipped_test(line), line)


class Failed(unittest.TestCase):
    def test_the_words_of_all_runners_are_understood(self):
        failures = test_run.Failures()
        rule = "=" * 70
        for line in (
            "test_x (a.B.test_x) ... FAIL", "✔ Test good() passed after 0.001 seconds.", rule,
            "FAIL: test_x (a.B.test_x)", "-" * 70, "Traceback (most recent call last):", "AssertionError: 1 != 2", "",
            rule,
            "ERROR: setUpClass (a.C)", "-" * 70, "Traceback (most recent call last):", "HarnessError: no broker", "",
            "-" * 70, "Ran 2 tests in 0.1s", "FAILED (failures=1, errors=1)",
            "✘ Test bad() recorded an issue at File.swift:1:2: Expectation failed: a == b",
            "✘ Test bad() failed after 0.002 seconds with 1 issue.",
            "FAILED spark/tests/test_a.py::test_x[1] - assert 1 == 2", "ERROR spark/tests/test_b.py",
        ):  # fmt: skip
            failures.read(line)
        self.assertEqual(
            failures.found,
            [
                "a.B.test_x: AssertionError: 1 != 2",
                "a.C: HarnessError: no broker",
                "bad() recorded an issue at File.swift:1:2: Expectation failed: a == b",
                "spark/tests/test_a.py::test_x[1]: assert 1 == 2",
                "spark/tests/test_b.py: no reason given",
            ],
        )


class Run(unittest.TestCase):
    def setUp(self):
        for number in interrupts.SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def run_parts(self, *parts, **environment):
        output = io.StringIO()
        with (
            mock.patch.object(test_run, "PARTS", parts),
            mock.patch.object(sys, "argv", ["test_run"]),
            mock.patch.dict("os.environ", environment),
            contextlib.redirect_stdout(output),
        ):
            status = test_run.main()
        return status, output.getvalue()

    def part(self, name, script, bound=60):
        return test_run.Part(name, [sys.executable, "-c", script], bound)

    def test_all_parts_run_and_one_that_fails_is_the_status(self):
        status, said = self.run_parts(
            self.part("first", "raise SystemExit(3)"),
            self.part("second", "print('test_x (a.B.test_x) ... skipped \"no java\"')"),
        )
        self.assertEqual(status, 1)
        self.assertRegex(said, r"first +\d+ s  failed \(3\)\n")
        self.assertRegex(said, r"second +\d+ s  passed, 1 test did not run\n")
        self.assertIn("\nThese tests did not run:\n  second: a.B.test_x: no java\n", said)
        self.assertNotIn("These tests failed", said)

    def test_what_failed_is_named_at_the_end(self):
        words = "FAIL: test_x (a.B.test_x)", "-" * 70, "AssertionError: why", "-" * 70
        _, said = self.run_parts(self.part("first", f"print(*{words}, sep='\\n'); raise SystemExit(1)"))
        self.assertTrue(said.endswith("\nThese tests failed:\n  first: a.B.test_x: AssertionError: why\n"), said)

    def test_a_part_that_takes_too_long_is_ended(self):
        began = time.monotonic()
        status, said = self.run_parts(self.part("slow", "import time; time.sleep(600)", 0.5))
        self.assertEqual(status, 1)
        self.assertIn("ended after 0.5 s", said)
        self.assertLess(time.monotonic() - began, 60)

    def test_a_run_that_is_ended_tells_the_parts_that_were_done(self):
        for number in interrupts.SIGNALS:
            ending = self.part("second", f"import os, time; os.kill({os.getpid()}, {int(number)}); time.sleep(600)")
            status, said = self.run_parts(self.part("first", ""), ending)
            self.assertEqual(status, 128 + number)
            self.assertRegex(said, r"first +\d+ s  passed\n")

    def test_all_that_a_part_has_started_ends_with_it(self):
        folder = folder_of(self)
        kinds = ("first", "stubborn", "last")
        # As `swift test` does: children with process groups of their own, which outlive it.
        script = f"""
import os, pathlib, signal, subprocess, sys, time
for kind in {kinds!r}:
    subprocess.Popen([sys.executable, "-c", {ORPHAN!r}, {str(folder)!r}, kind], process_group=0)
while len(os.listdir({str(folder)!r})) < {len(kinds)}:
    time.sleep(0.01)
"""
        for end, status in ((f"os.kill({os.getpid()}, signal.SIGTERM); time.sleep(600)", 143), ("", 0)):
            with mock.patch.object(test_run, "INTERRUPTED", 1):
                found, said = self.run_parts(self.part("only", script + end))
            self.assertEqual(found, status, said)
            for kind in kinds:
                file = folder / kind
                self.assertFalse(is_running(int(os.readlink(file))), f"the {kind} one outlived its part")
                file.unlink()

    def test_an_unknown_part_is_no_command_line(self):
        with mock.patch.object(sys, "argv", ["test_run", "unit"]), contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit) as ended:
                test_run.main()
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("unit is none of tools, harness, units", said.getvalue())

    def test_a_run_without_kafka_fails_where_it_is_required(self):
        part = self.part("only", "")
        stand_in = {"VIGIE_KAFKA_KIND": "stand-in"}
        self.assertEqual(self.run_parts(part, **stand_in, VIGIE_KAFKA_REQUIRED="")[0], 0)
        status, said = self.run_parts(part, **stand_in, VIGIE_KAFKA_REQUIRED="1")
        self.assertEqual(status, 1)
        self.assertIn("ran without Apache Kafka", said)
        self.assertEqual(self.run_parts(part, VIGIE_KAFKA_KIND="apache", VIGIE_KAFKA_REQUIRED="1")[0], 0)


if __name__ == "__main__":
    unittest.main()
