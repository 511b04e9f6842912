"""The Spark job's tests in `make test`: python3 -m vigie_harness.spark_tests

Makes the job's environment (`spark/environment`), and runs the tests with the mark `ci`. What cannot be had is a test
that did not run; with VIGIE_SPARK_REQUIRED=1 it is a failure.
"""

import os
import subprocess
import sys
import time

from .checkout import ROOT, STATE

PYTHON = STATE / "spark/venv/bin/python"
# Of spark/environment, if the connector alone cannot be had: the tests that need none run.
WITHOUT_CONNECTOR = 3


def not_run(reason: str) -> int:
    """Says it as a skipped test of unittest says it."""
    print(f"spark/tests ... skipped {reason!r}", flush=True)
    return 1 if os.environ.get("VIGIE_SPARK_REQUIRED") == "1" else 0


def main() -> int:
    if os.environ.get("VIGIE_KAFKA_KIND") == "stand-in":
        return not_run("they need Apache Kafka")
    began = time.monotonic()
    made = subprocess.run(
        [ROOT / "spark/environment"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    sys.stderr.write(made.stderr)
    print(f"spark/environment: {time.monotonic() - began:.1f} s", flush=True)
    is_whole = made.returncode == 0
    if not is_whole and (made.returncode != WITHOUT_CONNECTOR or os.environ.get("VIGIE_SPARK_REQUIRED") == "1"):
        return not_run((made.stderr.strip().splitlines() or ["spark/environment failed"])[-1])
    command = [PYTHON, "-m", "pytest", "-m", "ci", "-rs", "--durations=5", "-p", "no:cacheprovider", "spark/tests"]
    # The same messages in each run: others are for `make test-spark`.
    environment = {"VIGIE_SEED": "1"} | os.environ
    return subprocess.run([*command, "--quiet", "--color=no"], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
