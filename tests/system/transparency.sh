#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is not MQTT passes untouched, and what is MQTT passes bit for bit: ARP, ICMP, ICMPv6, 64 MiB
# over another TCP port, UDP, and a message of 1 MiB while 200 other clients come and go.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

cli ip neigh flush all
expect "ping, behind ARP" cli ping -c 3 -i 0.2 -W 2 -q "$NORTH"
expect "ping with 1,500 bytes" cli ping -c 3 -i 0.2 -W 2 -q -s 1472 -M "do" "$NORTH"
# For net_af_packet the kernel puts fragments together itself, and does not take the whole, which is
# over the MTU, back: they cannot pass here, but must not be in the way of what can.
cli ping -c 2 -i 0.2 -W 1 -q -s 6000 "$NORTH" >"$LAB_DIR/fragments"
expect "ping after fragments" cli ping -c 3 -i 0.2 -W 2 -q "$NORTH"
expect "ping IPv6, behind neighbour discovery" cli ping -c 3 -i 0.2 -W 2 -q "$NORTH6"

lab_spawn brk server env PYTHONPATH="$MQT_TOP/tests/system" PYTHONDONTWRITEBYTECODE=1 \
	python3 -u -m bytes_server "$NORTH" 8080
expect_soon "a server that is not MQTT" grep -q listening "$LAB_DIR/server.log"

py <<'END' || fail "not bit for bit"
from mqttraw import *
from bytes_server import exchange
import os
import threading
from control import clients, counter, expect, soon
NORTH = os.environ["NORTH"]
SIZE = 1 << 26

busy, failures, rounds = True, [], [0] * 8
def churn(worker):
    """25 clients that connect and leave again, as long as the transfers run."""
    try:
        while busy or not rounds[worker]:
            some = [client(NORTH, clientid=f"churn-{worker}-{i}", version=(V31, V311, V5)[i % 3],
                           source=f"192.0.2.{1 + worker}") for i in range(25)]
            for each in some:
                each.disconnect() if rounds[worker] % 2 else each.reset()
            rounds[worker] += 1
    except Exception as error:
        failures.append(error)

receiver = client(NORTH, clientid="receiver", version=V5)
receiver.subscribe("big", 1)
sender = client(NORTH, clientid="sender", version=V311)
threads = [threading.Thread(target=churn, args=(i,)) for i in range(8)]
for thread in threads:
    thread.start()
sent, received = exchange(NORTH, 8080, SIZE)
expect("64 MiB each way over port 8080", sent == received)
for i in range(4):
    payload = os.urandom(1 << 20)
    pub = threading.Thread(target=sender.publish, args=("big", payload, 1))
    pub.start()
    expect(f"message {i} of 1 MiB", receiver.message(60) == ("big", payload))
    pub.join()
busy = False
for thread in threads:
    thread.join()
expect(f"the other clients had no trouble: {failures}", not failures)
print(f"ok: 8 times 25 clients, {sum(rounds) * 25} connections meanwhile")
soon("the two are left", lambda: sorted(c["clientid"] for c in clients()) == ["receiver", "sender"])
expect("none was opaque", counter("opaque") == 0)
expect("no client id was live twice", counter("duplicates") == 0)
END
