"""A private PostgreSQL cluster and a private broker, for the tests and the demo. Standard library only."""

import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STATE = ROOT / ".vigie"

# A Unix socket's path has room for 107 bytes (unix(7)).
LONGEST_SOCKET_PATH = 107


class ServiceError(Exception):
    """A service that did not start or that died: one sentence for a person."""


def free_port():
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def accepts(port):
    """Whether somebody accepts connections at a port of the loopback interface."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def last_lines(path, count=12):
    """The end of a log, for the message about what died."""
    try:
        lines = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-count:])


class Process:
    """A child that writes to a log, gets no Ctrl-C of the terminal, and ends with its parent whatever kills that."""

    def __init__(self, name, arguments, log, stop_signal=signal.SIGTERM, user=None, environment=None):
        self.name = name
        self.log = pathlib.Path(log)
        self.stop_signal = stop_signal
        prefix = ["setpriv", f"--pdeathsig={stop_signal.name.removeprefix('SIG')}"]
        if user:
            prefix += [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        with open(self.log, "ab") as output:
            self.child = subprocess.Popen(
                [*prefix, "--", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
                cwd=ROOT if not user else "/",
            )
        self.was_asked_to_stop = False

    @property
    def is_running(self):
        return self.child.poll() is None

    def check(self):
        """Raises if the process has ended."""
        if not self.is_running:
            raise ServiceError(f"{self.name} {self.ending}; the end of {self.log}:\n{last_lines(self.log)}")

    @property
    def ending(self):
        status = self.child.returncode
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def ask_to_stop(self):
        """Asks the process to end, once: a second signal would make it give up what it is finishing."""
        if self.is_running and not self.was_asked_to_stop:
            self.was_asked_to_stop = True
            self.child.send_signal(self.stop_signal)

    def stop(self, bound=20):
        """Asks the process to end and waits; kills it when the bound (seconds) has passed. True if it ended well."""
        self.ask_to_stop()
        try:
            return self.child.wait(bound) == 0
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return False

    def wait_until(self, is_ready, bound=300):
        """Waits until `is_ready()`; raises if the process ends before or the bound (seconds) passes."""
        deadline = time.monotonic() + bound
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"{self.name} was not ready after {bound} s; see {self.log}:\n{last_lines(self.log)}")
            time.sleep(0.01)


def postgres_programs():
    """The folder of the newest PostgreSQL's programs. Debian keeps them out of PATH."""
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    folders = [folder for folder in folders if os.access(f"{folder}/initdb", os.X_OK)]
    if not folders:
        raise ServiceError("PostgreSQL is missing: run `make install`.")
    return pathlib.Path(max(folders, key=lambda folder: int(folder.split("/")[4])))


class Postgres:
    """A cluster of our own: reached through a Unix socket in a folder that only its user enters, no network.

    Its roles, `vigie` and the one that only reads, are given by peer authentication to the user who runs this (and to
    nobody else), so that there is no password to keep.
    """

    # The dashboard's login, as documentation/roles.sql makes it.
    reader = "vigie_dashboard"

    def __init__(self, folder, durable=True, settings=None):
        """Keeps the data in `folder`, which is made if need be. Not durable is for tests: fsync is off.

        `settings` are added to postgresql.conf's.
        """
        self.settings = settings or {}
        self.programs = postgres_programs()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder = self._usable_folder(pathlib.Path(folder))
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.durable = durable
        self.process = None
        self.sockets = None

    def _usable_folder(self, wanted):
        """`wanted`, or where PostgreSQL's user cannot go there, a folder in /var/tmp that `wanted` then links to."""
        if wanted.is_symlink():
            target = pathlib.Path(os.readlink(wanted))
            if target.is_dir() and target.owner() in (self.user, pwd.getpwuid(os.geteuid()).pw_name):
                return target
            wanted.unlink()
        wanted.mkdir(parents=True, exist_ok=True)
        folder = wanted
        if self.user:
            reaches = subprocess.run(
                ["setpriv", f"--reuid={self.user}", f"--regid={pwd.getpwnam(self.user).pw_gid}", "--init-groups",
                 "--", "test", "-x", str(wanted.parent)],
                cwd="/", check=False)  # fmt: skip
            if reaches.returncode != 0:
                wanted.rmdir()
                folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-postgres-", dir="/var/tmp"))
                wanted.symlink_to(folder)
                print(f"User postgres cannot enter {wanted.parent}: its data is in {folder}, linked from there.")
            shutil.chown(folder, self.user, pwd.getpwnam(self.user).pw_gid)
        folder.chmod(0o700)
        return folder.resolve()

    @property
    def connection(self):
        """libpq's connection string."""
        return f"host={self.sockets} user=vigie dbname=vigie"

    @property
    def reader_connection(self):
        """The connection string of the role that `make_reader` made."""
        return f"host={self.sockets} user={self.reader} dbname=vigie"

    @property
    def version(self):
        return self.psql("SHOW server_version")

    def psql(self, statement, database="vigie"):
        """The result of a statement as text."""
        result = subprocess.run(
            [self.programs / "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement,
             f"host={self.sockets} user=vigie dbname={database}"],
            check=True, capture_output=True, text=True, cwd="/")  # fmt: skip
        return result.stdout.strip()

    def make_reader(self):
        """Makes the login of one who may only read, if there is none. `vigie-processor migrate` came before."""
        if self.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{self.reader}'"):
            return
        # All in one transaction, as psql does it with one command.
        self.psql(
            f"CREATE ROLE {self.reader} LOGIN IN ROLE vigie_reader; "
            f"ALTER ROLE {self.reader} SET default_transaction_read_only = on; "
            f"ALTER ROLE {self.reader} SET statement_timeout = '30s'"
        )

    def start(self):
        """Makes the cluster if there is none, starts it and waits until it accepts connections."""
        self._choose_sockets()
        is_new = not (self.data / "PG_VERSION").exists()
        if is_new:
            shutil.rmtree(self.data, ignore_errors=True)
            initialise = Process(
                "initdb",
                [self.programs / "initdb", "--pgdata", self.data, "--username=vigie", "--auth=reject",
                 "--encoding=UTF8", "--locale=C.UTF-8", *([] if self.durable else ["--no-sync"])],
                self.log, user=self.user)  # fmt: skip
            if initialise.child.wait() != 0:
                raise ServiceError(f"initdb failed; the end of {self.log}:\n{last_lines(self.log)}")
        self._configure()
        self.process = Process(
            "PostgreSQL", [self.programs / "postgres", "-D", self.data], self.log, signal.SIGINT, self.user
        )
        self.process.wait_until(self._is_ready)
        if not self.psql("SELECT 1 FROM pg_database WHERE datname = 'vigie'", "postgres"):
            self.psql("CREATE DATABASE vigie", "postgres")
        return self

    def stop(self):
        """Ends it in order: open sessions are closed, a last checkpoint is written."""
        if self.process:
            self.process.stop()
        if self.sockets and self.sockets != self.folder:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def remove(self):
        """Deletes the data of a stopped cluster."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _choose_sockets(self):
        self.sockets = self.folder
        if len(os.fsencode(self.folder / ".s.PGSQL.5432.lock")) > LONGEST_SOCKET_PATH:
            self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="vigie-"))
            if self.user:
                shutil.chown(self.sockets, self.user)

    def _is_ready(self):
        # The eighth line of postmaster.pid is the server's state.
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.process.child.pid) and lines[7].strip() == "ready"
        return False

    def _configure(self):
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "max_connections": 200,
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "jit": "off",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        settings |= self.settings
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (self.data / "postgresql.auto.conf").write_text("".join(lines))
        users = {pwd.getpwuid(os.geteuid()).pw_name, self.user or pwd.getpwuid(os.geteuid()).pw_name}
        roles = ("vigie", self.reader)
        (self.data / "pg_ident.conf").write_text(
            "".join(f"vigie {user} {role}\n" for user in sorted(users) for role in roles)
        )
        (self.data / "pg_hba.conf").write_text(f"local all {','.join(roles)} peer map=vigie\n")


def noida_program():
    """The program of noida-db in the virtual environment."""
    found = glob.glob(str(STATE / "venv/lib/python*/site-packages/noida_db/noida-db"))
    if not found:
        raise ServiceError("noida-db is missing: run `make install`.")
    return pathlib.Path(found[0])


class LoopbackServer:
    """A server on a port of the loopback interface: the one that is asked for, else any free one."""

    def __init__(self, folder, port=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.asked_port = port
        self.port = None
        self.process = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        if self.asked_port and not port_is_free(self.asked_port):
            raise ServiceError(f"port {self.asked_port} is in use: choose another one for the broker.")
        self.port = self.asked_port or free_port()
        self.process = self.launch()
        self.process.wait_until(lambda: accepts(self.port))
        return self

    def launch(self):
        """Starts its process, which is to serve `port`."""
        raise NotImplementedError

    def stop(self):
        """Ends it by SIGTERM, upon which it saves its state if it has any."""
        if self.process:
            self.process.stop()


class Noida(LoopbackServer):
    """A noida-db process that serves Kafka's protocol on loopback: one broker, for tests and the demo only."""

    description = "noida-db 0.2.3, a small broker with Kafka's protocol for tests, not Apache Kafka"

    def launch(self):
        return Process(
            "the broker",
            [noida_program(), "start", "--data-dir", self.folder / "data", "--only", "kafka", "--kafka-port", self.port],
            self.folder / "broker.log",
        )


class FetchPace(LoopbackServer):
    """What stands before a Noida so that it and its clients are at rest when there is nothing (fetch_pace.py)."""

    def __init__(self, broker, port=None):
        super().__init__(broker.folder, port)
        self.broker = broker

    def launch(self):
        script = pathlib.Path(__file__).with_name("fetch_pace.py")
        return Process(
            "the broker's pace", [sys.executable, script, self.port, self.broker.port], self.folder / "pace.log"
        )


def library_versions():
    """The system libraries that the programs use."""
    modules = {"librdkafka": "rdkafka", "libpq": "libpq", "SQLite": "sqlite3", "simdjson": "simdjson"}
    versions = {}
    for name, module in modules.items():
        result = subprocess.run(["pkg-config", "--modversion", module], capture_output=True, text=True, check=False)
        versions[name] = result.stdout.strip() or "unknown"
    return versions


def swift_version():
    result = subprocess.run(["swift", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"Swift version (\S+)", result.stdout)
    return found[1] if found else "unknown"


def quiet_connection(connection):
    """A connection string without its password."""
    connection = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", connection)
    return re.sub(r"(password\s*=\s*)('[^']*'|\S+)", r"\1***", connection)


def scratch_folder():
    """A new folder in memory if there is room (tests leave nothing behind and need no disk), else in .vigie.

    Its name holds our process' number: what a killed run left is removed by the next one.
    """
    memory = pathlib.Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    parent = memory if has_room else STATE
    parent.mkdir(exist_ok=True)
    for old in parent.glob("vigie-test-*-*"):
        if not pathlib.Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"vigie-test-{os.getpid()}-", dir=parent)
    # User postgres must pass through; the folders inside keep others out.
    os.chmod(folder, 0o711)
    return pathlib.Path(folder)
