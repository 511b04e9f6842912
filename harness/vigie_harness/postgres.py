"""A PostgreSQL of our own."""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import psycopg

from .errors import HarnessError, UsageError
from .processes import Process, last_lines, wait_until

# A Unix socket's path has room for 107 bytes (unix(7)).
LONGEST_SOCKET_PATH = 107
# Seconds that each server has to answer that somebody names.
ANSWER = 5


def postgres_programs():
    """The folder of the newest PostgreSQL's programs. Debian keeps them out of PATH."""
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    folders = [folder for folder in folders if os.access(f"{folder}/initdb", os.X_OK)]
    if not folders:
        raise HarnessError("PostgreSQL is missing: run `make dependencies`.")
    return pathlib.Path(max(folders, key=lambda folder: int(folder.split("/")[4])))


def database_must_answer(name: str, connection: str) -> None:
    """HarnessError if nobody can work on the database whose connection string the variable `name` holds."""
    try:
        psycopg.connect(connection, connect_timeout=ANSWER).close()
    except psycopg.ProgrammingError:
        # What it says of that may hold a password.
        raise UsageError(f"{name} is no connection string of PostgreSQL: mend or unset it.") from None
    except psycopg.Error as error:
        reason = (str(error).strip().splitlines() or ["no answer"])[0].rstrip(".")
        raise HarnessError(
            f"no PostgreSQL can be used at the address in {name}: {reason}. "
            f"Start it, correct {name}, or unset it: then there is one of our own."
        ) from None


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
                raise HarnessError(f"initdb failed; the end of {self.log}:\n{last_lines(self.log)}")
        self._configure()
        self.process = Process(
            "PostgreSQL", [self.programs / "postgres", "-D", self.data], self.log, signal.SIGINT, self.user
        )
        self.process.wait_until(self._is_ready)
        if not self.psql("SELECT 1 FROM pg_database WHERE datname = 'vigie'", "postgres"):
            self.psql("CREATE DATABASE vigie", "postgres")
        return self

    def make_standby(self, folder):
        """A standby in `folder` that has all that this running server has by now, and follows it."""
        standby = Postgres(folder, self.durable, self.settings)
        copying = Process(
            "pg_basebackup",
            [self.programs / "pg_basebackup", "--pgdata", standby.data, "--checkpoint=fast", "--no-sync",
             "--dbname", f"host={self.sockets} user=vigie"],
            standby.log, user=self.user)  # fmt: skip
        if copying.child.wait() != 0:
            raise HarnessError(f"pg_basebackup failed; the end of {standby.log}:\n{last_lines(standby.log)}")
        (standby.data / "standby.signal").touch()
        standby.settings = self.settings | {"primary_conninfo": f"host={self.sockets} user=vigie"}
        standby.start()
        standby.settings = self.settings
        here = self.psql("SELECT pg_current_wal_lsn()")
        wait_until(
            "the standby has all that the primary had",
            lambda: standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{here}'") == "t", interval=0.2)  # fmt: skip
        return standby

    def cut_off(self):
        """Lets a standby get nothing more of its primary."""
        self.psql("ALTER SYSTEM RESET primary_conninfo")
        self.psql("SELECT pg_reload_conf()")
        wait_until(
            "the standby receives nothing",
            lambda: self.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0", interval=0.2)  # fmt: skip

    def promote(self):
        """Makes a primary of a standby."""
        if self.psql("SELECT pg_promote(true, 60)") != "t":
            raise HarnessError(f"the standby was not promoted; the end of {self.log}:\n{last_lines(self.log)}")

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
        # The eighth line of postmaster.pid is the server's state: "standby" is one that can be asked.
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            is_ours = len(lines) >= 8 and lines[0] == str(self.process.child.pid)
            return is_ours and lines[7].strip() in ("ready", "standby")
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
        (self.data / "pg_hba.conf").write_text(
            f"local all {','.join(roles)} peer map=vigie\nlocal replication vigie peer map=vigie\n"
        )
