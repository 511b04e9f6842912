"""The private services: started, reachable, and gone afterwards, however their parent ends."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from vigie_harness.checkout import ROOT
from vigie_harness.errors import HarnessError
from vigie_harness.postgres import Postgres
from vigie_harness.scratch import scratch_folder
from vigie_harness.servers import quiet_connection
from vigie_harness.stand_in import Noida

WITH_SERVICES = ROOT / "tools/with-services"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}


def is_running(process):
    """Whether the process exists and is not a zombie that waits for its parent."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


class WithServices(unittest.TestCase):
    def start(self, script):
        """Runs a shell script with services; the pids of its two servers come as its first line."""
        child = subprocess.Popen(
            [WITH_SERVICES, "--", "bash", "-c", f"ps -o pid= --ppid $PPID | tr '\\n' ' '; echo; {script}"],
            stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)  # fmt: skip
        self.addCleanup(child.stdout.close)
        pids = [int(word) for word in child.stdout.readline().split()]
        return child, pids

    def assert_ended(self, pids):
        deadline = time.monotonic() + 20
        while any(map(is_running, pids)):
            self.assertLess(time.monotonic(), deadline, "a server outlived its parent")
            time.sleep(0.02)

    def test_the_command_reaches_both_and_its_status_is_ours(self):
        child, pids = self.start(
            'psql -Atc "SELECT current_user" "$VIGIE_POSTGRES"; '
            'exec 3<>"/dev/tcp/${VIGIE_KAFKA/:/\\/}" && echo connected; test -x "$VIGIE_NOIDA" && exit 7'
        )
        output = child.stdout.read()
        self.assertEqual(child.wait(60), 7)
        self.assertTrue(output.startswith("vigie\nconnected\n"), output)
        self.assertIn("Ran against these real parts:", output)
        self.assert_ended(pids)

    def test_a_request_to_stop_ends_everything(self):
        child, pids = self.start("sleep 600")
        self.assertEqual(len(pids), 3)
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(60), 128 + signal.SIGTERM)
        self.assert_ended(pids)

    def test_the_servers_do_not_outlive_a_killed_parent(self):
        child, pids = self.start("sleep 1")
        child.kill()
        child.wait(60)
        self.assert_ended(pids)

    def test_servers_that_are_named_are_used(self):
        environment = ENVIRONMENT | {
            "VIGIE_KAFKA": "kafka.example:9092",
            "VIGIE_POSTGRES": "postgresql://vigie:hunter2@db.example/vigie",
        }
        result = subprocess.run(
            [WITH_SERVICES, "--", "bash", "-c", 'echo "$VIGIE_KAFKA $VIGIE_POSTGRES"'],
            capture_output=True, text=True, env=environment, check=True)  # fmt: skip
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "kafka.example:9092 postgresql://vigie:hunter2@db.example/vigie")
        self.assertIn("kafka.example:9092 (VIGIE_KAFKA)", result.stdout)
        self.assertNotIn("hunter2", "\n".join(lines[1:]))


class PrivatePostgres(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "only root runs PostgreSQL as another user")
    def test_a_folder_that_user_postgres_cannot_enter_is_replaced(self):
        with tempfile.TemporaryDirectory() as closed:
            wanted = pathlib.Path(closed) / "postgres"
            postgres = Postgres(wanted, durable=False)
            try:
                postgres.start()
                self.assertTrue(wanted.is_symlink())
                self.assertEqual(postgres.psql("SELECT 1"), "1")
                again = Postgres(wanted, durable=False)
                self.assertEqual(again.folder, postgres.folder)
            finally:
                postgres.stop()
                postgres.remove()

    def test_data_outlives_a_restart(self):
        folder = scratch_folder()
        first = Postgres(folder / "postgres").start()
        self.addCleanup(folder.rmdir)
        self.addCleanup(first.remove)
        first.psql("CREATE TABLE kept AS SELECT 42 AS answer")
        first.stop()
        second = Postgres(folder / "postgres").start()
        self.addCleanup(second.stop)
        self.assertEqual(second.psql("SELECT answer FROM kept"), "42")


class Texts(unittest.TestCase):
    def test_a_connection_is_shown_without_its_password(self):
        for connection in (
            "postgresql://user:hunter2@host:5432/name",
            "host=a password=hunter2 dbname=b",
            "host=a password = 'hunter2 and more' dbname=b",
        ):
            shown = quiet_connection(connection)
            self.assertNotIn("hunter2", shown)
            self.assertNotIn("more", shown)
            self.assertIn("***", shown)

    def test_a_port_in_use_is_one_clear_sentence(self):

        with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with self.assertRaisesRegex(HarnessError, f"port {port} is in use"):
                Noida(folder, port).start()


if __name__ == "__main__":
    unittest.main()
