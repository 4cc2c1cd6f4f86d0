#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Captures: the packets of one client in a file that tcpdump reads, from CONNECT to DISCONNECT, and
# no packet of another; what the tracker sends by itself is in it.
. "$(dirname "$0")/prelude.sh"
lab_tracker || fail "no tracker"
FILE=$LAB_DIR/client.pcapng

# packets FILTER: lines of what of the file matches.
packets() {
	tcpdump -n -r "$FILE" "$@" 2>/dev/null
}

# has NUMBER: whether just one segment begins with that byte, the MQTT packet's type; TCP may have
# sent it more than once.
has() {
	[ "$(packets -S "tcp[((tcp[12]&0xf0)>>2)] == $1 and (ip[2:2] - 20 - ((tcp[12]&0xf0)>>2)) > 0" |
		grep -o ' seq [0-9:]*' | sort -u | wc -l)" = 1 ]
}

# commented TEXT: packets with a comment that has it.
commented() {
	grep -c -a "$1" "$FILE"
}

# capture ARGUMENT...: in the background, its words in capture.log.
capture() {
	rm -f "$FILE"
	[ ! -e "$FILE.before" ] || mv "$FILE.before" "$FILE"
	ctl capture "$@" -w "$FILE" >"$LAB_DIR/capture.log" 2>&1 &
	CAPTURE=$!
}

captured() {
	wait "$CAPTURE"
	status=$?
	expect "the capture ends well, status $status: $(cat "$LAB_DIR/capture.log")" [ "$status" = 0 ]
}

# A client that is not there yet, with others before, beside and after it.
lab_sub other -h "$NORTH" -i other -t '#'
expect_soon "another client is connected" grep -q 'received SUBACK' "$LAB_DIR/other.log"
head -c 100000 /dev/zero >"$FILE.before"
chmod 644 "$FILE.before"
capture wanted --wait
begun() { [ "$(head -c 4 "$FILE" | od -An -tx1)" = ' 0a 0d 0d 0a' ]; }
expect_soon "it has begun" begun
expect "its file is its owner's alone, whatever it was before" [ "$(stat -c %a "$FILE")" = 600 ]
expect "and emptied" [ "$(stat -c %s "$FILE")" -lt 100000 ]
cli mosquitto_pub -h "$NORTH" -i before -t t -m before-message
cli mosquitto_pub -h "$NORTH" -i wanted -t t -m wanted-message -q 1
cli mosquitto_pub -h "$NORTH" -i after -t t -m after-message
expect_soon "it has DISCONNECT" has 0xe0
kill "$CAPTURE"
wait "$CAPTURE"
expect "it has CONNECT" has 0x10
expect "it has CONNACK" has 0x20
expect "it has PUBLISH" has 0x32
expect "it has PUBACK" has 0x40
expect "all of one connection" \
	[ "$(packets | grep -o '\.[0-9]* > ' | sort -u | wc -l)" = 2 ]
expect "its message is in it" grep -q -a wanted-message "$FILE"
if command -v capinfos >/dev/null; then
	expect "Wireshark's own reader takes it" sh -c \
		"capinfos -c -M '$FILE' | grep -q 'packets: *$(packets | wc -l)\$'"
else
	echo "left out: no capinfos here, Wireshark's own reader"
fi
expect "the CONNACK was held until it was admitted" [ "$(commented 'held by mqtrack')" -ge 1 ]
expect "no packet of another" sh -c "! grep -q -a 'before-message\|after-message' '$FILE'"
capture wanted --wait --seconds 1
captured
expect "its time ends it" grep -q 'ended by: seconds' "$LAB_DIR/capture.log"

# One that is there: by its channel, until it is kicked.
channel=$(ctl clients --json --clientid other | grep -o '"channel": *"[^"]*"' | cut -d'"' -f4)
capture --channel "$channel"
expect_soon "it has begun" [ -s "$FILE" ]
cli mosquitto_pub -h "$NORTH" -i loud -t t -m to-the-other
expect_soon "what came to it is in it" grep -q -a to-the-other "$FILE"
expect "it is kicked" ctl kick other
captured
expect "its end is said, and nothing was dropped" \
	grep -q ' 0 packets dropped; ended by: channel_closed' "$LAB_DIR/capture.log"
expect "what mqtrack sent is in it" grep -q -a 'sent by mqtrack' "$FILE"
expect "to both ends" [ "$(packets 'tcp[tcpflags] & tcp-rst != 0' | wc -l)" -ge 2 ]

# It follows a client that comes back.
expect_soon "the client connects again" sh -c "[ \$(grep -c 'received CONNACK' '$LAB_DIR/other.log') = 2 ]"
capture other --packets 1
expect_soon "it has begun" [ -s "$FILE" ]
cli mosquitto_pub -h "$NORTH" -i loud -t t -m to-the-other
captured
expect "a limit ends it" grep -q '^1 packets.*ended by: packets' "$LAB_DIR/capture.log"
expect "one packet is in the file" [ "$(packets | wc -l)" = 1 ]

rm "$FILE"
ctl capture nobody -w "$FILE" >"$LAB_DIR/out" 2>&1
status=$?
expect "an unknown client is an error, status $status" [ "$status" = 1 ]
expect "that says so: $(cat "$LAB_DIR/out")" grep -q 'unknown client "nobody"' "$LAB_DIR/out"
expect "and leaves no file" [ ! -e "$FILE" ]
