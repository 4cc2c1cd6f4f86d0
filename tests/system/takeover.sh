#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The same client id connects to the other broker: the older connection ends before the newcomer
# gets its CONNACK, as packets arrive at the clients' interface, in every pairing of versions.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"
lab_capture || fail "tcpdump does not start"

py >"$LAB_DIR/ports" <<'END' || fail "takeover between raw clients"
from mqttraw import *
import control
import os
import sys
from kernel import acknowledged
hosts = [os.environ["NORTH"], os.environ["SOUTH"]]
say = lambda *words: print(*words, file=sys.stderr)
for old_version in V31, V311, V5:
    for new_version in V31, V311, V5:
        for clean in True, False:
            name = f"twin-{old_version}-{new_version}-{clean}"
            old = client(hosts[0], clientid=name, version=old_version, clean=clean)
            old.subscribe("t")
            acknowledged(old.port)  # else it would be a reset
            new = client(hosts[1], clientid=name, version=new_version, clean=clean)
            # Its CONNACK is here: the older one must have ended already.
            assert not old.open(), f"{name}: the older connection is still open"
            how, reason = old.end()
            expected = ("fin", 0x8E) if old_version == V5 else ("reset", None)
            assert (how, reason) == expected, (name, how, reason)
            new.ping()
            record = control.client(name)
            assert record["port"] == new.port and record["broker"] == "south", record
            say("ok:", name, how, reason)
            print(old.port, new.port)
            new.disconnect()
assert control.counter("duplicates") == 0
END
lab_capture_end

while read -r old new; do
	order=$(lab_order "$old" "$new")
	expect "on the wire: ${order//$'\n'/, }" \
		[ "$(sed 's/ .*//' <<<"$order")" = end$'\n'connack ]
done <"$LAB_DIR/ports"
expect "all 18 were judged" [ "$(wc -l <"$LAB_DIR/ports")" = 18 ]

# Real clients. The older one would connect again by itself, so it is held before it is out.
lab_sub older -h "$NORTH" -i sensor -t x
older=$LAB_PID
expect_soon "the older one is connected" grep -q 'received SUBACK' "$LAB_DIR/older.log"
kill -s STOP "$older"
lab_sub newer -h "$SOUTH" -i sensor -t x
expect_soon "its broker has seen the older one go" grep -q 'sensor.*\(disconnect\|clos\)\|error on client sensor' "$LAB_DIR/north.log"
lab_end "$older" KILL
expect_soon "the newer one is connected" grep -q 'received SUBACK' "$LAB_DIR/newer.log"
expect "one message reaches it" cli mosquitto_pub -h "$SOUTH" -t x -m arrived
expect_soon "and it arrives" grep -qx arrived "$LAB_DIR/newer.log"
