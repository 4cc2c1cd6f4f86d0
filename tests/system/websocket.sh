#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# MQTT in WebSocket, by mosquitto's own listener: connected, listed, taken over by a plain client,
# kicked with DISCONNECT and Close 1008.
. "$(dirname "$0")/prelude.sh"

# mosquitto 2.0.11 does not start with WebSocket listeners alone.
cat >"$LAB_DIR/ws.conf" <<END
user root
allow_anonymous true
persistence false
log_dest stderr
log_type all
listener 1884 $NORTH
listener 8083
protocol websockets
END
lab_spawn brk ws mosquitto -c "$LAB_DIR/ws.conf"
if ! eventually 10 grep -q 'running$' "$LAB_DIR/ws.log"; then
	echo "skipped: this mosquitto has no WebSocket listener"
	exit 77
fi

lab_tracker 1 "listeners:
  - name: tcp
  - name: web
    port: 8083
    transport: ws" || fail "no tracker"

py <<'END' || fail "websocket"
import os
import mqttraw
import mqttws
from mqttraw import V31, V311, V5
from control import call, client as record, clients, counter, expect, soon, subscriptions
from kernel import acknowledged
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]

for version in V31, V311, V5:
    for piece in None, 1:
        c = mqttws.client(NORTH, 8083, piece=piece, clientid="web", version=version)
        r = record("web")
        expect(f"listed, version {version}, piece {piece}", r["transport"] == "ws"
               and r["port"] == c.port and r["listener"] == "web" and r["proto_ver"] == version)
        c.subscribe("t", 1)
        c.publish("t", b"x" * 3000, qos=1)
        expect("its message comes back", c.message()[1] == b"x" * 3000)
        c.ping()
        soon("what it sent and got is counted", lambda: record("web")["recv_msg"] == 1
             and record("web")["send_msg"] == 1)
        soon("its subscription is known",
             lambda: subscriptions(clientid="web"))
        c.disconnect()
        soon("it has left", lambda: record("web") is None)

plain = mqttraw.client(NORTH, clientid="plain")
web = mqttws.client(NORTH, 8083, clientid="web")
expect("one of two is in WebSocket", [r["clientid"] for r in clients(transport="ws")] == ["web"])
plain.disconnect()
web.disconnect()

for version in V31, V311, V5:
    for ping in False, True:
        c = mqttws.client(NORTH, 8083, clientid="victim", version=version)
        if ping:
            c.ping()
        acknowledged(c.port)  # else it would be a reset
        call("clients.kick", clientid="victim")
        how, reason = c.end()
        expect(f"kicked, version {version}: {how} {reason} {c.sock.status}", how == "fin"
               and reason == (0x98 if version == V5 else None) and c.sock.status == 1008)
        soon("its record is gone", lambda: record("victim") is None)

for version in V311, V5:
    old = mqttws.client(NORTH, 8083, clientid="twin", version=version)
    acknowledged(old.port)
    new = mqttraw.client(SOUTH, clientid="twin", version=version)
    expect("the older one has ended", not old.open())
    how, reason = old.end()
    expect(f"taken over: {how} {reason} {old.sock.status}",
           how == "fin" and reason == (0x8E if version == V5 else None)
           and old.sock.status == 1008)
    expect("the newer one is it", record("twin")["transport"] == "tcp")
    back = mqttws.client(NORTH, 8083, clientid="twin", version=version)
    expect("and back", not new.open() and record("twin")["transport"] == "ws")
    back.disconnect()

expect("nothing was opaque", counter("opaque") == 0)
expect("no framing broke", counter("anomaly_framing") == 0)
expect("no client id was live twice", counter("duplicates") == 0)
page = mqttraw.Client(NORTH, 8083)
page.send(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
soon("a page is opaque", lambda: counter("opaque_ws_upgrade") == 1)
END
expect_soon "mosquitto logs the end of the kicked one" grep -q 'victim' "$LAB_DIR/ws.log"
lab_spawn cli shown env PYTHONPATH="$MQT_TOP/tests/system" PYTHONDONTWRITEBYTECODE=1 python3 -c "
import mqttws, time
c = mqttws.client('$NORTH', 8083, clientid='shown')
time.sleep(60)"
shown() { ctl show shown | grep -q '^transport  *ws'; }
expect_soon "mqtrackctl shows it" shown
