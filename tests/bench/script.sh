#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# scripts/bench measures, writes both files, and finds what has become worse than an earlier file.
set -u
top=$1 build=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*" >&2
	cat "$dir/out" >&2
	exit 1
}

bench() {
	"$top/scripts/bench" --build "$build" --runs 2 --size 1000 --output "$dir/new" "$@" \
		>"$dir/out" 2>&1
}

# The earlier file: so slow that no noise reaches it, but for what was a thousand times as fast.
bench codec || fail "it does not run"
python3 - "$dir/new.json" "$dir/old.json" <<'END' || fail "the results are not what is documented"
import json
import sys

report = json.load(open(sys.argv[1]))
assert not report["failed"] and len(report["results"]) > 10, report
assert report["machine"]["cpu"] and report["machine"]["commit"]
for r in report["results"]:
    assert set(r) == {"name", "unit", "runs", "min", "median", "max", "baseline",
                      "baseline_median", "ratio"}, r
    assert r["runs"] == 2 and 0 < r["min"] <= r["median"] <= r["max"], r
    factor = 1000 if r["name"] == "codec.unmask" else 0.001
    for field in "min", "median", "max":
        r[field] *= factor
    r["ratio"] *= factor
json.dump(report, open(sys.argv[2], "w"))
END
grep -q '^| `codec.unmask` | bytes/s | 2 |' "$dir/new.md" || fail "no table"
grep -q 'not measured' "$dir/new.md" || fail "no goals"

bench --against "$dir/old.json" codec && fail "what has become worse was not found"
[ "$(grep -c '\*\*worse\*\*' "$dir/new.md")" = 1 ] || fail "not one is worse"
grep -q '`codec.unmask`.*\*\*worse\*\*' "$dir/new.md" || fail "another one is worse"
grep -q '`codec.connect.v5`.*\*\*better\*\*' "$dir/new.md" || fail "none is better"
tail -n 3 "$dir/out" | grep -q 'Worse than noise: codec.unmask$' || fail "it is not said"

# A benchmark that cannot run is no result.
bench codec nonsense && fail "what cannot run was not noticed"
grep -q 'Not measured: nonsense\.' "$dir/new.md" || fail "what cannot run is not named"
echo "ok: files, comparison, failure"
