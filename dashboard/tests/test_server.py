"""Whom the dashboard's server answers: who calls it by a name that is its own."""

import os
import pathlib
import signal
import socket
import subprocess
import unittest

from vigie_harness.ports import free_port
from vigie_harness.processes import wait_until

RUN = pathlib.Path(__file__).resolve().parent.parent / "run"


class Server(unittest.TestCase):
    def start(self, **environment: str) -> None:
        self.port = free_port()
        self.child = subprocess.Popen(
            [RUN, "--server.port", str(self.port)], env=os.environ | {"VIGIE_POSTGRES": "host=/nowhere"} | environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        self.addCleanup(self.end)
        wait_until("the server answers", lambda: self.is_there() or self.child.poll() is not None)
        self.assertIsNone(self.child.poll(), "the server has ended")

    def end(self) -> None:
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(60)

    def is_there(self) -> bool:
        try:
            return self.ask("/_stcore/health", "localhost") == 200
        except OSError:
            return False

    def ask(self, path: str, host: str, *fields: str) -> int:
        """The status of an answer."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
            connection.sendall("\r\n".join(lines).encode())
            return int(connection.makefile("rb").readline().split()[1])

    def connects(self, host: str) -> bool:
        """Whether a page that came from this host gets at what the dashboard shows, which comes by a WebSocket."""
        status = self.ask(
            "/_stcore/stream", host, f"Origin: http://{host}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: streamlit")  # fmt: skip
        self.assertIn(status, (101, 403))
        return status == 101

    def test_another_name_that_leads_here_is_refused(self):
        self.start()
        for host in ("localhost", "127.0.0.1", "[::1]"):
            self.assertTrue(self.connects(f"{host}:{self.port}"), host)
        for host in ("attacker.example", "localhost.attacker.example", "192.0.2.7"):
            self.assertFalse(self.connects(f"{host}:{self.port}"), host)

    def test_a_proxys_name_can_be_allowed(self):
        self.start(STREAMLIT_SERVER_ALLOWED_HOSTS="vigie.example")
        self.assertTrue(self.connects("vigie.example"))
        self.assertFalse(self.connects("attacker.example"))
