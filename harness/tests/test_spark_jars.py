"""Where Spark's Kafka connector comes from: the folder that is named, or what was fetched and is what is pinned."""

import dataclasses
import hashlib
import os
import re
import sys
import unittest
from unittest import mock

from support import folder_of

from vigie_harness.errors import UsageError
from vigie_harness.kafka import KafkaMissing
from vigie_harness.spark_jars import CONNECTOR, FETCH, PINS, find_jars, spark_version

JAR = f"{CONNECTOR}-{spark_version()}.jar"
# Writes the connector where maven's copy-dependencies would put it.
MAVEN = f"""#!{sys.executable}
import pathlib, sys
out = pathlib.Path(*[word.partition("=")[2] for word in sys.argv if word.startswith("-DoutputDirectory=")])
out.mkdir(parents=True)
(out / "{JAR}").write_bytes(b"connector")
"""


class Connector(unittest.TestCase):
    def setUp(self):
        own = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_SPARK")}
        environment = mock.patch.dict(os.environ, own, clear=True)
        environment.start()
        self.addCleanup(environment.stop)
        self.folder = folder_of(self)
        maven = self.folder / "mvn"
        maven.write_text(MAVEN)
        maven.chmod(0o755)
        self.checksums = self.folder / "jars.sha256"
        self.said = []
        self.fetch = dataclasses.replace(
            FETCH, folder=self.folder / "state/jars", checksums=self.checksums, maven=lambda: str(maven),
            say=self.said.append)  # fmt: skip
        self.pin(b"connector")

    def pin(self, content):
        self.checksums.write_text(f"{hashlib.sha256(content).hexdigest()}  {JAR}\n")

    def test_what_is_pinned_comes_into_the_folder_itself(self):
        self.assertEqual(find_jars(self.fetch), self.fetch.folder)
        self.assertEqual([path.name for path in self.fetch.folder.iterdir()], [JAR])
        self.assertIn("Spark's Kafka connector is in", self.said[-1])

    def test_something_else_is_thrown_away_and_the_way_to_try_again_is_said(self):
        self.pin(b"another")
        with self.assertRaisesRegex(KafkaMissing, f"not what jars.sha256 pins.*{JAR}.*`spark/environment --again`"):
            find_jars(self.fetch)
        self.assertFalse(self.fetch.folder.exists())

    def test_a_folder_that_is_named_is_used_or_told(self):
        for name, words in (
            (None, "there is no folder"),
            ("", f"has no {JAR}"),
            (f"{CONNECTOR}-3.5.0.jar", f"has no {JAR}, but {CONNECTOR}-3.5.0.jar: of another version"),
        ):
            named = self.folder / f"named{name}"
            if name is not None:
                named.mkdir()
                (named / (name or "other.jar")).touch()
            with mock.patch.dict(os.environ, {"VIGIE_SPARK_JARS": str(named)}):
                with self.assertRaisesRegex(UsageError, f"VIGIE_SPARK_JARS cannot be used: .*{words}"):
                    find_jars(self.fetch)
        (named / JAR).touch()
        with mock.patch.dict(os.environ, {"VIGIE_SPARK_JARS": str(named)}):
            self.assertEqual(find_jars(self.fetch), named)
        self.assertFalse(self.fetch.folder.exists())


class Pins(unittest.TestCase):
    def test_the_checksums_are_those_of_the_versions_in_the_pom_which_is_pysparks(self):
        names = {line.split()[1] for line in (PINS / "jars.sha256").read_text().splitlines()}
        pom = (PINS / "pom.xml").read_text()
        versions = dict(re.findall(r"<artifactId>([^*]*?)</artifactId>\s*<version>([\d.]+)</version>\s*<", pom))
        wanted = {f"{name}-{version}.jar" for name, version in versions.items() if name != "spark-connector"}
        self.assertEqual(len(wanted), 5)
        # What PostgreSQL's driver brings with it.
        self.assertEqual({re.sub(r"-[\d.]+\.jar", "", name) for name in names - wanted}, {"checker-qual"})
        self.assertLessEqual(wanted, names)
        self.assertIn(JAR, names)

    def test_the_folder_that_is_named_has_what_is_pinned_if_it_is_the_same_version(self):
        folder = os.environ.get("VIGIE_SPARK_JARS")
        if not folder:
            self.skipTest("VIGIE_SPARK_JARS names no folder")
        for line in (PINS / "jars.sha256").read_text().splitlines():
            pinned, name = line.split()
            with open(os.path.join(folder, name), "rb") as content:
                self.assertEqual(hashlib.file_digest(content, "sha256").hexdigest(), pinned, name)


if __name__ == "__main__":
    unittest.main()
