"""The job in one session of real Spark, beside the processor: what both write of the same messages is equal."""

import pytest
import support

pytestmark = pytest.mark.ci


@support.needs_servers
@support.needs_connector
def test_the_job_writes_what_the_processor_writes(tmp_path, spark):
    topic = support.make_topic(3)
    options = ("--duplicates", "0.03", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03", "--faults",
               "0.02", "--anomalies", "0.02")  # fmt: skip
    support.produce(topic, 2000, *options, seed=1)
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    with support.running_job(spark, right):
        support.wait_until("Spark has read all", lambda: right.has_read(topic), support.BOUND)
        # Into a query that runs.
        support.produce(topic, 2000, *options, seed=2)
        support.wait_until("Spark has read what came", lambda: right.has_read(topic), support.BOUND)
    support.run_processor(left)
    support.assert_equal(left, right)
