"""What a storm tells: the timeline while it blows, the counts, and the smallest story of a failure."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from rich.console import Console
from rich.text import Text

from .members import Incident
from .oracle import Violation
from .schedule import Fault

# A story shows so many of each, and says how many more there are.
FEW = 5
# Faults so long before the readings concerned, and after them, belong to the story.
BEFORE, AFTER = 15.0, 5.0


@dataclass
class Entry:
    """A fault as it was."""

    fault: Fault
    began: float
    """Seconds after the storm's beginning."""
    ended: float | None = None
    void: str | None = None
    """Why it could not be done, if it could not."""

    def overlaps(self, start: float, end: float) -> bool:
        return self.began <= end and (self.ended is None or self.ended >= start)

    @property
    def line(self) -> str:
        lasted = "" if self.ended is None or self.ended - self.began < 0.05 else f"{self.ended - self.began:6.1f} s"
        planned = f"{self.fault.duration:6.1f} s" if self.ended is None and self.fault.duration else lasted
        void = f"not done: {self.void}" if self.void else ""
        parameters = ", ".join(
            f"{value} {name}" if name != "of" else str(value) for name, value in self.fault.parameters.items()
        )
        return (
            f"T+{self.began:7.1f} s  #{self.fault.number:<4} {self.fault.kind:<14} {self.fault.target:<25} "
            f"{planned:>8}  {void or parameters}"
        ).rstrip()


class Timeline:
    """Shows every fault as it begins, and on a terminal how far the storm is. May be called from any thread."""

    def __init__(self, console: Console, total: int, path=None):
        self.entries: list[Entry] = []
        self._console = console
        self._total = total
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._file = open(path, "a", buffering=1) if path else None
        self._status = None

    @property
    def began(self) -> float:
        """time.monotonic() at the storm's beginning."""
        return self._began

    def restart_clock(self) -> None:
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds after the storm's beginning."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def progress(self):
        """Shows what `update` says below the lines, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("") as status:
            self._status = status
            yield
        self._status = None

    def update(self, text: str) -> None:
        if self._status:
            running = sum(1 for entry in self.entries if entry.ended is None)
            self._status.update(f"{len(self.entries)}/{self._total} faults, {running} under way, {text}")

    def begin(self, fault: Fault) -> Entry:
        entry = Entry(fault, self.now)
        with self._lock:
            self.entries.append(entry)
        self.say(entry.line)
        return entry

    def make_void(self, entry: Entry, reason: str) -> None:
        entry.void = reason
        self.end(entry)
        self.say(f"T+{self.now:7.1f} s  #{entry.fault.number:<4} not done: {reason}")

    def end(self, entry: Entry) -> None:
        entry.ended = self.now

    def say(self, text: str) -> None:
        with self._lock:
            if self._file:
                self._file.write(text + "\n")
            self._console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def counts(self) -> str:
        """How many faults of each kind were done, and how many could not be."""
        void = sum(1 for entry in self.entries if entry.void)
        return counted(self.done) + (f"; {void} could not be done" if void else "")

    @property
    def done(self) -> collections.Counter[str]:
        """How many faults of each kind were done."""
        return collections.Counter(entry.fault.kind for entry in self.entries if not entry.void)


def counted(done: collections.Counter[str]) -> str:
    """Faults by kind, the most frequent first."""
    text = ", ".join(f"{count} {kind}" for kind, count in sorted(done.items(), key=lambda item: (-item[1], item[0])))
    return f"{done.total()} faults done: {text}"


def ranges(readings: Iterable[tuple[str, str, int, int]]) -> list[tuple[str, str, int, int]]:
    """Adjacent numbers of a stream as one range."""
    found: list[tuple[str, str, int, int]] = []
    for gateway, stream, first, last in sorted(readings):
        if found and found[-1][:2] == (gateway, stream) and first <= found[-1][3] + 1:
            found[-1] = (gateway, stream, found[-1][2], max(last, found[-1][3]))
        else:
            found.append((gateway, stream, first, last))
    return found


class Story:
    """The smallest story of what went wrong: the readings concerned, where they were seen, the faults around them."""

    def __init__(
        self, connection: psycopg.Connection | None, entries: Sequence[Entry], began: float, began_at: datetime
    ):
        self._connection = connection
        self._entries = entries
        self._began = began
        self._began_at = began_at
        self._times: list[float] = []

    def tell(self, violations: Sequence[Violation], incidents: Sequence[Incident]) -> str:
        lines = []
        for violation in violations:
            lines += [str(violation), *self._examples(violation)]
        for incident in incidents:
            at = incident.at - self._began
            lines.append(f"T+{at:7.1f} s  {incident.member} {incident.sentence}")
            if incident.is_failure:
                self._times.append(at)
        lines += self._faults()
        return "\n".join(lines)

    def _examples(self, violation: Violation) -> list[str]:
        lines = []
        found = ranges(violation.readings)
        for gateway, stream, first, last in found[:FEW]:
            numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
            lines.append(f"    {gateway} {stream} {numbers}{self._where(gateway, stream, first, last)}")
        if len(found) > FEW:
            lines.append(f"    and {len(found) - FEW} more ranges")
        for row in [] if found else violation.examples[:FEW]:
            lines.append("    " + ", ".join(f"{name} {value}" for name, value in row.items() if value is not None))
            if start := row.get("window_start"):
                at = (start - self._began_at).total_seconds()
                self._times += [at, at + row["window_size"].total_seconds()]
        return lines

    def _where(self, gateway: str, stream: str, first: int, last: int) -> str:
        """Where readings were seen, and what the tables say of them."""
        if not self._connection:
            return ""
        with contextlib.suppress(psycopg.Error):
            values = [gateway, stream, first, last]
            condition = "gateway_id = %s AND stream_id = %s AND seq BETWEEN %s AND %s"
            texts = []
            outbox = self._one(
                f"SELECT count(*), min(seen_at), max(seen_at) FROM storm.outboxed WHERE {condition}", values
            )
            if outbox[0]:
                texts.append(f"{outbox[0]} seen in the outbox T+{outbox[1]:.1f} to {outbox[2]:.1f} s")
                self._times += outbox[1:]
            for partition, count, low, high, start, end in self._connection.execute(
                "SELECT kafka_partition, count(*), min(kafka_offset), max(kafka_offset), min(seen_at), max(seen_at) "
                f"FROM storm.tapped WHERE {condition} GROUP BY 1 ORDER BY 1", values
            ):  # fmt: skip
                texts.append(f"{count} on partition {partition} offsets {low} to {high} T+{start:.1f} to {end:.1f} s")
                self._times += [start, end]
            rows = self._one(
                f"SELECT count(*), min(ingested_at), max(ingested_at) FROM sensor_data WHERE {condition}", values
            )
            if rows[0]:
                at = [(time - self._began_at).total_seconds() for time in rows[1:]]
                texts.append(f"{rows[0]} rows T+{at[0]:.1f} to {at[1]:.1f} s")
                self._times += at
            for low, high, detected in self._connection.execute(
                "SELECT first_seq, last_seq, detected_at FROM loss WHERE gateway_id = %s AND stream_id = %s "
                "AND last_seq >= %s AND first_seq <= %s ORDER BY 1 LIMIT 3", values
            ):  # fmt: skip
                at = (detected - self._began_at).total_seconds()
                texts.append(f"loss {low} to {high} since T+{at:.1f} s")
                self._times.append(at)
            return ": " + "; ".join(texts or ["seen nowhere"])
        return ""

    def _one(self, sql: str, values: list):
        return self._connection.execute(sql, values).fetchone()

    def _faults(self) -> list[str]:
        if not self._times:
            return ["Its last faults:", *(f"    {entry.line}" for entry in self._entries[-10:])]
        start, end = min(self._times) - BEFORE, max(self._times) + AFTER
        found = [entry for entry in self._entries if entry.overlaps(start, end)]
        if len(found) > 25:
            # Those nearest to the first of the readings say most.
            found = [entry for entry in found if entry.overlaps(start, min(self._times) + AFTER)][-25:]
        return ["The faults around that time:", *(f"    {entry.line}" for entry in found)]
