"""Looks into the outboxes and remembers what stood in them. Reads only, as any `sqlite3` shell could."""

import pathlib
import sqlite3
import threading
import time
from dataclasses import dataclass, field

INTERVAL = 0.05

# The columns of a reading, as the outbox has them, and as the oracle's tables name them.
COLUMNS = (
    "seq", "event_time", "sensor_id", "interval_ms", "temperature", "humidity", "co2", "pressure", "battery_level",
    "battery_voltage")  # fmt: skip

_READINGS = f"SELECT stream_id, {', '.join(COLUMNS)} FROM reading WHERE seq > ? ORDER BY seq"

# The highest number that was ever given: rows that are gone are remembered.
_LAST = """
    SELECT max((SELECT last_number FROM outbox), coalesce((SELECT max(seq) FROM reading), 0),
        coalesce((SELECT max(seq) FROM quarantine), 0), coalesce((SELECT max(last) FROM gap), 0))
"""


def stream_name(number: int) -> str:
    """A stream's name as messages have it; SQLite's integers have a sign."""
    return f"{number & (1 << 64) - 1:016x}"


@dataclass
class OutboxView:
    """What is known of one outbox."""

    gateway: str
    path: pathlib.Path
    last_number: int = 0
    """The highest number that was ever given."""
    given: dict[str, int] = field(default_factory=dict)
    """For each stream the highest number that was seen of it."""
    inode: int | None = None
    may_go_back: bool = False
    """Whether the file was replaced by an older one, so that its numbers begin lower."""
    depth: int = 0
    """Readings that wait, when it was looked at last."""
    dropped: int = 0
    quarantined: int = 0
    looked_at: float = 0.0
    readings: dict = field(default_factory=dict)
    """For each (stream, number) the row as it was seen first, and when: time.monotonic()."""
    last_seen: int = 0
    problems: list[str] = field(default_factory=list)
    """What an outbox must never show."""


class Poller:
    """Looks into every outbox a few times a second."""

    def __init__(self, outboxes: dict[str, pathlib.Path]):
        self.views = {gateway: OutboxView(gateway, path) for gateway, path in outboxes.items()}
        self._connections: dict[str, sqlite3.Connection] = {}
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Looks a last time, and ends."""
        self._is_stopping.set()
        self._thread.join(30)
        self.look()
        self.close()

    def look_soon(self) -> None:
        """Waits until it has looked at every outbox again, or cannot."""
        asked = time.monotonic()
        while time.monotonic() < asked + 5 and any(view.looked_at < asked for view in self.views.values()):
            time.sleep(INTERVAL / 5)

    @property
    def depth(self) -> int:
        return sum(view.depth for view in self.views.values())

    def _run(self) -> None:
        while not self._is_stopping.wait(INTERVAL):
            self.look()
        # SQLite's connections belong to the thread that made them.
        self.close()

    def close(self) -> None:
        """Closes its connections, in the thread that looked."""
        for connection in self._connections.values():
            connection.close()
        self._connections = {}

    def look(self) -> None:
        """Looks once. An outbox that is not there yet, or is locked, is looked at the next time."""
        for view in self.views.values():
            try:
                self._look_at(view)
            except sqlite3.Error:
                if connection := self._connections.pop(view.gateway, None):
                    connection.close()

    def _connection(self, view: OutboxView) -> sqlite3.Connection:
        # A file that was deleted or replaced is another one under the same name.
        inode = view.path.stat().st_ino if view.path.exists() else None
        if inode != view.inode and (old := self._connections.pop(view.gateway, None)):
            old.close()
        view.inode = inode
        if view.gateway not in self._connections:
            found = sqlite3.connect(f"file:{view.path}?mode=ro", uri=True, timeout=0.02, isolation_level=None)
            self._connections[view.gateway] = found
        return self._connections[view.gateway]

    def _look_at(self, view: OutboxView) -> None:
        connection = self._connection(view)
        # One transaction, so that all is of one moment.
        connection.execute("BEGIN")
        try:
            (dropped,) = connection.execute("SELECT dropped FROM outbox").fetchone()
            (last_number,) = connection.execute(_LAST).fetchone()
            if last_number < view.last_number and view.may_go_back:
                view.last_seen, view.may_go_back = 0, False
            # Numbers only grow; what stood there before was seen before.
            rows = connection.execute(_READINGS, (view.last_seen,)).fetchall()
            depth = connection.execute("SELECT count(*) FROM reading").fetchone()[0]
            quarantined = connection.execute("SELECT count(*) FROM quarantine").fetchone()[0]
        finally:
            connection.execute("ROLLBACK")
        now = time.monotonic()
        if view.last_seen and last_number < view.last_number:
            view.problems.append(f"{view.gateway}: numbers went back from {view.last_number} to {last_number}")
        for number, *row in rows:
            stream = stream_name(number)
            known, _ = view.readings.setdefault((stream, row[0]), (tuple(row), now))
            if known != tuple(row):
                view.problems.append(f"{view.gateway}: number {row[0]} of {stream} stands for two readings")
            view.given[stream] = max(view.given.get(stream, 0), row[0])
        view.last_number = last_number
        view.last_seen = rows[-1][1] if rows else view.last_seen
        view.depth = depth
        view.dropped = dropped
        view.quarantined = quarantined
        view.looked_at = now
