# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What scripts/bench-peers puts between clients and broker, and how it measures that. Sourced, after
# lab.sh, whose namespaces it uses: clients in cli, the broker in brk, the peer in trk. For each
# peer NAME: NAME_up, NAME_down, and where it needs something, NAME_needs COMMAND...
# Samples go to the file PEERS_SAMPLES; a measurement lasts PEERS_SECONDS.

PEERS_PORT=1883
PEERS_PROXY=192.0.2.250 # where a proxy takes connections
PEERS_AT_A_TIME=64      # clients
PEERS_ENTRIES=''

peers_lacks() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || { echo "no $tool here"; return 0; }
	done
	return 1
}

# peers_possible PEER: else says what it lacks.
peers_possible() {
	case $1 in
	conntrack)
		! peers_lacks nft || return 1
		[ -e /proc/sys/net/netfilter/nf_conntrack_count ] ||
			modprobe nf_conntrack 2>/dev/null || { echo "no nf_conntrack here"; return 1; }
		;;
	haproxy) ! peers_lacks haproxy ;;
	testpmd | memory) ! peers_lacks dpdk-testpmd ;;
	esac
}

# What an end in the middle would leave.
peers_end() {
	rm -rf "/var/run/dpdk/$LAB-testpmd"
	return "$1"
}

# peers_sample NAME UNIT VALUE [BASELINE-NAME WORDS]
peers_sample() {
	local IFS=$'\t'
	printf '%s\n' "peers.$*" >>"$PEERS_SAMPLES"
}

# --- both ends ------------------------------------------------------------------------------------

# More connections than there are ports by default, and the limits of lists out of the way.
peers_ends() {
	local ns
	: >"$PEERS_SAMPLES"
	for ns in cli trk brk; do
		ip netns exec "$LAB-$ns" sysctl -qw net.ipv4.ip_local_port_range='2000 65000' \
			net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_max_syn_backlog=8192 \
			net.core.somaxconn=8192 net.ipv4.tcp_syncookies=0 || return 1
	done
	lab_spawn brk broker "$MQT_BUILD/app/mqtrack-bench/mqtrack-connects" serve "$NORTH" \
		"$PEERS_PORT" 3600
	eventually 10 grep -q listening "$LAB_DIR/broker.log"
}

# peers_load MODE SECONDS N: its line of results in PEERS_LINE; status 1 where nothing was done.
peers_load() {
	PEERS_LINE=$(cli timeout -k 2 "$(awk "BEGIN { print int($2) + 15 }")" \
		"$MQT_BUILD/app/mqtrack-bench/mqtrack-connects" "$1" "$PEERS_TO" "$PEERS_PORT" \
		"$2" "$3" "$CLIENT" 9)
}

# peers_traffic PEER: whole connections, many at a time and one at a time, and round trips on
# connections that stay.
peers_traffic() {
	local done seconds p50 p99 failed base=()
	peers_load connect "$PEERS_SECONDS" "$PEERS_AT_A_TIME" || return 1
	read -r done seconds p50 p99 failed <<<"$PEERS_LINE"
	peers_sample "connects.$1" connects/s "$(peers_rate "$done" "$seconds")" \
		peers.connects.bridge "kernel bridge"
	peers_sample "connects.failed.$1" connects "$failed"
	peers_load connect "$PEERS_SECONDS" 1 || return 1
	read -r done seconds p50 p99 failed <<<"$PEERS_LINE"
	peers_sample "latency.p50_us.$1" us "$p50" peers.latency.p50_us.bridge "kernel bridge"
	peers_sample "latency.p99_us.$1" us "$p99" peers.latency.p99_us.bridge "kernel bridge"
	peers_load ping "$PEERS_SECONDS" "$PEERS_AT_A_TIME" || return 1
	read -r done seconds p50 p99 failed <<<"$PEERS_LINE"
	# PINGREQ and PINGRESP; each acknowledges what came before.
	peers_sample "packets.$1" packets/s "$(peers_rate $((2 * done)) "$seconds")" \
		peers.packets.bridge "kernel bridge"
}

peers_rate() {
	awk "BEGIN { printf \"%.1f\", $1 / $2 }"
}

# What is measured in the first run only.
peers_once() {
	[ "$1" = conntrack ] && [ -z "$PEERS_ENTRIES" ] || return 0
	PEERS_ENTRIES=done
	conntrack_entries
}

# peers_measure PEER
peers_measure() {
	local status=0
	if [ "$1" = memory ]; then
		peers_memory
		return
	fi
	PEERS_TO=$NORTH
	# Neighbours are others now.
	cli ip neigh flush all
	brk ip neigh flush all
	"$1_up" && eventually 10 peers_load connect 0.05 1 && peers_once "$1" &&
		peers_traffic "$1" || status=1
	"$1_down" || status=1
	return "$status"
}

# --- the kernel -----------------------------------------------------------------------------------

bridge_up() {
	ip -n "$LAB-trk" link add name br0 type bridge &&
		ip -n "$LAB-trk" link set out0 master br0 && ip -n "$LAB-trk" link set in0 master br0 &&
		ip -n "$LAB-trk" link set br0 up
}

bridge_down() {
	ip -n "$LAB-trk" link delete br0
}

# One subnet on both sides: each side asks for the other's addresses and is answered with ours.
forward_up() {
	trk sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 &&
		trk sysctl -qw net.ipv4.conf.{out0,in0}.proxy_arp=1 &&
		trk sysctl -qw net.ipv4.neigh.{out0,in0}.proxy_delay=0 &&
		ip -n "$LAB-trk" address add "$PEERS_PROXY/32" dev lo &&
		ip -n "$LAB-trk" route add 192.0.2.0/28 dev out0 src "$PEERS_PROXY" &&
		ip -n "$LAB-trk" route add "$NORTH/32" dev in0 src "$PEERS_PROXY"
}

forward_down() {
	ip -n "$LAB-trk" route delete "$NORTH/32"
	ip -n "$LAB-trk" route delete 192.0.2.0/28
	ip -n "$LAB-trk" address delete "$PEERS_PROXY/32" dev lo
	trk sysctl -qw net.ipv4.conf.{out0,in0}.proxy_arp=0 net.ipv4.ip_forward=0
}

conntrack_up() {
	forward_up && trk nft -f - <<-END
		table inet mqt {
			chain forward {
				type filter hook forward priority 0; policy drop;
				ct state established,related accept
				ct state new tcp dport $PEERS_PORT accept
			}
		}
	END
}

conntrack_down() {
	trk nft delete table inet mqt
	forward_down
}

conntrack_count() {
	trk cat /proc/sys/net/netfilter/nf_conntrack_count
}

# Bytes in the kernel's slabs of entries.
conntrack_memory() {
	awk '$1 == "nf_conntrack" { print $15 * $6 * 4096 }' /proc/slabinfo
}

# What an entry costs, by many clients that stay: its slab, that is without what the kernel allocates
# beside it (extensions, buckets of the table). Before all other connections, whose entries linger.
conntrack_entries() {
	local n=20000 files before entries holder
	[ -z "$PEERS_QUICK" ] || n=5000
	files=$(ulimit -Hn)
	[ "$files" = unlimited ] || [ "$n" -lt $((files - 100)) ] || n=$((files - 100))
	before=$(conntrack_memory)
	[ "$before" ] || return 0 # slabs that are merged tell nothing
	entries=$(conntrack_count)
	lab_spawn cli hold "$MQT_BUILD/app/mqtrack-bench/mqtrack-connects" hold "$NORTH" \
		"$PEERS_PORT" 60 "$n" "$CLIENT" 9
	holder=$LAB_PID
	eventually 25 grep -q held "$LAB_DIR/hold.log" || return 1
	entries=$(($(conntrack_count) - entries))
	[ "$entries" -ge $((n * 9 / 10)) ] || return 1
	peers_sample conntrack.bytes_per_entry bytes \
		"$(peers_rate $(($(conntrack_memory) - before)) "$entries")"
	lab_end "$holder"
}

# --- HAProxy --------------------------------------------------------------------------------------

haproxy_up() {
	forward_up && trk sysctl -qw net.ipv4.ip_forward=0 || return 1
	PEERS_TO=$PEERS_PROXY
	cat >"$LAB_DIR/haproxy.cfg" <<-END
		global
			maxconn 8000
		defaults
			mode tcp
			timeout connect 5s
			timeout client 60s
			timeout server 60s
		frontend mqtt
			bind $PEERS_PROXY:$PEERS_PORT
			tcp-request inspect-delay 10s
			tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }
			default_backend brokers
		backend brokers
			stick-table type string len 64 size 1m expire 30m
			stick on req.payload(0,0),mqtt_field_value(connect,client_identifier)
			server north $NORTH:$PEERS_PORT
	END
	lab_spawn trk haproxy haproxy -db -f "$LAB_DIR/haproxy.cfg"
	PEERS_PID=$LAB_PID
}

haproxy_down() {
	lab_end "$PEERS_PID"
	forward_down
}

# --- DPDK -----------------------------------------------------------------------------------------

# peers_testpmd MODE OPTION...: the command line; one lcore for packets, as mqtrackd has here.
peers_testpmd() {
	local mode=$1 memory=(--no-huge --no-shconf) cpus
	shift
	mapfile -t cpus < <(lab_cpus)
	PEERS_TESTPMD=(dpdk-testpmd --lcores "0@${cpus[0]},1@${cpus[1 % ${#cpus[@]}]}"
		"${memory[@]}" -m 512 --no-pci --no-telemetry --file-prefix "$LAB-testpmd" "$@"
		-- "--forward-mode=$mode" --stats-period=1 --nb-cores=1 --total-num-mbufs=16384)
}

testpmd_up() {
	peers_testpmd io --vdev net_af_packet0,iface=out0,framecnt=4096 \
		--vdev net_af_packet1,iface=in0,framecnt=4096
	lab_spawn trk testpmd "${PEERS_TESTPMD[@]}"
	PEERS_PID=$LAB_PID
}

testpmd_down() {
	lab_end "$PEERS_PID" INT
}

mqtrack_up() {
	lab_tracker 1
}

mqtrack_down() {
	lab_end "$LAB_TRACKER"
	LAB_TRACKER=
	[ "$LAB_STATUS" = 0 ]
}

# Packets a second over devices in memory: what testpmd does with a packet, and what mqtrack does.
peers_memory() {
	local device mode status=0
	for device in null ring; do
		for mode in io 5tswap; do
			peers_testpmd "$mode" --vdev "net_${device}0" --vdev "net_${device}1"
			PEERS_TESTPMD+=(--tx-first)
			timeout -s INT -k 3 "$(awk "BEGIN { print int($PEERS_SECONDS) + 5 }")" \
				"${PEERS_TESTPMD[@]}" >"$LAB_DIR/pmd.log" 2>&1 </dev/null
			peers_sample "memory.testpmd.$device.$mode" packets/s "$(peers_pps)" ||
				status=1
		done
	done
	timeout -k 3 60 "$MQT_BUILD/app/mqtrack-bench/mqtrack-bench" datapath --runs 1 \
		--size 100000 --json >"$LAB_DIR/datapath.json" || return 1
	peers_sample memory.mqtrack.established packets/s "$(python3 -c '
import json, sys
print(*(r["median"] for r in json.load(open(sys.argv[1])) if r["name"] == sys.argv[2]))' \
		"$LAB_DIR/datapath.json" datapath.established.100k)" \
		peers.memory.testpmd.ring.5tswap "dpdk-testpmd 5tswap on net_ring"
	return "$status"
}

# The median of what both ports received in a second, by the log of testpmd.
peers_pps() {
	awk '/Rx-pps:/ { sum += $2; if (++ports % 2 == 0) { print sum; sum = 0 } }' \
		"$LAB_DIR/pmd.log" | sort -n | awk '{ v[NR] = $1 }
		END { if (!v[NR]) exit 1; print v[int((NR + 1) / 2)] }'
}
