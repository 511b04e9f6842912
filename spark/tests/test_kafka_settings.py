"""A protected cluster for both clients: what Java's is told, which properties it takes, and that no secret is told."""

import pathlib
import pickle
import re
import subprocess

import pytest
import yaml

from vigie_spark.configuration import SettingsError
from vigie_spark.kafka_settings import FETCHING, READING, SENDING, UNUSED, FileUnusable
from vigie_spark.settings import KafkaSettings, read_settings

SECRET = "corr3ct horse"


def settings(folder: pathlib.Path, checking_files: bool = True, **kafka) -> KafkaSettings:
    file = folder / "processor.yaml"
    root = {"kafka": {"bootstrap": "127.0.0.1:1"} | kafka, "postgres": {"connection": "dbname=x"}}
    file.write_text(yaml.safe_dump(root))
    return read_settings(file, checking_files=checking_files).kafka


def openssl(*arguments) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A certificate with its key in every form, and a password file."""
    folder = tmp_path_factory.mktemp("security")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-subj", "/CN=centre", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem")
    openssl(*new, "-subj", "/CN=another", "-keyout", folder / "another.pem", "-out", folder / "b.pem")
    openssl("ec", "-in", folder / "key.pem", "-out", folder / "older.pem")
    openssl("pkcs8", "-topk8", "-in", folder / "key.pem", "-passout", "pass:x", "-out", folder / "encrypted.pem")
    (folder / "password").write_text(f"{SECRET}\n")
    return folder


def test_java_is_told_the_names_of_files_only(folder):
    kafka = settings(
        folder, security="sasl_ssl", ca_file="certificate.pem", certificate_file="certificate.pem", key_file="key.pem",
        mechanism="SCRAM-SHA-512", username='o"\\u', password_file="password",
    )  # fmt: skip
    assert kafka.connector() == {
        "kafka.bootstrap.servers": "127.0.0.1:1",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": f"{folder}/certificate.pem",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.ssl.keystore.certificate.chain": f"${{directory:{folder}:certificate.pem}}",
        "kafka.ssl.keystore.key": f"${{directory:{folder}:key.pem}}",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required"
        f' username="o\\"\\\\u" password="${{directory:{folder}:password}}\n;',
        "kafka.config.providers": "directory",
        "kafka.config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    }
    # Nor does what travels to the executors hold any.
    assert SECRET.encode() not in pickle.dumps(kafka)
    assert kafka.client("producer")["sasl.password"] == SECRET


def test_a_quotation_mark_in_a_password_is_set_in_the_other_ones(folder):
    (folder / "quoted").write_text('a"b')
    kafka = settings(folder, security="sasl_plaintext", mechanism="PLAIN", username="u", password_file="quoted")
    login = kafka.connector()["kafka.sasl.jaas.config"]
    assert login.endswith(f'PlainLoginModule required username="u" password=\'${{directory:{folder}:quoted}}\n;')


@pytest.mark.parametrize("content, reason", [
    ("", "the first line of .*secret is empty"), ("a\nb\n", "has more than one line"),
    ("a\\b", "has a backslash"), ("a\"b'", "both kinds of quotation marks"),
])  # fmt: skip
def test_a_password_that_java_cannot_be_given_is_refused(folder, content, reason):
    (folder / "secret").write_text(content)
    with pytest.raises(SettingsError, match=f"yaml:[0-9]+: kafka: password_file: .*{reason}") as found:
        settings(folder, security="sasl_plaintext", mechanism="PLAIN", username="u", password_file="secret")
    assert not content or content.strip() not in str(found.value)


@pytest.mark.parametrize("key, reason", [
    ("older.pem", "older form of EC keys.*openssl pkcs8 -topk8"), ("encrypted.pem", "is encrypted"),
    ("another.pem", "mismatch"), ("certificate.pem", "does not hold one private key"),
])  # fmt: skip
def test_a_key_that_java_does_not_take_is_refused(folder, key, reason):
    with pytest.raises(SettingsError, match=rf"yaml:[0-9]+: kafka: key_file: (?s:.)*({reason})"):
        settings(folder, security="ssl", certificate_file="certificate.pem", key_file=key)


def test_a_file_that_vanishes_while_the_job_runs_is_told(folder):
    kafka = settings(folder, False, security="sasl_ssl", mechanism="PLAIN", username="u", password_file="none")
    for use in (kafka.connector, lambda: kafka.client("consumer")):
        with pytest.raises(FileUnusable, match="none cannot be read: No such file or directory"):
            use()


def test_properties_are_translated(folder):
    kafka = settings(folder, properties={
        "client.id": "centre", "fetch.wait.max.ms": 100, "connections.max.idle.ms": 0, "linger.ms": 7, "acks": "all",
        "topic.compression.type": "zstd", "ssl.endpoint.identification.algorithm": "none",
        "topic.metadata.refresh.interval.ms": 5000, "session.timeout.ms": 20_000, "isolation.level": "read_committed",
    })  # fmt: skip
    assert kafka.connector() == {
        "kafka.bootstrap.servers": "127.0.0.1:1",
        "kafka.security.protocol": "PLAINTEXT",
        "kafka.client.id": "centre",
        "kafka.fetch.max.wait.ms": "100",
        "kafka.connections.max.idle.ms": "-1",
        "kafka.ssl.endpoint.identification.algorithm": "",
        "kafka.metadata.max.age.ms": "5000",
    }
    assert kafka.client("producer").keys() & {"linger.ms", "compression.type", "fetch.wait.max.ms", "acks"} == {
        "linger.ms", "compression.type"
    }  # fmt: skip
    assert kafka.client("consumer").keys() & {"linger.ms", "fetch.wait.max.ms"} == {"fetch.wait.max.ms"}


@pytest.mark.parametrize("name, value, reason", [
    ("fetch.min.byte", "1", 'No such configuration property: "fetch.min.byte"'),
    ("fetch.min.bytes", "many", "Invalid value"),
    ("queued.max.messages.kbytes", "4096", "Java's client has nothing that means the same"),
    ("ssl.cipher.suites", "AES", "Java's client has nothing that means the same"),
    ("sasl.password", SECRET, "or it has a key of its own"),
    ("enable.ssl.certificate.verification", "false", "this job needs true; remove it"),
    ("isolation.level", "read_uncommitted", "this job needs read_committed"),
    ("message.max.bytes", "1000", "70000 or more"),
    ("error_cb", "x", "the Spark job does not take it"),
])  # fmt: skip
def test_a_property_is_refused_by_name(folder, name, value, reason):
    with pytest.raises(SettingsError) as found:
        settings(folder, properties={name: value})
    assert re.search(rf"yaml:[0-9]+: kafka: properties: {re.escape(name)}: .*{re.escape(reason)}", str(found.value))
    assert SECRET not in str(found.value)


def test_two_properties_that_are_one_to_java_are_refused(folder):
    with pytest.raises(SettingsError, match="fetch.message.max.bytes says the same to Java's client"):
        settings(folder, properties={"fetch.message.max.bytes": 1000, "max.partition.fetch.bytes": 1000})


def test_no_property_stands_twice():
    assert not READING.keys() & (SENDING.keys() | UNUSED.keys()) and not SENDING.keys() & UNUSED.keys()
    assert READING.keys() >= FETCHING
