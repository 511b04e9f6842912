"""A consumer of the storm's own that remembers everything that it saw on the topics."""

import contextlib
import json
import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

RESENT = "vigie-storm"
"""The header of what the storm itself sent."""


@dataclass(frozen=True)
class Seen:
    """A message as it stood on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    is_resent: bool
    """Whether the storm sent it, not a gateway."""
    at: float
    """When the tap saw it, time.monotonic()."""

    @property
    def reading(self) -> dict | None:
        """The reading in it; None for anything else."""
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self.value)
            if isinstance(found, dict) and "sensor_id" in found and "seq" in found:
                return found
        return None


class Tap:
    """Reads topics from their beginning, every partition, those added later included, straight from the nodes."""

    def __init__(self, bootstrap: str, topics: list[str]):
        self.topics = topics
        self.messages: list[Seen] = []
        """In the order in which it saw them; only ever appended to."""
        self.doubtful: list[str] = []
        """An offset that was given twice, or gone back to: the log is not what it was."""
        self._bootstrap = bootstrap
        self._next: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join(30)

    def count(self, topic: str) -> int:
        with self._lock:
            return sum(offset for (name, _), offset in self._next.items() if name == topic)

    def positions(self, topic: str) -> dict[int, int]:
        """For each partition the offset after the last message that was seen."""
        with self._lock:
            return {partition: offset for (name, partition), offset in self._next.items() if name == topic}

    def _consumer(self) -> Consumer:
        return Consumer({
            "bootstrap.servers": self._bootstrap,
            "group.id": "vigie-storm-tap",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_uncommitted",
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 1000,
            "allow.auto.create.topics": False,
            "log_level": 0,
        })  # fmt: skip

    def _run(self) -> None:
        consumer = self._consumer()
        looked = 0.0
        try:
            while not self._is_stopping.is_set():
                if time.monotonic() - looked > 1:
                    self._assign(consumer)
                    looked = time.monotonic()
                for message in consumer.consume(500, 0.05):
                    if not message.error():
                        self._take(message)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        """Goes on with partitions that are new."""
        added = []
        for topic in self.topics:
            with contextlib.suppress(KafkaException):
                found = consumer.list_topics(topic, timeout=1).topics.get(topic)
                for partition in found.partitions if found else ():
                    if (topic, partition) not in self._next:
                        added.append(TopicPartition(topic, partition, 0))
        if added:
            consumer.incremental_assign(added)
            with self._lock:
                for place in added:
                    self._next[place.topic, place.partition] = 0

    def _take(self, message) -> None:
        place = (message.topic(), message.partition())
        headers = message.headers() or []
        seen = Seen(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            key=message.key(),
            value=message.value(),
            is_resent=any(name == RESENT for name, _ in headers),
            at=time.monotonic(),
        )
        with self._lock:
            if seen.offset < self._next[place]:
                self.doubtful.append(f"{place[0]}/{place[1]} gave offset {seen.offset} after {self._next[place] - 1}")
            self._next[place] = seen.offset + 1
            self.messages.append(seen)
