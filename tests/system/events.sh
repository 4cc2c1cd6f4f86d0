#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Lookup and events: what the socket tells while clients come, are replaced, kicked and leave.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

py <<'END' || fail "lookup or events"
from mqttraw import *
import os
from control import Control, call, client as record, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
watcher = Control()
watcher.call("events.subscribe")

expect("an unknown client has no channels", not call("channels.lookup", clientid="ev")["channels"])
first = client(NORTH, clientid="ev", version=V5)
one = record("ev")["channel"]
expect("lookup finds the channel", [(c["channel"], c["state"]) for c in
       call("channels.lookup", clientid="ev")["channels"]] == [(one, "connected")])
second = client(SOUTH, clientid="ev", version=V311)
two = record("ev")["channel"]
expect("another connection is another channel", one != two)
call("clients.kick", clientid="ev")
third = client(SOUTH, clientid="ev")
three = record("ev")["channel"]
third.disconnect()
soon("it has left", lambda: record("ev") is None)
fourth = client(SOUTH, clientid="ev")
four = record("ev")["channel"]
fourth.reset()
soon("it has left", lambda: record("ev") is None)

seen, got = [], []
while ("disconnected", four) not in got:
    event = watcher.note()
    seen.append(event)
    got.append((event["type"], event["channel"]))
print(*seen, sep="\n")
life = [pair for pair in got if pair[0] in ("connected", "disconnected")]
expect("each channel connects and disconnects once, the old before the new",
       life == [(what, channel) for channel in (one, two, three, four)
                for what in ("connected", "disconnected")])
expect("the first was discarded", ("discarded", one) in got)
expect("the second was kicked", ("kicked", two) in got)
numbers = [event["seq"] for event in seen]
expect("sequence numbers have no gap", numbers == list(range(numbers[0], numbers[0] + len(seen))))
reasons = {event["channel"]: event["reason"] for event in seen if event["type"] == "disconnected"}
expect(f"each end has its reason: {reasons}", [reasons[c] for c in (one, two, three, four)]
       == ["discarded", "kicked", "client_disconnect", "client_reset"])
END

ctl events --json --since 0 >"$LAB_DIR/events" 2>&1 &
LAB_PIDS+=("$!")
watcher=$!
expect "a client comes and goes" cli mosquitto_pub -h "$NORTH" -i passing -t t -m m
expect_soon "mqtrackctl events shows it" grep -q '"disconnected".*"passing"\|"passing".*"disconnected"' \
	"$LAB_DIR/events"
lab_end "$watcher"
