#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# scripts/bench keeps to its time, and says by name what is not measured and why. The benchmarks are
# played, by a script that does what its command is called.
set -u
top=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*" >&2
	cat "$dir/out" >&2
	exit 1
}

mkdir -p "$dir/build/app/mqtrack-bench"
bench=$dir/build/app/mqtrack-bench/mqtrack-bench
cat >"$bench" <<'END'
#!/bin/bash
echo "$*" >>"$(dirname "$0")/calls"
result='{"name": "x", "unit": "x/s", "runs": 1, "min": 1, "median": 1, "max": 1,
	"baseline": null, "baseline_median": null, "ratio": null}'
case $1 in
--list) printf '%s\n' measures idle ;;
measures | idle) echo "[$result]" ;;
skips)
	echo "mqtrack-bench: memory in 4 KiB pages" >&2
	echo "mqtrack-bench: skipped: a size: it takes more" >&2
	echo "[$result]"
	;;
hangs) exec sleep 600 ;;
stays)
	trap '' TERM
	echo "mqtrack-bench: nothing works" >&2
	for ((i = 0; i < 600; i++)); do sleep 1; done
	;;
END
printf 'esac\n' >>"$bench"
chmod +x "$bench"

run() {
	: >"$dir/build/app/mqtrack-bench/calls"
	"$top/scripts/bench" --build "$dir/build" --output "$dir/new" "$@" >"$dir/out" 2>&1
}

called() {
	grep -qxe "$*" "$dir/build/app/mqtrack-bench/calls" || fail "not called as: $*"
}

run measures skips || fail "it does not run"
grep -qx '  skipped: a size: it takes more' "$dir/out" || fail "what is skipped is not said"
grep -qx 'Skipped: a size: it takes more\.' "$dir/new.md" || fail "what is skipped is not written"
python3 -c 'import json, sys
assert json.load(open(sys.argv[1]))["skipped"] == ["a size: it takes more"]' "$dir/new.json" ||
	fail "what is skipped is not in the JSON"

run --limit 1 hangs measures && fail "what hangs was not noticed"
grep -qx 'hangs: FAILED, not done in 1 s' "$dir/out" || fail "the limit is not said"
grep -q 'Not measured: hangs\.' "$dir/new.md" || fail "what hangs is not named"
called measures --json

# What does not even end when it is told to takes the time of the next one, which must not be told what
# was wrong with it.
run --within 12 stays measures skips && fail "what was not begun was not noticed"
grep -qx 'stays: FAILED, not done in [0-9] s' "$dir/out" || fail "the end was not waited for"
grep -qx 'measures: FAILED, no time was left for it' "$dir/out" || fail "it was begun"
[ "$(grep -c 'nothing works' "$dir/out")" = 1 ] || fail "the reason is told twice, or not at all"
grep -q 'Not measured: stays, measures' "$dir/new.md" || fail "they are not named"

run --quick || fail "no quick run"
called measures --json --runs 2 --size 50000
called idle --json --runs 2 --size 300
run --quick --runs 7 --within 80 measures || fail "no quick run in a short time"
called measures --json --runs 1 --size 50000 --runs 7
echo "ok: limits, what is skipped, quick runs"
