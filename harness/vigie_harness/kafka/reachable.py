"""Whether a broker that somebody names answers, and if not, what is wrong with it in plain words."""

import re
import socket
import threading
import time
from collections.abc import Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ..errors import HarnessError, UsageError

BOUND = 5.0
"""Seconds that a broker has to answer."""


def addresses(name: str, text: str) -> list[tuple[str, int]]:
    """The hosts and ports of a bootstrap list that the variable `name` holds; UsageError if it is none."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", part.strip())
        if not match or not 0 < int(match[3]) < 65_536:
            raise UsageError(
                f"{name} is {text!r}, which is no list of brokers, such as kafka-1:9092,kafka-2:9092: mend or unset it."
            )
        found.append((match[1] or match[2], int(match[3])))
    return found


def must_answer(name: str, text: str, bound: float = BOUND) -> None:
    """Waits until one of the brokers answers that the variable `name` holds. HarnessError if none does in time."""
    deadline = time.monotonic() + bound
    tries = [_Try(*address, deadline) for address in addresses(name, text)]
    # Its own messages say less, and the same thing several times.
    client = AdminClient({"bootstrap.servers": text, "log_level": 0, "reconnect.backoff.max.ms": 500})
    try:
        client.list_topics(timeout=bound)
    except KafkaException:
        raise HarnessError(
            f"no Kafka answers within {bound:.0f} s at the address in {name}: {_reasons(tries)}. "
            f"Start it, correct {name}, or unset it: then there is one of our own."
        ) from None


class _Try:
    """A connection to one address, tried for as long as the broker may take."""

    def __init__(self, host: str, port: int, deadline: float):
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.target = (host, port)
        self.deadline = deadline
        self.reason = "no answer"
        # A name server that does not answer keeps it longer than we wait.
        threading.Thread(target=self._connect, daemon=True).start()

    def _connect(self) -> None:
        while (left := self.deadline - time.monotonic()) > 0:
            try:
                with socket.create_connection(self.target, left):
                    self.reason = "it accepts connections, but does not answer as Kafka does without TLS and passwords"
                    return
            except socket.gaierror:
                self.reason = "there is no host of this name"
            except ConnectionRefusedError:
                self.reason = "connection refused"
            except TimeoutError:
                return
            except OSError as error:
                self.reason = (error.strerror or str(error)).lower()
            time.sleep(0.5)


def _reasons(tries: Sequence[_Try]) -> str:
    return "; ".join(f"{each.address}: {each.reason}" for each in tries)
