#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Handshakes that are never finished, and connections that never say anything, take no room from
# real clients: the table for them is small, and real clients are tracked all the same.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'limits:
  max_embryos: 64
  max_handshakes: 128
  handshake_ms: 5000
  embryo_ms: 1000' || fail "no tracker"

py <<'END' || fail "half-open connections"
from mqttraw import *
import os
import struct
from control import call, clients, counter, expect, soon
NORTH = os.environ["NORTH"]
bystander = client(NORTH, clientid="bystander")

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF

raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind(("192.0.2.1", 0))
def syn(port):
    head = struct.pack("!HHIIBBHHH", port, 1883, port * 7919, 0, 0x50, 2, 65535, 0, 0)
    pseudo = socket.inet_aton("192.0.2.1") + socket.inet_aton(NORTH) + struct.pack("!HH", 6, 20)
    raw.sendto(head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:], (NORTH, 0))

before, sent = counter("syn"), 0
while counter("syn") < before + 3000:  # a busy machine drops some of them
    for sent in range(sent + 1, sent + 101):
        syn(20000 + sent % 12000)
print("ok: 3,000 SYNs that nobody follows up are counted")
full = client(NORTH, clientid="during")
full.ping()
print("ok: a client gets through meanwhile")
silent = [Client(NORTH, source="192.0.2.2") for _ in range(200)]
soon("connections that say nothing are counted", lambda: counter("opaque_silent") > 0)
soon("those that are left are given up", lambda: counter("opaque_timeout") > 0)
soon("all of them", lambda: [(w["embryos"], w["connections"]["embryonic"])
                             for w in call("workers.list")["workers"]] == [(0, 0)])
late = client(NORTH, clientid="late")
soon("then a new client is tracked", lambda: "late" in [c["clientid"] for c in clients()])
for each in silent:
    each.close()
bystander.ping()
expect("the bystander noticed nothing", bystander.open())
END
