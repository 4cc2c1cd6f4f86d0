#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A client that crafts its segments tries to show the tracker another client id than its broker
# reads (confusion.py), over IPv4 and over IPv6.
. "$(dirname "$0")/prelude.sh"
RAW=192.0.2.200 EAST=192.0.2.13
RAW6=2001:db8::200 EAST6=2001:db8::13

# A broker whose host takes the payload of a SYN, without a cookie.
brk sysctl -qw net.ipv4.tcp_fastopen=0x603
ip -n "$LAB-brk" address add "$EAST/24" dev b0
ip -n "$LAB-brk" address add "$EAST6/64" dev b0 nodad
lab_broker east "$EAST" "$EAST6" || fail "no third broker"
for raw in "$RAW" "$RAW6"; do
	brk ip neigh replace "$raw" lladdr "$(cli cat /sys/class/net/c0/address)" dev b0 nud permanent
done
lab_tracker || fail "no tracker"

for ends in "$RAW $EAST" "$RAW6 $EAST6"; do
	echo "from and to: $ends"
	MAC=$(brk cat /sys/class/net/b0/address) LOG=$LAB_DIR/east.log ENDS=$ends py <<-'END' || fail "identity"
		import os
		from confusion import Confusion
		source, host = os.environ["ENDS"].split()
		Confusion(source, host, os.environ["MAC"], os.environ["LOG"]).all()
	END
done
