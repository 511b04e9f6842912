"""The proxy: what comes through it, and each of its faults."""

import socket
import socketserver
import tempfile
import threading
import time
import unittest

from vigie_harness.processes import wait_until
from vigie_harness.proxy import Direction, TcpProxy


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, and counts it."""

    def handle(self):
        try:
            while block := self.request.recv(1 << 16):
                self.server.got += len(block)
                self.request.sendall(block)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    got = 0


class ProxyTest(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Echo)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.proxy = TcpProxy(self.server.server_address[1])
        self.addCleanup(self.proxy.close)

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.proxy.port), 5)
        self.addCleanup(connection.close)
        connection.settimeout(10)
        return connection

    def ask(self, connection, content=b"hello"):
        connection.sendall(content)
        answer = b""
        while len(answer) < len(content):
            block = connection.recv(1 << 16)
            if not block:
                break
            answer += block
        return answer

    def is_silent(self, connection, seconds=0.3):
        connection.settimeout(seconds)
        try:
            connection.recv(1)
            return False
        except TimeoutError:
            return True
        finally:
            connection.settimeout(10)

    def test_what_is_sent_arrives_whole_both_ways(self):
        content = bytes(range(256)) * 40_000
        connection = self.connect()
        answer = bytearray()

        def read():
            while len(answer) < len(content):
                answer.extend(connection.recv(1 << 16))

        reader = threading.Thread(target=read)
        reader.start()
        connection.sendall(content)
        reader.join(30)
        self.assertEqual(bytes(answer), content)
        self.assertEqual(self.proxy.counts.bytes_to_client, len(content))

    def test_the_end_of_a_stream_is_passed_on(self):
        connection = self.connect()
        self.assertEqual(self.ask(connection), b"hello")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1), b"")
        wait_until("it is forgotten", lambda: self.proxy.connections == 0, 10)

    def test_cut_is_an_end_and_reset_an_error(self):
        connection = self.connect()
        self.ask(connection)
        self.assertEqual(self.proxy.cut(), 1)
        self.assertEqual(connection.recv(1), b"")
        connection = self.connect()
        self.ask(connection)
        self.assertEqual(self.proxy.reset(), 1)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        self.assertEqual(self.ask(self.connect()), b"hello", "the next ones work")

    def test_delay(self):
        connection = self.connect()
        self.proxy.delay(0.2)
        began = time.monotonic()
        self.assertEqual(self.ask(connection), b"hello")
        self.assertGreaterEqual(time.monotonic() - began, 0.4)
        self.proxy.delay(60)
        self.proxy.heal()
        began = time.monotonic()
        self.assertEqual(self.ask(connection), b"hello")
        self.assertLess(time.monotonic() - began, 60)

    def test_throttle(self):
        connection = self.connect()
        self.proxy.throttle(100_000, Direction.TO_SERVER)
        began = time.monotonic()
        self.ask(connection, b"x" * 50_000)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_a_black_hole_takes_everything_and_says_nothing(self):
        old = self.connect()
        self.ask(old)
        before = self.server.got
        self.proxy.swallow()
        new = self.connect()
        for connection in (old, new):
            connection.sendall(b"into the dark")
            self.assertTrue(self.is_silent(connection))
        self.assertEqual(self.server.got, before)
        self.proxy.heal()
        for connection in (old, new):
            with self.assertRaises(ConnectionResetError):
                connection.recv(1)
        self.assertEqual(self.ask(self.connect()), b"hello")

    def test_a_black_hole_may_last(self):
        connection = self.connect()
        self.ask(connection)
        self.proxy.swallow()
        connection.sendall(b"lost")
        self.assertTrue(self.is_silent(connection))
        self.proxy.heal(resets_swallowed=False)
        connection.sendall(b"lost too")
        self.assertTrue(self.is_silent(connection))
        self.assertEqual(self.ask(self.connect()), b"hello")

    def test_answers_alone_may_disappear(self):
        connection = self.connect()
        self.proxy.swallow(Direction.TO_CLIENT)
        connection.sendall(b"done, and nobody knows")
        wait_until("the server has it", lambda: self.server.got == 22, 10)
        self.assertTrue(self.is_silent(connection))

    def test_a_connection_that_lost_nothing_survives_a_black_hole(self):
        connection = self.connect()
        self.ask(connection)
        self.proxy.swallow()
        self.proxy.heal()
        self.assertEqual(self.ask(connection), b"hello")

    def test_refused(self):
        connection = self.connect()
        self.ask(connection)
        self.proxy.refuse()
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.proxy.heal()
        self.assertEqual(self.ask(self.connect()), b"hello")

    def test_a_server_that_is_away_resets(self):
        self.proxy.target = None
        with self.assertRaises(ConnectionResetError):
            self.ask(self.connect())

    def test_a_unix_socket_may_be_behind_it(self):
        class UnixServer(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            got = 0

        with tempfile.TemporaryDirectory() as folder:
            server = UnixServer(f"{folder}/socket", Echo)
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.proxy.target = f"{folder}/socket"
            self.assertEqual(self.ask(self.connect()), b"hello")


if __name__ == "__main__":
    unittest.main()
