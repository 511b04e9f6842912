"""Signals that ask a command to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP, from its first moment on.

What starts a command (`tools/`, the Makefile) blocks them until Python is up, by `env --block-signal`, and the
functions here unblock them; so none is lost, and none meets Python without a handler. This module imports nothing that
takes long: it comes before what does.
"""

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        """The exit status, as a shell has it of a command that a signal ended."""


def end_at_once() -> None:
    """From now on a signal ends this process without a word: for as long as it has started nothing."""
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def raise_stopped() -> None:
    """From now on the first signal raises Stopped in the main thread; further ones do not disturb the end."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore() -> None:
    """From now on nothing interrupts us: every part of the end has a bound."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, _frame) -> None:
    ignore()
    raise Stopped(number)
