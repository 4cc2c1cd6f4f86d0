#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A session outlives its connection: kept when its client leaves, inherited on the same broker, left
# behind on another, dropped by a clean start, adopted where the tracker never saw it, given up where
# its broker has lost it.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

# Real clients.
retained() {
	ctl clients --retained --json | grep -q "\"clientid\":\"$1\""
}

shows() {
	ctl show "$1" | grep -qE "^$2 +$3\$"
}

lab_sub meter -h "$NORTH" -i meter -c -q 1 -t 'meter/#' -t 'alarm/+' -V mqttv311
expect_soon "a persistent client subscribes" grep -q 'received SUBACK' "$LAB_DIR/meter.log"
lab_end "$LAB_PID"
expect_soon "it leaves, its session is retained" retained meter
expect "with its subscriptions" shows meter 'meter/#' 1
expect "a message for it" cli mosquitto_pub -h "$NORTH" -t meter/1 -m missed -q 1
lab_sub again -h "$NORTH" -i meter -c -q 1 -t 'tariff' -V mqttv311
expect_soon "it is back, subscribing to something else" grep -q 'received SUBACK' "$LAB_DIR/again.log"
expect_soon "what it missed arrives" grep -qx missed "$LAB_DIR/again.log"
expect "the tracker shows the subscription from before" shows meter 'meter/#' 1
expect "and the other" shows meter 'alarm/\+' 1
expect "and the new one" shows meter tariff 1
retained meter && fail "its session is still listed as retained"
lab_end "$LAB_PID"

py <<'END' || fail "sessions between raw clients"
from mqttraw import *
import os
from control import (Events, call, channel_on, channels, client as record, clients, counter, expect,
                     one, session, soon, subscriptions)
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
SUBS = [("a/#", 1), ("b", 0)]
events = Events()
sender = client(NORTH, clientid="sender")
for version in V31, V311, V5:
    name = f"p{version}"
    forever = {"expiry": 0xFFFFFFFF} if version == V5 else {}
    def come(host, clean=False):
        return client(host, clientid=name, version=version, clean=clean, **forever)

    first = come(NORTH)
    for topic, qos in SUBS:
        first.subscribe(topic, qos)
    first.publish("c", "x", 1)
    expect(f"{name}: its subscriptions are shown", subscriptions(clientid=name) == SUBS)
    first_channel = record(name)["channel"]
    first.disconnect()
    soon("its session is retained", lambda: channels(name) == [("retained", "north")])
    (listed,) = clients(clientid=name)
    expect("not connected, with its final traffic in lists", not listed["connected"]
           and listed["recv_msg"] == 1)
    shown = call("clients.get", clientid=name)["clients"][0]
    expect("with its final traffic, subscriptions and expiry when asked for", shown["recv_msg"] == 1
           and subscriptions(clientid=name) == SUBS and shown["session"]["expiry_interval"]
           == (0xFFFFFFFF if version == V5 else 7200))

    second = come(NORTH)
    two = record(name)["channel"]
    resumed = one(events.until("connected", name, two), "session.resumed")
    expect("resumed on the same broker", second.session_present == (version != V31)
           and (resumed["channel"], resumed["other"]) == (two, first_channel)
           and resumed["other_peer"].endswith(f":{first.port}"))
    expect("with its subscriptions", subscriptions(clientid=name) == SUBS)

    third = come(NORTH)
    three = record(name)["channel"]
    second.end()
    seen = events.until("connected", name, three)
    resumed = one(seen, "session.resumed")
    expect("taken over while it lives, by the same broker",
           (resumed["channel"], resumed["other"]) == (three, two))
    expect("the old one disconnects before the new one connects",
           [(e["type"], e["channel"]) for e in seen if e["type"] in ("disconnected", "connected")]
           == [("disconnected", two), ("connected", three)])
    expect("with its subscriptions", subscriptions(clientid=name) == SUBS)

    sender.publish("a/x", "not acknowledged", 1)
    soon("a message in flight to it is known",
         lambda: session(clientid=name)["inflight_to_client"] == 1)
    fourth = come(SOUTH)
    expect("the other broker: the old flow has ended", not third.open())
    seen = events.until("connected", name, channel_on(name, "south"))
    expect("the session stays behind", one(seen, "session.left_behind")["other"] == three)
    expect("the old one was asked to step down", one(seen, "disconnected")["reason"] == "taken_over")
    expect("and is kept beside the new one",
           channels(name) == [("retained", "north"), ("connected", "south")])
    expect("whose own session is empty", subscriptions(channel=channel_on(name, "south")) == [])
    expect("the old one has what it had", subscriptions(channel=three) == SUBS)
    left = session(channel=three)
    expect("and the message as a pending one",
           (left["pendings"], left["inflight_to_client"]) == (1, 0))
    fourth.disconnect()
    soon("both are retained",
         lambda: channels(name) == [("retained", "north"), ("retained", "south")])

    fifth = come(NORTH)
    expect("back on the first broker: its session again",
           fifth.session_present == (version != V31)
           and subscriptions(channel=channel_on(name, "north")) == SUBS)
    expect("the message is sent again", fifth.message() == ("a/x", b"not acknowledged"))
    soon("and pending no more, when it is acknowledged",
         lambda: session(channel=channel_on(name, "north"))["pendings"] == 0)
    expect("the other one is left behind there",
           sorted(channels(name)) == [("connected", "north"), ("retained", "south")])
    sixth = come(SOUTH, clean=True)
    soon("a clean start drops them all", lambda: channels(name) == [("connected", "south")])
    expect("its own is empty", subscriptions(clientid=name) == [])
    sixth.close()
    for host in NORTH, SOUTH:  # nothing is to stay with the brokers either
        client(host, clientid=name, version=version).disconnect()
    soon("nothing is left of it", lambda: channels(name) == [])
expect("no client id was live twice", counter("duplicates") == 0)
keeper = client(NORTH, clientid="keeper", clean=False)
keeper.subscribe("k", 1)
keeper.disconnect()
soon("another session is retained", lambda: channels("keeper") == [("retained", "north")])
END

# The tracker is started again: the broker has a session that it never saw.
lab_end "$LAB_TRACKER"
expect "it stops" [ "$LAB_STATUS" = 0 ]
lab_tracker || fail "no tracker"
py <<'END' || fail "adopted"
from mqttraw import *
import os
from control import (Events, call, channel_on, channels, client as record, clients, counter, expect,
                     one, session, soon, subscriptions)
events = Events()
back = client(os.environ["NORTH"], clientid="keeper", clean=False)
seen = events.until("session.adopted", "keeper")
expect("a session that only the broker has is adopted", back.session_present == 1)
back.subscribe("again", 0)
back.disconnect()
soon("and retained", lambda: channels("keeper") == [("retained", "north")])
END

# The broker is started again: it remembers nothing.
lab_end "${LAB_PIDS[0]}"
lab_broker north "$NORTH" "$NORTH6" || fail "no broker"
py <<'END' || fail "lost by the broker"
from mqttraw import *
import os
from control import (Events, call, channel_on, channels, client as record, clients, counter, expect,
                     one, session, soon, subscriptions)
events = Events()
old = channel_on("keeper", "north")
back = client(os.environ["NORTH"], clientid="keeper", clean=False)
seen = events.until("session.lost_by_broker", "keeper")
expect("the broker has lost it", back.session_present == 0 and seen[-1]["other"] == old)
soon("it is dropped here too", lambda: channels("keeper") == [("connected", "north")])
expect("the new one is empty", subscriptions(clientid="keeper") == [])
END
