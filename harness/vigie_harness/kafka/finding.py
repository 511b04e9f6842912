"""Which Apache Kafka is used: KAFKA_HOME's, else the one that was fetched into .vigie/kafka, now if need be."""

import os
from typing import Literal

from ..errors import UsageError
from .fetching import Fetch
from .home import KafkaHome, KafkaMissing, java
from .reachable import must_answer


def find_kafka(fetch: Fetch | None = None) -> KafkaHome:
    """The Kafka of this machine. KafkaMissing says why it cannot be had.

    Who names a KAFKA_HOME means that one: if it cannot be used it is a UsageError, and nothing takes its place.
    """
    if folder := os.environ.get("KAFKA_HOME"):
        try:
            home = KafkaHome.at(folder)
        except KafkaMissing as missing:
            raise UsageError(f"KAFKA_HOME cannot be used: {missing}. Correct it, or unset it.") from None
        try:
            java()
        except KafkaMissing as missing:
            raise UsageError(f"Apache Kafka of KAFKA_HOME cannot run: {missing}.") from None
        return home
    # Without Java there is no maven either.
    java()
    return (fetch or Fetch())()


def check_broker(wanted: Literal["apache", "stand-in"] | None = None) -> None:
    """HarnessError if what is wanted, or what the environment names, cannot be used: for what is long before its use.

    An Apache Kafka that is wanted is fetched if need be; without a wish the stand-in would take its place.
    """
    if wanted is None and (bootstrap := os.environ.get("VIGIE_KAFKA")):
        must_answer("VIGIE_KAFKA", bootstrap)
    if wanted == "apache" or os.environ.get("KAFKA_HOME"):
        find_kafka()


__all__ = ["KafkaMissing", "check_broker", "find_kafka"]
