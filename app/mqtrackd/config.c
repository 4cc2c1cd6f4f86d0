/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: YAML -> text by key (libcyaml and the schema below) -> struct mqt_config.
 *
 * libcyaml knows which keys there are and whether each is a value, a mapping or a list. Values
 * stay text until here, where they are converted and checked, so that every complaint has the same
 * form, "<file>:<line>: <key>: <what>", and a value is never half read ("5x" is no number).
 * Life-cycle: everything but the result lives within config_load().
 * Synchronisation: none, one thread at start.
 */
#include "config.h"

#include "lines.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/info.h"

#include <assert.h>
#include <ctype.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

/* --- schema ------------------------------------------------------------------------------- */

/* X(key, least, greatest) */
#define LIMITS(X)                                                                                  \
	X(max_clients, 1, MQT_CHAN_SLOT_MAX)                                                       \
	X(max_connections, 0, MQT_CHAN_SLOT_MAX)                                                   \
	X(max_embryos, 1, 1u << 24)                                                                \
	X(max_handshakes, 1, 1u << 24)                                                             \
	X(connect_max_bytes, 64, 1u << 20)                                                         \
	X(parked_per_flow, 1, 1024)                                                                \
	X(parked_per_worker, 0, 1u << 24)                                                          \
	X(reorder_per_flow, 0, 1024)                                                               \
	X(fragments, 0, 65536)                                                                     \
	X(stepdown_local_ms, 1, 60000)                                                             \
	X(kick_boundary_ms, 0, 59999)                                                              \
	X(opening_ms, 100, 600000)                                                                 \
	X(contest_ms, 0, 5000)                                                                     \
	X(stall_ms, 10, 600000)                                                                    \
	X(handshake_ms, 100, 3600000)                                                              \
	X(embryo_ms, 100, 600000)                                                                  \
	X(idle_sec, 1, 31536000)                                                                   \
	X(keepalive_grace_ms, 0, 3600000)                                                          \
	X(slot_quiet_ms, 0, 600000)                                                                \
	X(down_batch, 1, 10000000)                                                                 \
	X(down_slice, 1, 10000000)                                                                 \
	X(events, 16, 1u << 24)                                                                    \
	X(max_retained, 0, MQT_CHAN_SLOT_MAX)                                                      \
	X(session_filters, 0, 65535)                                                               \
	X(session_inflight, 0, 65535)                                                              \
	X(session_bytes, 64, 1u << 20)                                                             \
	X(session_packet_bytes, 64, 1u << 20)

/* X(key, member, least, greatest) */
#define FLAP(X)                                                                                    \
	X(takeovers, takeovers, 0, 1000000)                                                        \
	X(within, within_sec, 1, 86400)                                                            \
	X(hold, hold_sec, 0, 86400)

#define CONTROL_LIMITS(X)                                                                          \
	X(max_clients, 1, 1024)                                                                    \
	X(max_request, 1024, 16u << 20)                                                            \
	X(max_backlog, 4096, 1u << 30)

/* Of a listener. */
#define SOURCE_LIMITS(X)                                                                           \
	X(connections_per_address, 0, 1000000)                                                     \
	X(connects_per_second, 0, 1000000)

#define TEXT_MEMBER(key, least, greatest) char *key;

/* The file as it was written: NULL where a key is absent. */
struct text_node {
	char *id, *name;
};

struct text_pair {
	char *outside, *inside;
};

struct text_source_limits {
	SOURCE_LIMITS(TEXT_MEMBER)
};

struct text_listener {
	char *name, *port, *address, *domain, *on_failure, *midstream;
	char *policy, *will, *bind_username, *session_expiry_v3;
	struct text_source_limits *limits;
	char *transport, *proxy;
};

struct text_broker {
	char *name, *address, *port;
};

struct text_limits {
	LIMITS(TEXT_MEMBER)
};

struct text_flap {
	char *takeovers, *within, *hold;
};

struct text_control {
	char *socket;
	CONTROL_LIMITS(TEXT_MEMBER)
};

struct text {
	struct text_node *node;
	struct text_pair *ports;
	struct text_listener *listeners;
	struct text_broker *brokers;
	char *poll, *mbufs;
	struct text_limits *limits;
	struct text_flap *flap;
	struct text_control *control;
	unsigned n_ports, n_listeners, n_brokers;
};

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

struct load {
	const char *file;
	struct lines lines;
	struct text *text;
	struct mqt_config *cfg;
	char *err;
	size_t err_size;
	/* libcyaml's complaint, as its log tells it: what, then the way from the place upwards */
	char complaint[192];
	char place[LINES_PATH_MAX];
};

/* Complains about a key. Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) static int
fail(struct load *l, const char *path, const char *fmt, ...)
{
	int n = snprintf(l->err, l->err_size, "%s:%u: %s%s", l->file, lines_of(&l->lines, path),
			path, path[0] ? ": " : "");
	va_list ap;

	if (n >= 0 && (size_t)n < l->err_size) {
		va_start(ap, fmt);
		vsnprintf(l->err + n, l->err_size - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

/* Puts a key or an index before the place. */
static void
prepend_place(struct load *l, const char *part)
{
	char whole[LINES_PATH_MAX];
	const char *dot = l->place[0] && l->place[0] != '[' ? "." : "";

	if (snprintf(whole, sizeof(whole), "%s%s%s", part, dot, l->place) < (int)sizeof(whole))
		memcpy(l->place, whole, sizeof(whole));
}

__attribute__((format(printf, 3, 0))) static void
on_cyaml_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	char msg[192], key[64], part[LINES_PATH_MAX];
	struct load *l = ctx;
	unsigned entry;

	vsnprintf(msg, sizeof(msg), fmt, args);
	msg[strcspn(msg, "\n")] = '\0';
	if (sscanf(msg, "  in mapping field '%63[^']'", key) == 1) {
		prepend_place(l, key);
	} else if (sscanf(msg, "  in sequence entry '%u'", &entry) == 1) {
		snprintf(part, sizeof(part), "[%u]", entry - 1); /* it counts from 1 */
		prepend_place(l, part);
	} else if (!l->complaint[0]) {
		bool prefixed = strncmp(msg, "Load: ", 6) == 0;

		snprintf(l->complaint, sizeof(l->complaint), "%s", msg + (prefixed ? 6 : 0));
	}
}

static int
fail_by_cyaml(struct load *l, cyaml_err_t cerr)
{
	static const struct {
		const char *complaint, *ours;
	} words[] = {
		{ "Expecting MAPPING", "must be a mapping (key: value)" },
		{ "Expecting SEQUENCE", "must be a list (- item)" },
		{ "Expecting STRING", "must be a single value" },
	};
	char path[2 * LINES_PATH_MAX], key[64];

	if (sscanf(l->complaint, "Unexpected key: %63[^\n]", key) == 1) {
		snprintf(path, sizeof(path), "%s%s%s", l->place, l->place[0] ? "." : "", key);
		return fail(l, path, "unknown key");
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(l->complaint, words[i].complaint, strlen(words[i].complaint)) == 0)
			return fail(l, l->place, "%s", words[i].ours);
	return fail(l, l->place, "%s", l->complaint[0] ? l->complaint : cyaml_strerror(cerr));
}

/* --- values -------------------------------------------------------------------------------- */

/* A number, if the key is there. @param value left alone if not. */
static int
get_number(struct load *l, const char *path, const char *text, uint32_t least, uint32_t greatest,
		uint32_t *value)
{
	unsigned long long n;

	if (!text)
		return 0;
	if (!text[0] || strlen(text) > 10 || text[strspn(text, "0123456789")] != '\0' ||
			(n = strtoull(text, NULL, 10)) < least || n > greatest)
		return fail(l, path, "'%.32s' is not a number from %u to %u", text, least,
				greatest);
	*value = (uint32_t)n;
	return 0;
}

/* Printable text, if the key is there. */
static int
get_text(struct load *l, const char *path, const char *text, char *value, size_t size)
{
	if (!text)
		return 0;
	if (!text[0])
		return fail(l, path, "is empty");
	if (strlen(text) >= size)
		return fail(l, path, "is longer than %zu bytes", size - 1);
	for (const char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			return fail(l, path, "has characters that are not printable ASCII");
	memcpy(value, text, strlen(text) + 1);
	return 0;
}

/* Which of the words it is, if the key is there; @p n of them. */
static int
get_choice(struct load *l, const char *path, const char *text, const char *const *words, unsigned n,
		uint8_t *value)
{
	if (!text)
		return 0;
	for (uint8_t i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0) {
			*value = i;
			return 0;
		}
	}
	return n == 2 ? fail(l, path, "'%.32s' is neither '%s' nor '%s'", text, words[0], words[1])
		      : fail(l, path, "'%.32s' is none of '%s', '%s' and '%s'", text, words[0],
					words[1], words[2]);
}

/* One of two words, if the key is there. */
static int
get_word(struct load *l, const char *path, const char *text, const char *const words[2],
		uint8_t *value)
{
	return get_choice(l, path, text, words, 2, value);
}

/* An address without port, if the key is there. */
static int
get_address(struct load *l, const char *path, const char *text, struct mqt_endpoint *ep)
{
	static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff }; /* RFC 4291 §2.5.5.2 */
	uint16_t port = ep->port;

	if (!text)
		return 0;
	if (mqt_endpoint_parse_ip(text, ep) != 0)
		return fail(l, path, "'%.64s' is not an IPv4 or IPv6 address", text);
	if (ep->version == 6 && memcmp(ep->ip, v4_mapped, sizeof(v4_mapped)) == 0)
		return fail(l, path, "'%.64s' is never on the wire: write the IPv4 address", text);
	ep->port = port;
	return 0;
}

static int
need(struct load *l, const char *path, const char *key, const char *text)
{
	return text ? 0 : fail(l, path, "key '%s' is missing", key);
}

/* A list of at most so many items. */
static int
check_size(struct load *l, const char *key, unsigned n, unsigned most)
{
	char path[64];

	if (n <= most)
		return 0;
	snprintf(path, sizeof(path), "%s[%u]", key, most);
	return fail(l, path, "there are at most %u", most);
}

/* --- sections ------------------------------------------------------------------------------ */

static int
load_node(struct load *l)
{
	const struct text_node *t = l->text->node;
	uint32_t id = l->cfg->node_id;
	int ret;

	if (!t)
		return 0;
	ret = get_number(l, "node.id", t->id, 0, MQT_CHAN_NODE_MAX, &id);
	if (ret == 0)
		ret = get_text(l, "node.name", t->name, l->cfg->node, sizeof(l->cfg->node));
	l->cfg->node_id = (uint8_t)id;
	return ret;
}

/* The kernel's interface of a virtual device ("net_tap0,iface=a"). @return its length, 0: none. */
static size_t
interface_of(const char *device, const char **name)
{
	const char *key = strstr(device, ",iface=");

	*name = key ? key + strlen(",iface=") : "";
	return strcspn(*name, ",");
}

/* Whether two devices are one: what follows a comma is only how it is made. */
static bool
same_device(const char *a, const char *b)
{
	size_t len = strcspn(a, ","), a_len, b_len;
	const char *a_iface, *b_iface;

	if (len == strcspn(b, ",") && strncmp(a, b, len) == 0)
		return true;
	a_len = interface_of(a, &a_iface);
	b_len = interface_of(b, &b_iface);
	return a_len > 0 && a_len == b_len && strncmp(a_iface, b_iface, a_len) == 0;
}

static int
check_device(struct load *l, const char *path, const char *device, unsigned i, bool is_inside)
{
	for (unsigned k = 0; k <= i; k++) {
		const struct mqt_port_pair *pair = &l->cfg->pairs[k];
		bool twice = k < i &&
				(same_device(pair->outside, device) ||
						same_device(pair->inside, device));

		if (k == i && is_inside)
			twice = same_device(pair->outside, device);
		if (twice)
			return fail(l, path, "device '%s' is in use by another port", device);
	}
	return 0;
}

static int
load_device(struct load *l, unsigned i, bool is_inside, const char *text)
{
	const char *key = is_inside ? "inside" : "outside";
	struct mqt_port_pair *pair = &l->cfg->pairs[i];
	char *device = is_inside ? pair->inside : pair->outside;
	char item[32], path[64];
	int ret;

	snprintf(item, sizeof(item), "ports[%u]", i);
	snprintf(path, sizeof(path), "%s.%s", item, key);
	ret = need(l, item, key, text);
	if (ret == 0)
		ret = get_text(l, path, text, device, MQT_NAME_MAX);
	if (ret == 0)
		ret = check_device(l, path, device, i, is_inside);
	return ret;
}

static int
load_ports(struct load *l)
{
	const struct text *t = l->text;
	int ret = 0;

	if (t->n_ports == 0)
		return fail(l, "ports", "at least one pair of ports is needed");
	ret = check_size(l, "ports", t->n_ports, MQT_MAX_PAIRS);
	if (ret != 0)
		return ret;
	l->cfg->n_pairs = (uint16_t)t->n_ports;
	for (unsigned i = 0; ret == 0 && i < t->n_ports; i++) {
		ret = load_device(l, i, false, t->ports[i].outside);
		if (ret == 0)
			ret = load_device(l, i, true, t->ports[i].inside);
	}
	return ret;
}

/* Index of a domain, which is made when first named. */
static int
load_domain(struct load *l, const char *path, const char *text, uint16_t *domain)
{
	struct mqt_config *cfg = l->cfg;
	char name[MQT_NAME_MAX] = "default";
	int ret;

	ret = get_text(l, path, text, name, sizeof(name));
	if (ret != 0)
		return ret;
	for (*domain = 0; *domain < cfg->n_domains; (*domain)++)
		if (strcmp(cfg->domains[*domain], name) == 0)
			return 0;
	/* there are as many listeners at most */
	memcpy(cfg->domains[cfg->n_domains++], name, sizeof(name));
	return 0;
}

static int
check_listener(struct load *l, const char *item, const struct mqt_listener *new)
{
	char path[64];

	for (const struct mqt_listener *old = l->cfg->listeners; old < new; old++) {
		if (strcmp(old->name, new->name) == 0) {
			snprintf(path, sizeof(path), "%s.name", item);
			return fail(l, path, "another listener has the name '%s'", new->name);
		}
		if (mqt_endpoint_equal(&old->address, &new->address)) {
			snprintf(path, sizeof(path), "%s.port", item);
			return fail(l, path, "listener '%s' has the same address and port",
					old->name);
		}
	}
	return 0;
}

/* What a listener says of takeovers and sessions. */
static int
load_policies(struct load *l, const char *item, const struct text_listener *t,
		struct mqt_listener *new)
{
	static const char *const policies[] = { "newest-wins", "reject-new" };
	static const char *const wills[] = { "publish", "suppress" };
	static const char *const answers[] = { "false", "true" };
	uint8_t binds = new->bind_username;
	char path[64];
	int ret;

	static_assert(MQT_POLICY_NEWEST_WINS == 0 && MQT_WILL_PUBLISH == 0,
			"words are in this order");
#define PATH(key) (snprintf(path, sizeof(path), "%s.%s", item, key), path)
	ret = get_word(l, PATH("policy"), t->policy, policies, &new->policy);
	if (ret == 0)
		ret = get_word(l, PATH("will"), t->will, wills, &new->will);
	if (ret == 0)
		ret = get_word(l, PATH("bind_username"), t->bind_username, answers, &binds);
	new->bind_username = binds;
	if (ret == 0)
		ret = get_number(l, PATH("session_expiry_v3"), t->session_expiry_v3, 0, UINT32_MAX,
				&new->session_expiry_v3_sec);
#undef PATH
	return ret;
}

/* What carries MQTT there, and what comes before it. */
static int
load_layers(struct load *l, const char *item, const struct text_listener *t,
		struct mqt_listener *new)
{
	static const char *const transports[] = { "tcp", "ws" };
	static const char *const modes[] = { "off", "accept", "require" };
	char path[64];
	int ret;

	static_assert(MQT_TRANSPORT_WS == 1 && MQT_PROXY_REQUIRE == 2, "words are in this order");
	snprintf(path, sizeof(path), "%s.transport", item);
	ret = get_word(l, path, t->transport, transports, &new->transport);
	snprintf(path, sizeof(path), "%s.proxy", item);
	return ret == 0 ? get_choice(l, path, t->proxy, modes, 3, &new->proxy) : ret;
}

/* What one source address may have of a listener. */
static int
load_source_limits(struct load *l, const char *item, const struct text_source_limits *t,
		struct mqt_listener *new)
{
	char path[80];
	int ret = 0;

	if (!t)
		return 0;
#define LOAD(key, least, greatest)                                                                 \
	snprintf(path, sizeof(path), "%s.limits." #key, item);                                     \
	if (ret == 0)                                                                              \
		ret = get_number(l, path, t->key, least, greatest, &new->key);
	SOURCE_LIMITS(LOAD)
#undef LOAD
	return ret;
}

static int
load_listener(struct load *l, const char *item, const struct text_listener *t,
		const struct mqt_listener *defaults, struct mqt_listener *new)
{
	static const char *const outcomes[] = { "open", "closed" };
	static const char *const midstreams[] = { "pass", "reset" };
	uint32_t port = 1883;
	char path[64];
	int ret;

#define PATH(key) (snprintf(path, sizeof(path), "%s.%s", item, key), path)
	*new = (struct mqt_listener){
		.on_failure = defaults->on_failure,
		.midstream = defaults->midstream,
		.transport = defaults->transport,
		.proxy = defaults->proxy,
		.policy = defaults->policy,
		.will = defaults->will,
		.bind_username = defaults->bind_username,
		.session_expiry_v3_sec = defaults->session_expiry_v3_sec,
	};
	ret = need(l, item, "name", t->name);
	if (ret == 0)
		ret = get_text(l, PATH("name"), t->name, new->name, sizeof(new->name));
	if (ret == 0)
		ret = get_number(l, PATH("port"), t->port, 1, UINT16_MAX, &port);
	new->address.port = (uint16_t)port;
	if (ret == 0)
		ret = get_address(l, PATH("address"), t->address, &new->address);
	if (ret == 0)
		ret = load_domain(l, PATH("domain"), t->domain, &new->domain);
	if (ret == 0)
		ret = get_word(l, PATH("on_failure"), t->on_failure, outcomes, &new->on_failure);
	if (!ret)
		ret = get_word(l, PATH("midstream"), t->midstream, midstreams, &new->midstream);
#undef PATH
	if (ret == 0)
		ret = load_layers(l, item, t, new);
	if (ret == 0)
		ret = load_source_limits(l, item, t->limits, new);
	return ret == 0 ? load_policies(l, item, t, new) : ret;
}

static int
load_listeners(struct load *l)
{
	const struct text *t = l->text;
	struct mqt_config *cfg = l->cfg;
	const struct mqt_listener defaults = cfg->listeners[0];
	char item[32];
	int ret = 0;

	if (!lines_has(&l->lines, "listeners"))
		return 0;
	if (t->n_listeners == 0)
		return fail(l, "listeners", "the list is empty");
	ret = check_size(l, "listeners", t->n_listeners, MQT_MAX_LISTENERS);
	if (ret != 0)
		return ret;
	cfg->n_domains = 0;
	cfg->n_listeners = (uint16_t)t->n_listeners;
	for (unsigned i = 0; ret == 0 && i < t->n_listeners; i++) {
		snprintf(item, sizeof(item), "listeners[%u]", i);
		ret = load_listener(l, item, &t->listeners[i], &defaults, &cfg->listeners[i]);
		if (ret == 0)
			ret = check_listener(l, item, &cfg->listeners[i]);
	}
	return ret;
}

static int
load_broker(struct load *l, const char *item, const struct text_broker *t,
		struct mqt_broker_name *new)
{
	uint32_t port = 0;
	char path[64];
	int ret;

#define PATH(key) (snprintf(path, sizeof(path), "%s.%s", item, key), path)
	*new = (struct mqt_broker_name){ 0 };
	ret = need(l, item, "name", t->name);
	if (ret == 0)
		ret = get_text(l, PATH("name"), t->name, new->name, sizeof(new->name));
	if (ret == 0)
		ret = need(l, item, "address", t->address);
	if (ret == 0)
		ret = get_number(l, PATH("port"), t->port, 1, UINT16_MAX, &port);
	new->address.port = (uint16_t)port;
	if (ret == 0)
		ret = get_address(l, PATH("address"), t->address, &new->address);
	for (const struct mqt_broker_name *old = l->cfg->brokers; ret == 0 && old < new; old++)
		if (mqt_endpoint_equal(&old->address, &new->address))
			ret = fail(l, PATH("address"), "broker '%s' has the same address and port",
					old->name);
#undef PATH
	return ret;
}

static int
load_brokers(struct load *l)
{
	const struct text *t = l->text;
	char item[32];
	int ret;

	ret = check_size(l, "brokers", t->n_brokers, MQT_MAX_BROKERS);
	if (ret != 0)
		return ret;
	l->cfg->n_brokers = (uint16_t)t->n_brokers;
	for (unsigned i = 0; ret == 0 && i < t->n_brokers; i++) {
		snprintf(item, sizeof(item), "brokers[%u]", i);
		ret = load_broker(l, item, &t->brokers[i], &l->cfg->brokers[i]);
	}
	return ret;
}

static int
load_limits(struct load *l)
{
	const struct text_limits *t = l->text->limits;
	struct mqt_limits *limits = &l->cfg->limits;
	int ret = 0;

	if (!t)
		return 0;
#define LOAD(key, least, greatest)                                                                 \
	if (ret == 0)                                                                              \
		ret = get_number(l, "limits." #key, t->key, least, greatest, &limits->key);
	LIMITS(LOAD)
#undef LOAD
	if (ret == 0 && (limits->events & (limits->events - 1)) != 0)
		ret = fail(l, "limits.events", "%u is not a power of two", limits->events);
	if (ret == 0 && limits->opening_ms <= limits->stepdown_local_ms)
		ret = fail(l, t->opening_ms ? "limits.opening_ms" : "limits.stepdown_local_ms",
				"opening_ms (%u) must be longer than stepdown_local_ms (%u)",
				limits->opening_ms, limits->stepdown_local_ms);
	if (ret == 0 && limits->kick_boundary_ms >= limits->stepdown_local_ms)
		ret = fail(l,
				t->kick_boundary_ms ? "limits.kick_boundary_ms"
						    : "limits.stepdown_local_ms",
				"kick_boundary_ms (%u) must be shorter than stepdown_local_ms (%u)",
				limits->kick_boundary_ms, limits->stepdown_local_ms);
	return ret;
}

static int
load_flap(struct load *l)
{
	const struct text_flap *t = l->text->flap;
	struct mqt_flap *flap = &l->cfg->flap;
	int ret = 0;

	if (!t)
		return 0;
#define LOAD(key, member, least, greatest)                                                         \
	if (ret == 0)                                                                              \
		ret = get_number(l, "flap." #key, t->key, least, greatest, &flap->member);
	FLAP(LOAD)
#undef LOAD
	return ret;
}

static int
load_control(struct load *l)
{
	const struct text_control *t = l->text->control;
	struct mqt_control *control = &l->cfg->control;
	int ret;

	if (!t)
		return 0;
	ret = get_text(l, "control.socket", t->socket, control->socket, sizeof(control->socket));
#define LOAD(key, least, greatest)                                                                 \
	if (ret == 0)                                                                              \
		ret = get_number(l, "control." #key, t->key, least, greatest, &control->key);
	CONTROL_LIMITS(LOAD)
#undef LOAD
	return ret;
}

static int
load_sections(struct load *l)
{
	static const char *const modes[] = { "adaptive", "busy" };
	int ret;

	static_assert(MQT_FAIL_OPEN == 0 && MQT_POLL_ADAPTIVE == 0, "words are in this order");
	ret = load_node(l);
	if (ret == 0)
		ret = load_ports(l);
	if (ret == 0)
		ret = load_listeners(l);
	if (ret == 0)
		ret = load_brokers(l);
	if (ret == 0)
		ret = get_word(l, "poll", l->text->poll, modes, &l->cfg->poll);
	if (ret == 0)
		ret = load_limits(l);
	if (ret == 0)
		ret = load_flap(l);
	if (ret == 0)
		ret = load_control(l);
	if (ret == 0)
		ret = get_number(l, "mbufs", l->text->mbufs, 1024, 1u << 24, &l->cfg->n_mbufs);
	return ret;
}

/* --- file ---------------------------------------------------------------------------------- */

static int
load_text(struct load *l, const char *text, size_t len)
{
	const cyaml_config_t config = {
		.log_fn = on_cyaml_log,
		.log_ctx = l,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	cyaml_err_t cerr;
	int ret;

	ret = lines_read(&l->lines, text, len);
	if (ret != 0) {
		snprintf(l->err, l->err_size, "%s:%u: %s%s%s", l->file, l->lines.err_line,
				l->lines.err_path, l->lines.err_path[0] ? ": " : "", l->lines.err);
		return ret;
	}
	cerr = cyaml_load_data((const uint8_t *)text, len, &config, &top_schema,
			(cyaml_data_t **)&l->text, NULL);
	if (cerr != CYAML_OK)
		return fail_by_cyaml(l, cerr);
	if (!l->text)
		return fail(l, "", "is empty: at least a pair of ports is needed");
	ret = load_sections(l);
	cyaml_free(&config, &top_schema, l->text, 0);
	return ret;
}

/* Reads a whole file. @return its bytes, malloc'd, or NULL with errno set. */
static char *
read_file(const char *file, size_t *len)
{
	char *text = NULL;
	FILE *f;

	f = fopen(file, "re");
	if (!f)
		return NULL;
	text = malloc(FILE_MAX + 1);
	if (!text)
		goto out;
	*len = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f) || *len > FILE_MAX) {
		int err = ferror(f) ? errno : EFBIG;

		free(text);
		text = NULL;
		errno = err;
	}
out:
	fclose(f);
	return text;
}

int
config_load(const char *file, struct mqt_config *cfg, char *err, size_t err_size)
{
	struct load l = { .file = file, .err = err, .err_size = err_size };
	struct mqt_config *new;
	char *text;
	size_t len;
	int ret;

	err[0] = '\0';
	new = malloc(sizeof(*new));
	text = new ? read_file(file, &len) : NULL;
	if (!text) {
		ret = -errno;
		snprintf(err, err_size, "%s: cannot be read: %s", file, strerror(errno));
		free(new);
		return ret;
	}
	mqt_config_init(new);
	l.cfg = new;
	ret = load_text(&l, text, len);
	if (ret == 0)
		*cfg = *new;
	lines_free(&l.lines);
	free(text);
	free(new);
	return ret;
}
