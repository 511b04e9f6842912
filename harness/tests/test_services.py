"""The private services: started, reachable, and gone afterwards, however their parent ends."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from unittest import mock

from support import folder_of, is_running

from vigie_harness.checkout import ROOT
from vigie_harness.errors import HarnessError, UsageError
from vigie_harness.kafka.reachable import addresses
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres
from vigie_harness.scratch import scratch_folder
from vigie_harness.servers import choose_broker, quiet_connection
from vigie_harness.stand_in import Noida

WITH_SERVICES = ROOT / "tools/with-services"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}


class WithServices(unittest.TestCase):
    def start(self, script):
        """Runs a shell script with services; the pids of its two servers come as its first line."""
        child = subprocess.Popen(
            [WITH_SERVICES, "--", "bash", "-c", f"ps -o pid= --ppid $PPID | tr '\\n' ' '; echo; {script}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)  # fmt: skip
        self.addCleanup(child.stdout.close)
        pids = [int(word) for word in child.stdout.readline().split()]
        return child, pids

    def assert_ended(self, pids):
        deadline = time.monotonic() + 60
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
        # The last one has a process group of its own, and a parent that ends without it.
        child, pids = self.start("set -m; sleep 600 & echo $!; wait")
        self.assertEqual(len(pids), 3)
        pids.append(int(child.stdout.readline()))
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(60), 128 + signal.SIGTERM)
        self.assert_ended(pids)

    def test_the_servers_do_not_outlive_a_killed_parent(self):
        child, pids = self.start("sleep 1")
        child.kill()
        child.wait(60)
        self.assert_ended(pids)

    def test_servers_that_are_named_are_used(self):
        broker = Noida(folder_of(self)).start()
        self.addCleanup(broker.stop)
        database = Postgres(folder_of(self) / "postgres", durable=False).start()
        self.addCleanup(database.remove)
        self.addCleanup(database.stop)
        connection = f"{database.connection} password=hunter2"
        environment = ENVIRONMENT | {"VIGIE_KAFKA": broker.bootstrap, "VIGIE_POSTGRES": connection}
        result = subprocess.run(
            [WITH_SERVICES, "--", "bash", "-c", 'echo "$VIGIE_KAFKA $VIGIE_POSTGRES"'],
            capture_output=True, text=True, env=environment, check=True)  # fmt: skip
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], f"{broker.bootstrap} {connection}")
        self.assertIn(f"{broker.bootstrap}, a cluster of yours (VIGIE_KAFKA)", result.stdout)
        self.assertIn(f"{database.connection} password=*** (VIGIE_POSTGRES)", result.stdout)
        self.assertNotIn("hunter2", "\n".join(lines[1:]))

    def run_with(self, *arguments, **environment):
        """Its exit status, what it said of its failure, and the seconds until then."""
        began = time.monotonic()
        command = [WITH_SERVICES, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | environment, check=False)
        self.assertNotIn("Traceback", result.stderr)
        return result.returncode, result.stderr, time.monotonic() - began

    def test_a_broker_that_does_not_answer_is_found_out_in_seconds(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            mute = f"127.0.0.1:{silent.getsockname()[1]}"
            closed = f"127.0.0.1:{free_port()}"
            status, said, seconds = self.run_with("--", "true", VIGIE_KAFKA=f"{mute},{closed}")
        self.assertEqual(status, 1)
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn("at the address in VIGIE_KAFKA", said)
        self.assertIn(f"{closed}: connection refused", said)
        self.assertIn(f"{mute}: it accepts connections, but does not answer", said)
        # Its own bounds come to a few seconds, the library's to a minute.
        self.assertLess(seconds, 60)

    def test_a_variable_that_is_no_list_of_brokers_is_told(self):
        for text in ("kafka", "kafka:", "kafka:0", "kafka:65536", "http://kafka:9092", "a:1,,b:2", "a:1 b:2"):
            with mock.patch.dict(os.environ, {"VIGIE_KAFKA": text}):
                with self.assertRaisesRegex(UsageError, "^VIGIE_KAFKA is .* no list of brokers"):
                    choose_broker("/nowhere")
        self.assertEqual(addresses("X", "a-1.b:9092, [::1]:2"), [("a-1.b", 9092), ("::1", 2)])
        status, said, _ = self.run_with("--", "true", VIGIE_KAFKA="kafka")
        self.assertEqual((status, len(said.splitlines())), (2, 1), said)

    def test_a_database_that_cannot_be_used_is_not_run_against(self):
        for connection, status, words in (
            (f"host=127.0.0.1 port={free_port()} password=hunter2", 1, "Connection refused"),
            ("host=no-such-host.invalid", 1, "no-such-host.invalid"),
            ("password=hunter2 rabbit", 2, "VIGIE_POSTGRES is no connection string"),
        ):
            found, said, _ = self.run_with("--broker", "stand-in", "--", "true", VIGIE_POSTGRES=connection)
            self.assertEqual((found, len(said.splitlines())), (status, 1), said)
            self.assertIn("VIGIE_POSTGRES", said)
            self.assertIn(words, said)
            self.assertNotIn("hunter2", said)

    def test_a_kafka_home_without_kafka_is_refused(self):
        status, said, _ = self.run_with("--", "true", KAFKA_HOME="/nowhere")
        self.assertEqual((status, said), (2, "vigie: KAFKA_HOME cannot be used: there is no folder /nowhere. Correct "
                                             "it, or unset it.\n"))  # fmt: skip

    def test_what_is_no_command_line_is_told(self):
        for arguments, status, words in (
            ([], 2, "no command to run"),
            (["--brokr"], 2, "--brokr is no option"),
            (["--broker", "rabbit", "--", "true"], 2, "--broker is apache or stand-in"),
            (["--", "no-such-command"], 127, "no command no-such-command"),
        ):
            found, said, _ = self.run_with(*arguments)
            self.assertEqual((found, len(said.splitlines())), (status, 1), said)
            self.assertIn(words, said)


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
