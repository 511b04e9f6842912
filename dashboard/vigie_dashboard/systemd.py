"""Tells systemd how the server is, by the datagrams of sd_notify(3)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping


def notify(message: str, environment: Mapping[str, str] = os.environ) -> None:
    """Sends one message. A systemd that does not take it changes nothing for the server, as sd_notify(3) advises."""
    path = environment.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
        sender.sendto(message.encode(), path.replace("@", "\0", 1))


def watchdog_interval(environment: Mapping[str, str] = os.environ) -> float | None:
    """Half of the bound that systemd sets, in seconds (sd_watchdog_enabled(3)); None if it sets none."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2 / 1_000_000


@contextlib.asynccontextmanager
async def lifespan(_application: object) -> AsyncIterator[None]:
    """Says that the server is ready, that its event loop still turns, and that it stops. Its socket listens by then."""
    feeding = asyncio.create_task(_feed(interval)) if (interval := watchdog_interval()) else None
    notify("READY=1")
    try:
        yield
    finally:
        notify("STOPPING=1")
        if feeding:
            feeding.cancel()


async def _feed(interval: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
