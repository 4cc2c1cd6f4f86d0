#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Several connections of one client id within the same moment, through several workers, to one
# broker and to two that know nothing of each other: exactly one is left, and the tracker lists it.
. "$(dirname "$0")/prelude.sh"

lab_tracker 2 || fail "no tracker"
py <<'END' || fail "with simultaneous connections"
from mqttraw import *
import os, random
from control import clients, counter, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]


def one_round(name, hosts, n, version):
    made = [Client(hosts[i % len(hosts)], clientid=name, version=version) for i in range(n)]
    random.shuffle(made)
    for each in made:
        each.sock.sendall(each.hello)
    for each in made:
        try:
            each.receive()
        except Closed:
            pass

    def one_is_left():
        alive = [each for each in made if each.open()]
        listed = clients(clientid=name)
        return len(alive) == 1 and [c["port"] for c in listed] == [alive[0].port]

    soon(f"{name}: one of {n} on {len(hosts)} is left, and that one is listed", one_is_left)
    for each in made:
        each.close()


rounds = 0
for hosts in ([NORTH], [NORTH, SOUTH]):
    for version in (V311, V5):
        for n in (2, 5, 20):
            for i in range(4):
                one_round(f"s{rounds}", hosts, n, version)
                rounds += 1
print("contests:", counter("contests"), "superseded:", counter("superseded"))
expect("no client id was live twice", counter("duplicates") == 0)
END
