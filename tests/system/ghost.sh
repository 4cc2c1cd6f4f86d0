#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A client ends its connection for the tracker alone: by a FIN or RST that its broker's host
# discards. Once another connection of that client id is there, the older one is dead.
. "$MQT_TOP/tests/system/prelude.sh"
RAW=192.0.2.200
brk ip neigh replace "$RAW" lladdr "$(cli cat /sys/class/net/c0/address)" dev b0 nud permanent
lab_tracker 1 "listeners:
  - {name: tcp}" || fail "no tracker"
MAC=$(brk cat /sys/class/net/b0/address) RAW=$RAW py <<'END' || fail "ghosts"
from rawtcp import *
from mqttraw import client, connect_packet, packet, PINGREQ
from control import channels, counter, soon
import os

MAC = bytes.fromhex(os.environ["MAC"].replace(":", ""))
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
PING = packet(PINGREQ)


def lost_then_rst(older, at):
    older.send(at, PING, age=50000)
    older.send(at + len(PING), b"", RST | ACK)


ENDS = {
    "FIN with an old timestamp": lambda older, at: older.send(at, b"", FIN | ACK, age=50000),
    "RST with an MD5 signature": lambda older, at: older.send(at, b"", RST | ACK, lost=True),
    "lost data, then RST": lost_then_rst,
}


def settle():
    """Waits until all that was sent has had its effect: who comes behind it has been answered."""
    behind = client(NORTH, clientid="behind")
    behind.ping()
    behind.disconnect()


def opens(client_id, port):
    older, hello = RawTcp(os.environ["RAW"], port, NORTH, MAC), connect_packet(client_id)
    older.open()
    older.send(0, hello)
    soon(f"{client_id} is tracked", lambda: channels(client_id) == [("connected", "north")])
    settle()
    older.receive(0)
    return older, len(hello)


def pings(older, at):
    """Whether the broker answers."""
    older.receive(0)
    before = len(older.received)
    older.send(at, PING)
    settle()
    older.receive(0)
    return older.received[before:] == b"\xd0\0"


for n, (name, end) in enumerate(ENDS.items()):
    client_id = f"ghost-{n}"
    older, at = opens(client_id, 41000 + n)
    end(older, at)
    settle()
    newer = client(SOUTH, clientid=client_id)
    assert not pings(older, at), f"{name}: the older connection lives"
    assert newer.open(), f"{name}: the newer one does not"
    assert channels(client_id) == [("connected", "south")], name
assert counter("duplicates") == 0

# nobody comes: the FIN that is not acknowledged ends both ends, soon
older, at = opens("alone", 41100)
older.send(at, b"", FIN | ACK, age=50000)
soon("the channel is gone", lambda: channels("alone") == [])
assert not pings(older, at), "the connection lives without a channel"
END
