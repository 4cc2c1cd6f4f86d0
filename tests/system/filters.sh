#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# mqtrackctl clients lists those that its filters name, and says so where they name nothing.
. "$(dirname "$0")/prelude.sh"

lab_tracker 2 "listeners:
  - name: tcp
  - name: guests
    address: $SOUTH
    domain: guests" || fail "no tracker"

lab_spawn cli lamp mosquitto_sub -h "$NORTH" -i lamp -u ann -t t
lab_spawn cli pump mosquitto_sub -h "$NORTH" -i pump -t t
lab_spawn cli visitor mosquitto_sub -h "$SOUTH" -i visitor -u ann -t t

# are IDS [OPTION...]: the clients that are listed.
are() {
	local want=$1
	shift
	[ "$(ctl clients "$@" | awk 'NR > 1 { print $1 }' | sort | paste -sd ' ')" = "$want" ]
}

# refused WORDS OPTION...: nothing is listed, and why.
refused() {
	local words=$1 says
	shift
	says=$(ctl clients "$@" 2>&1 >/dev/null) && return 1
	grep -qF -- "$words" <<<"$says"
}

expect_soon "all are listed" are "lamp pump visitor"
expect "of a broker by its name" are "lamp pump" --broker north
expect "of a broker by its address" are visitor --broker "$SOUTH"
expect "of a broker by address and port" are "lamp pump" -B "$NORTH:1883"
expect "of a listener" are visitor --listener guests
expect "of a domain" are "lamp pump" --domain default
expect "of a user name" are "lamp visitor" --username ann
expect "of all of them together" are lamp -u ann -B north -l tcp -d default --transport tcp
expect "over a transport that nobody uses" are "" --transport ws
expect "in a state" are "lamp pump visitor" --state connected
expect "in a state that nobody is in" are "" --state retained
worker=$(ctl show pump | awk '$1 == "worker" { print $2 }')
on_worker() { ctl clients --worker "$worker" | grep -q '^pump '; }
expect "at its worker" on_worker
others() { ! ctl clients --worker $((1 - worker)) | grep -q '^pump '; }
expect "not at the other one" others

expect "an unknown broker is no empty list" refused 'unknown broker "west"' -B west
expect "nor is an unknown listener" refused 'unknown listener "guest"' -l guest
expect "nor is a worker that is not there" refused 'worker is a number from 0 to 1' --worker 2
expect "nor is a transport" refused 'unknown transport "quic": it is tcp or ws' --transport quic
