"""Where Apache Kafka's jars are, and the Java that runs them."""

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import zipfile

from ..errors import HarnessError, in_words

OLDEST_JAVA = 17

# Of the jars that a node cannot start without, those that are Kafka's own.
NEEDED = ("kafka-clients", "kafka-metadata", "kafka-raft", "kafka-server", "kafka-server-common", "kafka-storage")


class KafkaMissing(HarnessError):
    """Apache Kafka cannot be had here; the text says why."""


@dataclasses.dataclass(frozen=True)
class KafkaHome:
    """A folder with `libs/*.jar`, as in Apache's own archive."""

    folder: pathlib.Path
    version: str

    @classmethod
    def at(cls, folder) -> "KafkaHome":
        """The Kafka in a folder; KafkaMissing if none is there, or not all of it."""
        folder = pathlib.Path(folder).absolute()
        libs = folder / "libs"
        try:
            names = sorted(os.listdir(libs))
        except FileNotFoundError:
            if not folder.is_dir():
                raise KafkaMissing(f"there is no folder {folder}") from None
            names = []
        except OSError as error:
            raise KafkaMissing(f"its jars cannot be read: {in_words(error)}") from None
        versions = [
            found[1] for name in names if (found := re.fullmatch(r"kafka_[0-9.]+-([0-9]+(?:\.[0-9]+)+)\.jar", name))
        ]
        if not versions:
            raise KafkaMissing(f"{folder} has no libs/kafka_*.jar, and so is no Apache Kafka")
        version = versions[0]
        for name in NEEDED:
            if f"{name}-{version}.jar" not in names:
                raise KafkaMissing(f"{libs} has no {name}-{version}.jar, which Apache Kafka {version} needs")
        for jar in (libs / name for name in names if name.endswith(".jar")):
            if not os.access(jar, os.R_OK):
                raise KafkaMissing(f"{jar} may not be read")
            if not zipfile.is_zipfile(jar):
                raise KafkaMissing(f"{jar} is no jar: it is damaged, or was not copied to its end")
        return cls(folder, version)

    @property
    def description(self) -> str:
        return f"Apache Kafka {self.version}"

    @functools.cached_property
    def jars(self) -> list[pathlib.Path]:
        # Always in the same order: a class data archive holds for one class path only.
        return sorted((self.folder / "libs").glob("*.jar"))

    @property
    def class_path(self) -> str:
        return ":".join(map(str, self.jars))


@functools.cache
def java() -> pathlib.Path:
    """Java's program: that of JAVA_HOME, else the one in PATH. KafkaMissing if there is none that Kafka can use."""
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    remedy = "correct or unset JAVA_HOME" if home else "install default-jre-headless"
    if not found or not os.access(found, os.X_OK):
        where = f"JAVA_HOME ({home})" if home else "PATH"
        raise KafkaMissing(f"there is no java in {where}: {remedy}")
    program = pathlib.Path(found).resolve()
    version = java_version(program)
    if version and int(version.split(".")[0]) < OLDEST_JAVA:
        raise KafkaMissing(f"{program} is Java {version}, and Apache Kafka needs {OLDEST_JAVA} or newer: {remedy}")
    return program


def java_version(program: pathlib.Path) -> str | None:
    """What the installation says of itself; asking the program would take a tenth of a second."""
    try:
        text = (program.parent.parent / "release").read_text()
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="([0-9][^"]*)"', text, re.MULTILINE)
    return found[1] if found else None
