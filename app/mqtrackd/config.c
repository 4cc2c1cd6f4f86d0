/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: YAML -> text by key (config_text.c) -> struct mqt_config.
 *
 * Life-cycle: everything but the result lives within config_load().
 * Synchronisation: none, one thread at start.
 */
#include "config.h"

#include "config_text.h"
#include "config_value.h"
#include "lines.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/info.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

/* --- sections ------------------------------------------------------------------------------ */

static int
load_node(struct load *l)
{
	const struct text_node *t = l->text->node;
	uint32_t id = l->cfg->node_id;
	int ret;

	if (!t)
		return 0;
	ret = value_number(l, "node.id", t->id, 0, MQT_CHAN_NODE_MAX, &id);
	if (ret == 0)
		ret = value_text(l, "node.name", t->name, l->cfg->node, sizeof(l->cfg->node));
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
			return config_fail(
					l, path, "device '%s' is in use by another port", device);
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
	ret = value_need(l, item, key, text);
	if (ret == 0)
		ret = value_text(l, path, text, device, MQT_NAME_MAX);
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
		return config_fail(l, "ports", "at least one pair of ports is needed");
	ret = value_count(l, "ports", t->n_ports, MQT_MAX_PAIRS);
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

	ret = value_text(l, path, text, name, sizeof(name));
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
			return config_fail(
					l, path, "another listener has the name '%s'", new->name);
		}
		if (mqt_endpoint_equal(&old->address, &new->address)) {
			snprintf(path, sizeof(path), "%s.port", item);
			return config_fail(l, path, "listener '%s' has the same address and port",
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
	ret = value_word(l, PATH("policy"), t->policy, policies, &new->policy);
	if (ret == 0)
		ret = value_word(l, PATH("will"), t->will, wills, &new->will);
	if (ret == 0)
		ret = value_word(l, PATH("bind_username"), t->bind_username, answers, &binds);
	new->bind_username = binds;
	if (ret == 0)
		ret = value_number(l, PATH("session_expiry_v3"), t->session_expiry_v3, 0,
				UINT32_MAX, &new->session_expiry_v3_sec);
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
	ret = value_word(l, path, t->transport, transports, &new->transport);
	snprintf(path, sizeof(path), "%s.proxy", item);
	return ret == 0 ? value_choice(l, path, t->proxy, modes, 3, &new->proxy) : ret;
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
		ret = value_number(l, path, t->key, least, greatest, &new->key);
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
	ret = value_need(l, item, "name", t->name);
	if (ret == 0)
		ret = value_text(l, PATH("name"), t->name, new->name, sizeof(new->name));
	if (ret == 0)
		ret = value_number(l, PATH("port"), t->port, 1, UINT16_MAX, &port);
	new->address.port = (uint16_t)port;
	if (ret == 0)
		ret = value_address(l, PATH("address"), t->address, &new->address);
	if (ret == 0)
		ret = load_domain(l, PATH("domain"), t->domain, &new->domain);
	if (ret == 0)
		ret = value_word(l, PATH("on_failure"), t->on_failure, outcomes, &new->on_failure);
	if (!ret)
		ret = value_word(l, PATH("midstream"), t->midstream, midstreams, &new->midstream);
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
		return config_fail(l, "listeners", "the list is empty");
	ret = value_count(l, "listeners", t->n_listeners, MQT_MAX_LISTENERS);
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
	ret = value_need(l, item, "name", t->name);
	if (ret == 0)
		ret = value_text(l, PATH("name"), t->name, new->name, sizeof(new->name));
	if (ret == 0)
		ret = value_need(l, item, "address", t->address);
	if (ret == 0)
		ret = value_number(l, PATH("port"), t->port, 1, UINT16_MAX, &port);
	new->address.port = (uint16_t)port;
	if (ret == 0)
		ret = value_address(l, PATH("address"), t->address, &new->address);
	for (const struct mqt_broker_name *old = l->cfg->brokers; ret == 0 && old < new; old++)
		if (mqt_endpoint_equal(&old->address, &new->address))
			ret = config_fail(l, PATH("address"),
					"broker '%s' has the same address and port", old->name);
#undef PATH
	return ret;
}

static int
load_brokers(struct load *l)
{
	const struct text *t = l->text;
	char item[32];
	int ret;

	ret = value_count(l, "brokers", t->n_brokers, MQT_MAX_BROKERS);
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
		ret = value_number(l, "limits." #key, t->key, least, greatest, &limits->key);
	LIMITS(LOAD)
#undef LOAD
	if (ret == 0 && (limits->events & (limits->events - 1)) != 0)
		ret = config_fail(l, "limits.events", "%u is not a power of two", limits->events);
	if (ret == 0 && limits->opening_ms <= limits->stepdown_local_ms)
		ret = config_fail(l,
				t->opening_ms ? "limits.opening_ms" : "limits.stepdown_local_ms",
				"opening_ms (%u) must be longer than stepdown_local_ms (%u)",
				limits->opening_ms, limits->stepdown_local_ms);
	if (ret == 0 && limits->kick_boundary_ms >= limits->stepdown_local_ms)
		ret = config_fail(l,
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
		ret = value_number(l, "flap." #key, t->key, least, greatest, &flap->member);
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
	ret = value_text(l, "control.socket", t->socket, control->socket, sizeof(control->socket));
#define LOAD(key, least, greatest)                                                                 \
	if (ret == 0)                                                                              \
		ret = value_number(l, "control." #key, t->key, least, greatest, &control->key);
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
		ret = value_word(l, "poll", l->text->poll, modes, &l->cfg->poll);
	if (ret == 0)
		ret = load_limits(l);
	if (ret == 0)
		ret = load_flap(l);
	if (ret == 0)
		ret = load_control(l);
	if (ret == 0)
		ret = value_number(l, "mbufs", l->text->mbufs, 1024, 1u << 24, &l->cfg->n_mbufs);
	return ret;
}

/* --- file ---------------------------------------------------------------------------------- */

static int
load_text(struct load *l, const char *text, size_t len)
{
	struct text_error wrong;
	int ret;

	ret = lines_read(&l->lines, text, len);
	if (ret != 0) {
		snprintf(l->err, l->err_size, "%s:%u: %s%s%s", l->file, l->lines.err_line,
				l->lines.err_path, l->lines.err_path[0] ? ": " : "", l->lines.err);
		return ret;
	}
	ret = text_load(text, len, &l->text, &wrong);
	if (ret != 0)
		return config_fail(l, wrong.path, "%s", wrong.what);
	if (!l->text)
		return config_fail(l, "", "is empty: at least a pair of ports is needed");
	ret = load_sections(l);
	text_free(l->text);
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
