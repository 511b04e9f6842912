"""Which broker and which PostgreSQL a command runs against: yours if you name them, else private ones."""

import contextlib
import dataclasses
import os
import pathlib
import re
import sys
from typing import Literal

from .checkout import ROOT
from .errors import HarnessError
from .kafka.cluster import KafkaCluster
from .kafka.finding import find_kafka
from .kafka.home import KafkaHome, KafkaMissing
from .kafka.reachable import addresses, must_answer
from .postgres import Postgres, database_must_answer, postgres_programs
from .processes import Process
from .stand_in import Noida, StandIn, noida_program

Kind = Literal["apache", "stand-in", "yours"]

# What is not so with the stand-in.
LOSS = (
    "the stand-in has no elections, quotas or rights, and never ends the session of a member that died; "
    "tests of these do not run"
)


@dataclasses.dataclass
class Broker:
    """What speaks Kafka's protocol to a command. `server` is the private one; None if it is yours."""

    kind: Kind
    description: str
    server: KafkaCluster | Noida | StandIn | None = None
    address: str | None = None
    note: str | None = None
    """Why it is the stand-in although nobody asked for it, and what is lost by that."""

    @property
    def bootstrap(self) -> str:
        return self.server.bootstrap if self.server else self.address

    @property
    def processes(self) -> list[Process]:
        return self.server.processes if self.server else []

    def launch(self) -> None:
        """Starts what takes long, without waiting for it; `start` then does that. Yours must answer: HarnessError."""
        if isinstance(self.server, KafkaCluster):
            self.server.launch()
        elif self.address:
            must_answer("VIGIE_KAFKA", self.address)

    def start(self) -> "Broker":
        if self.server:
            self.server.start()
        return self

    def stop(self) -> None:
        if self.server:
            self.server.stop()


def choose_broker(
    folder, wanted: Literal["apache", "stand-in"] | None = None, *, port: int | None = None, with_pace: bool = False
) -> Broker:
    """The broker of a command, not started yet.

    VIGIE_KAFKA names yours. Otherwise it is Apache Kafka, and where that cannot be had the stand-in, unless one of
    them is wanted. with_pace: the stand-in is to be at rest when there is nothing to read. UsageError if VIGIE_KAFKA
    is no list of brokers, or KAFKA_HOME no Kafka.
    """
    if wanted is None and (address := os.environ.get("VIGIE_KAFKA")):
        addresses("VIGIE_KAFKA", address)
        # Within another command with services it is what that one says.
        kind = os.environ.get("VIGIE_KAFKA_KIND", "yours")
        description = os.environ.get("VIGIE_KAFKA_DESCRIPTION", f"{address}, a cluster of yours (VIGIE_KAFKA)")
        return Broker(kind, description, address=address)
    note = None
    if wanted != "stand-in":
        try:
            home = find_kafka()
            return Broker("apache", home.description, KafkaCluster(home, pathlib.Path(folder) / "kafka", port=port))
        except KafkaMissing as missing:
            if wanted == "apache":
                raise
            note = f"Apache Kafka is not used: {missing}. Instead: {StandIn.description}; {LOSS}."
    kind_of = StandIn if with_pace else Noida
    return Broker("stand-in", StandIn.description, kind_of(pathlib.Path(folder) / "stand-in", port), note=note)


def kafka_home() -> KafkaHome | None:
    """The Kafka from which tests may start nodes of their own; None if there is none, UsageError as find_kafka."""
    with contextlib.suppress(KafkaMissing):
        return find_kafka()
    return None


class Services:
    """A broker and a PostgreSQL for one command: `environment` says where they are, `parts` what they are."""

    def __init__(self, folder, wanted: Literal["apache", "stand-in"] | None = None):
        self.folder = pathlib.Path(folder)
        self.broker = choose_broker(self.folder, wanted)
        self.postgres = None if os.environ.get("VIGIE_POSTGRES") else Postgres(self.folder / "postgres", durable=False)
        self.parts: dict[str, str] = {}
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        if self.broker.note:
            print(f"vigie: {self.broker.note}", file=sys.stderr)
        if not self.postgres:
            database_must_answer("VIGIE_POSTGRES", os.environ["VIGIE_POSTGRES"])
        # Side by side.
        self.broker.launch()
        home = kafka_home()
        if self.postgres:
            self.postgres.start()
        self.broker.start()
        self.parts["broker"] = self.broker.description
        if self.postgres:
            self.parts["database"] = f"PostgreSQL {self.postgres.version}, a private cluster, fsync off"
        else:
            named = quiet_connection(os.environ["VIGIE_POSTGRES"])
            self.parts["database"] = os.environ.get("VIGIE_POSTGRES_DESCRIPTION", f"{named} (VIGIE_POSTGRES)")
        self.environment = {
            "VIGIE_KAFKA": self.broker.bootstrap,
            "VIGIE_KAFKA_KIND": self.broker.kind,
            "VIGIE_KAFKA_DESCRIPTION": self.parts["broker"],
            "VIGIE_POSTGRES": self.postgres.connection if self.postgres else os.environ["VIGIE_POSTGRES"],
            "VIGIE_POSTGRES_DESCRIPTION": self.parts["database"],
            "VIGIE_POSTGRES_BIN": str(postgres_programs()),
            "VIGIE_NOIDA": str(noida_program()),
        }
        if home:
            self.environment["VIGIE_KAFKA_HOME"] = str(home.folder)
            self.environment["VIGIE_KAFKA_NODE"] = str(ROOT / "tools" / "kafka")

    def stop(self) -> None:
        if self.postgres:
            self.postgres.stop()
            self.postgres.remove()
        self.broker.stop()


def quiet_connection(connection: str) -> str:
    """A connection string without its password."""
    connection = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", connection)
    return re.sub(r"(password\s*=\s*)('[^']*'|\S+)", r"\1***", connection)


__all__ = ["Broker", "HarnessError", "Services", "choose_broker", "kafka_home", "quiet_connection"]
