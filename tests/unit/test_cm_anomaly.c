/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

/* What a worker tells of a flow that has said what MQTT does not allow: an event, nothing else. */

static const struct rig_params small = { 2, 64, 64, 256 };

static void
tell(struct rig *rig, const struct rig_conn *conn, enum mqt_reason reason, struct mqt_info *info)
{
	struct mqt_msg msg = { .type = MQT_MSG_ANOMALY, .reason = (uint8_t)reason, .info = info };

	rig_post(rig, conn, msg);
}

/* The next event that is an anomaly. */
static bool
next_anomaly(struct rig *rig, struct mqt_event *ev)
{
	while (rig_event(rig, ev))
		if (ev->type == MQT_EVENT_ANOMALY)
			return true;
	return false;
}

static void
test_anomaly_of_a_connected_client_is_an_event_with_its_name(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *conn = rig_connect(rig, 0, (struct rig_open){ .clientid = "odd" });
	struct mqt_event ev;

	tell(rig, conn, MQT_REASON_SECOND_CONNECT, NULL);
	rig_settle(rig);
	CHECK(next_anomaly(rig, &ev));
	CHECK_EQ(ev.reason, MQT_REASON_SECOND_CONNECT);
	CHECK_EQ(ev.chan, conn->id);
	CHECK_EQ(ev.clientid_len, 3);
	CHECK_MEM(ev.clientid, "odd", 3);
	CHECK(ev.epoch > 0);
	CHECK(rig_live(rig, conn));
	CHECK_EQ(rig_counter(rig, MQT_C_ANOMALIES), 1);
	CHECK(!next_anomaly(rig, &ev));
	rig_check_end(rig);
}

/* It comes right behind the OPEN, before anybody has been granted. */
static void
test_anomaly_of_a_newcomer_is_an_event_with_its_name(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *conn = rig_open(rig, 0, (struct rig_open){ .clientid = "new" });
	struct mqt_event ev;

	tell(rig, conn, MQT_REASON_FROM_CLIENT, NULL);
	rig_settle(rig);
	CHECK(next_anomaly(rig, &ev));
	CHECK_EQ(ev.clientid_len, 3);
	CHECK_MEM(ev.clientid, "new", 3);
	CHECK_EQ(ev.epoch, 1); /* the one that it gets */
	CHECK_EQ(conn->n_grants, 1);
	rig_check_end(rig);
}

static void
test_anomaly_of_a_flow_without_channel_has_its_addresses(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "gone" });
	struct mqt_info *info = calloc(1, sizeof(*info) + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint peer = { .port = 4711, .version = 4 };
	struct mqt_event ev;

	rig_end(rig, conn);
	rig_settle(rig);
	mqt_info_set_ends(info, &peer, NULL, NULL);
	info->flags = MQT_INFO_ANONYMOUS;
	tell(rig, conn, MQT_REASON_BEFORE_CONNECT, info);
	rig_settle(rig);
	CHECK(next_anomaly(rig, &ev));
	CHECK_EQ(ev.reason, MQT_REASON_BEFORE_CONNECT);
	CHECK_EQ(ev.peer.port, 4711);
	CHECK_EQ(ev.clientid_len, 0);
	rig_check_end(rig);
}

static void
test_anomaly_of_a_channel_that_is_gone_is_counted_and_no_event(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "gone" });
	struct mqt_event ev;

	rig_end(rig, conn);
	rig_settle(rig);
	tell(rig, conn, MQT_REASON_PUBLISH_QOS, NULL);
	rig_settle(rig);
	CHECK(!next_anomaly(rig, &ev));
	CHECK_EQ(rig_counter(rig, MQT_C_ANOMALIES), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

static CU_TestInfo tests[] = {
	{ "anomaly_of_a_connected_client_is_an_event_with_its_name",
			test_anomaly_of_a_connected_client_is_an_event_with_its_name },
	{ "anomaly_of_a_newcomer_is_an_event_with_its_name",
			test_anomaly_of_a_newcomer_is_an_event_with_its_name },
	{ "anomaly_of_a_flow_without_channel_has_its_addresses",
			test_anomaly_of_a_flow_without_channel_has_its_addresses },
	{ "anomaly_of_a_channel_that_is_gone_is_counted_and_no_event",
			test_anomaly_of_a_channel_that_is_gone_is_counted_and_no_event },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "anomalies", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
