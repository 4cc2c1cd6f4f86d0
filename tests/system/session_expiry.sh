#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Retained sessions expire when their client said, by CONNECT or by DISCONNECT, or as the listener says
# for 3.x; where there are too many the one closest to its end leaves first.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'listeners:
- name: tcp
  session_expiry_v3: 2
limits:
  max_retained: 4' || fail "no tracker"

lab_sub brief -h "$NORTH" -i brief -c -x 2 -q 1 -t 'brief/#' -V mqttv5
expect_soon "a client whose session lives for two seconds subscribes" \
	grep -q 'received SUBACK' "$LAB_DIR/brief.log"
ctl events --json --since 0 --type session.expired >"$LAB_DIR/events" &
LAB_PIDS+=("$!")
lab_end "$LAB_PID"
expect_soon "its session expires" grep -q '"brief"' "$LAB_DIR/events"

py <<'END' || fail "expiry"
from mqttraw import *
import os
from control import Events, channels, counter, expect, soon
NORTH = os.environ["NORTH"]
events = Events()
for name, version, options, leave in (
        ("v31", V31, {}, None), ("v311", V311, {}, None), ("v5", V5, {"expiry": 2}, None),
        ("later", V5, {"expiry": 3600}, 2)):
    made = client(NORTH, clientid=name, version=version, clean=False, **options)
    made.subscribe("t", 1)
    left = time.monotonic()
    made.disconnect(leave)
    ended = events.until("disconnected", name)[-1]
    expect(f"{name}: retained", channels(name) == [("retained", "north")])
    expired = events.until("session.expired", name)[-1]
    seconds = time.monotonic() - left
    expect(f"it expires, after {seconds:.2f} s", seconds > 1.9 and expired["reason"] == "expired"
           and expired["channel"] == ended["channel"])
    soon("it is gone", lambda: not channels(name))

for name, options, leave in (("none", {}, None), ("zero", {"expiry": 0}, None),
                             ("not after all", {"expiry": 3600}, 0),
                             ("0 stays 0", {"expiry": 0}, 3600)):
    made = client(NORTH, clientid=name, version=V5, clean=False, **options)
    made.subscribe("t", 1)
    made.disconnect(leave)
    soon(f"{name}: ends with its connection", lambda: not channels(name))
    expect("and was never retained", "session.expired" not in
           [e["type"] for e in events.until("disconnected", name)])

for name, expiry in ("100", 100), ("90", 90), ("never", 0xFFFFFFFF), ("110", 110), ("120", 120):
    made = client(NORTH, clientid=name, version=V5, clean=False, expiry=expiry)
    made.disconnect()
    soon(f"expiry {name}: retained", lambda: channels(name) == [("retained", "north")])
evicted = events.until("session.expired", "90")[-1]
expect("the limit is reached: the one closest to its end has left", evicted["reason"] == "evicted")
expect("the others are there", not channels("90") and
       all(channels(name) for name in ("100", "never", "110", "120")))
expect("counted", counter("session_evicted") == 1 and counter("session_expired") == 5)
END
