#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Crafted flows of all kinds from pcap files, through net_pcap: what the tracker knows of each, and
# what has left it. Then the same again cut, repeated and reordered, twice: nothing may differ.
. "$(dirname "$0")/prelude.sh"

lab_config() {
	cat <<-END
	node:
	  name: replay
	ports:
	  - outside: net_pcap0,rx_pcap=out.rx,tx_pcap=out.tx
	    inside: net_pcap1,rx_pcap=in.rx,tx_pcap=in.tx
	brokers:
	  - name: north
	    address: $NORTH
	  - name: south
	    address: $SOUTH
	control:
	  socket: $LAB_SOCKET
	limits:
	  parked_per_flow: 64
	listeners:
	  - name: tcp
	  - name: web
	    port: 8083
	    transport: ws
	  - name: proxied
	    port: 1884
	    proxy: require
	END
}
cd "$LAB_DIR" || exit 1
for seed in none 1 2; do
	export SEED=$seed
	py <<'END' || fail "no flows"
import os
from replay_flows import build
build(os.environ["SEED"])[0].write(["out.rx", "in.rx"])
END
	lab_tracker || fail "no tracker"
	py <<'END' || fail "the table, seed $seed"
import os
from control import (call, channels, client as record, counter, expect, goes_on, soon,
                     subscriptions)
from mqttraw import V31, V5
from replay import TURN
from replay_flows import FLOWS, TOPIC, build
n_frames = 2 * TURN * len(build(os.environ["SEED"])[0].turns)
goes_on("all is read", lambda: counter("rx_packets"), n_frames)
soon("the newcomer has it", lambda: channels("moves") == [("connected", "south")])
for name, (version, how, plot, state) in FLOWS.items():
    known = [one for one, _ in channels(name)]
    expect(f"{name}: {known}", known == ([state] if state else []))
    if state == "connected":
        r = record(name)
        assert r["proto_ver"] == version, r
        assert r["ip_address"] == ("203.0.113.9" if name == "proxied" else
                                   "2001:db8::1" if name == "six" else "192.0.2.1"), r
        assert r["transport"] == ("ws" if name == "web" else "tcp"), r
    if state and plot not in ("connect", "moves"):
        assert subscriptions(clientid=name) == [(TOPIC, 1)], name
    if plot == "talk" and state:
        assert record(name)["recv_msg"] == 1 and record(name)["send_msg"] == 1, record(name)
for name, times in [("opaque_mptcp", 1), ("opaque_protocol", 1), ("opaque", 2), ("connack_refused", 1),
                    ("anomaly_second_connect", 1), ("proxy_headers", 1), ("duplicates", 0),
                    ("conflict", 0), ("bad_checksum", 0), ("malformed_packets", 0),
                    ("anomaly_gap", 0), ("fragments_dropped", 0), ("parked_dropped_flow", 0)]:
    expect(f"{name} is {times}", counter(name) == times)
expect("what came from the middle is counted", counter("midstream") > 0)
expect("fragments were put together", counter("reassembled") > 0)
call("clients.kick", clientid="five")
soon("kicked", lambda: not channels("five"))
END
	lab_end "$LAB_TRACKER"
	LAB_TRACKER=
	expect "seed $seed: it ends cleanly" [ "$LAB_STATUS" = 0 ]
	py <<'END' || fail "what was sent, seed $seed"
import os
from control import expect
from mqttraw import CONNACK
from replay import BROKER, CLIENT, FIN, RST, read
from replay_flows import build
_, flows = build(os.environ["SEED"])
to_brokers, to_clients = read("in.tx"), read("out.tx")
for name, flow in flows.items():
    said = flow.heard(CLIENT, to_brokers), flow.heard(BROKER, to_clients)
    cut = [said[side][:len(flow.said[side])] for side in (CLIENT, BROKER)]
    assert flow.fragment or cut == flow.said, (name, cut, flow.said)
    more = said[BROKER][len(flow.said[BROKER]):].hex()
    wanted = {"moves": "e0028e00", "five": "e0029800"}.get(name, "")
    expect(f"{name} has heard everything and then {more or 'nothing'}", more == wanted)
old, new = flows["moves"], flows["moved"]
end = old.first(BROKER, to_clients, flags=FIN | RST)
expect("the older one had ended before the newcomer got its CONNACK",
       end < new.first(BROKER, to_clients, begins=bytes([CONNACK << 4])))
expect("its broker knows", old.first(CLIENT, to_brokers, flags=FIN | RST) is not None)
END
	rm -f ./*.rx ./*.tx
done
