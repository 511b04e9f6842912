"""What is well with the pipeline and what is not: judged from what was measured, with no access of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas

from vigie_dashboard.processors import Answer

# A processor gives a heartbeat every three seconds; who missed four is gone.
PROCESSOR_SILENCE = 12.0
# A gateway is silent, or behind, after five of its sensors' intervals and no less than a minute: as the alerts have it.
GATEWAY_INTERVALS = 5
GATEWAY_SILENCE = 60.0
# How far a gateway's clock may be ahead of the processor's until it is said.
CLOCK_AHEAD = 5.0
# Messages that wait for longer than that are said to be behind.
LAG_SECONDS = 30.0
# Notifications that wait for longer than that are said.
NOTIFICATION_PATIENCE = 60.0
# Names in a sentence; the tables have all.
MOST_NAMES = 3

# From worst to best.
GATEWAY_STATES = ("silent", "behind", "clock", "ok")


@dataclass(frozen=True)
class Finding:
    """Something that a person should know: how bad (a status), and the text with its values."""

    status: str
    text: str
    values: dict[str, object] = field(default_factory=dict)
    # For texts with a singular and a plural.
    count: float | None = None


def judged(gateways: pandas.DataFrame) -> pandas.DataFrame:
    """Gateways with their `state`, their `delay` and an estimate of what waits on the board, the worst first.

    Only a gateway itself knows what is in its outbox. What can be known here is how far its newest reading is behind:
    times the rate at which it measures, that is what waits. For one that is silent this holds only if it still
    measures, so `is_bound` says that it is an upper bound.
    """
    frame = gateways.copy()
    patience = (frame["interval"] * GATEWAY_INTERVALS).clip(lower=GATEWAY_SILENCE)
    # Of the newest reading when it came: negative if the gateway's clock is ahead.
    trailing = frame["measured_age"] - frame["arrival_age"]
    frame["delay"] = pandas.to_numeric(frame["delay"], errors="coerce").fillna(trailing)
    is_silent = frame["arrival_age"] > patience
    is_behind = trailing > patience
    has_clock_trouble = (frame["estimated"] > 0) | (trailing < -CLOCK_AHEAD)
    frame["state"] = "ok"
    frame.loc[has_clock_trouble, "state"] = "clock"
    frame.loc[is_behind, "state"] = "behind"
    frame.loc[is_silent, "state"] = "silent"
    frame["clock"] = "synced"
    frame.loc[trailing < -CLOCK_AHEAD, "clock"] = "ahead"
    frame.loc[frame["estimated"] > 0, "clock"] = "estimated"
    frame["is_bound"] = is_silent
    behind = trailing.where(is_behind, frame["delay"]).clip(lower=0)
    behind = behind.where(~is_silent, frame["measured_age"].clip(lower=0))
    frame["waiting"] = (behind * frame["expected_rate"]).round()
    order = frame["state"].map(GATEWAY_STATES.index)
    return (
        frame.assign(order=order, has_losses=frame["missing"] == 0)
        .sort_values(["order", "has_losses", "gateway_id"], ignore_index=True)
        .drop(columns=["order", "has_losses"])
    )  # fmt: skip


def with_life(processors: pandas.DataFrame) -> pandas.DataFrame:
    """Processors with their `condition`: what each says of itself, or that it is gone."""
    frame = processors.copy()
    frame["condition"] = frame["state"].where(frame["age"] <= PROCESSOR_SILENCE, "gone")
    return frame


def read_partitions(
    offsets: pandas.DataFrame, processors: pandas.DataFrame, positions: pandas.DataFrame
) -> pandas.DataFrame:
    """Each partition: who reads it, how far the tables are, and how far behind.

    `processors` are those of `with_life`; `positions` is what the processors that could be asked say.
    """
    readers = {
        (row.topic, partition): row
        for row in processors.itertuples()
        if row.condition != "gone"
        for partition in row.partitions
    }
    known = {(row.instance, row.partition): row for row in positions.itertuples()}
    offset = {(row.topic, row.partition): row for row in offsets.itertuples()}
    rows = []
    for key in sorted(readers.keys() | offset.keys()):
        reader, committed = readers.get(key), offset.get(key)
        position = known.get((reader.instance, key[1])) if reader else None
        rows.append(
            {
                "topic": key[0], "partition": key[1],
                "reader": f"{reader.instance} · {reader.worker}" if reader else None,
                "next_offset": committed.next_offset if committed else None,
                "end": position.end if position else None,
                "lag": position.lag if position else None,
                "age": committed.age if committed else math.nan,
            }
        )  # fmt: skip
    columns = ["topic", "partition", "reader", "next_offset", "end", "lag", "age"]
    frame = pandas.DataFrame(rows, columns=columns)
    for column in ("next_offset", "end", "lag", "age"):
        frame[column] = pandas.to_numeric(frame[column], errors="coerce")
    return frame


def findings(
    processors: pandas.DataFrame,
    partitions: pandas.DataFrame,
    gateways: pandas.DataFrame,
    loss_total: dict[str, int],
    notifications: dict[str, object],
    answers: Sequence[Answer],
) -> list[Finding]:
    """Everything that is not as it should be, the worst first. Nothing means that all is well."""
    found: list[Finding] = []
    alive = processors[processors["condition"] != "gone"]
    gone = processors[processors["condition"] == "gone"]
    if alive.empty:
        found.append(Finding("critical", "operation.finding.no_processor"))
    if not gone.empty:
        names = sorted(set(gone["instance"]))
        found.append(
            Finding("warning" if len(alive) else "critical", "operation.finding.gone", _names(names), len(names))
        )
    for condition, status in (("failed", "critical"), ("degraded", "warning"), ("starting", "warning")):
        names = sorted(set(alive[alive["condition"] == condition]["instance"]))
        if names:
            found.append(Finding(status, f"operation.finding.{condition}", _names(names), len(names)))
    for answer in answers:
        if trouble := (answer.status.get("database") or {}).get("trouble"):
            found.append(
                Finding("failure", "operation.finding.database", {"instance": answer.instance, "reason": trouble})
            )
    unread = partitions[partitions["reader"].isna()] if len(alive) else partitions.head(0)
    if len(unread):
        numbers = [f"{row.topic}/{row.partition}" for row in unread.itertuples()]
        found.append(Finding("critical", "operation.finding.unread", _names(numbers), len(unread)))
    lag = pandas.to_numeric(alive["lag"], errors="coerce").sum()
    rate = float(alive["messages_per_second"].sum())
    if lag > max(100.0, rate * LAG_SECONDS):
        found.append(Finding("warning", "operation.finding.lag", count=float(lag)))
    for state, status in (("silent", "stale"), ("behind", "warning")):
        names = list(gateways[gateways["state"] == state]["gateway_id"])
        if names:
            found.append(Finding(status, f"operation.finding.{state}", _names(names), len(names)))
    for clock in ("estimated", "ahead"):
        names = list(gateways[gateways["clock"] == clock]["gateway_id"])
        if names:
            found.append(Finding("warning", f"operation.finding.{clock}", _names(names), len(names)))
    if loss_total["readings"]:
        found.append(Finding("failure", "operation.finding.missing", count=float(loss_total["readings"])))
    waited = notifications["oldest_age"]
    if notifications["waiting"] and waited is not None and float(waited) > NOTIFICATION_PATIENCE:
        found.append(Finding("warning", "operation.finding.notifications", count=float(notifications["waiting"])))
    for answer in answers:
        if answer.trouble:
            found.append(
                Finding("unknown", f"operation.finding.unreachable.{answer.trouble}", {"endpoint": answer.endpoint})
            )
    order = ("critical", "failure", "warning", "stale", "unknown")
    return sorted(found, key=lambda finding: order.index(finding.status))


def _names(names: Sequence[str]) -> dict[str, object]:
    """The first names of a list for a sentence, and how many there are beyond them."""
    text = ", ".join(names[:MOST_NAMES])
    return {"names": text + (" …" if len(names) > MOST_NAMES else "")}
