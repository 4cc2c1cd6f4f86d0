# SPDX-License-Identifier: BSD-3-Clause
"""The tracker's control socket: JSON-RPC 2.0, one JSON text a line. MQT_SOCKET names it."""
import json
import os
import socket
import time

TIMEOUT = 10.0


class Refused(Exception):
    """A JSON-RPC error."""

    def __init__(self, error):
        super().__init__(error)
        self.code = error["code"]


class Control:
    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(os.environ["MQT_SOCKET"])
        self.reader = self.sock.makefile("rb")
        self.requests = 0
        self.notes = []  # notifications that came while an answer was waited for

    def line(self):
        raw = self.reader.readline()
        if not raw:
            raise EOFError("the tracker has closed the control connection")
        return json.loads(raw)

    def call(self, method, **params):
        self.requests += 1
        request = {"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self.line()
            if "id" not in answer:
                self.notes.append(answer)
                continue
            if "error" in answer and answer["id"] in (self.requests, None):
                raise Refused(answer["error"])
            assert answer["jsonrpc"] == "2.0" and answer["id"] == self.requests, answer
            return answer["result"]

    def note(self, timeout=TIMEOUT):
        """The next notification's parameters."""
        if self.notes:
            return self.notes.pop(0)["params"]
        self.sock.settimeout(timeout)
        return self.line()["params"]


class Events(Control):
    """Follows all events from now on; none may be lost."""

    def __init__(self):
        super().__init__()
        self.call("events.subscribe")

    def until(self, kind, clientid, channel=None, timeout=TIMEOUT):
        """The events of a client id up to and with the next one of this type, of this channel."""
        seen = []
        while not seen or seen[-1]["type"] != kind or seen[-1]["channel"] != (
                channel or seen[-1]["channel"]):
            event = self.note(timeout)
            assert event["type"] != "gap", event
            if event.get("clientid") == clientid:
                seen.append(event)
        print("   ", *("{type}({reason})".format(reason=e.get("reason", ""), type=e["type"])
                       for e in seen))
        return seen

def one(events, kind):
    """The one event of this type among them."""
    (found,) = [event for event in events if event["type"] == kind]
    return found


def call(method, **params):
    return Control().call(method, **params)


def clients(**params):
    """All client records, page by page."""
    found, control = [], Control()
    while True:
        page = control.call("clients.list", **params)
        found += page["clients"]
        if not page.get("cursor"):
            return found
        params["cursor"] = page["cursor"]


def client(clientid):
    """The one record of a client id, or None. Sessions without a connection are not meant."""
    found = [c for c in clients(clientid=clientid) if c["state"] != "retained"]
    assert len(found) <= 1, found
    return found[0] if found else None


def channels(clientid):
    """State and broker of each of its channels, oldest first."""
    try:
        found = call("clients.get", clientid=clientid)["clients"]
    except Refused:
        return []
    return [(c["state"], c["broker"]) for c in found]


def session(**target):
    """The session of a client that has one channel, or of a channel."""
    (found,) = call("clients.get", **target)["clients"]
    return found.get("session")


def channel_on(clientid, broker):
    """The channel that a client has on a broker."""
    (found,) = [c["channel"] for c in clients(clientid=clientid) if c["broker"] == broker]
    return found


def subscriptions(**target):
    found = session(**target) or {"subscriptions": []}
    return [(s["topic"], s["qos"]) for s in found["subscriptions"]]


def counter(name):
    """A named counter: of the control lcore, or the sum over the workers; "control.opens" where
    both have one of that name."""
    stats = call("stats.get")
    if "." in name:
        part, name = name.split(".")
        return stats[part][name]
    found = [stats[part][name] for part in ("control", "workers") if name in stats[part]]
    assert len(found) == 1, f"{len(found)} counters {name}"
    return found[0]


def soon(what, check, timeout=TIMEOUT):
    """Waits until check() is true."""
    end = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < end, f"not in {timeout} s: {what}"
        time.sleep(0.02)
    print("ok:", what)


def goes_on(what, count, goal):
    """Waits until count() is the goal, as long as it takes, but not where nothing happens."""
    seen, end = count(), time.monotonic() + TIMEOUT
    while seen != goal:
        time.sleep(0.02)
        now = count()
        if now != seen:
            seen, end = now, time.monotonic() + TIMEOUT
        assert seen <= goal and time.monotonic() < end, f"{what}: {seen} of {goal}"
    print("ok:", what)


def expect(what, truth):
    assert truth, f"not so: {what}"
    print("ok:", what)
