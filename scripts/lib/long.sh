# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Tests that look for something new for as long as they are told. Sourced, after say.sh; MQT_TOP is
# the top and the working directory.

# long_seconds DURATION: prints "90" (minutes), "90m", "2h" or "30s" as seconds. Status 1: neither.
long_seconds() {
	local number=${1%[smh]} unit=60
	case $1 in
	*s) unit=1 ;;
	*h) unit=3600 ;;
	esac
	[[ $number =~ ^[1-9][0-9]{0,6}$ ]] && echo $((number * unit))
}

# long_sim DIR SECONDS: fresh seeds on all cores. Stops at the first that fails, and says how to run
# it again.
long_sim() {
	"$1/tests/sim/mqtrack-sim" --seconds "$2" --jobs "$(nproc)"
}

long_fuzz_targets() {
	local file
	for file in tests/fuzz/fuzz_*.c; do
		basename "$file" .c
	done
}

# long_fuzz_one DIR SECONDS TARGET: what it finds is kept in DIR/found.
long_fuzz_one() {
	local dir=$1 seconds=$2 target=$3 new log status=0
	new=$(mktemp -d) log=$(mktemp)
	mkdir -p "$dir/found"
	"$dir/tests/fuzz/$target" -max_total_time="$seconds" -print_final_stats=1 \
		-artifact_prefix="$dir/found/$target-" "$new" \
		"tests/fuzz/corpus/${target#fuzz_}" >"$log" 2>&1 || status=1
	if [ "$status" = 0 ]; then
		printf '%s: %s s, %s inputs\n' "$target" "$seconds" \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
	else
		tail -n 40 "$log"
		printf '%s\n  again: %s %s\n' "$target: FAILED" "$dir/tests/fuzz/$target" \
			"$(sed -n 's/.*Test unit written to //p' "$log")"
	fi
	rm -rf "$new" "$log"
	return "$status"
}

# long_fuzz DIR SECONDS: all targets for their share of the time on all cores.
long_fuzz() {
	local dir=$1 seconds=$2 cores n each
	cores=$(nproc) n=$(long_fuzz_targets | wc -l)
	[ "$cores" -le "$n" ] || cores=$n
	each=$((seconds * cores / n))
	[ "$each" -gt 0 ] || each=1
	export -f long_fuzz_one
	long_fuzz_targets | xargs -P "$cores" -I{} \
		bash -c 'long_fuzz_one "$@" || exit 255' - "$dir" "$each" {}
}
