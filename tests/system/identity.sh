#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A client that crafts its segments tries to show the tracker another client id than its broker
# reads. Whatever it does: the record is what the broker logs, or there is none.
. "$(dirname "$0")/prelude.sh"
RAW=192.0.2.200 EAST=192.0.2.13

# A broker whose host takes the payload of a SYN, without a cookie.
brk sysctl -qw net.ipv4.tcp_fastopen=0x603
ip -n "$LAB-brk" address add "$EAST/24" dev b0
lab_broker east "$EAST" || fail "no third broker"
brk ip neigh replace "$RAW" lladdr "$(cli cat /sys/class/net/c0/address)" dev b0 nud permanent
lab_tracker || fail "no tracker"

MAC=$(brk cat /sys/class/net/b0/address) LOG=$LAB_DIR/east.log EAST=$EAST RAW=$RAW py <<'END' || fail "identity"
from rawtcp import *
from mqttraw import connect_packet
from control import clients, counter, expect
import os
import re

EAST, RAW, LOG = os.environ["EAST"], os.environ["RAW"], os.environ["LOG"]
MAC = bytes.fromhex(os.environ["MAC"].replace(":", ""))
PUBLISH = b"\x30\x03\x00\x01t"
ID_AT = 14
port = 40000


def a_and_b(name):
    """Two streams of one length: CONNECT as victim and as joker, and a PUBLISH."""
    return [connect_packet(f"{who}-{name}") + PUBLISH for who in ("vict", "joke")]


def broker_knows(number):
    """The client id that the broker logged for a port; None."""
    found = re.findall(rf"{re.escape(RAW)}:{number} as (\S+)", open(LOG).read())
    return found[0] if found else None


def attack(name, script, syn=None, opens=None, counts=None):
    """`opens`: who must be in the record, "vict" or "joke"; None: nobody."""
    global port
    port += 1
    a, b = a_and_b(f"{port}")
    before = counter(counts) if counts else 0
    flow = RawTcp(RAW, port, EAST, MAC)
    if syn:
        syn(flow, a, b)
    else:
        flow.open()
    script(flow, a, b)
    flow.receive(0.3)
    seen = [c["clientid"] for c in clients() if c["port"] == port and c["connected"]]
    known = broker_knows(port)
    print(f"   {name}: the broker has {known}, the tracker {seen}")
    expect(f"{name}: not another client id", all(one == known for one in seen))
    expect(f"{name}: {opens} is connected" if opens else f"{name}: nobody is",
           [one[:4] for one in seen] == ([opens] if opens else []))
    if counts:
        expect(f"{name}: counted as {counts}", counter(counts) > before)
    flow.close()


def lost_is_lost():
    """Whether the host discards what has a signature: not every kernel knows them."""
    global port
    port += 1
    flow = RawTcp(RAW, port, EAST, MAC)
    flow.open()
    flow.send(0, a_and_b("lost")[0], lost=True)
    flow.receive(0.3)
    flow.close()
    return broker_knows(port) is None


def twice(**drop):
    """A copy of victim's that the broker drops, then joker's."""
    def script(flow, a, b):
        flow.send(0, a, **drop)
        flow.send(0, b)
    return script


def partial(flow, a, b):
    flow.send(0, a[:ID_AT])
    flow.send(ID_AT, a[ID_AT:], age=50000)
    flow.send(ID_AT - 4, b[ID_AT - 4:])


def behind_a_gap(flow, a, b):
    flow.send(ID_AT, a[ID_AT:ID_AT + 2], age=50000)
    flow.send(ID_AT + 1, b[ID_AT + 1:])
    flow.send(0, a[:ID_AT])
    flow.send(ID_AT, b[ID_AT:ID_AT + 1])


def behind_a_fin(flow, a, b):
    flow.send(0, a[:ID_AT])
    flow.send(ID_AT, b"", FIN | ACK, age=50000)
    flow.send(ID_AT, a[ID_AT:])


def urgent(flow, a, b):
    flow.send(0, a, ACK | URG, urgent=ID_AT + 1)


def beyond_the_window(flow, a, b):
    flow.send(100000, a)
    flow.send(0, b)


def syn_with_other_payload(flow, a, b):
    flow.segment(flow.isn, a[:-5], SYN, ack=0, lost=True)
    flow.open(b[:-5])


def syn_that_ends_where_another_begins(flow, a, b):
    first = a[:-5]
    flow.segment(flow.isn - len(first), first, SYN, ack=0, lost=True)
    flow.open()


def nothing(flow, a, b):
    pass


def joker(flow, a, b):
    flow.send(0, b)


attack("one copy", lambda flow, a, b: flow.send(0, a), opens="vict")
attack("the same twice", lambda flow, a, b: (flow.send(0, a, age=50000), flow.send(0, a)),
       opens="vict")
attack("an old timestamp first", twice(age=50000), counts="conflict")
attack("an acknowledgement of the future first", twice(ack=(1 << 31) - 1), counts="conflict")
attack("no ACK flag first", twice(flags=PSH), counts="conflict")
attack("a wrong checksum first", twice(damaged=True), opens="joke", counts="bad_checksum")
attack("other bytes in an overlap", partial, counts="conflict")
attack("other bytes behind a gap", behind_a_gap, counts="conflict")
attack("a FIN, then more", behind_a_fin, counts="conflict")
attack("urgent data", urgent, counts="opaque_urgent")
attack("data beyond the window first", beyond_the_window, opens="joke", counts="out_of_window")
attack("CONNECT in the SYN", nothing, syn=lambda flow, a, b: flow.open(a[:-5]), opens="vict")
if lost_is_lost():
    attack("a copy that is lost first", twice(lost=True), counts="conflict")
    attack("a SYN with other payload", nothing, syn=syn_with_other_payload, counts="opaque_ambiguous")
    attack("a SYN that ends where another begins", joker, syn=syn_that_ends_where_another_begins,
           counts="opaque_ambiguous")
else:
    print("left out: this kernel does not discard what is signed unasked")
END
