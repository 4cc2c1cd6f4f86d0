#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A listener that binds client ids to user names: a client id that is in use, or whose session is
# kept, admits its own user only. Another is refused, and told as a security event.
. "$(dirname "$0")/prelude.sh"
lab_tracker 1 'listeners:
- name: tcp
  bind_username: true' || fail "no tracker"

py <<'END' || fail "binding"
from mqttraw import *
import os
from control import Events, channels, client as record, counter, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
events = Events()
n = 0
for version, code in (V31, 5), (V311, 5), (V5, 0x87):
    name = f"b{version}"
    forever = {"expiry": 3600} if version == V5 else {}
    def come(host, username):
        return Client(host, clientid=name, version=version, clean=False, username=username,
                      **forever)

    owner = come(NORTH, "ann")
    expect(f"{name}: the first one is its owner", owner.connect() == 0)
    one = record(name)["channel"]
    for username in "bob", "Ann", "", None:
        thief = come(SOUTH, username)
        got = thief.connect()
        expect(f"another user, {username!r}, is refused: {got:#x}", got == code)
        thief.end()
        seen = events.until("refused", name)
        anomalies = [e for e in seen if e["type"] == "anomaly"]
        expect("and told as a security event with both sides", len(anomalies) == 1
               and all(e["reason"] == "username_mismatch" and e["other"] == one
                       and e["peer"].endswith(f":{thief.port}")
                       and e["other_peer"].endswith(f":{owner.port}") for e in anomalies))
        n += 1
    owner.ping()
    expect("the owner noticed nothing", owner.open() and record(name)["channel"] == one)
    again = come(SOUTH, "ann")
    expect("the same user may move", again.connect() == 0 and not owner.open())
    again.disconnect()
    soon("its sessions are kept", lambda: {c[0] for c in channels(name)} == {"retained"})
    thief = come(NORTH, "bob")
    expect("and are kept from others", thief.connect() == code)
    n += 1
    back = come(NORTH, "ann")
    expect("not from their user", back.connect() == 0)
expect("counted", counter("refused_username") == n)
END
