"""Every metric of monitoring/'s alert rules and dashboards is one that a running gateway or processor gives.

On the broker of VIGIE_KAFKA, with the programs of VIGIE_BIN, .build/debug by default.
"""

import json
import os
import pathlib
import re
import subprocess
import unittest
import urllib.request
import uuid

import yaml
from confluent_kafka.admin import AdminClient, NewTopic
from support import folder_of

from vigie_harness.checkout import ROOT, programs
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres
from vigie_harness.processes import Process, wait_until

MONITORING = ROOT / "monitoring"

# A chip that fails, one that works and a battery: what happens to a board has its metrics.
GATEWAY = """
gateway: {{id: metrics}}
mode: simulated
outbox: {{path: outbox.sqlite}}
kafka: {{bootstrap: "{kafka}", topic: {topic}}}
clock: {{policy: trust}}
monitoring: {{listen: "127.0.0.1:{port}"}}
battery: {{low: 20, critical: 5}}
stations:
  - sensor_id: air
    interval: 1s
    chips:
      - {{type: bme280, bus: 1, address: 0x76}}
      - {{type: sht4x, bus: 1, address: 0x44}}
      - {{type: ads1115, bus: 1, address: 0x48, channel: 0, chemistry: li_ion, divider: {{upper: 10000, lower: 10000}}}}
simulation:
  faults:
    - {{sensor_id: air, chip: bme280, kind: nack, start: 0s, length: 600s}}
"""

# Any air is critical at once, and nobody takes the notifications.
PROCESSOR = """
kafka: {{bootstrap: "{kafka}", topic: {topic}, rejected_topic: {topic}.rejected, group: {topic}}}
postgres: {{connection: "{postgres}"}}
monitoring: {{listen: "127.0.0.1:{port}"}}
rules:
  temperature: {{critical: {{above: -90}}}}
webhook: {{url: "http://127.0.0.1:{closed}/"}}
"""

METRIC = r"\b(?:vigie|process)_\w+"
# What Prometheus adds to every series or makes itself.
LABELS_OF_PROMETHEUS = {"instance", "job", "le", "alertname", "alertstate"}


def expressions():
    """What is asked of Prometheus, with where it stands."""
    for group in yaml.safe_load((MONITORING / "prometheus/alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for path in sorted((MONITORING / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: {variable['name']}", variable["query"]["query"]
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                named = " ".join(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                # A label of the legend as one of an expression.
                yield f"{path.name}: {panel['title']}", f"{target['expr']} by ({', '.join(named.split())})"


def series(port: int) -> list[tuple[str, dict[str, str]]]:
    """Name and labels of each series of /metrics; none while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    found = (re.match(r"(\w+)(?:{(.*)})? ", line) for line in text.splitlines() if not line.startswith("#"))
    return [(one[1], dict(re.findall(r'(\w+)="([^"]*)"', one[2] or ""))) for one in found]


@unittest.skipUnless(os.environ.get("VIGIE_KAFKA"), "VIGIE_KAFKA names no broker: run `make test`")
class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder_of(cls)
        postgres = Postgres(cls.folder / "postgres", durable=False)
        cls.addClassCleanup(postgres.stop)
        postgres.start()
        kafka, topic = os.environ["VIGIE_KAFKA"], f"metrics-{uuid.uuid4().hex[:8]}.readings"
        topics = [NewTopic(topic, 2, 1), NewTopic(f"{topic}.rejected", 1, 1)]
        admin = AdminClient({"bootstrap.servers": kafka})
        for made in admin.create_topics(topics).values():
            made.result(300)
        ports = {"gateway": free_port(), "processor": free_port()}
        for name, text in (("gateway", GATEWAY), ("processor", PROCESSOR)):
            filled = text.format(
                kafka=kafka, topic=topic, port=ports[name], postgres=postgres.connection, closed=free_port()
            )
            (cls.folder / f"{name}.yaml").write_text(filled)
        cls.migrate(programs() / "vigie-processor")
        cls.running = [cls.start(name) for name in ports]

        def all_is_there():
            for process in cls.running:
                process.check()
            cls.series = [one for port in ports.values() for one in series(port)]
            # The last that come: a chip has failed, an alert is open.
            return {"vigie_chip_faults_total", "vigie_open_alerts", "vigie_held_back_messages"} <= cls.names()

        wait_until("a fault and an alert in the metrics", all_is_there, 300, interval=0.2)

    @classmethod
    def migrate(cls, program: pathlib.Path):
        subprocess.run([program, "migrate", "--config", cls.folder / "processor.yaml"], check=True, capture_output=True)

    @classmethod
    def start(cls, name: str) -> Process:
        program = programs() / f"vigie-{name}"
        process = Process(
            program.name, [program, "run", "--config", cls.folder / f"{name}.yaml"], cls.folder / f"{name}.log"
        )
        cls.addClassCleanup(process.stop)
        return process

    @classmethod
    def names(cls) -> set[str]:
        return {name for name, _ in cls.series}

    def test_every_metric_is_given(self):
        wanted = [(place, name) for place, text in expressions() for name in re.findall(METRIC, text)]
        self.assertGreater(len(wanted), 60)
        self.assertEqual([one for one in wanted if one[1] not in self.names()], [])

    def test_every_chosen_series_is_given(self):
        """Such as `vigie_battery_state{state="critical"}`."""
        chosen = [
            (place, name, label, value)
            for place, text in expressions()
            for name, matchers in re.findall(rf"({METRIC}){{([^}}]*)}}", text)
            for label, value in re.findall(r'(\w+)="([^"]*)"', matchers)
            if label not in LABELS_OF_PROMETHEUS
        ]
        self.assertGreater(len(chosen), 5)
        given = {(name, label, value) for name, labels in self.series for label, value in labels.items()}
        self.assertEqual([one for one in chosen if one[1:] not in given], [])

    def test_every_label_is_given(self):
        for place, text in expressions():
            given = set(LABELS_OF_PROMETHEUS)
            for name, labels in self.series:
                if re.search(rf"\b{name}\b", text):
                    given |= labels.keys()
            lists = re.findall(r"(?:by|ignoring) ?\(([^)]*)\)", text)
            wanted = {label for labels in lists for label in re.findall(r"\w+", labels)}
            self.assertLessEqual(wanted, given, place)


if __name__ == "__main__":
    unittest.main()
