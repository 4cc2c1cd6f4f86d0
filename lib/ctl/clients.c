/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * clients.list, clients.get, channels.lookup: the readers of the maps. The sessions of clients.get
 * are added by inspect.c.
 *
 * A page is gathered in read sections of a few rows each, so that the end of a grace period never
 * waits for a page. Its cursor is the index of the next row: rows do not move, so a client that
 * stays registered is on exactly one page, whatever comes and goes around it. A page ends early
 * where its text would become large, or where a filter rejects very many rows; the cursor says
 * whether there is more.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_ROOM 4096 /* of a page's budget, for the envelope */

struct filter {
	struct ctl_bytes clientid, username;
	int domain, listener, connected; /* -1: any */
	uint64_t worker;                 /* UINT64_MAX: any */
	struct ctl_broker broker;
	const char *transport; /* NULL: any */
	const char *state;
};

struct page {
	struct ctl_call *call;
	struct filter filter;
	json_t *clients;
	uint64_t limit;
	size_t bytes, max_bytes;
	uint32_t pos;
	unsigned n_scanned;
	struct ctl_inspected *inspected; /* clients.get: one a record; NULL: not wanted */
	bool end;
	bool failed;
};

static bool
broker_matches(const struct mqt_config *cfg, const struct mqt_info *info,
		const struct ctl_broker *wanted)
{
	struct mqt_endpoint broker = mqt_info_broker(info), address = wanted->address;
	const char *name;

	if (address.version) {
		address.port = address.port ? address.port : broker.port;
		return mqt_endpoint_equal(&address, &broker);
	}
	name = mqt_config_broker_name(cfg, &broker);
	return name && strcmp(name, wanted->name) == 0;
}

static bool
username_matches(const struct mqt_info *info, const struct ctl_bytes *wanted)
{
	return info->flags & MQT_INFO_HAS_USERNAME && info->username_len == wanted->len &&
			memcmp(mqt_info_username(info), wanted->data, wanted->len) == 0;
}

static bool
matches(const struct filter *f, const struct mqt_config *cfg, const struct mqt_chan *chan)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_info *info = mqt_chan_info(chan);
	uint32_t state = atomic_load_explicit(&chan->state, memory_order_relaxed);
	bool up = state == MQT_CHAN_CONNECTED;

	if (state == MQT_CHAN_FREE) /* removed a moment ago */
		return false;
	if (f->domain >= 0 && info->domain != f->domain)
		return false;
	if (f->listener >= 0 && info->listener != f->listener)
		return false;
	if (f->connected >= 0 && up != f->connected)
		return false;
	if (f->state && strcmp(f->state, ctl_record_state(state)) != 0)
		return false;
	if (f->worker != UINT64_MAX && mqt_chan_id_worker(chan->id) != f->worker)
		return false;
	if (f->username.data && !username_matches(info, &f->username))
		return false;
	if (f->transport && strcmp(f->transport, ctl_record_transport(info->transport)) != 0)
		return false;
	if (!f->broker.name && !f->broker.address.version)
		return true;
	return broker_matches(cfg, info, &f->broker);
}

/* As its record tells: the channel itself may have changed since. */
static bool
record_is_retained(const json_t *record)
{
	const char *state = json_string_value(json_object_get(record, "state"));

	return state && strcmp(state, ctl_record_state(MQT_CHAN_RETAINED)) == 0;
}

/* What the session's end depends on, before the client has said more when it leaves. Source: MQTT
 * 5.0 §3.1.2.11.2; for 3.x the listener's setting. */
static uint32_t
session_expiry(const struct mqt_config *cfg, const struct mqt_info *info)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return 0;
	if (info->proto_ver >= 5)
		return info->flags & MQT_INFO_HAS_EXPIRY ? info->expiry_sec : 0;
	if (info->flags & MQT_INFO_CLEAN_START || info->listener >= cfg->n_listeners)
		return 0;
	return cfg->listeners[info->listener].session_expiry_v3_sec;
}

/* @return true: it belongs to the page. */
static bool
page_add(struct page *page, const struct mqt_chan *chan) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	json_t *record;

	if (!matches(&page->filter, page->call->ctl->p.config, chan))
		return false;
	record = ctl_record_client(page->call->ctl, chan);
	if (page->inspected)
		page->inspected[json_array_size(page->clients)] = (struct ctl_inspected){
			.chan = chan->id,
			.expiry_sec = session_expiry(
					page->call->ctl->p.config, mqt_chan_info(chan)),
			.retained = record_is_retained(record),
		};
	if (!record || json_array_append(page->clients, record) < 0)
		page->failed = true;
	else
		page->bytes += json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	json_decref(record);
	return true;
}

static bool
page_full(const struct page *page)
{
	return page->end || page->failed || json_array_size(page->clients) >= page->limit ||
			page->bytes >= page->max_bytes || page->n_scanned >= CTL_SCAN_MAX;
}

/* Gathers from some rows, in one read section. */
static void
page_section(struct page *page)
{
	const struct mqt_chan *chan;

	mqt_rcu_read_lock();
	for (unsigned i = 0; i < CTL_SECTION_ROWS && !page_full(page); i++) {
		chan = mqt_cm_channels_next(page->call->ctl->p.cm, &page->pos);
		page->end = chan == NULL;
		page->n_scanned++;
		if (chan)
			page_add(page, chan);
	}
	mqt_rcu_read_unlock();
}

/* Gathers the channels of one client id; @return how many match. */
static unsigned
page_lookup(struct page *page)
{
	const struct filter *f = &page->filter;
	const struct mqt_chan *chans[CTL_LOOKUP_MAX];
	unsigned n, n_matching = 0;

	page->end = true;
	mqt_rcu_read_lock();
	n = mqt_cm_lookup(page->call->ctl->p.cm, f->domain, f->clientid.data, f->clientid.len,
			chans, CTL_LOOKUP_MAX);
	for (unsigned i = 0; i < n && i < CTL_LOOKUP_MAX; i++)
		n_matching += page_add(page, chans[i]);
	mqt_rcu_read_unlock();
	return n_matching;
}

static bool
read_cursor(struct ctl_call *call, const json_t *params, uint32_t *pos)
{
	const char *text = NULL;
	char *end = NULL;

	if (json_is_null(json_object_get(params, "cursor")))
		return true; /* the last page's, given back: begins again */
	if (!ctl_params_string(call, params, "cursor", &text))
		return false;
	if (!text)
		return true;
	if (strlen(text) == 8 && strspn(text, "0123456789abcdef") == 8) {
		*pos = (uint32_t)strtoul(text, &end, 16);
		return true;
	}
	ctl_call_error(call, CTL_E_PARAMS, "cursor is not one that clients.list has given");
	return false;
}

static bool
read_state(struct ctl_call *call, const json_t *params, const char **state)
{
	if (!ctl_params_string(call, params, "state", state))
		return false;
	for (uint32_t s = MQT_CHAN_CONNECTED; *state && s <= MQT_CHAN_RETAINED; s++) {
		if (strcmp(*state, ctl_record_state(s)) == 0)
			return true;
	}
	if (*state)
		ctl_call_error(call, CTL_E_PARAMS,
				"state is connected, orphaned, disconnected or retained");
	return !*state;
}

static bool
read_transport(struct ctl_call *call, const json_t *params, const char **transport)
{
	if (!ctl_params_string(call, params, "transport", transport))
		return false;
	for (unsigned i = 0; *transport && i < MQT_N_TRANSPORTS; i++) {
		if (strcmp(*transport, ctl_record_transport(i)) == 0)
			return true;
	}
	if (*transport)
		ctl_call_error(call, CTL_E_PARAMS, "unknown transport \"%.64s\": it is tcp or ws",
				*transport);
	return !*transport;
}

static bool
filter_read(struct ctl_call *call, const json_t *params, struct filter *f)
{
	*f = (struct filter){ .worker = UINT64_MAX };
	return ctl_params_domain(call, params, &f->domain) &&
			ctl_params_listener(call, params, &f->listener) &&
			ctl_params_bool(call, params, "connected", &f->connected) &&
			ctl_params_worker(call, params, &f->worker) &&
			ctl_params_broker(call, params, &f->broker) &&
			read_transport(call, params, &f->transport) &&
			read_state(call, params, &f->state) &&
			ctl_params_bytes(call, params, "username", &f->username) &&
			ctl_params_bytes(call, params, "clientid", &f->clientid);
}

static void
filter_free(struct filter *f)
{
	ctl_bytes_free(&f->clientid);
	ctl_bytes_free(&f->username);
}

static json_t *
page_result(struct page *page)
{
	char cursor[16];

	if (page->failed)
		return NULL;
	snprintf(cursor, sizeof(cursor), "%08x", page->pos);
	return json_pack("{s:O, s:s?}", "clients", page->clients, "cursor",
			page->end ? NULL : cursor);
}

static size_t
page_max_bytes(const struct mqt_ctl *ctl)
{
	size_t backlog = ctl->p.config->control.max_backlog;

	return backlog > 2 * RECORD_ROOM ? backlog - RECORD_ROOM : backlog / 2;
}

/* Bytes by which a page may still grow. */
static size_t
page_room(const struct page *page)
{
	size_t max = page_max_bytes(page->call->ctl);

	return max > page->bytes ? max - page->bytes : 0;
}

void
ctl_clients_list(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { "limit", "cursor", "clientid", "clientid_hex",
		"domain", "listener", "broker", "connected", "worker", "username", "username_hex",
		"transport", "state", NULL };
	struct page page = { .call = call, .limit = CTL_LIST_DEFAULT };

	if (!ctl_params_check(call, params, allowed) ||
			!ctl_params_uint(call, params, "limit", 1, CTL_LIST_MAX, &page.limit) ||
			!read_cursor(call, params, &page.pos) ||
			!filter_read(call, params, &page.filter)) {
		filter_free(&page.filter);
		return;
	}
	page.max_bytes = page_max_bytes(call->ctl);
	page.clients = json_array();
	if (page.filter.clientid.data)
		page_lookup(&page);
	while (!page_full(&page))
		page_section(&page);
	ctl_call_result(call, page.clients ? page_result(&page) : NULL);
	json_decref(page.clients);
	filter_free(&page.filter);
}

/* A channel by its id, as a page of one. @return 0: unknown. */
static unsigned
page_channel(struct page *page, mqt_chan_id id)
{
	const struct mqt_chan *chan;
	bool found;

	mqt_rcu_read_lock();
	chan = mqt_cm_info(page->call->ctl->p.cm, id);
	found = chan && page_add(page, chan);
	mqt_rcu_read_unlock();
	return found;
}

bool
ctl_clients_target(struct ctl_call *call, const json_t *params, const char *more,
		struct ctl_target *target)
{
	const char *const allowed[] = { "clientid", "clientid_hex", "channel", "domain", more,
		NULL };

	return ctl_params_check(call, params, allowed) &&
			ctl_clients_target_in(call, params, target);
}

bool
ctl_clients_target_in(struct ctl_call *call, const json_t *params, struct ctl_target *target)
{
	*target = (struct ctl_target){ .domain = -1 };
	if (!ctl_params_channel(call, params, &target->channel) ||
			!ctl_params_domain(call, params, &target->domain) ||
			!ctl_params_bytes(call, params, "clientid", &target->clientid))
		return false;
	if ((target->clientid.data != NULL) != (target->channel != MQT_CHAN_NONE) &&
			(target->clientid.data || target->domain < 0))
		return true;
	ctl_bytes_free(&target->clientid);
	ctl_call_error(call, CTL_E_PARAMS,
			"give clientid (or clientid_hex), with domain if you like, or channel "
			"alone");
	return false;
}

void
ctl_clients_get(struct ctl_call *call, const json_t *params)
{
	struct ctl_inspected inspected[CTL_LOOKUP_MAX];
	struct page page = {
		.call = call, .filter = { .worker = UINT64_MAX }, .inspected = inspected
	};
	struct ctl_target target;
	unsigned n;

	if (!ctl_clients_target(call, params, NULL, &target))
		return;
	page.filter.domain = target.domain;
	page.filter.listener = page.filter.connected = -1;
	page.filter.clientid = target.clientid;
	page.clients = json_array();
	n = target.channel ? page_channel(&page, target.channel) : page_lookup(&page);
	if (!page.clients || page.failed)
		ctl_call_result(call, NULL);
	else if (n)
		ctl_inspect(call, json_incref(page.clients), inspected, page_room(&page));
	else if (target.channel)
		ctl_call_error(call, CTL_E_CHANNEL, "unknown channel");
	else
		ctl_call_error(call, CTL_E_CLIENT, "unknown client");
	json_decref(page.clients);
	ctl_bytes_free(&target.clientid);
}

static json_t *
channel_json(const struct mqt_config *cfg, const struct mqt_chan *chan)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_info *info = mqt_chan_info(chan);
	json_t *obj = json_object();
	int err = obj ? 0 : -1;

	err |= ctl_record_set_chan(obj, "channel", chan->id);
	err |= json_object_set_new(obj, "node", json_string(cfg->node));
	err |= json_object_set_new(obj, "worker", json_integer(mqt_chan_id_worker(chan->id)));
	err |= json_object_set_new(obj, "state",
			json_string(ctl_record_state(
					atomic_load_explicit(&chan->state, memory_order_relaxed))));
	if (info->domain < cfg->n_domains)
		err |= json_object_set_new(obj, "domain", json_string(cfg->domains[info->domain]));
	if (err) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

void
ctl_channels_lookup(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { "clientid", "clientid_hex", "domain", NULL };
	const struct mqt_chan *chans[CTL_LOOKUP_MAX];
	struct ctl_bytes clientid;
	json_t *list = NULL;
	int domain, err = 0;
	unsigned n;

	if (!ctl_params_check(call, params, allowed) || !ctl_params_domain(call, params, &domain) ||
			!ctl_params_bytes(call, params, "clientid", &clientid))
		return;
	if (!clientid.data) {
		ctl_call_error(call, CTL_E_PARAMS, "give clientid or clientid_hex");
		return;
	}
	list = json_array();
	mqt_rcu_read_lock();
	n = mqt_cm_lookup(call->ctl->p.cm, domain, clientid.data, clientid.len, chans,
			CTL_LOOKUP_MAX);
	for (unsigned i = 0; i < n && i < CTL_LOOKUP_MAX; i++)
		err |= json_array_append_new(list, channel_json(call->ctl->p.config, chans[i]));
	mqt_rcu_read_unlock();
	ctl_bytes_free(&clientid);
	ctl_call_result(call, list && !err ? json_pack("{s:O}", "channels", list) : NULL);
	json_decref(list);
}
