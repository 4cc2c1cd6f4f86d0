#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Kick and discard: the client sees the end at once, its broker logs it, other flows do not notice;
# with traffic in flight too.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

gone() {
	grep -q "$1.*\(disconnected\|closed its connection\)\|on client $1" "$LAB_DIR/north.log"
}

lab_sub real -h "$NORTH" -i real -t t
expect_soon "a real client is connected" grep -q 'received SUBACK' "$LAB_DIR/real.log"
expect "it is kicked" ctl kick real
expect_soon "mosquitto logs its end" gone real
expect_soon "it connects again by itself" \
	awk '/received CONNACK/ { n++ } END { exit n < 2 }' "$LAB_DIR/real.log"

py <<'END' || fail "kick"
from mqttraw import *
import os
import threading
from control import call, client as record, counter, expect, soon
from kernel import acknowledged
NORTH = os.environ["NORTH"]
bystander = client(NORTH, clientid="bystander")

for method, reason in (("clients.kick", 0x98), ("clients.discard", 0x8E)):
    for version in V31, V311, V5:
        victim = client(NORTH, clientid="idle", version=version)
        acknowledged(victim.port)  # else it would be a reset
        answer = call(method, clientid="idle")
        how = victim.end()
        expect(f"{method} of an idle client, version {version}: {how}, answer {answer}",
               how == (("fin", reason) if version == V5 else ("reset", None)))
        soon("its record is gone", lambda: record("idle") is None)

first = client(NORTH, clientid="by-channel")
channel = record("by-channel")["channel"]
call("clients.kick", channel=channel)
first.end()
second = client(NORTH, clientid="by-channel")
expect("a channel that is over is found no more",
       call("clients.kick", channel=channel)["n_channels"] == 0)
second.ping()
expect("the channel after it is untouched", second.open())

# Traffic in flight: both directions full, the victim publishes to itself.
for version in V311, V5:
    victim = client(NORTH, clientid="busy", version=version)
    victim.subscribe("flood", 0)
    def pour():
        try:
            while True:
                victim.send(packet(PUBLISH, text("flood") + (b"\0" if version == V5 else b"")
                                   + bytes(4000)) * 8)
        except (Closed, OSError):
            pass
    sender = threading.Thread(target=pour)
    sender.start()
    for _ in range(200):
        victim.message()
    call("clients.kick", clientid="busy")
    print(f"kicked in the flood, version {version}: {victim.end()}")
    sender.join(10)
    expect("the sender has seen it too", not sender.is_alive())
    soon("its record is gone", lambda: record("busy") is None)

bystander.ping()
expect("the bystander noticed nothing", bystander.open())
expect("no client id was live twice", counter("duplicates") == 0)
END
expect_soon "mosquitto logs the end of the busy one" gone busy
expect_soon "mosquitto logs the end of the idle one" gone idle
ctl kick nobody >"$LAB_DIR/out" 2>&1
status=$?
expect "kick of an unknown client says so, status $status: $(cat "$LAB_DIR/out")" [ "$status" = 1 ]
