# SPDX-License-Identifier: BSD-3-Clause
# Builds into a directory under the top of the tree. Sourced, after say.sh; MQT_TOP is the top.

# build DIR COMPILER [MESON OPTION...] [-- TARGET...]: configures where needed, and compiles all or
# these targets. The compiler's output is shown only where it fails. Status: the build's.
build() {
	local dir=$MQT_TOP/$1 compiler=$2 log status=0 options=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# = 0 ] || shift
	log=$(mktemp)
	if [ ! -f "$dir/build.ninja" ]; then
		CC=$compiler meson setup "$dir" "$MQT_TOP" "${options[@]}" >"$log" 2>&1 || status=$?
	else
		meson setup --reconfigure "$dir" "$MQT_TOP" "${options[@]}" >"$log" 2>&1 || status=$?
	fi
	if [ "$status" = 0 ]; then
		ninja -C "$dir" "$@" >"$log" 2>&1 || status=$?
	fi
	[ "$status" = 0 ] || tail -n 60 "$log" >&2
	rm -f "$log"
	return "$status"
}
