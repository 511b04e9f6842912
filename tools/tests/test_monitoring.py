"""Prometheus's and Grafana's files in monitoring/, as far as they can be judged without a server.

Grafana itself cannot be had here. Its dashboards are read by the types that Grafana publishes for them
(grafana-foundation-sdk): whatever these do not know would be missing when they are written again.
"""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "monitoring/prometheus"
GRAFANA = ROOT / "monitoring/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


def promtool(*arguments):
    return subprocess.run(
        [ROOT / "tools/promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)  # fmt: skip


HAS_PROMTOOL = promtool("--version").returncode == 0
NO_PROMTOOL = "there is no promtool: run `tools/promtool fetch`"


def read(path):
    return yaml.safe_load(path.read_text())


def alerts():
    return [rule for group in read(PROMETHEUS / "alerts.yaml")["groups"] for rule in group["rules"]]


def targets(dashboard):
    return [target for panel in dashboard["panels"] for target in panel["targets"]]


class Alerts(unittest.TestCase):
    @unittest.skipUnless(HAS_PROMTOOL, NO_PROMTOOL)
    def test_prometheus_takes_its_settings_and_rules(self):
        for arguments in (("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml")):
            result = promtool(*arguments)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless(HAS_PROMTOOL, NO_PROMTOOL)
    def test_every_rule_fires_when_it_should_and_not_before(self):
        result = promtool("test", "rules", "alerts-test.yaml")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_every_rule_is_tested_quiet_and_firing(self):
        quiet_and_firing = {}
        for test in read(PROMETHEUS / "alerts-test.yaml")["tests"]:
            # Both looks are at all alerts, so that one that fires besides is noticed.
            looks = test["promql_expr_test"]
            self.assertEqual({look["expr"] for look in looks}, {'count by (alertname) (ALERTS{alertstate="firing"})'})
            quiet, firing = looks
            self.assertEqual(quiet["exp_samples"], [], test["name"])
            (sample,) = firing["exp_samples"]
            quiet_and_firing[re.search('alertname="(.*)"', sample["labels"])[1]] = test["name"]
        self.assertEqual(sorted(quiet_and_firing), sorted(rule["alert"] for rule in alerts()))

    def test_every_rule_says_what_is_wrong_and_how_bad(self):
        for rule in alerts():
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"), rule["alert"])
            self.assertEqual(set(rule["annotations"]), {"summary", "description"}, rule["alert"])


class Dashboards(unittest.TestCase):
    def test_grafana_knows_every_member(self):
        self.assertEqual([path.stem for path in DASHBOARDS], ["gateway", "processor"])
        for path in DASHBOARDS:
            written = json.loads(path.read_text())
            read_again = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
            self.assertEqual(missing(written, read_again), [], path)

    def test_panels_are_told_apart_explained_and_do_not_overlap(self):
        for path in DASHBOARDS:
            panels = json.loads(path.read_text())["panels"]
            self.assertEqual(len({panel["id"] for panel in panels}), len(panels), path)
            taken = {}
            for panel in panels:
                self.assertTrue(panel["description"], panel["title"])
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertEqual(taken.setdefault((x, y), panel["title"]), panel["title"])

    @unittest.skipUnless(HAS_PROMTOOL, NO_PROMTOOL)
    def test_prometheus_understands_every_query(self):
        rules = []
        for path in DASHBOARDS:
            for target in targets(json.loads(path.read_text())):
                # What Grafana puts in.
                rules.append({"record": f"query:{len(rules)}", "expr": target["expr"].replace("$instance", ".*")})
        self.assertGreater(len(rules), 40)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, file)
            file.flush()
            result = promtool("check", "rules", file.name)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_what_is_provisioned_is_there(self):
        (source,) = read(GRAFANA / "provisioning/datasources/prometheus.yaml")["datasources"]
        self.assertEqual((source["type"], source["url"]), ("prometheus", "http://prometheus:9090"))
        (provider,) = read(GRAFANA / "provisioning/dashboards/vigie.yaml")["providers"]
        folders = read(ROOT / "compose.yaml")["services"]["grafana"]["volumes"]
        self.assertIn(f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro", folders)


def missing(written, read_again, place=""):
    """Where something that was written does not come back."""
    if isinstance(written, dict) and isinstance(read_again, dict):
        return [
            fault
            for name, value in written.items()
            for fault in (
                missing(value, read_again[name], f"{place}/{name}") if name in read_again else [f"{place}/{name}"]
            )
        ]
    if isinstance(written, list) and isinstance(read_again, list) and len(written) == len(read_again):
        return [
            fault
            for index, value in enumerate(written)
            for fault in missing(value, read_again[index], f"{place}/{index}")
        ]
    return [] if written == read_again else [place]


if __name__ == "__main__":
    unittest.main()
