# SPDX-License-Identifier: BSD-3-Clause
"""What a tracker must know and have counted after the traffic of mqtrack-gen, whose own counts are
in the JSON file that GEN_COUNTS names."""
import json
import os

from control import call, clients, counter, expect, soon


def counts():
    with open(os.environ["GEN_COUNTS"]) as f:
        return json.load(f)


def gauge(name):
    return call("stats.get")["gauges"][name + ".count"]


def followed():
    """Connections and half-open handshakes of all workers."""
    workers = call("workers.list")["workers"]
    return sum(sum(w["connections"].values()) + w["embryos"] for w in workers)


def equal(name, value):
    found = counter(name)
    assert found == value, f"{name} is {found}, not {value}"
    print(f"ok: {name} is {value}")


def same_table(gen):
    """All clients are there, each once, with what it has said."""
    soon("all are there", lambda: gauge("live_connections") == gen["connected"])
    known = clients()
    expect("by their names", sorted(c["clientid"] for c in known) ==
           [f"dev-{i:08d}" for i in range(gen["connected"])])
    expect("each is connected", {c["state"] for c in known} == {"connected"})
    expect("messages are the same", sum(c["recv_msg"] for c in known) == gen["messages"])
    expect("connections are the same", followed() == gen["connected"])


def nothing_left():
    soon("no client is left", lambda: gauge("channels") == gauge("live_connections") == 0)
    soon("no connection is left", lambda: followed() == 0)


def nothing_strange():
    for name in ("opaque", "midstream", "bad_checksum", "malformed_packets", "anomalies",
                 "out_of_window", "one_way", "embryo_full", "workers.table_full", "control.table_full", "reorder_held", "conflict",
                 "duplicates", "parked_dropped_flow", "parked_dropped_worker", "untracked_possible_duplicate"):
        equal(name, 0)


def lives(gen):
    nothing_left()
    for name in ("syn", "connections", "connect", "control.opens", "granted"):
        equal(name, gen["begun"])
    equal("unregistered", gen["over"])
    nothing_strange()


def chatter(gen):
    same_table(gen)
    nothing_strange()


def resume(gen, n_clients):
    """The newest of each id is live, on the broker of the last round; every other one has had its
    CONNACK and stepped down, or was superseded while it waited, for a file does not wait."""
    n_rounds = gen["connected"] // n_clients

    def settled():
        return counter("granted") + counter("superseded") == gen["connected"]
    soon("all have been granted, or superseded", settled)
    soon("one live each", lambda: gauge("live_connections") == n_clients)
    live = {c["clientid"]: c["broker"] for c in clients() if c["state"] == "connected"}
    expect("every id is live", sorted(live) == [f"dev-{i:08d}" for i in range(n_clients)])
    last = {f"dev-{i:08d}": f".{(i + n_rounds - 1) % 2 + 1}:1883" for i in range(n_clients)}
    six = {name: broker.replace(".", "::").replace(":1883", "]:1883") for name, broker in last.items()}
    expect("on the last broker", all(live[name].endswith((last[name], six[name])) for name in live))
    equal("control.opens", gen["connected"])
    equal("takeovers", counter("granted") - n_clients)
    equal("stepdown_ok", 2 * counter("takeovers"))  # begin and end
    equal("frozen", counter("takeovers"))
    equal("kills", 0)
    equal("duplicates", 0)


def syn(gen):
    equal("syn", gen["begun"])
    nothing_left()
    equal("connections", 0)


def garbage(gen):
    nothing_left()
    for name, n in gen["garbage"].items():
        expect(f"{name} was sent", n > 0)
        equal(name, n)
    equal("opaque", gen["garbage"]["opaque_protocol"] + gen["garbage"]["opaque_malformed"])
    equal("granted", gen["connected"])


def all_came(gen):
    """On ports: nothing was lost, damaged or made up, but for what was malformed on purpose."""
    for name in ("lost", "resent", "given_up", "damaged", "refused", "ended"):
        assert gen[name] == 0, f"{name}: {gen[name]}"
    for way in (("sent_outside", "came_inside"), ("sent_inside", "came_outside")):
        lies = gen.get("garbage", {}).get("malformed_packets", 0) if way[0] == "sent_outside" else 0
        assert gen[way[1]] >= gen[way[0]] - lies, f"{way[0]} {gen[way[0]]}, {way[1]} {gen[way[1]]}"
    expect("all came through", gen["begun"] > 0)


def resumed(gen, n_clients, in_order=True):
    """On ports each newcomer waits for its CONNACK, so each is granted.

    in_order: the wire keeps the order of what several workers send. The kernel's does not: what each
    has sent waits in the backlog of another CPU.
    """
    soon("one live each", lambda: gauge("live_connections") == n_clients)
    n_older = gen["connected"] - n_clients
    expect("again and again", n_older > n_clients)
    equal("granted", gen["connected"])
    equal("takeovers", n_older)
    equal("duplicates", 0)
    expect("every older client was told", gen["replaced"] == n_older)
    if in_order:
        expect("and before the newcomer got its CONNACK", gen["too_early"] == 0)
