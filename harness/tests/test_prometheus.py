"""A real Prometheus with monitoring/prometheus scrapes a gateway that wants a token, and judges it by the alert rules.

With the gateway of VIGIE_BIN, .build/debug by default, and a Prometheus that is installed or was unpacked by
`tools/promtool fetch`.
"""

import contextlib
import json
import os
import re
import subprocess
import unittest
import urllib.parse
import urllib.request

import yaml
from support import folder_of

from vigie_harness.checkout import ROOT, programs
from vigie_harness.ports import free_port
from vigie_harness.processes import Process, wait_until

MONITORING = ROOT / "monitoring/prometheus"

# Nobody listens where its broker should be: it keeps its readings.
GATEWAY = """
gateway: {{id: scraped}}
mode: simulated
outbox: {{path: outbox.sqlite}}
kafka: {{bootstrap: "127.0.0.1:{closed}", drain_time: 0s}}
clock: {{policy: trust}}
monitoring: {{listen: "127.0.0.1:{port}", token_file: "{token}"}}
stations:
  - sensor_id: air
    interval: 1s
    chips: [{{type: bme280, bus: 1, address: 0x76}}]
"""


def prometheus_program() -> str:
    where = subprocess.run([ROOT / "tools/promtool", "where", "prometheus"], capture_output=True, text=True)
    if where.returncode != 0:
        raise unittest.SkipTest("there is no prometheus: run `tools/promtool fetch`")
    return where.stdout.strip()


def authorization_of_the_page() -> dict:
    """How documentation/security.md says that Prometheus shows a token."""
    text = (ROOT / "documentation/security.md").read_text()
    (block,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```", text, re.MULTILINE | re.DOTALL)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    return job["authorization"]


class Prometheus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program = prometheus_program()
        cls.folder = folder_of(cls)
        cls.port, cls.listen = free_port(), free_port()
        # What the gateway wants, and what Prometheus shows.
        cls.wanted, cls.shown, wrong = (cls.folder / name for name in ("wanted", "shown", "wrong"))
        for path, text in ((cls.wanted, "first"), (cls.shown, "first"), (wrong, "another")):
            cls.write(path, text)
        text = GATEWAY.format(port=cls.port, closed=free_port(), token=cls.wanted)
        (cls.folder / "gateway.yaml").write_text(text)
        cls.gateway = cls.start("gateway", programs() / "vigie-gateway", "run", "--config", cls.folder / "gateway.yaml")

        settings = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(MONITORING / name) for name in settings["rule_files"]]
        jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
        # One of its gateways; the others and the processors are not here.
        target = [{"targets": [f"127.0.0.1:{cls.port}"]}]
        authorization = authorization_of_the_page()
        cls.gateways = jobs["vigie-gateway"] | {"static_configs": target}
        settings["scrape_configs"] = [
            cls.gateways | {"authorization": authorization | {"credentials_file": str(cls.shown)}},
            cls.gateways | {"job_name": "wrong", "authorization": authorization | {"credentials_file": str(wrong)}},
            cls.gateways | {"job_name": "none"},
        ]
        (cls.folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        cls.prometheus = cls.start(
            "prometheus", program, "--config.file", cls.folder / "prometheus.yaml", "--storage.tsdb.path",
            cls.folder / "data", "--web.listen-address", f"127.0.0.1:{cls.listen}")  # fmt: skip

    @classmethod
    def start(cls, name: str, *command) -> Process:
        process = Process(name, command, cls.folder / f"{name}.log")
        cls.addClassCleanup(process.stop)
        return process

    @staticmethod
    def write(path, word: str) -> None:
        """A token of that word, in one step, as it is read at any time."""
        new = path.with_suffix(".new")
        new.write_text(f"{word}-token-of-this-test\n")
        new.chmod(0o600)
        os.replace(new, path)

    def ask(self, path: str, **query):
        """What Prometheus says; None while it does not answer."""
        self.prometheus.check()
        address = f"http://127.0.0.1:{self.listen}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]
        return None

    def answers(self) -> bool:
        """Whether the gateway is there; without a token it says no more."""
        self.gateway.check()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=10):
            return True
        return False

    def value(self, query: str) -> float | None:
        found = (self.ask("query", query=query) or {}).get("result")
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, what: str, query: str, wanted: float) -> None:
        wait_until(what, lambda: self.value(query) == wanted, 60, interval=0.1)

    def rules(self) -> dict[str, dict]:
        found = self.ask("rules") or {"groups": []}
        return {rule["name"]: rule for group in found["groups"] for rule in group["rules"]}

    def wait_for_alert(self, name: str, state: str) -> None:
        wait_until(f"{name} is {state}", lambda: self.rules().get(name, {}).get("state") == state, 60, interval=0.1)

    def test_a_gateway_is_scraped_with_its_token_and_judged(self):
        up = 'up{job="vigie-gateway"}'
        wait_until("the gateway answers", self.answers, 60)
        self.wait_for("the gateway is scraped", up, 1)
        sampled = "vigie_readings_sampled_total"
        wait_until("a reading is counted", lambda: (self.value(sampled) or 0) > 0, 60, interval=0.1)

        # Without the token, and with another one, there is nothing to be had.
        for job in ("wrong", "none"):
            self.wait_for(f"a scrape of {job}", f'up{{job="{job}"}}', 0)
            self.assertIsNone(self.value(f'{sampled}{{job="{job}"}}'))
        targets = {one["labels"]["job"]: one["lastError"] for one in self.ask("targets")["activeTargets"]}
        self.assertEqual(targets["vigie-gateway"], "")
        self.assertIn("401", targets["wrong"])
        self.assertIn("401", targets["none"])

        # All rules are evaluated, on what the gateway gives.
        groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
        names = {rule["alert"] for group in groups for rule in group["rules"]}

        def healths():
            return {name: rule["health"] for name, rule in self.rules().items()}

        wait_until("all rules are evaluated", lambda: "unknown" not in healths().values() and healths(), 60)
        self.assertEqual(healths(), dict.fromkeys(names, "ok"))
        # There is no processor, and the gateway is well.
        self.wait_for_alert("VigieNoProcessor", "pending")
        self.assertEqual(self.rules()["VigieGatewayUnreachable"]["state"], "inactive")

        # A new token counts at once on both sides.
        self.write(self.wanted, "second")
        self.wait_for("the old token is refused", up, 0)
        self.wait_for_alert("VigieGatewayUnreachable", "pending")
        self.write(self.shown, "second")
        self.wait_for("the new token is taken", up, 1)
        self.wait_for_alert("VigieGatewayUnreachable", "inactive")

        self.gateway.stop()
        self.wait_for("the gateway is gone", up, 0)
        self.wait_for_alert("VigieGatewayUnreachable", "pending")


if __name__ == "__main__":
    unittest.main()
