"""Both engines on the same messages: what they write is equal, and the certificate agrees on both."""

import pytest
import support

pytestmark = pytest.mark.ci


@support.needs_servers
def test_tasks_write_what_the_processor_writes(tmp_path):
    topic = support.make_topic()
    support.produce(
        topic, 20_000, "--duplicates", "0.03", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03",
        "--faults", "0.02", "--anomalies", "0.02", "--episodes", "0.01",
    )  # fmt: skip
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    support.run_processor(left)
    summaries = support.Tasks(right, largest=4000).run()

    support.assert_equal(left, right)
    assert len(support.alerts(left)) > 10
    assert sum(summary.late for summary in summaries) > 100
    # Only what is no reading in its usual form takes the slow path.
    assert sum(summary.slow for summary in summaries) == sum(
        summary.rejected + summary.reports for summary in summaries
    )
