#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A client's record says what its CONNECT said and what it has sent and received since.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

py <<'END' || fail "a record is wrong"
import datetime
import os
from mqttraw import *
import control
from control import call, clients, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]

cases = [
    # options of the client, what its record must hold, and what it must leave out
    (NORTH, dict(clientid="old", version=V31, keepalive=30),
     dict(proto_name="MQIsdp", proto_ver=3, keepalive=30, clean_start=True, broker="north"),
     ["username", "expiry_interval"]),
    (SOUTH, dict(clientid="usual", username="ann", clean=False, keepalive=0),
     dict(proto_name="MQTT", proto_ver=4, keepalive=0, clean_start=False, broker="south",
          username="ann"), ["expiry_interval"]),
    (NORTH, dict(clientid="new", version=V5, keepalive=600, expiry=3600),
     dict(proto_name="MQTT", proto_ver=5, keepalive=600, clean_start=True, broker="north",
          expiry_interval=3600), ["username"]),
    (SOUTH, dict(clientid="\u00e9\u6f22 \"\\", version=V5, username=""),
     dict(proto_ver=5, username="", broker="south"), []),
]
before = time.time()
for host, options, fields, absent in cases:
    name = options["clientid"]
    made = client(host, **options)
    soon(f"{name!r} is listed", lambda: clients(clientid=name))
    (record,) = call("clients.get", clientid=name)["clients"]
    fields |= dict(clientid=name, connected=True, ip_address="192.0.2.1", port=made.port,
                   listener="tcp", domain="default", node="lab", transport="tcp", worker=0)
    for field, value in fields.items():
        assert record[field] == value, (field, record)
    for field in absent:
        assert field not in record, (field, record)
    assert record["channel"], record
    since = datetime.datetime.fromisoformat(record["connected_at"].replace("Z", "+00:00"))
    assert before - 0.001 <= since.timestamp() <= time.time(), record
    print("ok: fields of", repr(name))

    made.subscribe("t", 1)
    for _ in range(3):
        made.publish("t", "12345", 1)
        made.message()
    made.ping()

    def counted():
        # CONNECT, SUBSCRIBE, 3 PUBLISH, 3 PUBACK, PINGREQ; the answers, and 3 PUBLISH
        found = control.client(name)
        return [found[side + what] for what in ("_pkt", "_msg") for side in ("recv", "send")] \
            == [9, 9, 3, 3] and found["recv_oct"] > len(made.hello) and found["send_oct"] > 0

    soon(f"traffic of {name!r}", counted)
    made.disconnect()
    soon(f"{name!r} has left", lambda: control.client(name) is None)

named = client(NORTH, clientid="", version=V5)
soon("an id that the broker assigned", lambda: [c for c in clients(connected=True) if c.get("assigned")])
nameless = client(NORTH, clientid="", version=V311)
soon("a client without any", lambda: [c for c in clients(connected=True) if c.get("anonymous")])
(other,) = [c for c in clients(connected=True) if not c.get("assigned")]
expect("has no client id in its record", "clientid" not in other and other["port"] == nameless.port)
END
