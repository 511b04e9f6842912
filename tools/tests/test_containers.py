"""compose.yaml and docker/, as far as they can be judged without a daemon; `make test-containers` brings them up."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import yaml

from vigie_harness.containers import HostNetwork

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
COMPOSE_2 = ROOT / "tools/compose2"
ONCE = {"migrate", "topics", "fleet"}
SPARK = {"spark-master", "spark-worker-1", "spark-worker-2", "spark-job"}
GATEWAYS = {"lyon-school", "marseille-archive", "mons-office"}
OURS = {"fleet", "migrate", "processor", "maintenance", "dashboard", *GATEWAYS, *SPARK}


def version_of(*command):
    """What a Compose says of its version; nothing where there is none."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run([*command, "version"], capture_output=True, text=True, check=False).stdout


class Images(unittest.TestCase):
    def test_hadolint_finds_nothing(self):
        hadolint = pathlib.Path(sys.executable).with_name("hadolint")
        for file in ("docker/Dockerfile", "docker/stand-ins/Dockerfile"):
            found = subprocess.run([hadolint, file], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_images_stand_on_debian_alone_and_run_as_a_user(self):
        text = (ROOT / "docker/Dockerfile").read_text()
        self.assertIn("ARG BASE=debian:trixie-slim\n", text)
        stages = text.split("\nFROM ")[1:]
        names = [stage.split()[2] for stage in stages]
        self.assertEqual(
            {stage.split()[0] for stage in stages} - set(names), {"${BASE}"}, "a stage stands on something else"
        )
        for name, stage in zip(names, stages, strict=True):
            if name in ("dashboard", "gateway", "processor", "fleet", "spark"):
                self.assertIn("\nUSER 10001:10001\n", stage, name)
                self.assertIn('\nENTRYPOINT ["tini", "--", ', stage, name)
        self.assertNotIn("amd64", text)
        self.assertNotIn("x86_64", text)

    def test_the_build_stage_has_what_a_build_needs(self):
        listed = (ROOT / "tools/debian-packages.txt").read_text().splitlines()
        needed = {line.split()[1] for line in listed if line.startswith("build ")}
        # What builds by make, and what the demo runs.
        needed -= {"default-jre-headless", "make", "postgresql", "python3", "python3-venv"}
        words = set((ROOT / "docker/Dockerfile").read_text().split())
        self.assertLessEqual(needed | {"swiftlang"}, words)

    def test_the_context_holds_no_data_and_no_secret(self):
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        self.assertEqual(next(line for line in ignored if not line.startswith("#")), "*")
        for line in ignored:
            if line.startswith("!"):
                self.assertNotIn("secrets", line)
                self.assertTrue(list(ROOT.glob(line[1:])), f"{line} lets nothing in")


class Compose(unittest.TestCase):
    @unittest.skipUnless("version 1." in version_of("docker-compose"), "there is no Compose 1: Debian 13 has none")
    def test_compose_1_takes_it(self):
        self.takes_it("docker-compose")

    @unittest.skipUnless("version 2." in version_of(COMPOSE_2), "there is no Compose 2: run `tools/compose2 fetch`")
    def test_compose_2_takes_it(self):
        self.takes_it(COMPOSE_2)

    def takes_it(self, command):
        environment = os.environ | {"VIGIE_TRIAL_PROGRAMS": "given", "VIGIE_TRIAL_SECRETS": "/nowhere"}
        for more in ([], ["--file", "docker/stand-ins/compose.yaml"]):
            result = subprocess.run(
                [command, "--file", "compose.yaml", *more, "--profile", "monitoring", "--profile", "spark", "config",
                 "--quiet"],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertEqual(result.stdout + result.stderr, "")

    def test_every_service_is_hardened_and_bounded(self):
        for name, service in SERVICES.items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertTrue(service["mem_limit"] and service["pids_limit"], name)
            self.assertEqual(service["restart"], "no" if name in ONCE else "unless-stopped", name)
            self.assertIn("max-size", service["logging"]["options"], name)
            self.assertNotIn("privileged", service, name)

    def test_ports_are_on_loopback_only(self):
        ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
        self.assertGreater(len(ports), 4)
        for port in ports:
            self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_secrets_are_files(self):
        for name, service in SERVICES.items():
            for variable, value in service.get("environment", {}).items():
                if "PASSWORD" in variable:
                    self.assertTrue(variable.rstrip("_").endswith("_FILE"), f"{name}: {variable}")
                    self.assertIn(value.removeprefix("/run/secrets/"), service["secrets"], name)
                self.assertNotIn("password=", value)
        for secret in COMPOSE["secrets"].values():
            self.assertEqual(list(secret), ["file"])

    def test_the_order_is_one_of_health(self):
        def waits_for(name):
            return {other: how["condition"] for other, how in SERVICES[name].get("depends_on", {}).items()}

        done = "service_completed_successfully"
        self.assertEqual(waits_for("processor"), {"migrate": done, "topics": done})
        self.assertEqual(waits_for("dashboard"), {"migrate": done})
        self.assertEqual(waits_for("migrate"), {"postgres": "service_healthy"})
        self.assertEqual(waits_for("topics"), {"kafka": "service_healthy"})
        self.assertEqual(waits_for("maintenance"), {"migrate": done})
        self.assertEqual(waits_for("spark-job"), {"migrate": done, "topics": done, "spark-master": "service_healthy"})
        for gateway in ("lyon-school", "marseille-archive", "mons-office"):
            self.assertEqual(waits_for(gateway), {})

    def test_ours_are_built_here_and_what_is_mounted_is_there(self):
        for name, service in SERVICES.items():
            self.assertEqual("build" in service, name in OURS, name)
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((ROOT / source).exists(), volume)
                    self.assertTrue(volume.endswith(":ro"), volume)
                else:
                    self.assertIn(source, COMPOSE["volumes"])

    def test_gateways_do_not_reach_the_database(self):
        with_database = set(SERVICES["postgres"]["networks"])
        for name in ("lyon-school", "marseille-archive", "mons-office", "kafka", "fleet"):
            self.assertFalse(with_database & set(SERVICES[name]["networks"]), name)

    def test_nothing_of_spark_starts_by_itself(self):
        for name in {*SPARK, "maintenance"}:
            self.assertEqual(SERVICES[name]["profiles"], ["spark"], name)

    def test_prometheus_asks_every_gateway(self):
        settings = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yaml").read_text())
        asked = {
            target
            for job in settings["scrape_configs"]
            if job["job_name"] == "vigie-gateway"
            for target in job["static_configs"][0]["targets"]
        }
        images = {name for name, service in SERVICES.items() if service["image"] == "vigie-gateway"}
        self.assertEqual(asked, {f"{name}:9464" for name in images})


class Network(unittest.TestCase):
    def test_rules_of_a_dockerd_are_told_from_others(self):
        """When the one that the trial has started ends, its rules go, and nobody else's."""
        of_docker = (
            "-A FORWARD -o br-0bf1cdca17cf -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
            "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            "-A POSTROUTING -s 172.18.0.0/16 ! -o br-ac60c60f38a6 -j MASQUERADE",
            "-A POSTROUTING -s 172.19.0.3/32 -d 172.19.0.3/32 -p tcp -m tcp --dport 9090 -j MASQUERADE",
            ":DOCKER-USER - [0:0]",
        )
        of_others = (
            "*nat",
            ":POSTROUTING ACCEPT [0:0]",
            "-A FORWARD -i br-lan -j ACCEPT",
            "-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE",
            "-A POSTROUTING -s 10.0.0.1/32 -d 10.0.0.2/32 -j MASQUERADE",
            "COMMIT",
        )
        for rule in of_docker:
            self.assertTrue(HostNetwork.RULE.search(rule), rule)
        for rule in of_others:
            self.assertFalse(HostNetwork.RULE.search(rule), rule)


class Secrets(unittest.TestCase):
    def test_passwords_are_made_once_in_a_closed_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            make = [ROOT / "docker/make-secrets", folder]
            subprocess.run(make, check=True, capture_output=True)
            files = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
            self.assertEqual(set(files), set(COMPOSE["secrets"]))
            self.assertEqual(len(set(files.values())), len(files))
            self.assertEqual({len(text) for text in files.values()}, {32})
            self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
            self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in pathlib.Path(folder).iterdir()}, {0o444})
            self.assertEqual(subprocess.run(make, check=True, capture_output=True).stdout, b"")
            self.assertEqual({path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}, files)

    def test_a_password_goes_to_libpq_by_a_closed_file(self):
        """docker/start, in a folder that stands for /run/vigie."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "secret").write_text(r"a:b\c")
            script = (ROOT / "docker/start").read_text().replace("/run/vigie", name)
            (folder / "start").write_text(script)
            result = subprocess.run(
                ["sh", folder / "start", "sh", "-c", 'env; umask; cat "$PGPASSFILE"; stat -c %a "$PGPASSFILE"'],
                env={"PATH": os.environ["PATH"], "VIGIE_POSTGRES_PASSWORD_FILE": str(folder / "secret")},
                capture_output=True, text=True, check=True)  # fmt: skip
            self.assertEqual(result.stdout.splitlines()[-2:], ["0022", r"*:*:*:*:a\:b\\c600"])
            self.assertNotIn("PASSWORD_FILE=", result.stdout)


if __name__ == "__main__":
    unittest.main()
