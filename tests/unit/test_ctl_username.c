/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * User names are raw bytes: what a record has finds its client again through clients.list.
 */
#include "ctl_rig.h"

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	const char *key, *value; /* as in the record */
} rows[] = {
	{ "text", "joe", 3, "username", "joe" },
	{ "its beginning", "jo", 2, "username", "jo" },
	{ "behind a NUL", "jo\0e", 4, "username_hex", "6a6f0065" },
	{ "not UTF-8", "\xff\xfe", 2, "username_hex", "fffe" },
};

static void
rig_start(struct tracker *t, struct peer *p)
{
	tracker_init(t);
	tracker_start(t);
	for (size_t i = 0; i < N(rows); i++)
		tracker_open(t,
				&(struct client_spec){ .id = rows[i].name,
						.username = rows[i].bytes,
						.username_len = rows[i].len });
	peer_open(p, t);
}

static void
rig_stop(struct tracker *t, struct peer *p)
{
	check_row = "";
	peer_close(p);
	tracker_stop(t);
}

/* Exactly the client of a row is listed. */
static void
finds(struct peer *p, size_t row, const char *key, const char *value)
{
	char params[96];
	json_t *result;

	snprintf(params, sizeof(params), "{\"%s\":\"%s\"}", key, value);
	result = peer_result(p, "clients.list", params);
	CHECK_EQ(n_items(result, "clients"), 1);
	CHECK_STR(text_of(item(result, "clients", 0), "clientid"), rows[row].name);
	CHECK_STR(text_of(item(result, "clients", 0), rows[row].key), rows[row].value);
	json_decref(result);
}

static void
test_username_of_a_record_finds_its_client(void)
{
	struct tracker t;
	struct peer p;

	rig_start(&t, &p);
	for (size_t i = 0; i < N(rows); i++) {
		check_row = rows[i].name;
		finds(&p, i, rows[i].key, rows[i].value);
	}
	rig_stop(&t, &p);
}

static void
test_either_form_is_good_for_any_username(void)
{
	struct tracker t;
	struct peer p;

	rig_start(&t, &p);
	finds(&p, 0, "username_hex", "6A6F65");
	finds(&p, 2, "username", "jo\\u0000e");
	rig_stop(&t, &p);
}

static void
test_username_in_both_forms_or_not_in_hexadecimal_is_refused(void)
{
	static const char *const refused[] = { "{\"username\":\"a\",\"username_hex\":\"61\"}",
		"{\"username_hex\":\"6\"}", "{\"username_hex\":\"zz\"}", "{\"username\":7}",
		/* and what was decoded before the error is freed */
		"{\"username_hex\":\"61\",\"clientid\":7}" };
	struct tracker t;
	struct peer p;

	rig_start(&t, &p);
	for (size_t i = 0; i < N(refused); i++) {
		check_row = refused[i];
		CHECK_EQ(peer_error(&p, "clients.list", refused[i]), -32602);
	}
	rig_stop(&t, &p);
}

static CU_TestInfo username_tests[] = {
	TEST(test_username_of_a_record_finds_its_client),
	TEST(test_either_form_is_good_for_any_username),
	TEST(test_username_in_both_forms_or_not_in_hexadecimal_is_refused),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "usernames", NULL, NULL, NULL, NULL, username_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
