#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Puts together what benchmarks measured: one JSON file with the facts of the machine, a Markdown
table, a comparison with an earlier file, and which goals were reached.

A result is {name, unit, runs, min, median, max, baseline, baseline_median, ratio}. Two results of
one name differ by more than noise where their ranges from minimum to maximum do not meet, and the
medians lie more than FLOOR apart. Where both have a baseline and the ratio to it has not changed
by more than FLOOR, it is the machine that has changed.
"""
import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
FLOOR = 0.05


# --- the machine ---------------------------------------------------------------------------------

def output_of(*command):
    try:
        done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "?"
    return done.stdout.strip()


def line_of(path, pattern):
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    return found.group(1).strip() if found else "?"


def build_options(directory):
    try:
        options = json.loads(Path(directory, "meson-info/intro-buildoptions.json").read_text("utf-8"))
    except (OSError, TypeError, ValueError):
        return "?"
    wanted = ("buildtype", "b_lto", "b_ndebug", "b_sanitize", "native")
    return " ".join(f"{o['name']}={o['value']}" for o in options if o["name"] in wanted)


def machine(directory):
    virtual = "hypervisor" in line_of("/proc/cpuinfo", r"^flags\s*:(.*)").split()
    huge = [line_of("/proc/meminfo", rf"^HugePages_{what}:\s*(\d+)") for what in ("Total", "Free")]
    return {
        "cpu": line_of("/proc/cpuinfo", r"^model name\s*:(.*)") + (", virtual" if virtual else ""),
        "cores": len(os.sched_getaffinity(0)),
        "memory": line_of("/proc/meminfo", r"^MemTotal:\s*(.*)"),
        "huge pages": f"{huge[0]} of {line_of('/proc/meminfo', r'^Hugepagesize: *(.*)')}, "
                      f"{huge[1]} free",
        "kernel": os.uname().release,
        "load": " ".join(f"{v:.2f}" for v in os.getloadavg()),
        "DPDK": output_of("pkg-config", "--modversion", "libdpdk"),
        "compiler": output_of("gcc", "--version").split("\n", maxsplit=1)[0],
        "build": build_options(directory),
        "commit": output_of("git", "describe", "--always", "--dirty"),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


# --- comparing -----------------------------------------------------------------------------------

def more_is_better(result):
    return result["unit"].endswith("/s") or result["unit"] in ("bit/s", "Mpps")


def judge(new, old):
    """How new compares with old: ratio of the medians, and a word where it differs: better, worse,
    machine (worse or better only as much as the baseline beside it)."""
    if not old["median"] or not new["median"]:
        return None, "" if old["median"] == new["median"] else "differs"
    ratio = new["median"] / old["median"]
    apart = new["min"] > old["max"] or new["max"] < old["min"]
    if not apart or abs(ratio - 1) <= FLOOR:
        return ratio, ""
    if new.get("ratio") and old.get("ratio") and new["baseline"] == old["baseline"] and \
            abs(new["ratio"] / old["ratio"] - 1) <= FLOOR:
        return ratio, "machine"
    return ratio, "better" if (ratio > 1) == more_is_better(new) else "worse"


# --- Markdown ------------------------------------------------------------------------------------

def figure(value):
    """Three digits that matter, as 8.71 M."""
    if value is None:
        return ""
    for limit, scale, letter in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if abs(value) >= limit:
            return figure(value / scale) + letter
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(head, rows):
    """@p head: columns; those that end with : are numbers."""
    yield "| " + " | ".join(h.rstrip(":") for h in head) + " |"
    yield "|" + "|".join("--:" if h.endswith(":") else "---" for h in head) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


def result_rows(results, old):
    for r in results:
        row = [f"`{r['name']}`", r["unit"], r["runs"], figure(r["min"]), figure(r["median"]),
               figure(r["max"]), r["baseline"] or "", figure(r["baseline_median"]),
               "" if r["ratio"] is None else f"{r['ratio']:.2f}"]
        if old is not None:
            ratio, word = judge(r, old[r["name"]]) if r["name"] in old else (None, "new")
            row += ["" if ratio is None else f"{ratio:.2f}", f"**{word}**" if word else ""]
        yield row


def goal_value(goal, results):
    """What was measured for a goal, or None."""
    result = results.get(goal["name"])
    if result is None:
        return None
    value = result[goal.get("field", "median")]
    if value is None or "over" not in goal:
        return value
    other = results.get(goal["over"])
    return value / other["median"] if other and other["median"] else None


def goal_rows(goals, results):
    for goal in goals:
        value = goal_value(goal, results)
        at_least = "at_least" in goal
        limit = goal["at_least" if at_least else "at_most"]
        if value is None:
            reached = "not measured"
        else:
            reached = "yes" if (value >= limit if at_least else value <= limit) else "**no**"
        aim = f", aim {figure(goal['aim'])}" if "aim" in goal else ""
        what = f"`{goal['name']}`"
        if "over" in goal:
            what += f" / `{goal['over']}`"
        elif goal.get("field") == "ratio":
            what += ", its ratio"
        yield [goal["goal"], what, ("≥ " if at_least else "≤ ") + figure(limit) + aim,
               figure(value), reached]


def markdown(report, goals, old):
    yield "## Machine\n"
    yield from table(("", " "), report["machine"].items())
    yield "\n## Results\n"
    head = ["name", "unit", "runs:", "min:", "median:", "max:", "baseline", "its median:", "ratio:"]
    by_name = {r["name"]: r for r in report["results"]}
    yield from table(head + ([] if old is None else ["to earlier:", " "]),
                     result_rows(report["results"], old))
    for what in report["skipped"]:
        yield f"\nSkipped: {what}."
    if report["failed"]:
        yield f"\nNot measured: {', '.join(report['failed'])}."
    gone = [name for name in old or () if name not in by_name]
    if gone:
        yield f"\nIn the earlier file only: {', '.join(gone)}."
    if goals:
        yield "\n## Goals\n"
        yield from table(("goal", "by", "wanted", "measured:", "reached"),
                         goal_rows(goals, by_name))


# --- the whole -----------------------------------------------------------------------------------

def parse_args(args):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--results", type=Path, required=True,
                        help="directory of NAME.json, and of skipped, a line each")
    parser.add_argument("--output", required=True, help="FILE.json and FILE.md are written")
    parser.add_argument("--build", help="directory of what was measured")
    parser.add_argument("--against", type=Path, help="an earlier FILE.json")
    parser.add_argument("--goals", type=Path)
    parser.add_argument("--mode", default="")
    parser.add_argument("names", nargs="+")
    return parser.parse_args(args)


def collect(directory, names):
    """Results of these names, and the names without any."""
    results, failed = [], []
    for name in names:
        path = directory / f"{name}.json"
        found = json.loads(path.read_text("utf-8")) if path.is_file() else []
        results += found
        if not found:
            failed.append(name)
    return results, failed


def main(args):
    args = parse_args(args)
    results, failed = collect(args.results, args.names)
    skipped = args.results / "skipped"
    report = {"machine": machine(args.build), "mode": args.mode or "full", "failed": failed,
              "skipped": skipped.read_text("utf-8").splitlines() if skipped.is_file() else [],
              "results": results}
    old = None
    if args.against:
        old = {r["name"]: r for r in json.loads(args.against.read_text("utf-8"))["results"]}
    goals = json.loads(args.goals.read_text("utf-8"))["goals"] if args.goals else []
    text = "\n".join(markdown(report, goals, old)) + "\n"
    Path(args.output + ".json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    Path(args.output + ".md").write_text(text, "utf-8")
    print(text, end="")
    worse = [r["name"] for r in results
             if old and r["name"] in old and judge(r, old[r["name"]])[1] == "worse"]
    if worse:
        print(f"\nWorse than noise: {', '.join(worse)}")
    return 1 if failed or worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
