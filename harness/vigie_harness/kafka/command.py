"""Runs nodes of Apache Kafka on loopback, for a person or a test, and obeys commands on its standard input.

    tools/kafka run --folder DIR [options]     starts nodes; says in one line of JSON where they are
    tools/kafka prepare                        finds Kafka, fetches it if need be, and makes what starts need once
    tools/kafka fetch                          fetches Kafka, also if that failed today
    tools/kafka where                          says which Kafka is used, or why none is
    tools/kafka check [--broker BROKER]        says what is wrong with VIGIE_KAFKA or KAFKA_HOME, if they are set, and
                                               with the BROKER that is wanted: apache or stand-in

Options of `run`:

    --folder DIR               holds everything, and may hold what an earlier run left there
    --nodes 1|3                how many nodes there are; 1 by default
    --port PORT                of the first node, for clients; any free one by default
    --tls                      clients must use TLS
    --client-certificates      clients must have a certificate too
    --sasl scram|plain         clients must have a name and a password
    --user NAME:FILE           one of them, whose password is the content of FILE; may be given again
    --authorise                clients may do what they are granted only
    --super-user NAME          one who may do everything; implies --authorise; may be given again
    --property KEY=VALUE       a line of server.properties; may be given again
    --via-proxy                a proxy stands before each node, which faults are asked of

When all nodes serve, `run` writes one line:

    {"bootstrap": "127.0.0.1:20001", "inner_bootstrap": "127.0.0.1:20002",
     "version": "4.3.1", "protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512",
     "nodes": [{"id": 1, "pid": 4711, "port": 20001, "folder": "...", "log": "...", "running": true}],
     "authority": "authority.pem", "certificate": "client.pem", "key": "client.key",
     "authority_key": "authority.key"}

`inner_bootstrap` is the nodes' own listener, without proxies, TLS, names and rights. `authority` and what follows are
there with TLS only. After that each line of its standard input is a JSON object with one command, and is answered by
one line: {"ok": true} with what the command gives, or {"error": "..."}. N is a node's number.

    {"stop": N}                ends a node in order             {"start": N}     starts it again, and waits
    {"kill": N}                ends it by SIGKILL               {"restart": N}   stop, then start
    {"pause": N}               lets it hang, by SIGSTOP         {"resume": N}    lets it go on
    {"start": N, "wait": false}                                 does not wait until it serves
    {"copy": N}                keeps a copy of the log folder of a node that does not run ("name": of several)
    {"restore": N}             sets the log folder of a node that does not run back to the copy ("name")
    {"lose": N}                empties the log folder of a node that does not run
    {"state": true}            {"nodes": [...]} as above
    {"configure": {"KEY": "VALUE"}}     more lines of server.properties, from a node's next start on

    {"topic": NAME, "partitions": 3, "replicas": 3, "settings": {"retention.ms": 1000}}
    {"delete_topic": NAME}     {"alter_topic": NAME, "settings": {...}}     null takes a setting back
    {"partitions": NAME, "total": 6}
    {"delete_records": NAME, "before": {"0": 100}}
    {"leader": NAME, "partition": 0}                            {"ok": true, "leader": N}
    {"describe": NAME}
            {"ok": true, "partitions": [{"partition": 0, "leader": 1, "replicas": [1], "in_sync": [1]}]}
    {"offsets": NAME}                                           {"ok": true, "offsets": {"0": [first, after the last]}}
    {"group_offsets": GROUP}                                    {"ok": true, "offsets": {"TOPIC": {"0": 17}}}
    {"set_group_offsets": GROUP, "offsets": {"TOPIC": {"0": 17}}}
    {"delete_group": GROUP}
    {"user": NAME, "password_file": FILE}                       makes a SCRAM user, or changes its password
    {"delete_user": NAME}
    {"grant": USER, "operation": "write", "topic": NAME}        or "group": NAME; neither is the cluster
    {"deny": ...} and {"revoke": ...}                           the same
    {"quota": {"producer_byte_rate": 1000}, "user": NAME, "client_id": NAME}    null takes a limit away

    {"certificate": FILE, "name": CN, "begins": SECONDS, "ends": SECONDS}
                               issues one as FILE.pem, valid from and to so many seconds from now; {"certificate": ...,
                               "key": ...}
    {"node_certificate": N, "begins": SECONDS, "ends": SECONDS} the node has another one from its next start on

    {"proxy": N, "fault": "cut"|"reset"|"refuse"|"heal"}
    {"proxy": N, "fault": "delay", "seconds": 0.5, "direction": "both"|"to_server"|"to_client"}
    {"proxy": N, "fault": "throttle", "bytes_per_second": 1000}
    {"proxy": N, "fault": "swallow", "direction": "to_client"}
                               N may be "all". cut and reset are of the connections that are open; what else lasts until
                               heal. `.vigie/venv/bin/python -m pydoc vigie_harness.proxy` says
                               more.

At the end of its standard input, and upon SIGTERM, it ends its nodes in order and then itself, with status 0; upon
Ctrl-C too, with status 130.
"""

import argparse
import contextlib
import datetime
import fcntl
import inspect
import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException

from .. import interrupts
from ..arguments import pair, password, port, user
from ..endings import status_of
from ..errors import HarnessError, in_words
from ..interrupts import Stopped
from ..proxy import Direction
from .cluster import KafkaCluster
from .fetching import Fetch
from .finding import check_broker, find_kafka
from .node import KafkaNode
from .reachable import addresses
from .runtime import prepare
from .security import Security


class Commands:
    """What the lines of the standard input ask for."""

    def __init__(self, cluster: KafkaCluster):
        self.cluster = cluster
        self.admin = cluster.admin

    def obey(self, line: str) -> dict:
        """The answer to one line."""
        try:
            try:
                request = json.loads(line)
            except ValueError as error:
                raise HarnessError(f'a command is a JSON object such as {{"stop": 1}}: {error}') from None
            if not isinstance(request, dict) or not request:
                raise HarnessError("a command is a JSON object with a member")
            name, value = next(iter(request.items()))
            command: Callable | None = getattr(self, f"do_{name}", None)
            if command is None:
                raise HarnessError(f"there is no command {name!r}: see --help")
            rest = {key: member for key, member in request.items() if key != name}
            check_members(name, command, rest)
            try:
                return {"ok": True, **(command(value, **rest) or {})}
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                raise HarnessError(
                    f"{name!r}: a member has a value that cannot be meant so ({error}): see --help"
                ) from None
        except KafkaException as error:
            return {"error": f"Kafka: {error.args[0].str()} ({error.args[0].name()})"}
        except OSError as error:
            return {"error": in_words(error)}
        except (HarnessError, argparse.ArgumentTypeError) as error:
            return {"error": str(error)}

    # Nodes

    def do_stop(self, number):
        if not self.cluster.node(number).stop():
            raise HarnessError(f"node {number} did not end well; see {self.cluster.node(number).log}")

    def do_start(self, number, wait=True):
        self.cluster.node(number).start(wait)
        return node_facts(self.cluster.node(number))

    def do_restart(self, number):
        self.cluster.node(number).restart()
        return node_facts(self.cluster.node(number))

    def do_kill(self, number):
        self.cluster.node(number).kill()

    def do_pause(self, number):
        self._running(number).pause()

    def do_resume(self, number):
        self._running(number).resume()

    def _running(self, number) -> KafkaNode:
        node = self.cluster.node(number)
        if not node.is_running:
            raise HarnessError(f"node {number} does not run: start it first")
        return node

    def do_copy(self, number, name="copy"):
        return {"folder": str(self.cluster.node(number).copy_log_folder(name))}

    def do_restore(self, number, name="copy"):
        self.cluster.node(number).restore_log_folder(name)

    def do_lose(self, number):
        self.cluster.node(number).lose_log_folder()

    def do_state(self, _):
        return {"nodes": [node_facts(node) for node in self.cluster.nodes]}

    def do_configure(self, properties):
        self.cluster.properties |= properties

    # Topics, groups, users

    def do_topic(self, name, partitions=1, replicas=-1, settings=None):
        self.admin.create_topic(name, partitions, replicas, settings)

    def do_delete_topic(self, name):
        self.admin.delete_topic(name)

    def do_alter_topic(self, name, settings):
        self.admin.alter_topic(name, **settings)

    def do_partitions(self, name, total):
        self.admin.add_partitions(name, total)

    def do_delete_records(self, name, before):
        self.admin.delete_records(name, {int(partition): offset for partition, offset in before.items()})

    def do_leader(self, name, partition=0):
        return {"leader": self.admin.leader(name, partition)}

    def do_describe(self, name):
        return {"partitions": self.admin.partitions(name)}

    def do_offsets(self, name):
        return {"offsets": self.admin.offsets(name)}

    def do_group_offsets(self, group):
        found: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in self.admin.group_offsets(group).items():
            found.setdefault(topic, {})[partition] = offset
        return {"offsets": found}

    def do_set_group_offsets(self, group, offsets):
        flat = {(topic, int(number)): offset for topic, part in offsets.items() for number, offset in part.items()}
        self.admin.set_group_offsets(group, flat)

    def do_delete_group(self, group):
        self.admin.delete_group(group)

    def do_user(self, name, password_file):
        self.admin.create_user(name, password(password_file))

    def do_delete_user(self, name):
        self.admin.delete_user(name)

    def do_grant(self, user, operation, topic=None, group=None):
        self.admin.grant(user, operation, topic=topic, group=group)

    def do_deny(self, user, operation, topic=None, group=None):
        self.admin.deny(user, operation, topic=topic, group=group)

    def do_revoke(self, user, operation, topic=None, group=None):
        self.admin.revoke(user, operation, topic=topic, group=group)

    def do_quota(self, limits, user=None, client_id=None):
        self.admin.set_quota(user=user, client_id=client_id, **limits)

    # Certificates

    def do_certificate(self, file, name="client", begins=None, ends=None):
        dates = {"begins": _from_now(begins), "ends": _from_now(ends)}
        made = self._authority().issue(name, file=file.removesuffix(".pem"), **dates)
        return {"certificate": str(made.certificate), "key": str(made.key)}

    def do_node_certificate(self, number, begins=None, ends=None):
        node = self.cluster.node(number)
        dates = {"begins": _from_now(begins), "ends": _from_now(ends)}
        node.certificate = self._authority().issue(f"node-{number}", **dates)

    def _authority(self):
        if not self.cluster.authority:
            raise HarnessError("there are no certificates without --tls or --client-certificates")
        return self.cluster.authority

    # Proxies

    def do_proxy(self, number, fault, seconds=None, bytes_per_second=None, direction="both"):
        ways = [way.name.lower() for way in (Direction.BOTH, Direction.TO_SERVER, Direction.TO_CLIENT)]
        if direction not in ways:
            raise HarnessError(f"there is no direction {direction!r}: it is one of {', '.join(ways)}")
        way = Direction[direction.upper()]
        if fault == "delay" and seconds is None or fault == "throttle" and bytes_per_second is None:
            raise HarnessError(f"{fault} needs {'seconds' if fault == 'delay' else 'bytes_per_second'}: see --help")
        for node in self.cluster.nodes if number == "all" else [self.cluster.node(number)]:
            if not node.proxy:
                raise HarnessError("there are no proxies without --via-proxy")
            match fault:
                case "cut":
                    node.proxy.cut()
                case "reset":
                    node.proxy.reset()
                case "refuse":
                    node.proxy.refuse()
                case "heal":
                    node.proxy.heal()
                case "delay":
                    node.proxy.delay(float(seconds), way)
                case "throttle":
                    node.proxy.throttle(float(bytes_per_second), way)
                case "swallow":
                    node.proxy.swallow(way)
                case _:
                    raise HarnessError(f"there is no fault {fault!r}: see --help")


def check_members(name: str, command: Callable, rest: Mapping) -> None:
    """HarnessError if a command has members that it does not know, or lacks some that it needs."""
    known = list(inspect.signature(command).parameters.values())[1:]
    if unknown := [member for member in rest if member not in {parameter.name for parameter in known}]:
        raise HarnessError(f"{name!r} has no member {unknown[0]!r}: see --help")
    if missing := [each.name for each in known if each.default is inspect.Parameter.empty and each.name not in rest]:
        raise HarnessError(f"{name!r} needs {' and '.join(map(repr, missing))} too: see --help")


def _from_now(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def node_facts(node: KafkaNode) -> dict:
    return {
        "id": node.id,
        "pid": node.pid,
        "port": node.advertised_port,
        "folder": str(node.folder),
        "log": str(node.log),
        "running": node.is_running,
    }


def cluster_facts(cluster: KafkaCluster) -> dict:
    facts = {
        "bootstrap": cluster.bootstrap,
        "inner_bootstrap": cluster.inner_bootstrap,
        "version": cluster.version,
        "protocol": cluster.security.protocol,
        "mechanism": cluster.security.mechanism,
        "nodes": [node_facts(node) for node in cluster.nodes],
    }
    if cluster.authority and cluster.client_certificate:
        facts |= {
            "authority": str(cluster.authority.certificate),
            "authority_key": str(cluster.authority.key),
            "certificate": str(cluster.client_certificate.certificate),
            "key": str(cluster.client_certificate.key),
        }
    return facts


def parse_arguments(words=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/kafka", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="tools/kafka run|prepare|fetch|where|check ...")  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|prepare|fetch|where|check")
    for name in ("prepare", "fetch", "where"):
        commands.add_parser(name, prog=f"tools/kafka {name}")
    check = commands.add_parser("check", prog="tools/kafka check")
    check.add_argument("--broker", choices=("apache", "stand-in"), help="the broker that is wanted, as KAFKA= names it")
    run = commands.add_parser("run", prog="tools/kafka run")
    run.add_argument(
        "--folder", type=pathlib.Path, required=True, metavar="DIR",
        help="holds everything, and may hold what an earlier run left there")  # fmt: skip
    run.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="how many there are; %(default)s by default")
    run.add_argument("--port", type=port, help="of the first node, for clients; any free one without it")
    run.add_argument("--tls", action="store_true", help="clients must use TLS")
    run.add_argument("--client-certificates", action="store_true", help="clients must have a certificate too")
    run.add_argument("--sasl", choices=("scram", "plain"), help="clients must have a name and a password")
    run.add_argument(
        "--user", action="append", type=user, default=[], metavar="NAME:FILE",
        help="one of them, whose password is the content of FILE; may be given again")  # fmt: skip
    run.add_argument("--authorise", action="store_true", help="clients may do what they are granted only")
    run.add_argument(
        "--super-user", action="append", default=[], metavar="NAME",
        help="one who may do everything; implies --authorise; may be given again")  # fmt: skip
    run.add_argument(
        "--property", action="append", type=pair, default=[], metavar="KEY=VALUE",
        help="a line of server.properties; may be given again")  # fmt: skip
    run.add_argument(
        "--via-proxy", action="store_true", help="a proxy stands before each node, which faults are asked of"
    )
    arguments = parser.parse_args(words)
    if arguments.command == "run":
        if bool(arguments.sasl) != bool(arguments.user):
            run.error("--sasl and --user need each other: names and passwords are of users")
        if arguments.super_user and not (arguments.sasl or arguments.client_certificates):
            run.error("--super-user needs --sasl or --client-certificates: without them nobody has a name")
    return arguments


def make_cluster(arguments: argparse.Namespace) -> KafkaCluster:
    return KafkaCluster(
        find_kafka(),
        arguments.folder,
        arguments.nodes,
        security=Security(
            tls=arguments.tls,
            client_certificates=arguments.client_certificates,
            sasl=arguments.sasl,
            users=dict(arguments.user),
            super_users=arguments.super_user,
            authorise=arguments.authorise,
        ),
        properties=dict(arguments.property),
        with_proxies=arguments.via_proxy,
        port=arguments.port,
    )


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


@contextlib.contextmanager
def only_one(folder: pathlib.Path):
    """Holds a folder's lock; HarnessError if somebody else has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(f"another tools/kafka runs in {folder}: end it, or name another --folder.") from None
        yield


def run(arguments: argparse.Namespace) -> int:
    with only_one(arguments.folder):
        return serve(arguments)


def serve(arguments: argparse.Namespace) -> int:
    """Starts the nodes, obeys, and ends them."""
    cluster = make_cluster(arguments)
    serves = False
    try:
        cluster.start()
        commands = Commands(cluster)
        # Before it is said: whoever reads that may ask for the end at once.
        serves = True
        say(cluster_facts(cluster))
        for line in sys.stdin:
            say(commands.obey(line))
    except BrokenPipeError:
        pass
    except Stopped as stopped:
        # SIGTERM is how it is asked to end.
        if not serves or stopped.status != 128 + signal.SIGTERM:
            raise
    finally:
        interrupts.ignore()
        cluster.close()
    return 0


def main() -> int:
    arguments = parse_arguments()
    return status_of(lambda: carry_out(arguments))


def carry_out(arguments: argparse.Namespace) -> int:
    if arguments.command == "run":
        return run(arguments)
    if arguments.command == "check":
        check_broker(arguments.broker)
        return 0
    if arguments.command == "where" and (bootstrap := os.environ.get("VIGIE_KAFKA")):
        addresses("VIGIE_KAFKA", bootstrap)
        print(f"A cluster of yours: {bootstrap} (VIGIE_KAFKA)")
        return 0
    home = Fetch()(asks_again=True) if arguments.command == "fetch" else find_kafka()
    if arguments.command == "prepare":
        prepare(home)
    print(f"{home.description}: {home.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
