#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Several connections of one client id within the same moment, through several workers. On one
# broker exactly one is left; on two, whose orders nobody knows, never more than one. The tracker
# lists the one that is left.
. "$(dirname "$0")/prelude.sh"

# Longer than a busy machine keeps a worker from its CPU.
lab_tracker 2 'limits:
  contest_ms: 400' || fail "no tracker"
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
        return len(alive) <= 1 and [c["port"] for c in listed] == [c.port for c in alive]

    soon(f"{name}: at most one is left, and that one is listed", one_is_left)
    left = len([each for each in made if each.open()])
    for each in made:
        each.close()
    return left


rounds = 0
for hosts in ([NORTH], [NORTH, SOUTH]):
    for version in (V311, V5):
        for n in (2, 5, 20):
            for i in range(4):
                name = f"s{rounds}"
                left = one_round(name, hosts, n, version)
                if len(hosts) == 1:
                    expect(f"{name}: of {n} on one broker one is left", left == 1)
                rounds += 1
print("contests:", counter("contests"), "superseded:", counter("superseded"))
expect("no client id was live twice", counter("duplicates") == 0)
END
