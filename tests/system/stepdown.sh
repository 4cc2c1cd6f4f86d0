#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Kicks of clients that cannot be told at once: one that does not read, one in mid-packet, one whose
# link is down. All are gone in time, whatever their kernels say or do not say.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'limits:
  kick_boundary_ms: 4000
  stepdown_local_ms: 9000' || fail "no tracker"

py <<'END' || fail "kicks of clients that do not read"
from mqttraw import *
import os
import threading
from control import Refused, call, client as record, counter, expect, soon
from kernel import window_closed
NORTH = os.environ["NORTH"]
bystander = client(NORTH, clientid="bystander")
BIG = bytes(3 << 20)

def reader(clientid, version):
    """A client with a small window that has stopped to read a big PUBLISH."""
    made = client(NORTH, clientid=clientid, version=version, rcvbuf=4096)
    made.subscribe("big")
    return made

def kick(what, **target):
    """Kicks; whether that waited for the client, and gave up."""
    before = counter("kick_waits"), counter("kick_waits_over")
    answer = call("clients.kick", **target)
    waits = counter("kick_waits") - before[0], counter("kick_waits_over") - before[1]
    expect(f"{what}, {waits} waits: {answer}", answer["channels"][0]["result"] == "stepped_down")
    return waits

for version in V311, V5:
    stuck = reader("stuck", version)
    bystander.publish("big", BIG)
    window_closed(stuck.port)
    waits = kick(f"a client without window is kicked, version {version}", clientid="stuck")
    expect("in vain waited for by a kick that could tell why",
           waits == ((1, 1) if version == V5 else (0, 0)))
    expect("its record is gone", record("stuck") is None)
    how = stuck.end()
    expect(f"its kernel has taken the reset: {how}", how == ("reset", None))

# The rest of a packet comes while its kick waits: the client reads again.
slow = reader("slow", V5)
SOME = BIG[:1 << 16]
bystander.publish("big", SOME)
window_closed(slow.port)
waits = []
kicker = threading.Thread(target=lambda: waits.append(
    kick("a client that reads again is kicked", clientid="slow", reason="server_moved")))
kicker.start()
soon("its kick waits", lambda: counter("kick_waits") == 2)
topic, payload = slow.message()
how = slow.end()
kicker.join()
expect(f"who reads on gets its packet whole, and is told: {how}, {waits}",
       len(payload) == len(SOME) and how == ("fin", 0x9D) and waits == [(1, 0)])
for wrong in 4, 256, "nonsense", True:
    try:
        call("clients.kick", clientid="bystander", reason=wrong)
        expect(f"reason {wrong} is refused", False)
    except Refused as refused:
        expect(f"reason {wrong} is refused", refused.code == -32602)
bystander.ping()
expect("the bystander noticed nothing", bystander.open())
END

# The client's link goes down with data on the way: nobody answers any more, and still it ends.
lab_sub lost -h "$NORTH" -i lost -t lost -V 5
expect_soon "a client is connected" grep -q 'received SUBACK' "$LAB_DIR/lost.log"
ip -n "$LAB-cli" link set c0 down
brk mosquitto_pub -h "$NORTH" -t lost -m "nobody hears it"
expect "the client without link is kicked" ctl kick --reason 0x89 lost
expect_soon "its broker knows" grep -q 'lost.*\(disconnected\|closed its connection\)\|on client lost' \
	"$LAB_DIR/north.log"
ip -n "$LAB-cli" link set c0 up
duplicates=$(counter duplicates)
expect "no client id was live twice" [ "$duplicates" = 0 ]
