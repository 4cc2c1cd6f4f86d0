#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How benchmark results are judged and shown."""
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))
import bench_report as report  # noqa: E402
import bench_samples as samples  # noqa: E402


def result(low, median, high, unit="opens/s", ratio=None, name="cm.open"):
    return {"name": name, "unit": unit, "runs": 3, "min": low, "median": median, "max": high,
            "baseline": "bare" if ratio else None, "ratio": ratio,
            "baseline_median": median / ratio if ratio else None}


class Judge(unittest.TestCase):
    def word(self, new, old):
        return report.judge(new, old)[1]

    def test_ranges_that_meet_are_noise(self):
        self.assertEqual(self.word(result(70, 80, 91), result(90, 100, 110)), "")

    def test_ranges_apart_by_little_are_noise(self):
        self.assertEqual(self.word(result(96, 96, 96), result(100, 100, 100)), "")

    def test_fewer_a_second_is_worse(self):
        self.assertEqual(self.word(result(70, 80, 89), result(90, 100, 110)), "worse")
        self.assertEqual(self.word(result(90, 100, 110), result(70, 80, 89)), "better")

    def test_more_time_or_memory_is_worse(self):
        for unit in "us", "ns", "bytes":
            new, old = result(110, 120, 130, unit), result(90, 100, 105, unit)
            self.assertEqual(self.word(new, old), "worse")
            self.assertEqual(self.word(old, new), "better")

    def test_what_fell_with_its_baseline_is_the_machine(self):
        old = result(90, 100, 110, ratio=0.5)
        self.assertEqual(self.word(result(70, 80, 89, ratio=0.49), old), "machine")
        self.assertEqual(self.word(result(70, 80, 89, ratio=0.4), old), "worse")

    def test_another_baseline_excuses_nothing(self):
        new = dict(result(70, 80, 89, ratio=0.5), baseline="another")
        self.assertEqual(self.word(new, result(90, 100, 110, ratio=0.5)), "worse")

    def test_zero(self):
        zero = result(0, 0, 0, "bytes")
        self.assertEqual(report.judge(zero, zero), (None, ""))
        self.assertEqual(report.judge(result(1, 1, 1, "bytes"), zero), (None, "differs"))


class Figure(unittest.TestCase):
    def test_three_digits(self):
        for value, text in ((0.1234, "0.123"), (7, "7"), (512, "512"), (9876, "9876"),
                            (12345, "12.3 k"), (8.714e6, "8.71 M"), (4.5e11, "450 G"),
                            (None, "")):
            self.assertEqual(report.figure(value), text)


class Goals(unittest.TestCase):
    results = {r["name"]: r for r in (result(1, 2, 3, ratio=0.7, name="a"),
                                      result(4, 8, 9, name="b"))}

    def reached(self, **goal):
        (row,) = report.goal_rows([dict(goal, goal="it")], self.results)
        return row[-1]

    def test_reached_or_not(self):
        self.assertEqual(self.reached(name="a", at_least=2), "yes")
        self.assertEqual(self.reached(name="a", at_least=2.1), "**no**")
        self.assertEqual(self.reached(name="a", at_most=2), "yes")
        self.assertEqual(self.reached(name="a", at_most=1.9), "**no**")

    def test_ratio_to_baseline(self):
        self.assertEqual(self.reached(name="a", field="ratio", at_least=0.7), "yes")
        self.assertEqual(self.reached(name="a", field="ratio", at_least=0.8), "**no**")

    def test_ratio_to_another(self):
        self.assertEqual(self.reached(name="a", over="b", at_least=0.25), "yes")
        self.assertEqual(self.reached(name="a", over="b", at_least=0.3), "**no**")

    def test_what_was_not_measured_is_not_reached(self):
        self.assertEqual(self.reached(name="c", at_least=0), "not measured")
        self.assertEqual(self.reached(name="a", over="c", at_least=0), "not measured")
        self.assertEqual(self.reached(name="b", field="ratio", at_least=0), "not measured")


class Samples(unittest.TestCase):
    def test_samples_become_results_beside_their_baseline(self):
        lines = ["a\tx/s\t4\n", "b\tx/s\t3\ta\tthe other\n", "a\tx/s\t8\n",
                 "b\tx/s\t1\ta\tthe other\n", "b\tx/s\t2\ta\tthe other\n"]
        a, b = samples.results(lines)
        self.assertEqual((a["runs"], a["min"], a["median"], a["max"]), (2, 4, 6, 8))
        self.assertEqual((a["baseline"], a["ratio"]), (None, None))
        self.assertEqual((b["median"], b["baseline"], b["baseline_median"]), (2, "the other", 6))
        self.assertAlmostEqual(b["ratio"], 1 / 3)

    def test_a_baseline_that_was_not_measured_is_none(self):
        (only,) = samples.results(["b\tx/s\t3\ta\tthe other\n"])
        self.assertEqual((only["baseline"], only["baseline_median"], only["ratio"]),
                         (None, None, None))


if __name__ == "__main__":
    unittest.main()
