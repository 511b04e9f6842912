"""The frame: views, languages, and what is said when there is nothing to show."""

import unittest
from unittest import mock

import psycopg

from vigie_dashboard import database
from vigie_harness.dashboard.application import application, scratch_database, small_plan, view_alone, words


class Frame(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = cls.enterClassContext(scratch_database(small_plan()))

    def test_each_view_shows_without_a_fault(self):
        for view in ("now", "trend", "operation"):
            with self.subTest(view), view_alone(view, self.address) as test:
                test.run()
                self.assertFalse(test.exception)
                self.assertNotIn("Something went wrong", words(test))


class States(unittest.TestCase):
    def test_empty_database(self):
        with scratch_database() as address, application(address) as test:
            self.assertIn("No readings yet", words(test.run()))
            test.button_group(key="lang").set_value("fr").run()
            self.assertIn("Pas encore de mesure", words(test))

    def test_the_url_names_the_language(self):
        with scratch_database() as address, application(address) as test:
            test.query_params["lang"] = "fr"
            self.assertIn("Pas encore de mesure", words(test.run()))

    def test_database_of_something_else(self):
        with scratch_database() as address:
            with psycopg.connect(address) as connection:
                connection.execute("DROP TABLE sensor_data")
            with application(address) as test:
                self.assertIn("This is no Vigie database", words(test.run()))

    def test_older_schema(self):
        with scratch_database() as address:
            with psycopg.connect(address) as connection:
                connection.execute("DELETE FROM schema_migration WHERE number > 2")
            with application(address) as test:
                self.assertIn("The database is of an older version", words(test.run()))

    def test_database_away(self):
        with (
            mock.patch.object(database, "CONNECT_SECONDS", 1.0),
            application("host=127.0.0.1 port=1 dbname=vigie") as test,
        ):
            self.assertIn("The database is away", words(test.run()))

    def test_settings_are_missing(self):
        with application(None) as test:
            self.assertIn("VIGIE_POSTGRES is not set", words(test.run()))

    def test_a_login_without_rights(self):
        with scratch_database() as address:
            with psycopg.connect(address) as connection:
                connection.execute("CREATE ROLE dashboard_nobody LOGIN")
            try:
                with application(address + " options='-c role=dashboard_nobody'") as test:
                    self.assertIn("may not read the tables", words(test.run()))
            finally:
                with psycopg.connect(address) as connection:
                    connection.execute("DROP ROLE dashboard_nobody")


if __name__ == "__main__":
    unittest.main()
