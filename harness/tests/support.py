"""What the tests of the harness share."""

import pathlib
import shutil
import unittest

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from vigie_harness.kafka import KafkaHome, KafkaMissing
from vigie_harness.kafka.finding import find_kafka
from vigie_harness.processes import wait_until
from vigie_harness.scratch import scratch_folder


def kafka() -> KafkaHome:
    """Apache Kafka; without one, tests that need it say so."""
    try:
        return find_kafka()
    except KafkaMissing as missing:
        raise unittest.SkipTest(f"needs Apache Kafka: {missing}") from missing


def folder_of(test) -> pathlib.Path:
    """A folder that is gone after a test, or after a class of tests."""
    folder = scratch_folder()
    clean = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    clean(shutil.rmtree, folder, ignore_errors=True)
    return folder


def send(settings, topic: str, text: str, bound: float = 30.0, **more) -> int:
    """Sends a message and returns its offset; KafkaException if it is refused."""
    outcomes = []
    producer = Producer({**settings, "message.timeout.ms": int(bound * 1000), **more})
    producer.produce(topic, text.encode(), on_delivery=lambda error, message: outcomes.append((error, message)))
    producer.flush(bound + 5)
    error, message = outcomes[0]
    if error:
        raise KafkaException(error)
    return message.offset()


def receive(settings, topic: str, count: int, bound: float = 30.0, group: str = "test") -> list[str]:
    """Reads so many messages from the beginning; KafkaException if that is refused."""
    consumer = Consumer({**settings, "group.id": group, "auto.offset.reset": "earliest"})
    texts = []

    def has_come():
        message = consumer.poll(0.1)
        if message is None:
            return False
        if message.error():
            if message.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(message.error())
            return False
        texts.append(message.value().decode())
        return len(texts) == count

    try:
        consumer.subscribe([topic])
        wait_until(f"{count} messages of {topic}", has_come, bound, interval=0)
        return texts
    finally:
        consumer.close()


def error_of(call, *arguments, **more) -> str:
    """The name of the error with which Kafka refuses something."""
    try:
        call(*arguments, **more)
    except KafkaException as error:
        return error.args[0].name()
    raise AssertionError("it was not refused")


def is_running(process: int) -> bool:
    """Whether a process exists and is not a zombie that waits for its parent."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
