/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients listed, found and counted through the control socket.
 */
#include "ctl_rig.h"

#include <stdlib.h>

static const struct {
	const char *name;
	const void *id;
	size_t len;
	const char *text; /* as clientid; NULL: as clientid_hex */
	const char *hex;
} ids[] = {
	{ "ascii", "a", 1, "a", "61" },
	{ "blank", " ", 1, " ", "20" },
	{ "quotes", "\"\\/", 3, "\"\\/", "225c2f" },
	{ "escape", "\x1b[2J", 4, "\x1b[2J", "1b5b324a" },
	{ "utf-8", "z\xc3\xa4hler-\xf0\x9f\x93\x9f", 12, "z\xc3\xa4hler-\xf0\x9f\x93\x9f",
			"7ac3a4686c65722df09f939f" },
	{ "NUL in the middle", "a\0b", 3, NULL, "610062" },
	{ "NUL at the end", "a\0", 2, NULL, "6100" },
	{ "only NUL", "\0", 1, NULL, "00" },
	{ "not utf-8", "\xff\xfe", 2, NULL, "fffe" },
	{ "cut utf-8", "a\xc3", 2, NULL, "61c3" },
	{ "overlong", "\xc0\x80", 2, NULL, "c080" },
	{ "surrogate", "\xed\xa0\x80", 3, NULL, "eda080" },
	{ "looks like hex", "6100", 4, "6100", "36313030" },
};

static void
test_record_tells_all_that_is_known(void)
{
	static const char *const keys[] = { "clientid", "username", "proto_name", "proto_ver",
		"keepalive", "clean_start", "expiry_interval", "connected", "state", "connected_at",
		"ip_address", "port", "broker", "listener", "domain", "node", "channel", "worker",
		"transport", "recv_oct", "recv_cnt", "recv_pkt", "recv_msg", "send_oct", "send_cnt",
		"send_pkt", "send_msg", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id chan;
	char text[MQT_CHAN_STRLEN];

	tracker_init(&t);
	strcpy(t.config.brokers[0].name, "emqx-1");
	t.config.brokers[0].address =
			(struct mqt_endpoint){ .ip = { 198, 51, 100, 1 }, .version = 4 };
	t.config.n_brokers = 1;
	tracker_start(&t);
	chan = tracker_open(&t,
			&(struct client_spec){ .id = "meter-1",
					.username = "",
					.expiry_sec = 0,
					.flags = MQT_INFO_HAS_EXPIRY,
					.keepalive_sec = 60,
					.proto_ver = 5 });
	mqt_slot_count(tracker_slot(&t, chan), MQT_RECV_OCT, 1234567890123);
	mqt_slot_count(tracker_slot(&t, chan), MQT_SEND_MSG, 5);
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"meter-1\"}");
	CHECK_EQ(n_items(result, "clients"), 1);
	record = item(result, "clients", 0);
	check_keys(record, keys);
	CHECK_STR(text_of(record, "clientid"), "meter-1");
	CHECK_STR(text_of(record, "username"), "");
	CHECK_STR(text_of(record, "proto_name"), "MQTT");
	CHECK_EQ(int_of(record, "proto_ver"), 5);
	CHECK_EQ(int_of(record, "keepalive"), 60);
	CHECK(json_is_true(json_object_get(record, "clean_start")));
	CHECK_EQ(int_of(record, "expiry_interval"), 0);
	CHECK(json_is_true(json_object_get(record, "connected")));
	CHECK_STR(text_of(record, "state"), "connected");
	CHECK_EQ(strlen(text_of(record, "connected_at")), strlen("2026-01-31T23:59:59.999Z"));
	CHECK_STR(text_of(record, "ip_address"), "192.0.2.7");
	CHECK_EQ(int_of(record, "port"), 40000);
	CHECK_STR(text_of(record, "broker"), "emqx-1");
	CHECK_STR(text_of(record, "listener"), "tcp");
	CHECK_STR(text_of(record, "domain"), "default");
	CHECK_STR(text_of(record, "node"), "mqtrack");
	CHECK_STR(text_of(record, "channel"), mqt_chan_id_format(chan, text));
	CHECK_EQ(int_of(record, "worker"), 0);
	CHECK_STR(text_of(record, "transport"), "tcp");
	CHECK_EQ(int_of(record, "recv_oct"), 1234567890123);
	CHECK_EQ(int_of(record, "send_msg"), 5);
	CHECK_EQ(int_of(record, "recv_msg"), 0);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_record_leaves_out_what_is_not_known(void)
{
	static const char *const keys[] = { "clientid", "proto_name", "proto_ver", "keepalive",
		"clean_start", "connected", "state", "connected_at", "ip_address", "port", "broker",
		"listener", "domain", "node", "channel", "worker", "transport", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open(&t, &(struct client_spec){ .id = "old", .proto_ver = 3 });
	atomic_store(&tracker_slot(&t, chan)->word, /* the slot has moved on */
			mqt_slot_word(mqt_chan_id_gen(chan) + 1, MQT_SLOT_LIVE));
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"old\"}");
	record = item(result, "clients", 0);
	check_keys(record, keys);
	CHECK_STR(text_of(record, "proto_name"), "MQIsdp");
	CHECK_STR(text_of(record, "broker"), "198.51.100.1:1883");
	json_decref(result);
	atomic_store(&tracker_slot(&t, chan)->word,
			mqt_slot_word(mqt_chan_id_gen(chan), MQT_SLOT_LIVE));
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_anonymous_and_assigned_are_marked(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id anonymous;
	char params[64], text[MQT_CHAN_STRLEN];

	start(&t);
	anonymous = tracker_open(&t, &(struct client_spec){ .flags = MQT_INFO_ANONYMOUS });
	tracker_open(&t,
			&(struct client_spec){ .id = "auto-1",
					.flags = MQT_INFO_ASSIGNED,
					.proto_ver = 5 });
	peer_open(&p, &t);
	snprintf(params, sizeof(params), "{\"channel\":\"%s\"}",
			mqt_chan_id_format(anonymous, text));
	result = peer_result(&p, "clients.get", params);
	record = item(result, "clients", 0);
	CHECK(json_is_true(json_object_get(record, "anonymous")));
	CHECK(json_object_get(record, "clientid") == NULL);
	CHECK(json_object_get(record, "assigned") == NULL);
	json_decref(result);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"auto-1\"}");
	record = item(result, "clients", 0);
	CHECK(json_is_true(json_object_get(record, "assigned")));
	CHECK(json_object_get(record, "anonymous") == NULL);
	json_decref(result);
	/* the assigned id is another client than one that chose it, and a kick finds it */
	result = peer_result(&p, "clients.kick", "{\"clientid\":\"auto-1\"}");
	CHECK_EQ(int_of(result, "n_channels"), 1);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_any_bytes_make_the_round_trip(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	for (size_t i = 0; i < N(ids); i++)
		tracker_open(&t, &(struct client_spec){ .id = ids[i].id, .id_len = ids[i].len });
	peer_open(&p, &t);
	for (size_t i = 0; i < N(ids); i++) {
		json_t *result, *record, *by_hex, *params = json_object();
		char *text, hex[64];

		check_row = ids[i].name;
		snprintf(hex, sizeof(hex), "{\"clientid_hex\":\"%s\"}", ids[i].hex);
		by_hex = peer_result(&p, "clients.get", hex);
		CHECK_EQ(n_items(by_hex, "clients"), 1);
		record = item(by_hex, "clients", 0);
		CHECK_STR(text_of(record, ids[i].text ? "clientid" : "clientid_hex"),
				ids[i].text ? ids[i].text : ids[i].hex);
		CHECK(!json_object_get(record, ids[i].text ? "clientid_hex" : "clientid"));
		/* what came out goes in */
		json_object_set(params, ids[i].text ? "clientid" : "clientid_hex",
				json_object_get(record, ids[i].text ? "clientid" : "clientid_hex"));
		text = json_dumps(params, 0);
		result = peer_result(&p, "clients.get", text);
		CHECK(json_equal(result, by_hex));
		free(text);
		json_decref(params);
		json_decref(result);
		json_decref(by_hex);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_escaped_nul_in_a_string_is_a_byte(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;

	start(&t);
	tracker_open(&t, &(struct client_spec){ .id = "a\0b", .id_len = 3 });
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\\u0000b\"}");
	CHECK_STR(text_of(item(result, "clients", 0), "clientid_hex"), "610062");
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

#define N_STAYING 300

/* Clients that stay are seen exactly once, whatever comes and goes between the pages. */
static void
page_through(uint32_t max_backlog, unsigned limit, bool churn)
{
	struct tracker t;
	struct peer p;
	mqt_chan_id going[N_STAYING];
	unsigned seen[N_STAYING] = { 0 }, n_pages = 0, n_gone = 0;
	char params[128] = "", id[32];
	const char *cursor;
	json_t *result, *record;
	size_t i;

	tracker_init(&t);
	t.config.control.max_backlog = max_backlog;
	tracker_start(&t);
	for (i = 0; i < N_STAYING; i++) {
		snprintf(id, sizeof(id), "stay-%zu", i);
		tracker_open_id(&t, id);
		snprintf(id, sizeof(id), "go-%zu", i);
		going[i] = churn ? tracker_open_id(&t, id) : MQT_CHAN_NONE;
	}
	peer_open(&p, &t);
	snprintf(params, sizeof(params), "{\"limit\":%u}", limit);
	do {
		result = peer_result(&p, "clients.list", params);
		CHECK(n_items(result, "clients") <= limit);
		json_array_foreach(json_object_get(result, "clients"), i, record)
		{
			unsigned n;

			if (sscanf(text_of(record, "clientid"), "stay-%u", &n) == 1)
				seen[n]++;
		}
		for (unsigned k = 0; churn && k < 5 && n_gone < N_STAYING; k++, n_gone++) {
			/* its row may be taken by the next one */
			tracker_close(&t, going[N_STAYING - 1 - n_gone]);
			snprintf(id, sizeof(id), "come-%u", n_gone);
			tracker_open_id(&t, id);
		}
		cursor = json_string_value(json_object_get(result, "cursor"));
		if (cursor)
			snprintf(params, sizeof(params), "{\"limit\":%u,\"cursor\":\"%s\"}", limit,
					cursor);
		json_decref(result);
		n_pages++;
	} while (cursor && n_pages < 10000);
	CHECK(n_pages >= N_STAYING / limit);
	for (i = 0; i < N_STAYING; i++)
		CHECK_EQ(seen[i], 1);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_pages_show_each_staying_client_once(void)
{
	page_through(4u << 20, 7, true);
	page_through(4u << 20, 1, true);
	page_through(4u << 20, 1000, false);
}

static void
test_pages_end_early_rather_than_overrun_the_backlog(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;

	tracker_init(&t);
	t.config.control.max_backlog = 16384;
	tracker_start(&t);
	for (int i = 0; i < 100; i++) {
		char id[32];

		snprintf(id, sizeof(id), "c%d", i);
		tracker_open_id(&t, id);
	}
	peer_open(&p, &t);
	result = peer_result(&p, "clients.list", "{\"limit\":1000}");
	CHECK(n_items(result, "clients") > 10 && n_items(result, "clients") < 60);
	CHECK(json_is_string(json_object_get(result, "cursor")));
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
	page_through(16384, 1000, false);
}

static CU_TestInfo client_tests[] = {
	TEST(test_record_tells_all_that_is_known),
	TEST(test_record_leaves_out_what_is_not_known),
	TEST(test_anonymous_and_assigned_are_marked),
	TEST(test_any_bytes_make_the_round_trip),
	TEST(test_escaped_nul_in_a_string_is_a_byte),
	TEST(test_pages_show_each_staying_client_once),
	TEST(test_pages_end_early_rather_than_overrun_the_backlog),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "clients", NULL, NULL, NULL, NULL, client_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
