#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A wrong configuration is refused with its line and key; --check says so without any port.
. "$(dirname "$0")/prelude.sh"
lab_config '' >"$LAB_DIR/good.yaml"

check() {
	"$MQT_BUILD/app/mqtrackd/mqtrackd" -- --config "$1" --check >"$LAB_DIR/check.log" 2>&1
}

# refused WHAT PATTERN SED-COMMAND: the good configuration, spoilt.
refused() {
	sed "$3" "$LAB_DIR/good.yaml" >"$LAB_DIR/bad.yaml"
	check "$LAB_DIR/bad.yaml"
	local status=$?
	expect "$1: refused (status $status)" [ "$status" -gt 0 -a "$status" -lt 99 ]
	grep -qi -- "$2" "$LAB_DIR/check.log" || { cat "$LAB_DIR/check.log"; fail "$1: does not say $2"; }
	sed 's/^/    /' "$LAB_DIR/check.log"
}

expect "a good one passes" check "$LAB_DIR/good.yaml"
refused "an unknown key" 'bad.yaml:1: nodes: ' 's/^node:/nodes:/'
refused "an unknown key inside" 'bad.yaml:2: node.nam: ' 's/^  name: lab/  nam: lab/'
refused "no port pairs" 'ports' '/^ports/,/inside/d'
refused "a pair without its inside" "bad.yaml:4: ports.*inside" '/inside:/d'
refused "one device twice" "bad.yaml:5: ports.*inside" 's/af_packet1/af_packet0/'
refused "an address that is none" 'bad.yaml:8: brokers.*192.0.2.999' "s/$NORTH\$/192.0.2.999/"
refused "a number that is none" 'bad.yaml:15: limits.max_clients' '$a limits:\n  max_clients: 5x'
refused "not YAML" 'bad.yaml:' 's/^  name: lab/  name: "lab/'
refused "a list" 'bad.yaml:' 's/.*/- x/'
check "$LAB_DIR/absent.yaml"
expect "no such file: refused" [ $? -ne 0 ]
expect "and named" grep -q absent.yaml "$LAB_DIR/check.log"

# usage WHAT WORDS ARGUMENT...: a wrong command line is status 2 and one line.
usage() {
	local what=$1 words=$2
	shift 2
	"$MQT_BUILD/app/mqtrackd/mqtrackd" "$@" >"$LAB_DIR/check.log" 2>&1
	expect "$what: status 2" [ $? = 2 ]
	expect "$what: one line that says so" [ "$(wc -l <"$LAB_DIR/check.log")" = 1 ]
	grep -qF -- "$words" "$LAB_DIR/check.log" || { cat "$LAB_DIR/check.log"; fail "$what"; }
}
usage "no configuration" "mqtrackd: --config FILE is missing; see mqtrackd --help"
usage "a file alone" "unexpected argument 'c.yaml'" c.yaml
usage "no file name" "an argument is missing for '--config'" --config
usage "an option that is none" "unknown option '--chek'" -- --config c.yaml --chek
usage "options for EAL without --" "unknown option '-l'; see mqtrackd --help. Options for EAL stand before \`--\`" -l 0,1 --config c.yaml

# socket WHAT WORDS PATH: where the control socket cannot be.
socket() {
	sed "s|^ *- outside:.*|  - outside: net_null0|
		s|inside:.*|inside: net_null1|; s|socket:.*|socket: $3|" "$LAB_DIR/good.yaml" >"$LAB_DIR/bad.yaml"
	timeout 60 "$MQT_BUILD/app/mqtrackd/mqtrackd" --config "$LAB_DIR/bad.yaml" >"$LAB_DIR/check.log" 2>&1
	expect "$1: status 1" [ $? = 1 ]
	grep -qF -- "$2" "$LAB_DIR/check.log" || { cat "$LAB_DIR/check.log"; fail "$1: does not say $2"; }
}
socket "a file in the socket's place" "good.yaml is there and is no socket" "$LAB_DIR/good.yaml"
socket "no directory for the socket" "No such file or directory. Does its directory exist" "$LAB_DIR/no/s"
expect "the file is still there" [ -s "$LAB_DIR/good.yaml" ]

# Asked of EAL at start: all that 24 bits of packet buffers and slots could take.
sed '$a mbufs: 16777216\nlimits:\n  max_connections: 16777215' "$LAB_DIR/good.yaml" >"$LAB_DIR/huge.yaml"
if [ "$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -lt 56000 ]; then
	timeout 60 "$MQT_BUILD/app/mqtrackd/mqtrackd" --config "$LAB_DIR/huge.yaml" >"$LAB_DIR/huge.log" 2>&1
	expect "more than the memory there is: refused at start" [ $? = 1 ]
	expect "with both numbers" grep -qE 'needs [0-9]+ MiB, [0-9]+ MiB are available' "$LAB_DIR/huge.log"
fi
