/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schema of the configuration file, for libcyaml, and its complaints in our words.
 */
#include "config_text.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- schema ------------------------------------------------------------------------------- */

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define VALUE(type, key)                                                                           \
	CYAML_FIELD_STRING_PTR(#key, OPTIONAL, struct type, key, 0, CYAML_UNLIMITED)
#define MAPPING(type, key, fields) CYAML_FIELD_MAPPING_PTR(#key, OPTIONAL, struct type, key, fields)
#define LIST(type, key, item)                                                                      \
	CYAML_FIELD_SEQUENCE_COUNT(                                                                \
			#key, OPTIONAL, struct type, key, n_##key, item, 0, CYAML_UNLIMITED)
#define LIMIT_VALUE(key, least, greatest)   VALUE(text_limits, key),
#define CONTROL_VALUE(key, least, greatest) VALUE(text_control, key),

static const cyaml_schema_field_t node_fields[] = {
	VALUE(text_node, id),
	VALUE(text_node, name),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t pair_fields[] = {
	VALUE(text_pair, outside),
	VALUE(text_pair, inside),
	CYAML_FIELD_END,
};

#define SOURCE_VALUE(key, least, greatest) VALUE(text_source_limits, key),

static const cyaml_schema_field_t source_fields[] = {
	SOURCE_LIMITS(SOURCE_VALUE) CYAML_FIELD_END,
};

static const cyaml_schema_field_t listener_fields[] = {
	VALUE(text_listener, name),
	VALUE(text_listener, port),
	VALUE(text_listener, address),
	VALUE(text_listener, domain),
	VALUE(text_listener, on_failure),
	VALUE(text_listener, midstream),
	VALUE(text_listener, transport),
	VALUE(text_listener, proxy),
	VALUE(text_listener, policy),
	VALUE(text_listener, will),
	VALUE(text_listener, bind_username),
	VALUE(text_listener, session_expiry_v3),
	MAPPING(text_listener, limits, source_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t broker_fields[] = {
	VALUE(text_broker, name),
	VALUE(text_broker, address),
	VALUE(text_broker, port),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t limit_fields[] = {
	LIMITS(LIMIT_VALUE) CYAML_FIELD_END,
};

static const cyaml_schema_field_t flap_fields[] = {
	VALUE(text_flap, takeovers),
	VALUE(text_flap, within),
	VALUE(text_flap, hold),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t control_fields[] = {
	VALUE(text_control, socket),
	CONTROL_LIMITS(CONTROL_VALUE) CYAML_FIELD_END,
};

static const cyaml_schema_value_t pair_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct text_pair, pair_fields),
};

static const cyaml_schema_value_t listener_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct text_listener, listener_fields),
};

static const cyaml_schema_value_t broker_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct text_broker, broker_fields),
};

static const cyaml_schema_field_t top_fields[] = {
	MAPPING(text, node, node_fields),
	LIST(text, ports, &pair_schema),
	LIST(text, listeners, &listener_schema),
	LIST(text, brokers, &broker_schema),
	VALUE(text, poll),
	VALUE(text, mbufs),
	MAPPING(text, limits, limit_fields),
	MAPPING(text, flap, flap_fields),
	MAPPING(text, control, control_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t top_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct text, top_fields),
};

/* --- complaints ---------------------------------------------------------------------------- */

/* libcyaml's complaint, as its log tells it: what, then the way from the place upwards. */
struct reader {
	char complaint[192];
	char place[LINES_PATH_MAX];
};

/* Puts a key or an index before the place. */
static void
prepend_place(struct reader *r, const char *part)
{
	char whole[LINES_PATH_MAX];
	const char *dot = r->place[0] && r->place[0] != '[' ? "." : "";

	if (snprintf(whole, sizeof(whole), "%s%s%s", part, dot, r->place) < (int)sizeof(whole))
		memcpy(r->place, whole, sizeof(whole));
}

__attribute__((format(printf, 3, 0))) static void
on_cyaml_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	char msg[192], key[64], part[LINES_PATH_MAX];
	struct reader *r = ctx;
	unsigned entry;

	vsnprintf(msg, sizeof(msg), fmt, args);
	msg[strcspn(msg, "\n")] = '\0';
	if (sscanf(msg, "  in mapping field '%63[^']'", key) == 1) {
		prepend_place(r, key);
	} else if (sscanf(msg, "  in sequence entry '%u'", &entry) == 1) {
		snprintf(part, sizeof(part), "[%u]", entry - 1); /* it counts from 1 */
		prepend_place(r, part);
	} else if (!r->complaint[0]) {
		bool prefixed = strncmp(msg, "Load: ", 6) == 0;

		snprintf(r->complaint, sizeof(r->complaint), "%s", msg + (prefixed ? 6 : 0));
	}
}

/* libcyaml's complaint in our words. */
static void
explain(const struct reader *r, cyaml_err_t cerr, struct text_error *err)
{
	static const struct {
		const char *complaint, *ours;
	} words[] = {
		{ "Expecting MAPPING", "must be a mapping (key: value)" },
		{ "Expecting SEQUENCE", "must be a list (- item)" },
		{ "Expecting STRING", "must be a single value" },
	};
	const char *what = r->complaint[0] ? r->complaint : cyaml_strerror(cerr);
	char key[64];

	snprintf(err->path, sizeof(err->path), "%s", r->place);
	if (sscanf(r->complaint, "Unexpected key: %63[^\n]", key) == 1) {
		snprintf(err->path, sizeof(err->path), "%s%s%s", r->place, r->place[0] ? "." : "",
				key);
		what = "unknown key";
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(r->complaint, words[i].complaint, strlen(words[i].complaint)) == 0)
			what = words[i].ours;
	snprintf(err->what, sizeof(err->what), "%s", what);
}

/* --- reading ------------------------------------------------------------------------------- */

static cyaml_config_t
reader_config(struct reader *r)
{
	return (cyaml_config_t){
		.log_fn = on_cyaml_log,
		.log_ctx = r,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
}

int
text_load(const char *data, size_t len, struct text **out, struct text_error *err)
{
	struct reader r = { 0 };
	const cyaml_config_t config = reader_config(&r);
	cyaml_err_t cerr;

	*out = NULL;
	cerr = cyaml_load_data((const uint8_t *)data, len, &config, &top_schema,
			(cyaml_data_t **)out, NULL);
	if (cerr == CYAML_OK)
		return 0;
	explain(&r, cerr, err);
	return -EINVAL;
}

void
text_free(struct text *text)
{
	struct reader r = { 0 };
	const cyaml_config_t config = reader_config(&r);

	cyaml_free(&config, &top_schema, text, 0);
}
