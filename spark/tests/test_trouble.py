"""What the job says of errors: why, in one line, and once."""

import logging

import pytest

from vigie_spark.trouble import Trouble, root_cause

pytestmark = pytest.mark.ci
STATE = """
=== Streaming Query ===
Identifier: vigie [id = f678c7af, runId = 688142bc]
Current Available Offsets: {KafkaV2[Subscribe[readings]]: {"readings":{"0":418,"1":418}}}
Logical Plan:
~WriteToMicroBatchDataSourceV1 ForeachBatchSink, f678c7af, [queryName=vigie], Append
"""
OF_A_TASK = """[STREAM_FAILED] Query [id = f678c7af, runId = 688142bc] terminated with exception: Traceback (most \
recent call last):
  File "job.py", line 181, in _run
    self._commit(frame, batch)
pyspark.errors.exceptions.captured.PythonException: An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "task.py", line 57, in commit
    stored = self.database.position(planned.partition)
psycopg.OperationalError: connection failed: No such file or directory
\tIs the server running locally?
 SQLSTATE: 39000 SQLSTATE: XXKST"""
OF_SPARK = (
    "[STREAM_FAILED] Query [id = 25168dfc] terminated with exception: File commits does not exist SQLSTATE: XXKST"
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (OF_A_TASK + STATE, "psycopg.OperationalError: connection failed: No such file or directory"),
        (OF_SPARK + STATE, "File commits does not exist"),
        ("plain", "plain"),
        ("", "RuntimeError('')"),
    ],
)
def test_the_root_cause_is_one_line(text, cause):
    assert root_cause(RuntimeError(text)) == cause


def test_a_trouble_is_told_once_and_its_end(caplog):
    caplog.set_level(logging.INFO, "vigie.spark")
    trouble = Trouble("the query does not run")
    trouble.end()
    for text in ("no route to port 1234", "no route to port 1235", "refused", "no route to port 9", "refused"):
        trouble.tell(text)
    trouble.end()
    trouble.tell("refused")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == ["the query does not run: no route to port 1234", "the query does not run: refused"]
    assert lines[2].startswith("that is over after") and len(lines) == 4
