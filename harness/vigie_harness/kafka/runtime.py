"""What is made once for each Kafka and Java, and kept in .vigie/kafka-runtime.

A class data archive halves the time and the processor time of a node's start. A log folder that Kafka's own
StorageTool has formatted is copied for each new node, with identities of its own, instead of starting a JVM for it.
"""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile

from ..checkout import STATE
from ..errors import HarnessError
from .home import KafkaHome, java

FOLDER = STATE / "kafka-runtime"
LOG4J = pathlib.Path(__file__).with_name("log4j2.properties")
# A node for tests: small, and quick to start rather than quick in the long run.
MEMORY = ("-Xmx256m", "-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
ARCHIVE, TEMPLATE = "classes.jsa", "formatted"


def new_id() -> str:
    """An identity of a cluster or a folder, as Kafka draws it.

    One that begins with a dash would be an option on Kafka's command lines.
    """
    while True:
        text = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        if not text.startswith("-"):
            return text


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A Kafka that is ready to be started."""

    home: KafkaHome
    folder: pathlib.Path

    @property
    def archive(self) -> pathlib.Path:
        return self.folder / ARCHIVE

    def command(self, program: str, *arguments, options=()) -> list:
        """The command line of one of Kafka's programs, such as `kafka.Kafka`."""
        shared = [f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto"] if self.archive.exists() else []
        return [
            java(), *MEMORY, *shared, *options, f"-Dlog4j2.configurationFile={LOG4J}", "-cp", self.home.class_path,
            program, *arguments,
        ]  # fmt: skip

    def run(self, program: str, *arguments, bound: float = 120.0) -> str:
        """Runs one of Kafka's programs to its end, and returns what it said. HarnessError if it fails."""
        try:
            result = subprocess.run(
                list(map(str, self.command(program, *arguments))),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=bound,
                check=False)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{program} did not end within {bound:.0f} s") from None
        if result.returncode != 0:
            raise HarnessError(f"{program} ended with status {result.returncode}: {result.stdout.strip()[-2000:]}")
        return result.stdout

    def format(self, folder: pathlib.Path, cluster_id: str, node_id: int) -> None:
        """Makes a log folder for a node of a cluster."""
        shutil.copytree(self.folder / TEMPLATE, folder, dirs_exist_ok=True)
        file = folder / "meta.properties"
        text = file.read_text()
        for name, value in (("cluster.id", cluster_id), ("node.id", node_id), ("directory.id", new_id())):
            text = re.sub(rf"^{re.escape(name)}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        file.write_text(text)


def prepare(home: KafkaHome) -> Runtime:
    """What `home` needs, which is made if it is not there yet. Takes some ten seconds then, and no time afterwards."""
    runtime = Runtime(home, FOLDER / _state(home))
    if runtime.folder.is_dir():
        return runtime
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _locked(FOLDER / "lock"):
        if runtime.folder.is_dir():
            return runtime
        print(f"Preparing {home.description} for quick starts, once", file=sys.stderr, flush=True)
        unfinished = pathlib.Path(tempfile.mkdtemp(prefix="unfinished-", dir=FOLDER))
        try:
            _make(Runtime(home, unfinished))
            unfinished.rename(runtime.folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return runtime


def _state(home: KafkaHome) -> str:
    """A name for this Kafka with this Java: another for other jars, another place of theirs, or another Java."""
    program = java()
    facts = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in (program, *home.jars, LOG4J)]
    facts.append(" ".join(MEMORY))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(runtime: Runtime) -> None:
    # Only here, as a cluster needs a runtime.
    from .cluster import KafkaCluster

    formatted = runtime.folder / TEMPLATE
    settings = runtime.folder / "server.properties"
    settings.write_text(
        "process.roles=broker,controller\nnode.id=1\nlisteners=CLIENT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"
        "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=CLIENT\n"
        f"controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:2\nlog.dirs={formatted}\n"
    )
    runtime.run("kafka.tools.StorageTool", "format", "--cluster-id", new_id(), "--config", settings)
    # The classes that a node loads until it has served its first clients.
    with tempfile.TemporaryDirectory(prefix="training-", dir=runtime.folder) as folder:
        archive = runtime.folder / "unfinished.jsa"
        options = (f"-XX:ArchiveClassesAtExit={archive}",)
        cluster = KafkaCluster(runtime.home, folder, runtime=runtime, java_options=options)
        try:
            cluster.start()
            cluster.exercise()
        finally:
            cluster.stop(bound=120)
        # A Java that knows no archives makes none: nodes then start without one.
        if archive.exists():
            archive.rename(runtime.archive)
