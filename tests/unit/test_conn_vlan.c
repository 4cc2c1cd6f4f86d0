/* SPDX-License-Identifier: BSD-3-Clause */
/* The same addresses and ports on a VLAN and beside it: two flows, each with its own life. */
#include "conn_rig.h"

static void
test_a_vlan_makes_a_flow_of_its_own(void)
{
	for (unsigned ip6 = 0; ip6 < 2; ip6++) {
		struct flow plain, tagged;

		world_begin();
		plain = flow_new();
		plain.ip6 = ip6;
		tagged = plain;
		tagged.vlan = true;
		tagged.seq[CLIENT] += 7777;
		connected(&plain, "plain");
		connected(&tagged, "tagged");
		CHECK(plain.chan != tagged.chan);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 2);
		CHECK_EQ(COUNT(REPLACED), 0);
		send_next(&plain, CLIENT, RST_ACK, NULL, 0);
		CHECK_DOWN(&plain, MQT_REASON_CLIENT_RESET);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		send_next(&tagged, CLIENT, RST_ACK, NULL, 0);
		CHECK_DOWN(&tagged, MQT_REASON_CLIENT_RESET);
		release(&plain);
		release(&tagged);
		world_end();
	}
}

static void
test_a_flow_on_a_vlan_is_forgotten_at_its_end(void)
{
	for (unsigned ip6 = 0; ip6 < 2; ip6++) {
		struct flow f;

		world_begin();
		f = flow_new();
		f.ip6 = ip6;
		f.vlan = true;
		connected(&f, "id");
		send_next(&f, CLIENT, RST_ACK, NULL, 0);
		CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
		release(&f);
		advance(RESET_TIME);
		CHECK_EQ(COUNT(MIDSTREAM), 0);
		send_next(&f, CLIENT, ACK, "x", 1);
		CHECK_EQ(COUNT(MIDSTREAM), 1);
		world_end();
	}
}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_a_vlan_makes_a_flow_of_its_own),
		TEST(test_a_flow_on_a_vlan_is_forgotten_at_its_end),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "conn_vlan", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
