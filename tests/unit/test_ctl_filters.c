/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * clients.list: which clients each filter lets through, and what it says of one that can be none.
 */
#include "ctl_rig.h"

/* Listeners tcp and second, domains default and other, brokers north, which has any port, and south. */
static void
start_fleet(struct tracker *t)
{
	const struct mqt_endpoint north = { .ip = { 198, 51, 100, 1 }, .version = 4 };
	const struct mqt_endpoint south = {
		.ip = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, .port = 1883, .version = 6
	};
	const struct mqt_endpoint nameless = {
		.ip = { 198, 51, 100, 2 }, .port = 8883, .version = 4
	};

	tracker_init(t);
	two_domains(t);
	t->n_workers = 2;
	strcpy(t->config.brokers[0].name, "north");
	t->config.brokers[0].address = north;
	strcpy(t->config.brokers[1].name, "south");
	t->config.brokers[1].address = south;
	t->config.n_brokers = 2;
	tracker_start(t);
	tracker_open(t, &(struct client_spec){ .id = "a" });
	tracker_open(t, &(struct client_spec){ .id = "b", .username = "joe", .broker = south });
	tracker_open(t, &(struct client_spec){ .id = "c", .broker = nameless });
	tracker_open(t, &(struct client_spec){ .id = "a", .domain = 1, .listener = 1 });
	tracker_open(t,
			&(struct client_spec){ .id = "d",
					.domain = 1,
					.listener = 1,
					.username = "\xff",
					.transport = MQT_TRANSPORT_WS });
}

static void
test_each_filter_lets_its_own_through(void)
{
	static const struct {
		const char *params, *ids; /* in the order of the rows */
	} rows[] = {
		{ "{}", "abcad" },
		{ "{\"domain\":\"default\"}", "abc" },
		{ "{\"domain\":\"other\"}", "ad" },
		{ "{\"listener\":\"second\"}", "ad" },
		{ "{\"clientid\":\"a\"}", "aa" },
		{ "{\"clientid\":\"a\",\"domain\":\"other\"}", "a" },
		{ "{\"clientid\":\"a\",\"broker\":\"south\"}", "" },
		{ "{\"clientid\":\"A\"}", "" },
		{ "{\"clientid\":\"nobody\"}", "" },
		{ "{\"clientid\":\"a\",\"limit\":1}", "aa" }, /* all of a client on one page */
		{ "{\"username\":\"joe\"}", "b" },
		{ "{\"username\":\"jo\"}", "" },
		{ "{\"username\":\"\"}", "" },
		{ "{\"username_hex\":\"ff\"}", "d" },
		{ "{\"broker\":\"north\"}", "aad" },
		{ "{\"broker\":\"south\"}", "b" },
		{ "{\"broker\":\"198.51.100.1:1883\"}", "aad" },
		{ "{\"broker\":\"198.51.100.1:1884\"}", "" },
		{ "{\"broker\":\"198.51.100.1\"}", "aad" },
		{ "{\"broker\":\"198.51.100.2:8883\"}", "c" },
		{ "{\"broker\":\"198.51.100.3\"}", "" },
		{ "{\"broker\":\"[2001:db8::1]:1883\"}", "b" },
		{ "{\"broker\":\"[2001:db8:0::0:1]:1883\"}", "b" },
		{ "{\"broker\":\"[2001:db8::1]:1\"}", "" },
		{ "{\"broker\":\"2001:db8::1\"}", "b" },
		{ "{\"worker\":0}", "abcad" },
		{ "{\"worker\":1}", "" },
		{ "{\"connected\":true}", "abcad" },
		{ "{\"connected\":false}", "" },
		{ "{\"state\":\"connected\"}", "abcad" },
		{ "{\"state\":\"retained\"}", "" },
		{ "{\"state\":\"orphaned\"}", "" },
		{ "{\"state\":\"disconnected\"}", "" },
		{ "{\"transport\":\"tcp\"}", "abca" },
		{ "{\"transport\":\"ws\"}", "d" },
		{ "{\"transport\":\"ws\",\"listener\":\"second\",\"broker\":\"north\"}", "d" },
		{ "{\"cursor\":null}", "abcad" },
	};
	struct tracker t;
	struct peer p;

	start_fleet(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		json_t *result = peer_result(&p, "clients.list", rows[i].params);
		char ids[16] = "";

		check_row = rows[i].params;
		for (size_t k = 0; k < n_items(result, "clients") && k < sizeof(ids) - 1; k++)
			ids[k] = text_of(item(result, "clients", k), "clientid")[0];
		CHECK_STR(ids, rows[i].ids);
		CHECK(json_is_null(json_object_get(result, "cursor")));
		json_decref(result);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_what_can_be_no_client_is_an_error(void)
{
	static const struct {
		const char *params, *says;
	} rows[] = {
		{ "{\"domain\":\"nowhere\"}", "unknown domain \"nowhere\"" },
		{ "{\"listener\":\"nowhere\"}", "unknown listener \"nowhere\"" },
		{ "{\"broker\":\"nowhere\"}", "unknown broker \"nowhere\"" },
		{ "{\"broker\":\"North\"}", "unknown broker \"North\"" },
		{ "{\"broker\":\"\"}", "unknown broker" },
		{ "{\"broker\":\":1883\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100.1:\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100.1:0\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100.1:65536\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100.1:018830\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100.1:18x\"}", "unknown broker" },
		{ "{\"broker\":\"198.51.100:1883\"}", "unknown broker" },
		{ "{\"broker\":\"[198.51.100.1]:1883\"}", "unknown broker" },
		{ "{\"broker\":\"[2001:db8::1\"}", "unknown broker" },
		{ "{\"broker\":\"[2001:db8::1]\"}", "unknown broker" },
		{ "{\"broker\":\"[2001:db8::1]1883\"}", "unknown broker" },
		{ "{\"broker\":\"[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:1\"}",
				"unknown broker" },
		{ "{\"broker\":1883}", "broker is a string" },
		{ "{\"transport\":\"quic\"}", "unknown transport \"quic\": it is tcp or ws" },
		{ "{\"worker\":2}", "worker is a number from 0 to 1" },
		{ "{\"worker\":-1}", "worker is a number" },
		{ "{\"worker\":\"0\"}", "worker is a number" },
		{ "{\"state\":\"gone\"}", "state is connected, orphaned" },
		{ "{\"connected\":\"yes\"}", "connected is true or false" },
		{ "{\"username\":1}", "username is a string" },
		{ "{\"username_hex\":\"f\"}", "username_hex is pairs" },
	};
	struct tracker t;
	struct peer p;

	start_fleet(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		json_t *answer = peer_call(&p, "clients.list", rows[i].params);
		const char *says = text_of(json_object_get(answer, "error"), "message");

		check_row = rows[i].params;
		CHECK_EQ(code_of(answer), -32602);
		if (!strstr(says, rows[i].says))
			CHECK_STR(says, rows[i].says);
		json_decref(answer);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo filter_tests[] = {
	TEST(test_each_filter_lets_its_own_through),
	TEST(test_what_can_be_no_client_is_an_error),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "filters", NULL, NULL, NULL, NULL, filter_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
