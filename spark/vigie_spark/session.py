"""The session of Spark: its connector, its settings, and what of its log is left out."""

import os
import pathlib
import sys

import pyspark
from pyspark import SparkConf, SparkContext
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from .progress import METRICS
from .settings import SettingsError
from .trouble import root_cause


def jars() -> list[str]:
    """The connector's jars: in the folder that VIGIE_SPARK_JARS names, else where `spark/environment` has put them."""
    fetched = pathlib.Path(__file__).resolve().parents[2] / ".vigie" / "spark" / "jars"
    named = os.environ.get("VIGIE_SPARK_JARS")
    folder = pathlib.Path(named) if named else fetched
    found = sorted(folder.resolve().glob("*.jar"))
    # One of another version would fail in the middle of a batch, with the name of a class.
    connector = f"spark-sql-kafka-0-10_2.13-{pyspark.__version__}.jar"
    if connector not in (path.name for path in found):
        remedy = "correct VIGIE_SPARK_JARS, or unset it" if named else "run spark/environment"
        raise SettingsError(f"{folder} has no {connector}, the connector of this PySpark: {remedy}")
    return [str(path) for path in found]


def check_connector(spark: SparkSession) -> None:
    """SettingsError if Spark has no Kafka connector, which whoever calls spark-submit has to name."""
    try:
        spark.readStream.format("kafka").option("kafka.bootstrap.servers", "-").option("subscribe", "-").load()
    except AnalysisException as error:
        raise SettingsError(
            f"Spark has no Kafka connector ({root_cause(error)}): start the job by spark/submit, or give spark-submit "
            f"--packages org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}"
        ) from None


def is_given(name: str) -> bool:
    """Whether whoever starts the job has set one of Spark's settings."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        # spark-submit has started the JVM with all of them.
        SparkContext._ensure_initialized()
        return SparkConf().contains(name)
    return f"{name}=" in os.environ.get("PYSPARK_SUBMIT_ARGS", "")


def session(name: str, master: str | None) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master and master.startswith("local"):
        # Nobody else needs its page. With a cluster the executors must reach the driver.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName(name)
    # Under spark-submit its command line says it all (spark/submit).
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        # Executors find this package where the driver has it.
        package = str(pathlib.Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        os.environ["PYTHONPATH"] = path
        builder = builder.config("spark.executorEnv.PYTHONPATH", path).config("spark.jars", ",".join(jars()))
        if named := os.environ.get("VIGIE_SPARK_LIBRARY"):
            builder = builder.config("spark.executorEnv.VIGIE_SPARK_LIBRARY", named)
    # The name of a file, which every node has at the same place; a password never travels so.
    if named := os.environ.get("PGPASSFILE"):
        builder = builder.config("spark.executorEnv.PGPASSFILE", named)
    if master:
        builder = builder.master(master)
    for name, value in METRICS.items():
        if not is_given(name):
            builder = builder.config(name, value)
    return (
        builder.config("spark.sql.session.timeZone", "UTC")
        # Every executor's Python keeps its connection to PostgreSQL from task to task.
        .config("spark.python.worker.reuse", "true")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "20000")
        .config("spark.sql.streaming.numRecentProgressUpdates", "20")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


# Of a failed query these say hundreds of lines, again and again while a server is away; the job says why in one.
LOUD = {
    "org.apache.hadoop.util.Shell": "ERROR",
    "org.apache.kafka": "ERROR",
    "org.apache.spark.api.python": "OFF",
    "org.apache.spark.executor.Executor": "OFF",
    "org.apache.spark.scheduler.DAGScheduler": "ERROR",
    "org.apache.spark.scheduler.TaskSetManager": "OFF",
    "org.apache.spark.sql.execution.datasources.v2.WriteToDataSourceV2Exec": "OFF",
    "org.apache.spark.sql.execution.streaming": "OFF",
    "org.apache.spark.sql.kafka010": "OFF",
}


def quieten(spark: SparkSession) -> None:
    """Leaves to the log of the driver what is not said by the job's own lines."""
    spark.sparkContext.setLogLevel("WARN")
    log4j = spark.sparkContext._jvm.org.apache.logging.log4j
    for name, level in LOUD.items():
        log4j.core.config.Configurator.setLevel(name, log4j.Level.toLevel(level))
