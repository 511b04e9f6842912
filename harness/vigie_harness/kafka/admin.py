"""Topics, users, rights and quotas of a cluster."""

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from ..errors import HarnessError
from ..processes import wait_until

if TYPE_CHECKING:
    from .cluster import KafkaCluster

# Seconds that only a broker that hangs takes.
BOUND = 60.0
# A client that finds a broker again soon after it was away, and does not fill our output meanwhile.
CLIENT = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10_000}


# The limits of a quota.
LIMITS = ("producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate")


class NotThere(HarnessError):
    """There is no topic, or no partition of it, by this name: as far as the broker that was asked knows."""


class KafkaAdmin:
    """What an administrator does, each step with its result. Errors are HarnessError with Kafka's own text.

    `settings` are librdkafka's, such as `bootstrap.servers`. Quotas need `cluster`: Kafka's own tool sets them.
    """

    def __init__(self, settings: Mapping, cluster: "KafkaCluster | None" = None):
        self.settings = {**CLIENT, **settings}
        self.client = AdminClient(self.settings)
        self._cluster = cluster

    # The cluster

    def metadata(self, timeout: float = 5.0):
        """What brokers and topics there are (confluent_kafka.admin.ClusterMetadata)."""
        return self.client.list_topics(timeout=timeout)

    def brokers(self, timeout: float = 1.0) -> list[int]:
        """The numbers of the brokers that serve; none if nobody answers."""
        with contextlib.suppress(KafkaException):
            return sorted(self.metadata(timeout).brokers)
        return []

    # Topics

    def create_topic(
        self, name: str, partitions: int = 1, replicas: int = -1, settings: Mapping[str, object] | None = None
    ) -> None:
        """Makes a topic, and waits until each partition has a leader and all of its replicas are in step.

        Without a number of replicas it is the cluster's `default.replication.factor`.
        """
        topic = NewTopic(
            name, partitions, replicas, config={key: str(value) for key, value in (settings or {}).items()}
        )
        self._done(f"topic {name} cannot be created", self.client.create_topics([topic]))
        self.wait_for_topic(name, partitions)

    def has_topic(self, name: str) -> bool:
        return name in self.metadata().topics

    def wait_for_topic(self, name: str, partitions: int, bound: float = BOUND) -> None:
        """Waits until the brokers that are asked in turn all know the topic with its partitions and their leaders."""

        def is_known():
            with contextlib.suppress(KafkaException):
                topic = self.metadata().topics.get(name)
                found = topic.partitions.values() if topic else ()
                return len(found) >= partitions and all(
                    partition.leader >= 0 and len(partition.isrs) == len(partition.replicas) for partition in found
                )
            return False

        count = max(1, len(self.brokers()))
        # Any broker answers: several answers in a row that agree are of several brokers.
        for _ in range(1 if count == 1 else 2 * count):
            wait_until(f"topic {name} with {partitions} partitions is known", is_known, bound)

    def _partitions(self, name: str) -> dict:
        """The metadata of a topic's partitions by their numbers; NotThere without such a topic."""
        topic = self.metadata().topics.get(name)
        if topic is None:
            raise NotThere(f"there is no topic {name!r}")
        return topic.partitions

    def delete_topic(self, name: str) -> None:
        """Deletes a topic, and waits until it is gone."""
        self._done(f"topic {name} cannot be deleted", self.client.delete_topics([name]))
        wait_until(f"topic {name} is gone", lambda: not self.has_topic(name), BOUND)

    def add_partitions(self, name: str, total: int) -> None:
        """Lets a topic have so many partitions."""
        self._done(
            f"topic {name} cannot have {total} partitions", self.client.create_partitions([NewPartitions(name, total)])
        )
        self.wait_for_topic(name, total)

    def alter_topic(self, name: str, **settings) -> None:
        """Sets settings of a topic, such as retention_ms=1000; None takes one back to its default."""
        self._alter(ConfigResource.Type.TOPIC, name, settings)

    def alter_broker(self, node: int | str = "", **settings) -> None:
        """Sets dynamic settings of one node, or of all."""
        self._alter(ConfigResource.Type.BROKER, str(node), settings)

    def _alter(self, kind, name, settings) -> None:
        entries = [
            ConfigEntry(
                key.replace("_", "."),
                "" if value is None else str(value),
                incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
            )
            for key, value in settings.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        self._done(f"{name or 'the cluster'} cannot be configured", self.client.incremental_alter_configs([resource]))

    def delete_records(self, name: str, before: Mapping[int, int]) -> None:
        """Deletes the messages before an offset, by partition."""
        places = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
        # Each partition has an answer of its own.
        for place, future in self.client.delete_records(places).items():
            self._done(f"messages of {name}, partition {place.partition}, cannot be deleted", {place: future})

    def leader(self, name: str, partition: int = 0) -> int:
        """The node that leads a partition; -1 if none does."""
        found = self._partitions(name).get(partition)
        if found is None:
            raise NotThere(f"topic {name} has no partition {partition!r}")
        return found.leader

    def partitions(self, name: str) -> list[dict]:
        """What each partition of a topic has: its leader (-1 for none), its replicas, those of them in sync."""
        return [
            {"partition": number, "leader": found.leader, "replicas": found.replicas, "in_sync": found.isrs}
            for number, found in sorted(self._partitions(name).items())
        ]

    def offsets(self, name: str) -> dict[int, tuple[int, int]]:
        """The first offset and the one after the last, by partition."""
        with self._consumer() as consumer:
            return {
                number: consumer.get_watermark_offsets(TopicPartition(name, number), timeout=BOUND)
                for number in self._partitions(name)
            }

    @contextlib.contextmanager
    def _consumer(self):
        consumer = Consumer({**self.settings, "group.id": "vigie-harness", "enable.auto.commit": False})
        try:
            yield consumer
        finally:
            consumer.close()

    # Groups

    def group_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """What a consumer group has committed in Kafka, by topic and partition."""
        answer = self.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        found = self._done(f"the offsets of {group} cannot be read", answer)
        return {(place.topic, place.partition): place.offset for place in found.topic_partitions}

    def set_group_offsets(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Resets what a group without members has committed in Kafka."""
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        answer = self.client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
        self._done(f"the offsets of {group} cannot be set", answer)

    def delete_group(self, group: str) -> None:
        self._done(f"group {group} cannot be deleted", self.client.delete_consumer_groups([group]))

    # Users and rights

    def create_user(self, name: str, password: str) -> None:
        """Makes a user of SCRAM-SHA-512, or gives one another password."""
        mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, mechanism, password.encode())
        self._done(f"user {name} cannot be made", self.client.alter_user_scram_credentials([change]))

    def delete_user(self, name: str) -> None:
        change = UserScramCredentialDeletion(name, ScramMechanism.SCRAM_SHA_512)
        self._done(f"user {name} cannot be deleted", self.client.alter_user_scram_credentials([change]))

    def grant(self, user: str, operation: str, *, topic: str | None = None, group: str | None = None) -> None:
        """Lets a user do something, such as `write`, with a topic, a group or the cluster. `*` is any of them."""
        binding = AclBinding(
            *self._resource(topic, group), f"User:{user}", "*", _operation(operation), AclPermissionType.ALLOW
        )
        self._done(f"{user} cannot be granted {operation}", self.client.create_acls([binding]))

    def deny(self, user: str, operation: str, *, topic: str | None = None, group: str | None = None) -> None:
        """Forbids a user something, whatever is granted."""
        binding = AclBinding(
            *self._resource(topic, group), f"User:{user}", "*", _operation(operation), AclPermissionType.DENY
        )
        self._done(f"{user} cannot be denied {operation}", self.client.create_acls([binding]))

    def revoke(self, user: str, operation: str, *, topic: str | None = None, group: str | None = None) -> None:
        """Takes back what was granted or denied."""
        binding = AclBindingFilter(
            *self._resource(topic, group), f"User:{user}", "*", _operation(operation), AclPermissionType.ANY
        )
        self._done(f"{operation} cannot be taken from {user}", self.client.delete_acls([binding]))

    @staticmethod
    def _resource(topic, group):
        if topic is not None:
            return ResourceType.TOPIC, topic, ResourcePatternType.LITERAL
        if group is not None:
            return ResourceType.GROUP, group, ResourcePatternType.LITERAL
        return ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL

    def set_quota(self, *, user: str | None = None, client_id: str | None = None, **limits: float | None) -> None:
        """Limits a user or a client: producer_byte_rate, consumer_byte_rate (bytes a second), request_percentage.

        None takes a limit away. `<default>` as a name stands for all that have none of their own.
        """
        if not self._cluster:
            raise HarnessError("quotas are set by Kafka's own tool, for which the cluster must be one of ours")
        if user is None and client_id is None:
            raise HarnessError("a quota is of a user or of a client_id: name one of them")
        if not limits or not limits.keys() <= set(LIMITS):
            raise HarnessError(f"a quota limits {', '.join(LIMITS)}: name one or more of these")
        arguments = []
        for kind, name in (("users", user), ("clients", client_id)):
            if name == "<default>":
                arguments += ["--entity-type", kind, "--entity-default"]
            elif name is not None:
                arguments += ["--entity-type", kind, "--entity-name", name]
        added = [f"{key}={value}" for key, value in limits.items() if value is not None]
        removed = [key for key, value in limits.items() if value is None]
        changes = (["--add-config", ",".join(added)] if added else []) + (
            ["--delete-config", ",".join(removed)] if removed else []
        )
        self._cluster.runtime.run(
            "kafka.admin.ConfigCommand",
            "--bootstrap-server",
            self._cluster.inner_bootstrap,
            "--alter",
            *changes,
            *arguments,
        )

    def _done(self, what: str, answer: Mapping):
        """The result of the one request that an answer is to."""
        (future,) = answer.values()
        try:
            return future.result(BOUND)
        except KafkaException as error:
            raise HarnessError(f"{what}: {error.args[0].str()} ({error.args[0].name()})") from error

    def wait_until(self, what: str, is_so: Callable[[], object], bound: float = BOUND):
        """Waits for a state of the cluster, through elections and restarts."""

        def asked():
            with contextlib.suppress(KafkaException, KeyError, NotThere):
                return is_so()
            return None

        return wait_until(what, asked, bound)


def _operation(name: str) -> AclOperation:
    known = [operation.name for operation in AclOperation if operation.name not in ("UNKNOWN", "ANY")]
    if str(name).upper() not in known:
        raise HarnessError(f"there is no operation {name!r}: it is one of {', '.join(known).lower()}")
    return AclOperation[name.upper()]
