"""The stand-in: a small broker that speaks Kafka's protocol, for where Apache Kafka cannot be had."""

import importlib.util
import pathlib
import sys

from .errors import HarnessError
from .loopback import LoopbackServer
from .processes import Process


def noida_program() -> pathlib.Path:
    """The program of noida-db in the virtual environment."""
    found = importlib.util.find_spec("noida_db")
    program = pathlib.Path(found.origin).parent / "noida-db" if found and found.origin else None
    if not program or not program.exists():
        raise HarnessError("noida-db is missing: run `make dependencies`.")
    return program


class Noida(LoopbackServer):
    """A noida-db process that serves Kafka's protocol on loopback: one broker, for tests and the demo only.

    `kill` of its process loses about a second of acknowledged messages, and their offsets are given again.
    """

    description = "noida-db 0.2.3, a small broker with Kafka's protocol for tests, not Apache Kafka"

    @property
    def processes(self) -> list[Process]:
        return [self.process] if self.process else []

    def launch(self) -> Process:
        return Process(
            "the broker",
            [
                noida_program(),
                "start",
                "--data-dir",
                self.folder / "data",
                "--only",
                "kafka",
                "--kafka-port",
                self.port,
            ],
            self.folder / "broker.log",
        )


class FetchPace(LoopbackServer):
    """What stands before a Noida so that it and its clients are at rest when there is nothing (fetch_pace)."""

    def __init__(self, broker: Noida, port: int | None = None):
        super().__init__(broker.folder, port)
        self.broker = broker

    def launch(self) -> Process:
        return Process(
            "the broker's pace",
            [sys.executable, "-m", "vigie_harness.fetch_pace", self.port, self.broker.port],
            self.folder / "pace.log",
        )


class StandIn:
    """noida-db behind its pace: what a client that is not measured talks to."""

    description = Noida.description
    version = "noida-db 0.2.3"

    def __init__(self, folder, port: int | None = None):
        self.folder = pathlib.Path(folder)
        self.broker = Noida(folder)
        self.pace = FetchPace(self.broker, port)

    @property
    def bootstrap(self) -> str:
        return self.pace.bootstrap

    @property
    def processes(self) -> list[Process]:
        return [part.process for part in (self.broker, self.pace) if part.process]

    def start(self):
        try:
            self.broker.start()
            self.pace.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        self.pace.stop()
        self.broker.stop()
