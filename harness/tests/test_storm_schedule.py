"""The storm's schedule: the same for the same seed, and never two faults that need the same thing."""

import unittest
import unittest.mock

from vigie_harness.storm import command
from vigie_harness.storm.faults import BY_NAME, KINDS
from vigie_harness.storm.report import Entry, ranges
from vigie_harness.storm.run import schedule
from vigie_harness.storm.schedule import draw
from vigie_harness.storm.world import layout


class ScheduleTests(unittest.TestCase):
    def test_the_same_seed_gives_the_same_schedule(self):
        for nodes in (1, 3):
            one = draw(KINDS, layout(nodes, True), 7, 300)
            self.assertEqual(one, draw(KINDS, layout(nodes, True), 7, 300))
            self.assertNotEqual(one, draw(KINDS, layout(nodes, True), 8, 300))

    def test_faults_overlap_but_never_need_the_same_thing(self):
        for seed in range(30):
            there = layout(3, True)
            faults = draw(KINDS, there, seed, 200)
            self.assertEqual([fault.number for fault in faults], list(range(1, 201)))
            self.assertEqual(sorted(faults, key=lambda fault: fault.at), faults)
            busy = {}
            overlaps = 0
            latest = 0.0
            for fault in faults:
                for need in BY_NAME[fault.kind].needs(fault.target, there):
                    self.assertLessEqual(busy.get(need, 0.0), fault.at, f"seed {seed}: {fault}")
                    busy[need] = fault.end
                overlaps += fault.at < latest
                latest = max(latest, fault.end)
            self.assertGreater(overlaps, 50, f"seed {seed}")

    def test_faults_come_as_often_as_asked(self):
        faults = draw(KINDS, layout(1, True), 1, 1000, every=1.5)
        self.assertAlmostEqual(faults[-1].at / 1000, 1.5, delta=0.25)

    def test_every_kind_comes_and_every_process_is_struck(self):
        for nodes in (1, 3):
            there = layout(nodes, True)
            faults = draw(KINDS, there, 3, 1000)
            expected = {kind.name for kind in KINDS if kind.targets(there)}
            self.assertEqual({fault.kind for fault in faults}, expected)
            for kind in ("kill", "pause", "terminate"):
                struck = {fault.target for fault in faults if fault.kind == kind}
                self.assertEqual(struck, {*there.gateways, *there.processors, *there.nodes, "postgres"})
            added = sum(fault.kind == "add partition" for fault in faults)
            self.assertEqual(added, there.partitions_to_add)

    def test_one_node_has_no_leader_to_lose_and_a_user_without_rights_fills_no_disk(self):
        kinds = {fault.kind for fault in draw(KINDS, layout(1, False), 3, 1000)}
        self.assertNotIn("kill leader", kinds)
        self.assertNotIn("disk full", kinds)

    def test_a_short_storm_has_short_faults(self):
        for fault in draw(KINDS, layout(1, True), 5, 60):
            self.assertLessEqual(fault.duration, 60 / 7 + 0.001)
        self.assertGreater(max(fault.duration for fault in draw(KINDS, layout(1, True), 5, 500)), 30)

    def test_many_faults_are_several_storms(self):
        arguments = command.parser().parse_args(["--seed", "10", "--faults", "601", "--nodes", "3"])
        found = command.plans(arguments)
        self.assertEqual([(plan.seed, plan.faults) for plan in found], [(10, 201), (11, 200), (12, 200)])
        self.assertEqual({plan.nodes for plan in found}, {3})

    def test_a_storm_may_be_of_some_kinds_only(self):
        arguments = command.parser().parse_args(["--seed", "1", "--faults", "50", "--only", "kill, black hole"])
        (plan,) = command.plans(arguments)
        self.assertEqual({fault.kind for fault in schedule(plan, layout(1, True))}, {"kill", "black hole"})
        self.assertEqual(plan.command, "vigie-storm --seed 1 --faults 50 --nodes 1 --only 'kill, black hole'")

    def test_a_group_is_all_of_its_kinds(self):
        arguments = command.parser().parse_args(["--seed", "1", "--faults", "80", "--only", "outbox, refuse"])
        (plan,) = command.plans(arguments)
        kinds = {fault.kind for fault in schedule(plan, layout(1, True))}
        self.assertEqual(kinds, {"outbox deleted", "older outbox", "outbox damaged", "outbox cloned", "refuse"})
        arguments = command.parser().parse_args(["--seed", "1", "--faults", "20", "--only", "log"])
        (plan,) = command.plans(arguments)
        faults = schedule(plan, layout(1, True))
        self.assertEqual({fault.kind for fault in faults}, {"log cut", "topic made anew"})
        self.assertEqual({fault.target for fault in faults}, {"under running processors", "under stopped processors"})

    def test_a_command_line_without_sense_is_refused(self):
        for words in (["--faults", "0"], ["--nodes", "2"], ["--seed", "x"], ["--only", "rain"]):
            with self.subTest(words), self.assertRaises(SystemExit) as refused, unittest.mock.patch("sys.stderr"):
                command.parser().parse_args(words)
            self.assertEqual(refused.exception.code, 2)


class ReportTests(unittest.TestCase):
    def test_adjacent_numbers_are_one_range(self):
        readings = [("b", "s", 9, 9), ("a", "s", 3, 3), ("a", "s", 1, 2), ("a", "s", 5, 8), ("a", "t", 9, 9)]
        self.assertEqual(ranges(readings), [("a", "s", 1, 3), ("a", "s", 5, 8), ("a", "t", 9, 9), ("b", "s", 9, 9)])

    def test_a_fault_belongs_to_the_times_that_it_overlaps(self):
        (fault,) = draw(KINDS, layout(1, True), 1, 1)
        entry = Entry(fault, began=10, ended=12)
        self.assertTrue(entry.overlaps(0, 10))
        self.assertTrue(entry.overlaps(12, 20))
        self.assertFalse(entry.overlaps(0, 9.9))
        self.assertFalse(entry.overlaps(12.1, 20))
        self.assertTrue(Entry(fault, began=10).overlaps(100, 110), "it is still under way")


if __name__ == "__main__":
    unittest.main()
