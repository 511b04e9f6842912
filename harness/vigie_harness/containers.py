"""Brings compose.yaml up for real, and lets it have troubles (`make test-containers`). Needs root.

    python -m vigie_harness.containers [--programs FOLDER] [--compose COMMAND] [--keep]

The images that compose.yaml takes from a registry are stand-ins, built here: `debian:trixie-slim` by mmdebstrap from
this machine's mirror, PostgreSQL and Prometheus from Debian 13, Kafka from the jars that `make demo` uses with Debian
13's Java. Grafana is left out, since Debian has none. Vigie's own images are built as compose.yaml says: compiled in
their build stage (minutes), or from the programs in a FOLDER, which must have been built on Debian 13.

Then rows must come from all three gateways, two processors share the partitions, a fleet's readings come on top, a
processor and a gateway are killed, Kafka is restarted, and all recovers; the Spark job on a cluster of its own takes
the processors' place and gives it back; the gateways are stopped, every number that they have given must be a row, and
`vigie-processor verify` must agree. Without a running dockerd one of our own is started, with its data below
.vigie/containers. Everything is removed at the end; --keep leaves a daemon's data and the images for a next run.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from . import interrupts
from .checkout import ROOT, STATE, must_have
from .errors import HarnessError, in_words
from .interrupts import Stopped
from .kafka.finding import find_kafka
from .ports import free_port
from .processes import Process, wait_until
from .spark_jars import find_jars

FOLDER = STATE / "containers"
LOG = FOLDER / "commands.log"
PROJECT = "vigie-trial"
BASE = "vigie-trial/debian"
STAND_INS = ("kafka", "postgres", "prometheus")
GATEWAYS = ("lyon-school", "marseille-archive", "mons-office")
ONCE = ("topics", "migrate")
LASTING = ("kafka", "postgres", "processor", "dashboard", *GATEWAYS, "prometheus")
SPARK = ("spark-master", "spark-worker-1", "spark-worker-2", "spark-job", "maintenance")
# The pages of the cluster and what they show.
SPARK_PAGES = {8080: "Spark Master at", 8081: "Spark Worker at", 8082: "Spark Worker at", 4040: "RUNNING"}
PROGRAMS = ("vigie-gateway", "vigie-processor", "vigie-fleet")
# Other than those that compose.yaml makes by itself.
PARTITIONS = 4
# Readings that a fleet sends besides.
FLEET = 1000
# Seconds for what takes moments on a quiet machine.
PATIENCE = 300.0


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class HostNetwork:
    """What a dockerd changes of this machine's network, and leaves when it ends."""

    FORWARD = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
    # Bridges, and ends of containers' cables, by the names that it gives them.
    INTERFACE = re.compile(r"docker0|br-[0-9a-f]{12}|veth[0-9a-f]{7}")
    # What is of its chains and bridges, and the way of a container to its own published port.
    RULE = re.compile(r"DOCKER|docker0| br-[0-9a-f]{12}\b|-A POSTROUTING -s (\S+/32) -d \1 .*-j MASQUERADE")

    def __init__(self):
        self.forward = self.FORWARD.read_text()
        rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
        # -P FORWARD ACCEPT
        self.policy = rules.split()[2] if rules else "ACCEPT"
        self.interfaces = self.of_docker()

    def of_docker(self) -> set[str]:
        """The interfaces that have names as Docker gives them."""
        names = (path.name for path in pathlib.Path("/sys/class/net").iterdir())
        return {name for name in names if self.INTERFACE.fullmatch(name)}

    def restore(self) -> None:
        """Takes away the interfaces and the rules of a dockerd that has ended; those of others stay."""
        for name in {"docker0"} | self.of_docker() - self.interfaces:
            # The other end of a cable has gone with the first.
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
        for family in ("iptables", "ip6tables"):
            saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False).stdout
            kept = [line for line in saved.splitlines(True) if not self.RULE.search(line)]
            if len(kept) != len(saved.splitlines()):
                subprocess.run([f"{family}-restore"], input="".join(kept), text=True, capture_output=True, check=False)
        subprocess.run(["iptables", "-P", "FORWARD", self.policy], capture_output=True, check=False)
        self.FORWARD.write_text(self.forward)


class Trial:
    def __init__(self, programs: pathlib.Path | None, compose: str, keep: bool):
        self.programs = programs
        self.compose_command = compose
        self.keep = keep
        self.daemon: Process | None = None
        self.network = HostNetwork()
        self.is_up = False
        self.secrets = FOLDER / "secrets"
        self.ports = {name: free_port() for name in ("KAFKA", "DASHBOARD", "PROMETHEUS")}
        self.environment = os.environ | {
            "VIGIE_TRIAL_PROGRAMS": "given" if programs else "compiled",
            "VIGIE_TRIAL_SECRETS": str(self.secrets),
            "COMPOSE_PROJECT_NAME": PROJECT,
            "VIGIE_PARTITIONS": str(PARTITIONS),
            **{f"VIGIE_{name}_PORT": str(port) for name, port in self.ports.items()},
        }

    # What it calls

    def run(self, *command, bound: float = PATIENCE, **more) -> str:
        """What a command printed. HarnessError if it fails."""
        words = list(map(str, command))
        result = subprocess.run(
            words, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=bound, check=False, **more)  # fmt: skip
        with open(LOG, "a") as log:
            log.write(f"$ {' '.join(words)}\n{result.stdout}{result.stderr}")
        if result.returncode != 0:
            end = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
            raise HarnessError(f"{' '.join(words[:6])} ended with status {result.returncode}:\n{end}")
        return result.stdout

    def docker(self, *arguments, bound: float = PATIENCE) -> str:
        return self.run("docker", *arguments, bound=bound)

    def compose(self, *arguments, bound: float = PATIENCE) -> str:
        files = ("--file", "compose.yaml", "--file", "docker/stand-ins/compose.yaml")
        return self.run(self.compose_command, *files, *arguments, bound=bound)

    def containers(self, service: str) -> list[dict]:
        """What Docker knows of a service's containers."""
        filters = [f"label=com.docker.compose.{label}" for label in (f"project={PROJECT}", f"service={service}")]
        found = self.docker("ps", "--all", "--quiet", "--filter", filters[0], "--filter", filters[1]).split()
        # Not those of `run`.
        known = json.loads(self.docker("inspect", *found)) if found else []
        return [one for one in known if one["Config"]["Labels"].get("com.docker.compose.oneoff") != "True"]

    def sql(self, statement: str) -> str:
        return self.compose(
            "exec", "-T", "postgres", "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--username=postgres",
            "--dbname=vigie", "--command", statement).strip()  # fmt: skip

    def rows(self) -> dict[str, int]:
        """The rows of each gateway."""
        lines = self.sql("SELECT gateway_id, count(*) FROM sensor_data GROUP BY 1").splitlines()
        return {gateway: int(count) for gateway, count in (line.split("|") for line in lines)}

    def prometheus(self, query: str) -> list[dict]:
        """What Prometheus answers; nothing while it does not."""
        address = f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
        return []

    # Before

    def start_daemon(self) -> None:
        """Uses the dockerd that runs, or starts one of our own."""
        if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
            say("Docker runs on this machine: its daemon is used")
            return
        for old in pathlib.Path("/run").glob("vigie-docker-*.sock"):
            if not pathlib.Path("/proc", old.stem.rpartition("-")[2]).exists():
                old.unlink()
        # A short path: a socket's has room for 107 bytes.
        socket = pathlib.Path(f"/run/vigie-docker-{os.getpid()}.sock")
        self.environment["DOCKER_HOST"] = f"unix://{socket}"
        data = FOLDER / "docker"
        self.daemon = Process(
            "dockerd",
            ["dockerd", "--host", f"unix://{socket}", "--data-root", data / "data", "--exec-root", data / "run",
             "--pidfile", data / "pid", *self.storage()],
            FOLDER / "dockerd.log")  # fmt: skip
        data.mkdir(exist_ok=True)
        self.daemon.wait_until(self.answers, 60)
        driver = self.docker("info", "--format", "{{.ServerVersion}}, storage {{.Driver}}").strip()
        say(f"A dockerd of our own: {driver}")

    def name_compose(self) -> None:
        say(self.run(self.compose_command, "version").splitlines()[0])

    def clear(self) -> None:
        """Takes away what a trial that was cut off has left: its containers would start again with the daemon."""
        label = f"label=com.docker.compose.project={PROJECT}"
        for network in self.docker("network", "ls", "--quiet", "--filter", label).split():
            # A daemon leaves the bridge to whoever made it, which was the one before it.
            self.network.interfaces.discard(f"br-{network}")
        self.compose("--profile", "spark", "down", "--volumes", "--remove-orphans", "--timeout", "0")
        if self.daemon and (others := self.docker("ps", "--all", "--quiet").split()):
            # Of a build.
            self.docker("rm", "--force", *others)

    @staticmethod
    def storage() -> list[str]:
        """Docker chooses overlay2 where the file system bears it; vfs always works, and copies every layer."""
        return [f"--storage-driver={driver}"] if (driver := os.environ.get("VIGIE_DOCKER_STORAGE")) else []

    def answers(self) -> bool:
        command = ["docker", "version"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def build_stand_ins(self) -> None:
        if not self.docker("images", "--quiet", BASE).strip():
            say("Building a stand-in of debian:trixie-slim")
            self.import_base()
        context = FOLDER / "context"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(ROOT / "docker/stand-ins", context)
        shutil.copytree(find_kafka().folder / "libs", context / "libs")
        for name in STAND_INS:
            say(f"Building a stand-in of the image of {name}")
            self.docker(
                "build", "--build-arg", f"BASE={BASE}", "--target", name, "--tag", f"vigie-trial/{name}", context,
                bound=1800)  # fmt: skip
        shutil.rmtree(context)

    def import_base(self) -> None:
        """A Debian 13 from where this machine has its Debian from, through the same proxies and with the same trust."""
        targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
        mirrors = self.run(*targets).split()
        if not mirrors:
            raise HarnessError("apt knows no Debian repository: look at /etc/apt and run apt-get update.")
        settings = FOLDER / "apt.conf"
        lines = self.run("apt-config", "dump", "--format", '%F "%v";%n', "Acquire").splitlines()
        wanted = ("Acquire::http", "Acquire::ftp", "Acquire::Check", "Acquire::Retries", "Acquire::Force")
        settings.write_text("".join(f"{line}\n" for line in lines if line.startswith(wanted)))
        archive = FOLDER / "debian.tar"
        authorities = pathlib.Path("/usr/local/share/ca-certificates")
        hooks = ['mkdir -p "$1/usr/local/share/ca-certificates"', f'cp {settings} "$1/etc/apt/apt.conf.d/90machine"']
        hooks += [f'cp "{file}" "$1{file}"' for file in sorted(authorities.glob("*.crt"))]
        # A slim Debian has neither manuals nor translations.
        absent = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
        self.run(
            "tools/debian13/isolate", "mmdebstrap", "--variant=minbase", "--mode=root", f"--aptopt={settings}", *absent,
            *(f"--customize-hook={hook}" for hook in hooks), "trixie", archive, f"deb {mirrors[0]} trixie main",
            bound=1800)  # fmt: skip
        # pip trusts what the system trusts.
        trust = "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
        self.docker("import", "--change", trust, archive, BASE)
        archive.unlink()

    def give_programs(self) -> None:
        """Into the build's context, where PROGRAMS=given takes them from."""
        must_have(self.programs, *PROGRAMS, option="--programs")
        for name in PROGRAMS:
            shutil.copy2(self.programs / name, ROOT / "docker/programs" / name)

    def give_jars(self) -> None:
        """The connector, which the build stage would let maven fetch."""
        for jar in find_jars().glob("*.jar"):
            shutil.copyfile(jar, ROOT / "docker/jars" / jar.name)

    def build(self) -> None:
        self.give_jars()
        if self.programs:
            say(f"Building Vigie's images with the programs of {self.programs}: nothing is compiled in the build stage")
            self.give_programs()
        else:
            say("Building Vigie's images; the programs are compiled in the build stage, with Debian's Swift")
        began = time.monotonic()
        self.compose("--profile", "fleet", "--profile", "spark", "build", bound=5400)
        say(f"  built after {(time.monotonic() - began) / 60:.1f} min")
        for name in ("debian", "gateway", "processor", "fleet", "dashboard", "spark"):
            size = int(self.docker("image", "inspect", "--format", "{{.Size}}", f"vigie-trial/{name}"))
            say(f"  image {name:<10} {size / 1e6:>6.0f} MB")

    # The trial

    def up(self, *more: str) -> None:
        self.compose("up", "--detach", *more, *ONCE, *LASTING, bound=900)

    def bring_up(self) -> None:
        say("Bringing compose.yaml up")
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        self.run("docker/make-secrets", self.secrets)
        began = time.monotonic()
        self.is_up = True
        self.up()
        self.wait_for_health()
        say(f"  everything is healthy after {time.monotonic() - began:.0f} s")
        for service in ONCE:
            (container,) = self.containers(service)
            if container["State"]["ExitCode"] != 0:
                raise HarnessError(f"{service} ended with status {container['State']['ExitCode']}")

    def wait_for_health(self, services=LASTING) -> None:
        """Healthy are all containers with a check, and running those without one."""
        unwell: dict[str, list[str]] = {}

        def are_healthy():
            unwell.clear()
            for service in services:
                states = [one["State"] for one in self.containers(service)]
                found = [state.get("Health", {}).get("Status", state["Status"]) for state in states]
                if not found or not set(found) <= {"healthy", "running"}:
                    unwell[service] = found
            return not unwell

        try:
            wait_until("all containers are healthy", are_healthy, PATIENCE, interval=1)
        except HarnessError as error:
            raise HarnessError(f"{error}; not so: {unwell}") from None

    def examine(self, services=(*ONCE, *LASTING)) -> None:
        """That containers are as closed as compose.yaml says, and hold no secret where others read it."""
        passwords = {path.read_text().strip() for path in self.secrets.iterdir()}
        for service in services:
            for container in self.containers(service):
                name, host = container["Name"], container["HostConfig"]
                if not host["ReadonlyRootfs"] or host["CapDrop"] != ["ALL"] or not host["Memory"]:
                    raise HarnessError(f"{name} is not hardened: {host}")
                text = json.dumps(container)
                if any(password in text for password in passwords):
                    raise HarnessError(f"{name} has a password where `docker inspect` shows it")
                for bindings in (container["NetworkSettings"]["Ports"] or {}).values():
                    if any(binding["HostIp"] != "127.0.0.1" for binding in bindings or []):
                        raise HarnessError(f"{name} is open beyond loopback: {bindings}")
                if not container["State"]["Running"]:
                    continue
                for number in self.docker("top", container["Id"], "-eo", "pid").split()[1:]:
                    process = pathlib.Path("/proc", number)
                    user = process.stat().st_uid
                    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                    if user == 0:
                        raise HarnessError(f"process {number} of {name} is root's")
                    if any(password.encode() in seen for password in passwords):
                        raise HarnessError(f"process {number} of {name} shows a password in /proc")
        say("  no process is root's, every file system is read-only, no port is open, no password is to be seen")

    def wait_for_rows(self, what: str) -> None:
        """Rows come from every gateway from now on."""
        before = self.rows()
        began = time.monotonic()

        def all_grow():
            now = self.rows()
            return all(now.get(gateway, 0) > before.get(gateway, 0) for gateway in GATEWAYS)

        wait_until(f"rows of every gateway {what}", all_grow, PATIENCE, interval=0.5)
        say(f"  rows of all three gateways {what}, {time.monotonic() - began:.0f} s later")

    def scale(self) -> None:
        say("Scaling to two processors")
        self.up("--scale", "processor=2")

        def both_read():
            answers = self.prometheus('vigie_assigned_partitions{job="vigie-processor"}')
            shares = [int(answer["value"][1]) for answer in answers]
            return shares if len(shares) == 2 and all(shares) and sum(shares) == PARTITIONS else None

        say(f"  their partitions: {wait_until('both read partitions', both_read, PATIENCE, interval=1)}")
        self.wait_for_rows("with two processors")

    def run_fleet(self) -> None:
        say(f"Sending {FLEET} readings of a fleet")
        words = ("produce", "--bootstrap", "kafka:9092", "--gateways", "5", "--rate", "200", "--count", FLEET)
        self.compose("run", "--rm", "-T", "fleet", *words)

        def all_are_rows():
            return sum(count for gateway, count in self.rows().items() if gateway not in GATEWAYS) == FLEET

        wait_until("the fleet's readings are rows", all_are_rows, PATIENCE, interval=0.5)
        say("  all of them are rows")

    def kill(self, service: str) -> None:
        """As a crash: `docker kill` would count as somebody's wish, and nothing would start it again."""
        container = self.containers(service)[0]
        say(f"Killing {container['Name'][1:]}")
        os.kill(container["State"]["Pid"], signal.SIGKILL)

        def is_back():
            (now,) = json.loads(self.docker("inspect", container["Id"]))
            return now["RestartCount"] > container["RestartCount"] and now["State"]["Health"]["Status"] == "healthy"

        wait_until(f"{service} is started again and healthy", is_back, PATIENCE, interval=1)
        self.wait_for_rows("after it")

    def restart_kafka(self) -> None:
        say("Restarting Kafka")
        self.compose("restart", "kafka")
        self.wait_for_health()
        self.wait_for_rows("after it")

    def examine_prometheus(self) -> None:
        def all_up():
            answers = self.prometheus("up")
            return len(answers) == 6 and all(answer["value"][1] == "1" for answer in answers)

        wait_until("Prometheus reaches three gateways, two processors and itself", all_up, PATIENCE, interval=1)
        address = f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/rules"
        with urllib.request.urlopen(address, timeout=10) as answer:
            groups = json.load(answer)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        if not rules or any(rule["health"] == "err" for rule in rules):
            raise HarnessError(f"rules of Prometheus are not well: {rules}")
        firing = sorted({rule["name"] for rule in rules if rule.get("state") == "firing"})
        say(f"  Prometheus reaches all and evaluates {len(rules)} alert rules; firing: {', '.join(firing) or 'none'}")

    def examine_dashboard(self) -> None:
        for path in ("_stcore/health", ""):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['DASHBOARD']}/{path}", timeout=30) as answer:
                if answer.status != 200:
                    raise HarnessError(f"the dashboard answers {answer.status}")
        say("  the dashboard answers")

    def change_engine(self) -> None:
        """The Spark job goes on where the processors stopped, and they where it stopped."""
        say("Stopping the processors, and starting Spark in their place")
        self.compose("stop", "processor")
        began = time.monotonic()
        self.compose("--profile", "spark", "up", "--detach", "--no-deps", *SPARK, bound=900)
        self.wait_for_health(SPARK)
        say(f"  master, workers, job and maintenance are healthy after {time.monotonic() - began:.0f} s")
        self.wait_for_rows("from the Spark job")
        self.examine(SPARK)
        for port, words in SPARK_PAGES.items():
            path = "StreamingQuery/" if port == 4040 else ""
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
                if words not in answer.read().decode():
                    raise HarnessError(f"the page of Spark at {port} does not say {words!r}")
        say("  the pages of master, workers and job show the query")

        def stored():
            return [int(answer["value"][1]) for answer in self.prometheus("vigie_spark_rows_total > 0")]

        say(f"  rows by the job's own count: {wait_until('Prometheus reaches the job', stored, PATIENCE, interval=1)}")
        self.kill("spark-worker-1")
        self.kill("spark-job")
        self.show_memory(SPARK)
        say("Stopping Spark, and starting the processors")
        self.compose("--profile", "spark", "stop", *SPARK)
        (job,) = self.containers("spark-job")
        if job["State"]["ExitCode"] != 0:
            raise HarnessError(f"the Spark job ended with status {job['State']['ExitCode']}")
        self.compose("start", "processor")
        self.wait_for_health()
        self.wait_for_rows("after it")

    def show_memory(self, services=LASTING) -> None:
        names = [container["Name"][1:] for service in services for container in self.containers(service)]
        form = "{{.Name}}\t{{.MemUsage}}\t{{.PIDs}}"
        for line in self.docker("stats", "--no-stream", "--format", form, *names).splitlines():
            name, memory, threads = line.split("\t")
            say(f"  {name.removeprefix(PROJECT)[1:]:<20} memory {memory}, threads {threads}")

    def outbox(self, gateway: str) -> tuple[int, int]:
        """The last number that a stopped gateway has given, and how many readings wait."""
        (container,) = self.containers(gateway)
        copy = FOLDER / f"outbox-{gateway}"
        shutil.rmtree(copy, ignore_errors=True)
        self.docker("cp", f"{container['Id']}:/var/lib/vigie", copy)
        with contextlib.closing(sqlite3.connect(copy / "outbox.sqlite")) as database:
            ((last,),) = database.execute(
                "SELECT max((SELECT last_number FROM outbox), coalesce((SELECT max(seq) FROM reading), 0))"
            )
            ((waiting,),) = database.execute("SELECT count(*) FROM reading")
        shutil.rmtree(copy)
        return last, waiting

    def compare(self) -> None:
        say("Stopping the gateways, and comparing their outboxes with the rows")
        self.compose("stop", *GATEWAYS)
        given = {gateway: self.outbox(gateway) for gateway in GATEWAYS}
        wanted = {gateway: last - waiting for gateway, (last, waiting) in given.items()}
        try:
            wait_until("as many rows as numbers", lambda: wanted.items() <= self.rows().items(), 120, interval=1)
        except HarnessError as error:
            raise HarnessError(f"{error}: rows {self.rows()}, outboxes (last, waiting) {given}") from None
        for gateway, (last, waiting) in given.items():
            say(f"  {gateway:<18} numbers given {last:>5}, waiting {waiting}, rows {wanted[gateway]:>5}")
        verify = ("verify", "--config", "/etc/vigie/processor.yaml")
        text = self.compose("run", "--rm", "-T", "--no-deps", "processor", *verify)
        print(text, flush=True)
        if "everything agrees" not in text:
            raise HarnessError("the certificate does not say that everything agrees")

    # After

    def remove(self) -> None:
        """Everything that was made here."""
        for name in PROGRAMS:
            (ROOT / "docker/programs" / name).unlink(missing_ok=True)
        for jar in (ROOT / "docker/jars").glob("*.jar"):
            jar.unlink()
        if self.is_up:
            with contextlib.suppress(HarnessError, subprocess.TimeoutExpired):
                (FOLDER / "containers.log").write_text(
                    self.compose("--profile", "spark", "logs", "--no-color", "--timestamps")
                )
            down = ("--profile", "spark", "down", "--volumes", "--remove-orphans", "--timeout", "40")
            self.compose(*down, *self.images_go())
        if not self.keep and not self.daemon:
            names = [f"vigie-trial/{name}" for name in ("debian", "fleet", *STAND_INS)]
            self.run("docker", "rmi", "--force", *names)
        if self.daemon:
            self.daemon.stop(60)
            pathlib.Path(self.environment["DOCKER_HOST"].removeprefix("unix://")).unlink(missing_ok=True)
            self.network.restore()
        for rest in (self.secrets, FOLDER / "context"):
            shutil.rmtree(rest, ignore_errors=True)
        (FOLDER / "debian.tar").unlink(missing_ok=True)
        if not self.keep:
            # A daemon that was killed has left its folder mounted on itself.
            for place in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
                if pathlib.Path(place.split()[1]).is_relative_to(FOLDER / "docker"):
                    subprocess.run(["umount", "--lazy", place.split()[1]], capture_output=True, check=False)
            shutil.rmtree(FOLDER / "docker", ignore_errors=True)

    def images_go(self) -> list[str]:
        return [] if self.keep else ["--rmi", "all"]

    def go(self) -> None:
        self.name_compose()
        self.start_daemon()
        self.clear()
        self.build_stand_ins()
        self.build()
        self.bring_up()
        self.examine()
        self.wait_for_rows("from a fresh start")
        self.examine_dashboard()
        self.scale()
        self.examine_prometheus()
        self.run_fleet()
        self.kill("processor")
        self.kill("lyon-school")
        self.restart_kafka()
        self.examine_prometheus()
        self.show_memory()
        self.change_engine()
        self.compare()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, help="a folder of programs that were built on Debian 13")
    parser.add_argument(
        "--compose", metavar="COMMAND", default="docker-compose", help="docker-compose by default, or tools/compose2"
    )
    parser.add_argument("--keep", action="store_true", help="leave the images for a next run")
    arguments = parser.parse_args()
    trial, status = None, 1
    try:
        interrupts.raise_stopped()
        if os.geteuid() != 0:
            raise HarnessError("a Docker daemon and the root of a Debian need root's rights.")
        FOLDER.mkdir(parents=True, exist_ok=True)
        # What was run, with what it said.
        LOG.write_text("")
        trial = Trial(arguments.programs, arguments.compose, arguments.keep)
        trial.go()
        status = 0
    except Stopped as stopped:
        status = stopped.status
    except (HarnessError, subprocess.TimeoutExpired) as error:
        print(f"vigie: {error}\nWhat was run: {LOG}", file=sys.stderr)
    except OSError as error:
        print(f"vigie: {in_words(error)}", file=sys.stderr)
    finally:
        interrupts.ignore()
        if trial:
            trial.remove()
    if status == 0:
        say("Everything came, and is removed.")
    return status


if __name__ == "__main__":
    interrupts.end_at_once()
    sys.exit(main())
