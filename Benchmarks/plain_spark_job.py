"""The job that `Benchmarks/spark` measures Vigie's beside: what Spark's documentation suggests, at least once.

    plain_spark_job.py MASTER BOOTSTRAP TOPIC JDBC-URL MESSAGES-A-BATCH

Spark's connector, from_json with the contract's fields, and rows and each batch's part of the windows by JDBC in
foreachBatch. Who reads a window adds up its parts. After each batch it prints how many messages are done.
"""

import os
import pathlib
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

QUANTITIES = ("temperature", "humidity", "co2", "pressure", "battery_level", "battery_voltage")
FIELDS = (
    "gateway_id string, sensor_id string, stream_id string, seq long, event_time timestamp, time_quality string, "
    "interval_ms long, " + ", ".join(f"{name} double" for name in QUANTITIES)
)


def main(master, bootstrap, topic, url, batch):
    jars = sorted(str(path) for path in pathlib.Path(os.environ["VIGIE_SPARK_JARS"]).glob("*.jar"))
    spark = (
        SparkSession.builder.appName("plain")
        .master(master)
        .config("spark.jars", ",".join(jars))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("WARN")
    properties = {
        "driver": "org.postgresql.Driver",
        "batchsize": "10000",
        "user": "plain",
        "password": os.environ["VIGIE_BENCHMARK_PASSWORD"],
    }
    aggregates = [F.count("*").alias("reading_count")] + [
        function(name).alias(f"{name}_{part}")
        for name in QUANTITIES
        for part, function in (("avg", F.avg), ("min", F.min), ("max", F.max), ("stddev", F.stddev_pop))
    ]
    done = 0

    def write(rows, _):
        nonlocal done
        rows = rows.persist()
        rows.where("seq IS NOT NULL").write.jdbc(url, "plain_row", mode="append", properties=properties)
        for size in ("10 minutes", "1 minute"):
            windows = rows.where("seq IS NOT NULL").groupBy(
                F.window("event_time", size, "1 minute").alias("window"), "gateway_id", "sensor_id"
            )
            windows.agg(*aggregates).select(
                "gateway_id", "sensor_id", F.col("window.start").alias("window_start"),
                F.col("window.end").alias("window_end"), "reading_count",
                *(f"{name}_{part}" for name in QUANTITIES for part in ("avg", "min", "max", "stddev")),
            ).write.jdbc(url, "plain_window", mode="append", properties=properties)  # fmt: skip
        done += rows.count()
        rows.unpersist()
        print(f"done {done}", flush=True)

    query = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("kafka.isolation.level", "read_committed")
        .option("maxOffsetsPerTrigger", batch)
        .load()
        .select(
            F.from_json(F.col("value").cast("string"), FIELDS).alias("reading"),
            F.col("partition").alias("kafka_partition"),
            F.col("offset").alias("kafka_offset"),
        )
        .select("reading.*", "kafka_partition", "kafka_offset")
        .writeStream.foreachBatch(write)
        .start()
    )
    query.awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
