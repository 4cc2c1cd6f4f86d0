/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records as JSON. What is not known has no key; nothing unknown is shown as 0 or "".
 *
 * Client ids and user names are bytes from strangers. JSON strings carry UTF-8 only, so bytes that
 * are UTF-8 without U+0000 are shown as `name`, all others in hexadecimal as `name_hex`: exactly
 * one of the two is there, either can be given back as it is, and nothing is lost.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

char *
ctl_record_time(uint64_t wall_ns, char buf[RECORD_TIME_STRLEN])
{
	time_t sec = (time_t)(wall_ns / MQT_NS_PER_SEC);
	unsigned ms = (unsigned)(wall_ns % MQT_NS_PER_SEC / MQT_NS_PER_MS);
	struct tm tm;
	size_t n;

	gmtime_r(&sec, &tm);
	n = strftime(buf, RECORD_TIME_STRLEN, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, RECORD_TIME_STRLEN - n, ".%03uZ", ms);
	return buf;
}

static json_t *
bytes_hex(const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *hex = malloc(2 * len + 1);
	json_t *json;

	if (!hex)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[data[i] >> 4];
		hex[2 * i + 1] = digits[data[i] & 15];
	}
	json = json_stringn(hex, 2 * len);
	free(hex);
	return json;
}

int
ctl_record_set_bytes(json_t *obj, const char *name, const void *data, size_t len)
{
	json_t *text = len && memchr(data, 0, len) ? NULL : json_stringn(data, len);
	char name_hex[32];

	if (text)
		return json_object_set_new(obj, name, text);
	snprintf(name_hex, sizeof(name_hex), "%s_hex", name);
	return json_object_set_new(obj, name_hex, bytes_hex(data, len));
}

int
ctl_record_set_chan(json_t *obj, const char *name, mqt_chan_id id)
{
	char text[MQT_CHAN_STRLEN];

	return json_object_set_new(obj, name, json_string(mqt_chan_id_format(id, text)));
}

json_t *
ctl_record_endpoint(const struct mqt_endpoint *ep)
{
	char text[MQT_ENDPOINT_STRLEN];

	return json_string(mqt_endpoint_format(ep, text));
}

json_t *
ctl_record_broker(const struct mqt_config *cfg, const struct mqt_endpoint *broker)
{
	const char *name = mqt_config_broker_name(cfg, broker);

	return name ? json_string(name) : ctl_record_endpoint(broker);
}

const char *
ctl_record_state(uint32_t state)
{
	switch (state) {
	case MQT_CHAN_CONNECTED:
		return "connected";
	case MQT_CHAN_ORPHANED:
		return "orphaned";
	case MQT_CHAN_RETAINED:
		return "retained";
	default:
		return "disconnected";
	}
}

const char *
ctl_record_transport(unsigned transport)
{
	static const char *const names[] = {
		[MQT_TRANSPORT_TCP] = "tcp",
		[MQT_TRANSPORT_WS] = "ws",
	};

	_Static_assert(sizeof(names) / sizeof(names[0]) == MQT_N_TRANSPORTS, "a name each");
	return transport < MQT_N_TRANSPORTS ? names[transport] : NULL;
}

static int
set_identity(json_t *obj, const struct mqt_info *info)
{
	int err = 0;

	if (!(info->flags & MQT_INFO_ANONYMOUS))
		err |= ctl_record_set_bytes(
				obj, "clientid", mqt_info_clientid(info), info->clientid_len);
	if (info->flags & MQT_INFO_ANONYMOUS)
		err |= json_object_set_new(obj, "anonymous", json_true());
	if (info->flags & MQT_INFO_ASSIGNED)
		err |= json_object_set_new(obj, "assigned", json_true());
	if (info->flags & MQT_INFO_HAS_USERNAME)
		err |= ctl_record_set_bytes(
				obj, "username", mqt_info_username(info), info->username_len);
	if (info->cert_cn_len > 0)
		err |= ctl_record_set_bytes(
				obj, "cert_cn", mqt_info_cert_cn(info), info->cert_cn_len);
	return err;
}

static int
set_session(json_t *obj, const struct mqt_info *info)
{
	int err = 0;

	err |= json_object_set_new(
			obj, "proto_name", json_string(info->proto_ver == 3 ? "MQIsdp" : "MQTT"));
	err |= json_object_set_new(obj, "proto_ver", json_integer(info->proto_ver));
	err |= json_object_set_new(obj, "keepalive", json_integer(info->keepalive_sec));
	err |= json_object_set_new(
			obj, "clean_start", json_boolean(info->flags & MQT_INFO_CLEAN_START));
	if (info->flags & MQT_INFO_HAS_EXPIRY)
		err |= json_object_set_new(obj, "expiry_interval", json_integer(info->expiry_sec));
	return err;
}

static int
set_place(json_t *obj, const struct mqt_config *cfg, const struct mqt_chan *chan)
{
	const struct mqt_info *info = mqt_chan_info(chan);
	struct mqt_endpoint peer = mqt_info_peer(info), via = mqt_info_via(info),
			    broker = mqt_info_broker(info);
	char ip[MQT_ADDR_STRLEN];
	int err = 0;

	err |= json_object_set_new(
			obj, "ip_address", json_string(mqt_endpoint_format_ip(&peer, ip)));
	err |= json_object_set_new(obj, "port", json_integer(peer.port));
	if (via.version)
		err |= json_object_set_new(obj, "via", ctl_record_endpoint(&via));
	err |= json_object_set_new(obj, "broker", ctl_record_broker(cfg, &broker));
	if (info->listener < cfg->n_listeners)
		err |= json_object_set_new(
				obj, "listener", json_string(cfg->listeners[info->listener].name));
	if (info->domain < cfg->n_domains)
		err |= json_object_set_new(obj, "domain", json_string(cfg->domains[info->domain]));
	err |= json_object_set_new(obj, "node", json_string(cfg->node));
	err |= ctl_record_set_chan(obj, "channel", chan->id);
	err |= json_object_set_new(obj, "worker", json_integer(mqt_chan_id_worker(chan->id)));
	err |= json_object_set_new(
			obj, "transport", json_string(ctl_record_transport(info->transport)));
	return err;
}

/* Of a connection that is over its traffic and when it ended; where its slot has just gone to
 * another channel, nothing is known. */
static int
set_traffic(json_t *obj, const struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	static const char *const names[] = {
		[MQT_RECV_OCT] = "recv_oct",
		[MQT_RECV_CNT] = "recv_cnt",
		[MQT_RECV_PKT] = "recv_pkt",
		[MQT_RECV_MSG] = "recv_msg",
		[MQT_SEND_OCT] = "send_oct",
		[MQT_SEND_CNT] = "send_cnt",
		[MQT_SEND_PKT] = "send_pkt",
		[MQT_SEND_MSG] = "send_msg",
	};
	uint64_t counter[MQT_SLOT_N_COUNTERS];
	int err = 0;

	_Static_assert(sizeof(names) / sizeof(names[0]) == MQT_SLOT_N_COUNTERS, "a name each");
	if (mqt_cm_stats(cm, id, counter, NULL) < 0)
		return 0;
	for (unsigned i = 0; i < MQT_SLOT_N_COUNTERS; i++)
		err |= json_object_set_new(obj, names[i], json_integer((json_int_t)counter[i]));
	return err;
}

static int
set_times(json_t *obj, const struct mqt_cm *cm, const struct mqt_chan *chan)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	char at[RECORD_TIME_STRLEN];
	uint64_t ended_wall_ns;
	int err;

	err = json_object_set_new(obj, "connected_at",
			json_string(ctl_record_time(chan->connected_wall_ns, at)));
	if (mqt_cm_ended(cm, chan->id, &ended_wall_ns) == 0)
		err |= json_object_set_new(obj, "disconnected_at",
				json_string(ctl_record_time(ended_wall_ns, at)));
	return err;
}

json_t *
ctl_record_client(const struct mqt_ctl *ctl, const struct mqt_chan *chan)
{
	uint32_t state = atomic_load_explicit(&chan->state, memory_order_relaxed);
	json_t *obj = json_object();
	int err = obj ? 0 : -1;

	err |= set_identity(obj, mqt_chan_info(chan));
	err |= set_session(obj, mqt_chan_info(chan));
	err |= json_object_set_new(obj, "connected", json_boolean(state == MQT_CHAN_CONNECTED));
	err |= json_object_set_new(obj, "state", json_string(ctl_record_state(state)));
	err |= set_times(obj, ctl->p.cm, chan);
	err |= set_place(obj, ctl->p.config, chan);
	err |= set_traffic(obj, ctl->p.cm, chan->id);
	if (err) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

/* Bytes of a cut client id without the beginning of a character that was cut with it. */
static size_t
whole_characters(const uint8_t *data, size_t len)
{
	size_t start = len;

	while (start > 0 && len - start < 3 && (data[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0 || data[start - 1] < 0xc0)
		return len;
	start--;
	return len - start < (data[start] >= 0xf0                                  ? 4u
							     : data[start] >= 0xe0 ? 3u
										   : 2u)
			? start
			: len;
}

static int
set_event_client(json_t *obj, const struct mqt_event *ev)
{
	size_t len = ev->clientid_len;
	int err = 0;

	if (ev->flags & MQT_INFO_ANONYMOUS)
		return json_object_set_new(obj, "anonymous", json_true());
	if (len > MQT_EVENT_CLIENTID_MAX) {
		len = whole_characters(ev->clientid, MQT_EVENT_CLIENTID_MAX);
		err |= json_object_set_new(obj, "clientid_len", json_integer(ev->clientid_len));
	}
	err |= ctl_record_set_bytes(obj, "clientid", ev->clientid, len);
	if (ev->flags & MQT_INFO_ASSIGNED)
		err |= json_object_set_new(obj, "assigned", json_true());
	return err;
}

json_t *
ctl_record_event(const struct mqt_ctl *ctl, const struct mqt_event *ev)
{
	const struct mqt_config *cfg = ctl->p.config;
	json_t *obj = json_object();
	char at[RECORD_TIME_STRLEN];
	int err = obj ? 0 : -1;

	err |= json_object_set_new(obj, "seq", json_integer((json_int_t)ev->seq));
	err |= json_object_set_new(obj, "type", json_string(mqt_event_name(ev->type)));
	err |= json_object_set_new(obj, "at", json_string(ctl_record_time(ev->wall_ns, at)));
	err |= json_object_set_new(obj, "mono_ns", json_integer((json_int_t)ev->mono_ns));
	err |= set_event_client(obj, ev);
	if (ev->reason != MQT_REASON_NONE)
		err |= json_object_set_new(obj, "reason", json_string(mqt_reason_name(ev->reason)));
	err |= json_object_set_new(obj, "epoch", json_integer((json_int_t)ev->epoch));
	err |= ctl_record_set_chan(obj, "channel", ev->chan);
	if (ev->peer.version)
		err |= json_object_set_new(obj, "peer", ctl_record_endpoint(&ev->peer));
	if (ev->broker.version)
		err |= json_object_set_new(obj, "broker", ctl_record_broker(cfg, &ev->broker));
	if (ev->count)
		err |= json_object_set_new(obj, "count", json_integer(ev->count));
	if (ev->other != MQT_CHAN_NONE)
		err |= ctl_record_set_chan(obj, "other", ev->other);
	if (ev->other_peer.version)
		err |= json_object_set_new(obj, "other_peer", ctl_record_endpoint(&ev->other_peer));
	if (ev->listener < cfg->n_listeners)
		err |= json_object_set_new(
				obj, "listener", json_string(cfg->listeners[ev->listener].name));
	if (ev->domain < cfg->n_domains)
		err |= json_object_set_new(obj, "domain", json_string(cfg->domains[ev->domain]));
	if (ev->proto_ver)
		err |= json_object_set_new(obj, "proto_ver", json_integer(ev->proto_ver));
	if (err) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}
