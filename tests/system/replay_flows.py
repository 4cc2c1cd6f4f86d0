# SPDX-License-Identifier: BSD-3-Clause
"""The flows of replay.sh, and what the tracker must know of each."""
import struct

import mqttraw
from mqttraw import V31, V311, V5, connect_packet, packet, text
from mqttws import mask
from replay import BROKER, CLIENT, Flow, Wire

SOUTH = "192.0.2.12"
UPGRADE = (b"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
SWITCHING = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
             b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
PROXY = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4B4BHH", 12, 203, 0, 113, 9, 192, 0, 2, 11,
                                                     4711, 1884))


def connack(version, code=0):
    return packet(mqttraw.CONNACK, bytes([0, code]) + (b"\0" if version == V5 else b""))


def subscribe(version, topic):
    props = b"\0" if version == V5 else b""
    return packet(mqttraw.SUBSCRIBE, b"\0\1" + props + text(topic) + b"\1", 2)


def suback(version):
    return packet(mqttraw.SUBACK, b"\0\1" + (b"\0" if version == V5 else b"") + b"\1")


def publish(version, topic, payload, number):
    props = b"\0" if version == V5 else b""
    return packet(mqttraw.PUBLISH, text(topic) + struct.pack("!H", number) + props + payload, 2)


# name: version, how it is carried, how it goes on, and the state that its client id is left in
FLOWS = {
    "plain": (V311, {}, "talk", "connected"),
    "old": (V31, {}, "talk", "connected"),
    "five": (V5, {}, "talk", "connected"),
    "six": (V5, {"ip6": True}, "talk", "connected"),
    "vlan": (V311, {"tags": [(0x8100, 42)]}, "talk", "connected"),
    "qinq": (V5, {"tags": [(0x88A8, 7), (0x8100, 42)]}, "talk", "connected"),
    "fragments": (V311, {"fragment": 24}, "connect", "connected"),
    "web": (V311, {"broker_port": 8083}, "talk", "connected"),
    "proxied": (V5, {"broker_port": 1884}, "talk", "connected"),
    "leaves": (V311, {}, "leave", None),
    "half": (V311, {}, "half", "retained"),
    "resets": (V311, {}, "reset", None),
    "refused": (V311, {}, "refused", None),
    "paths": (V311, {"mptcp": True}, "talk", None),
    "middle": (V311, {}, "middle", None),
    "strange": (V311, {}, "strange", None),
    "twice": (V311, {}, "second connect", "connected"),
    "moves": (V5, {}, "moves", "connected"),
}
TOPIC = "some/topic"


def packed(name, side, data):
    """In a frame where the flow is a WebSocket, always under the same key."""
    if name != "web":
        return data
    if side == BROKER:
        return bytes([0x82, len(data)]) + data
    return bytes([0x82, 0x80 | len(data)]) + b"key!" + mask(data, b"key!")


def life(name, flow, version, plot):
    """Says everything; yields where the tracker may need time."""
    if plot == "middle":
        flow.say(CLIENT, publish(version, TOPIC, b"from nowhere", 1))
        return
    flow.open()
    if plot == "strange":
        flow.say(CLIENT, b"GET / HTTP/1.1\r\n\r\n")
        flow.end(CLIENT)
        flow.end(BROKER)
        return
    if name == "web":
        flow.say(CLIENT, UPGRADE)
        flow.say(BROKER, SWITCHING)
    lasts = plot == "half"
    hello = connect_packet(name, version, clean=not lasts)
    flow.say(CLIENT, (PROXY if name == "proxied" else b"") + packed(name, CLIENT, hello))
    flow.say(BROKER, packed(name, BROKER, connack(version, 5 if plot == "refused" else 0)))
    if plot == "refused":
        flow.end(BROKER)
        flow.end(CLIENT)
        return
    yield
    if plot != "connect":
        flow.say(CLIENT, packed(name, CLIENT, subscribe(version, TOPIC)))
        flow.say(BROKER, packed(name, BROKER, suback(version)))
        flow.say(CLIENT, packed(name, CLIENT, publish(version, TOPIC, b"x" * 90, 2)))
        flow.say(BROKER, packed(name, BROKER, publish(version, TOPIC, b"y" * 90, 3)))
    if plot == "leave":
        flow.say(CLIENT, packet(mqttraw.DISCONNECT))
        flow.end(CLIENT)
        flow.end(BROKER)
    if plot == "half":
        flow.end(CLIENT)
        flow.say(BROKER, publish(version, TOPIC, b"still heard", 4))
        flow.end(BROKER)
    if plot == "reset":
        flow.reset(CLIENT)
    if plot == "second connect":
        flow.say(CLIENT, connect_packet("another", version))


def build(seed):
    """The wire, and the flows by name; "moved" is the newcomer of "moves" on another broker."""
    wire = Wire(None if seed == "none" else int(seed))
    flows, lives = {}, []
    for number, (name, (version, how, plot, _)) in enumerate(FLOWS.items()):
        flows[name] = Flow(wire, 30000 + number, **how)
        lives.append(life(name, flows[name], version, plot))
    while lives:
        lives = [one for one in lives if next(one, "over") != "over"]
        wire.pause()
    flows["moved"] = Flow(wire, 31000, broker=SOUTH)
    for _ in life("moves", flows["moved"], V5, "connect"):
        pass
    wire.pause()
    return wire, flows
