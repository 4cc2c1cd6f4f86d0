#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients of another kind: a mosquitto bridge, and a persistent client whose broker keeps its
# session while it is away.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

cat >"$LAB_DIR/edge.conf" <<END
user root
allow_anonymous true
listener 1884 127.0.0.1
log_dest stderr
log_type all
connection edge
address $NORTH:1883
remote_clientid edge-bridge
bridge_protocol_version mqttv311
topic # out 1 site/ central/
restart_timeout 1
END
lab_spawn cli edge mosquitto -c "$LAB_DIR/edge.conf"
lab_sub central -h "$NORTH" -i central -t 'central/#' -v
expect_soon "the bridge is connected" grep -q 'as edge-bridge ' "$LAB_DIR/north.log"
expect_soon "the subscriber too" grep -q 'received SUBACK' "$LAB_DIR/central.log"
expect "a message at the edge" cli mosquitto_pub -p 1884 -h 127.0.0.1 -t site/a -m m1 -q 1
expect_soon "arrives in the centre" grep -qx 'central/a m1' "$LAB_DIR/central.log"
expect_soon "the bridge is listed" ctl show edge-bridge
expect "the bridge is kicked" ctl kick edge-bridge
expect_soon "it comes back" \
	awk '/as edge-bridge /{n++} END {exit n < 2}' "$LAB_DIR/north.log"
expect "another message at the edge" cli mosquitto_pub -p 1884 -h 127.0.0.1 -t site/a -m m2 -q 1
expect_soon "arrives as well" grep -qx 'central/a m2' "$LAB_DIR/central.log"

py <<'END' || fail "a persistent client"
from mqttraw import *
import os
from control import call, client as record, clients, expect, soon
NORTH = os.environ["NORTH"]
sender = client(NORTH, clientid="sender")
for version, options in (V31, {}), (V311, {}), (V5, dict(expiry=600)):
    keeper = client(NORTH, clientid="keeper", version=version, clean=True)
    keeper.disconnect()
    keeper = client(NORTH, clientid="keeper", version=version, clean=False, **options)
    keeper.subscribe("kept", 1)
    keeper.reset()
    soon("it is away", lambda: record("keeper") is None)
    sender.publish("kept", f"for version {version}", 1)
    keeper = client(NORTH, clientid="keeper", version=version, clean=False, **options)
    expect("its message was kept", keeper.message()[1] == f"for version {version}".encode())
    again = client(NORTH, clientid="keeper", version=version, clean=False, **options)
    expect("a resume on the same broker ends the older connection", not keeper.open())
    again.ping()
    expect("one is listed", record("keeper")["port"] == again.port)
    again.disconnect()
END
