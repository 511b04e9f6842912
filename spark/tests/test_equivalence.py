"""Both engines on the same messages: what they write is equal, and so are their certificates.

VIGIE_COUNT says how many messages, VIGIE_SEED repeats a run.
"""

import os
import random

import pytest
import support

pytestmark = pytest.mark.ci
SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
COUNT = int(os.environ.get("VIGIE_COUNT") or 20_000)


@support.needs_servers
def test_tasks_write_what_the_processor_writes(tmp_path):
    print(f"VIGIE_SEED={SEED}")
    topic = support.make_topic()
    support.produce(
        topic, COUNT, "--duplicates", "0.03", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03",
        "--faults", "0.02", "--anomalies", "0.02", "--episodes", "0.01", seed=SEED,
    )  # fmt: skip
    # The fleet makes conflicts in order only.
    support.produce(topic, COUNT // 10, "--name", "two-minds", "--conflicts", "0.02", "--duplicates", "0.05", seed=SEED)
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    support.run_processor(left)
    summaries = support.Tasks(right, largest=4000).run()

    assert len(support.conflicts(left)) > 10
    support.assert_equal(left, right)
    assert len(support.alerts(left)) > 10
    assert sum(summary.late for summary in summaries) > 100
    # Only what is no reading in its usual form takes the slow path.
    assert sum(summary.slow for summary in summaries) == sum(
        summary.rejected + summary.reports for summary in summaries
    )
