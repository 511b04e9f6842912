"""Kafka beside Spark's own connector: the log is recognised before it is read, and rejected messages are sent."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Literal

import confluent_kafka
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from .decoding import MessageMark, Rejected, mark
from .kafka_settings import FileUnusable, KafkaSettings
from .offsets import Position
from .strict import write_time

log = logging.getLogger("vigie.spark")

# Seconds that a broker has for an answer, and for taking messages.
ANSWER, TAKING = 10, 30

# librdkafka would write many lines a second to stderr while a broker is away. What is wrong is in the errors.
QUIET = {"log_level": "2"}


class KafkaUnreachable(Exception):
    """The broker does not answer, or refuses; it is tried again."""


def _properties(settings: KafkaSettings, kind: Literal["consumer", "producer"]) -> dict[str, str]:
    try:
        return settings.client(kind)
    except FileUnusable as error:
        raise KafkaUnreachable(str(error)) from None


# MARK: The log


@dataclasses.dataclass(frozen=True)
class Move:
    """Where reading goes on, if not where it was."""

    to: Position
    reason: str


def recognise(stored: Position, low: int, end: int, found: MessageMark | None) -> Move | None:
    """Compares a partition with the log that was read before (design 4.6).

    Args:
        stored: as PostgreSQL has it.
        low, end: the offsets that the broker has, the end excluded.
        found: the first message at the offset of the last message consumed or after it; None if there is none.

    Returns: None if it is the same log and goes on where it was.
    """
    last = stored.last
    if last is None:
        if stored.next < low:
            return Move(dataclasses.replace(stored, next=low), "the broker has deleted its first messages")
        if stored.next <= end:
            return None
    elif last.offset < low:
        following = max(low, stored.next)
        if following <= end:
            if following == stored.next:
                return None
            return Move(
                dataclasses.replace(stored, next=following), "the broker has deleted the messages to go on from"
            )
    elif found == last:
        return None
    return Move(Position(low, stored.generation + 1), "its log is another one than was read before")


class LogReader:
    """Asks the broker about the partitions of the topic, without a group. It is for one thread."""

    def __init__(self, settings: KafkaSettings):
        self._topic = settings.topic
        self._trouble: str | None = None
        self._admin = AdminClient(_properties(settings, "producer") | QUIET)
        self._consumer = Consumer(
            _properties(settings, "consumer") | QUIET
            | {"group.id": "vigie-spark-unused", "error_cb": self._note, "enable.auto.commit": "false",
               "enable.partition.eof": "true", "isolation.level": "read_committed",
               "auto.offset.reset": "error",
               # One message is wanted at a time, at once.
               "fetch.wait.max.ms": "10", "max.partition.fetch.bytes": "1"}
        )  # fmt: skip

    def close(self) -> None:
        self._consumer.close()

    def _note(self, error: KafkaError) -> None:
        self._trouble = error.str()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            self._trouble = None
            yield
        except KafkaException as error:
            # Why there is no connection is told while the consumer is polled.
            self._consumer.poll(0)
            text = error.args[0].str()
            raise KafkaUnreachable(f"{text}: {self._trouble}" if self._trouble else text) from None

    def partitions(self) -> list[int]:
        with self._answering():
            topic = self._consumer.list_topics(self._topic, timeout=ANSWER).topics[self._topic]
            if topic.error:
                text = f"{topic.error}: make the topic {self._topic}, or correct kafka.topic"
                raise KafkaUnreachable(text)
            return sorted(topic.partitions)

    def bounds(self) -> dict[int, tuple[int, int]]:
        """The first offset of each partition, and the end of what can be read of it."""
        partitions = self.partitions()
        with self._answering():
            first, end = (
                self._admin.list_offsets(
                    {TopicPartition(self._topic, partition): which for partition in partitions},
                    isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER,
                )
                for which in (OffsetSpec.earliest(), OffsetSpec.latest())
            )  # fmt: skip
            ends = {place.partition: future.result().offset for place, future in end.items()}
            return {place.partition: (future.result().offset, ends[place.partition]) for place, future in first.items()}

    def first_messages(self, offsets: Mapping[int, int]) -> dict[int, MessageMark | None]:
        """The first message of each partition at an offset or after it; None if there is none, or if the offset is out
        of the broker's range."""
        found: dict[int, MessageMark | None] = {}
        waiting = set(offsets)
        if not waiting:
            return found
        self._consumer.assign([TopicPartition(self._topic, partition, offsets[partition]) for partition in waiting])
        try:
            with self._answering():
                self._receive(waiting, found)
        finally:
            self._consumer.unassign()
        return found

    def _receive(self, waiting: set[int], found: dict[int, MessageMark | None]) -> None:
        deadline = time.monotonic() + ANSWER
        while waiting:
            message = self._consumer.poll(1)
            if time.monotonic() > deadline:
                raise KafkaUnreachable(f"the broker does not give the messages of partitions {sorted(waiting)}")
            if message is None or message.partition() not in waiting:
                continue
            if error := message.error():
                # Its offset may lie outside of what the broker has, or only markers of transactions follow.
                if error.code() not in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
                    raise KafkaException(error)
                found[message.partition()] = None
            else:
                kind, milliseconds = message.timestamp()
                stamp = None if kind == confluent_kafka.TIMESTAMP_NOT_AVAILABLE else milliseconds
                found[message.partition()] = mark(message.offset(), stamp, message.key(), message.value())
            waiting.remove(message.partition())

    def has(self, partition: int, last: MessageMark) -> bool:
        """Whether a partition still has a message that was read, or has deleted it."""
        if self.first_messages({partition: last.offset})[partition] == last:
            return True
        bounds = self.bounds()
        return partition in bounds and last.offset < bounds[partition][0]

    def compare(self, stored: Mapping[int, Position]) -> dict[int, Move]:
        """The partitions whose reading goes on elsewhere than PostgreSQL says."""
        partitions = self.partitions()
        offsets = {
            partition: stored[partition].last.offset
            for partition in partitions
            if partition in stored and stored[partition].last
        }
        found = self.first_messages(offsets)
        # Asked afterwards: these are the bounds of the log that gave the messages, or of one that is newer.
        bounds = self.bounds()
        moves = {
            partition: recognise(stored[partition], *bounds[partition], found.get(partition))
            for partition in bounds.keys() & stored.keys()
        }
        return {partition: move for partition, move in moves.items() if move}


# MARK: Rejected messages


class RejectedTopic:
    """The topic of messages that become no rows: each goes there unchanged, with headers that say why."""

    def __init__(self, settings: KafkaSettings):
        self._settings = settings
        self._producer = Producer(
            _properties(settings, "producer") | QUIET
            | {"acks": "all", "enable.idempotence": "true", "message.max.bytes": "1000000000",
               "message.timeout.ms": str(TAKING * 1000)}
        )  # fmt: skip

    def publish(self, partition: int, messages: list[Rejected], now: int) -> None:
        """Sends messages and returns when the broker has acknowledged all of them; KafkaUnreachable if it does not."""
        too_large = self._send(
            [(message, message.value, self._headers(partition, message, now)) for message in messages]
        )
        # The message itself was just below the limit. It must not stop those behind it, so its notice goes without it.
        notices = []
        for message in too_large:
            size = str(len(message.value or b"")).encode()
            headers = [*self._headers(partition, message, now, with_own=False), ("vigie-omitted", size)]
            notices.append((message, None, headers))
        for message in self._send(notices):
            log.error("the broker refuses the notice of the rejected message %s@%s", partition, message.offset)

    def _headers(self, partition: int, message: Rejected, now: int, with_own: bool = True) -> list[tuple[str, bytes]]:
        texts = {
            "vigie-reason": message.rejection.reason, "vigie-detail": str(message.rejection),
            "vigie-topic": self._settings.topic, "vigie-partition": str(partition),
            "vigie-offset": str(message.offset), "vigie-time": write_time(now),
        }  # fmt: skip
        if message.own_stream:
            texts["vigie-own-stream"] = message.own_stream
        return [*(message.headers if with_own else []), *((name, text.encode()) for name, text in texts.items())]

    def _send(self, messages: list[tuple[Rejected, bytes | None, list]]) -> list[Rejected]:
        """Returns those that are too large; KafkaUnreachable if another one is not taken."""
        too_large: list[Rejected] = []
        failures: list[KafkaError] = []

        def settle(message: Rejected, error: KafkaError | None) -> None:
            if error and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                too_large.append(message)
            elif error:
                failures.append(error)

        for message, value, headers in messages:
            while True:
                try:
                    self._producer.produce(
                        self._settings.rejected_topic, value=value, key=message.key, headers=headers,
                        on_delivery=lambda error, _, message=message: settle(message, error),
                    )  # fmt: skip
                    break
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    settle(message, error.args[0])
                    break
        self._producer.flush()
        if failures:
            raise KafkaUnreachable(f"the rejected topic takes no messages: {failures[0]}")
        return too_large
