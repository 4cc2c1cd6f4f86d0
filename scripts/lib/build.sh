# SPDX-License-Identifier: BSD-3-Clause
# Builds into a directory under the top of the tree. Sourced, after say.sh; MQT_TOP is the top.

# What a release is, and what is measured and tested as such: -O3, and link-time optimisation, with
# which the channel manager opens a fifth more clients a second. Assertions stay: a tracker that is
# wrong about its own state must not go on. -Dnative=true only where whoever builds asks for it.
MQT_RELEASE=(--buildtype=release -Db_lto=true -Db_ndebug=false)

# build DIR COMPILER [MESON OPTION...] [-- TARGET...]: configures where needed, and compiles all or
# these targets. The compiler's output is shown only where it fails. Status: the build's; it has
# failed where it takes longer than MQT_BUILD_LIMIT seconds, if that is set.
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
		# "meson setup --reconfigure" takes no b_lto.
		{ meson configure "$dir" "${options[@]}" &&
			meson setup --reconfigure "$dir" "$MQT_TOP"; } >"$log" 2>&1 || status=$?
	fi
	if [ "$status" = 0 ]; then
		${MQT_BUILD_LIMIT:+timeout "$MQT_BUILD_LIMIT"} ninja -C "$dir" "$@" >"$log" 2>&1 || status=$?
	fi
	[ "$status" = 0 ] || tail -n 60 "$log" >&2
	rm -f "$log"
	return "$status"
}
