"""Fetching Apache Kafka: whole or not at all, verified, and not asked in vain twice a day.

Maven is a script here that fetches from a repository on loopback, as Debian has no packaged plugin of ours; the real
one is asked for what it cannot reach.
"""

import functools
import hashlib
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

from support import folder_of

from vigie_harness.errors import UsageError
from vigie_harness.kafka import KafkaMissing
from vigie_harness.kafka.fetching import FOLDER, Fetch
from vigie_harness.kafka.finding import find_kafka
from vigie_harness.kafka.home import NEEDED, KafkaHome, java
from vigie_harness.ports import free_port
from vigie_harness.servers import choose_broker, kafka_home


def jar(text: str) -> bytes:
    """A jar without classes: the end of a ZIP archive, with a comment."""
    return b"PK\5\6" + bytes(16) + len(text).to_bytes(2, "little") + text.encode()


NEEDED_JARS = [f"{name}-9.8.7.jar" for name in NEEDED]
JARS = {name: jar(name) for name in ("kafka_2.13-9.8.7.jar", *NEEDED_JARS)}

# Fetches what the repository lists, into the folder that it is told.
MAVEN = f"""#!{sys.executable}
import os, pathlib, sys, urllib.request

def get(name):
    with urllib.request.urlopen(f"{{os.environ['REPOSITORY']}}/{{name}}") as answer:
        return answer.read()

with open(pathlib.Path(__file__).with_name("asked"), "a") as asked:
    asked.write("asked\\n")
out = pathlib.Path(*[word.partition("=")[2] for word in sys.argv if word.startswith("-DoutputDirectory=")])
out.mkdir(parents=True)
try:
    for jar in get("list").decode().split():
        (out / jar).write_bytes(get(jar))
except OSError:
    sys.exit("[ERROR] Plugin x could not be resolved: failed: Connection refused -> [Help 1]")
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Fetching(unittest.TestCase):
    def setUp(self):
        # Inside `make test` these name what the other tests run on.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("VIGIE_", "KAFKA_"))}
        environment = mock.patch.dict(os.environ, own, clear=True)
        environment.start()
        self.addCleanup(environment.stop)
        self.folder = folder_of(self)
        repository = self.folder / "repository"
        repository.mkdir()
        for name, content in JARS.items():
            (repository / name).write_bytes(content)
        (repository / "list").write_text("\n".join(JARS))
        self.repository = repository
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(repository)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.serve(f"http://127.0.0.1:{server.server_address[1]}")
        checksums = self.folder / "libs.sha256"
        checksums.write_text(
            "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in JARS.items())
        )
        self.maven = self.program("mvn", MAVEN)
        self.said = []
        self.fetch = Fetch(
            folder=self.folder / "state/kafka", checksums=checksums, maven=lambda: self.maven, say=self.said.append
        )

    def serve(self, address):
        changed = mock.patch.dict(os.environ, {"REPOSITORY": address})
        changed.start()
        self.addCleanup(changed.stop)

    def program(self, name, text):
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)
        return str(file)

    def asked(self):
        file = self.folder / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def left_over(self):
        """What is in the state's folder besides locks, logs and reasons."""
        state = self.folder / "state"
        names = {path.name for path in state.iterdir()}
        return names - {"kafka-fetch.lock", "kafka-fetch.log", "kafka-not-fetched"}

    def test_what_is_pinned_comes_whole(self):
        home = self.fetch()
        self.assertEqual(home, KafkaHome(self.fetch.folder, "9.8.7"))
        self.assertEqual({jar.name: jar.read_bytes() for jar in home.jars}, JARS)
        self.assertEqual(self.left_over(), {"kafka"})
        self.assertEqual(self.fetch(), home)
        self.assertEqual(self.asked(), 1, "it is there")
        self.assertIn("all checksums are right", self.said[-1])

    def test_other_jars_than_those_pinned_are_thrown_away(self):
        for name, content in (("kafka-clients-9.8.7.jar", b"something else"), ("more.jar", b"more")):
            with self.subTest(name):
                (self.repository / name).write_bytes(content)
                (self.repository / "list").write_text("\n".join([*JARS, name]))
                with self.assertRaisesRegex(KafkaMissing, f"not what libs.sha256 pins.*{name}"):
                    self.fetch(asks_again=True)
                self.assertEqual(self.left_over(), set())

    def test_a_missing_jar_is_told(self):
        (self.repository / "list").write_text("\n".join(NEEDED_JARS))
        with self.assertRaisesRegex(KafkaMissing, r"thrown away: kafka_2.13-9.8.7.jar"):
            self.fetch()
        self.assertEqual(self.left_over(), set())

    def test_what_cannot_be_reached_is_not_asked_again_for_a_day(self):
        self.serve(f"http://127.0.0.1:{free_port()}")
        with self.assertRaisesRegex(KafkaMissing, "Connection refused.*at once by `tools/kafka fetch`"):
            self.fetch()
        with self.assertRaisesRegex(KafkaMissing, "Connection refused.*1 min ago.*at once by `tools/kafka fetch`"):
            self.fetch()
        self.assertEqual(self.asked(), 1)
        with self.assertRaises(KafkaMissing):
            self.fetch(asks_again=True)
        self.assertEqual(self.asked(), 2)
        yesterday = time.time() - 86_500
        os.utime(self.fetch.failure, (yesterday, yesterday))
        with self.assertRaises(KafkaMissing):
            self.fetch()
        self.assertEqual(self.asked(), 3)

    def test_a_success_forgets_the_failure(self):
        self.fetch.folder.parent.mkdir()
        self.fetch.failure.write_text("nothing")
        self.fetch(asks_again=True)
        self.assertFalse(self.fetch.failure.exists())

    def test_what_stalls_is_given_up(self):
        self.maven = self.program("mvn", "#!/bin/bash\nsleep 600\n")
        fetch = Fetch(**{**vars(self.fetch), "stalled": 0.5})
        began = time.monotonic()
        with self.assertRaisesRegex(KafkaMissing, "nothing came for"):
            fetch()
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(self.left_over(), set())

    def test_a_folder_that_is_named_is_used_or_told(self):
        nowhere = self.folder / "nowhere"
        file = self.program("file", "")
        empty = self.folder / "empty"
        (empty / "libs").mkdir(parents=True)
        for folder, words in (
            (self.folder, f"{self.folder} has no libs/kafka_"),
            (empty, f"{empty} has no libs/kafka_"),
            (nowhere, f"there is no folder {nowhere}"),
            (file, f"{file}/libs: Not a directory"),
        ):
            with mock.patch.dict(os.environ, {"KAFKA_HOME": str(folder)}):
                # No KafkaMissing, for which the stand-in would take its place.
                with self.assertRaisesRegex(UsageError, f"KAFKA_HOME cannot be used: .*{words}"):
                    find_kafka(self.fetch)
                with self.assertRaises(UsageError):
                    choose_broker(self.folder)
                with self.assertRaises(UsageError):
                    kafka_home()
                self.assertEqual(choose_broker(self.folder, "stand-in").kind, "stand-in")
        self.assertEqual(self.asked(), 0)

    def home_of(self, jars):
        """A folder with these jars, as KAFKA_HOME names one."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        (home / "libs").mkdir(parents=True)
        for name, content in jars.items():
            (home / "libs" / name).write_bytes(content)
        return home

    def test_a_folder_that_lacks_a_jar_or_has_a_damaged_one_is_told(self):
        for name in JARS:
            damaged = self.home_of(JARS | {name: b"garbage"})
            with mock.patch.dict(os.environ, {"KAFKA_HOME": str(damaged)}):
                with self.assertRaisesRegex(UsageError, f"KAFKA_HOME cannot be used: .*/{name} is no jar"):
                    find_kafka(self.fetch)
        for name in NEEDED_JARS:
            home = self.home_of({other: content for other, content in JARS.items() if other != name})
            with mock.patch.dict(os.environ, {"KAFKA_HOME": str(home)}):
                with self.assertRaisesRegex(UsageError, f"KAFKA_HOME cannot be used: .* has no {name}, which"):
                    find_kafka(self.fetch)

    @unittest.skipUnless(shutil.which("java"), "there is no java")
    def test_a_folder_that_is_named_is_used_only_with_a_java(self):
        home = self.home_of(JARS)
        with mock.patch.dict(os.environ, {"KAFKA_HOME": str(home)}):
            self.assertEqual(find_kafka(self.fetch).version, "9.8.7")
            java.cache_clear()
            self.addCleanup(java.cache_clear)
            with mock.patch.dict(os.environ, {"JAVA_HOME": str(self.folder)}):
                with self.assertRaisesRegex(UsageError, "cannot run: there is no java in .*unset JAVA_HOME"):
                    find_kafka(self.fetch)

    def test_a_folder_that_may_not_be_read_is_told(self):
        home = self.folder / "closed"
        libs = home / "libs"
        libs.mkdir(parents=True)
        for name, content in JARS.items():
            (libs / name).write_bytes(content)
        jar = libs / "kafka_2.13-9.8.7.jar"
        command = [sys.executable, "-c", "from vigie_harness.kafka.finding import find_kafka; find_kafka()"]
        if os.geteuid() == 0:
            # Root may read everything.
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", *command]
        for closed in (jar, libs, home):
            closed.chmod(0)
            self.addCleanup(closed.chmod, 0o700)
            environment = os.environ | {"KAFKA_HOME": str(home)}
            result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=False)
            self.assertIn("UsageError: KAFKA_HOME cannot be used: ", result.stderr)
            self.assertIn("Permission denied" if closed != jar else f"{jar} may not be read", result.stderr)

    @unittest.skipUnless(shutil.which("mvn"), "maven is not installed")
    def test_maven_itself_finds_out_in_seconds_that_nobody_answers(self):
        settings = self.folder / "settings.xml"
        settings.write_text(
            "<settings><mirrors><mirror><id>nobody</id><mirrorOf>*</mirrorOf>"
            f"<url>http://127.0.0.1:{free_port()}/</url></mirror></mirrors></settings>"
        )
        fetch = Fetch(
            folder=self.fetch.folder, maven=lambda: shutil.which("mvn"), options=["--settings", str(settings)],
            say=self.said.append)  # fmt: skip
        began = time.monotonic()
        with self.assertRaisesRegex(KafkaMissing, "^maven could not fetch it: Connect to [^ ]* .*Connection refused"):
            fetch()
        self.assertLess(time.monotonic() - began, 60)


class Pins(unittest.TestCase):
    def test_the_checksums_are_those_of_a_kafka_of_the_versions_in_the_pom(self):
        names = [line.split()[1] for line in (FOLDER / "libs.sha256").read_text().splitlines()]
        pom = (FOLDER / "pom.xml").read_text()
        for artifact in ("kafka_2.13", "kafka-tools", "log4j-slf4j-impl"):
            version = (
                pom.partition(f"<artifactId>{artifact}</artifactId>")[2].partition("<version>")[2].partition("<")[0]
            )
            self.assertIn(f"{artifact}-{version}.jar", names)
        self.assertEqual(len(names), len(set(names)))

    def test_the_pinned_jars_are_those_of_kafka_home_if_it_is_the_same_version(self):
        folder = os.environ.get("KAFKA_HOME")
        if not folder or not (pathlib.Path(folder) / "libs.sha256").exists():
            self.skipTest("KAFKA_HOME has no list of checksums")
        self.assertEqual((FOLDER / "libs.sha256").read_text(), (pathlib.Path(folder) / "libs.sha256").read_text())


if __name__ == "__main__":
    unittest.main()
