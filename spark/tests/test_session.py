"""The job in one session of real Spark, beside the processor: what both write of the same messages is equal."""

import threading

import pytest
import support

from vigie_spark.job import Job
from vigie_spark.session import session

pytestmark = pytest.mark.ci
BOUND = 600


@support.needs_servers
@support.needs_connector
def test_the_job_writes_what_the_processor_writes(tmp_path):
    topic = support.make_topic(3)
    options = ("--duplicates", "0.03", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03", "--faults",
               "0.02", "--anomalies", "0.02")  # fmt: skip
    support.produce(topic, 2000, *options, seed=1)
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    spark = session("tests", "local[1]")
    try:
        job = Job(spark, right.settings)
        thread = threading.Thread(target=job.run)
        thread.start()
        try:
            support.wait_until("Spark has read all", lambda: right.has_read(topic), BOUND)
            # Into a query that runs.
            support.produce(topic, 2000, *options, seed=2)
            support.wait_until("Spark has read what came", lambda: right.has_read(topic), BOUND)
        finally:
            job.stop()
            thread.join(BOUND)
        assert not thread.is_alive()
    finally:
        spark.stop()
    support.run_processor(left)
    support.assert_equal(left, right)
