#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The same attempts as in identity.sh behind one VLAN tag and behind two, and with packets that die
# at a router between the tracker and the broker. Two tags carry MQTT like one.
. "$(dirname "$0")/prelude.sh"
if ! command -v nsenter >/dev/null; then
	echo "skipped: no nsenter here"
	exit 77
fi

# vlan_port NAMESPACE INTERFACE DEVICE TAGS ADDRESS
vlan_port() {
	lab_spawn "$1" "$3-$1" python3 "$MQT_TOP/tests/system/vlan_port.py" "$2" "$3" "$4"
	expect_soon "a port with tags $4" grep -q ready "$LAB_DIR/$3-$1.log"
	ip -n "$LAB-$1" address add "$5/24" dev "$3"
	ip -n "$LAB-$1" link set "$3" mtu 1492 up # the tags must fit in a frame
}

# known DEVICE ADDRESS: of the crafted segments, which answers no question of the broker's side.
known() {
	brk ip neigh replace "$2" lladdr "$(cli cat /sys/class/net/c0/address)" dev "$1" nud permanent
}

# A broker with one tag, and one with two; their host takes the payload of a SYN, without a cookie.
brk sysctl -qw net.ipv4.tcp_fastopen=0x603
vlan_port cli c0 v100 100 198.51.100.1
vlan_port brk b0 v100 100 198.51.100.11
vlan_port cli c0 q200 200.100 203.0.113.1
vlan_port brk b0 q200 200.100 203.0.113.11
lab_broker vlan 198.51.100.11 || fail "no broker on the VLAN"
lab_broker qinq 203.0.113.11 || fail "no broker behind two tags"
known v100 198.51.100.200
known q200 203.0.113.200

# A broker behind a router: the brokers' namespace forwards to one more.
lab_spawn brk hop unshare -n sleep infinity
HOP=$LAB_PID
expect_soon "one more namespace" sh -c \
	"! [ /proc/$HOP/ns/net -ef /var/run/netns/$LAB-brk ] && grep -q sleep /proc/$HOP/comm"
brk ip link add name h0 type veth peer name h1 netns "$HOP"
brk ip address add 198.18.0.1/24 dev h0
brk ip link set h0 up
brk sysctl -qw net.ipv4.ip_forward=1
hop() { nsenter -t "$HOP" -n "$@"; }
hop ip address add 198.18.0.11/24 dev h1
hop ip link set h1 up
hop ip link set lo up
hop ip route add default via 198.18.0.1
cli ip route add 198.18.0.0/24 via "$NORTH"
known b0 192.0.2.200
printf '%s\n' 'user root' 'allow_anonymous true' 'log_dest stderr' 'log_type all' \
	'listener 1883 198.18.0.11' >"$LAB_DIR/far.conf"
lab_spawn brk far nsenter -t "$HOP" -n mosquitto -c "$LAB_DIR/far.conf"
expect_soon "a broker behind the router" grep -q 'running$' "$LAB_DIR/far.log"

lab_tracker || fail "no tracker"
expect_soon "ping behind two tags" cli ping -c 1 -W 1 -q 203.0.113.11
expect_soon "ping behind the router" cli ping -c 1 -W 1 -q 198.18.0.11

export B0 V100 Q200
B0=$(brk cat /sys/class/net/b0/address)
V100=$(brk cat /sys/class/net/v100/address)
Q200=$(brk cat /sys/class/net/q200/address)
DIR=$LAB_DIR py <<'END' || fail "identity"
import os
from confusion import Confusion, twice, joker, victim
from control import client as record, counter, expect, soon
from kernel import acknowledged
from mqttraw import V5, client
from rawtcp import SYN

def log(name):
    return f"{os.environ['DIR']}/{name}.log"

print("behind two tags")
c = client("203.0.113.11", clientid="two", version=V5)
c.publish("t", b"x" * 3000, 1)
expect("listed", record("two")["ip_address"] == "203.0.113.1")
soon("its message is counted", lambda: record("two")["recv_msg"] == 1)
acknowledged(c.port)  # else it would be a reset
new = client(os.environ["NORTH"], clientid="two", version=V5)
expect("taken over from there", c.end() == ("fin", 0x8E))
expect("nothing was opaque", counter("opaque") == 0)
Confusion("203.0.113.200", "203.0.113.11", os.environ["Q200"], log("qinq"), (200, 100)).all()

print("behind one tag")
Confusion("198.51.100.200", "198.51.100.11", os.environ["V100"], log("vlan"), (100,)).all()

def expired_gap(flow, a, b):
    """The middle dies at the router, and comes as another."""
    flow.send(0, a[:16])
    flow.send(16, a[16:20], ttl=1)
    flow.send(20, a[20:])
    flow.send(16, b[16:20])

def recovers(flow, a, b):
    flow.send(0, a, ttl=1)
    flow.send(0, b)
    flow.send(0, a)

def other_cut(flow, a, b):
    flow.send(0, a, ttl=1)
    for at in range(0, len(b), 7):
        flow.send(at, b[at:at + 7])

print("behind a router")
far = Confusion("192.0.2.200", "198.18.0.11", os.environ["B0"], log("far"))
far.attack("one copy", victim, opens="vict")
far.attack("a copy that dies at the router first", twice(ttl=1), counts="conflict")
far.attack("the same after one that dies", recovers, opens="vict", counts="conflict")
far.attack("its middle dies and comes as another", expired_gap)
far.attack("other cuts after one that dies", other_cut, counts="conflict")
far.attack("a SYN that dies first", joker, opens="joke",
           syn=lambda flow, a, b: (flow.segment(flow.isn, a[:-5], SYN, ack=0, ttl=1), flow.open()))
END
