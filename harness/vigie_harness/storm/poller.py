"""Looks into the outboxes and remembers what stood in them. Reads only, as any `sqlite3` shell could."""

import contextlib
import pathlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from .cards import LAST_NUMBER, stream_name

INTERVAL = 0.05

# The columns of a reading, as the outbox has them, and as the oracle's tables name them.
COLUMNS = (
    "seq", "event_time", "sensor_id", "interval_ms", "temperature", "humidity", "co2", "pressure", "battery_level",
    "battery_voltage")  # fmt: skip

_READINGS = f"SELECT stream_id, {', '.join(COLUMNS)} FROM reading WHERE seq > ? ORDER BY seq"


@dataclass
class OutboxView:
    """What is known of one outbox."""

    gateway: str
    path: pathlib.Path
    last_number: int = 0
    """The highest number that the present file knows of."""
    given: dict[str, int] = field(default_factory=dict)
    """For each stream the highest number that was seen of it."""
    inode: int | None = None
    """Of the present file. Another one may begin with lower numbers: it is an older copy, or is being filled."""
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
        self._lock = threading.RLock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, name: str, gateway: str, path: pathlib.Path) -> None:
        """Looks into one more outbox, that of a second gateway under the name of `gateway`."""
        # Whoever goes through the views just now goes on with those that there were.
        self.views = {**self.views, name: OutboxView(gateway, path)}

    @contextlib.contextmanager
    def looking_away(self, name: str) -> Iterator[OutboxView]:
        """Looks a last time at a file that is about to be removed or replaced, and not again until that is done."""
        with self._lock:
            self.look_at(name)
            yield self.views[name]
            # The next file may get the same inode, once nobody has this one open.
            self._disconnect(name)
            self.views[name].inode = None

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
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        with self._lock:
            for name in list(self._connections):
                self._disconnect(name)

    def look(self) -> None:
        """Looks once. An outbox that is not there yet, or is locked, is looked at the next time."""
        for name in self.views:
            self.look_at(name)

    def look_at(self, name: str) -> None:
        """Looks at one outbox, if that can be done."""
        with self._lock:
            try:
                self._look_at(self.views[name], self._connection(name))
            except (sqlite3.Error, OSError):
                self._disconnect(name)

    def _disconnect(self, name: str) -> None:
        if connection := self._connections.pop(name, None):
            connection.close()

    def _connection(self, name: str) -> sqlite3.Connection:
        # A file that was deleted or replaced is another one under the same name.
        view = self.views[name]
        inode = view.path.stat().st_ino
        if inode != view.inode:
            self._disconnect(name)
            view.last_number, view.last_seen, view.inode = 0, 0, inode
        if name not in self._connections:
            # Used by one thread at a time.
            self._connections[name] = sqlite3.connect(
                f"file:{view.path}?mode=ro", uri=True, timeout=0.02, isolation_level=None, check_same_thread=False
            )
        return self._connections[name]

    @staticmethod
    def _look_at(view: OutboxView, connection: sqlite3.Connection) -> None:
        # One transaction, so that all is of one moment.
        connection.execute("BEGIN")
        try:
            (dropped,) = connection.execute("SELECT dropped FROM outbox").fetchone()
            (last_number,) = connection.execute(LAST_NUMBER).fetchone()
            # Numbers only grow; what stood there before was seen before.
            rows = connection.execute(_READINGS, (view.last_seen,)).fetchall()
            depth = connection.execute("SELECT count(*) FROM reading").fetchone()[0]
            quarantined = connection.execute("SELECT count(*) FROM quarantine").fetchone()[0]
        finally:
            connection.execute("ROLLBACK")
        now = time.monotonic()
        if last_number < view.last_number:
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
