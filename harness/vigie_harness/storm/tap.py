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
    log: int = 0
    """How often the topic had been made anew before."""

    @property
    def reading(self) -> dict | None:
        """The reading in it; None for anything else."""
        found = self._content
        return found if found and "sensor_id" in found and "seq" in found else None

    @property
    def report(self) -> tuple[str, dict] | None:
        """The gateway and its report in it; None for anything else."""
        found = self._content
        return (found["gateway_id"], found["report"]) if found and "report" in found else None

    @property
    def _content(self) -> dict | None:
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self.value)
            if isinstance(found, dict):
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
        self._logs: dict[str, int] = dict.fromkeys(topics, 0)
        self._anew: set[str] = set()
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

    def log(self, topic: str) -> int:
        """How often a topic was made anew."""
        with self._lock:
            return self._logs[topic]

    def has_seen_all(self, topic: str, ends: dict[int, int]) -> bool:
        """Whether it has seen everything before these offsets."""
        positions = self.positions(topic)
        return all(positions.get(partition, 0) >= end for partition, end in ends.items())

    def begin_anew(self, topic: str) -> None:
        """A topic was made anew, and nothing is on it: reads it from its beginning. Returns as soon as that is so."""
        with self._lock:
            self._anew.add(topic)
        while not self._is_stopping.is_set():
            with self._lock:
                if topic not in self._anew:
                    return
            time.sleep(0.02)

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
                if self._anew:
                    # One that has read the old topic may go on with what it knows of that.
                    consumer.close()
                    consumer = self._consumer()
                    self._forget(consumer)
                    looked = 0.0
                if time.monotonic() - looked > 1:
                    self._assign(consumer)
                    looked = time.monotonic()
                for message in consumer.consume(500, 0.05):
                    if not message.error():
                        self._take(message)
        except Exception as error:
            self.doubtful.append(f"the tap ended: {type(error).__name__}: {error}")
            raise
        finally:
            consumer.close()

    def _forget(self, consumer: Consumer) -> None:
        """Lets go of topics that were made anew, and goes on with the others."""
        with self._lock:
            for topic in self._anew:
                self._next = {place: offset for place, offset in self._next.items() if place[0] != topic}
                self._logs[topic] += 1
            self._anew = set()
            consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

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
            log=self._logs[place[0]],
        )
        with self._lock:
            if seen.offset < self._next[place]:
                self.doubtful.append(f"{place[0]}/{place[1]} gave offset {seen.offset} after {self._next[place] - 1}")
            self._next[place] = seen.offset + 1
            self.messages.append(seen)
