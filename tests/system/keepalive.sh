#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients that vanish without a word: their address is taken away, so that nobody answers for them
# and nobody says so. The broker is stopped meanwhile, so that the tracker is the one that notices;
# when it goes on, it finds the connection reset and publishes the will.
. "$(dirname "$0")/prelude.sh"
NORTH_PID=${LAB_PIDS[0]}
export NORTH_PID
lab_tracker 1 'limits:
  keepalive_grace_ms: 500
  idle_sec: 2' || fail "no tracker"

py <<'END' || fail "keepalive"
from mqttraw import *
import os
import signal
import subprocess
from control import Events, client as record, counter, expect, one, soon
from kernel import acknowledged
NORTH, BROKER = os.environ["NORTH"], int(os.environ["NORTH_PID"])

def vanish(address):
    subprocess.run(["ip", "address", "delete", address + "/24", "dev", "c0"], check=True)

watcher = client(NORTH, clientid="watcher")
watcher.subscribe("will/#")
events = [Events(), Events(), Events()]

# 1.5 keepalives are 6 s
cut = client(NORTH, clientid="cut", source="192.0.2.2", keepalive=4, will=("will/cut", "gone"))
mute = client(NORTH, clientid="mute", version=V5, keepalive=4)
for each in cut, mute:
    each.ping()
    acknowledged(each.port)  # else the DISCONNECT would be a reset
os.kill(BROKER, signal.SIGSTOP)
try:
    vanish("192.0.2.2")
    seen = events[0].until("disconnected", "cut", timeout=20)
    end = one(seen, "disconnected")
    expect("the tracker ends the client that has vanished", end["reason"] == "keepalive_timeout")
    life = end["mono_ns"] - one(seen, "connected")["mono_ns"]
    expect("not before its broker would", life >= 6_500_000_000)
    end = one(events[1].until("disconnected", "mute", timeout=20), "disconnected")
    expect("and the one that says nothing", end["reason"] == "keepalive_timeout")
    expect("which is told why", mute.end() == ("fin", 0x8D))
    expect("the watcher is connected", record("watcher") is not None)
finally:
    os.kill(BROKER, signal.SIGCONT)
expect("the broker publishes the will", watcher.message() == ("will/cut", b"gone"))
soon("both have left the tracker", lambda: record("cut") is None and record("mute") is None)
expect("counted", counter("keepalive") == 2)

alive = client(NORTH, clientid="alive", keepalive=0)
gone = client(NORTH, clientid="gone", source="192.0.2.3", keepalive=0, will=("will/gone", "too"))
gone.ping()
vanish("192.0.2.3")
end = one(events[2].until("disconnected", "gone", timeout=20), "disconnected")
expect("a client without keepalive that answers no probe is ended",
       end["reason"] == "idle_timeout")
expect("its will is published", watcher.message() == ("will/gone", b"too"))
soon("one that answers is asked and lives on", lambda: counter("idle_alive") > 0)
expect("it is connected", record("alive") is not None)
alive.ping()
expect("only one was dead", counter("idle") == 1)
END
