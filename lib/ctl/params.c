/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Params: by name only. A name that a method does not know is refused, so that a filter with a typo
 * never answers with everything.
 */
#include "internal.h"
#include "mqtrack/mqtt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX    65535 /* what MQTT can say */
#define NAME_MAX_LEN 16    /* of a parameter of bytes */

bool
ctl_params_check(struct ctl_call *call, const json_t *params, const char *const *allowed)
{
	const char *name;
	json_t *value;

	if (params && !json_is_object(params)) {
		ctl_call_error(call, CTL_E_PARAMS, "params are given by name, in an object");
		return false;
	}
	/* iterating does not change it */
	for (void *it = json_object_iter((json_t *)(uintptr_t)params); it;
			it = json_object_iter_next((json_t *)(uintptr_t)params, it)) {
		const char *const *a = allowed;

		name = json_object_iter_key(it);
		value = json_object_iter_value(it);
		while (*a && strcmp(*a, name) != 0)
			a++;
		if (!*a || !value) {
			ctl_call_error(call, CTL_E_PARAMS, "unknown parameter \"%.64s\"", name);
			return false;
		}
	}
	return true;
}

bool
ctl_params_uint(struct ctl_call *call, const json_t *params, const char *name, uint64_t min,
		uint64_t max, uint64_t *value)
{
	const json_t *json = json_object_get(params, name);
	json_int_t v = json_integer_value(json);

	if (!json)
		return true;
	if (!json_is_integer(json) || v < 0 || (uint64_t)v < min || (uint64_t)v > max) {
		ctl_call_error(call, CTL_E_PARAMS, "%s is a number from %llu to %llu", name,
				(unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*value = (uint64_t)v;
	return true;
}

bool
ctl_params_string(struct ctl_call *call, const json_t *params, const char *name, const char **value)
{
	const json_t *json = json_object_get(params, name);

	if (!json)
		return true;
	if (!json_is_string(json) || strlen(json_string_value(json)) != json_string_length(json)) {
		ctl_call_error(call, CTL_E_PARAMS, "%s is a string", name);
		return false;
	}
	*value = json_string_value(json);
	return true;
}

bool
ctl_params_bool(struct ctl_call *call, const json_t *params, const char *name, int *value)
{
	const json_t *json = json_object_get(params, name);

	*value = -1;
	if (!json)
		return true;
	if (!json_is_boolean(json)) {
		ctl_call_error(call, CTL_E_PARAMS, "%s is true or false", name);
		return false;
	}
	*value = json_is_true(json);
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* @return the bytes, or NULL where @p hex is not pairs of digits or there is no memory. */
static uint8_t *
hex_decode(const char *hex, size_t len)
{
	uint8_t *bytes = len % 2 == 0 ? malloc(len / 2 + 1) : NULL;

	for (size_t i = 0; bytes && i < len; i += 2) {
		int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);

		if (high < 0 || low < 0) {
			free(bytes);
			return NULL;
		}
		bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	return bytes;
}

bool
ctl_params_bytes(struct ctl_call *call, const json_t *params, const char *name,
		struct ctl_bytes *bytes)
{
	char hex_name[NAME_MAX_LEN + sizeof("_hex")];
	const json_t *text, *hex;

	snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
	text = json_object_get(params, name);
	hex = json_object_get(params, hex_name);
	*bytes = (struct ctl_bytes){ 0 };
	if (!text && !hex)
		return true;
	if (text && hex) {
		ctl_call_error(call, CTL_E_PARAMS, "%s or %s, not both", name, hex_name);
		return false;
	}
	if (json_is_string(text)) {
		bytes->data = (const uint8_t *)json_string_value(text);
		bytes->len = json_string_length(text);
	} else if (json_is_string(hex)) {
		bytes->owned = hex_decode(json_string_value(hex), json_string_length(hex));
		bytes->data = bytes->owned;
		bytes->len = json_string_length(hex) / 2;
	}
	if (bytes->data && bytes->len <= BYTES_MAX)
		return true;
	ctl_bytes_free(bytes);
	ctl_call_error(call, CTL_E_PARAMS, "%s is %s of at most %d bytes", text ? name : hex_name,
			text ? "a string" : "pairs of hexadecimal digits", BYTES_MAX);
	return false;
}

void
ctl_bytes_free(struct ctl_bytes *bytes)
{
	free(bytes->owned);
	*bytes = (struct ctl_bytes){ 0 };
}

bool
ctl_params_domain(struct ctl_call *call, const json_t *params, int *domain)
{
	const struct mqt_config *cfg = call->ctl->p.config;
	const char *name = NULL;

	*domain = -1;
	if (!ctl_params_string(call, params, "domain", &name))
		return false;
	if (!name)
		return true;
	for (int i = 0; i < cfg->n_domains; i++) {
		if (strcmp(cfg->domains[i], name) == 0)
			*domain = i;
	}
	if (*domain < 0)
		ctl_call_error(call, CTL_E_PARAMS, "unknown domain \"%.64s\"", name);
	return *domain >= 0;
}

bool
ctl_params_listener(struct ctl_call *call, const json_t *params, int *listener)
{
	const struct mqt_config *cfg = call->ctl->p.config;
	const char *name = NULL;

	*listener = -1;
	if (!ctl_params_string(call, params, "listener", &name))
		return false;
	if (!name)
		return true;
	for (int i = 0; i < cfg->n_listeners; i++) {
		if (strcmp(cfg->listeners[i].name, name) == 0)
			*listener = i;
	}
	if (*listener < 0)
		ctl_call_error(call, CTL_E_PARAMS, "unknown listener \"%.64s\"", name);
	return *listener >= 0;
}

/* Reads "192.0.2.1", "192.0.2.1:1883", "2001:db8::1" or "[2001:db8::1]:1883". @return 0, or -EINVAL. */
static int
endpoint_parse(const char *text, struct mqt_endpoint *ep)
{
	bool bracket = text[0] == '[';
	const char *ip = text + bracket, *end = strchr(ip, bracket ? ']' : ':');
	const char *port;
	char buf[MQT_ADDR_STRLEN];
	unsigned long n;

	if (!bracket && (!end || strchr(end + 1, ':'))) /* several colons: IPv6 without a port */
		return mqt_endpoint_parse_ip(text, ep);
	if (!end || (size_t)(end - ip) >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, ip, (size_t)(end - ip));
	buf[end - ip] = '\0';
	if (mqt_endpoint_parse_ip(buf, ep) != 0 || bracket != (ep->version == 6))
		return -EINVAL;
	port = end + bracket;
	if (*port++ != ':' || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port))
		return -EINVAL;
	n = strtoul(port, NULL, 10);
	if (n == 0 || n > UINT16_MAX)
		return -EINVAL;
	ep->port = (uint16_t)n;
	return 0;
}

bool
ctl_params_broker(struct ctl_call *call, const json_t *params, struct ctl_broker *broker)
{
	const struct mqt_config *cfg = call->ctl->p.config;
	const char *text = NULL;

	*broker = (struct ctl_broker){ 0 };
	if (!ctl_params_string(call, params, "broker", &text))
		return false;
	if (!text)
		return true;
	for (unsigned i = 0; i < cfg->n_brokers && !broker->name; i++) {
		if (strcmp(cfg->brokers[i].name, text) == 0)
			broker->name = cfg->brokers[i].name;
	}
	if (broker->name || endpoint_parse(text, &broker->address) == 0)
		return true;
	ctl_call_error(call, CTL_E_PARAMS,
			"unknown broker \"%.64s\": give a configured name, or address:port", text);
	return false;
}

bool
ctl_params_worker(struct ctl_call *call, const json_t *params, uint64_t *worker)
{
	unsigned n = ctl_n_workers(call->ctl);

	return ctl_params_uint(
			call, params, "worker", 0, n > 0 ? n - 1 : MQT_CHAN_WORKER_MAX, worker);
}

bool
ctl_params_channel(struct ctl_call *call, const json_t *params, mqt_chan_id *id)
{
	const char *text = NULL;

	*id = MQT_CHAN_NONE;
	if (!ctl_params_string(call, params, "channel", &text))
		return false;
	if (!text || mqt_chan_id_parse(text, id) == 0)
		return true;
	ctl_call_error(call, CTL_E_PARAMS, "channel is an id like 01-00-000007-000001");
	return false;
}

bool
ctl_params_reason(struct ctl_call *call, const json_t *params, bool *given, uint8_t *code)
{
	const json_t *json = json_object_get(params, "reason");
	json_int_t number = json_integer_value(json);
	bool ok = !json;

	*given = json != NULL;
	if (json_is_integer(json) && number >= 0 &&
			mqt_mqtt_server_disconnect_is((uint64_t)number)) {
		*code = (uint8_t)number;
		ok = true;
	} else if (json_is_string(json) &&
			strlen(json_string_value(json)) == json_string_length(json)) {
		ok = mqt_mqtt_server_disconnect_parse(json_string_value(json), code);
	}
	if (!ok)
		ctl_call_error(call, CTL_E_PARAMS,
				"reason is a code that a server may send in DISCONNECT of MQTT "
				"5.0, as "
				"152, or its name, as administrative_action");
	return ok;
}
