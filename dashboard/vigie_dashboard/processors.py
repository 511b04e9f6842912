"""What the processors themselves say: their state, their last ten minutes and their counters.

The table `processor` says where each one answers. All are asked at once and none is waited for long: one that cannot be
reached is told apart from the others, which are shown all the same.
"""

import concurrent.futures
import functools
import json
import math
import pathlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas

# Seconds until a processor that does not answer counts as out of reach, for each of its three answers.
PATIENCE = 1.0
# A processor's longest answer is a tenth of this.
LARGEST_ANSWER = 4 << 20

# Of the history that is shown.
STEP = "3s"

STAGES = ("commit", "send", "receive", "store")
HISTORY_COLUMNS = (
    "time", "messages_per_second", "rows_per_second", "batch_seconds", "lag", "latency_median", "latency_95",
    "cpu_share", "resident_bytes",
)  # fmt: skip
BATCH_COLUMNS = ("time", "messages", "rows", "seconds")


@dataclass(frozen=True)
class Answer:
    """What one processor said; `trouble` names why it said nothing."""

    endpoint: str
    status: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    metrics: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def instance(self) -> str:
        """Its name in the consumer group."""
        return str(self.status.get("instance", ""))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A processor never redirects; whoever answers so is not one, and is not followed elsewhere."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    # Without proxies: a processor is asked directly, as its address is the one that it gave itself.
    return urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def _read(address: str, token: str | None) -> bytes:
    # A redirection is not followed, so the token goes to this address only.
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    with _opener().open(request, timeout=PATIENCE) as answer:
        content = answer.read(LARGEST_ANSWER + 1)
    if len(content) > LARGEST_ANSWER:
        raise ValueError("too long an answer")
    return content


def read_token(file: str | None) -> str | None:
    """The first line of a file, which is read anew each time; None if there is none that can be sent."""
    if file is None:
        return None
    try:
        line = pathlib.Path(file).read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, ValueError):
        return None
    return line if line.isprintable() and line else None


def ask_one(endpoint: str, token: str | None = None) -> Answer:
    """Everything that one processor says to who shows this token."""
    base = endpoint.rstrip("/")
    if not base.startswith(("http://", "https://")):
        return Answer(endpoint, trouble="not_an_address")
    try:
        status = json.loads(_read(f"{base}/status.json", token))
        history = json.loads(_read(f"{base}/history.json", token))
        metrics = parse_metrics(_read(f"{base}/metrics", token).decode())
    except TimeoutError:
        return Answer(endpoint, trouble="no_answer_in_time")
    except urllib.error.HTTPError as error:
        return Answer(endpoint, trouble="wants_a_token" if error.code == 401 else "not_a_processor")
    except OSError as error:
        reason = getattr(error, "reason", error)
        timed_out = isinstance(reason, TimeoutError)
        return Answer(endpoint, trouble="no_answer_in_time" if timed_out else "not_reachable")
    except ValueError:
        return Answer(endpoint, trouble="not_a_processor")
    if not isinstance(status, dict) or not isinstance(history, dict):
        return Answer(endpoint, trouble="not_a_processor")
    return Answer(endpoint, status, history, metrics)


def ask(endpoints: Iterable[str], token_file: str | None = None) -> list[Answer]:
    """What all processors say, asked at the same time; in the order of their addresses."""
    wanted = sorted(set(endpoints))
    if not wanted:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(16, len(wanted))) as threads:
        return list(threads.map(functools.partial(ask_one, token=read_token(token_file)), wanted))


_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Prometheus' text form: each sample by its name and labels."""
    samples = {}
    for line in text.splitlines():
        if found := _SAMPLE.match(line):
            labels = frozenset(_LABEL.findall(found[2] or ""))
            samples[found[1], labels] = float(found[3])
    return samples


def total(answers: Sequence[Answer], name: str) -> float | None:
    """A metric's sum over its labels and all processors; None if nobody says it."""
    values = [
        value for answer in answers for (sample, _), value in answer.metrics.items() if sample == name
    ]  # fmt: skip
    return sum(values) if values else None


def by_label(answers: Sequence[Answer], name: str, label: str) -> dict[str, float]:
    """A metric's sums by one of its labels, over all processors."""
    sums: dict[str, float] = {}
    for answer in answers:
        for (sample, labels), value in answer.metrics.items():
            if sample == name and (key := dict(labels).get(label)) is not None:
                sums[key] = sums.get(key, 0.0) + value
    return sums


def history(answers: Sequence[Answer]) -> pandas.DataFrame:
    """The last ten minutes of each processor, a row a second and processor, times in UTC."""
    frames = []
    for answer in answers:
        points, columns = answer.history.get("points"), answer.history.get("columns")
        if not points or not columns:
            continue
        frame = pandas.DataFrame(points, columns=columns).reindex(columns=list(HISTORY_COLUMNS))
        for column in HISTORY_COLUMNS[1:]:
            frame[column] = pandas.to_numeric(frame[column], errors="coerce")
        frame["time"] = pandas.to_datetime(frame["time"], unit="ms", utc=True)
        frames.append(frame.assign(instance=answer.instance))
    if not frames:
        return pandas.DataFrame(columns=[*HISTORY_COLUMNS, "instance"])
    return pandas.concat(frames, ignore_index=True)


def batches(answers: Sequence[Answer]) -> pandas.DataFrame:
    """The last batches of each processor, the oldest first."""
    frames = [
        pandas.DataFrame(answer.status["batches"], columns=list(BATCH_COLUMNS)).assign(instance=answer.instance)
        for answer in answers
        if answer.status.get("batches")
    ]
    if not frames:
        return pandas.DataFrame(columns=[*BATCH_COLUMNS, "instance"])
    frame = pandas.concat(frames, ignore_index=True)
    frame["time"] = pandas.to_datetime(frame["time"], unit="ms", utc=True)
    return frame.sort_values("time", ignore_index=True)


def stages(answers: Sequence[Answer]) -> pandas.DataFrame:
    """The latency of each stage and of the whole way over the last minutes, seconds.

    Percentiles of several processors cannot be put together, so that of the slowest one stands for all.
    """
    rows = []
    for stage in (*STAGES, "total"):
        found = []
        for answer in answers:
            if stage == "total":
                entry = answer.status.get("latency") or {}
            else:
                entries = answer.status.get("stages") or []
                entry = next((one for one in entries if one.get("stage") == stage), {})
            if entry.get("count"):
                found.append(entry)
        row: dict[str, Any] = {"stage": stage, "count": sum(entry["count"] for entry in found)}
        for name in ("p50", "p95", "p99", "max"):
            values = [entry[name] for entry in found if entry.get(name) is not None]
            row[name] = max(values) if values else math.nan
        rows.append(row)
    return pandas.DataFrame(rows)


def buckets(answers: Sequence[Answer]) -> pandas.DataFrame:
    """How many sampled readings took how long from the air to their row: counts by upper bound, all processors."""
    sums: dict[float, int] = {}
    for answer in answers:
        for bound, count in (answer.status.get("latency") or {}).get("buckets") or []:
            key = math.inf if bound is None else float(bound)
            sums[key] = sums.get(key, 0) + int(count)
    return pandas.DataFrame(sorted(sums.items()), columns=["bound", "count"])


def partitions(answers: Sequence[Answer]) -> pandas.DataFrame:
    """Where each partition is, as its reader says."""
    rows = [
        {"instance": answer.instance, **entry} for answer in answers for entry in answer.status.get("partitions") or []
    ]
    columns = ["partition", "instance", "worker", "position", "committed", "end", "lag"]
    return pandas.DataFrame(rows, columns=columns).sort_values("partition", ignore_index=True)


def counts(answers: Sequence[Answer]) -> dict[str, int]:
    """What was done since each processor's start, added up."""
    sums: dict[str, int] = {}
    for answer in answers:
        for name, value in (answer.status.get("counts") or {}).items():
            sums[name] = sums.get(name, 0) + int(value)
    return sums


def together(history: pandas.DataFrame) -> pandas.DataFrame:
    """All processors' history in one, a row every three seconds: as fine as a screen shows ten minutes.

    Rates are means and lags the largest, added up over the processors; of what cannot be added, the slowest processor's
    stands for all. A time of which nobody says anything is a row that is empty.
    """
    columns = list(HISTORY_COLUMNS)
    if history.empty:
        return pandas.DataFrame(columns=columns)
    means = ["messages_per_second", "rows_per_second"]
    others = [name for name in columns[1:] if name not in means]
    each = history.assign(time=history["time"].dt.floor(STEP)).groupby(["time", "instance"])
    each = each[means].mean().join(each[others].max())
    together = each.groupby("time")
    added = [*means, "lag"]
    frame = together[added].sum(min_count=1).join(together[[name for name in others if name != "lag"]].max())
    whole = pandas.date_range(frame.index.min(), frame.index.max(), freq=STEP, name="time")
    return frame.reindex(whole).reset_index()[columns]
