"""How to reach a Kafka cluster: one section of the configuration, for librdkafka and for Java's client.

The comparison of logs and the rejected messages go through librdkafka, as everything does in the processor. What Spark
reads goes through Java's client, so librdkafka's properties are translated. Secrets stay in their files: settings hold
names of files only, and both clients read them on whichever machine makes a client.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Literal

import confluent_kafka

from .configuration import TEXT, Section, Setting, choice

SASL = ("sasl_plaintext", "sasl_ssl")
PROTOCOLS = ("plaintext", "ssl", *SASL)
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class FileUnusable(Exception):
    """A certificate, a key or a password cannot be used. Never holds a secret."""

    def __init__(self, key: str, message: str):
        self.key = key
        """The setting that names the file."""
        super().__init__(message)


@dataclasses.dataclass(frozen=True)
class KafkaSettings:
    """How to reach the cluster, without any secret."""

    topic: str
    rejected_topic: str
    bootstrap: str
    security: str = "plaintext"
    ca_file: str | None = None
    """PEM file of the authorities that may vouch for the broker; None means the system's, or those of Java."""
    certificate_file: str | None = None
    key_file: str | None = None
    mechanism: str | None = None
    username: str | None = None
    password_file: str | None = None
    """Its first line is the password."""
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of librdkafka; only those in READING, SENDING and UNUSED."""

    def client(self, kind: Literal["consumer", "producer"]) -> dict[str, str]:
        """librdkafka's properties, the password among them. FileUnusable if it cannot be read."""
        found = {
            "bootstrap.servers": self.bootstrap, "security.protocol": self.security, "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file, "ssl.key.location": self.key_file,
            "sasl.mechanism": self.mechanism, "sasl.username": self.username,
            "sasl.password": read_password(self.password_file) if self.password_file else None,
        }  # fmt: skip
        # Each kind of client warns of what is for the other one.
        others = SENDING.keys() if kind == "consumer" else FETCHING
        mine = {name: value for name, value in self.properties.items() if name not in others and name not in UNUSED}
        return {name: value for name, value in found.items() if value is not None} | mine

    def connector(self) -> dict[str, str]:
        """Options of Spark's connector: the properties of Java's client, each with `kafka.` before it.

        They hold no secret: Java's client reads files by its DirectoryConfigProvider, on the driver and on executors.

        Raises: FileUnusable if a file is not as Java needs it.
        """
        found = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security.upper()}
        files = False
        if self.security in ("ssl", "sasl_ssl"):
            if self.ca_file:
                found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": self.ca_file}
            if self.certificate_file and self.key_file:
                found |= {
                    "ssl.keystore.type": "PEM",
                    "ssl.keystore.certificate.chain": content_of("certificate_file", self.certificate_file),
                    "ssl.keystore.key": content_of("key_file", self.key_file),
                }
                files = True
        if self.security in SASL and self.mechanism and self.username and self.password_file:
            found |= {"sasl.mechanism": self.mechanism, "sasl.jaas.config": self._login()}
            files = True
        if files:
            found |= {
                "config.providers": PROVIDER,
                f"config.providers.{PROVIDER}.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            }
        for name, value in self.properties.items():
            if equivalent := READING.get(name):
                found |= equivalent.translate(value)
        return {f"kafka.{name}": value for name, value in found.items()}

    def _login(self) -> str:
        """The line by which Java logs in: the password file's content takes the place of its name.

        In the syntax of this line (java.io.StreamTokenizer) a text ends at the quotation mark that began it or at the
        end of its line. So the end of the file's first line ends the password, or else the end of the line here does.
        """
        module = "plain.Plain" if self.mechanism == "PLAIN" else "scram.Scram"
        quote = '"' if '"' not in read_password(self.password_file, for_java=True) else "'"
        username = self.username.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        content = content_of("password_file", self.password_file)
        return (
            f'org.apache.kafka.common.security.{module}LoginModule required username="{username}"'
            f" password={quote}{content}\n;"
        )


PROVIDER = "directory"


def content_of(key: str, file: str) -> str:
    """What Java's client replaces by the content of a file."""
    folder, name = os.path.split(file)
    if ":" in folder or "}" in file:
        raise FileUnusable(key, f"{file}: Java's client takes no path with a colon in a folder's name or with a brace")
    return f"${{{PROVIDER}:{folder}:{name}}}"


def _read(key: str, file: str, limit: int = 65_536) -> str:
    try:
        with pathlib.Path(file).open("rb") as stream:
            return stream.read(limit).decode("utf-8", "replace")
    except OSError as error:
        raise FileUnusable(key, f"{file} cannot be read: {os.strerror(error.errno)}") from None


def read_password(file: str, for_java: bool = False) -> str:
    """The first line of a file. FileUnusable if there is none.

    Args:
        for_java: refuses what cannot be given to Java's client without showing it in the options of Spark's source.
    """
    lines = re.split("[\r\n]", _read("password_file", file))
    if not lines[0]:
        raise FileUnusable("password_file", f"the first line of {file} is empty")
    if for_java:
        if any(lines[1:]):
            raise FileUnusable("password_file", f"{file} has more than one line: Java's client takes a single one")
        if "\\" in lines[0] or ('"' in lines[0] and "'" in lines[0]):
            raise FileUnusable(
                "password_file",
                f"the password in {file} has a backslash, or both kinds of quotation marks, which Java's client does"
                " not take from a file: choose another password for this job",
            )
    return lines[0]


def check_key(file: str) -> None:
    """FileUnusable if Java's client does not take the key in a PEM file."""
    kinds = re.findall(r"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----", _read("key_file", file))
    if kinds == [""]:
        return
    if kinds in (["RSA "], ["EC "], ["DSA "]):
        found = f"is in the older form of {kinds[0].strip()} keys"
    elif kinds == ["ENCRYPTED "]:
        found = "is encrypted"
    else:
        raise FileUnusable("key_file", f"{file} does not hold one private key in PEM")
    raise FileUnusable(
        "key_file",
        f"the key in {file} {found}, and Java's client takes only PKCS #8 without a password: write it anew by"
        f" `openssl pkcs8 -topk8 -nodes -in {file} -out NEW`, and keep NEW as safe",
    )


# MARK: librdkafka's properties


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """What says to Java's client what a property of librdkafka says."""

    name: str
    values: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """Values that are written in another way; None if Java's client need not be told."""

    def translate(self, value: str) -> dict[str, str]:
        written = self.values.get(value, value)
        return {} if written is None else {self.name: written}


FETCHING = frozenset({
    "check.crcs", "fetch.max.bytes", "fetch.message.max.bytes", "fetch.min.bytes",
    "fetch.wait.max.ms", "max.partition.fetch.bytes",
})  # fmt: skip
"""Properties that librdkafka has for consumers only."""

_SYSTEMS = {"0": "-1"}

READING: Mapping[str, Equivalent] = {
    name: Equivalent(*equivalent)
    for name, *equivalent in (
        ("check.crcs", "check.crcs"),
        ("client.dns.lookup", "client.dns.lookup"),
        ("client.id", "client.id"),
        ("client.rack", "client.rack"),
        ("connections.max.idle.ms", "connections.max.idle.ms", {"0": "-1"}),
        ("fetch.max.bytes", "fetch.max.bytes"),
        ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
        ("fetch.min.bytes", "fetch.min.bytes"),
        ("fetch.wait.max.ms", "fetch.max.wait.ms"),
        ("max.partition.fetch.bytes", "max.partition.fetch.bytes"),
        ("reconnect.backoff.max.ms", "reconnect.backoff.max.ms"),
        ("reconnect.backoff.ms", "reconnect.backoff.ms"),
        ("retry.backoff.max.ms", "retry.backoff.max.ms"),
        ("retry.backoff.ms", "retry.backoff.ms"),
        ("socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.ms"),
        ("socket.receive.buffer.bytes", "receive.buffer.bytes", _SYSTEMS),
        ("socket.send.buffer.bytes", "send.buffer.bytes", _SYSTEMS),
        ("socket.timeout.ms", "request.timeout.ms"),
        ("ssl.endpoint.identification.algorithm", "ssl.endpoint.identification.algorithm", {"none": ""}),
        ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms"),
    )
}
"""The properties of whoever reads, each with its equivalent."""

SENDING: Mapping[str, int | None] = {
    "batch.num.messages": None, "batch.size": None, "compression.codec": None, "compression.level": None,
    "compression.type": None, "linger.ms": None, "message.max.bytes": 70_000, "queue.buffering.max.kbytes": 1024,
    "queue.buffering.max.messages": 10, "queue.buffering.max.ms": None, "request.timeout.ms": None,
    "sticky.partitioning.linger.ms": None,
}  # fmt: skip
"""The properties of whoever sends, which this engine does by librdkafka; the least value, where less may cost a
message."""

UNUSED: Mapping[str, frozenset[str] | None] = {
    "acks": frozenset({"all", "-1"}), "auto.offset.reset": frozenset({"error"}),
    "enable.auto.commit": frozenset({"false"}), "enable.idempotence": frozenset({"true"}),
    "enable.ssl.certificate.verification": frozenset({"true"}), "isolation.level": frozenset({"read_committed"}),
    "request.required.acks": frozenset({"all", "-1"}),
    "group.instance.id": None, "heartbeat.interval.ms": None, "max.poll.interval.ms": None,
    "partition.assignment.strategy": None, "session.timeout.ms": None,
}  # fmt: skip
"""What need not be told: the values that this engine has by itself, and what is about groups, as it is in none (None:
any value)."""


def _without_topic(name: str) -> str:
    """A property's name without the `topic.` that librdkafka allows before a topic's property."""
    is_clients = name.startswith("topic.metadata.") or name == "topic.blacklist"
    return name.removeprefix("topic.") if not is_clients else name


def _refusal(name: str, value: str) -> str | None:
    """Why a property is not taken; None if it is. First what librdkafka says of it."""
    with contextlib.suppress(TypeError, ValueError):
        try:
            confluent_kafka.Producer({name: value, "log_level": "0"})
        except confluent_kafka.KafkaException as error:
            reason = error.args[0].str().strip()
            # What only fits together with others is looked at when all are known.
            if not reason.startswith("Failed to create"):
                return reason
    if name in READING:
        return None
    if name in SENDING:
        least = SENDING[name]
        if least is None or (re.fullmatch("[0-9]+", value) and int(value) >= least):
            return None
        return f"not allowed: a message of 64 KiB must pass; set it to {least} or more"
    if name in UNUSED:
        allowed = UNUSED[name]
        if allowed is None or value.lower() in allowed:
            return None
        return f"not allowed: this job needs {' or '.join(sorted(allowed))}; remove it"
    return "the Spark job does not take it: Java's client has nothing that means the same, or it has a key of its own"


# MARK: The section


def _are_brokers(text: str) -> str | None:
    for word in text.split(","):
        broker = word.strip(" ")
        host, colon, port = broker.rpartition(":")
        is_port = re.fullmatch(r"\+?[0-9]{1,5}", port) and 1 <= int(port) <= 65_535
        if not broker or any(ord(letter) <= 0x20 or ord(letter) == 0x7F for letter in broker):
            return None
        # An IPv6 address is in brackets; librdkafka also takes a protocol before the host.
        if colon and not broker.endswith("]") and not (host and is_port):
            return None
    return text


BROKERS = Setting("brokers such as kafka-1:9092,kafka-2:9092", "", _are_brokers)
TOPIC = Setting(
    "a topic's name of 1 to 249 of A-Z a-z 0-9 . _ -", "topic",
    lambda text: text if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) and text not in (".", "..") else None,
)  # fmt: skip


def read_kafka(section: Section, folder: pathlib.Path) -> KafkaSettings:
    """Reads the section `kafka`. Paths in it are relative to `folder`."""

    def file(key: str) -> str | None:
        written = section.optional(key, TEXT)
        return None if written is None else str(folder / written)

    return KafkaSettings(
        bootstrap=section.required("bootstrap", BROKERS),
        security=section.value("security", choice(*PROTOCOLS), "plaintext"),
        ca_file=file("ca_file"), certificate_file=file("certificate_file"), key_file=file("key_file"),
        mechanism=section.optional("mechanism", choice(*MECHANISMS)), username=section.optional("username", TEXT),
        password_file=file("password_file"), properties=_properties(section),
        topic=section.value("topic", TOPIC, "sensor.readings"),
        rejected_topic=section.value("rejected_topic", TOPIC, "sensor.readings.rejected"),
    )  # fmt: skip


def _properties(section: Section) -> dict[str, str]:
    properties: dict[str, str] = {}
    given: dict[str, str] = {}
    part = section.optional_section("properties")
    for written in part.keys if part else ():
        value = part.optional(written, TEXT)
        if value is None:
            part.problem("expected a value; librdkafka's default holds without this line", written)
            continue
        name = _without_topic(written)
        if refusal := _refusal(name, value):
            part.problem(refusal, written)
            continue
        for java in READING[name].translate(value) if name in READING else ():
            if java in given:
                part.problem(f"{given[java]} says the same to Java's client: remove one of them", written)
            given[java] = written
        properties[name] = value
    return properties


def check_clients(section: Section, settings: KafkaSettings) -> None:
    """Reports what keeps one of the two clients from being made, files included. Nothing waits for the cluster."""
    try:
        for key in ("ca_file", "certificate_file", "key_file"):
            if file := getattr(settings, key):
                _read(key, file)
        if settings.key_file:
            # Before OpenSSL would ask the terminal for the password of one.
            check_key(settings.key_file)
        for kind, make in (("consumer", confluent_kafka.Consumer), ("producer", confluent_kafka.Producer)):
            extra = {"group.id": "vigie-spark-unused"} if kind == "consumer" else {}
            client = make(settings.client(kind) | extra | {"log_level": "0"})
            if kind == "consumer":
                client.close()
        settings.connector()
        uses_key = settings.certificate_file or settings.key_file
        if uses_key and not (settings.certificate_file and settings.key_file):
            raise FileUnusable(
                "certificate_file" if settings.certificate_file else "key_file",
                "certificate_file and key_file belong together: name both or none",
            )
    except FileUnusable as error:
        section.problem(str(error), error.key if section.has(error.key) else None)
    except confluent_kafka.KafkaException as error:
        reason = error.args[0].str()
        keys = {"ssl.key": "key_file", "ssl.certificate": "certificate_file", "ssl.ca": "ca_file"}
        at = next((key for name, key in keys.items() if name in reason and section.has(key)), None)
        section.problem(reason, at)
