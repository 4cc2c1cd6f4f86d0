#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Real clients publish and subscribe through the tracker, on both brokers, in each protocol version
# and quality of service; two brokers stay two.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

for version in mqttv31 mqttv311 mqttv5; do
	for broker in north south; do
		host=$NORTH
		[ $broker = north ] || host=$SOUTH
		name=$version-$broker
		lab_sub "$name" -h "$host" -V "$version" -i "sub-$name" -t "test/#" -q 2 -v
		sub=$LAB_PID
		expect_soon "$name: subscribed" grep -q 'received SUBACK' "$LAB_DIR/$name.log"
		for qos in 0 1 2; do
			expect "$name: published with QoS $qos" cli mosquitto_pub -h "$host" -V "$version" \
				-i "pub-$name" -t "test/$qos" -q "$qos" -m "$name $qos"
			expect_soon "$name: received with QoS $qos" \
				grep -qx "test/$qos $name $qos" "$LAB_DIR/$name.log"
		done
		expect "$name: its broker knows it" \
			grep -q "New client connected from $CLIENT:.* as sub-$name " "$LAB_DIR/$broker.log"
		lab_end "$sub"
	done
done

! grep -h ' test/.*north' "$LAB_DIR"/*-south.log || fail "a message crossed between the brokers"
expect "a client without an id" cli mosquitto_pub -h "$NORTH" -V mqttv311 -t x -m y

py <<'END' || fail "the tracker's view is wrong"
from control import *
soon("all have left", lambda: not clients())
expect("no client id was live twice", counter("duplicates") == 0)
expect("nothing was opaque", counter("opaque") == 0)
expect("25 sessions", counter("session_created") == 6 + 18 + 1)
END
