/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reason codes with which a server may close (MQTT 5.0 §3.14.2.1).
 */
#include "check.h"
#include "mqtrack/mqtt.h"

/* Written from the table of the standard, by who sends them; the rest is nobody's. */
static const uint8_t of_server[] = { 0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e,
	0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f,
	0xa0, 0xa1, 0xa2 };

static void
test_codes_of_a_server_are_those_of_the_standard(void)
{
	size_t next = 0;

	for (unsigned code = 0; code < 0x200; code++) {
		bool want = next < sizeof(of_server) && of_server[next] == code;

		CHECK_EQ(mqt_mqtt_server_disconnect_is(code), want);
		next += want;
	}
	CHECK_EQ(next, sizeof(of_server));
	CHECK(!mqt_mqtt_server_disconnect_is(0x100000098));
}

static void
test_codes_have_the_names_of_the_standard(void)
{
	static const struct {
		const char *name;
		bool known;
		uint8_t code;
	} rows[] = {
		{ "normal_disconnection", true, 0x00 },
		{ "administrative_action", true, 0x98 },
		{ "server_moved", true, 0x9d },
		{ "use_another_server", true, 0x9c },
		{ "wildcard_subscriptions_not_supported", true, 0xa2 },
		{ "disconnect_with_will_message", false, 0 }, /* a client's */
		{ "Administrative action", false, 0 },
		{ "administrative", false, 0 },
		{ "0x98", false, 0 },
		{ "", false, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t code = 0x42;

		check_row = rows[i].name;
		CHECK_EQ(mqt_mqtt_server_disconnect_parse(rows[i].name, &code), rows[i].known);
		CHECK_EQ(code, rows[i].known ? rows[i].code : 0x42);
	}
}

static CU_TestInfo tests[] = {
	{ "codes of a server are those of the standard",
			test_codes_of_a_server_are_those_of_the_standard },
	{ "codes have the names of the standard", test_codes_have_the_names_of_the_standard },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "reasons", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
