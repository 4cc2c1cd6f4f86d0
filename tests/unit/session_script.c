/* SPDX-License-Identifier: BSD-3-Clause */
#include "session_script.h"

#include "check.h"
#include "mqtrack/mqtt.h"

#define MAX_BODY 512

struct bytes {
	uint8_t ptr[4096];
	size_t len;
};

static void
bad_script(const char *at)
{
	printf("[%s] bad script at: %s\n", check_row, at);
	abort();
}

static void
put(struct bytes *b, unsigned byte)
{
	b->ptr[b->len++] = (uint8_t)byte;
}

static void
put_u16(struct bytes *b, unsigned value)
{
	put(b, value >> 8);
	put(b, value & 0xff);
}

static const char *
put_hex(struct bytes *b, const char *s)
{
	char digits[3] = { 0 };

	while (strchr("0123456789abcdef ", *s) != NULL && *s != '\0') {
		if (*s == ' ') {
			s++;
			continue;
		}
		memcpy(digits, s, 2);
		put(b, (unsigned)strtoul(digits, NULL, 16));
		s += 2;
	}
	return s;
}

/* "(a:1,b:0)", "(a,b)" or "(01,80)" */
static const char *
put_list(struct bytes *b, const char *s, unsigned type)
{
	bool filters = type == MQT_MQTT_SUBSCRIBE || type == MQT_MQTT_UNSUBSCRIBE;

	if (*s != '(')
		return s;
	for (s++; *s != ')'; s += *s == ',') {
		size_t n = strcspn(s, ":,)");

		if (!filters) {
			s = put_hex(b, s);
			continue;
		}
		put_u16(b, (unsigned)n);
		memcpy(b->ptr + b->len, s, n);
		b->len += n;
		s += n;
		if (*s == ':')
			s = put_hex(b, s + 1);
	}
	return s + 1;
}

static const struct {
	const char *name;
	uint8_t first;
} words[] = {
	{ "pub0", 0x30 },
	{ "pub1", 0x32 },
	{ "pub2", 0x34 },
	{ "dup1", 0x3a },
	{ "dup2", 0x3c },
	{ "puback", 0x40 },
	{ "pubrec", 0x50 },
	{ "pubrel", 0x62 },
	{ "pubcomp", 0x70 },
	{ "sub", 0x82 },
	{ "suback", 0x90 },
	{ "unsub", 0xa2 },
	{ "unsuback", 0xb0 },
	{ "ping", 0xc0 },
};

/* Encodes one word; @p s behind '<' or '>'. */
static void
encode(struct bytes *out, const char *s, uint8_t version)
{
	size_t n = strcspn(s, "/");
	struct bytes body = { .len = 0 }, properties = { .len = 0 };
	uint8_t first = 0;
	unsigned type;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].name) == n && strncmp(words[i].name, s, n) == 0)
			first = words[i].first;
	if (first == 0)
		bad_script(s);
	type = first >> 4;
	s += n;
	if (type == MQT_MQTT_PUBLISH) {
		put_u16(&body, 1);
		put(&body, 't');
	}
	if (*s == '/') {
		put_u16(&body, (unsigned)strtoul(s + 1, NULL, 10));
		s += 1 + strspn(s + 1, "0123456789");
	}
	if (*s == '=')
		s = put_hex(&body, s + 1);
	if (*s == '{')
		s = put_hex(&properties, s + 1) + 1;
	if (version == 5 &&
			((type >= MQT_MQTT_SUBSCRIBE && type <= MQT_MQTT_UNSUBACK) ||
					type == MQT_MQTT_PUBLISH)) {
		put(&body, (unsigned)properties.len);
		memcpy(body.ptr + body.len, properties.ptr, properties.len);
		body.len += properties.len;
	}
	s = put_list(&body, s, type);
	if (*s == '!')
		while (body.len <= MAX_BODY)
			put(&body, 0);
	put(out, first);
	if (body.len > 127)
		put(out, 0x80 | (body.len & 0x7f));
	put(out, (unsigned)(body.len > 127 ? body.len >> 7 : body.len));
	memcpy(out->ptr + out->len, body.ptr, body.len);
	out->len += body.len;
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	struct script *script = arg;

	script->n_missed += mqt_session_apply(
			script->session, &script->limits, script->sender, script->version, packet);
}

static void
send_word(struct script *script, const char *s)
{
	struct bytes packet = { .len = 0 };
	struct mqt_mqtt_seen seen = { 0 };
	struct mqt_mqtt_tap tap = { 0 };

	if (strncmp(s + 1, "raw:", 4) == 0)
		put_hex(&packet, s + 5);
	else
		encode(&packet, s + 1, script->version);
	script->sender = *s == '>' ? MQT_SESSION_FROM_CLIENT : MQT_SESSION_TO_CLIENT;
	CHECK(mqt_mqtt_tap_feed(&tap, packet.ptr, packet.len, script->version, MAX_BODY, &seen,
			on_packet, script));
	CHECK_EQ(seen.packets, 1);
	mqt_mqtt_tap_fini(&tap);
}

void
script_word(struct script *script, const char *s)
{
	struct mqt_session_final final = { .expiry_sec = 7 };

	if (strcmp(s, "split") == 0) {
		CHECK(script->pendings == NULL);
		script->pendings = mqt_session_split_pendings(script->session);
	} else if (strcmp(s, "join") == 0) {
		mqt_session_join_pendings(script->session, script->pendings);
		script->pendings = NULL;
	} else if (strcmp(s, "final") == 0) {
		mqt_session_set_final(script->session, &final);
	} else if (*s == '<' || *s == '>') {
		send_word(script, s);
	} else {
		bad_script(s);
	}
}

void
script_run(struct script *script, const char *text)
{
	char *copy = strdup(text), *save = NULL;

	check_row = text;

	for (char *s = strtok_r(copy, " ", &save); s != NULL; s = strtok_r(NULL, " ", &save))
		script_word(script, s);
	free(copy);
}

struct script
script_start(uint8_t version, uint32_t filters, uint32_t inflight)
{
	return (struct script){ .session = mqt_session_create(),
		.limits = { filters, inflight, UINT32_MAX },
		.version = version };
}

void
script_end(struct script *script)
{
	mqt_session_destroy(script->session);
	free(script->pendings);
}

const char *
script_dump(const struct mqt_session *session)
{
	static char text[8192];
	struct mqt_session_counts counts;
	enum mqt_inflight_state state;
	struct mqt_bytes filter;
	size_t len = 0;
	uint16_t id;
	uint8_t qos;
	unsigned i;

#define ADD(...) len += (size_t)snprintf(text + len, sizeof(text) - len, __VA_ARGS__)
	mqt_session_counts(session, &counts);
	for (i = 0; mqt_session_filter(session, i, &filter, &qos); i++)
		ADD("%.*s:%u ", (int)filter.len, (const char *)filter.ptr, qos);
	CHECK_EQ(counts.filters, i);
	for (int dir = 0; dir < MQT_SESSION_N_DIRS; dir++) {
		ADD("|");
		for (i = 0; mqt_session_inflight(session, dir, i, &id, &state); i++)
			ADD(" %u%c", id, "pcl"[state]);
		CHECK_EQ(counts.inflight[dir], i);
		ADD(" ");
	}
	ADD("| %u | %u %u", counts.pendings, (unsigned)counts.filters_missed,
			(unsigned)counts.inflight_missed);
#undef ADD
	return text;
}
