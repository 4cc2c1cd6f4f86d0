#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Kicks of clients that cannot be told at once: one that does not read, one in mid-packet, one whose
# link is down. All are gone in time, whatever their kernels say or do not say.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'limits:
  kick_boundary_ms: 400' || fail "no tracker"

py <<'END' || fail "kicks of clients that do not read"
from mqttraw import *
import os
from control import Refused, call, client as record, counter, expect, soon
NORTH = os.environ["NORTH"]
bystander = client(NORTH, clientid="bystander")
BIG = bytes(3 << 20)

def reader(clientid, version):
    """A client with a small window that has stopped to read a big PUBLISH."""
    made = Client(NORTH, clientid=clientid, version=version)
    made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert made.connect() == 0
    made.subscribe("big")
    return made

for version in V311, V5:
    stuck = reader("stuck", version)
    bystander.publish("big", BIG)
    time.sleep(0.5)  # until its window is closed
    start = time.monotonic()
    answer = call("clients.kick", clientid="stuck")
    took = time.monotonic() - start
    waited = 0.3 < took if version == V5 else took < 0.3
    expect(f"a client without window is kicked, version {version}, in {took:.2f} s: {answer}",
           answer["channels"][0]["result"] == "stepped_down" and took < 0.9 and waited)
    expect("its record is gone", record("stuck") is None)
    how = stuck.end(5)
    expect(f"its kernel has taken the reset: {how}", how == ("reset", None))
expect("one kick has waited in vain", counter("kick_waits_over") == 1)

# The rest of a packet comes while its kick waits: the client reads again.
slow = reader("slow", V5)
bystander.publish("big", BIG)
time.sleep(0.5)
import threading
answers = []
kick = threading.Thread(target=lambda: answers.append(
    call("clients.kick", clientid="slow", reason="server_moved")))
kick.start()
topic, payload = slow.message()
how = slow.end(5)
kick.join()
expect(f"who reads on gets its packet whole, and is told: {how}, {answers}",
       len(payload) == len(BIG) and how == ("fin", 0x9D))
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
