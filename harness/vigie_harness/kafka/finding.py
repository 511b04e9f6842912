"""Which Apache Kafka is used: KAFKA_HOME's, or the one that was fetched into .vigie/kafka."""

import os

from ..checkout import STATE
from .home import KafkaHome, KafkaMissing, java

FETCHED = STATE / "kafka"


def find_kafka() -> KafkaHome:
    """The Kafka of this machine. KafkaMissing says why there is none."""
    home = _home()
    java()
    return home


def _home() -> KafkaHome:
    if folder := os.environ.get("KAFKA_HOME"):
        return KafkaHome.at(folder)
    if FETCHED.is_dir():
        return KafkaHome.at(FETCHED)
    raise KafkaMissing("KAFKA_HOME is not set, and none has been fetched")
