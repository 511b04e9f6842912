"""Vigie's processor on Apache Spark: the same topic, the same tables, the same promise.

The modules in the order in which a batch passes them: `settings` and `quantities` say what is expected, `native`,
`strict` and `decoding` make columns of messages, `streams`, `admission`, `rules` and `windows` decide without any
input or output, `tables` has the SQL, `transaction` writes a range of one partition, `kafka` and `offsets` recognise
the log, and `job` runs it all on Spark.
"""

__version__ = "1.0.0"
