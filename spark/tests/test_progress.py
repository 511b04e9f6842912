"""What the job says of itself, without Spark: states, metrics and heartbeats."""

import support

from vigie_spark.progress import Heartbeat, Progress


def test_a_job_is_healthy_once_it_works_or_has_nothing_to_do():
    told = {}
    progress = Progress(told.__setitem__)
    assert progress.state == "starting"
    progress.note_partitions({2, 0})
    progress.note_lag(5)
    assert (progress.state, progress.lag, progress.partitions) == ("starting", 5, (0, 2))
    progress.note_batch({"messages": 5, "rows": 4, "rejected": 1, "late": 0}, 0.25)
    progress.note_batch({"messages": 1, "rows": 1}, 0.5)
    assert (progress.state, progress.messages) == ("healthy", 6)
    assert told == {"partitions": 2, "lag_messages": 5, "messages_total": 6, "rows_total": 5, "rejected_total": 1,
                    "batch_milliseconds": 500, "healthy": 1}  # fmt: skip
    progress.note_trouble()
    assert (progress.state, progress.lag, told["healthy"]) == ("degraded", None, 0)
    # With a backlog and no batch that ends it is not well yet.
    progress.note_lag(3)
    assert progress.state == "degraded"
    progress.note_lag(0)
    assert progress.state == "healthy"


@support.needs_servers
def test_heartbeats_come_back_with_the_database_and_end_with_the_job(tmp_path):
    centre = support.make_centre(tmp_path, support.make_topic(1))
    progress = Progress()

    def rows():
        return centre.query("SELECT instance, process_id FROM processor WHERE updated_at > %s", since)

    # Another one has the name, and one is gone for long.
    centre.query("""
        INSERT INTO processor SELECT i, 0, 'h', 1, 'v', 't', 'g', '{}', NULL, NULL, 0, 'healthy', now(), u
        FROM (VALUES (%s, now()), ('gone', now() - interval '2 h')) AS n (i, u) RETURNING 1
    """, f"{centre.settings.instance}-spark")  # fmt: skip
    since = centre.query("SELECT now()")[0][0]
    with Heartbeat(centre.settings, progress):
        first = support.wait_until("a heartbeat", rows, 60)
        assert [row[0] for row in first] == [f"{centre.settings.instance}-spark"] and first[0][1] != 1
        ended = centre.query("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'vigie-spark heartbeat' AND datname = current_database()
        """)
        assert ended == [(True,)]
        progress.note_batch({"messages": 600}, 1)
        since = centre.query("SELECT now() + interval '1 s'")[0][0]
        second = support.wait_until("a heartbeat over a new connection", rows, 60)
        assert second[0][1] == first[0][1]
    assert centre.query("SELECT count(*) FROM processor") == [(0,)]
