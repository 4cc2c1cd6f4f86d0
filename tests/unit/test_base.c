/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/base: addresses, channel ids, slots, clock, names, configuration.
 */
#include "base_rig.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/clock.h"
#include "mqtrack/config.h"
#include "mqtrack/counters.h"
#include "mqtrack/msg.h"
#include "mqtrack/slot.h"

#include <ctype.h>
#include <errno.h>
#include <time.h>

/* --- addresses ------------------------------------------------------------------------------- */

static void
test_addresses_are_read_and_written(void)
{
	static const struct {
		const char *ip, *text, *whole;
		uint16_t port, version;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1:1883", 1883, 4 },
		{ "255.255.255.255", "255.255.255.255", "255.255.255.255:65535", 65535, 4 },
		{ "2001:DB8:0:0::1", "2001:db8::1", "[2001:db8::1]:8883", 8883, 6 },
		{ "::", "::", "[::]:0", 0, 6 },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:1", 1, 6 },
		{ "1111:2222:3333:4444:5555:6666:7777:8888",
				"1111:2222:3333:4444:5555:6666:7777:8888",
				"[1111:2222:3333:4444:5555:6666:7777:8888]:65535", 65535, 6 },
	};
	char ip[MQT_ADDR_STRLEN], whole[MQT_ENDPOINT_STRLEN];

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep;

		check_row = rows[i].ip;
		memset(&ep, 0xaa, sizeof(ep));
		CHECK_EQ(mqt_endpoint_parse_ip(rows[i].ip, &ep), 0);
		CHECK_EQ(ep.version, rows[i].version);
		CHECK_EQ(ep.port, 0);
		if (rows[i].version == 4)
			CHECK_MEM(ep.ip + 4, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
		ep.port = rows[i].port;
		CHECK_STR(mqt_endpoint_format_ip(&ep, ip), rows[i].text);
		CHECK_STR(mqt_endpoint_format(&ep, whole), rows[i].whole);
	}
}

static void
test_no_address_is_written_as_any(void)
{
	struct mqt_endpoint ep = { .port = 1883 };
	char ip[MQT_ADDR_STRLEN], whole[MQT_ENDPOINT_STRLEN];

	CHECK_STR(mqt_endpoint_format_ip(&ep, ip), "*");
	CHECK_STR(mqt_endpoint_format(&ep, whole), "*:1883");
}

static void
test_bad_addresses_are_rejected(void)
{
	static const char *const rows[] = { "", " 192.0.2.1", "192.0.2.1 ", "192.0.2",
		"192.0.2.256", "192.0.2.1:80", "[::1]", "::1%lo", "1::2::3",
		"12345::", "localhost" };

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep = { .port = 7 };

		check_row = rows[i];
		CHECK_EQ(mqt_endpoint_parse_ip(rows[i], &ep), -EINVAL);
		CHECK_EQ(ep.port, 7);
	}
}

static void
test_endpoints_are_equal_in_all_fields_only(void)
{
	const struct mqt_endpoint a = endpoint("192.0.2.1", 1);
	const struct mqt_endpoint others[] = { endpoint("192.0.2.2", 1), endpoint("192.0.2.1", 2),
		endpoint("c000:201::", 1) /* the same 16 bytes */ };
	struct mqt_endpoint same = endpoint("192.0.2.1", 1);

	CHECK(mqt_endpoint_equal(&a, &same));
	for (size_t i = 0; i < LEN(others); i++)
		CHECK(!mqt_endpoint_equal(&a, &others[i]));
}

/* --- channel ids ----------------------------------------------------------------------------- */

static void
test_channel_ids_keep_their_parts(void)
{
	static const struct {
		unsigned node, worker;
		uint32_t slot, gen;
		const char *text;
	} rows[] = {
		{ 0, 0, 0, 1, "00-00-000000-000001" },
		{ 255, 255, MQT_CHAN_SLOT_MAX, MQT_CHAN_GEN_MAX, "ff-ff-ffffff-ffffff" },
		{ 1, 2, 0x345678, 0x9abcde, "01-02-345678-9abcde" },
		{ 128, 0, 0x800000, 0x800000, "80-00-800000-800000" },
	};
	char buf[MQT_CHAN_STRLEN];

	for (size_t i = 0; i < LEN(rows); i++) {
		mqt_chan_id id = mqt_chan_id_make(
				rows[i].node, rows[i].worker, rows[i].slot, rows[i].gen);
		mqt_chan_id back = 0;

		check_row = rows[i].text;
		CHECK_EQ(mqt_chan_id_node(id), rows[i].node);
		CHECK_EQ(mqt_chan_id_worker(id), rows[i].worker);
		CHECK_EQ(mqt_chan_id_slot(id), rows[i].slot);
		CHECK_EQ(mqt_chan_id_gen(id), rows[i].gen);
		CHECK_STR(mqt_chan_id_format(id, buf), rows[i].text);
		CHECK_EQ(mqt_chan_id_parse(rows[i].text, &back), 0);
		CHECK(back == id);
	}
	CHECK_EQ(mqt_chan_id_gen_next(1), 2);
	CHECK_EQ(mqt_chan_id_gen_next(MQT_CHAN_GEN_MAX), 1);
}

static void
test_bad_channel_ids_are_rejected(void)
{
	static const char *const rows[] = { "", "0", "00-00-000000-000000", "00-00-000000-00000",
		"00-00-000000-0000001", " 0-00-000000-000001", "00-00-000000-000001 ",
		"00-00_000000-000001", "0g-00-000000-000001", "000000-000000-00-01",
		"+0-00-000000-000001", "0x-00-000000-000001" };
	mqt_chan_id id = 42;

	for (size_t i = 0; i < LEN(rows); i++) {
		check_row = rows[i];
		CHECK_EQ(mqt_chan_id_parse(rows[i], &id), -EINVAL);
		CHECK_EQ(id, 42);
	}
	CHECK_EQ(mqt_chan_id_parse("0A-fF-AbCdEf-000001", &id), 0);
	CHECK(id == mqt_chan_id_make(0x0a, 0xff, 0xabcdef, 1));
}

/* --- slots ----------------------------------------------------------------------------------- */

static void
test_one_of_killer_and_closer_wins(void)
{
	const mqt_chan_id id = mqt_chan_id_make(0, 0, 3, 77), older = mqt_chan_id_make(0, 0, 3, 76);
	struct mqt_slot slot = { 0 };

	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_KILLED)); /* free */
	atomic_store(&slot.word, mqt_slot_word(77, MQT_SLOT_LIVE));
	CHECK(!mqt_slot_leave(&slot, older, MQT_SLOT_KILLED));
	CHECK_EQ(atomic_load(&slot.word), mqt_slot_word(77, MQT_SLOT_LIVE));
	CHECK(mqt_slot_leave(&slot, id, MQT_SLOT_KILLED));
	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_CLOSED));
	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_KILLED));
	CHECK_EQ(atomic_load(&slot.word), mqt_slot_word(77, MQT_SLOT_KILLED));
}

static void
test_slot_counters_belong_to_a_generation(void)
{
	struct mqt_slot array[3] = { 0 };
	const struct mqt_slots slots = { array, sizeof(array[0]), LEN(array) };
	struct mqt_slot *slot = mqt_slots_at(&slots, 2);
	uint64_t out[MQT_SLOT_N_COUNTERS], seen_ns;

	CHECK(slot == &array[2]);
	atomic_store(&slot->word, mqt_slot_word(5, MQT_SLOT_LIVE));
	atomic_store(&slot->seen_ns, 99);
	mqt_slot_count(slot, MQT_RECV_OCT, 100);
	mqt_slot_count(slot, MQT_RECV_OCT, 11);
	mqt_slot_count(slot, MQT_SEND_MSG, 1);
	CHECK(mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 5), out, &seen_ns));
	CHECK_EQ(out[MQT_RECV_OCT], 111);
	CHECK_EQ(out[MQT_SEND_MSG], 1);
	CHECK_EQ(out[MQT_SEND_OCT], 0);
	CHECK_EQ(seen_ns, 99);
	CHECK(!mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 6), out, NULL));
	CHECK(!mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 4), out, NULL));
}

/* --- clock, names, configuration ------------------------------------------------------------- */

static uint64_t
realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * MQT_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
test_system_clock_goes_forward(void)
{
	const struct mqt_clock *clk = mqt_clock_system();
	uint64_t last = mqt_clock_mono(clk), before = realtime_ns(), wall = mqt_clock_wall(clk);

	CHECK(last != 0);
	CHECK(before <= wall && wall <= realtime_ns());
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = mqt_clock_mono(clk);

		CHECK(now >= last);
		last = now;
	}
}

static void
check_names(unsigned n, const char *(*name)(unsigned), const char *(*help)(unsigned))
{
	for (unsigned i = 0; i < n; i++) {
		check_row = name(i);
		CHECK(strlen(name(i)) > 0);
		CHECK(strlen(help(i)) > 0);
		for (const char *p = name(i); *p; p++)
			CHECK(islower((unsigned char)*p) || *p == '_');
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(name(i), name(j)) != 0);
	}
	CHECK(name(n) == NULL);
	CHECK(help(n) == NULL);
	CHECK(name(UINT32_MAX) == NULL);
}

static void
test_counters_have_names(void)
{
	check_names(MQT_W_N_COUNTERS, mqt_worker_counter_name, mqt_worker_counter_help);
	check_names(MQT_C_N_COUNTERS, mqt_control_counter_name, mqt_control_counter_help);
	CHECK_STR(mqt_worker_counter_name(MQT_W_RX_PACKETS), "rx_packets");
	CHECK_STR(mqt_worker_counter_help(MQT_W_RX_PACKETS), "packets received");
	CHECK_STR(mqt_worker_counter_name(MQT_W_UNTRACKED_POSSIBLE_DUPLICATE),
			"untracked_possible_duplicate");
	CHECK_STR(mqt_control_counter_name(MQT_C_DUPLICATES), "duplicates");
}

static void
test_reasons_have_names(void)
{
	for (unsigned i = 0; i < MQT_N_REASONS; i++) {
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(mqt_reason_name(i), mqt_reason_name(j)) != 0);
		CHECK(strcmp(mqt_reason_name(i), "unknown") != 0);
	}
	CHECK_STR(mqt_reason_name(MQT_REASON_CLIENT_DISCONNECT), "client_disconnect");
	CHECK_STR(mqt_reason_name(MQT_REASON_SHUTDOWN), "shutdown");
	CHECK_STR(mqt_reason_name(MQT_N_REASONS), "unknown");
}

static struct mqt_config config; /* too large for a stack under sanitizers */

static void
test_config_defaults_track_port_1883(void)
{
	const struct mqt_endpoint v4 = endpoint("192.0.2.1", 1883);
	const struct mqt_endpoint v6 = endpoint("2001:db8::1", 1883);
	const struct mqt_endpoint other = endpoint("192.0.2.1", 1884);

	memset(&config, 0xaa, sizeof(config));
	mqt_config_init(&config);
	CHECK_EQ(config.n_listeners, 1);
	CHECK_STR(config.listeners[0].name, "tcp");
	CHECK_EQ(config.listeners[0].domain, 0);
	CHECK_EQ(config.listeners[0].on_failure, MQT_FAIL_OPEN);
	CHECK_EQ(config.n_domains, 1);
	CHECK_STR(config.domains[0], "default");
	CHECK_EQ(config.n_pairs, 0);
	CHECK_EQ(config.n_brokers, 0);
	CHECK_STR(config.node, "mqtrack");
	CHECK_STR(config.control.socket, "/run/mqtrack/mqtrack.sock");
	CHECK_EQ(config.limits.stepdown_local_ms, 500);
	CHECK(config.limits.kick_boundary_ms < config.limits.stepdown_local_ms);
	CHECK_EQ(config.limits.opening_ms, 20000);
	CHECK_EQ(config.limits.events & (config.limits.events - 1), 0);
	CHECK_EQ(mqt_config_listener(&config, &v4), 0);
	CHECK_EQ(mqt_config_listener(&config, &v6), 0);
	CHECK_EQ(mqt_config_listener(&config, &other), -1);
	CHECK(mqt_config_has_port(&config, 1883));
	CHECK(!mqt_config_has_port(&config, 1884));
	CHECK(!mqt_config_has_port(&config, 0));
	CHECK(mqt_config_broker_name(&config, &v4) == NULL);
}

static void
test_an_exact_listener_wins(void)
{
	static const struct {
		const char *ip;
		uint16_t port;
		int want;
	} rows[] = {
		{ "192.0.2.1", 1883, 1 }, { "192.0.2.2", 1883, 0 }, { "192.0.2.1", 1884, -1 },
		{ "192.0.2.9", 8883, 2 }, { "192.0.2.8", 8883, -1 }, { "2001:db8::9", 1883, 3 },
		{ "c000:201::", 1883, 0 }, /* bytes of 192.0.2.1 */
	};

	mqt_config_init(&config);
	config.n_listeners = 4;
	config.listeners[1].address = endpoint("192.0.2.1", 1883);
	config.listeners[2].address = endpoint("192.0.2.9", 8883);
	config.listeners[3].address = endpoint("2001:db8::9", 1883);
	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep = endpoint(rows[i].ip, rows[i].port);

		check_row = rows[i].ip;
		CHECK_EQ(mqt_config_listener(&config, &ep), rows[i].want);
	}
	CHECK(mqt_config_has_port(&config, 8883));
	CHECK(!mqt_config_has_port(&config, 1));
	config.listeners[2].address.port = 0;
	CHECK(mqt_config_has_port(&config, 1));
	config.n_listeners = 0;
	CHECK(!mqt_config_has_port(&config, 1883));
}

static void
test_brokers_are_named_by_address_then_port(void)
{
	const struct mqt_endpoint exact = endpoint("192.0.2.1", 1883);
	const struct mqt_endpoint same_host = endpoint("192.0.2.1", 1884);
	const struct mqt_endpoint unknown = endpoint("192.0.2.2", 1883);

	mqt_config_init(&config);
	config.n_brokers = 2;
	strcpy(config.brokers[0].name, "host");
	config.brokers[0].address = endpoint("192.0.2.1", 0);
	strcpy(config.brokers[1].name, "broker");
	config.brokers[1].address = exact;
	CHECK_STR(mqt_config_broker_name(&config, &exact), "broker");
	CHECK_STR(mqt_config_broker_name(&config, &same_host), "host");
	CHECK(mqt_config_broker_name(&config, &unknown) == NULL);
}

static CU_TestInfo plain_tests[] = {
	TEST(test_addresses_are_read_and_written),
	TEST(test_no_address_is_written_as_any),
	TEST(test_bad_addresses_are_rejected),
	TEST(test_endpoints_are_equal_in_all_fields_only),
	TEST(test_channel_ids_keep_their_parts),
	TEST(test_bad_channel_ids_are_rejected),
	TEST(test_one_of_killer_and_closer_wins),
	TEST(test_slot_counters_belong_to_a_generation),
	TEST(test_system_clock_goes_forward),
	TEST(test_counters_have_names),
	TEST(test_reasons_have_names),
	TEST(test_config_defaults_track_port_1883),
	TEST(test_an_exact_listener_wins),
	TEST(test_brokers_are_named_by_address_then_port),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "base", NULL, NULL, NULL, NULL, plain_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
