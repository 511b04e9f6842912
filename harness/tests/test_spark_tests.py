"""The Spark job's tests in `make test`: where they cannot run that is said, and a failure if they have to."""

import contextlib
import io
import os
import subprocess
import unittest
from unittest import mock

from vigie_harness import spark_tests
from vigie_harness.test_run import skipped_test


class NotRun(unittest.TestCase):
    def run_with(self, *results, **environment):
        """The exit status, the tests that are said not to have run, and the calls."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
        output = io.StringIO()
        calls = mock.Mock(
            side_effect=[subprocess.CompletedProcess([], status, stderr=said) for status, said in results]
        )
        with (
            mock.patch.dict(os.environ, own | environment, clear=True),
            mock.patch.object(spark_tests.subprocess, "run", calls),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            status = spark_tests.main()
        lines = output.getvalue().splitlines()
        return status, [test for line in lines if (test := skipped_test(line))], calls.call_args_list

    def test_without_kafka_they_do_not_run(self):
        skipped = ["spark/tests: they need Apache Kafka"]
        self.assertEqual(self.run_with(VIGIE_KAFKA_KIND="stand-in"), (0, skipped, []))
        self.assertEqual(self.run_with(VIGIE_KAFKA_KIND="stand-in", VIGIE_SPARK_REQUIRED="1"), (1, skipped, []))

    def test_without_their_packages_they_do_not_run(self):
        gone = (1, "pip: no\nvigie: Spark's Python packages cannot be had: see above.\n")
        skipped = ["spark/tests: vigie: Spark's Python packages cannot be had: see above."]
        self.assertEqual(self.run_with(gone)[:2], (0, skipped))
        self.assertEqual(self.run_with(gone, VIGIE_SPARK_REQUIRED="1")[:2], (1, skipped))

    def test_without_the_connector_those_run_that_need_none(self):
        gone = (spark_tests.WITHOUT_CONNECTOR, "vigie: Spark's Kafka connector cannot be had: no.\n")
        status, skipped, calls = self.run_with(gone, (0, ""))
        self.assertEqual((status, skipped, len(calls)), (0, [], 2))
        self.assertIn("pytest", calls[1].args[0])
        status, skipped, calls = self.run_with(gone, VIGIE_SPARK_REQUIRED="1")
        self.assertEqual((status, len(skipped), len(calls)), (1, 1, 1))


if __name__ == "__main__":
    unittest.main()
