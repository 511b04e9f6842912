"""Starts and stops the demo's processes, each after what it needs and before what needs it."""

import json
import os
import pathlib
import string
import subprocess
import time
import urllib.request

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from vigie_harness.checkout import ROOT, STATE, must_have, programs
from vigie_harness.errors import HarnessError
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres, database_must_answer
from vigie_harness.processes import Process
from vigie_harness.servers import choose_broker, quiet_connection

# A test's demo has its own folder, and the programs as they are built for tests.
DEMO = pathlib.Path(os.environ.get("VIGIE_DEMO", STATE / "demo"))
TEMPLATES = pathlib.Path(__file__).resolve().parent / "configuration"
RECORDINGS = ROOT / "Tests" / "IntegrationTests" / "Data"
PROGRAMS = programs("release")
DASHBOARD = ROOT / "dashboard" / "run"
SPARK_PYTHON = STATE / "spark" / "venv" / "bin" / "python"
TOPIC = "sensor.readings"
PARTITIONS = 4

# The stand-in keeps all of a topic in memory and writes it out whole: a demo needs the last hours only.
RETENTION = {"retention.bytes": str(1 << 20)}


class Program:
    """One of Vigie's programs: its process and where it answers."""

    def __init__(self, name, arguments, port, logs, ready_path="/readyz", ready_word=b"", environment=None):
        self.name = name
        self.address = f"http://127.0.0.1:{port}"
        self.ready_path = ready_path
        self.ready_word = ready_word
        self.was_ready = False
        self.process = Process(name, arguments, logs / f"{name}.log", environment=environment)

    def wait_until_ready(self):
        self.process.wait_until(self.is_ready)
        self.was_ready = True

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.address}{self.ready_path}", timeout=1) as answer:
                return answer.status == 200 and self.ready_word in answer.read()
        except OSError:
            return False


class Pipeline:
    """The demo's parts. What takes long to start does so beside the others."""

    def __init__(self, wanted, kafka_port, say, engine="processor"):
        self.say = say
        self.engine = engine
        self.postgres = None
        self.processor = None
        self.dashboard = None
        self.gateways = []
        self.problems = []
        self.connection = os.environ.get("VIGIE_POSTGRES")
        DEMO.mkdir(parents=True, exist_ok=True)
        self.broker = choose_broker(DEMO, wanted, port=kafka_port, with_pace=True)
        # Rows and offsets belong to one broker's messages: each kind of broker has a demo of its own.
        self.folder = DEMO / self.broker.kind
        self.kafka = None

    # Start

    def start(self):
        # User postgres passes through to its own folder; everything else in here is closed to others.
        self.folder.mkdir(exist_ok=True)
        # The umask holds for mkdir's mode.
        self.folder.chmod(0o711)
        for folder in ("logs", "configuration", "outboxes"):
            (self.folder / folder).mkdir(exist_ok=True)
        must_have(PROGRAMS, "vigie-gateway", "vigie-processor")
        if self.engine == "spark" and not SPARK_PYTHON.exists():
            raise HarnessError("the Spark job has no Python environment: run spark/environment.")
        if self.broker.note:
            self.say(self.broker.note)
        self.broker.launch()
        self._start_postgres()
        self._wait_for_broker()
        self._migrate()
        self._launch_dashboard()
        self._create_topics()
        self._start_engine()
        self._wait_for_dashboard()

    def _start_postgres(self):
        if self.connection:
            database_must_answer("VIGIE_POSTGRES", self.connection)
            self.say(f"PostgreSQL: {quiet_connection(self.connection)} (VIGIE_POSTGRES)")
        else:
            self.postgres = Postgres(self.folder / "postgres")
            self.postgres.start()
            self.connection = self.postgres.connection
            self.say(f'PostgreSQL {self.postgres.version}: psql "{self.connection}"')

    def _wait_for_broker(self):
        self.broker.start()
        self.kafka = self.broker.bootstrap
        # The description of yours begins with where it is.
        where = "" if self.broker.kind == "yours" else f"{self.kafka}, "
        self.say(f"Broker: {where}{self.broker.description}")

    def _create_topics(self):
        configuration = RETENTION if self.broker.kind == "stand-in" else {}
        replicas = 1 if self.broker.server else -1
        topics = [
            NewTopic(TOPIC, PARTITIONS, replicas, config=configuration),
            NewTopic(f"{TOPIC}.rejected", 1, replicas, config=configuration),
        ]
        client = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        for topic, created in client.create_topics(topics, operation_timeout=10, request_timeout=15).items():
            try:
                created.result()
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise HarnessError(
                        f"topic {topic} cannot be created on {self.kafka}: {error.args[0].str()}"
                    ) from error

    def _migrate(self):
        """Brings the schema up to date, before anybody needs it."""
        port = free_port()
        self.processor_port = port
        path = self._configuration("processor", connection=json.dumps(self.connection), port=port)
        self._run_to_end("migrate", path)

    def _start_engine(self):
        if self.engine == "spark":
            self._start_spark()
        else:
            self._start_processor()

    def _start_spark(self):
        """The Spark job in local mode, on the same configuration, tables and offsets as the processor."""
        path = self.folder / "configuration" / "processor.yaml"
        arguments = [SPARK_PYTHON, ROOT / "spark" / "job.py", "--master", "local[2]", "--config", path]
        options = f"--driver-memory 1g --conf spark.ui.port={self.processor_port} pyspark-shell"
        # Its page tells of the query as soon as there is one.
        self.processor = Program(
            "spark",
            arguments,
            self.processor_port,
            self.folder / "logs",
            ready_path="/StreamingQuery/",
            ready_word=b"RUNNING",
            environment=os.environ | {"PYSPARK_SUBMIT_ARGS": options, "SPARK_LOCAL_IP": "127.0.0.1"},
        )
        self.processor.wait_until_ready()
        self.say(f"Spark: {self.processor.address}/")

    def _start_processor(self):
        path = self.folder / "configuration" / "processor.yaml"
        arguments = [PROGRAMS / "vigie-processor", "run", "--config", path]
        self.processor = Program("processor", arguments, self.processor_port, self.folder / "logs")
        self.processor.wait_until_ready()
        self.say(f"Processor: {self.processor.address}/")

    def _launch_dashboard(self):
        """Starts the dashboard, as a role that may only read where the database is our own."""
        connection = self.connection
        if self.postgres:
            self.postgres.make_reader()
            connection = self.postgres.reader_connection
        port = free_port()
        self.dashboard = Program(
            "dashboard",
            [DASHBOARD, "--server.address", "127.0.0.1", "--server.port", port],
            port,
            self.folder / "logs",
            ready_path="/_stcore/health",
            environment=os.environ | {"VIGIE_POSTGRES": connection},
        )

    def _wait_for_dashboard(self):
        self.dashboard.wait_until_ready()
        self.say(f"Dashboard: {self.dashboard.address}")

    def start_gateways(self):
        """Starts the boards, last: the demo's numbers begin with their first readings."""
        for template in sorted(TEMPLATES.glob("gateway-*.yaml")):
            name = template.stem.removeprefix("gateway-")
            port = free_port()
            outbox = self.folder / "outboxes" / name
            outbox.mkdir(exist_ok=True)
            path = self._configuration(template.stem, outbox=outbox, port=port)
            arguments = [PROGRAMS / "vigie-gateway", "run", "--config", path]
            self.gateways.append(Program(name, arguments, port, self.folder / "logs"))
        for program in self.gateways:
            program.wait_until_ready()
            self.say(f"Board {program.name}: {program.address}/metrics")
        self.say(self.invitation())

    def invitation(self):
        """How a board of the visitor's own joins the demo."""
        text = f"A board of your own joins by kafka: {{bootstrap: {self.kafka}, topic: {TOPIC}}}"
        host, _, port = self.kafka.rpartition(":")
        if host == "127.0.0.1":
            # The broker tells its clients this address, so the port is the same on the board.
            text += f", from another machine after ssh -N -R {port}:{self.kafka} USER@BOARD"
        return text

    def _configuration(self, name, **values):
        """Fills in the template of this name; what it gives may hold a password, so only we can read it."""
        template = string.Template((TEMPLATES / f"{name}.yaml").read_text())
        path = self.folder / "configuration" / f"{name}.yaml"
        values |= {"kafka": self.broker.bootstrap, "topic": TOPIC, "recordings": RECORDINGS}
        path.write_text(template.substitute(values))
        path.chmod(0o600)
        return path

    def _run_to_end(self, subcommand, path):
        result = subprocess.run(
            [PROGRAMS / "vigie-processor", subcommand, "--config", path],
            capture_output=True, text=True, errors="replace", check=False)  # fmt: skip
        if result.returncode != 0:
            raise HarnessError(
                f"vigie-processor {subcommand} ended with status {result.returncode}:\n{result.stdout}{result.stderr}"
            )

    # While it runs

    def check(self):
        """Raises with the end of its log if a process has died."""
        for process in self._processes:
            process.check()

    @property
    def _processes(self):
        programs = [program.process for program in (self.processor, self.dashboard, *self.gateways) if program]
        return [*self._server_processes, *programs]

    @property
    def _server_processes(self):
        postgres = [self.postgres.process] if self.postgres and self.postgres.process else []
        return [*postgres, *self.broker.processes]

    # Stop

    def stop_programs(self, measurements):
        """Stops the boards, lets the processor read what they sent, stops it, and takes a last measurement."""
        for program in (self.dashboard, *self.gateways):
            if program:
                program.process.ask_to_stop()
        for gateway in self.gateways:
            self._stop(gateway)
        if self.dashboard:
            self._stop(self.dashboard)
        last = None
        if self.processor:
            is_whole = self.processor.process.is_running and all(part.is_running for part in self._server_processes)
            if is_whole:
                self._wait_until_read()
            self._stop(self.processor)
            # Only now: until it has ended it may store what came after the boards had, and the certificate counts that.
            if is_whole and measurements:
                last = measurements.take(of_whole_run=True)
        return last

    def verify(self):
        """Shows the processor's certificate; its exit status."""
        path = self.folder / "configuration" / "processor.yaml"
        return subprocess.run([PROGRAMS / "vigie-processor", "verify", "--config", path], check=False).returncode

    def stop_servers(self):
        """Stops broker and PostgreSQL. The problems of the whole stop."""
        self.broker.stop()
        if self.postgres:
            self.postgres.stop()
        return self.problems

    def _stop(self, program):
        was_running = program.process.is_running
        ended_well = program.process.stop()
        # One that is still starting may not have taken charge of its signals yet.
        if was_running and program.was_ready and not ended_well:
            process = program.process
            self.problems.append(f"{program.name} {process.ending} when it was asked to stop; see {process.log}")

    @property
    def engine_name(self):
        """What a person calls it."""
        return "Spark job" if self.engine == "spark" else "processor"

    def _wait_until_read(self):
        """Waits until the engine has committed everything that the topic holds."""
        # Spark's first micro-batch may still be running.
        bound = 180 if self.engine == "spark" else 15
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        client = Consumer({"bootstrap.servers": self.kafka, "group.id": "vigie-demo-watch", "log_level": 0})
        try:
            ends = {}
            for part in partitions:
                if not (offsets := client.get_watermark_offsets(part, timeout=5)):
                    self.problems.append("cannot tell whether everything was read: the broker is silent")
                    return
                ends[part.partition] = offsets[1]
            with psycopg.connect(self.connection, autocommit=True) as database:
                deadline = time.monotonic() + bound
                while time.monotonic() < deadline:
                    rows = database.execute(
                        "SELECT kafka_partition, next_offset FROM consumed_offset WHERE topic = %s", [TOPIC]
                    )
                    read = dict(rows.fetchall())
                    if all(read.get(number, 0) >= end for number, end in ends.items()):
                        return
                    time.sleep(0.05)
            self.problems.append(f"the {self.engine_name} had not read everything {bound} s after the boards stopped")
        except (KafkaException, psycopg.Error) as error:
            self.problems.append(f"cannot tell whether everything was read: {error}")
        finally:
            client.close()
