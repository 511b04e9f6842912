"""`make demo-spark` as a visitor runs it, with data of its own."""

import os
import re
import subprocess

import support

PYTHON = support.ROOT / ".vigie/venv/bin/python"


@support.needs_servers
@support.needs_connector
def test_the_demo_runs_on_spark_and_its_certificate_agrees(tmp_path):
    # Its own servers, whatever this runs against.
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("VIGIE_") or name.startswith("VIGIE_SPARK")}  # fmt: skip
    environment |= {"VIGIE_DEMO": str(tmp_path / "demo"), "VIGIE_BIN": str(support.PROGRAMS)}
    demo = subprocess.run(
        [PYTHON, support.ROOT / "demo/demo.py", "--engine", "spark", "--duration", "20"],
        env=environment, capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    said = demo.stdout + demo.stderr
    assert demo.returncode == 0, said
    assert "everything agrees" in said
    assert re.search(r"Spark: http://127\.0\.0\.1:\d+/\n", said), said
    counted = re.search(r"readings +(\d+) in 3 streams, each once", said)
    stored = re.search(r"readings stored +(\d+) in this run, by 7 sensors on 3 boards", said)
    assert counted and stored and counted[1] == stored[1], said
