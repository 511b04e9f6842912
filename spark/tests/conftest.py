import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "spark"), str(ROOT / "spark" / "tests"), str(ROOT / "harness")]


@pytest.fixture(scope="session")
def spark():
    """One Spark session for all tests, as its start is dear: two tasks at once, each tried twice as on a cluster."""
    import support

    from vigie_spark.session import quieten, session

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", support.QUICK)
    found = session("vigie-tests", "local[2,2]")
    quieten(found)
    yield found
    found.stop()
