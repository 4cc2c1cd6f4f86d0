#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGTERM and SIGINT end the tracker cleanly, with clients connected; it starts again at once, and a
# second one on the same socket is refused.
. "$(dirname "$0")/prelude.sh"

for signal in TERM INT; do
	lab_tracker 2 || fail "no tracker"
	lab_sub "during-$signal" -h "$NORTH" -i during -t t
	sub=$LAB_PID
	expect_soon "a client is connected" grep -q 'received SUBACK' "$LAB_DIR/during-$signal.log"
	expect "the socket is there" [ -S "$LAB_SOCKET" ]
	lab_end "$LAB_TRACKER" "$signal"
	LAB_TRACKER=
	expect "SIG$signal ends it with status 0 (got $LAB_STATUS)" [ "$LAB_STATUS" = 0 ]
	expect "the socket is removed" [ ! -e "$LAB_SOCKET" ]
	expect "its packet sockets are closed" [ -z "$(trk ss -0 -H)" ]
	ctl info >/dev/null 2>&1
	expect "mqtrackctl says that nobody answers, status 2" [ $? = 2 ]
	lab_end "$sub"
done

# What a killed one leaves behind does not keep the next from starting.
lab_tracker || fail "no tracker"
lab_end "$LAB_TRACKER" KILL
expect "a stale socket is there" [ -S "$LAB_SOCKET" ]
lab_tracker || fail "no start over a stale socket"

sed 's/net_af_packet\(.\).*/net_null\1/' "$LAB_DIR/mqtrackd.yaml" >"$LAB_DIR/second.yaml"
cpu=$(lab_cpus | head -n 1)
timeout 30 "$MQT_BUILD/app/mqtrackd/mqtrackd" --file-prefix "$LAB-second" \
	--lcores "0@$cpu,1@$cpu" -- --config "$LAB_DIR/second.yaml" >"$LAB_DIR/second.log" 2>&1
status=$?
expect "a second one on the same socket ends with an error (status $status)" \
	[ "$status" -ne 0 -a "$status" -ne 124 ]
expect "that names the socket" grep -q "$LAB_SOCKET" "$LAB_DIR/second.log"
expect "the first still answers" ctl info
rm -rf "/var/run/dpdk/$LAB-second"
