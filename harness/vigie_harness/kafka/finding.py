"""Which Apache Kafka is used: KAFKA_HOME's, else the one that was fetched into .vigie/kafka, now if need be."""

import os

from ..errors import UsageError
from .fetching import Fetch
from .home import KafkaHome, KafkaMissing, java


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


__all__ = ["KafkaMissing", "find_kafka"]
