#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Bad input on the tracked port passes to the broker and is counted by name; the flows beside it,
# the broker and the tracker go on.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

py <<'END' || fail "bad input"
from mqttraw import *
import os
import random
from control import clients, counter, expect, soon
NORTH = os.environ["NORTH"]
bystander = client(NORTH, clientid="bystander")
chance = random.Random(7)

def throw(data, pieces=1, wait=True):
    """A connection of its own that sends this and waits for the broker to end it."""
    made = Client(NORTH)
    step = max(1, len(data) // pieces)
    try:
        for at in range(0, len(data), step):
            made.send(data[at:at + step])
        return made.end() if wait else made
    except (Closed, TimeoutError) as error:
        return error
    finally:
        if wait:
            made.close()

good = connect_packet("victim", V5)
tls_hello = bytes.fromhex("16030100c8010000c40303") + chance.randbytes(32) + bytes(157)
cases = [
    ("garbage", "opaque", chance.randbytes(5000)),
    ("garbage in 500 pieces", "opaque", chance.randbytes(500)),
    ("HTTP", "opaque", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a TLS hello", "opaque", tls_hello),
    ("CONNECT with the reserved flag", "opaque_malformed",
     packet(CONNECT, text("MQTT") + b"\x04\x03\x00\x3c" + text("victim"))),
    ("CONNECT with will QoS 3", "opaque_malformed",
     packet(CONNECT, text("MQTT") + b"\x04\x1e\x00\x3c" + text("victim") + text("w") + text("p"))),
    ("CONNECT whose client id is longer than it", "opaque_malformed",
     packet(CONNECT, text("MQTT") + b"\x04\x02\x00\x3c\x00\xffvictim")),
    ("a length of five bytes", "opaque_malformed", b"\x10\xff\xff\xff\xff\x01" + good),
    ("an unknown protocol level", "opaque_protocol",
     packet(CONNECT, text("MQTT") + b"\x09\x02\x00\x3c" + text("victim"))),
    ("another protocol name", "opaque_protocol",
     packet(CONNECT, text("mqtt") + b"\x04\x02\x00\x3c" + text("victim"))),
    ("CONNECT of 20 KiB", "opaque_oversize",
     packet(CONNECT, text("MQTT") + b"\x04\x82\x00\x3c" + text("victim") + text("u" * 20000))),
]
for name, count, data in cases:
    before = counter(count)
    pieces = 500 if "pieces" in name else 1
    made = throw(data, pieces, wait=False)
    soon(f"{name}: counted as {count}", lambda: counter(count) > before)
    if isinstance(made, Client):
        made.close()

for name, made in [("half a CONNECT", throw(good[:9], wait=False)),
                   ("no CONNECT at all", throw(b"", wait=False))]:
    bystander.ping()
    made.reset()
    print("ok:", name)

for _ in range(300):
    raw = bytearray(good)
    for _ in range(3):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    made = Client(NORTH)
    try:
        made.send(bytes(raw))
    finally:
        made.close()
bystander.ping()
expect("300 damaged CONNECTs later the bystander is there", bystander.open())

talker = client(NORTH, clientid="talker")
before = counter("anomaly_second_connect")
talker.send(connect_packet("bystander"))
talker.end()
soon("a second CONNECT is counted", lambda: counter("anomaly_second_connect") == before + 1)
bystander.ping()
expect("and kicks nobody", bystander.open())

talker = client(NORTH, clientid="breaker")
before = counter("anomaly_framing")
talker.send(b"\x30\xff\xff\xff\xff\xff")
soon("broken framing after CONNACK is counted", lambda: counter("anomaly_framing") > before)
talker.close()
soon("only the bystander is left", lambda: [c["clientid"] for c in clients()] == ["bystander"])
client(NORTH, clientid="after").disconnect()
END
expect "the broker lives" cli mosquitto_pub -h "$NORTH" -t t -m m
