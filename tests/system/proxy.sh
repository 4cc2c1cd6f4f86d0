#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients behind a proxy that names them by a PROXY header of either version: the record has their
# own address and certificate name; without a header they are reset where one is required.
. "$(dirname "$0")/prelude.sh"

lab_spawn brk stub python3 "$MQT_TOP/tests/system/proxy_stub.py" "$NORTH" 1885 1883
lab_spawn brk stub2 python3 "$MQT_TOP/tests/system/proxy_stub.py" "$NORTH" 1886 1883
eventually 10 grep -q ready "$LAB_DIR/stub.log" || fail "no stub"
eventually 10 grep -q ready "$LAB_DIR/stub2.log" || fail "no second stub"

lab_tracker 1 "listeners:
  - {name: tcp}
  - {name: proxied, port: 1885, proxy: require}
  - {name: either, port: 1886, proxy: accept}" || fail "no tracker"

py <<'END' || fail "proxy"
import os
import socket
import struct
from mqttraw import Client, V311, V5
from control import call, client as record, counter, expect, soon
NORTH = os.environ["NORTH"]

def v2(command, family=0, body=b""):
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack("!H", len(body)) + body

def tlv(kind, value):
    return bytes([kind]) + struct.pack("!H", len(value)) + value

four = socket.inet_aton("203.0.113.9") + socket.inet_aton(NORTH) + struct.pack("!HH", 4711, 1885)
six = socket.inet_pton(socket.AF_INET6, "2001:db8:5::9") * 2 + struct.pack("!HH", 4712, 1885)
cn = tlv(0x20, b"\7\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"device 7"))
rows = [
    ("version 1", b"PROXY TCP4 203.0.113.9 192.0.2.11 4711 1885\r\n", "203.0.113.9", 4711, None),
    ("version 2", v2(0x21, 0x11, four), "203.0.113.9", 4711, None),
    ("version 2 with certificate", v2(0x21, 0x21, six + cn), "2001:db8:5::9", 4712, "device 7"),
    ("version 1 unknown", b"PROXY UNKNOWN\r\n", None, None, None),
    ("local", v2(0x20), None, None, None),
]
for name, header, address, port, certificate in rows:
    for piece in None, 1:
        for listener in 1885, 1886:
            c = Client(NORTH, listener, clientid="behind", version=V5)
            c.hello = header + c.hello
            expect(f"{name}: accepted", c.connect(piece) == 0)
            r = record("behind")
            wire = f"192.0.2.1:{c.port}"
            expect(f"{name}: the record is the client's {r['ip_address']} {r['port']}",
                   r["ip_address"] == (address or "192.0.2.1") and r["port"] == (port or c.port)
                   and r.get("via") == (wire if address else None)
                   and r.get("cert_cn") == certificate and r["transport"] == "tcp")
            c.ping()
            c.disconnect()
            soon("it has left", lambda: record("behind") is None)

for name, bytes_sent, name_of in (
        ("no header", Client(NORTH, clientid="bare").hello, "proxy_missing"),
        ("nearly a header", b"PROX" + bytes(8), "proxy_missing"),
        ("a line that is none", b"PROXY TCP4 here there 1 2\r\n", "proxy_malformed")):
    before = counter(name_of)
    c = Client(NORTH, 1885)
    c.send(bytes_sent)
    expect(f"{name}: reset", c.end() == ("reset", None))
    expect(f"{name}: counted", counter(name_of) == before + 1)
check = Client(NORTH, 1885)
check.send(v2(0x20))
check.close()
soon("a health check is counted", lambda: counter("proxy_local") == 5)
expect("nothing was opaque", counter("opaque") == 0)
expect("no client id was live twice", counter("duplicates") == 0)
END
