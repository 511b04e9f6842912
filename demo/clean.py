"""Removes what the demo keeps between its runs. Run by `make clean-demo`."""

import fcntl
import os
import pathlib
import shutil
import sys

DEMO = pathlib.Path(__file__).resolve().parent.parent / ".vigie" / "demo"


def main():
    if not DEMO.exists():
        print("The demo has no data here.")
        return 0
    with open(DEMO / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("vigie: the demo is running: stop it first.", file=sys.stderr)
            return 1
        # Where user postgres cannot enter the checkout, its data is elsewhere and linked from here.
        postgres = DEMO / "postgres"
        if postgres.is_symlink():
            target = pathlib.Path(os.readlink(postgres))
            if target.name.startswith("vigie-postgres-"):
                shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(DEMO)
    print("The demo's data is gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
