#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# mqtrack-gen on two ports with a tracker between them, over net_memif and over veth pairs: all that
# it sends comes through, both count the same, and no client gets its CONNACK before the older one of
# its client id was told that it is over.
. "$(dirname "$0")/prelude.sh"

OUT=net_memif0,id=0,socket=$LAB-gen
IN=net_memif1,id=1,socket=$LAB-gen
lab_config() {
	local outside=net_memif0,id=0,role=server,socket=$LAB-gen
	local inside=net_memif1,id=1,role=server,socket=$LAB-gen
	[ "$wire" = memif ] || outside=net_af_packet0,iface=out0 inside=net_af_packet1,iface=in0
	cat <<-END
	node:
	  name: gen
	ports:
	  - outside: $outside
	    inside: $inside
	control:
	  socket: $LAB_SOCKET
	limits:
	  embryo_ms: 5000
	END
}
cd "$LAB_DIR" || exit 1
export GEN_COUNTS=$LAB_DIR/counts.json

# gen KIND OPTION...: on the ports of this wire. Nothing is lost here, only late where the machine is
# busy: hence the long time until a packet counts as lost.
gen() {
	local ns=trk devices=("$OUT" "$IN")
	[ "$wire" = memif ] || ns=cli devices=(net_af_packet0,iface=c0 net_af_packet1,iface=b0)
	"$ns" timeout 60 "$MQT_BUILD/app/mqtrack-gen/mqtrack-gen" --file-prefix="$LAB-gen" -- \
		"$1" --ports "${devices[@]}" --timeout 10000 --json "${@:2}" \
		>"$GEN_COUNTS" 2>gen.log || fail "mqtrack-gen $*: $(tail gen.log)"
}

# run JUDGEMENT KIND OPTION...
run() {
	echo "--- $wire: ${*:2}"
	lab_tracker "$workers" || fail "no tracker"
	gen "${@:2}"
	py <<-END || fail "${*:2}: $(cat "$GEN_COUNTS")"
	import gen_judge
	from control import expect
	gen = gen_judge.counts()
	gen_judge.all_came(gen)
	gen_judge.$1
	END
	lab_end "$LAB_TRACKER"
	LAB_TRACKER=
	expect 'it ends cleanly' [ "$LAB_STATUS" = 0 ]
}

wire=memif workers=1
run 'lives(gen)' lives --clients 2000 --parallel 300 --mqtt mix --ip mix --messages 3
run 'lives(gen); expect("no faster than told", gen["seconds"] > 1.4)' \
	lives --clients 100 --flows 300 --rate 2000
run 'chatter(gen)' chatter --clients 500 --seconds 2 --vlan 7 --mqtt 5.0 --qos 1
run 'resumed(gen, 100)' resume --clients 100 --seconds 2 --mqtt mix
run 'syn(gen)' syn --clients 1000 --flows 3000
run 'garbage(gen)' garbage --clients 210 --mqtt mix --ip mix

# The other way of the same wire: both its ends in the generator's namespace.
wire=veth workers=2
ip -n "$LAB-brk" link set b0 netns "$LAB-cli" && ip -n "$LAB-cli" link set b0 up &&
	cli ethtool -K b0 tx off >/dev/null || fail "b0 does not move"
run 'lives(gen)' lives --clients 1000 --parallel 100 --ip mix --flow-rate 1000
run 'resumed(gen, 100, in_order=False)' resume --clients 100 --flows 400 --parallel 20 --ip mix
