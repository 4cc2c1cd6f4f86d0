# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it
# The laboratory of the demonstration and of the system tests: three network namespaces,
#
#   mqt-PID-cli            mqt-PID-trk              mqt-PID-brk
#   c0 ═════════════ out0   mqtrackd   in0 ═════════════ b0
#   192.0.2.1..9                                    192.0.2.11  broker north
#   2001:db8::1                                     192.0.2.12  broker south
#
# one subnet, the tracker a bump in the wire between its halves. Sourced, after say.sh; MQT_TOP is
# the top of the tree, MQT_BUILD the build directory. Everything made here is removed by lab_down,
# which runs however the script ends. Only processes recorded by lab_spawn are ended.

LAB=mqt-$$
NORTH=192.0.2.11 SOUTH=192.0.2.12 CLIENT=192.0.2.1
NORTH6=2001:db8::11 SOUTH6=2001:db8::12 CLIENT6=2001:db8::1
LAB_DIR='' LAB_SOCKET='' LAB_TRACKER=''
LAB_PIDS=()

cli() { ip netns exec "$LAB-cli" "$@"; }
trk() { ip netns exec "$LAB-trk" "$@"; }
brk() { ip netns exec "$LAB-brk" "$@"; }
ctl() { "$MQT_BUILD/app/mqtrackctl/mqtrackctl" --socket "$LAB_SOCKET" "$@"; }

# lab_spawn NAMESPACE NAME COMMAND...: starts it in the background, its output in NAME.log; its
# process id is in LAB_PID.
lab_spawn() {
	local ns=$LAB-$1 log=$LAB_DIR/$2.log
	shift 2
	ip netns exec "$ns" "$@" >"$log" 2>&1 </dev/null &
	LAB_PID=$!
	LAB_PIDS+=("$LAB_PID")
}

# lab_sub NAME OPTION...: a mosquitto_sub that writes each line at once.
lab_sub() {
	local name=$1
	shift
	lab_spawn cli "$name" stdbuf -oL mosquitto_sub -d "$@"
}

# lab_end PID [SIGNAL]: ends a process of lab_spawn, by force where it takes over 15 s. Its exit
# status is in LAB_STATUS.
lab_end() {
	local pid=$1 signal=${2:-TERM} tries=0
	kill -s "$signal" "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null; do
		[ "$tries" != 300 ] || kill -s KILL "$pid"
		sleep 0.05
		tries=$((tries + 1))
	done
	wait "$pid" 2>/dev/null
	LAB_STATUS=$?
	lab_forget "$pid"
}

lab_forget() {
	local pid kept=()
	for pid in ${LAB_PIDS[@]+"${LAB_PIDS[@]}"}; do
		[ "$pid" = "$1" ] || kept+=("$pid")
	done
	LAB_PIDS=(${kept[@]+"${kept[@]}"})
}

# eventually SECONDS COMMAND...: tries until it succeeds. Status: whether it did in time.
eventually() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# Says why this machine cannot hold a laboratory; status 1 then. A shell of its own, which no
# signal ends before what it tries is gone.
lab_possible() (
	trap '' HUP INT PIPE TERM
	if [ "$(id -u)" != 0 ]; then
		echo "needs root, for network namespaces: try again with sudo"
		exit 1
	fi
	if ! why=$(ip netns add "$LAB-try" 2>&1); then
		echo "cannot make a network namespace ($why): run on a host or in a container that may"
		exit 1
	fi
	why=$(ip -n "$LAB-try" link add name try0 type veth peer name try1 2>&1)
	status=$?
	ip netns delete "$LAB-try"
	if [ "$status" != 0 ]; then
		echo "cannot make a veth pair in a namespace ($why): the kernel needs its module veth"
		exit 1
	fi
)

# lab_up: namespaces, wires, addresses, brokers.
lab_up() {
	lab_net && lab_broker north "$NORTH" "$NORTH6" && lab_broker south "$SOUTH" "$SOUTH6"
}

# lab_net: the same without brokers.
lab_net() {
	LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/mqt-XXXXXX")
	LAB_SOCKET=$LAB_DIR/mqtrackd.sock
	trap lab_down EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 141' PIPE
	trap 'exit 143' TERM
	local ns
	for ns in cli trk brk; do
		ip netns add "$LAB-$ns" || return 1
		ip netns exec "$LAB-$ns" sysctl -qw net.ipv6.conf.all.accept_ra=0 \
			net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.all.router_solicitations=0
		ip -n "$LAB-$ns" link set lo up
	done
	# The tracker's ends of the wires are the tracker's alone: the kernel has nothing to say there.
	trk sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	lab_wire cli c0 out0
	lab_wire brk b0 in0
	local i
	for i in 1 2 3 4 5 6 7 8 9; do
		ip -n "$LAB-cli" address add "192.0.2.$i/24" dev c0
	done
	ip -n "$LAB-cli" address add "$CLIENT6/64" dev c0 nodad
	for i in "$NORTH/24" "$SOUTH/24"; do
		ip -n "$LAB-brk" address add "$i" dev b0
	done
	for i in "$NORTH6/64" "$SOUTH6/64"; do
		ip -n "$LAB-brk" address add "$i" dev b0 nodad
	done
}

# lab_wire NAMESPACE NEAR FAR: a veth pair from there to the tracker's namespace. Checksums must be
# real on both ends, for the tracker sees the packets before any hardware would have filled them in.
lab_wire() {
	ip -n "$LAB-$1" link add name "$2" type veth peer name "$3" netns "$LAB-trk"
	ip netns exec "$LAB-$1" ethtool -K "$2" tx off >/dev/null
	trk ethtool -K "$3" tx off >/dev/null
	ip -n "$LAB-$1" link set "$2" up
	ip -n "$LAB-trk" link set "$3" up
}

# lab_broker NAME ADDRESS...: a mosquitto of its own, that knows of no other.
lab_broker() {
	local name=$1 conf=$LAB_DIR/$1.conf address
	shift
	{
		printf 'user root\nallow_anonymous true\npersistence false\n'
		printf 'log_dest stderr\nlog_type all\nlog_timestamp true\n'
		printf 'log_timestamp_format %%H:%%M:%%S\n'
		for address; do
			printf 'listener 1883 %s\n' "$address"
		done
	} >"$conf"
	lab_spawn brk "$name" mosquitto -c "$conf"
	if ! eventually 10 grep -q ' running$' "$LAB_DIR/$name.log"; then
		cat "$LAB_DIR/$name.log" >&2
		return 1
	fi
}

# lab_cpus: the processors this process may use, one a line.
lab_cpus() {
	local range list
	list=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
	for range in ${list//,/ }; do
		seq "${range%-*}" "${range#*-}"
	done
}

# lab_tracker [WORKERS [LINES]]: the tracker, with so many workers (1) spread over the processors,
# and LINES more in its configuration.
lab_tracker() {
	local workers=${1:-1} cpus lcores i
	lab_config "${2:-}" >"$LAB_DIR/mqtrackd.yaml"
	mapfile -t cpus < <(lab_cpus)
	lcores=0@${cpus[0]}
	for ((i = 1; i <= workers; i++)); do
		lcores+=,$i@${cpus[i % ${#cpus[@]}]}
	done
	lab_spawn trk mqtrackd "$MQT_BUILD/app/mqtrackd/mqtrackd" --lcores "${MQT_LCORES:-$lcores}" \
		--file-prefix "$LAB" -- --config "$LAB_DIR/mqtrackd.yaml"
	LAB_TRACKER=$LAB_PID
	eventually 30 lab_tracker_settled
	if ! ctl info >/dev/null 2>&1; then
		warn "mqtrackd does not answer:"
		tail -n 40 "$LAB_DIR/mqtrackd.log" >&2
		return 1
	fi
}

lab_tracker_settled() {
	! kill -0 "$LAB_TRACKER" || ctl info
}

lab_config() {
	cat <<-END
	node:
	  name: lab
	ports:
	  - outside: net_af_packet0,iface=out0
	    inside: net_af_packet1,iface=in0
	brokers:
	  - name: north
	    address: $NORTH
	  - name: south
	    address: $SOUTH
	control:
	  socket: $LAB_SOCKET
	$1
	END
}

# lab_capture, lab_capture_end: packets as they arrive at the clients' interface. One capture has one
# clock and one order for all connections.
lab_capture() {
	lab_spawn cli tcpdump tcpdump -i c0 -Q in -nn -U --immediate-mode -w "$LAB_DIR/c0.pcap"
	LAB_CAPTURE=$LAB_PID
	eventually 10 grep -q 'listening on' "$LAB_DIR/tcpdump.log"
}

lab_capture_end() {
	eventually 10 lab_capture_settled
	lab_end "$LAB_CAPTURE" INT
}

# Whether a packet that came behind all others is in the file: the answer to a ping of its own size.
lab_capture_settled() {
	cli ping -q -c 1 -W 1 -s 777 "$NORTH"
	tcpdump -nn -r "$LAB_DIR/c0.pcap" 'icmp and greater 777' 2>/dev/null | grep -q .
}

# lab_order OLD-PORT NEW-PORT: what the capture says of a takeover over IPv4: a line "end TIME" for
# the first FIN or RST that the older connection's client got, a line "connack TIME" for the first
# CONNACK that the newcomer got, in the order in which they arrived.
lab_order() {
	tcpdump -nn -r "$LAB_DIR/c0.pcap" "(tcp dst port $1 and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0)
		or (tcp dst port $2 and tcp[((tcp[12] & 0xf0) >> 2)] = 0x20)" 2>/dev/null |
		awk -v old="$CLIENT.$1:" -v new="$CLIENT.$2:" '
			$5 == old && !ends++ { print "end", $1 }
			$5 == new && !connacks++ { print "connack", $1 }'
}

# lab_down: removes everything; the exit status stays.
lab_down() {
	local status=$? pid
	trap - EXIT
	trap '' HUP INT PIPE TERM
	if [ -n "${LAB_ON_END:-}" ]; then
		"$LAB_ON_END" "$status"
		status=$?
	fi
	# All at once, then each is waited for: the tracker last, so that clients can leave.
	for pid in ${LAB_PIDS[@]+"${LAB_PIDS[@]}"}; do
		[ "$pid" = "$LAB_TRACKER" ] || kill "$pid" 2>/dev/null
	done
	for pid in ${LAB_PIDS[@]+"${LAB_PIDS[@]}"}; do
		[ "$pid" = "$LAB_TRACKER" ] || lab_end "$pid"
	done
	[ -z "$LAB_TRACKER" ] || lab_end "$LAB_TRACKER"
	for pid in cli trk brk; do
		ip netns delete "$LAB-$pid" 2>/dev/null
	done
	rm -rf "$LAB_DIR" "/var/run/dpdk/$LAB"
	exit "$status"
}
