"""The real job against a broker that wants TLS, a client's certificate, and a name with a password."""

import ipaddress
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.request

import confluent_kafka
import pyspark
import pytest
import support

import vigie_spark
from vigie_spark.progress import COUNTS

PASSWORD = "c0rrect-h0rse 'battery' staple"
DATABASE_PASSWORD = "w3lcome-t0-rows"
BOUND = 600


@pytest.fixture
def cluster(tmp_path):
    """Apache Kafka with SASL_SSL, and where its files are: clients may do what they are granted only."""
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    command = [os.environ["VIGIE_KAFKA_NODE"], "run", "--folder", tmp_path / "kafka", "--tls", "--client-certificates",
               "--sasl", "scram", "--user", f"centre:{tmp_path / 'password'}", "--authorise"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        facts = json.loads(child.stdout.readline())

        def ask(**request):
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            answer = json.loads(child.stdout.readline())
            assert answer.get("ok"), answer

        yield facts, ask
        child.stdin.close()
        assert child.wait(60) == 0


def pages(address: str) -> dict[str, str]:
    """What the job's page and its REST interface show."""
    application = json.loads(read(f"{address}/api/v1/applications"))[0]["id"]
    paths = ["", "/jobs/", "/stages/", "/environment/", "/executors/", "/SQL/", "/StreamingQuery/",
             "/metrics/json/", "/metrics/prometheus/", "/metrics/executors/prometheus/"]  # fmt: skip
    paths += [f"/api/v1/applications/{application}/{part}" for part in
              ("jobs", "stages", "environment", "allexecutors", "sql?details=true")]  # fmt: skip
    paths += [f"/SQL/execution/?id={number}" for number in range(3)]
    return {path: read(address + path) for path in paths}


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens at a port (proc(5))."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                # Four bytes each, in the machine's order.
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address) - 5, 8)]
                ip = ipaddress.ip_address(b"".join(words))
                found.add(str(getattr(ip, "ipv4_mapped", None) or ip))
    return found


def assert_status_shows_the_job(centre: support.Centre) -> None:
    """`vigie-processor status` knows the job by its heartbeat."""
    name = f"{centre.settings.instance}-spark"
    row = support.wait_until("a heartbeat of a job that has read all", lambda: centre.query(
        "SELECT version, topic, consumer_group, partitions, lag, endpoint FROM processor WHERE instance = %s"
        " AND worker = 0 AND state = 'healthy' AND lag = 0 AND updated_at > now() - interval '10 s'", name
    ))  # fmt: skip
    assert row == [(f"{vigie_spark.__version__} on Spark {pyspark.__version__}", centre.settings.kafka.topic,
                    centre.settings.group, [0], 0, None)]  # fmt: skip
    status = subprocess.run([support.PROGRAMS / "vigie-processor", "status", "--config", centre.file],
                            capture_output=True, text=True)  # fmt: skip
    assert status.returncode == 0, status
    assert f"{name} on {socket.gethostname()} has no endpoint; it says that it is healthy" in status.stdout


def assert_metrics_are_right(text: str) -> None:
    found = dict(re.findall(r"metrics_vigie_driver_AccumulatorSource_(\w+)_Value{[^}]*} ([0-9]+)", text))
    assert {name: int(value) for name, value in found.items() if name != "batch_milliseconds"} == dict.fromkeys(
        COUNTS.values(), 0
    ) | {"messages_total": 21, "rows_total": 20, "rejected_total": 1, "slow_total": 1,
         "windows_total": int(found["windows_total"]), "lag_messages": int(found["lag_messages"]), "partitions": 1,
         "healthy": 1}  # fmt: skip
    # Spark's own of the query.
    assert "metrics_vigie_driver_spark_streaming_vigie_inputRate_total_Value" in text


@support.needs_servers
@support.needs_connector
@pytest.mark.skipif(not os.environ.get("VIGIE_KAFKA_NODE"), reason="needs a node of Apache Kafka of its own")
def test_the_job_reads_and_rejects_over_sasl_ssl_and_shows_no_secret(tmp_path, cluster, monkeypatch):
    # The private PostgreSQL asks for none.
    monkeypatch.setenv("PGPASSWORD", DATABASE_PASSWORD)
    facts, ask = cluster
    topic = support.unique("readings").replace("_", "-")
    protected = {
        "bootstrap": facts["bootstrap"], "security": "sasl_ssl", "ca_file": facts["authority"],
        "certificate_file": facts["certificate"], "key_file": facts["key"], "mechanism": facts["mechanism"],
        "username": "centre", "password_file": "password", "topic": topic, "rejected_topic": f"{topic}.a",
    }  # fmt: skip
    inner = {"bootstrap.servers": facts["inner_bootstrap"]}
    for name, operations in ((topic, ("read", "describe")), (f"{topic}.a", ("write", "describe"))):
        ask(topic=name)
        for operation in operations:
            ask(grant="centre", operation=operation, topic=name)
    centre = support.make_centre(tmp_path, topic, kafka=protected)
    now = int(centre.query("SELECT extract(epoch FROM now()) * 1000")[0][0])
    producer = confluent_kafka.Producer(inner)
    for number in range(1, 21):
        producer.produce(topic, key=b"g-1", value=support.reading(number, now - 100_000 + number * 1000))
    producer.produce(topic, key=b"g-1", value=b"no reading")
    assert producer.flush(30) == 0

    events = tmp_path / "events"
    events.mkdir()
    noted = {"spark.ui.enabled": "true", "spark.eventLog.enabled": "true", "spark.eventLog.dir": events.as_uri()}
    with support.spark_job(centre, conf=noted) as child:
        log = centre.file.with_suffix(".spark.log")
        support.wait_until("rows arrive", lambda: centre.next_offsets().get(0) == 21 or child.poll() is not None, BOUND)
        assert child.poll() is None, log.read_text()
        shown = pages(re.search(r"its page is at (http://\S+)", log.read_text())[1])
        assert_status_shows_the_job(centre)
        address = re.search(r"its page is at http://\S+:([0-9]+)", log.read_text())
        assert_metrics_are_right(shown["/metrics/prometheus/"])
        assert listening(int(address[1])) == {"127.0.0.1"}
        child.terminate()
        assert child.wait(BOUND) == 0
    assert centre.query("SELECT count(*) FROM processor") == [(0,)]
    assert centre.query("SELECT count(*) FROM sensor_data") == [(20,)]
    consumer = confluent_kafka.Consumer(inner | {"group.id": "tests", "auto.offset.reset": "earliest"})
    consumer.assign([confluent_kafka.TopicPartition(f"{topic}.a", 0, 0)])
    found = support.wait_until("the rejected message", lambda: consumer.poll(1))
    consumer.close()
    assert found.value() == b"no reading"

    shown |= {str(file): file.read_text(errors="replace") for file in [log, *events.rglob("*")] if file.is_file()}
    assert any(str(events) in name for name in shown)
    # The settings are shown, so that the search is one where secrets could be.
    assert any("spark.app.name" in text for text in shown.values())
    key = pathlib.Path(facts["key"]).read_text().splitlines()[1]
    for name, text in shown.items():
        for secret in (PASSWORD, "h0rse", key, DATABASE_PASSWORD):
            assert secret not in text, name
