"""What systemd is told, by the server as it is started."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from vigie_dashboard.systemd import notify, watchdog_interval
from vigie_harness.checkout import ROOT
from vigie_harness.ports import free_port

# Seconds. Only what never comes takes so long.
PATIENCE = 300


class Systemd(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="vigie-notify-"))
        self.path = str(pathlib.Path(folder) / "socket")
        self.listener = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.listener.bind(self.path)
        self.listener.settimeout(PATIENCE)

    def server(self, **environment):
        child = subprocess.Popen(
            [sys.executable, "-m", "vigie_dashboard", "--server.port", str(free_port())], cwd=ROOT / "dashboard",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={name: value for name, value in os.environ.items() if name != "VIGIE_POSTGRES"} | environment,
        )  # fmt: skip
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def test_the_server_is_ready_feeds_the_watchdog_and_stops(self):
        child = self.server(
            NOTIFY_SOCKET=self.path, WATCHDOG_USEC="200000", VIGIE_POSTGRES="host=127.0.0.1 port=1 dbname=vigie"
        )
        self.assertEqual(self.listener.recv(100), b"READY=1")
        self.assertEqual([self.listener.recv(100) for _ in range(3)], [b"WATCHDOG=1"] * 3)
        child.send_signal(signal.SIGSTOP)
        self.listener.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            while self.listener.recv(100):
                pass
        self.listener.settimeout(PATIENCE)
        child.send_signal(signal.SIGCONT)
        child.send_signal(signal.SIGTERM)
        while (message := self.listener.recv(100)) == b"WATCHDOG=1":
            pass
        self.assertEqual(message, b"STOPPING=1")
        self.assertEqual(child.wait(PATIENCE), 0)

    def test_wrong_settings_have_a_status_of_their_own(self):
        """With it systemd does not start the server again."""
        child = self.server()
        self.assertEqual(child.wait(PATIENCE), 78)
        self.assertRegex(child.stderr.read(), r"^vigie-dashboard: VIGIE_POSTGRES is not set: .*\n$")

    def test_without_systemd_nothing_is_sent(self):
        for path in ("", "relative", "/nonexistent/socket"):
            notify("READY=1", {"NOTIFY_SOCKET": path})
        notify("READY=1", {})

    def test_the_watchdog_is_for_this_process(self):
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "60000000"}), 30)
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}), 30)
        for other in ({}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"},
                      {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}):  # fmt: skip
            self.assertIsNone(watchdog_interval(other))


if __name__ == "__main__":
    unittest.main()
