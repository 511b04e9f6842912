"""Free ports of the loopback interface.

They lie below those that the kernel gives to outgoing connections, which would take one away between the moment when
it is found and the moment when a server listens on it. Another program may still do so: who
starts a server tries again.
"""

import contextlib
import os
import pathlib
import random
import socket
import threading

_FIRST = 10_000
_lock = threading.Lock()
_given: set[int] = set()
_random = random.SystemRandom()


def _end() -> int:
    """The first port that the kernel gives to outgoing connections."""
    with contextlib.suppress(OSError, ValueError):
        first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if first > _FIRST + 1000:
            return first
    return 32_768


def free_port() -> int:
    """A port that nobody listens on now, and that this process has not been given before."""
    end = _end()
    with _lock:
        while True:
            port = _random.randrange(_FIRST, end)
            if port not in _given and port_is_free(port):
                _given.add(port)
                return port
            if len(_given) > (end - _FIRST) // 2:
                _given.clear()


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def listens(process: int, port: int) -> bool:
    """Whether a process of ours listens on a port itself, and not somebody else who took it (proc_pid_fd(5))."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                # 0A is the state of a socket that listens.
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/fd") as files:
        for file in files:
            with contextlib.suppress(OSError):
                if os.readlink(file.path) in sockets:
                    return True
    return False


def accepts(port: int) -> bool:
    """Whether somebody accepts connections at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
