/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CTL_RIG_H
#define TESTS_UNIT_CTL_RIG_H

/*
 * What tests of the control socket share. It runs against a real channel manager and real maps: the
 * test's thread is the control lcore and the worker (ctl_fixture.h); the control thread is the one
 * under test.
 */

#include "check.h"
#include "ctl_fixture.h"
#include "eal.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static inline const char *
text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "(none)";
}

static inline json_int_t
int_of(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

static inline json_t *
item(const json_t *obj, const char *key, size_t i)
{
	return json_array_get(json_object_get(obj, key), i);
}

static inline size_t
n_items(const json_t *obj, const char *key)
{
	return json_array_size(json_object_get(obj, key));
}

static inline int
code_of(const json_t *answer)
{
	return (int)json_integer_value(json_object_get(json_object_get(answer, "error"), "code"));
}

static inline void
start(struct tracker *t)
{
	tracker_init(t);
	tracker_start(t);
}

static inline void
check_keys(const json_t *record, const char *const *keys)
{
	size_t n = 0;

	for (; keys[n]; n++) {
		check_row = keys[n];
		CHECK(json_object_get(record, keys[n]) != NULL);
	}
	check_row = "number of keys";
	CHECK_EQ(json_object_size(record), n);
	check_row = "";
}

static inline void
two_domains(struct tracker *t)
{
	strcpy(t->config.domains[1], "other");
	t->config.n_domains = 2;
	t->config.listeners[1] = (struct mqt_listener){ .name = "second", .domain = 1 };
	t->config.n_listeners = 2;
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

/* Runs the suites with EAL. Exit status of main. */
static inline int
rig_run(CU_SuiteInfo *suites)
{
	if (eal_start("ctl") < 0)
		return 2;
	return eal_stop(check_run(suites));
}

#endif
