#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The will of a connection that the tracker closes: published by its broker, or suppressed, as the
# listener says. A watcher on the old broker sees which.
. "$(dirname "$0")/prelude.sh"
export LAB_DIR

round() {
	lab_tracker 1 "listeners:
- name: tcp
  will: $1" || fail "no tracker"
	WILL=$1 py <<'END' || fail "will: $1"
from mqttraw import *
import os
import re
from control import call, counter, expect, soon
from kernel import acknowledged
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
policy = os.environ["WILL"]
watcher = client(NORTH, clientid="watcher")
watcher.subscribe("will/#")

def ended(name):
    """How the broker saw it end: "left" by DISCONNECT, or "lost"."""
    text = open(os.environ["LAB_DIR"] + "/north.log").read()
    if re.search(rf"Client {name} disconnected\.", text):
        return "left"
    if re.search(rf"Client {name} (closed|disconnected|has exceeded)|client {name}", text):
        return "lost"
    return None

def kick(name):
    call("clients.kick", clientid=name)

def takeover(name):
    client(SOUTH, clientid=name)

n = 0
for what in takeover, kick:
    for version in V31, V311, V5:
        name = f"{policy}-{what.__name__}-{version}"
        old = client(NORTH, clientid=name, version=version, will=("will/" + name, "gone"))
        old.ping()
        acknowledged(old.port)  # else it would be a reset
        what(name)
        old.end()
        soon(f"{name}: the broker has seen it end", lambda: ended(name))
        if policy == "publish":
            expect("its will is published", watcher.message() == ("will/" + name, b"gone"))
        else:
            expect("by its DISCONNECT", ended(name) == "left")
            n += 1
        watcher.publish("will/marker", name)
        expect("and nothing else", watcher.message() == ("will/marker", name.encode()))
expect("counted", counter("will_suppressed") == n)
END
	lab_end "$LAB_TRACKER"
	expect "it stops" [ "$LAB_STATUS" = 0 ]
}

round publish
round suppress
LAB_TRACKER=
