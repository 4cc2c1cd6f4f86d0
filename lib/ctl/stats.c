/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats.get, workers.list, system.info: numbers that others write with relaxed atomics, read one by
 * one. A sum over workers is not a snapshot of one instant.
 */
#include "internal.h"

#include <unistd.h>

#include <rte_lcore.h>
#include <rte_version.h>

static json_t *
counter_json(const _Atomic uint64_t *counter)
{
	return json_integer((json_int_t)mqt_counter_get(counter));
}

/* "channels.count": 3, "channels.max": 7, ... as the reference names them. */
static json_t *
gauges_json(const struct mqt_cm *cm)
{
	struct mqt_cm_gauge gauges[MQT_CM_N_GAUGES];
	json_t *obj = json_object();
	char name[64];
	int err = obj ? 0 : -1;

	mqt_cm_gauges(cm, gauges);
	for (unsigned i = 0; i < MQT_CM_N_GAUGES; i++) {
		snprintf(name, sizeof(name), "%s.count", gauges[i].name);
		err |= json_object_set_new(obj, name, json_integer((json_int_t)gauges[i].count));
		snprintf(name, sizeof(name), "%s.max", gauges[i].name);
		err |= json_object_set_new(obj, name, json_integer((json_int_t)gauges[i].max));
	}
	if (err) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

static json_t *
control_json(const struct mqt_cm *cm)
{
	const struct mqt_control_counters *counters = mqt_cm_counters(cm);
	json_t *obj = json_object();

	for (unsigned i = 0; i < MQT_C_N_COUNTERS; i++)
		json_object_set_new(
				obj, mqt_control_counter_name(i), counter_json(&counters->v[i]));
	return obj;
}

unsigned
ctl_n_workers(const struct mqt_ctl *ctl)
{
	return ctl->p.workers ? mqt_workers_count(ctl->p.workers) : 0;
}

static json_t *
workers_sum_json(const struct mqt_ctl *ctl)
{
	uint64_t sum[MQT_W_N_COUNTERS] = { 0 };
	json_t *obj = json_object();

	for (unsigned w = 0; w < ctl_n_workers(ctl); w++) {
		struct mqt_worker_view view;

		mqt_worker_view(mqt_workers_at(ctl->p.workers, w), &view);
		for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
			sum[i] += mqt_counter_get(&view.counters->v[i]);
	}
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		json_object_set_new(
				obj, mqt_worker_counter_name(i), json_integer((json_int_t)sum[i]));
	return obj;
}

static json_t *
maps_json(const struct mqt_ctl *ctl)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(mqt_cm_maps(ctl->p.cm), &sizes);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "channels", (json_int_t)sizes.channels,
			"clients", (json_int_t)sizes.clients, "live", (json_int_t)sizes.live,
			"retired", (json_int_t)sizes.retired, "capacity",
			(json_int_t)sizes.capacity, "fill", ctl_room_fill(ctl));
}

void
ctl_stats_get(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { NULL };
	const struct mqt_cm *cm = call->ctl->p.cm;

	if (!ctl_params_check(call, params, allowed))
		return;
	ctl_room_look(call->ctl);
	ctl_call_result(call,
			json_pack("{s:o, s:o, s:o, s:o, s:I, s:I}", "gauges", gauges_json(cm),
					"control", control_json(cm), "workers",
					workers_sum_json(call->ctl), "maps", maps_json(call->ctl),
					"retained", (json_int_t)mqt_cm_retained_count(cm),
					"duplicates",
					(json_int_t)mqt_counter_get(
							&mqt_cm_counters(cm)
									 ->v[MQT_C_DUPLICATES])));
}

static json_t *
states_json(const struct mqt_conns_gauges *gauges)
{
	json_t *obj = json_object();

	for (unsigned s = MQT_CONN_FREE + 1; s < MQT_CONN_N_STATES; s++)
		json_object_set_new(obj, mqt_conn_state_name(s),
				json_integer(atomic_load_explicit(
						&gauges->state[s], memory_order_relaxed)));
	return obj;
}

static json_t *
worker_json(const struct mqt_ctl *ctl, unsigned index)
{
	struct mqt_worker_view view;
	json_t *obj = json_object(), *counters = json_object();
	uint64_t now = mqt_clock_mono(ctl->p.clock);

	mqt_worker_view(mqt_workers_at(ctl->p.workers, index), &view);
	json_object_set_new(obj, "worker", json_integer(view.index));
	if (view.lcore != LCORE_ID_ANY) /* it has not run */
		json_object_set_new(obj, "lcore", json_integer(view.lcore));
	json_object_set_new(obj, "stalled", json_boolean(mqt_cm_stalled(ctl->p.cm, index)));
	if (view.heartbeat_ns) /* it may beat after we have read the time */
		json_object_set_new(obj, "heartbeat_age_ms",
				json_integer((json_int_t)(now > view.heartbeat_ns
								? (now - view.heartbeat_ns) /
										MQT_NS_PER_MS
								: 0)));
	json_object_set_new(obj, "connections", states_json(view.gauges));
	json_object_set_new(obj, "embryos",
			json_integer(atomic_load_explicit(
					&view.gauges->embryos, memory_order_relaxed)));
	json_object_set_new(obj, "parked",
			json_integer(atomic_load_explicit(
					&view.gauges->parked, memory_order_relaxed)));
	json_object_set_new(obj, "outbox",
			json_integer(atomic_load_explicit(
					&view.gauges->outbox, memory_order_relaxed)));
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		json_object_set_new(counters, mqt_worker_counter_name(i),
				counter_json(&view.counters->v[i]));
	json_object_set_new(obj, "counters", counters);
	return obj;
}

void
ctl_workers_list(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { NULL };
	json_t *list;

	if (!ctl_params_check(call, params, allowed))
		return;
	list = json_array();
	for (unsigned w = 0; w < ctl_n_workers(call->ctl); w++)
		json_array_append_new(list, worker_json(call->ctl, w));
	ctl_call_result(call, json_pack("{s:o}", "workers", list));
}

/* --- system.info --------------------------------------------------------------------------- */

static json_t *
address_json(const struct mqt_endpoint *ep)
{
	char ip[MQT_ADDR_STRLEN];

	return ep->version ? json_string(mqt_endpoint_format_ip(ep, ip)) : json_string("any");
}

static json_t *
listeners_json(const struct mqt_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cfg->n_listeners; i++) {
		const struct mqt_listener *l = &cfg->listeners[i];

		json_array_append_new(list,
				json_pack("{s:s, s:o, s:i, s:s, s:s, s:s, s:s, s:b, s:I}", "name",
						l->name, "address", address_json(&l->address),
						"port", (int)l->address.port, "domain",
						cfg->domains[l->domain], "on_failure",
						l->on_failure == MQT_FAIL_OPEN ? "open" : "closed",
						"policy",
						l->policy == MQT_POLICY_NEWEST_WINS ? "newest-wins"
										    : "reject-new",
						"will",
						l->will == MQT_WILL_PUBLISH ? "publish"
									    : "suppress",
						"bind_username", (int)l->bind_username,
						"session_expiry_v3",
						(json_int_t)l->session_expiry_v3_sec));
	}
	return list;
}

static json_t *
pairs_json(const struct mqt_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cfg->n_pairs; i++)
		json_array_append_new(list,
				json_pack("{s:s, s:s}", "outside", cfg->pairs[i].outside, "inside",
						cfg->pairs[i].inside));
	return list;
}

static json_t *
brokers_json(const struct mqt_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cfg->n_brokers; i++) {
		const struct mqt_broker_name *b = &cfg->brokers[i];
		json_t *obj = json_pack("{s:s, s:o}", "name", b->name, "address",
				address_json(&b->address));

		if (b->address.port)
			json_object_set_new(obj, "port", json_integer(b->address.port));
		json_array_append_new(list, obj);
	}
	return list;
}

static json_t *
domains_json(const struct mqt_config *cfg)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cfg->n_domains; i++)
		json_array_append_new(list, json_string(cfg->domains[i]));
	return list;
}

static json_t *
config_json(const struct mqt_config *cfg)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o, s:o, s:o, s:o}", "poll",
			cfg->poll == MQT_POLL_BUSY ? "busy" : "adaptive", "max_clients",
			(json_int_t)cfg->limits.max_clients, "events",
			(json_int_t)cfg->limits.events, "max_retained",
			(json_int_t)cfg->limits.max_retained, "flap", "takeovers",
			(json_int_t)cfg->flap.takeovers, "within", (json_int_t)cfg->flap.within_sec,
			"hold", (json_int_t)cfg->flap.hold_sec, "domains", domains_json(cfg),
			"listeners", listeners_json(cfg), "ports", pairs_json(cfg), "brokers",
			brokers_json(cfg));
}

void
ctl_system_info(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { NULL };
	struct mqt_ctl *ctl = call->ctl;
	const struct mqt_config *cfg = ctl->p.config;
	char at[RECORD_TIME_STRLEN];
	uint64_t up = mqt_clock_mono(ctl->p.clock) - ctl->started_ns;

	if (!ctl_params_check(call, params, allowed))
		return;
	ctl_call_result(call,
			json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:i, s:s, s:o, s:o}", "version",
					MQT_VERSION, "node", cfg->node, "node_id",
					(int)cfg->node_id, "pid", (int)getpid(), "started_at",
					ctl_record_time(ctl->started_wall_ns, at), "uptime_ms",
					(json_int_t)(up / MQT_NS_PER_MS), "workers",
					(int)ctl_n_workers(ctl), "dpdk", rte_version(), "ports",
					ctl_ports_json(ctl), "config", config_json(cfg)));
}
