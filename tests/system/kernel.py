# SPDX-License-Identifier: BSD-3-Clause
"""What the kernels of both ends know of a connection."""
import os
import subprocess
import time

TIMEOUT = 10.0
PROBES = 4  # the timer of a sender whose receiver has no window


def rows(side):
    """Ports, timer and bytes not acknowledged of each connection in the namespace of clients, "cli",
    or of brokers, "brk"."""
    shown = subprocess.run(["ip", "netns", "exec", f"{os.environ['LAB']}-{side}", "cat",
                            "/proc/net/tcp", "/proc/net/tcp6"],
                           check=True, capture_output=True, text=True).stdout
    for line in shown.splitlines():
        _, local, remote, _, queues, timer, *_ = line.split()
        if local != "local_address":
            yield (*(int(end.split(":")[1], 16) for end in (local, remote)),
                   int(timer.split(":")[0], 16), int(queues.split(":")[0], 16))


def until(what, check):
    end = time.monotonic() + TIMEOUT
    while not check():
        assert time.monotonic() < end, f"not in {TIMEOUT} s: {what}"
        time.sleep(0.01)


def acknowledged(port):
    """Waits until both ends of a client's connection, which is known by its port, have acknowledged
    what they got. The tracker has then seen that. Else it cannot end one by FIN."""
    until(f"port {port} is acknowledged",
          lambda: not any(unacked for local, _, _, unacked in rows("cli") if local == port)
          and not any(unacked for _, remote, _, unacked in rows("brk") if remote == port))


def window_closed(port):
    """Waits until the broker only asks whether that client has a window again."""
    until(f"port {port} has no window",
          lambda: [timer for _, remote, timer, _ in rows("brk") if remote == port] == [PROBES])
