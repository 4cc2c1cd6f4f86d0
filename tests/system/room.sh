#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# limits.max_clients: a word before it is reached; beyond it clients pass untracked, counted; and a
# word when there is room again.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 "limits:
  max_clients: 5" || fail "no tracker"

export LOG=$LAB_DIR/mqtrackd.log
py <<'END' || fail "room"
import os
from mqttraw import client
from control import call, clients, counter, expect, soon
NORTH = os.environ["NORTH"]


def says(words):
    with open(os.environ["LOG"], encoding="utf-8") as log:
        return log.read().count(words)


some = [client(NORTH, clientid=f"c{i}") for i in range(4)]
soon("four are listed", lambda: len(clients()) == 4)
expect("nothing is said yet", not says("clients are connected"))
fifth = client(NORTH, clientid="c4")
soon("the fifth is said to be the last", lambda: says("5 of 5 clients are connected: beyond"))
sixth = client(NORTH, clientid="c5")
sixth.ping()
expect("one more passes", sixth.open())
soon("and is counted", lambda: counter("control.table_full") + counter("workers.table_full") > 0)
expect("it is not listed", len(clients()) == 5)
for c in some[1:] + [fifth]:
    c.disconnect()
soon("there is room again", lambda: says("of 5 clients are connected: there is room again"))
c = client(NORTH, clientid="again")
soon("for a newcomer", lambda: sorted(r["clientid"] for r in clients()) == ["again", "c0"])
expect("it was said once", says("beyond limits.max_clients") == 1)
END
