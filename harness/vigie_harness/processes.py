"""Child processes: started, watched, stopped, killed, paused, and waited for."""

import concurrent.futures
import contextlib
import os
import pathlib
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from .checkout import ROOT
from .errors import HarnessError

# The kernel sends the signal of a parent's death when the thread ends that made the child: this one lives as long as
# the process does.
_spawner = concurrent.futures.ThreadPoolExecutor(1, "spawner")


# Runs a command if our parent is still the one that made us: a death before its signal was asked for tells nobody.
IF_PARENT_LIVES = '[ "$PPID" = "$0" ] && exec "$@"'


def last_lines(path, count: int = 12) -> str:
    """The end of a log, for the message about what died."""
    try:
        lines = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-count:])


def wait_until(what: str, is_so: Callable[[], object], bound: float = 60.0, interval: float = 0.02):
    """Waits for a state, and returns what `is_so` returned. HarnessError when the bound (seconds) has passed."""
    deadline = time.monotonic() + bound
    while not (found := is_so()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not within {bound:.0f} s: {what}")
        time.sleep(interval)
    return found


def session_members(session: int) -> list[int]:
    """The processes of a session that have not ended (proc_pid_stat(5))."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                found.append(int(folder.name))
    return found


def end_session(session: int, bound: float) -> None:
    """Asks all processes of a session to end, and kills those that have not when the bound (seconds) has passed.

    Those too whose parent has ended, and that have a process group of their own.
    """
    deadline = time.monotonic() + bound
    asked: set[int] = set()
    while members := session_members(session):
        is_late = time.monotonic() > deadline
        for member in members:
            if is_late or member not in asked:
                asked.add(member)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL if is_late else signal.SIGTERM)
        time.sleep(0.02)


class Process:
    """A child that writes to a log, gets no Ctrl-C of the terminal, and ends with its parent whatever kills that.

    `stop_signal` asks it to end in order. `user` is who it runs as, for root only. `environment` replaces ours.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence,
        log,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.log = pathlib.Path(log)
        self.stop_signal = stop_signal
        prefix = ["setpriv", f"--pdeathsig={stop_signal.name.removeprefix('SIG')}"]
        if user:
            prefix += [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        with open(self.log, "ab") as output:
            self.child = _spawner.submit(
                subprocess.Popen,
                [*prefix, "--", "sh", "-c", IF_PARENT_LIVES, str(os.getpid()), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
                cwd=ROOT if not user else "/",
            ).result()
        self.was_asked_to_stop = False
        self.is_paused = False

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; a paused process has not."""
        return self.child.poll() is None

    def check(self) -> None:
        """HarnessError if the process has ended."""
        if not self.is_running:
            raise HarnessError(f"{self.name} {self.ending}; the end of {self.log}:\n{last_lines(self.log)}")

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        status = self.child.returncode
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    @property
    def exit_status(self) -> int | None:
        """None while it runs; a negative number is the signal that ended it."""
        return self.child.poll()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.is_running:
            self.child.send_signal(number)

    def ask_to_stop(self) -> None:
        """Asks the process to end, once: a second signal would make it give up what it is finishing."""
        if self.is_running and not self.was_asked_to_stop:
            self.was_asked_to_stop = True
            self.child.send_signal(self.stop_signal)
            self.resume()

    def stop(self, bound: float = 20.0) -> bool:
        """Asks the process to end and waits; kills it when the bound (seconds) has passed. True if it ended well."""
        self.ask_to_stop()
        try:
            return self.child.wait(bound) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def kill(self) -> None:
        """Ends it by SIGKILL, and waits until it is gone."""
        if self.is_running:
            self.child.kill()
        self.child.wait()
        self.is_paused = False

    def pause(self) -> None:
        """Stops its execution by SIGSTOP: its sockets stay open, and nothing answers."""
        self.send(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """Lets a paused process run again."""
        if self.is_paused:
            self.send(signal.SIGCONT)
            self.is_paused = False

    def wait_until(self, is_ready: Callable[[], object], bound: float = 300.0) -> None:
        """Waits until `is_ready()`; HarnessError if the process ends before or the bound (seconds) passes."""
        deadline = time.monotonic() + bound
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                self.stop()
                raise HarnessError(
                    f"{self.name} was not ready after {bound:.0f} s; see {self.log}:\n{last_lines(self.log)}"
                )
            time.sleep(0.01)

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used until now, of all its threads."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        fields = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
