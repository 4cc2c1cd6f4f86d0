#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Two devices with one client id throw each other out again and again: reported with both addresses and
# the rate, and, where configured, newcomers are held off for a while.
. "$(dirname "$0")/prelude.sh"

part() {
	lab_tracker 1 "flap:
  takeovers: 3
  within: 60
  hold: $1" || fail "no tracker"
	HOLD=$1 py <<'END' || fail "flapping, hold $1"
from mqttraw import *
import os
from control import Events, client as record, counter, expect, soon
hosts = os.environ["NORTH"], os.environ["SOUTH"]
hold = int(os.environ["HOLD"])
events = Events()
calm = client(hosts[0], clientid="calm")
made = []
for i in range(5):
    made.append(client(hosts[i % 2], clientid="twin", source=f"192.0.2.{1 + i % 2}"))
seen = events.until("flapping", "twin")
told = seen[-1]
ports = {f"192.0.2.{1 + i % 2}:{c.port}" for i, c in enumerate(made)}
expect("reported after more than three takeovers, with both peers", told["count"] == 4
       and {told["peer"], told["other_peer"]} <= ports
       and told["peer"].split(":")[0] != told["other_peer"].split(":")[0])
expect("the newest of them lives", record("twin")["port"] == made[-1].port)
for version, code in (V311, 3), (V5, 0x89):
    late = Client(hosts[1], clientid="twin", version=version)
    got = late.connect()
    if not hold:
        expect("without a hold newcomers go on to win", got == 0)
        continue
    expect(f"newcomers are held off: {got:#x}", got == code)
    late.end()
    made[-1].ping()
    expect("told why", events.until("refused", "twin")[-1]["reason"] == "flapping")
if hold:
    expect("counted", counter("refused_flapping") == 2)
    def admitted():
        return Client(hosts[1], clientid="twin").connect() == 0
    soon("let in when the hold is over", admitted)
calm.ping()
expect("others are not concerned", calm.open() and counter("flapping") >= 1)
END
	lab_end "$LAB_TRACKER"
	expect "it stops" [ "$LAB_STATUS" = 0 ]
}

part 0
part 5
LAB_TRACKER=
