"""Says where Spark's Kafka connector is, and fetches it if need be: python3 -m vigie_harness.spark_jars [--again]

VIGIE_SPARK_JARS names a folder that has it. Without that it comes into .vigie/spark/jars as Apache Kafka comes into
.vigie/kafka: by maven, from where this machine's maven has its packages from, and only what spark/connector pins.
"""

import argparse
import os
import pathlib
import re
import sys

from .checkout import ROOT, STATE
from .errors import HarnessError, UsageError
from .kafka.fetching import Fetch
from .kafka.home import KafkaMissing, java

PINS = ROOT / "spark/connector"
REQUIREMENTS = ROOT / "spark/requirements.txt"
CONNECTOR = "spark-sql-kafka-0-10_2.13"


def spark_version() -> str:
    """PySpark's version, which must be the connector's."""
    return re.search(r"^pyspark==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)[1]


def connector_in(folder: pathlib.Path) -> pathlib.Path:
    """The folder, if it has the connector of PySpark's version; KafkaMissing says what it lacks."""
    if not folder.is_dir():
        raise KafkaMissing(f"there is no folder {folder}")
    wanted = f"{CONNECTOR}-{spark_version()}.jar"
    names = sorted(path.name for path in folder.glob("*.jar"))
    if wanted not in names:
        others = [name for name in names if name.startswith("spark-sql-kafka")]
        raise KafkaMissing(f"{folder} has no {wanted}" + (f", but {others[0]}: of another version" if others else ""))
    return folder


FETCH = Fetch(
    folder=STATE / "spark/jars", subject="Spark's Kafka connector", command="spark/environment --again", below="",
    found=connector_in, pom=PINS / "pom.xml", checksums=PINS / "jars.sha256")  # fmt: skip


def find_jars(fetch: Fetch = FETCH, asks_again: bool = False) -> pathlib.Path:
    """The folder with the connector. KafkaMissing says why it cannot be had.

    Who names a folder means that one: if it cannot be used it is a UsageError, and nothing takes its place.
    """
    if folder := os.environ.get("VIGIE_SPARK_JARS"):
        try:
            return connector_in(pathlib.Path(folder).absolute())
        except KafkaMissing as missing:
            raise UsageError(f"VIGIE_SPARK_JARS cannot be used: {missing}. Correct it, or unset it.") from None
    # Without Java there is no maven either.
    java()
    return fetch(asks_again)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="try also if it could not be had a moment ago")
    try:
        print(find_jars(asks_again=parser.parse_args().again))
    except KafkaMissing as missing:
        print(f"vigie: Spark's Kafka connector cannot be had: {missing}.", file=sys.stderr)
        return 1
    except HarnessError as error:
        print(f"vigie: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
