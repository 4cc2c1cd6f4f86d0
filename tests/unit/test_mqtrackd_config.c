/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's configuration file: what it sets, and that whatever is wrong is named with its line
 * and its key.
 */
#include "check.h"
#include "config.h"
#include "mqtrack/info.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PORTS "ports: [{outside: net_ring0, inside: net_ring1}]\n"

static char file[] = "/tmp/mqtrackd_config_XXXXXX";

static int
make_file(void)
{
	int fd = mkstemp(file);

	return fd < 0 ? -1 : close(fd);
}

static int
remove_file(void)
{
	return unlink(file);
}

static int
load(const char *yaml, size_t len, struct mqt_config *cfg, char *err, size_t size)
{
	FILE *f = fopen(file, "w");

	CHECK(f && fwrite(yaml, 1, len, f) == len);
	if (f)
		CHECK_EQ(fclose(f), 0);
	return config_load(file, cfg, err, size);
}

static int
load_str(const char *yaml, struct mqt_config *cfg, char *err, size_t size)
{
	return load(yaml, strlen(yaml), cfg, err, size);
}

static void
test_the_example_is_accepted_and_states_the_defaults(void)
{
	static struct mqt_config cfg, want;
	char err[512];

	CHECK_EQ(config_load(MQTRACKD_EXAMPLE, &cfg, err, sizeof(err)), 0);
	CHECK_STR(err, "");
	mqt_config_init(&want);
	CHECK_MEM(&cfg.limits, &want.limits, sizeof(want.limits));
	CHECK_MEM(&cfg.flap, &want.flap, sizeof(want.flap));
	CHECK_MEM(&cfg.control, &want.control, sizeof(want.control));
	CHECK_MEM(&cfg.listeners, &want.listeners, sizeof(want.listeners));
	CHECK_MEM(&cfg.domains, &want.domains, sizeof(want.domains));
	CHECK_EQ(cfg.n_listeners, 1);
	CHECK_EQ(cfg.n_domains, 1);
	CHECK_EQ(cfg.n_mbufs, want.n_mbufs);
	CHECK_EQ(cfg.poll, want.poll);
	CHECK_EQ(cfg.node_id, want.node_id);
	CHECK_STR(cfg.node, want.node);
	CHECK_EQ(cfg.n_pairs, 1);
	CHECK_STR(cfg.pairs[0].outside, "net_af_packet0,iface=mqo0");
	CHECK_STR(cfg.pairs[0].inside, "net_af_packet1,iface=mqi0");
	CHECK_EQ(cfg.n_brokers, 1);
}

static void
test_absent_keys_have_their_defaults(void)
{
	static struct mqt_config cfg, want;
	char err[512];

	mqt_config_init(&want);
	want.n_pairs = 1;
	strcpy(want.pairs[0].outside, "net_ring0");
	strcpy(want.pairs[0].inside, "net_ring1");
	CHECK_EQ(load_str(PORTS, &cfg, err, sizeof(err)), 0);
	CHECK_STR(err, "");
	CHECK_MEM(&cfg, &want, sizeof(want));
}

static void
test_every_key_is_read(void)
{
	static const char yaml[] =
			"node: {id: 255, name: north}\n"
			"poll: busy\n"
			"mbufs: 65536\n"
			"ports:\n"
			"  - {outside: 0000:3b:00.0, inside: 0000:3b:00.1}\n"
			"  - {outside: net_tap0, inside: 'net_tap1,iface=x'}\n"
			"listeners:\n"
			"  - {name: a, domain: blue}\n"
			"  - {name: b, port: 2883, address: 2001:db8::1, domain: green,\n"
			"     on_failure: closed, midstream: reset, policy: reject-new,\n"
			"     will: suppress,\n"
			"     bind_username: true, session_expiry_v3: 4294967295,\n"
			"     transport: ws, proxy: require,\n"
			"     limits: {connections_per_address: 5, connects_per_second: 6}}\n"
			"  - {name: c, port: 3883, address: 192.0.2.7, domain: blue,\n"
			"     on_failure: open, policy: newest-wins, will: publish,\n"
			"     bind_username: false, session_expiry_v3: 0,\n"
			"     transport: tcp, proxy: accept}\n"
			"brokers:\n"
			"  - {name: x, address: 192.0.2.1}\n"
			"  - {name: y, address: 192.0.2.1, port: 1883}\n"
			"limits: {max_clients: 1, max_connections: 2, max_embryos: 3,\n"
			"  max_handshakes: 4, connect_max_bytes: 65, parked_per_flow: 6,\n"
			"  parked_per_worker: 7, reorder_per_flow: 8,\n"
			"  stepdown_local_ms: 9, kick_boundary_ms: 8, opening_ms: 100, contest_ms: "
			"12, stall_ms: 11,\n"
			"  handshake_ms: 102, embryo_ms: 103, idle_sec: 14, keepalive_grace_ms: "
			"18,\n"
			"  slot_quiet_ms: 15, down_batch: 16, down_slice: 17, events: 32,\n"
			"  max_retained: 0, session_filters: 20, session_inflight: 21,\n"
			"  session_bytes: 121, session_packet_bytes: 122,\n"
			"  fragments: 123}\n"
			"flap: {takeovers: 3, within: 4, hold: 5}\n"
			"control: {socket: /tmp/s, max_clients: 2, max_request: 2048,\n"
			"  max_backlog: 8192}\n";
	const uint32_t limits[] = { 1, 2, 3, 4, 65, 6, 7, 8, 123, 9, 8, 100, 12, 11, 102, 103, 14,
		18, 15, 16, 17, 32, 0, 20, 21, 121, 122 };
	const uint32_t flap[] = { 3, 4, 5 };
	static struct mqt_config cfg;
	struct mqt_endpoint ep;
	char err[512];

	CHECK_EQ(load_str(yaml, &cfg, err, sizeof(err)), 0);
	CHECK_STR(err, "");
	CHECK_EQ(cfg.node_id, 255);
	CHECK_STR(cfg.node, "north");
	CHECK_EQ(cfg.poll, MQT_POLL_BUSY);
	CHECK_EQ(cfg.n_mbufs, 65536);
	CHECK_EQ(cfg.n_pairs, 2);
	CHECK_STR(cfg.pairs[0].outside, "0000:3b:00.0");
	CHECK_STR(cfg.pairs[1].inside, "net_tap1,iface=x");
	CHECK_EQ(cfg.n_listeners, 3);
	CHECK_EQ(cfg.n_domains, 2);
	CHECK_STR(cfg.domains[0], "blue");
	CHECK_STR(cfg.domains[1], "green");
	CHECK_EQ(cfg.listeners[0].address.port, 1883);
	CHECK_EQ(cfg.listeners[0].address.version, 0);
	CHECK_EQ(cfg.listeners[1].domain, 1);
	CHECK_EQ(cfg.listeners[1].on_failure, MQT_FAIL_CLOSED);
	CHECK_EQ(cfg.listeners[1].midstream, MQT_MIDSTREAM_RESET);
	CHECK_EQ(cfg.listeners[0].midstream, MQT_MIDSTREAM_PASS);
	CHECK_EQ(mqt_endpoint_parse_ip("2001:db8::1", &ep), 0);
	ep.port = 2883;
	CHECK(mqt_endpoint_equal(&cfg.listeners[1].address, &ep));
	CHECK_EQ(cfg.listeners[2].domain, 0);
	CHECK_EQ(cfg.listeners[0].policy, MQT_POLICY_NEWEST_WINS);
	CHECK_EQ(cfg.listeners[0].will, MQT_WILL_PUBLISH);
	CHECK(!cfg.listeners[0].bind_username);
	CHECK_EQ(cfg.listeners[0].session_expiry_v3_sec, 7200);
	CHECK_EQ(cfg.listeners[0].transport, MQT_TRANSPORT_TCP);
	CHECK_EQ(cfg.listeners[0].proxy, MQT_PROXY_OFF);
	CHECK_EQ(cfg.listeners[1].transport, MQT_TRANSPORT_WS);
	CHECK_EQ(cfg.listeners[1].proxy, MQT_PROXY_REQUIRE);
	CHECK_EQ(cfg.listeners[2].transport, MQT_TRANSPORT_TCP);
	CHECK_EQ(cfg.listeners[2].proxy, MQT_PROXY_ACCEPT);
	CHECK_EQ(cfg.listeners[1].policy, MQT_POLICY_REJECT_NEW);
	CHECK_EQ(cfg.listeners[1].will, MQT_WILL_SUPPRESS);
	CHECK(cfg.listeners[1].bind_username);
	CHECK_EQ(cfg.listeners[1].session_expiry_v3_sec, UINT32_MAX);
	CHECK_EQ(cfg.listeners[1].connections_per_address, 5);
	CHECK_EQ(cfg.listeners[1].connects_per_second, 6);
	CHECK_EQ(cfg.listeners[0].connections_per_address, 0);
	CHECK_EQ(cfg.listeners[0].connects_per_second, 0);
	CHECK_EQ(cfg.listeners[2].policy, MQT_POLICY_NEWEST_WINS);
	CHECK_EQ(cfg.listeners[2].will, MQT_WILL_PUBLISH);
	CHECK(!cfg.listeners[2].bind_username);
	CHECK_EQ(cfg.listeners[2].session_expiry_v3_sec, 0);
	CHECK_EQ(cfg.n_brokers, 2);
	CHECK_EQ(cfg.brokers[0].address.port, 0);
	CHECK_EQ(cfg.brokers[1].address.port, 1883);
	CHECK_STR(cfg.brokers[1].name, "y");
	CHECK_EQ(sizeof(limits), sizeof(cfg.limits));
	CHECK_MEM(&cfg.limits, limits, sizeof(limits));
	CHECK_EQ(sizeof(flap), sizeof(cfg.flap));
	CHECK_MEM(&cfg.flap, flap, sizeof(flap));
	CHECK_STR(cfg.control.socket, "/tmp/s");
	CHECK_EQ(cfg.control.max_clients, 2);
	CHECK_EQ(cfg.control.max_request, 2048);
	CHECK_EQ(cfg.control.max_backlog, 8192);
}

static const struct {
	const char *row, *yaml;
	const char *want; /* behind "<file>:" */
} broken[] = {
	{ "empty", "", "1: is empty: at least a pair of ports is needed" },
	{ "comment only", "# nothing\n", "1: is empty: at least a pair of ports is needed" },
	{ "list at top", "- a\n", "1: must be a mapping (key: value)" },
	{ "not yaml", "poll: busy\n\tmbufs: 1\n",
			"2: not YAML: found a tab character that violates indentation" },
	{ "open list", PORTS "listeners: [{name: a}\n",
			"3: not YAML: did not find expected ',' or ']'" },
	{ "second document", PORTS "---\npoll: busy\n", "2: a second document" },
	{ "alias", PORTS "node: &n {id: 1}\nlimits: *n\n",
			"2: node: anchors and aliases are not supported" },
	{ "unknown key", PORTS "poll: busy\npol: busy\n", "3: pol: unknown key" },
	{ "unknown key before its twin below", "name: x\n" PORTS "node: {name: y}\n",
			"1: name: unknown key" },
	{ "unknown key behind its twin", PORTS "node:\n  name: y\nname: x\n",
			"4: name: unknown key" },
	{ "unknown key in limits", PORTS "limits:\n  events: 16\n  evnts: 16\n",
			"4: limits.evnts: unknown key" },
	{ "unknown key in a list", PORTS "listeners:\n  - name: a\n  - name: b\n    prt: 1\n",
			"5: listeners[1].prt: unknown key" },
	{ "unknown key deep in a list",
			PORTS "listeners:\n  - name: a\n    limits:\n      per_second: 1\n",
			"5: listeners[0].limits.per_second: unknown key" },
	{ "number without a value", PORTS "limits:\n  max_connections:\n",
			"3: limits.max_connections: '' is not a number from 0 to 16777215" },
	{ "number with nothing in it", PORTS "flap: {hold: \"\"}\n",
			"2: flap.hold: '' is not a number from 0 to 86400" },
	{ "key twice", PORTS "mbufs: 2048\npoll: busy\nmbufs: 4096\n",
			"4: mbufs: stands twice, first in line 2" },
	{ "value for a mapping", PORTS "\nlimits: 5\n",
			"3: limits: must be a mapping (key: value)" },
	{ "mapping for a value", PORTS "mbufs: {a: 1}\n", "2: mbufs: must be a single value" },
	{ "value for a list", "ports: net_ring0\n", "1: ports: must be a list (- item)" },
	{ "value in a list of mappings",
			PORTS "brokers:\n  - name: x\n    address: 192.0.2.1\n"
			      "  - y\n",
			"5: brokers[1]: must be a mapping (key: value)" },
	{ "no ports", "poll: busy\n", "1: ports: at least one pair of ports is needed" },
	{ "ports empty", "poll: busy\nports: []\n",
			"2: ports: at least one pair of ports is needed" },
	{ "one side missing", "ports:\n  - outside: a\n    inside: b\n  - outside: c\n",
			"4: ports[1]: key 'inside' is missing" },
	{ "device empty", "ports:\n  - outside: ''\n    inside: b\n",
			"2: ports[0].outside: is empty" },
	{ "device too long",
			"ports:\n  - outside: a123456789a123456789a123456789a123456789a123456789"
			"a123456789a123456789\n    inside: b\n",
			"2: ports[0].outside: is longer than 63 bytes" },
	{ "device on both sides", "ports:\n  - outside: a,x=1\n    inside: a\n",
			"3: ports[0].inside: device 'a' is in use by another port" },
	{ "interface on both sides",
			"ports:\n  - outside: net_af_packet0,iface=x,qpairs=1\n"
			"    inside: net_af_packet1,framecnt=64,iface=x\n",
			"3: ports[0].inside: device 'net_af_packet1,framecnt=64,iface=x' is in use "
			"by another port" },
	{ "device in two pairs",
			"ports:\n  - {outside: a, inside: b}\n  - {outside: c, inside: b}\n",
			"3: ports[1].inside: device 'b' is in use by another port" },
	{ "no number", PORTS "mbufs: many\n",
			"2: mbufs: 'many' is not a number from 1024 to 16777216" },
	{ "number with a tail", PORTS "mbufs: 4096k\n",
			"2: mbufs: '4096k' is not a number from 1024 to 16777216" },
	{ "negative", PORTS "mbufs: -4096\n",
			"2: mbufs: '-4096' is not a number from 1024 to 16777216" },
	{ "no value", PORTS "mbufs:\n", "2: mbufs: '' is not a number from 1024 to 16777216" },
	{ "wraps 32 bits", PORTS "mbufs: 4294971392\n",
			"2: mbufs: '4294971392' is not a number from 1024 to 16777216" },
	{ "wraps 64 bits", PORTS "mbufs: 18446744073709555712\n",
			"2: mbufs: '18446744073709555712' is not a number from 1024 to 16777216" },
	{ "node id", PORTS "node:\n  name: a\n  id: 256\n",
			"4: node.id: '256' is not a number from 0 to 255" },
	{ "node name", PORTS "node: {name: \"a\\tb\"}\n",
			"2: node.name: has characters that are not printable ASCII" },
	{ "poll", PORTS "poll: fast\n", "2: poll: 'fast' is neither 'adaptive' nor 'busy'" },
	{ "listeners empty", PORTS "listeners: []\n", "2: listeners: the list is empty" },
	{ "listener without name", PORTS "listeners:\n  - port: 1883\n",
			"3: listeners[0]: key 'name' is missing" },
	{ "listener port 0", PORTS "listeners:\n  - name: a\n    port: 0\n",
			"4: listeners[0].port: '0' is not a number from 1 to 65535" },
	{ "listener port", PORTS "listeners:\n  - name: a\n    port: 65536\n",
			"4: listeners[0].port: '65536' is not a number from 1 to 65535" },
	{ "listener address", PORTS "listeners:\n  - name: a\n    address: 192.0.2.256\n",
			"4: listeners[0].address: '192.0.2.256' is not an IPv4 or IPv6 address" },
	{ "listener address in another's form",
			PORTS "listeners:\n  - name: a\n    address: ::ffff:192.0.2.1\n",
			"4: listeners[0].address: '::ffff:192.0.2.1' is never on the wire: write "
			"the IPv4 "
			"address" },
	{ "zero byte in a name", PORTS "listeners:\n  - name: \"a\\0b\"\n",
			"3: listeners[0].name: has a zero byte" },
	{ "listener midstream", PORTS "listeners:\n  - name: a\n    midstream: drop\n",
			"4: listeners[0].midstream: 'drop' is neither 'pass' nor 'reset'" },
	{ "listener outcome", PORTS "listeners:\n  - name: a\n    on_failure: ajar\n",
			"4: listeners[0].on_failure: 'ajar' is neither 'open' nor 'closed'" },
	{ "listener policy", PORTS "listeners:\n  - name: a\n    policy: oldest-wins\n",
			"4: listeners[0].policy: 'oldest-wins' is neither 'newest-wins' nor "
			"'reject-new'" },
	{ "listener will", PORTS "listeners:\n  - name: a\n    will: ''\n",
			"4: listeners[0].will: '' is neither 'publish' nor 'suppress'" },
	{ "listener transport", PORTS "listeners:\n  - name: a\n    transport: wss\n",
			"4: listeners[0].transport: 'wss' is neither 'tcp' nor 'ws'" },
	{ "listener proxy", PORTS "listeners:\n  - name: a\n    proxy: on\n",
			"4: listeners[0].proxy: 'on' is none of 'off', 'accept' and 'require'" },
	{ "listener binding", PORTS "listeners:\n  - name: a\n    bind_username: yes\n",
			"4: listeners[0].bind_username: 'yes' is neither 'false' nor 'true'" },
	{ "listener limits",
			PORTS
			"listeners:\n  - name: a\n    limits:\n      connects_per_second: x\n",
			"5: listeners[0].limits.connects_per_second: 'x' is not a number from 0 to "
			"1000000" },
	{ "listener expiry", PORTS "listeners:\n  - name: a\n    session_expiry_v3: 2h\n",
			"4: listeners[0].session_expiry_v3: '2h' is not a number from 0 to "
			"4294967295" },
	{ "listener expiry wraps",
			PORTS "listeners:\n  - name: a\n    session_expiry_v3: 4294967296\n",
			"4: listeners[0].session_expiry_v3: '4294967296' is not a number from 0 to "
			"4294967295" },
	{ "listener name twice", PORTS "listeners:\n  - {name: a}\n  - {name: a, port: 1}\n",
			"4: listeners[1].name: another listener has the name 'a'" },
	{ "listener port twice", PORTS "listeners:\n  - {name: a}\n  - {name: b}\n",
			"4: listeners[1].port: listener 'a' has the same address and port" },
	{ "broker without address", PORTS "brokers:\n  - name: a\n",
			"3: brokers[0]: key 'address' is missing" },
	{ "broker twice",
			PORTS "brokers:\n  - {name: a, address: '::1'}\n"
			      "  - name: b\n    address: 0::1\n",
			"5: brokers[1].address: broker 'a' has the same address and port" },
	{ "limit", PORTS "limits:\n  max_clients: 0\n",
			"3: limits.max_clients: '0' is not a number from 1 to 16777215" },
	{ "events", PORTS "limits:\n  events: 1000\n",
			"3: limits.events: 1000 is not a power of two" },
	{ "retained", PORTS "limits:\n  max_retained: 16777216\n",
			"3: limits.max_retained: '16777216' is not a number from 0 to 16777215" },
	{ "filters", PORTS "limits:\n  session_filters: 65536\n",
			"3: limits.session_filters: '65536' is not a number from 0 to 65535" },
	{ "inflight", PORTS "limits:\n  session_inflight: 65536\n",
			"3: limits.session_inflight: '65536' is not a number from 0 to 65535" },
	{ "session", PORTS "limits:\n  session_bytes: 63\n",
			"3: limits.session_bytes: '63' is not a number from 64 to 1048576" },
	{ "packet", PORTS "limits:\n  session_packet_bytes: 63\n",
			"3: limits.session_packet_bytes: '63' is not a number from 64 to "
			"1048576" },
	{ "flap", PORTS "flap:\n  takeovers: 1000001\n",
			"3: flap.takeovers: '1000001' is not a number from 0 to 1000000" },
	{ "flap within", PORTS "flap: {takeovers: 3, within: 0}\n",
			"2: flap.within: '0' is not a number from 1 to 86400" },
	{ "flap hold", PORTS "flap:\n  hold: 86401\n",
			"3: flap.hold: '86401' is not a number from 0 to 86400" },
	{ "flap unknown key", PORTS "flap:\n  hold_sec: 1\n", "3: flap.hold_sec: unknown key" },
	{ "opening", PORTS "limits:\n  stepdown_local_ms: 500\n  opening_ms: 500\n",
			"4: limits.opening_ms: opening_ms (500) must be longer than "
			"stepdown_local_ms (500)" },
	{ "kick", PORTS "limits:\n  kick_boundary_ms: 500\n",
			"3: limits.kick_boundary_ms: kick_boundary_ms (500) must be shorter than "
			"stepdown_local_ms (500)" },
	{ "kick after stepdown", PORTS "limits:\n  stepdown_local_ms: 200\n",
			"3: limits.stepdown_local_ms: kick_boundary_ms (200) must be shorter than "
			"stepdown_local_ms (200)" },
	{ "stepdown", PORTS "limits:\n  stepdown_local_ms: 20000\n",
			"3: limits.stepdown_local_ms: opening_ms (20000) must be longer than "
			"stepdown_local_ms (20000)" },
	{ "socket too long",
			PORTS
			"control:\n  socket: /a123456789a123456789a123456789a123456789"
			"a123456789a123456789a123456789a123456789a123456789a123456789a1234567\n",
			"3: control.socket: is longer than 107 bytes" },
	{ "control clients", PORTS "control: {max_clients: 0}\n",
			"2: control.max_clients: '0' is not a number from 1 to 1024" },
	{ "deep", PORTS "a: [[[[[[[[1]]]]]]]]\n", "2: a[0][0][0][0][0][0][0]: nested too deeply" },
};

static void
test_broken_files_are_refused_with_line_and_key(void)
{
	static struct mqt_config cfg, untouched;
	char err[512], want[512];

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		check_row = broken[i].row;
		CHECK_EQ(load_str(broken[i].yaml, &cfg, err, sizeof(err)), -EINVAL);
		snprintf(want, sizeof(want), "%s:%s", file, broken[i].want);
		CHECK_STR(err, want);
		CHECK_MEM(&cfg, &untouched, sizeof(cfg));
	}
	check_row = "";
}

/* The longest text there is room for, and one byte more. */
static void
test_texts_have_a_greatest_length(void)
{
	static const struct {
		const char *key, *text;
		size_t most;
	} rows[] = {
		{ "node.name", PORTS "node:\n  name: %s\n", MQT_NAME_MAX - 1 },
		{ "listeners[0].name", PORTS "listeners:\n  - name: %s\n", MQT_NAME_MAX - 1 },
		{ "listeners[0].domain", PORTS "listeners:\n  - name: a\n    domain: %s\n",
				MQT_NAME_MAX - 1 },
		{ "brokers[0].name", PORTS "brokers:\n  - address: 192.0.2.1\n    name: %s\n",
				MQT_NAME_MAX - 1 },
		{ "control.socket", PORTS "control:\n  socket: %s\n", 107 },
	};
	static struct mqt_config cfg;
	char text[128], yaml[512], err[512], want[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check_row = rows[i].key;
		memset(text, 'x', sizeof(text));
		text[rows[i].most] = '\0';
		snprintf(yaml, sizeof(yaml), rows[i].text, text);
		CHECK_EQ(load_str(yaml, &cfg, err, sizeof(err)), 0);
		text[rows[i].most] = 'x';
		text[rows[i].most + 1] = '\0';
		snprintf(yaml, sizeof(yaml), rows[i].text, text);
		CHECK_EQ(load_str(yaml, &cfg, err, sizeof(err)), -EINVAL);
		snprintf(want, sizeof(want), "%s: is longer than %zu bytes", rows[i].key,
				rows[i].most);
		if (!strstr(err, want))
			CHECK_STR(err, want);
	}
	check_row = "";
}

static void
test_lists_that_are_too_long_are_refused(void)
{
	static const struct {
		const char *key, *item;
		unsigned most;
	} rows[] = {
		{ "listeners", "- {name: l%u, port: %u}\n", MQT_MAX_LISTENERS },
		{ "brokers", "- {name: b%u, address: 192.0.2.1, port: %u}\n", MQT_MAX_BROKERS },
		{ "ports", "- {outside: o%u, inside: i%u}\n", MQT_MAX_PAIRS },
	};
	static struct mqt_config cfg;
	static char yaml[32768];
	char err[512], want[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_ports = strcmp(rows[i].key, "ports") == 0;

		check_row = rows[i].key;
		for (unsigned n = rows[i].most; n <= rows[i].most + 1; n++) {
			size_t len = (size_t)snprintf(yaml, sizeof(yaml), "%s%s:\n",
					is_ports ? "" : PORTS, rows[i].key);

			for (unsigned k = 1; k <= n; k++)
				len += (size_t)snprintf(
						yaml + len, sizeof(yaml) - len, rows[i].item, k, k);
			CHECK_EQ(load(yaml, len, &cfg, err, sizeof(err)),
					n == rows[i].most ? 0 : -EINVAL);
		}
		snprintf(want, sizeof(want), "%s:%u: %s[%u]: there are at most %u", file,
				rows[i].most + (is_ports ? 2 : 3), rows[i].key, rows[i].most,
				rows[i].most);
		CHECK_STR(err, want);
	}
	check_row = "";
}

/* Cut anywhere, a file is accepted or refused with a place, never worse. */
static void
test_cut_files_never_crash(void)
{
	static struct mqt_config cfg;
	static char yaml[16384];
	FILE *f = fopen(MQTRACKD_EXAMPLE, "r");
	char err[512], place[64];
	size_t len;

	CHECK(f != NULL);
	if (!f)
		return;
	len = fread(yaml, 1, sizeof(yaml), f);
	fclose(f);
	CHECK(len > 1000 && len < sizeof(yaml));
	snprintf(place, sizeof(place), "%s:", file);
	for (size_t cut = 0; cut < len; cut += 7) {
		if (load(yaml, cut, &cfg, err, sizeof(err)) == 0)
			continue;
		CHECK(strncmp(err, place, strlen(place)) == 0);
	}
}

static void
test_an_unreadable_file_is_named(void)
{
	static struct mqt_config cfg;
	char err[512];

	CHECK_EQ(config_load("/nonexistent/mqtrackd.yaml", &cfg, err, sizeof(err)), -ENOENT);
	CHECK_STR(err, "/nonexistent/mqtrackd.yaml: cannot be read: No such file or directory");
	CHECK_EQ(config_load("/tmp", &cfg, err, sizeof(err)), -EISDIR);
	CHECK_STR(err, "/tmp: cannot be read: Is a directory");
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "the example is accepted and states the defaults",
				test_the_example_is_accepted_and_states_the_defaults },
		{ "absent keys have their defaults", test_absent_keys_have_their_defaults },
		{ "every key is read", test_every_key_is_read },
		{ "broken files are refused with line and key",
				test_broken_files_are_refused_with_line_and_key },
		{ "texts have a greatest length", test_texts_have_a_greatest_length },
		{ "lists that are too long are refused", test_lists_that_are_too_long_are_refused },
		{ "cut files never crash", test_cut_files_never_crash },
		{ "an unreadable file is named", test_an_unreadable_file_is_named },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "mqtrackd_config", make_file, remove_file, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
