"""Fetches Apache Kafka by Debian's maven: what pom.xml names, and of it only the jars that libs.sha256 pins.

It comes into .vigie/kafka whole or not at all. A registry that cannot be reached is found out within seconds, and is
not asked again for a day. Spark's Kafka connector comes the same way (`vigie_harness.spark_jars`).
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from ..checkout import ROOT, STATE
from ..processes import Process, last_lines
from .home import KafkaHome, KafkaMissing

FOLDER = pathlib.Path(__file__).parent
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# Milliseconds until a registry that does not answer is given up, and how often it is asked once more.
CONNECT, ANSWER, RETRIES = 5_000, 15_000, 1
# Seconds without a byte more, and in all, until maven is given up.
STALLED, TOTAL = 60.0, 900.0
# Seconds for which a registry that could not be reached is not asked again.
DAY = 86_400.0


def install_maven() -> str:
    """Maven's program, which is installed if it is missing."""
    if found := shutil.which("mvn"):
        return found
    subprocess.run([ROOT / "tools/install", "maven"], check=False)
    if found := shutil.which("mvn"):
        return found
    raise KafkaMissing("maven, which fetches it, is missing and could not be installed")


def say_on_standard_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Fetch:
    """What comes where, and from what. The defaults are the project's Kafka; tests have their own."""

    folder: pathlib.Path = STATE / "kafka"
    subject: str = "Apache Kafka"
    command: str = "tools/kafka fetch"
    """Tries at once."""
    below: str = "libs"
    """Where the jars are in the folder."""
    found: Callable[[pathlib.Path], KafkaHome | pathlib.Path] = KafkaHome.at
    """What is in the folder; KafkaMissing if it is not all there."""
    pom: pathlib.Path = FOLDER / "pom.xml"
    checksums: pathlib.Path = FOLDER / "libs.sha256"
    maven: Callable[[], str] = install_maven
    options: Sequence[str] = ()
    """Of maven, besides ours."""
    plugin: str = PLUGIN
    stalled: float = STALLED
    say: Callable[[str], None] = say_on_standard_error

    @property
    def failure(self) -> pathlib.Path:
        """Says why the last try failed. Its age tells whether there is another one."""
        return self.folder.with_name(f"{self.folder.name}-not-fetched")

    @property
    def log(self) -> pathlib.Path:
        """What maven said."""
        return self.folder.with_name(f"{self.folder.name}-fetch.log")

    def __call__(self, asks_again: bool = False):
        """What is there, or was fetched now. KafkaMissing says why it cannot be had."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.folder.is_dir():
                return self.found(self.folder)
            if not asks_again:
                self._respect_failure()
            try:
                self._fetch()
            except KafkaMissing as missing:
                self.failure.write_text(str(missing))
                raise KafkaMissing(f"{missing}. It is tried again in a day, and at once by `{self.command}`") from None
            self.failure.unlink(missing_ok=True)
            return self.found(self.folder)

    @contextlib.contextmanager
    def _locked(self):
        with open(self.folder.with_name(f"{self.folder.name}-fetch.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _respect_failure(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            age = time.time() - self.failure.stat().st_mtime
            if 0 <= age < DAY:
                raise KafkaMissing(
                    f"{self.failure.read_text()}. That was {_words(age)} ago; it is tried again after a day, and "
                    f"at once by `{self.command}`"
                )

    def _fetch(self) -> None:
        pinned = dict(reversed(line.split()) for line in self.checksums.read_text().splitlines())
        maven = self.maven()
        self.say(f"Fetching {self.subject} by maven ({len(pinned)} jars); what it says is in {self.log}")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"{self.folder.name}-fetch-", dir=self.folder.parent) as name:
            work = pathlib.Path(name)
            self._run(maven, work)
            self._verify(work / "fetched" / self.below, pinned)
            (work / "fetched").rename(self.folder)
        self.say(f"{self.subject} is in {self.folder}, after {time.monotonic() - began:.0f} s; all checksums are right")

    def _run(self, maven: str, work: pathlib.Path) -> None:
        self.log.unlink(missing_ok=True)
        command = [
            maven, "--batch-mode", "--errors", "--file", self.pom, f"-Dmaven.repo.local={work}/repository",
            f"-Daether.connector.connectTimeout={CONNECT}", f"-Daether.connector.requestTimeout={ANSWER}",
            f"-Dmaven.wagon.http.retryHandler.count={RETRIES}",
            f"-Daether.connector.http.retryHandler.count={RETRIES}", *self.options,
            f"{self.plugin}:copy-dependencies", "-DincludeScope=runtime",
            f"-DoutputDirectory={work / 'fetched' / self.below}",
        ]  # fmt: skip
        process = Process("maven", command, self.log, signal.SIGTERM)
        try:
            self._watch(process, work)
        finally:
            process.stop(5)
        if process.exit_status != 0:
            raise KafkaMissing(f"maven could not fetch it: {self._reason()} (see {self.log})")

    def _watch(self, process: Process, work: pathlib.Path) -> None:
        """Waits for maven's end, as long as it goes on."""
        began = moved = told = time.monotonic()
        size = -1
        while process.is_running:
            time.sleep(0.1)
            now = time.monotonic()
            if (size_now := _size(work, self.log)) != size:
                size, moved = size_now, now
            if now - moved > self.stalled:
                raise KafkaMissing(f"maven could not fetch it: nothing came for {self.stalled:.0f} s (see {self.log})")
            if now - began > TOTAL:
                raise KafkaMissing(f"maven could not fetch it within {TOTAL / 60:.0f} minutes (see {self.log})")
            if now - told > 10:
                told = now
                jars = sum(1 for _ in work.glob("repository/**/*.jar"))
                self.say(f"  {jars} jars until now, {size / 1e6:.0f} MB")

    def _reason(self) -> str:
        """The cause in maven's words, without its advice."""
        for line in last_lines(self.log, 10_000).splitlines():
            if "[ERROR]" in line:
                text = line.partition("[ERROR]")[2].split(" -> [Help")[0].strip()
                # The cause stands last, after all that it is the cause of, each with long names of its own.
                found = re.search(r"transfer failed for \S+(?:: | failed: )(.*)", text)
                return found[1] if found else text.rpartition("failed: ")[2]
        return "it said nothing"

    def _verify(self, libs: pathlib.Path, pinned: dict[str, str]) -> None:
        found = {}
        for jar in sorted(libs.glob("*.jar")) if libs.is_dir() else ():
            with open(jar, "rb") as content:
                found[jar.name] = hashlib.file_digest(content, "sha256").hexdigest()
        if wrong := sorted(name for name in pinned.keys() | found.keys() if pinned.get(name) != found.get(name)):
            raise KafkaMissing(
                f"what maven fetched is not what {self.checksums.name} pins, and was thrown away: "
                + ", ".join(wrong[:5])
                + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            )


def _size(*paths: pathlib.Path) -> int:
    """Bytes in files and folders, of which some may vanish meanwhile."""
    size = 0
    for path in paths:
        for file in (path, *path.rglob("*")):
            with contextlib.suppress(OSError):
                size += file.stat().st_size if file.is_file() else 0
    return size


def _words(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 5400 else f"{max(1, seconds / 60):.0f} min"
