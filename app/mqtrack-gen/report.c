/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was sent and what became of it, as text or as one JSON object.
 */
#include "wire.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool
is_of_files(enum gen_count count)
{
	static const enum gen_count all[] = { GEN_N_SENT_OUTSIDE, GEN_N_SENT_INSIDE, GEN_N_BEGUN,
		GEN_N_CONNECTED, GEN_N_MESSAGES, GEN_N_OVER };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] == count)
			return true;
	return false;
}

static json_t *
times(const struct gen_histogram *h)
{
	json_t *json = json_object();

	json_object_set_new(json, "n", json_integer((json_int_t)h->n));
	json_object_set_new(json, "p50", json_integer(gen_histogram_quantile(h, 0.5)));
	json_object_set_new(json, "p99", json_integer(gen_histogram_quantile(h, 0.99)));
	json_object_set_new(json, "p999", json_integer(gen_histogram_quantile(h, 0.999)));
	json_object_set_new(json, "max", json_integer(h->max));
	return json;
}

static json_t *
rates(const uint64_t *counts, uint64_t ns)
{
	double seconds = (double)ns / 1e9;
	json_t *json = json_object();

	json_object_set_new(json, "packets",
			json_real((double)(counts[GEN_N_SENT_OUTSIDE] + counts[GEN_N_SENT_INSIDE]) /
					seconds));
	json_object_set_new(json, "begun", json_real((double)counts[GEN_N_BEGUN] / seconds));
	json_object_set_new(json, "messages", json_real((double)counts[GEN_N_MESSAGES] / seconds));
	return json;
}

static json_t *
collect(const struct gen_options *o, const struct gen_engine *engine, const struct gen_ports *ports)
{
	const uint64_t *counts = gen_engine_counts(engine);
	json_t *all = json_object(), *garbage = json_object();

	json_object_set_new(all, "kind", json_string(gen_kind_name(o->kind)));
	for (enum gen_count i = 0; i < GEN_N_COUNTS; i++)
		if (ports || is_of_files(i))
			json_object_set_new(all, gen_count_name(i),
					json_integer((json_int_t)counts[i]));
	for (enum gen_garbage i = 0; i < GEN_N_GARBAGE; i++)
		json_object_set_new(garbage, gen_garbage_counter(i),
				json_integer((json_int_t)gen_engine_garbage(engine)[i]));
	if (o->kind == GEN_GARBAGE)
		json_object_set(all, "garbage", garbage);
	json_decref(garbage);
	if (!ports || ports->ns == 0)
		return all;
	json_object_set_new(all, "seconds", json_real((double)ports->ns / 1e9));
	json_object_set_new(all, "per_second", rates(counts, ports->ns));
	json_object_set_new(all, "connack_us", times(gen_engine_times(engine, true)));
	json_object_set_new(all, "other_us", times(gen_engine_times(engine, false)));
	return all;
}

/* "connack_us.p50  12", with what a count is. */
static void
print_text(const char *prefix, json_t *all)
{
	const char *key;
	json_t *value;

	json_object_foreach(all, key, value)
	{
		char name[64];

		snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
		if (json_is_object(value))
			print_text(name, value);
		else if (json_is_string(value))
			printf("%-32s %s\n", name, json_string_value(value));
		else if (json_is_real(value))
			printf("%-32s %.1f\n", name, json_real_value(value));
		else
			printf("%-32s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
	}
}

int
gen_report(const struct gen_options *o, const struct gen_engine *engine,
		const struct gen_ports *ports)
{
	json_t *all = collect(o, engine, ports);

	if (o->json) {
		json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		putchar('\n');
	} else {
		print_text("", all);
	}
	json_decref(all);
	return fflush(stdout) == 0 ? 0 : -1;
}
