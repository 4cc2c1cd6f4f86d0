#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A bad wire on both sides of the tracker (wire.c): segments are lost, repeated, repeated late and
# overtaken by others, while clients come and go in every way (lossy.py). When all is settled the
# clients, the brokers and the tracker must agree on who is connected and what was said. A longer
# run by hand: LOSSY_SEED, LOSSY_CLIENTS, LOSSY_SECONDS, LOSSY_WIRE, LOSSY_WORKERS.
. "$(dirname "$0")/prelude.sh"
SEED=${LOSSY_SEED:-1}
WIRE=${LOSSY_WIRE:-delay_us=500 loss=10 twice=30 stale=10 late=100 spread_us=10000 stale_us=1000000}
EAST=192.0.2.13 EAST6=2001:db8::13
HERE=$MQT_TOP/tests/system

cc -D_GNU_SOURCE -std=c17 -O2 -Wall -Werror -o "$LAB_DIR/wire" "$HERE/wire.c" ||
	fail "the wire does not build"

# bad_wire INTERFACE SEED: puts one between the tracker's interface and its far end.
bad_wire() {
	ip -n "$LAB-trk" link set "$1" down
	ip -n "$LAB-trk" link set "$1" name "far-$1"
	ip -n "$LAB-trk" link add name "near-$1" type veth peer name "$1"
	local end
	for end in "far-$1" "near-$1" "$1"; do
		trk ethtool -K "$end" tx off gro off >/dev/null
		ip -n "$LAB-trk" link set "$end" up
	done
	# shellcheck disable=SC2086 # words
	lab_spawn trk "wire-$1" "$LAB_DIR/wire" "far-$1" "near-$1" "$2" $WIRE
	WIRES+=("$LAB_PID")
	expect_soon "a bad wire at $1" grep -q ready "$LAB_DIR/wire-$1.log"
}

WIRES=()
bad_wire out0 "$SEED"
bad_wire in0 "$((SEED + 1))"

# A third broker, whose host takes the payload of a SYN, without a cookie.
brk sysctl -qw net.ipv4.tcp_fastopen=0x603
cli sysctl -qw net.ipv4.tcp_fastopen=5 net.ipv4.tcp_fastopen_blackhole_timeout_sec=0 \
	net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range="20000 60000"
ip -n "$LAB-brk" address add "$EAST/24" dev b0
ip -n "$LAB-brk" address add "$EAST6/64" dev b0 nodad
lab_broker east "$EAST" "$EAST6" || fail "no third broker"

# That a worker waits for its CPU, or how much room there is, is not what is looked at here.
lab_tracker "${LOSSY_WORKERS:-2}" 'limits:
  max_embryos: 262144
  reorder_per_flow: 255
  stall_ms: 10000
  stepdown_local_ms: 10000' || fail "no tracker"

LOSSY_LOGS=$LAB_DIR LOSSY_BROKERS=$LAB-brk EAST=$EAST EAST6=$EAST6 LOSSY_SEED=$SEED py <<'END_PY' ||
import lossy
lossy.main()
END_PY
	fail "on a bad wire"

for wire in "${WIRES[@]}"; do
	lab_end "$wire"
	expect "the wire ended in order" [ "$LAB_STATUS" = 0 ]
done
cat "$LAB_DIR"/wire-*.log
expect "it was a bad one" sh -c "! grep -h ' [0-9]* frames' '$LAB_DIR'/wire-*.log | grep -q ' 0 '"
