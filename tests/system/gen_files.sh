#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# mqtrack-gen writes each kind of traffic as pcap files; tcpdump finds nothing wrong in them, and a
# tracker that reads them by net_pcap knows and counts what the generator says it has written.
. "$(dirname "$0")/prelude.sh"

lab_config() {
	cat <<-END
	node:
	  name: gen
	ports:
	  - outside: net_pcap0,rx_pcap=out.rx,tx_pcap=out.tx
	    inside: net_pcap1,rx_pcap=in.rx,tx_pcap=in.tx
	control:
	  socket: $LAB_SOCKET
	limits:
	  embryo_ms: 5000
	END
}
cd "$LAB_DIR" || exit 1
export GEN_COUNTS=$LAB_DIR/counts.json

gen() {
	"$MQT_BUILD/app/mqtrack-gen/mqtrack-gen" "$@" --json >"$GEN_COUNTS" || fail "mqtrack-gen $*"
}

# damaged FILE: how many packets have a wrong checksum.
damaged() {
	tcpdump -nn -vv -r "$1" 2>/dev/null | grep -c -e incorrect -e 'bad cksum'
}

# replay JUDGEMENT KIND OPTION...: writes the files, and has a tracker read them. What comes behind a
# CONNACK must not be read before that was granted: hence the long pause.
replay() {
	echo "--- ${*:2}"
	gen "$2" --pcap out.rx in.rx --turn 64 --pause 60000 "${@:3}"
	lab_tracker || fail "no tracker"
	py <<-END || fail "${*:2}"
	import os
	import gen_judge
	from control import counter, goes_on
	def frames(name):
	    n, at, size = 0, 24, os.path.getsize(name)
	    with open(name, "rb") as f:
	        while at < size:
	            f.seek(at + 8)
	            n, at = n + 1, at + 16 + int.from_bytes(f.read(4), "little")
	    return n
	n_frames = frames("out.rx") + frames("in.rx")
	goes_on("all is read", lambda: counter("rx_packets"), n_frames)
	gen = gen_judge.counts()
	gen_judge.$1
	END
	lab_end "$LAB_TRACKER"
	LAB_TRACKER=
	expect 'it ends cleanly' [ "$LAB_STATUS" = 0 ]
}

for seed in 1 2; do
	gen lives --merged "$seed.pcap" --clients 50 --seed "$seed" --mqtt mix --ip mix --vlan 5
	gen lives --merged again.pcap --clients 50 --seed "$seed" --mqtt mix --ip mix --vlan 5
	expect "seed $seed: the same again" cmp -s "$seed.pcap" again.pcap
	expect "seed $seed: no wrong checksum" [ "$(damaged "$seed.pcap")" = 0 ]
	expect "seed $seed: 11 packets a life" \
		[ "$(tcpdump -nn -r "$seed.pcap" 'vlan 5' 2>/dev/null | wc -l)" = 550 ]
done
expect 'another seed is another file' eval '! cmp -s 1.pcap 2.pcap'

gen chatter --merged talk.pcap --clients 20 --messages 3 --established
expect 'of established connections nothing but messages' [ "$(tcpdump -nn -r talk.pcap 2>/dev/null |
	grep -c 'Flags \[P\?\.\]')" = 120 ]

replay 'lives(gen)' lives --clients 300 --mqtt mix --ip mix
replay 'lives(gen)' lives --clients 100 --flows 600 --parallel 30 --messages 3 --vlan 7 --vlan 8
replay 'chatter(gen)' chatter --clients 300 --messages 5 --mqtt mix --ip mix --qos 1
replay 'chatter(gen)' chatter --clients 100 --messages 20 --payload 0 --vlan 9
replay 'resume(gen, 200)' resume --clients 200 --flows 600 --mqtt mix --ip mix
replay 'syn(gen)' syn --clients 1000 --flows 3000 --ip mix
replay 'garbage(gen)' garbage --clients 210 --mqtt mix --ip mix
expect 'only garbage has wrong checksums' [ "$(damaged out.rx)" = \
	"$(sed -n 's/.*"bad_checksum": \([0-9]*\).*/\1/p' "$GEN_COUNTS")" ]
