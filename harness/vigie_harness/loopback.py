"""What servers on one port of the loopback interface have in common."""

import pathlib

from .errors import HarnessError
from .ports import free_port, listens, port_is_free
from .processes import Process

# How often a free port may be lost to another program before the server is up.
ATTEMPTS = 5


class LoopbackServer:
    """A server on a port of the loopback interface: the one that is asked for, else any free one."""

    process: Process | None = None

    def __init__(self, folder, port: int | None = None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.asked_port = port
        self.port: int | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self):
        """Starts it and waits until it accepts connections."""
        if self.asked_port and not port_is_free(self.asked_port):
            raise HarnessError(f"port {self.asked_port} is in use: choose another one for the broker.")
        for attempt in range(ATTEMPTS):
            # After a stop it comes back on the port that its clients know.
            self.port = self.asked_port or self.port or free_port()
            self.process = self.launch()
            try:
                self.process.wait_until(lambda: listens(self.process.pid, self.port))
                return self
            except HarnessError:
                lost_the_port = not self.process.is_running and not port_is_free(self.port)
                if self.asked_port or not lost_the_port or attempt == ATTEMPTS - 1:
                    raise
                self.port = None
        raise AssertionError("unreachable")

    def launch(self) -> Process:
        """Starts its process, which is to serve `port`."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it by SIGTERM, upon which it saves its state if it has any."""
        if self.process:
            self.process.stop()
