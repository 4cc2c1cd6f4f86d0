# SPDX-License-Identifier: BSD-3-Clause
"""A client that crafts its segments tries to show the tracker another client id than its broker
reads. Whatever it does: the record is what the broker logs, or there is none."""
import re

from control import clients, counter, expect
from mqttraw import client, connect_packet
from rawtcp import ACK, FIN, PSH, SYN, URG, RawTcp

PUBLISH = b"\x30\x03\x00\x01t"
ID_AT = 14


def a_and_b(name):
    """Two streams of one length: CONNECT as victim and as joker, and a PUBLISH."""
    return [connect_packet(f"{who}-{name}") + PUBLISH for who in ("vict", "joke")]


class Confusion:
    """Attacks of one source on one broker, whose log is the file `log`. `vlans` as for RawTcp."""

    def __init__(self, source, host, mac, log, vlans=()):
        self.source, self.host, self.vlans, self.log = source, host, vlans, log
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.port = 40000

    def flow(self):
        self.port += 1
        return RawTcp(self.source, self.port, self.host, self.mac, vlans=self.vlans)

    def broker_knows(self, port):
        """The client id that the broker logged for a port; None."""
        found = re.findall(rf"{re.escape(self.source)}:{port} as (\S+)", open(self.log).read())
        return found[0] if found else None

    def settle(self):
        """Waits until all that was sent has had its effect: who comes behind it over the same path has
        been answered."""
        behind = client(self.host, clientid=f"behind-{self.port}")
        behind.ping()
        behind.disconnect()

    def attack(self, name, script, syn=None, opens=None, counts=None):
        """`opens`: who must be in the record, "vict" or "joke"; None: nobody. `counts`: the counter
        that has to say so."""
        flow = self.flow()
        a, b = a_and_b(f"{self.port}")
        before = counter(counts) if counts else 0
        if syn:
            syn(flow, a, b)
        else:
            flow.open()
        script(flow, a, b)
        self.settle()
        seen = [c["clientid"] for c in clients() if c["connected"]
                and (c["ip_address"], c["port"]) == (self.source, self.port)]
        known = self.broker_knows(self.port)
        print(f"   {name}: the broker has {known}, the tracker {seen}")
        expect(f"{name}: not another client id", all(one == known for one in seen))
        expect(f"{name}: {opens} is connected" if opens else f"{name}: nobody is",
               [one[:4] for one in seen] == ([opens] if opens else []))
        if counts:
            expect(f"{name}: counted as {counts}", counter(counts) > before)
        flow.close()

    def lost_is_lost(self):
        """Whether the host discards what has a signature: not every kernel knows them."""
        flow = self.flow()
        flow.open()
        flow.send(0, a_and_b("lost")[0], lost=True)
        self.settle()
        flow.close()
        return self.broker_knows(self.port) is None

    def all(self):
        for name, script, more in ATTACKS:
            self.attack(name, script, **more)
        if not self.lost_is_lost():
            print("left out: this kernel does not discard what is signed unasked")
            return
        for name, script, more in LOST:
            self.attack(name, script, **more)


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


def victim(flow, a, b):
    flow.send(0, a)


def joker(flow, a, b):
    flow.send(0, b)


def the_same_twice(flow, a, b):
    flow.send(0, a, age=50000)
    flow.send(0, a)


ATTACKS = [
    ("one copy", victim, {"opens": "vict"}),
    ("the same twice", the_same_twice, {"opens": "vict"}),
    ("an old timestamp first", twice(age=50000), {"counts": "conflict"}),
    ("an acknowledgement of the future first", twice(ack=(1 << 31) - 1), {"counts": "conflict"}),
    ("no ACK flag first", twice(flags=PSH), {"counts": "conflict"}),
    ("a wrong checksum first", twice(damaged=True), {"opens": "joke", "counts": "bad_checksum"}),
    ("other bytes in an overlap", partial, {"counts": "conflict"}),
    ("other bytes behind a gap", behind_a_gap, {"counts": "conflict"}),
    ("a FIN, then more", behind_a_fin, {"counts": "conflict"}),
    ("urgent data", urgent, {"counts": "opaque_urgent"}),
    ("data beyond the window first", beyond_the_window,
     {"opens": "joke", "counts": "out_of_window"}),
    ("CONNECT in the SYN", nothing,
     {"syn": lambda flow, a, b: flow.open(a[:-5]), "opens": "vict"}),
]

# Those with segments that the host discards for their signature.
LOST = [
    ("a copy that is lost first", twice(lost=True), {"counts": "conflict"}),
    ("a SYN with other payload", nothing,
     {"syn": syn_with_other_payload, "counts": "opaque_ambiguous"}),
    ("a SYN that ends where another begins", joker,
     {"syn": syn_that_ends_where_another_begins, "counts": "opaque_ambiguous"}),
]
