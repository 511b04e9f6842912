"""Which Apache Kafka is used: KAFKA_HOME's, else the one that was fetched into .vigie/kafka, now if need be."""

import os

from .fetching import Fetch
from .home import KafkaHome, KafkaMissing, java


def find_kafka(fetch: Fetch | None = None) -> KafkaHome:
    """The Kafka of this machine. KafkaMissing says why it cannot be had."""
    # Without Java there is no maven either.
    java()
    if folder := os.environ.get("KAFKA_HOME"):
        return KafkaHome.at(folder)
    return (fetch or Fetch())()


__all__ = ["KafkaMissing", "find_kafka"]
