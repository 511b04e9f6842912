"""The processes of a storm: killed, paused, stopped and started again, and watched for ends that nobody asked for."""

import contextlib
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import HarnessError
from ..kafka.node import KafkaNode
from ..postgres import Postgres
from ..processes import Process, last_lines

# How long a program may take to end in order before that is a fault of its own: systemd's default.
STOP_BOUND = 90.0
# The longest that a program is given, from its start or the end of a pause, to take charge of its signals.
LOADING = 60.0
# A stop that takes longer than this is told.
SLOW_STOP = 15.0


@dataclass(frozen=True)
class Incident:
    """Something that happened to a process and that no fault explains by itself."""

    at: float
    """time.monotonic()."""
    member: str
    sentence: str
    is_failure: bool
    """Whether the storm has failed by it; otherwise it is only told."""


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has said what is to be done with a signal: caught, blocked or ignored (proc(5))."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, mask = line.partition(":")
            if name in ("SigBlk", "SigCgt", "SigIgn") and int(mask, 16) >> (number - 1) & 1:
                return True
    return False


class Member:
    """A process that is meant to run unless a fault has taken it down. Every method may be called from any thread."""

    def __init__(self, name: str, tell: Callable[[Incident], None]):
        self.name = name
        self._tell_incident = tell
        self._lock = threading.RLock()
        self._is_abandoned = threading.Event()
        self._is_wanted = False
        self._running_since = 0.0
        self.starts = 0
        self.slowest_stop = 0.0
        """Seconds that the slowest end in order took."""

    # What kinds of members do differently

    @property
    def process(self) -> Process | None:
        raise NotImplementedError

    def launch(self) -> None:
        """Starts the process, and need not wait until it serves."""
        raise NotImplementedError

    def expected_endings(self) -> tuple[int, ...]:
        """Exit statuses of a good end in order."""
        return (0,)

    is_ours = False
    """Whether it is one of Vigie's programs, whose ends are judged."""

    # What faults do

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lets nobody else kill, stop or start it meanwhile; they wait."""
        with self._lock:
            yield

    def start(self) -> None:
        """Starts it, unless it runs."""
        with self._lock:
            self._is_wanted = True
            if not self.is_running:
                self._launch()

    def _launch(self) -> None:
        self.launch()
        # A machine that is short of time may take seconds for that alone.
        self._running_since = time.monotonic()
        self.starts += 1

    def kill(self) -> None:
        with self._lock:
            self._is_wanted = False
            if self.process:
                self.process.kill()

    def abandon(self) -> None:
        """Lets nobody wait any longer for its end in order: the storm is broken off."""
        self._is_abandoned.set()

    def pause(self) -> None:
        with self._lock:
            if self.process:
                self.process.pause()

    def resume(self) -> None:
        with self._lock:
            if self.process:
                # A pause may have begun before the program was loaded.
                self._running_since = time.monotonic()
                self.process.resume()

    def terminate(self, bound: float = STOP_BOUND) -> None:
        """Asks it to end, and waits; a stop that does not end, or ends badly, is an incident."""
        with self._lock:
            self._is_wanted = False
            process = self.process
            if not process or not process.is_running:
                return
            began = time.monotonic()
            ended_in_time = self._asks_to_stop(process, bound)
            took = time.monotonic() - began
            self.slowest_stop = max(self.slowest_stop, took)
            if self._is_abandoned.is_set():
                return
            if not ended_in_time:
                self.tell(f"did not end within {bound:.0f} s of {process.stop_signal.name}", is_failure=self.is_ours)
            elif process.exit_status not in self.expected_endings():
                # What a program says by its status about a stop in the middle of trouble is its own; a crash is not.
                is_crash = self.is_ours and process.exit_status < 0
                self.tell(f"{process.ending} {took:.1f} s after {process.stop_signal.name}", is_failure=is_crash)
            elif self.is_ours and took > SLOW_STOP:
                self.tell(f"took {took:.1f} s to end after {process.stop_signal.name}", is_failure=False)

    def _asks_to_stop(self, process: Process, bound: float) -> bool:
        if self.is_ours:
            # Until the loader is done the kernel does what it does with the signal, whatever the program would do. One
            # that was paused while it was loaded must go on for that.
            if not handles(process.pid, process.stop_signal):
                self.resume()
            deadline = self._running_since + LOADING
            while process.is_running and not handles(process.pid, process.stop_signal) and time.monotonic() < deadline:
                time.sleep(0.005)
        process.ask_to_stop()
        deadline = time.monotonic() + bound
        while process.is_running:
            if self._is_abandoned.is_set():
                process.kill()
            elif time.monotonic() > deadline:
                process.kill()
                return False
            else:
                time.sleep(0.02)
        return True

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def look(self) -> None:
        """Starts it again if it has ended by itself, as systemd would."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_wanted and not self.is_running:
                ending = self.process.ending if self.process else "was not there"
                said = last_lines(self.process.log, 4) if self.process else ""
                self.tell(f"{ending} by itself" + (f":\n{said}" if said else ""), is_failure=self.is_ours)
                time.sleep(0.5)
                self._launch()
        except HarnessError as error:
            self.tell(str(error), is_failure=False)
        finally:
            self._lock.release()

    def tell(self, sentence: str, is_failure: bool) -> None:
        self._tell_incident(Incident(time.monotonic(), self.name, sentence, is_failure))


class ProgramMember(Member):
    """One of Vigie's programs."""

    is_ours = True

    def __init__(self, name: str, arguments: list, log: pathlib.Path, tell):
        super().__init__(name, tell)
        self._arguments = arguments
        self._log = log
        self._process: Process | None = None

    @property
    def process(self) -> Process | None:
        return self._process

    def launch(self) -> None:
        self._process = Process(self.name, self._arguments, self._log)


class NodeMember(Member):
    """A node of Kafka."""

    def __init__(self, name: str, node: KafkaNode, tell):
        super().__init__(name, tell)
        self.node = node

    @property
    def process(self) -> Process | None:
        return self.node.process

    def launch(self) -> None:
        self.node.launch()

    def expected_endings(self) -> tuple[int, ...]:
        # Java's own after SIGTERM.
        return (0, 128 + signal.SIGTERM)


class PostgresMember(Member):
    """PostgreSQL: its first process."""

    def __init__(self, name: str, server: Postgres, tell):
        super().__init__(name, tell)
        self.server = server

    @property
    def process(self) -> Process | None:
        return self.server.process

    def launch(self) -> None:
        deadline = time.monotonic() + 90
        while True:
            try:
                self.server.start()
                return
            except HarnessError:
                # After SIGKILL of the first process its children take a moment to go, and nobody may start before.
                if time.monotonic() > deadline:
                    raise
                self._forget_killed()
                time.sleep(0.2)

    def _forget_killed(self) -> None:
        with contextlib.suppress(OSError):
            if not self.is_running:
                pid = int((self.server.data / "postmaster.pid").read_text().split()[0])
                if not pathlib.Path(f"/proc/{pid}").exists():
                    (self.server.data / "postmaster.pid").unlink()
