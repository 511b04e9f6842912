"""Both engines on the same messages: what they write is equal, and the certificate agrees on both."""

import support


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

    assert support.rows(left) == support.rows(right)
    assert support.losses(left) == support.losses(right)
    assert support.streams(left) == support.streams(right)
    assert support.sensors(left) == support.sensors(right)
    assert support.alerts(left) == support.alerts(right)
    assert support.alert_states(left) == support.alert_states(right)
    assert len(support.alerts(left)) > 10
    assert support.rejected(left) == support.rejected(right)
    assert support.details(left) == support.details(right)
    support.verify(left)
    support.verify(right)
    assert support.assert_windows_equal(left, right) > 100
    assert sum(summary.late for summary in summaries) > 100
    # Only what is no reading in its usual form takes the slow path.
    assert sum(summary.slow for summary in summaries) == sum(
        summary.rejected + summary.reports for summary in summaries
    )
