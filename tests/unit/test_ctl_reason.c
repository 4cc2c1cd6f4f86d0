/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reason of a kick, through the control socket.
 */
#include "ctl_rig.h"

static void
test_kick_has_a_reason_by_code_or_name(void)
{
	static const struct {
		const char *reason;
		uint8_t code;
	} rows[] = {
		{ "", 0x98 },
		{ ",\"reason\":157", 0x9d },
		{ ",\"reason\":\"server_moved\"", 0x9d },
		{ ",\"reason\":0", 0x00 },
		{ ",\"reason\":\"administrative_action\"", 0x98 },
	};
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		char params[96];
		json_t *result;

		check_row = rows[i].reason;
		tracker_open_id(&t, "a");
		t.code = 1;
		snprintf(params, sizeof(params), "{\"clientid\":\"a\"%s}", rows[i].reason);
		result = peer_result(&p, "clients.kick", params);
		CHECK_EQ(int_of(result, "n_channels"), 1);
		CHECK_EQ(t.code, rows[i].code);
		json_decref(result);
		tracker_settle(&t);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_reason_that_no_server_may_send_is_an_error(void)
{
	static const struct {
		const char *method, *reason;
	} rows[] = {
		{ "clients.kick", "4" }, /* a client's */
		{ "clients.kick", "1" },
		{ "clients.kick", "163" },
		{ "clients.kick", "255" },
		{ "clients.kick", "256" },
		{ "clients.kick", "408" }, /* 0x198 */
		{ "clients.kick", "-1" },
		{ "clients.kick", "152.0" },
		{ "clients.kick", "true" },
		{ "clients.kick", "null" },
		{ "clients.kick", "\"0x98\"" },
		{ "clients.kick", "\"nonsense\"" },
		{ "clients.kick", "\"server_moved\\u0000\"" },
		{ "clients.discard", "152" },
		{ "clients.get", "152" },
	};
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	tracker_open_id(&t, "a");
	for (size_t i = 0; i < N(rows); i++) {
		char params[96];

		check_row = rows[i].reason;
		snprintf(params, sizeof(params), "{\"clientid\":\"a\",\"reason\":%s}",
				rows[i].reason);
		CHECK_EQ(peer_error(&p, rows[i].method, params), -32602);
		tracker_settle(&t);
		CHECK_EQ(t.n_stepdowns, 0);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo tests[] = {
	TEST(test_kick_has_a_reason_by_code_or_name),
	TEST(test_reason_that_no_server_may_send_is_an_error),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "reason", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
