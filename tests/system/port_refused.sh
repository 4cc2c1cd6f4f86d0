#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A port that would lose packets in silence is refused at start, with what to do about it: an MTU
# over its frames, segments merged by the kernel.
. "$(dirname "$0")/prelude.sh"

# refused WHAT PATTERN: the tracker does not start, and says so in one line.
refused() {
	lab_tracker 1 >/dev/null 2>&1
	local log=$LAB_DIR/mqtrackd.log
	lab_end "$LAB_TRACKER"
	LAB_TRACKER=
	expect "$1: refused (status $LAB_STATUS)" [ "$LAB_STATUS" = 1 ]
	grep -q -- "$2" "$log" || { cat "$log"; fail "$1: does not say $2"; }
	sed 's/^/    /' "$log"
}

trk ip link set in0 mtu 9000
refused "an MTU over the frames" 'MTU of 9000.*1500 at most'
trk ip link set in0 mtu 1501
refused "an MTU a little over the frames" 'MTU of 1501.*1500 at most'
trk ip link set in0 mtu 1500
trk ethtool -K out0 gro on
refused "merged segments" 'ethtool -K out0 gro off'
trk ethtool -K out0 gro off
lab_tracker 1 || fail "no tracker once all is mended"
expect "a client connects" cli mosquitto_pub -h "$NORTH" -i a -t t -m m
