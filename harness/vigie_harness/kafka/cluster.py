"""A cluster of one node or three, on loopback."""

import pathlib
import uuid
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, Producer

from ..errors import HarnessError
from ..processes import Process, wait_until
from .admin import CLIENT, KafkaAdmin
from .home import KafkaHome
from .node import KafkaNode
from .runtime import Runtime, new_id, prepare
from .security import Certificate, CertificateAuthority, Security

# How often free ports may be lost to other programs before the nodes are up.
ATTEMPTS = 5


class KafkaCluster:
    """Apache Kafka of our own. Everything that it keeps is in `folder`, which may hold what an earlier one left there.

    folder: made if need be. nodes: how many; they are numbered from 1. security: what the clients' listener asks for.
    properties: lines of server.properties, before which ours give way. with_proxies: a TcpProxy stands before each
    node, and clients are told its port only. port: of the (first) node for clients; any free one without it.

        with KafkaCluster(home, folder, nodes=3) as kafka:
            kafka.admin.create_topic("readings", partitions=6)
            kafka.node(2).kill()
    """

    def __init__(
        self,
        home: KafkaHome,
        folder,
        nodes: int = 1,
        *,
        security: Security | None = None,
        properties: Mapping[str, object] | None = None,
        with_proxies: bool = False,
        port: int | None = None,
        runtime: Runtime | None = None,
        java_options: Sequence[str] = (),
    ):
        self.home = home
        self.folder = pathlib.Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.security = security or Security()
        self.properties = dict(properties or {})
        self.java_options = tuple(java_options)
        self.runtime = runtime or prepare(home)
        self.id = self._known_id()
        self.authority: CertificateAuthority | None = None
        self.client_certificate: Certificate | None = None
        self.nodes = [
            KafkaNode(self, number, port if number == 1 else None, with_proxies) for number in range(1, nodes + 1)
        ]
        if self.security.uses_tls:
            self._make_certificates()
        self._admin: KafkaAdmin | None = None

    # What it is

    @property
    def description(self) -> str:
        return self.home.description

    @property
    def version(self) -> str:
        return self.home.version

    @property
    def bootstrap(self) -> str:
        """Where clients reach it."""
        return ",".join(node.bootstrap for node in self.nodes)

    @property
    def inner_bootstrap(self) -> str:
        """Where its nodes and its administrator reach it: without proxies, names and rights."""
        return ",".join(node.inner_bootstrap for node in self.nodes)

    @property
    def admin(self) -> KafkaAdmin:
        if not self._admin:
            self._admin = KafkaAdmin({"bootstrap.servers": self.inner_bootstrap}, self)
        return self._admin

    @property
    def processes(self) -> list[Process]:
        return [node.process for node in self.nodes if node.process]

    def node(self, number: int) -> KafkaNode:
        if not isinstance(number, int) or not 1 <= number <= len(self.nodes):
            raise HarnessError(f"there is no node {number!r}: they are numbered from 1 to {len(self.nodes)}")
        return self.nodes[number - 1]

    def client_settings(self, user: str | None = None, certificate: Certificate | None = None) -> dict[str, object]:
        """librdkafka's settings of a client: of this user, the first one by default, and with this certificate."""
        security = self.security
        settings: dict[str, object] = {**CLIENT, "bootstrap.servers": self.bootstrap}
        settings["security.protocol"] = security.protocol
        if security.sasl:
            name = user or next(iter(security.users))
            settings |= {
                "sasl.mechanism": security.mechanism,
                "sasl.username": name,
                "sasl.password": security.users[name],
            }
        if self.authority:
            settings["ssl.ca.location"] = str(self.authority.certificate)
        if certificate := certificate or (self.client_certificate if security.client_certificates else None):
            settings |= {
                "ssl.certificate.location": str(certificate.certificate),
                "ssl.key.location": str(certificate.key),
            }
        return settings

    # Its life

    def launch(self) -> None:
        """Starts the processes of all nodes without waiting for them; `start` then does that."""
        if not all(node.port for node in self.nodes):
            for node in self.nodes:
                node.choose_ports()
            self._admin = None
        for node in self.nodes:
            node.launch()

    def start(self, bound: float = 120.0) -> "KafkaCluster":
        """Starts all nodes and waits until they serve clients."""
        for attempt in range(ATTEMPTS):
            try:
                self.launch()
                for node in self.nodes:
                    self.wait_until_serving(node, bound)
                break
            except HarnessError:
                lost_a_port = any(node.has_lost_a_port for node in self.nodes)
                self.stop()
                if not lost_a_port or attempt == ATTEMPTS - 1:
                    raise
                for node in self.nodes:
                    node.port = 0
            except BaseException:
                self.stop()
                raise
        if self.security.sasl == "scram":
            for name, password in self.security.users.items():
                self.admin.create_user(name, password)
        return self

    def stop(self, bound: float = 30.0) -> bool:
        """Ends all nodes in order, at the same time. True if all ended well within the bound (seconds)."""
        for node in self.nodes:
            node.ask_to_stop()
        ended_well = sum(node.stop(bound) for node in self.nodes)
        return ended_well == len(self.nodes)

    def close(self) -> None:
        """Ends nodes and proxies."""
        self.stop()
        for node in self.nodes:
            if node.proxy:
                node.proxy.close()

    def __enter__(self) -> "KafkaCluster":
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_) -> None:
        self.close()

    def check(self) -> None:
        """HarnessError if a node has ended."""
        for node in self.nodes:
            node.check()

    def wait_until_serving(self, node: KafkaNode, bound: float = 120.0) -> None:
        """Waits until the running nodes, this one among them, know it as one that serves."""

        def serves():
            node.check()
            return node.listens and node.id in self.admin.brokers()

        wait_until(f"Kafka's node {node.id} serves", serves, bound)

    def exercise(self) -> None:
        """Does what clients do first: so the nodes have loaded what they need for it."""
        topic = f"exercise-{uuid.uuid4().hex[:8]}"
        self.admin.create_topic(topic)
        producer = Producer({**CLIENT, "bootstrap.servers": self.inner_bootstrap, "enable.idempotence": True})
        for compression in range(10):
            producer.produce(topic, f"message {compression}".encode(), key=b"key")
        if producer.flush(30):
            raise HarnessError(f"Kafka takes no messages within 30 s; see {self.nodes[0].log}")
        consumer = Consumer(
            {**CLIENT, "bootstrap.servers": self.inner_bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
        )
        try:
            consumer.subscribe([topic])
            wait_until("Kafka gives a message back", lambda: consumer.poll(0.1), 30)
        finally:
            consumer.close()
        self.admin.delete_topic(topic)

    # Certificates

    def _make_certificates(self) -> None:
        self.authority = CertificateAuthority(self.folder / "certificates")
        for node in self.nodes:
            node.certificate = self.authority.issue(f"node-{node.id}")
        self.client_certificate = self.authority.issue("client")

    def _known_id(self) -> str:
        file = self.folder / "cluster-id"
        if not file.exists():
            file.write_text(new_id())
        return file.read_text()
