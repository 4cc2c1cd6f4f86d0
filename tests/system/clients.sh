#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients of other makes, over TCP and in WebSocket: Eclipse Paho in C and in Python; or, as
# clients.sh mqttjs, MQTT.js, which npm brings into the test's own folder.
. "$(dirname "$0")/prelude.sh"
HERE=$MQT_TOP/tests/system

# The programs, one a line: a name, a tab, the command.
paho() {
	if ! /usr/bin/python3 -c 'import paho.mqtt' 2>/dev/null || [ ! -e /usr/include/MQTTAsync.h ]; then
		echo "skipped: no Paho here (scripts/test installs it)"
		exit 77
	fi
	cc -D_GNU_SOURCE -std=c17 -Wall -Werror -o "$LAB_DIR/client_paho" "$HERE/client_paho.c" \
		-lpaho-mqtt3a || fail "the C client does not build"
	printf 'pahoc\t%s\npahopy\t/usr/bin/python3 %s\n' "$LAB_DIR/client_paho" "$HERE/client_paho.py"
}

mqttjs() {
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		echo "skipped: no node and npm here"
		exit 77
	fi
	mkdir "$LAB_DIR/js"
	if ! timeout 60 npm install --no-audit --no-fund --ignore-scripts --prefix "$LAB_DIR/js" \
		mqtt@5 >"$LAB_DIR/npm.log" 2>&1; then
		echo "skipped: npm does not get MQTT.js: $(grep -m1 'npm ERR' "$LAB_DIR/npm.log")"
		exit 77
	fi
	cp "$HERE/client_mqttjs.js" "$LAB_DIR/js/"
	printf 'mqttjs\tnode %s\n' "$LAB_DIR/js/client_mqttjs.js"
}

"${1:-paho}" >"$LAB_DIR/programs" || {
	status=$?
	cat "$LAB_DIR/programs"
	exit "$status"
}

# mosquitto 2.0.11 does not start with WebSocket listeners alone.
cat >"$LAB_DIR/ws.conf" <<END
user root
allow_anonymous true
persistence false
log_dest stderr
log_type all
listener 1884 $NORTH
listener 8083
protocol websockets
END
lab_spawn brk ws mosquitto -c "$LAB_DIR/ws.conf"
expect_soon "a broker with WebSocket" grep -q 'running$' "$LAB_DIR/ws.log"
lab_tracker 1 "listeners:
  - name: tcp
  - name: web
    port: 8083
    transport: ws" || fail "no tracker"

PROGRAMS=$(cat "$LAB_DIR/programs")
export PROGRAMS
py <<'END' || fail "clients"
import os
from makes import judge
from control import counter, expect
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
for line in os.environ["PROGRAMS"].splitlines():
    name, command = line.split("\t")
    reasons = name != "pahopy"  # 1.6 does not read one without properties
    for version, scheme, port in [(3, "tcp", 1883), (4, "tcp", 1883), (5, "tcp", 1883),
                                  (4, "ws", 8083), (5, "ws", 8083)]:
        judge(command.split(), name, f"{scheme}://{NORTH}:{port}", f"tcp://{SOUTH}:1883", version,
              reasons)
expect("nothing was opaque, strange, or there twice", counter("opaque") == 0
       and counter("anomalies") == 0 and counter("duplicates") == 0)
END
