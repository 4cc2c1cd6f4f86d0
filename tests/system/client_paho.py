# SPDX-License-Identifier: BSD-3-Clause
"""Eclipse Paho's Python client on a line: obeys stdin, tells stdout what happens; see makes.py.
usage: client_paho.py URI CLIENT-ID VERSION CLEAN"""
import os
import sys
import urllib.parse

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

uri, clientid, version, clean = sys.argv[1:]
uri, version, clean = urllib.parse.urlsplit(uri), int(version), clean == "1"
published = {}


def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def on_connect(client, arg, flags, code, properties=None):
    code = getattr(code, "value", code)
    tell(*(["failed", code] if code else ["connected", flags["session present"]]))


def on_disconnect(client, arg, code, properties=None):
    if hasattr(code, "value") and code.value:
        tell("reason", code.value)
    tell("lost")
    os._exit(0)  # it would connect again


def on_message(client, arg, message):
    tell("message", message.topic, message.payload.decode(), message.qos)


protocol = {3: mqtt.MQTTv31, 4: mqtt.MQTTv311, 5: mqtt.MQTTv5}[version]
options = {} if version == 5 else {"clean_session": clean}
client = mqtt.Client(clientid, protocol=protocol,
                     transport="websockets" if uri.scheme == "ws" else "tcp", **options)
client.on_connect, client.on_disconnect, client.on_message = on_connect, on_disconnect, on_message
client.on_subscribe = lambda *args: tell("subscribed")
client.on_publish = lambda *args: tell("published")
options = {}
if version == 5:
    options = {"clean_start": clean, "properties": Properties(PacketTypes.CONNECT)}
    options["properties"].SessionExpiryInterval = 300
client.connect(uri.hostname, uri.port, keepalive=30, **options)
client.loop_start()
for line in sys.stdin:
    word, *rest = line.split()
    if word == "subscribe":
        client.subscribe(rest[0], int(rest[1]))
    elif word == "publish":
        client.publish(rest[0], rest[2], int(rest[1]))
    elif word == "leave":
        client.on_disconnect = lambda *args: tell("left")
        client.disconnect()
