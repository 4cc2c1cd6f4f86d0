#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A port that goes down, and one that disappears, stop the traffic and nothing else: the tracker
# lives, answers, and ends cleanly.
. "$(dirname "$0")/prelude.sh"
lab_tracker 2 || fail "no tracker"
lab_sub sub -h "$NORTH" -i stays -t t -k 60
expect_soon "a client is connected" grep -q 'received SUBACK' "$LAB_DIR/sub.log"

link() { ctl info | grep -qE "^ports\.$1\.link +$2\$"; }
says() { [ "$(grep -cF "$1" "$LAB_DIR/mqtrackd.log")" = "$2" ]; }
expect "nothing is said of links that came up" says "its link is" 0

trk ip link set in0 down
cli timeout 2 mosquitto_pub -h "$NORTH" -i lost -t t -m m && fail "traffic through a port that is down"
expect "with a port down it answers" ctl info
expect_soon "and shows it" link 1 down
expect "and the other port as up" link 0 up
expect_soon "and says so" says "ports[0].inside (net_af_packet1,iface=in0): its link is down" 1
trk ip link set in0 up
expect_soon "with the port up again clients connect" \
	cli timeout 10 mosquitto_pub -h "$NORTH" -i back -t t -m m

expect_soon "the port is shown as up" link 1 up
expect_soon "and said to be" says "ports[0].inside (net_af_packet1,iface=in0): its link is up again" 1

ip -n "$LAB-brk" link delete b0
cli timeout 2 mosquitto_pub -h "$NORTH" -i lost -t t -m m && fail "traffic through no port"
for _ in 1 2 3; do
	expect "with the port gone it answers" ctl clients
	sleep 0.3
done
expect_soon "it says once that the port is gone" says "ports[0].inside (net_af_packet1,iface=in0): its device is gone" 1
expect_soon "and shows it" link 1 gone
expect_soon "and kicks" ctl kick stays
expect "it runs" kill -0 "$LAB_TRACKER"
