#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# scripts/bench-peers measures the tracker beside others, and leaves nothing behind.
set -u
MQT_TOP=${MQT_TOP:-$(cd "$(dirname "$0")/../.." && pwd)}
MQT_BUILD=${MQT_BUILD:-$MQT_TOP/build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*" >&2
	cat "$dir/out" >&2
	exit 1
}

"$MQT_TOP/scripts/bench-peers" --quick --seconds 0.2 --build "$MQT_BUILD" --output "$dir/peers" \
	bridge conntrack haproxy mqtrack >"$dir/out" 2>&1
status=$?
if [ "$status" = 77 ]; then
	cat "$dir/out"
	exit 77
fi
[ "$status" = 0 ] || fail "it ended with status $status"
grep 'skipped' "$dir/out"
python3 - "$dir/peers.json" <<'END' || fail "the results are not what they should be"
import json
import sys

results = {r["name"]: r for r in json.load(open(sys.argv[1]))["results"]}
skipped = {line.split(":")[0] for line in open(sys.argv[1].replace("peers.json", "out"))
           if ": skipped: " in line}
for peer in {"bridge", "conntrack", "haproxy", "mqtrack"} - skipped:
    for what in "connects", "latency.p50_us", "latency.p99_us", "packets":
        result = results[f"peers.{what}.{peer}"]
        assert result["median"] > 0, result
        assert (result["ratio"] is None) == (peer == "bridge"), result
    assert results[f"peers.connects.failed.{peer}"]["median"] == 0, peer
    print(f"ok: {peer} was measured")
END
ip netns list >"$dir/left"
for pid in $(sed -n 's/^Namespaces: mqt-\([0-9]*\)-.*/\1/p' "$dir/out"); do
	! grep -q "^mqt-$pid-" "$dir/left" || fail "namespaces are left"
	echo "ok: nothing is left"
done
grep -q '^Namespaces: mqt-' "$dir/out" || fail "it does not say where"
