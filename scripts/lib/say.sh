# SPDX-License-Identifier: BSD-3-Clause
# Messages of the scripts. Sourced.

# say TEXT...: a line of the narration, bold on a terminal.
say() {
	if [ -t 1 ]; then
		printf '\033[1m%s\033[0m\n' "$*"
	else
		printf '%s\n' "$*"
	fi
}

# show COMMAND...: prints a command and runs it, its output indented.
show() {
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/  /'
	return "${PIPESTATUS[0]}"
}

warn() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	warn "$@"
	exit 1
}
