"""The whole pipeline on this machine: simulated boards, broker, processor, PostgreSQL, and a live view of it.

Run by `make demo`. Ctrl-C, or the end of --duration, stops it in the order in which nothing is lost.
"""

import argparse
import fcntl
import os
import signal
import sys
import time

import psycopg
from measurements import Measurements
from pipeline import DEMO, Pipeline
from views import LiveView, PlainView, summary

from vigie_harness import arguments, interrupts
from vigie_harness.endings import status_of
from vigie_harness.errors import HarnessError
from vigie_harness.interrupts import Stopped
from vigie_harness.kafka.finding import check_broker
from vigie_harness.postgres import database_must_answer


def parse_arguments():
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--kafka", choices=("apache", "stand-in"), help="the private broker: Apache Kafka, or the stand-in"
    )
    parser.add_argument(
        "--engine", choices=("processor", "spark"), default="processor", help="what reads the topic: `make demo-spark`"
    )
    parser.add_argument("--duration", type=arguments.seconds, help="seconds after which the demo ends by itself")
    parser.add_argument("--kafka-port", type=arguments.port, help="the private broker's port; any free one without it")
    parser.add_argument(
        "--check", action="store_true", help="only say what is wrong with the options and the broker, before a build"
    )
    options = parser.parse_args()
    if options.engine == "spark":
        if options.kafka == "stand-in":
            parser.error("the Spark job needs Apache Kafka, not the stand-in")
        # Yours, or Apache Kafka and nothing in its place.
        options.kafka = options.kafka or (None if os.environ.get("VIGIE_KAFKA") else "apache")
    return options


def only_one():
    """Holds the demo's lock until this process ends."""
    DEMO.mkdir(parents=True, exist_ok=True)
    # User postgres passes through.
    DEMO.chmod(0o711)
    lock = open(DEMO / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HarnessError("a demo is running in this checkout already: stop it first.") from None
    return lock


def watch(pipeline, measurements, view, duration):
    """Shows the pipeline until the duration is over; raises if one of its processes dies."""
    end = time.monotonic() + duration if duration else float("inf")
    while (left := end - time.monotonic()) > 0:
        pipeline.check()
        view.show(measurements.take())
        time.sleep(min(view.interval, left))


def run(options):
    started = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)

    pipeline = Pipeline(options.kafka, options.kafka_port, say, options.engine)
    status = 0
    stopped_by = None
    verified = None
    measurements = None
    everything_runs = False
    try:
        pipeline.start()
        measurements = Measurements(pipeline)
        pipeline.start_gateways()
        measurements.begin()
        say("Everything runs.\n")
        everything_runs = True
        with LiveView() if sys.stdout.isatty() else PlainView() as view:
            watch(pipeline, measurements, view, options.duration)
    except Stopped as stopped:
        stopped_by = stopped
    except HarnessError as error:
        print(f"vigie: {error}", file=sys.stderr)
        status = error.status
    except psycopg.Error as error:
        print(f"vigie: PostgreSQL: {str(error).strip()}", file=sys.stderr)
        status = 1
    finally:
        # Nothing interrupts the end: every part of it has a bound.
        interrupts.ignore()
        if pipeline.processor:
            print(
                f"\nStopping: boards, then the {pipeline.engine_name} once it has read everything, then the servers.",
                flush=True,
            )
        last = pipeline.stop_programs(measurements)
        if last:
            print(summary(last), flush=True)
        if last and status == 0 and stopped_by is None:
            verified = pipeline.verify()
        for problem in pipeline.stop_servers():
            print(f"vigie: {problem}", file=sys.stderr)
            status = 1
    if verified not in (None, 0):
        print(f"vigie: verify ended with status {verified}", file=sys.stderr)
        status = 1
    # Ctrl-C is the normal end of a demo that runs and has no duration.
    if status == 0 and stopped_by and not (everything_runs and stopped_by.status == 128 + signal.SIGINT):
        return stopped_by.status
    return status


def main():
    options = parse_arguments()
    os.umask(0o077)
    return status_of(lambda: check(options) if options.check else run_alone(options))


def check(options):
    # The stand-in needs nothing that can be wrong.
    if options.kafka != "stand-in":
        check_broker(options.kafka)
    if connection := os.environ.get("VIGIE_POSTGRES"):
        database_must_answer("VIGIE_POSTGRES", connection)
    return 0


def run_alone(options):
    with only_one():
        return run(options)
