# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034
# The Debian packages that building, testing and the demonstration need. Sourced, after say.sh.

MQT_PACKAGES_BUILD=(gcc libc6-dev meson ninja-build pkg-config
	libdpdk-dev liburcu-dev libjansson-dev libsmartcols-dev libcyaml-dev libyaml-dev libsodium-dev
	libcunit1-dev libpcap-dev)
MQT_PACKAGES_RUN=(mosquitto mosquitto-clients iproute2 ethtool tcpdump iputils-ping procps python3)
MQT_PACKAGES_TEST=(clang libclang-rt-14-dev llvm-14 clang-format git spin
	libpaho-mqtt-dev python3-paho-mqtt lua5.4)
MQT_PACKAGES_PEERS=(haproxy nftables dpdk-dev iproute2 ethtool procps python3)

# packages_install NAME...: installs what of these is missing; silent unless it fails.
packages_install() {
	local missing=() name log
	for name; do
		dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null |
			grep -qx installed || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "missing packages: run as root, or: apt-get install ${missing[*]}"
	command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${missing[*]}"
	say "Installing ${#missing[@]} packages: ${missing[*]}"
	log=$(mktemp)
	if ! packages_apt install "${missing[@]}" >"$log" 2>&1; then
		# A package list that is absent or old is the usual reason.
		if ! { packages_apt update && packages_apt install "${missing[@]}"; } >"$log" 2>&1; then
			tail -n 20 "$log" >&2
			rm -f "$log"
			die "apt-get could not install: ${missing[*]}"
		fi
	fi
	rm -f "$log"
}

packages_apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
		--no-install-recommends "$@" </dev/null
}
