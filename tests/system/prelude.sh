# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034
# What each system test begins with: a laboratory with two brokers, and words to judge by. Sourced.
# Exit status: 0 passed, 77 the machine lacks something, else failed, with the logs on stderr.

MQT_TOP=${MQT_TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
MQT_BUILD=${MQT_BUILD:-$MQT_TOP/build}
. "$MQT_TOP/scripts/lib/say.sh"
. "$MQT_TOP/scripts/lib/lab.sh"

for tool in ip ethtool mosquitto mosquitto_sub mosquitto_pub tcpdump ping python3; do
	if ! command -v "$tool" >/dev/null; then
		echo "skipped: no $tool here (scripts/test installs it)"
		exit 77
	fi
done
if ! why=$(lab_possible); then
	echo "skipped: $why"
	exit 77
fi

# fail TEXT...: the end of the test.
fail() {
	echo "FAIL: $*" >&2
	exit 1
}

# expect WHAT COMMAND...: the command must succeed.
expect() {
	local what=$1
	shift
	"$@" || fail "$what"
	echo "ok: $what"
}

# expect_soon WHAT COMMAND...: the same, within ten seconds.
expect_soon() {
	local what=$1
	shift
	expect "$what" eventually 10 "$@"
}

# py: a Python program from stdin, in the clients' namespace; it can import the modules beside this
# file.
py() {
	cli env PYTHONPATH="$MQT_TOP/tests/system" \
		PYTHONDONTWRITEBYTECODE=1 LAB=$LAB MQT_SOCKET="$LAB_SOCKET" NORTH=$NORTH SOUTH=$SOUTH \
		NORTH6=$NORTH6 SOUTH6=$SOUTH6 python3 -
}

# counter NAME: a counter of the tracker, all workers added up.
counter() {
	printf 'import control\nprint(control.counter("%s"))\n' "$1" | py
}

# The end of a test: the tracker, if it still runs, must stop cleanly, whatever was done to it; with
# the sanitizers this is also where a leak shows.
judge() {
	local status=$1
	if [ -n "$LAB_TRACKER" ]; then
		lab_end "$LAB_TRACKER"
		LAB_TRACKER=
		if [ "$LAB_STATUS" != 0 ]; then
			echo "FAIL: mqtrackd ended with status $LAB_STATUS" >&2
			[ "$status" != 0 ] || status=1
		fi
	fi
	if [ "$status" != 0 ]; then
		local log
		for log in "$LAB_DIR"/*.log; do
			echo "--- ${log##*/}"
			tail -n 60 "$log"
		done >&2
	fi
	return "$status"
}

LAB_ON_END=judge
lab_up || fail "the laboratory does not come up"
