"""The job on a standalone cluster: a master and two workers, submitted as anybody submits it, with parts that die."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import psycopg
import pyspark
import pytest
import support

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
BOUND = 600
"""Seconds for a driver to start and to get on."""
CHROMIUM = shutil.which("chromium")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answer(address: str):
    """What Spark answers as JSON; None while it does not, or says that it is starting up."""
    try:
        with urllib.request.urlopen(address, timeout=10) as page:
            return json.load(page) if "json" in page.headers["Content-Type"] else None
    except OSError:
        return None


def picture(address: str, file: pathlib.Path) -> str:
    """Looks at a page in a browser; the text of the page as it is after its scripts ran."""
    common = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
              f"--user-data-dir={file.parent / 'browser'}", "--window-size=1280,1000",
              "--virtual-time-budget=5000"]  # fmt: skip
    subprocess.run([*common, f"--screenshot={file}", address], check=True, capture_output=True, timeout=BOUND)
    shown = subprocess.run([*common, "--dump-dom", address], check=True, capture_output=True, text=True, timeout=BOUND)
    return shown.stdout


class Cluster:
    """Spark's own master, and workers that are started and killed. Everything on 127.0.0.1."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack):
        self._folder, self._stack, self._count = folder, stack, 0
        self._home = pathlib.Path(pyspark.__file__).parent
        port, page = free_port(), free_port()
        self.master, self.page = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page}"
        self._run("master.Master", "--port", port, "--webui-port", page)
        self.workers = [self._start_worker(), self._start_worker()]
        support.wait_until("two workers are there", lambda: len(self.alive()) == 2, BOUND)

    def _run(self, name: str, *arguments):
        self._count += 1
        work = self._folder / f"node-{self._count}"
        work.mkdir()
        # Nothing of the environment of the tests' Python: a node has the system's.
        environment = {
            "SPARK_HOME": str(self._home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_WORKER_DIR": str(work), "SPARK_LOCAL_DIRS": str(work), "SPARK_PUBLIC_DNS": "127.0.0.1",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dspark.master.rest.enabled=false",
            "PYTHONPATH": "",
        }  # fmt: skip
        command = [self._home / "bin/spark-class", f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1", *arguments]
        log = self._folder / f"{name}-{self._count}.log"
        return self._stack.enter_context(support.running(list(map(str, command)), log, **environment))

    def _start_worker(self) -> tuple[subprocess.Popen, str]:
        """A worker and its page."""
        page = free_port()
        child = self._run("worker.Worker", "--port", 0, "--webui-port", page, "--cores", 1, "--memory", "1g",
                          self.master)  # fmt: skip
        return child, f"http://127.0.0.1:{page}"

    def state(self) -> dict:
        return answer(f"{self.page}/json/") or {}

    def alive(self) -> list[dict]:
        return [worker for worker in self.state().get("workers", ()) if worker["state"] == "ALIVE"]

    def places_of(self, executors: list[str]) -> list[int]:
        """Which workers have one of these executors."""
        return [place for place, (_, page) in enumerate(self.workers)
                if any(str(executor["id"]) in executors for executor in (answer(f"{page}/json/") or {})["executors"])
                ]  # fmt: skip

    def replace_worker(self, place: int) -> None:
        """Kills a worker with its executors, and starts another one."""
        support.kill(self.workers[place][0])
        self.workers[place] = self._start_worker()


class Driver:
    """The job as spark/submit runs it."""

    def __init__(self, cluster: Cluster, centre: support.Centre, stack: contextlib.ExitStack):
        self.temporary = centre.file.parent / "driver"
        self.temporary.mkdir(exist_ok=True)
        self.log = centre.file.with_suffix(".cluster.log")
        self.port = free_port()
        command = [
            support.ROOT / "spark/submit", "--master", cluster.master, "--executor-memory", "700m", "--executor-cores",
            "1", "--total-executor-cores", "2", "--driver-memory", "600m", "--driver-java-options",
            f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir={self.temporary}", "--conf",
            f"spark.ui.port={self.port}", "--conf", "spark.driver.host=127.0.0.1", "--", "--config",
            centre.file, "--batch", "5000",
        ]  # fmt: skip
        self.child = stack.enter_context(
            support.running(command, self.log, SPARK_LOCAL_IP="127.0.0.1", TMPDIR=str(self.temporary),
                            SPARK_LOCAL_DIRS=str(self.temporary), SPARK_HOME="", PYSPARK_PYTHON="python3",
                            PYTHONPATH="")
        )  # fmt: skip
        self.page = f"http://127.0.0.1:{self.port}"

    def ask(self, path: str):
        applications = answer(f"{self.page}/api/v1/applications") or ()
        return answer(f"{self.page}/api/v1/applications/{applications[0]['id']}/{path}") if applications else None

    def busy(self) -> list[str]:
        """The numbers of the executors that run a task at this moment."""
        return [executor["id"] for executor in self.ask("executors") or ()
                if executor["activeTasks"] and executor["id"] != "driver"]  # fmt: skip

    def failed_tasks(self) -> int:
        return sum(stage["numFailedTasks"] for stage in self.ask("stages") or ())

    def text(self) -> str:
        return self.log.read_text()


@contextlib.contextmanager
def tasks_wait(centre: support.Centre) -> Iterator[None]:
    """Holds tasks in the middle of their transactions, where they lock their gateways."""
    with psycopg.connect(centre.connection) as connection:
        connection.execute("LOCK TABLE gateway IN EXCLUSIVE MODE")
        support.wait_until("tasks wait for a lock", lambda: centre.query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ), BOUND)  # fmt: skip
        yield


@support.needs_servers
@support.needs_connector
@pytest.mark.skipif(not CHROMIUM, reason="chromium, which looks at Spark's pages, is missing")
def test_workers_and_drivers_die_and_nothing_is_lost(tmp_path):
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    topic = support.make_topic(4)
    centre = support.make_centre(tmp_path, topic)
    manifest = tmp_path / "manifest.json"
    pictures = pathlib.Path(os.environ.get("VIGIE_PICTURES") or tmp_path)
    fleet_command = [
        support.PROGRAMS / "vigie-fleet", "produce", "--bootstrap", os.environ["VIGIE_KAFKA"], "--topic", topic,
        "--count", "1000000", "--seed", str(SEED), "--gateways", "40", "--rate", "60", "--duplicates", "0.05",
        "--malformed", "0.02", "--manifest", manifest,
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        cluster = Cluster(tmp_path, stack)
        fleet = stack.enter_context(support.running(fleet_command, tmp_path / "fleet.log"))

        def position() -> int:
            return sum(centre.next_offsets().values())

        def gets_on(driver: Driver) -> None:
            before = position()
            more = chance.randint(1, 500)
            support.wait_until(
                "the job gets on", lambda: position() >= before + more or driver.child.poll() is not None, BOUND
            )
            assert driver.child.poll() is None, driver.text()[-3000:]
            assert fleet.poll() is None

        driver = Driver(cluster, centre, stack)
        gets_on(driver)
        executors = support.wait_until(
            "two executors run", lambda: [one for one in driver.ask("executors") or () if one["id"] != "driver"][1:]
            and driver.ask("executors"), BOUND)  # fmt: skip
        assert len(executors) == 3

        # What a person looks at.
        shown = picture(cluster.page, pictures / "master.png")
        assert "Spark Master at" in shown and "vigie" in shown and shown.count("ALIVE") >= 3
        shown = picture(f"{driver.page}/StreamingQuery/", pictures / "query.png")
        assert "vigie" in shown and "RUNNING" in shown
        assert "Completed Jobs" in picture(f"{driver.page}/jobs/", pictures / "jobs.png")

        # A worker dies while its executor is in the middle of a transaction.
        assert driver.failed_tasks() == 0
        with tasks_wait(centre):
            busy = support.wait_until("a worker has the task", lambda: cluster.places_of(driver.busy()), BOUND)
            cluster.replace_worker(chance.choice(busy))
        support.wait_until("the task is known to be lost", driver.failed_tasks, BOUND)
        gets_on(driver)
        support.wait_until("there are two workers again", lambda: len(cluster.alive()) == 2, BOUND)

        # The checkpoint's folder goes.
        folders = list(driver.temporary.glob("vigie-spark-checkpoint-*"))
        assert folders
        for folder in folders:
            shutil.rmtree(folder)
        gets_on(driver)
        support.wait_until(
            "there is a new checkpoint", lambda: set(driver.temporary.glob("vigie-spark-checkpoint-*")) - set(folders),
            BOUND)  # fmt: skip
        gets_on(driver)

        # The driver dies three times.
        for _ in range(3):
            with tasks_wait(centre):
                support.kill(driver.child)
            driver = Driver(cluster, centre, stack)
            gets_on(driver)

        fleet.send_signal(signal.SIGINT)
        assert fleet.wait(BOUND) == 0
        support.wait_until("Spark has read all", lambda: centre.has_read(topic), BOUND)
        driver.child.terminate()
        assert driver.child.wait(BOUND) == 0

    sent = json.loads(manifest.read_text())
    assert len(support.rows(centre)) == sent["readings"]
    # A message that a dead task had sent is there twice, with the same position.
    assert len(support.rejected(centre)) == sum(sent["rejected"].values())
    support.verify(centre)
    expected = support.make_centre(tmp_path, topic, "b")
    support.run_processor(expected)
    support.assert_same_readings(centre, expected)


@support.needs_servers
@support.needs_connector
def test_a_job_without_executors_ends_when_it_is_told(tmp_path):
    """All workers are gone, and what the job wants to run waits for executors."""
    centre = support.make_centre(tmp_path, support.make_topic(2), update_interval="1s")
    with contextlib.ExitStack() as stack:
        cluster = Cluster(tmp_path, stack)
        for worker, _ in cluster.workers:
            support.kill(worker)
        support.wait_until("no worker is there", lambda: not cluster.alive(), BOUND)
        driver = Driver(cluster, centre, stack)
        support.wait_until("a job waits", lambda: any(
            found["status"] == "RUNNING" for found in driver.ask("jobs") or ()), BOUND)  # fmt: skip
        driver.child.terminate()
        assert driver.child.wait(90) == 0, driver.text()
