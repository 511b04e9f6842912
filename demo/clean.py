"""Removes what the demo keeps between its runs. Run by `make clean-demo`."""

import fcntl
import os
import pathlib
import shutil
import sys

STATE = pathlib.Path(__file__).resolve().parent.parent / ".vigie"
DEMO = STATE / "demo"
# Apache Kafka as it was fetched, what says that it could not be, logs, and what was made for quick starts.
KAFKA = ("kafka", "kafka-not-fetched", "kafka-fetch.log", "kafka-fetch.lock", "kafka-prepare.log", "kafka-runtime")


def main():
    if not DEMO.exists():
        print("The demo has no data here.")
        remove_kafka()
        return 0
    with open(DEMO / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("vigie: the demo is running: stop it first.", file=sys.stderr)
            return 1
        # Where user postgres cannot enter the checkout, its data is elsewhere and linked from here.
        for postgres in (DEMO / "postgres", *DEMO.glob("*/postgres")):
            if postgres.is_symlink():
                target = pathlib.Path(os.readlink(postgres))
                if target.name.startswith("vigie-postgres-"):
                    shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(DEMO)
    print("The demo's data is gone.")
    remove_kafka()
    return 0


def remove_kafka():
    """Removes what was fetched and made of Apache Kafka; the next demo or test brings it again."""
    for name in KAFKA:
        path = STATE / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
