#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A control client that floods, sends rubbish, or does not read harms itself alone.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"

expect "the socket is for its owner and group" [ "$(stat -c %a "$LAB_SOCKET")" = 660 ]

py <<'END' || fail "control socket"
from mqttraw import *
import json
import os
from control import Control, Refused, call, clients, expect, soon
device = client(os.environ["NORTH"], clientid="device")

def error_of(line):
    control = Control()
    control.sock.sendall(line + b"\n")
    try:
        return control.line()["error"]["code"]
    except (EOFError, ConnectionResetError):
        return "closed"

head = b'{"jsonrpc":"2.0","id":1,'
for what, line, allowed in [
    ("broken JSON", b'{"jsonrpc":', (-32700,)),
    ("not UTF-8", head + b'"method":"\xff\xfe"}', (-32700, -32600)),
    ("not a request", b"[1,2", (-32700,)),
    ("a number", b"7", (-32600,)),
    ("no method", head + b'"params":{}}', (-32600,)),
    ("unknown method", head + b'"method":"no.such"}', (-32601,)),
    ("parameters of a wrong type", head + b'"method":"clients.get","params":{"clientid":7}}',
     (-32602,)),
    ("a missing parameter", head + b'"method":"clients.kick","params":{}}', (-32602,)),
    ("deep nesting", head + b'"method":"clients.list","params":' + b"[" * 30000, (-32700,)),
    ("a request of 70 KiB", head + b'"method":"' + b"x" * 70000 + b'"}', (-32600, -32700, "closed")),
]:
    code = error_of(line)
    expect(f"{what}: {code}", code in allowed)
    expect("the next client is served", call("system.info"))

endless = Control()
try:
    for _ in range(1000):
        endless.sock.sendall(b"x" * 4096)
    ended = False
except (BrokenPipeError, ConnectionResetError):
    ended = True
expect("a line without an end costs the connection", ended)

lazy = Control()
lazy.sock.settimeout(0.2)
request = head + b'"method":"stats.get"}\n'
sent = 0
try:
    while sent < 50000:
        lazy.sock.sendall(request)
        sent += 1
    slow = "read all"
except TimeoutError:
    slow = "not read from any more"
except (BrokenPipeError, ConnectionResetError):
    slow = "closed"
expect(f"a client that does not read is stopped after {sent} requests: {slow}", sent < 50000)

for _ in range(50):
    call("clients.list")
print("ok: another is served meanwhile")
crowd = []
try:
    for _ in range(500):
        crowd.append(Control())
except OSError:
    pass
print("ok: opened", len(crowd), "connections at once")
crowd.clear()


def answered():
    try:
        return call("system.info")
    except (BlockingIOError, ConnectionError, EOFError, Refused):
        return None  # the crowd is still in the socket's backlog, or being seen off


soon("then there is room again", answered)
device.ping()
expect("the data path did not notice", device.open() and len(clients()) == 1)
END
