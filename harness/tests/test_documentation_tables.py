"""documentation/tables.md says what a migrated database has."""

import re
import subprocess
import unittest

from support import folder_of

from vigie_harness.checkout import ROOT, must_have, programs
from vigie_harness.postgres import Postgres

PAGE = ROOT / "documentation/tables.md"
# Tables and their columns, without the day partitions, which are as their parents.
COLUMNS = """
    SELECT c.relname, a.attname,
        replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz')
            || CASE WHEN a.attnotnull THEN '' ELSE ', null' END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""


class Tables(unittest.TestCase):
    def test_the_page_has_every_table_and_column_and_no_other(self):
        documented = {}
        table = None
        for line in PAGE.read_text().splitlines():
            if line.startswith("## "):
                table = documented.setdefault(line[3:], [])
            elif found := re.match(r"\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", line):
                self.assertGreater(len(found[3].strip()), 3, f"{line}: what does it mean?")
                table.append((found[1], found[2]))

        must_have(programs(), "vigie-processor")
        folder = folder_of(self)
        database = Postgres(folder / "postgres", durable=False).start()
        self.addCleanup(database.stop)
        configuration = folder / "processor.yaml"
        configuration.write_text(
            f'kafka: {{bootstrap: "127.0.0.1:9"}}\npostgres: {{connection: "{database.connection}"}}\n'
        )
        subprocess.run(
            [programs() / "vigie-processor", "migrate", "--config", configuration],
            check=True, capture_output=True, timeout=60)  # fmt: skip
        found = {}
        for line in database.psql(COLUMNS).splitlines():
            table, column, kind = line.split("|")
            found.setdefault(table, []).append((column, kind))
        self.maxDiff = None
        self.assertEqual(documented, found)


if __name__ == "__main__":
    unittest.main()
