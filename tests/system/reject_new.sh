#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A listener with the policy reject-new: who is connected through one broker stays, the newcomer on the
# other broker is refused, and leaves no will. On one broker the newest wins as ever.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'listeners:
- name: tcp
  policy: reject-new' || fail "no tracker"

py <<'END' || fail "reject-new"
from mqttraw import *
import os
from control import Events, channels, client as record, counter, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
events = Events()
watcher = client(SOUTH, clientid="watcher")
watcher.subscribe("will/#")
for version, code in (V31, 3), (V311, 3), (V5, 0x97):
    name = f"r{version}"
    old = client(NORTH, clientid=name, version=version)
    one = record(name)["channel"]
    new = Client(SOUTH, clientid=name, version=version, will=("will/" + name, "x"))
    got = new.connect()
    expect(f"{name}: the newcomer is refused, {got:#x}", got == code)
    how = new.end()
    expect(f"and closed: {how}", how[1] is None)
    old.ping()
    expect("the older one stays", record(name)["channel"] == one and old.open())
    refused = events.until("refused", name)[-1]
    expect("the event tells of both", refused["reason"] == "policy" and refused["other"] == one
           and refused["peer"].endswith(f":{new.port}")
           and refused["other_peer"].endswith(f":{old.port}") and refused["broker"] == "south")
    again = client(NORTH, clientid=name, version=version)
    expect("on its own broker the newest wins", not old.open() and record(name)["port"] == again.port)
    again.disconnect()
    soon("it leaves", lambda: record(name) is None)
    late = client(SOUTH, clientid=name, version=version)
    expect("then the other broker is free to it", channels(name) == [("connected", "south")])
    late.disconnect()
watcher.publish("will/none", "of them")
expect("no will of a refused one was sent", watcher.message() == ("will/none", b"of them"))
expect("counted", counter("refused_policy") == 3)

kept = client(NORTH, clientid="kept", clean=False)
kept.disconnect()
soon("a session is retained", lambda: channels("kept") == [("retained", "north")])
other = client(SOUTH, clientid="kept", clean=False)
expect("only a connection keeps a newcomer out, a session does not",
       ("connected", "south") in channels("kept"))
END
