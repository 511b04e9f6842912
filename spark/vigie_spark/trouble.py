"""Troubles as one line of the log each, whatever Spark puts around them, and however often they come."""

import logging
import re
import time

log = logging.getLogger("vigie.spark")


class Trouble:
    """What keeps the job from its work. Each thing that is wrong is one line of the log, and the end is one."""

    def __init__(self, what: str):
        self._what = what
        self._told: set[str] = set()
        self._began = 0.0

    def tell(self, text: str) -> None:
        # Numbers are of attempts, ports and times.
        told = re.sub(r"\d+", "", text)
        if not self._told:
            self._began = time.monotonic()
        log.log(logging.DEBUG if told in self._told else logging.WARNING, "%s: %s", self._what, text)
        self._told.add(told)

    def end(self) -> None:
        if self._told:
            log.info("that is over after %.0f s: %s", time.monotonic() - self._began, self._what)
        self._told = set()


def root_cause(error: Exception) -> str:
    """The line of an error that says why: Spark puts its own frames, states and plans around it."""
    text = str(error).partition("=== Streaming Query ===")[0].partition("JVM stacktrace:")[0]
    lines = [re.sub(r"( *SQLSTATE: \w+)+$", "", line).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if "Traceback (most recent call last)" in text:
        # The innermost one is the last; its frames are indented.
        return next(line for line in reversed(lines) if not line[0].isspace())[:500]
    return (lines[0] if lines else repr(error)).rpartition("terminated with exception: ")[2].strip()[:500]
