"""Runs the parts of `make test` one after the other on the same servers, and says what each took and what did not run.

    tools/with-services -- .vigie/venv/bin/python -m vigie_harness.test_run [PART...]

Each part has a bound of its own, after which it is ended. All run, also after one that failed; the exit status is 1
then. With VIGIE_KAFKA_REQUIRED=1 a run without Apache Kafka fails, too. Ctrl-C and SIGTERM end the part that runs, with
all that it has started, and the run.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from . import interrupts
from .checkout import ROOT
from .interrupts import Stopped
from .processes import end_session

PYTHON = sys.executable
# Those of the virtual environment.
PROGRAMS = pathlib.Path(PYTHON).parent
# Seconds that a part has to end when it takes too long, and when the run is interrupted: tools/with-services waits 30.
LATE, INTERRUPTED = 60.0, 20.0
SWIFT_TEST = ("stdbuf", "--output=L", "swift", "test", "--skip-build", "-Xswiftc", "-warnings-as-errors")


@dataclasses.dataclass(frozen=True)
class Part:
    """A command, and the seconds after which it is ended."""

    name: str
    command: Sequence
    bound: float


def unittests(folder: str) -> list[str]:
    return [PYTHON, "-m", "unittest", "discover", "--verbose", "--start-directory", folder]


PARTS = (
    Part("tools", unittests("tools/tests"), 600),
    Part("harness", unittests("harness/tests"), 1200),
    Part("units", [*SWIFT_TEST, "--skip", r"^IntegrationTests\."], 600),
    # One after the other: each starts several programs, and two at once on two cores prove less.
    Part("integration", [*SWIFT_TEST, "--filter", r"^IntegrationTests\.", "--no-parallel"], 2400),
    # All fleets at the small size: some ten seconds.
    Part("fleets", [PYTHON, "-m", "vigie_harness.fleets"], 300),
    # What is short of the Spark job's tests: one session of Spark, some two minutes.
    Part("spark", [PYTHON, "-m", "vigie_harness.spark_tests"], 900),
    Part("browser", unittests("Tests/Browser"), 1200),
    Part("dashboard", unittests("dashboard/tests"), 1200),
    Part("demo", unittests("demo/tests"), 600),
    # A fixed seed, so that each run meets the same faults; some two minutes.
    Part("storm", [PROGRAMS / "vigie-storm", "--seed", "10", "--faults", "60", "--prove", "--optional"], 900),
    Part("hardware", unittests("Tests/Guest"), 900),
)


@dataclasses.dataclass
class Outcome:
    part: Part
    seconds: float
    status: str
    skipped: list[str]
    failed: list[str]


# unittest: test_x (module.Class.test_x) ... skipped 'why'
_UNITTEST = re.compile(r"^(?:(\w+) \((\S+)\).*?|.*) \.\.\. skipped ['\"](.*)['\"]$")
# pytest, with -rs: SKIPPED [1] folder/test_file.py:12: why
_PYTEST = re.compile(r"^SKIPPED \[\d+\] (\S+?): (.*)$")
# Swift Testing: ➜ Test name() skipped: "why". Of a suite that does not run it names each test too.
_SWIFT = re.compile(r"^\S+\s+Test (.+?) skipped(?:: \"(.*)\"|\.)$")


def skipped_test(line: str) -> str | None:
    """The test that a line says did not run, with the reason."""
    if found := _UNITTEST.match(line):
        return f"{found[2] or line.partition(' ... ')[0]}: {found[3]}"
    if found := _PYTEST.match(line):
        return f"{found[1]}: {found[2]}"
    if found := _SWIFT.match(line):
        return f"{found[1]}: {found[2] or 'no reason given'}"
    return None


class Failures:
    """Finds the tests that failed in the lines of a run, each with the end of what is said of it."""

    # unittest: FAIL: test_x (module.Class.test_x), then a line of dashes, then a traceback up to the next rule.
    _UNITTEST = re.compile(r"^(?:FAIL|ERROR): (?:\w+ \((\S+)\)|(\S+.*))$")
    _RULE = re.compile(r"^[-=]{70}$")
    # Swift Testing: ✘ Test name() recorded an issue at File.swift:1:2: what
    _SWIFT = re.compile(r"^\S+\s+Test (.+? recorded an issue .*)$")
    # pytest: FAILED folder/test_file.py::test_x - AssertionError: why
    _PYTEST = re.compile(r"^(?:FAILED|ERROR) (\S+\.py\S*)(?: - (.*))?$")

    def __init__(self):
        self.found = []
        self._name = None
        self._reason = ""

    def read(self, line: str) -> None:
        if found := self._SWIFT.match(line):
            self.found.append(found[1])
        elif found := self._PYTEST.match(line):
            self.found.append(f"{found[1]}: {found[2] or 'no reason given'}")
        elif found := self._UNITTEST.match(line):
            self._name, self._reason = found[1] or found[2], ""
        elif self._name and self._RULE.match(line):
            if self._reason:
                self.found.append(f"{self._name}: {self._reason}")
                self._name = None
        elif self._name and line.strip():
            self._reason = line.strip()


def run(part: Part) -> Outcome:
    print(f"\n=== {part.name}", flush=True)
    began = time.monotonic()
    skipped = []
    failures = Failures()
    is_late = threading.Event()
    # In a session of its own, so that all of it can be ended: `swift test` gives its child a process group of its own,
    # and ends without it.
    with subprocess.Popen(
        ["setpriv", "--pdeathsig=TERM", "--", *map(str, part.command)], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"}) as child:  # fmt: skip

        def watch():
            try:
                child.wait(part.bound)
            except subprocess.TimeoutExpired:
                is_late.set()
            # Also what it has left behind, which would hold its output open.
            end_session(child.pid, LATE if is_late.is_set() else INTERRUPTED)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            for line in child.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                line = line.rstrip("\n")
                failures.read(line)
                if test := skipped_test(line):
                    skipped.append(test)
            watcher.join()
        except Stopped:
            end_session(child.pid, INTERRUPTED)
            raise
    status = "passed" if child.returncode == 0 else f"failed ({child.returncode})"
    if is_late.is_set():
        status = f"ended after {part.bound} s"
    return Outcome(part, time.monotonic() - began, status, skipped, failures.found)


def report(outcomes: list[Outcome]) -> None:
    print("\nParts:")
    for outcome in outcomes:
        count = len(outcome.skipped)
        missing = f", {count} test{'s' if count > 1 else ''} did not run" if count else ""
        print(f"  {outcome.part.name:<12} {outcome.seconds:>6.0f} s  {outcome.status}{missing}")
    print(f"  {'all':<12} {sum(outcome.seconds for outcome in outcomes):>6.0f} s")
    for title, tests in (
        ("These tests did not run:", [(outcome.part.name, outcome.skipped) for outcome in outcomes]),
        ("These tests failed:", [(outcome.part.name, outcome.failed) for outcome in outcomes]),
    ):
        if any(named for _, named in tests):
            print(f"\n{title}")
            for part, named in tests:
                for test in named:
                    print(f"  {part}: {test[:300]}")
    sys.stdout.flush()


def known_part(name: str) -> str:
    if name not in (names := [part.name for part in PARTS]):
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
    return name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(part.name for part in PARTS)
    parser.add_argument("parts", metavar="PART", nargs="*", type=known_part, help=known)
    names = parser.parse_args().parts
    outcomes = []
    try:
        interrupts.raise_stopped()
        for part in PARTS:
            if not names or part.name in names:
                outcomes.append(run(part))
    except Stopped as stopped:
        return stopped.status
    finally:
        # Who ends the run learns of the parts that were done.
        report(outcomes)
    is_required = os.environ.get("VIGIE_KAFKA_REQUIRED") == "1"
    if is_required and os.environ.get("VIGIE_KAFKA_KIND") == "stand-in":
        print("vigie: these tests ran without Apache Kafka, and were to run on it.")
        return 1
    return 0 if all(outcome.status == "passed" for outcome in outcomes) else 1


if __name__ == "__main__":
    interrupts.end_at_once()
    sys.exit(main())
