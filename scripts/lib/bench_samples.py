#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes benchmark results, as mqtrack-bench prints them, of samples: lines of name, unit, value,
and where there is one the name of the baseline and what it is in words, separated by tabs."""
import json
import statistics
import sys


def results(lines):
    names, values = {}, {}
    for line in lines:
        name, unit, value, *baseline = line.rstrip("\n").split("\t")
        names.setdefault(name, (unit, *(baseline or ("", ""))))
        values.setdefault(name, []).append(float(value))
    for name, (unit, base, words) in names.items():
        found = values[name]
        median = statistics.median(found)
        base = statistics.median(values[base]) if base in values and base != name else None
        yield {"name": name, "unit": unit, "runs": len(found), "min": min(found),
               "median": median, "max": max(found),
               "baseline": None if base is None else words, "baseline_median": base,
               "ratio": median / base if base else None}


if __name__ == "__main__":
    json.dump(list(results(sys.stdin)), sys.stdout, indent=1)
