"""The table of hostile fleets, and the accounting of their messages."""

import unittest
from collections import Counter

from vigie_harness.errors import UsageError
from vigie_harness.fleets import account, command, table

MANIFEST = {
    "readings": 70, "duplicates": 20, "conflicts": 4, "reports": 5, "rejected": {"not_json": 5, "too_large": 1},
    "streams": [{"gateway_id": "x-0001", "stream_id": "a", "first_seq": 1, "last_seq": 80, "lost": {"unknown": 10}}],
}  # fmt: skip


class Message:
    """A message of confluent_kafka's."""

    def __init__(self, value, key=b"x-0001", headers=None):
        self._value, self._key, self._headers = value, key, headers

    def value(self):
        return self._value

    def key(self):
        return self._key

    def headers(self):
        return self._headers

    def partition(self):
        return 2

    def offset(self):
        return 9


class Table(unittest.TestCase):
    def setUp(self):
        self.fleets = table.read()

    def test_it_has_thirty_fleets_that_differ(self):
        self.assertEqual(len(self.fleets), 30)
        self.assertEqual(len({fleet.name for fleet in self.fleets}), 30)
        self.assertEqual(len({fleet.hostile for fleet in self.fleets}), 30)

    def test_each_has_both_sizes_and_nobody_takes_another_ones_messages(self):
        for fleet in self.fleets:
            for size in ("small", "large"):
                for words in fleet.runs(size):
                    self.assertTrue(any(word.startswith("--count=") for word in words), fleet.name)
            for key in (f"{fleet.name}-0001", f"{fleet.name}-99999", f"{fleet.name}-0002/17", f"{fleet.name}-0003---"):
                self.assertEqual(account.fleet_of(key.encode()), fleet.name)

    def test_small_ones_share_a_processor_unless_it_is_set_otherwise(self):
        self.assertEqual([len(group) for group in command.groups(self.fleets, "small")], [29, 1])
        self.assertEqual(len(command.groups(self.fleets, "large")), 30)

    def test_a_name_that_is_not_there_is_refused(self):
        self.assertEqual([fleet.name for fleet in command.chosen(self.fleets, "late,holes")], ["holes", "late"])
        with self.assertRaises(UsageError):
            command.chosen(self.fleets, "late,later")


class Accounting(unittest.TestCase):
    def fleet(self, **rest):
        return table.Fleet("x", "", [""], "", "", **rest)

    def test_each_message_becomes_one_thing(self):
        found = account.expected_classes(self.fleet(), [MANIFEST])
        self.assertEqual(
            found,
            {"row": 70, "duplicate": 20, "sequence_conflict": 4, "report": 5, "not_json": 5, "too_large": 1},
        )
        self.assertEqual(sum(found.values()), 105)

    def test_what_comes_again_is_a_duplicate_and_what_is_rejected_is_so_each_time(self):
        found = account.expected_classes(self.fleet(repeats=3), [MANIFEST])
        self.assertEqual((found["row"], found["duplicate"], found["not_json"], found["report"]), (70, 200, 15, 15))
        found = account.expected_classes(self.fleet(rejected="future"), [MANIFEST])
        self.assertEqual((found["row"], found["future"]), (0, 90))

    def test_numbers_of_rejected_readings_are_lost(self):
        self.assertEqual(account.expected_losses(self.fleet(), [MANIFEST]), {"unknown": 10})
        found = account.expected_losses(self.fleet(rejected="future"), [MANIFEST])
        self.assertEqual(found, {"unknown": 10, "rejected": 70})

    def test_each_difference_is_a_sentence(self):
        self.assertEqual(account.differences("x", Counter(row=2), Counter(row=2)), [])
        self.assertEqual(
            account.differences("x", Counter(row=2, report=1), Counter(row=3, nothing=1, report=1)),
            ["x: 1 of nothing, expected 0", "x: 3 of row, expected 2"],
        )

    def test_messages_of_every_kind_are_read(self):
        reading = (
            b'{"gateway_id":"x-0001","sensor_id":"s","stream_id":"a","seq":7,"event_time":"2026-11-27T00:00:00.250Z"}'
        )
        row = account.sent_row(Message(reading))
        self.assertEqual(row[:8], (2, 9, "x", False, "x-0001", "s", "a", 7))
        self.assertEqual(row[8].isoformat(), "2026-11-27T00:00:00.250000+00:00")
        self.assertTrue(account.sent_row(Message(b'{"gateway_id":"x-0001","report":{}}'))[3])
        for value in (None, b"", b"[]", b"{", b"\xff", b"[" * 5000, b'{"seq":9e999}', b'{"gateway_id":"\\u0000"}'):
            self.assertEqual(account.sent_row(Message(value)), (2, 9, "x", False, None, None, None, None, None))
        self.assertEqual(account.sent_row(Message(b'{"seq":' + b"9" * 30 + b"}"))[7], None)

    def test_the_place_of_a_dead_letter_is_that_of_the_message(self):
        headers = [("vigie-reason", b"empty"), ("vigie-partition", b"1"), ("vigie-offset", b"5"), ("other", None)]
        self.assertEqual(account.rejected_row(Message(b"", headers=headers)), (1, 5, "empty"))
