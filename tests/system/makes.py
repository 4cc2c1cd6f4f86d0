# SPDX-License-Identifier: BSD-3-Clause
"""Clients of any make, each a program that is run with URI, client id, version and whether it
starts clean, obeys lines on stdin (subscribe TOPIC QOS, publish TOPIC QOS PAYLOAD, leave) and tells
by lines on stdout what happens: connected SESSION-PRESENT, subscribed, published, message TOPIC
PAYLOAD QOS, reason CODE (of a DISCONNECT), lost, left, failed."""
import queue
import subprocess
import threading
import time

from kernel import acknowledged
from control import call, channels, client as record, expect, session, soon, subscriptions

TIMEOUT = 15.0
START = 60.0  # until a program is loaded and tells its first line


class Make:
    def __init__(self, program, uri, clientid, version, clean):
        self.told, self.lines, self.limit = [], queue.Queue(), START
        self.process = subprocess.Popen([*program, uri, clientid, str(version), str(int(clean))],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def until(self, *wanted):
        """Waits until all these lines have been told, in any order; forgets them."""
        wanted, deadline = list(wanted), time.monotonic() + self.limit
        while any(line not in self.told for line in wanted):
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"told {self.told}, wanted {wanted}"
            self.told.append(line)
        for line in wanted:
            self.told.remove(line)
        self.limit = TIMEOUT

    def end(self):
        self.process.stdin.close()
        self.process.stdout = None
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def quiet(name):
    """Waits until nothing of a client is on its way: else it would be ended by a reset."""
    soon("it is quiet", lambda: session(clientid=name)["inflight_to_client"] == 0
         and session(clientid=name)["inflight_from_client"] == 0)
    acknowledged(record(name)["port"])


def messages(client, name):
    """All qualities of service, there and back."""
    for qos in 0, 1, 2:
        client.do("publish", f"{name}/x", qos, f"quality{qos}")
        client.until("published", f"message {name}/x quality{qos} {qos}")


def judge(program, name, uri, other, version, reasons):
    """A client's life: it subscribes and publishes, leaves, resumes, is taken over by one of its
    make on the other broker, and that one is kicked. `reasons`: a client of 5.0 tells why."""
    reasons = reasons and version == 5
    transport = uri.split(":")[0]
    what, name = f"{name}, version {version}, {transport}:", f"{name}-{version}-{transport}"
    first = Make(program, uri, name, version, False)
    first.until("connected 0")
    seen = record(name)
    expect(f"{what} listed", seen["proto_ver"] == version and seen["connected"]
           and seen["transport"] == transport and not seen["clean_start"])
    first.do("subscribe", f"{name}/#", 2)
    first.until("subscribed")
    messages(first, name)
    soon(f"{what} what it subscribed and said is known",
         lambda: subscriptions(clientid=name) == [(f"{name}/#", 2)]
         and record(name)["recv_msg"] == 3 and record(name)["send_msg"] == 3)
    first.do("leave")
    first.until("left")
    first.end()
    soon(f"{what} it has left its session",
         lambda: [state for state, _ in channels(name)] == ["retained"])

    second = Make(program, uri, name, version, False)
    second.until(f"connected {int(version != 3)}")  # 3.1 does not tell
    messages(second, name)
    expect(f"{what} resumed with its subscription",
           subscriptions(clientid=name) == [(f"{name}/#", 2)])
    quiet(name)
    third = Make(program, other, name, version, True)
    third.until("connected 0")
    second.until("reason 142" if reasons else "lost")
    second.end()
    live = [broker for state, broker in channels(name) if state == "connected"]
    expect(f"{what} taken over by the other broker: {live}", live == ["south"])
    acknowledged(record(name)["port"])
    call("clients.kick", clientid=name)
    third.until("reason 152" if reasons else "lost")
    third.end()
    soon(f"{what} kicked", lambda: record(name) is None)
    call("clients.discard", clientid=name)
    soon(f"{what} nothing is left", lambda: not channels(name))
