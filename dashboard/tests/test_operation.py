"""The view `operation`: what is judged of the pipeline, and what processors say over HTTP."""

import contextlib
import http.server
import json
import math
import pathlib
import socket
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas
import psycopg

from vigie_dashboard import condition, processors
from vigie_dashboard.charts import operation as charts
from vigie_dashboard.language import LANGUAGES
from vigie_dashboard.theme import LIGHT
from vigie_harness.dashboard.application import scratch_database, small_plan, view_alone

ENGLISH = LANGUAGES["en"]
SECOND = 1_700_000_000_000

STATUS = {
    "instance": "centre-1",
    "counts": {"messages": 100, "rows": 90, "duplicates": 6, "late": 3, "rejected": 4, "windows": 20, "batches": 5},
    "batches": [[SECOND, 10, 9, 0.004], [SECOND + 500, 20, 18, 0.011]],
    "stages": [
        {"stage": "commit", "count": 5, "p50": 0.002, "p95": 0.004, "p99": 0.005, "max": 0.006},
        {"stage": "send", "count": 0, "p50": None, "p95": None, "p99": None, "max": None},
        {"stage": "receive", "count": 5, "p50": 0.003, "p95": 0.2, "p99": 0.3, "max": 0.4},
        {"stage": "store", "count": 5, "p50": 0.001, "p95": 0.002, "p99": 0.003, "max": 0.004},
    ],
    "latency": {"count": 5, "p50": 0.006, "p95": 0.21, "p99": 0.31, "max": 0.41, "buckets": [[0.01, 4], [None, 1]]},
    "partitions": [{"partition": 0, "worker": 1, "position": 7, "committed": 7, "end": 9, "lag": 2}],
}
HISTORY = {
    "columns": list(processors.HISTORY_COLUMNS),
    "points": [[SECOND + 1000 * n, 10.0 + n, 9.0, None, n, 0.006, 0.2, 0.1, 2e7] for n in (0, 1, 2, 3, 12)],
}
METRICS = (
    "# HELP vigie_rejected_total Messages.\n# TYPE vigie_rejected_total counter\n"
    'vigie_rejected_total{reason="not_json"} 3\nvigie_rejected_total{reason="future"} 1\n'
    'vigie_batch_retries_total 2\nvigie_odd{text="a\\"b,c=d"} +Inf\n'
)


@contextlib.contextmanager
def served(pages: dict[str, str], delay: float = 0.0, token: str | None = None) -> Iterator[str]:
    """An HTTP server on loopback with these pages, for who shows the token, and its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(delay)
            if token is not None and self.headers["Authorization"] != f"Bearer {token}":
                self.send_error(401)
                return
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            if page is not None and page.startswith("http"):
                self.send_response(302)
                self.send_header("Location", page)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write((page or "").encode())

        def log_message(self, *_arguments: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def processor(token: str | None = None, **changes: object) -> Iterator[str]:
    pages = {"/status.json": json.dumps(STATUS | changes), "/history.json": json.dumps(HISTORY), "/metrics": METRICS}
    return served(pages, token=token)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


class Processors(unittest.TestCase):
    def test_all_are_asked_and_added_up(self):
        with processor() as first, processor(instance="centre-2") as second:
            answers = processors.ask([second, first, first])
        self.assertEqual([answer.trouble for answer in answers], [None, None])
        self.assertEqual({answer.instance for answer in answers}, {"centre-1", "centre-2"})
        self.assertEqual(processors.counts(answers)["messages"], 200)
        self.assertEqual(processors.by_label(answers, "vigie_rejected_total", "reason"), {"not_json": 6, "future": 2})
        self.assertEqual(processors.total(answers, "vigie_batch_retries_total"), 4)
        self.assertIsNone(processors.total(answers, "vigie_nothing_total"))
        self.assertEqual(list(processors.buckets(answers)["count"]), [8, 2])
        self.assertEqual(list(processors.buckets(answers)["bound"]), [0.01, math.inf])
        self.assertEqual(len(processors.batches(answers)), 4)
        stages = processors.stages(answers).set_index("stage")
        self.assertEqual(stages.loc["receive", "p95"], 0.2)
        self.assertTrue(math.isnan(stages.loc["send", "p50"]))
        self.assertEqual(stages.loc["total", "count"], 10)
        together = processors.together(processors.history(answers))
        # A row every three seconds, the two processors added up, and a gap where neither says anything.
        self.assertTrue((together["time"].diff().dropna() == pandas.Timedelta(processors.STEP)).all())
        self.assertEqual(together["rows_per_second"].iloc[0], 18.0)
        self.assertTrue(together["rows_per_second"].isna().any())
        self.assertEqual(together["latency_95"].iloc[0], 0.2)

    def test_who_cannot_be_asked_is_told_apart(self):
        with (
            processor() as good,
            served({"/status.json": "<html>"}) as other,
            served({}) as nothing,
            served({"/status.json": good}) as elsewhere,
            served({"/status.json": "{}"}, delay=processors.PATIENCE + 0.5) as slow,
        ):
            closed = closed_port()
            answers = {answer.endpoint: answer for answer in processors.ask(
                [good, other, nothing, elsewhere, slow, closed, "file:///etc/passwd"])}  # fmt: skip
        self.assertIsNone(answers[good].trouble)
        for endpoint in (other, nothing, elsewhere):
            self.assertEqual(answers[endpoint].trouble, "not_a_processor")
        self.assertEqual(answers[slow].trouble, "no_answer_in_time")
        self.assertEqual(answers[closed].trouble, "not_reachable")
        self.assertEqual(answers["file:///etc/passwd"].trouble, "not_an_address")

    def test_a_token_is_shown_to_who_wants_one(self):
        with tempfile.TemporaryDirectory() as folder, processor(token="a-token-of-the-tests") as endpoint:
            file = pathlib.Path(folder) / "token"
            for content in (None, "", "another-token\n", "\xe9\n", "two\rlines\n"):
                if content is not None:
                    file.write_text(content, encoding="latin-1")
                self.assertEqual(processors.ask([endpoint], str(file))[0].trouble, "wants_a_token", content)
            self.assertEqual(processors.ask([endpoint])[0].trouble, "wants_a_token")
            file.write_text("a-token-of-the-tests\n")
            self.assertIsNone(processors.ask([endpoint], str(file))[0].trouble)

    def test_nobody(self):
        self.assertEqual(processors.ask([]), [])
        self.assertTrue(processors.together(processors.history([])).empty)
        self.assertTrue(processors.batches([]).empty)
        self.assertTrue(processors.stages([])["p50"].isna().all())
        self.assertTrue(processors.partitions([]).empty)

    def test_metrics_with_odd_labels(self):
        parsed = processors.parse_metrics(METRICS)
        self.assertEqual(parsed["vigie_odd", frozenset({("text", 'a\\"b,c=d')})], math.inf)


def gateway(name: str, **changes: object) -> dict[str, object]:
    return {
        "gateway_id": name, "sensors": 2, "measured_age": 1.0, "arrival_age": 0.5, "interval": 10.0,
        "expected_rate": 0.2, "estimated": 0, "simulated": 0, "streams": 1, "missing": 0, "partitions": [1],
        "expired": 0, "delay": 0.5, "delay_95": 0.6, "readings": 8, "late": 0,
    } | changes  # fmt: skip


def member(**changes: object) -> dict[str, object]:
    return {
        "instance": "centre-1", "worker": 1, "topic": "t", "partitions": [0, 1], "lag": 0, "state": "healthy",
        "messages_per_second": 10.0, "age": 1.0,
    } | changes  # fmt: skip


class Condition(unittest.TestCase):
    offsets = pandas.DataFrame(
        {"topic": ["t", "t"], "partition": [0, 1], "next_offset": [7, 8], "age": [1.0, 2.0]}
    )  # fmt: skip
    quiet = {"waiting": 0, "oldest_age": None, "attempts": 0, "last_error": None}

    def found(self, members, gateways, *, missing=0, notifications=None, answers=()):
        living = condition.with_life(pandas.DataFrame(members, columns=list(member())))
        partitions = condition.read_partitions(self.offsets, living, processors.partitions(answers))
        judged = condition.judged(pandas.DataFrame(gateways))
        total = {"holes": missing, "readings": missing}
        found = condition.findings(living, partitions, judged, total, notifications or self.quiet, answers)
        return [finding.text.removeprefix("operation.finding.") for finding in found]

    def test_gateways(self):
        judged = condition.judged(
            pandas.DataFrame(
                [
                    gateway("fine"),
                    gateway("lossy", missing=3),
                    gateway("silent", measured_age=600.0, arrival_age=599.0, delay=None, readings=None, late=None),
                    gateway("behind", measured_age=7200.0, delay=None, readings=None, late=None),
                    gateway("estimated", estimated=2),
                    gateway("ahead", measured_age=-60.0, delay=-60.5),
                    # Slow sensors are not silent for that.
                    gateway("slow", interval=600.0, expected_rate=1 / 300, measured_age=900.0, arrival_age=899.0),
                ]
            )
        ).set_index("gateway_id")
        self.assertEqual(
            dict(judged["state"]),
            {
                "silent": "silent", "behind": "behind", "ahead": "clock", "estimated": "clock", "lossy": "ok",
                "fine": "ok", "slow": "ok",
            },
        )  # fmt: skip
        self.assertEqual(list(judged.index), ["silent", "behind", "ahead", "estimated", "lossy", "fine", "slow"])
        self.assertEqual(judged.loc["ahead", "clock"], "ahead")
        self.assertEqual(judged.loc["silent", "waiting"], 120)
        self.assertTrue(judged.loc["silent", "is_bound"])
        self.assertEqual(judged.loc["behind", "waiting"], 1440)
        self.assertFalse(judged.loc["behind", "is_bound"])
        self.assertAlmostEqual(judged.loc["behind", "delay"], 7199.5)

    def test_all_well(self):
        self.assertEqual(self.found([member()], [gateway("a")]), [])

    def test_processors(self):
        self.assertEqual(self.found([], [gateway("a")]), ["no_processor"])
        gone = member(instance="centre-2", worker=1, age=60.0, partitions=[1])
        self.assertEqual(self.found([member(partitions=[0]), gone], [gateway("a")]), ["unread", "gone"])
        self.assertEqual(self.found([member(state="degraded")], [gateway("a")]), ["degraded"])
        self.assertEqual(self.found([member(state="failed")], [gateway("a")]), ["failed"])
        self.assertEqual(self.found([member(lag=5000)], [gateway("a")]), ["lag"])
        self.assertEqual(self.found([member(lag=None)], [gateway("a")]), [])
        silent = processors.Answer("http://x/", trouble="not_reachable")
        self.assertEqual(self.found([member()], [gateway("a")], answers=[silent]), ["unreachable.not_reachable"])
        trouble = processors.Answer("http://x/", status={"instance": "centre-1", "database": {"trouble": "away"}})
        self.assertEqual(self.found([member()], [gateway("a")], answers=[trouble]), ["database"])

    def test_losses_and_notifications(self):
        waiting = {"waiting": 2, "oldest_age": 90.0, "attempts": 3, "last_error": "refused"}
        self.assertEqual(
            self.found([member()], [gateway("a")], missing=4, notifications=waiting), ["missing", "notifications"]
        )
        young = waiting | {"oldest_age": 2.0}
        self.assertEqual(self.found([member()], [gateway("a")], notifications=young), [])

    def test_every_finding_has_its_text_in_both_languages(self):
        names = [f"g{number}" for number in range(5)]
        living = condition.with_life(pandas.DataFrame([member(age=99.0), member(instance="b", state="starting")]))
        partitions = condition.read_partitions(self.offsets, living.head(0), processors.partitions([]))
        judged = condition.judged(
            pandas.DataFrame(
                [gateway(name, arrival_age=900.0, measured_age=901.0, estimated=1) for name in names]
                + [gateway("behind", measured_age=900.0), gateway("ahead", measured_age=-99.0)]
            )
        )
        troubles = ("not_reachable", "no_answer_in_time", "not_a_processor", "not_an_address", "wants_a_token")
        answers = [processors.Answer("http://x/", trouble=trouble) for trouble in troubles]
        found = condition.findings(
            living, partitions, judged, {"holes": 1, "readings": 1}, {"waiting": 1, "oldest_age": 99.0}, answers
        )
        self.assertGreater(len(found), 10)
        for language in LANGUAGES.values():
            for finding in found:
                if finding.count is None:
                    text = language.text(finding.text, **finding.values)
                else:
                    text = language.count(finding.text, finding.count, **finding.values)
                self.assertNotIn("{", text)
        # Long lists are cut short.
        self.assertIn("g0, g1, g2 …", [finding.values.get("names") for finding in found])


class Figures(unittest.TestCase):
    def test_durations_are_those_of_a_person(self):
        self.assertEqual(charts.duration(0.0004, ENGLISH), "< 1\u202fms")
        self.assertEqual(charts.duration(0.0016, ENGLISH, short=True), "1.6\u202fms")
        self.assertEqual(charts.duration(None, ENGLISH), "–")
        axis = charts.duration_axis(0.001, 7000, ENGLISH)
        self.assertEqual(axis["ticktext"][0], "1\u202fms")
        self.assertLessEqual(len(axis["ticktext"]), 6)

    def test_losses_are_drawn_between_their_neighbours(self):
        now = datetime(2026, 1, 1, 12, 0)
        holes = pandas.DataFrame(
            {
                "gateway_id": ["a", "b"], "readings": [3, 1],
                "since": [now - timedelta(minutes=5), None], "until": [now - timedelta(minutes=2), now],
            }
        )  # fmt: skip
        holes["since"] = pandas.to_datetime(holes["since"])
        figure = charts.losses(holes, now, {"missing": "missing"}, LIGHT, ENGLISH)
        self.assertEqual(list(figure.layout.yaxis.ticktext), ["a", "b"])
        self.assertEqual(len(figure.data[1].x), 2)


class View(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = cls.enterClassContext(scratch_database(small_plan()))

    def show(self, language="en"):
        return view_alone("operation", self.address, language)

    def test_shows_what_the_database_knows_without_processors(self):
        for language in LANGUAGES:
            with self.show(language) as test:
                test.run()
                self.assertFalse(test.exception)
                # Gateways, losses, processors and partitions.
                self.assertEqual(len(test.dataframe), 4)
                texts = LANGUAGES[language].texts
                self.assertIn(texts["operation.gateways.honest"], [caption.value for caption in test.caption])

    def test_shows_what_a_processor_says_and_keeps_what_was_chosen(self):
        with processor() as endpoint, self.show() as test:
            with psycopg.connect(self.address) as connection:
                connection.execute("UPDATE processor SET endpoint = %s, updated_at = now()", [endpoint])
            test.run()
            self.assertFalse(test.exception)
            captions = "\n".join(caption.value for caption in test.caption)
            self.assertIn("processors that answer: 1 of 1", captions)
            self.assertIn("Rejected as: not JSON 3, in the future 1", captions)
            with psycopg.connect(self.address) as connection:
                (name,) = connection.execute("SELECT min(gateway_id) FROM sensor").fetchone()
            test.text_input(key="operation-search").set_value(name[2:6].upper()).run()
            self.assertEqual(set(test.dataframe[0].value["gateway_id"]), {name})
            test.run()
            self.assertEqual(set(test.dataframe[0].value["gateway_id"]), {name})
            test.text_input(key="operation-search").set_value("no such gateway").run()
            self.assertIn(ENGLISH.texts["state.nothing_chosen"], [info.value for info in test.info])

    def test_states_hold_in_a_database_with_nobody(self):
        with scratch_database() as address, psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO processor VALUES ('centre-1', 1, 'h', 1, '0', 't', 'g', '{}', NULL, NULL, 0, 'starting',"
                " %(now)s, %(now)s)", {"now": datetime.now(UTC)},
            )  # fmt: skip
            with view_alone("operation", address) as test:
                test.run()
                self.assertFalse(test.exception)
                self.assertEqual(len(test.dataframe), 1)


if __name__ == "__main__":
    unittest.main()
