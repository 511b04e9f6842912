"""One node of a cluster: broker and controller in one process."""

import pathlib
import shutil
import signal
from typing import TYPE_CHECKING

from ..errors import HarnessError
from ..ports import free_port, listens, port_is_free
from ..processes import Process
from ..proxy import TcpProxy
from .security import Certificate

if TYPE_CHECKING:
    from .cluster import KafkaCluster


class KafkaNode:
    """A node with a folder of its own: log folder, settings, what it said. KafkaCluster makes it.

    `inner_port` is for the other nodes and for KafkaAdmin, `port` for clients, `advertised_port` is the one that they
    are told: the proxy's, if there is one before it.
    """

    def __init__(self, cluster: "KafkaCluster", number: int, port: int | None, with_proxy: bool):
        self.cluster = cluster
        self.id = number
        self.folder = cluster.folder / f"node-{number}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_folder = self.folder / "log"
        self.log = self.folder / "node.log"
        self.asked_port = port
        self.certificate: Certificate | None = None
        self.proxy: TcpProxy | None = TcpProxy() if with_proxy else None
        self.process: Process | None = None
        self.port = self.inner_port = self.controller_port = 0

    # Its life

    def start(self, wait: bool = True, bound: float = 120.0) -> None:
        """Starts it as it was, on the ports that it had, and waits until it serves clients."""
        self.launch()
        if wait:
            self.cluster.wait_until_serving(self, bound)

    def launch(self) -> None:
        """Starts its process."""
        if self.is_running:
            return
        if not (self.log_folder / "meta.properties").exists():
            self.cluster.runtime.format(self.log_folder, self.cluster.id, self.id)
        settings = self.folder / "server.properties"
        settings.touch(mode=0o600)
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        command = self.cluster.runtime.command("kafka.Kafka", settings, options=self.cluster.java_options)
        self.process = Process(f"Kafka's node {self.id}", command, self.log, signal.SIGTERM)

    def stop(self, bound: float = 30.0) -> bool:
        """Ends it in order: its partitions get other leaders first. True if it ended well within `bound` seconds."""
        if not self.process:
            return True
        self.process.stop(bound)
        # Java ends with 128 + 15 upon SIGTERM.
        return self.process.exit_status in (0, 128 + signal.SIGTERM)

    def ask_to_stop(self) -> None:
        if self.process:
            self.process.ask_to_stop()

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        if self.process:
            self.process.kill()

    def pause(self) -> None:
        """Lets it hang, by SIGSTOP."""
        if self.process:
            self.process.pause()

    def resume(self) -> None:
        """Lets it run again after a pause."""
        if self.process:
            self.process.resume()

    def restart(self, bound: float = 120.0) -> None:
        """Ends it in order and starts it again."""
        self.stop()
        self.start(bound=bound)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    @property
    def listens(self) -> bool:
        """Whether it has all of its ports."""
        ports = (self.port, self.inner_port, self.controller_port)
        return self.is_running and all(listens(self.process.pid, port) for port in ports)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def check(self) -> None:
        """HarnessError if it has ended."""
        if self.process:
            self.process.check()

    # Its ports

    @property
    def advertised_port(self) -> int:
        return self.proxy.port if self.proxy else self.port

    @property
    def bootstrap(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.advertised_port}"

    @property
    def inner_bootstrap(self) -> str:
        return f"127.0.0.1:{self.inner_port}"

    def choose_ports(self) -> None:
        """Takes free ports, and the one for clients that was asked for."""
        if self.asked_port and not port_is_free(self.asked_port):
            raise HarnessError(f"port {self.asked_port} is in use: choose another one for Kafka.")
        self.port = self.asked_port or free_port()
        self.inner_port, self.controller_port = free_port(), free_port()
        if self.proxy:
            self.proxy.target = self.port

    @property
    def has_lost_a_port(self) -> bool:
        """Whether it has ended because another program took one of its ports."""
        ports = (self.port, self.inner_port, self.controller_port)
        return not self.is_running and not all(map(port_is_free, ports))

    # Its data

    def copy_log_folder(self, name: str = "copy") -> pathlib.Path:
        """Keeps a copy of the log folder of a node that does not run."""
        self._must_not_run("copied")
        copy = self.folder / f"log-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.log_folder, copy)
        return copy

    def restore_log_folder(self, name: str = "copy") -> None:
        """Sets a node that does not run back to what a copy holds."""
        self._must_not_run("set back")
        copy = self.folder / f"log-{name}"
        if not copy.is_dir():
            raise HarnessError(f"node {self.id} has no copy {name!r} of its log folder: make one first")
        shutil.rmtree(self.log_folder)
        shutil.copytree(copy, self.log_folder)

    def lose_log_folder(self) -> None:
        """Takes everything from a node that does not run, as a new disk would."""
        self._must_not_run("emptied")
        shutil.rmtree(self.log_folder, ignore_errors=True)

    def _must_not_run(self, what: str) -> None:
        if self.is_running:
            raise HarnessError(f"node {self.id} runs: its log folder cannot be {what}; stop or kill it first")

    def _settings(self) -> dict[str, object]:
        cluster, host = self.cluster, "127.0.0.1"
        count = len(cluster.nodes)
        listeners = {"INTERNAL": self.inner_port, "CLIENT": self.port, "CONTROLLER": self.controller_port}
        settings: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": self.id,
            "listeners": ",".join(f"{name}://{host}:{port}" for name, port in listeners.items()),
            "advertised.listeners": f"INTERNAL://{host}:{self.inner_port},CLIENT://{host}:{self.advertised_port}",
            "listener.security.protocol.map": (
                f"INTERNAL:PLAINTEXT,CLIENT:{cluster.security.protocol},CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(f"{node.id}@{host}:{node.controller_port}" for node in cluster.nodes),
            "log.dirs": self.log_folder,
            # Small and quick: what a test waits for otherwise.
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.num.partitions": 4,
            "log.cleaner.dedupe.buffer.size": 2 << 20,
            # With three nodes everything is on all of them, and two must have a message.
            "default.replication.factor": count,
            "min.insync.replicas": max(1, count - 1),
            "offsets.topic.replication.factor": count,
            "transaction.state.log.replication.factor": count,
            "transaction.state.log.min.isr": max(1, count - 1),
            "share.coordinator.state.topic.replication.factor": count,
            "share.coordinator.state.topic.min.isr": max(1, count - 1),
        }
        settings |= cluster.security.broker_settings(cluster.authority, self.certificate)
        return settings | cluster.properties
