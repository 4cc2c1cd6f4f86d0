/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The HTTP heads that begin a WebSocket: a scan that finds where a head ends, byte by byte, and
 * two judges of a whole head.
 *
 * A head is judged once, when it is whole; the scan keeps all state between two bytes, so the
 * cost is linear however it is cut. The judges are stricter than servers are: what two readers
 * could understand differently (folded lines, lone line ends, a body, a field that must be there
 * once and is there twice) is refused, for the tracker must not see another stream than the broker.
 *
 * Sources: RFC 6455 §4.1, §4.2, §11.3; RFC 9112 §2.2, §3, §5; MQTT 5.0 §6.
 */

#include "mqtrack/ws.h"

#include <string.h>
#include <strings.h>

static const char *const error_names[] = {
	[MQT_WS_E_NONE] = "none",
	[MQT_WS_E_HTTP] = "http",
	[MQT_WS_E_UPGRADE] = "upgrade",
	[MQT_WS_E_SUBPROTOCOL] = "subprotocol",
	[MQT_WS_E_EXTENSION] = "extension",
	[MQT_WS_E_RESERVED] = "reserved",
	[MQT_WS_E_TEXT] = "text",
	[MQT_WS_E_MASK] = "mask",
	[MQT_WS_E_LENGTH] = "length",
	[MQT_WS_E_FRAGMENT] = "fragment",
};

_Static_assert(sizeof(error_names) / sizeof(error_names[0]) == MQT_WS_N_ERRORS, "a name each");

const char *
mqt_ws_error_name(enum mqt_ws_error error)
{
	return (unsigned)error < MQT_WS_N_ERRORS ? error_names[error] : "unknown";
}

/* --- where a head ends ------------------------------------------------------------------------- */

enum scan_state {
	SCAN_LINE,      /* in a line */
	SCAN_CR,        /* behind the CR of a line */
	SCAN_LINE_END,  /* behind CR LF */
	SCAN_EMPTY_LINE /* behind the CR of an empty line */
};

/* A byte of a line: visible, space, tab, or of no character set in particular. */
static bool
is_text(uint8_t byte)
{
	return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

enum mqt_parse
mqt_ws_scan_feed(struct mqt_ws_scan *scan, const uint8_t *data, size_t len, size_t *used)
{
	for (*used = 0; *used < len; ++*used) {
		uint8_t byte = data[*used];

		switch (scan->state) {
		case SCAN_CR:
		case SCAN_EMPTY_LINE:
			if (byte != '\n')
				return MQT_PARSE_BAD;
			scan->len++;
			if (scan->state == SCAN_EMPTY_LINE) {
				++*used;
				return MQT_PARSE_OK;
			}
			scan->state = SCAN_LINE_END;
			continue;
		case SCAN_LINE_END:
			if (byte == ' ' || byte == '\t') /* a folded line, RFC 9112 §5.2 */
				return MQT_PARSE_BAD;
			break;
		default:
			break;
		}
		if (byte != '\r' && !is_text(byte))
			return MQT_PARSE_BAD;
		if (byte == '\r')
			scan->state = scan->state == SCAN_LINE_END ? SCAN_EMPTY_LINE : SCAN_CR;
		else
			scan->state = SCAN_LINE;
		scan->len++;
	}
	return MQT_PARSE_MORE;
}

/* --- fields ------------------------------------------------------------------------------------ */

struct text {
	const char *ptr;
	size_t len;
};

static bool
text_is(struct text t, const char *word)
{
	return t.len == strlen(word) && strncasecmp(t.ptr, word, t.len) == 0;
}

static struct text
trim(struct text t)
{
	while (t.len > 0 && (t.ptr[0] == ' ' || t.ptr[0] == '\t')) {
		t.ptr++;
		t.len--;
	}
	while (t.len > 0 && (t.ptr[t.len - 1] == ' ' || t.ptr[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* Splits off what is before @p by, or all. */
static struct text
split(struct text *rest, char by)
{
	const char *at = rest->len > 0 ? memchr(rest->ptr, by, rest->len) : NULL;
	struct text part = { rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len };
	size_t gone = part.len + (at ? 1 : 0);

	rest->ptr += gone;
	rest->len -= gone;
	return part;
}

/* Whether a list, its elements parted by commas, has the word. */
static bool
list_has(struct text list, const char *word)
{
	while (list.len > 0)
		if (text_is(trim(split(&list, ',')), word))
			return true;
	return false;
}

static bool
list_is_empty(struct text list)
{
	while (list.len > 0)
		if (trim(split(&list, ',')).len > 0)
			return false;
	return true;
}

/* What the fields of a head say. */
struct fields {
	bool upgrade, connection, key, accept, version, mqtt, extension, body;
	unsigned n_keys, n_versions;
	unsigned n_subprotocols; /* fields, not elements */
};

static void
field_take(struct fields *f, struct text name, struct text value)
{
	if (text_is(name, "Upgrade")) {
		f->upgrade |= list_has(value, "websocket");
	} else if (text_is(name, "Connection")) {
		f->connection |= list_has(value, "Upgrade");
	} else if (text_is(name, "Sec-WebSocket-Key")) {
		f->key = value.len > 0;
		f->n_keys++;
	} else if (text_is(name, "Sec-WebSocket-Accept")) {
		f->accept = value.len > 0;
		f->n_keys++;
	} else if (text_is(name, "Sec-WebSocket-Version")) {
		f->version = text_is(value, "13");
		f->n_versions++;
	} else if (text_is(name, "Sec-WebSocket-Protocol")) {
		f->mqtt |= list_has(value, "mqtt") || list_has(value, "mqttv3.1");
		f->n_subprotocols++;
	} else if (text_is(name, "Sec-WebSocket-Extensions")) {
		f->extension |= !list_is_empty(value);
	} else if (text_is(name, "Content-Length")) {
		f->body |= !text_is(value, "0");
	} else if (text_is(name, "Transfer-Encoding")) {
		f->body = true;
	}
}

/* A character of a field name (RFC 9110 §5.6.2). */
static bool
is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			(c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
name_valid(struct text name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!is_token(name.ptr[i]))
			return false;
	return name.len > 0;
}

/* Splits off a line without its CR LF, which the scan has found to be there. */
static struct text
split_line(struct text *rest)
{
	struct text line = split(rest, '\n');

	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* Reads the lines behind the first one. */
static bool
fields_read(struct text rest, struct fields *f)
{
	for (;;) {
		struct text line = split_line(&rest), name;

		if (line.len == 0)
			return rest.len == 0;
		name = split(&line, ':');
		if (name.ptr + name.len == line.ptr || !name_valid(name))
			return false; /* no colon */
		field_take(f, name, trim(line));
	}
}

/* --- the judges -------------------------------------------------------------------------------- */

/* GET, a target, HTTP/1.1, a space between each. */
static enum mqt_ws_error
request_line_check(struct text line)
{
	struct text method = split(&line, ' '), target = split(&line, ' ');

	if (target.len == 0 || !text_is(line, "HTTP/1.1") || memcmp(line.ptr, "HTTP", 4) != 0)
		return MQT_WS_E_HTTP;
	return method.len == 3 && memcmp(method.ptr, "GET", 3) == 0 ? MQT_WS_E_NONE
								    : MQT_WS_E_UPGRADE;
}

enum mqt_ws_error
mqt_ws_request_check(const uint8_t *head, size_t len)
{
	struct text rest = { (const char *)head, len };
	struct fields f = { 0 };
	enum mqt_ws_error e = request_line_check(split_line(&rest));

	if (e != MQT_WS_E_NONE)
		return e;
	if (!fields_read(rest, &f) || f.body)
		return MQT_WS_E_HTTP;
	if (!f.upgrade || !f.connection || !f.key || f.n_keys != 1 || !f.version ||
			f.n_versions != 1)
		return MQT_WS_E_UPGRADE;
	return f.mqtt ? MQT_WS_E_NONE : MQT_WS_E_SUBPROTOCOL;
}

/* HTTP/1.1, three digits, anything or nothing. */
static enum mqt_ws_error
status_line_check(struct text line)
{
	struct text version = split(&line, ' '), status = split(&line, ' ');

	if (!text_is(version, "HTTP/1.1") || memcmp(version.ptr, "HTTP", 4) != 0 || status.len != 3)
		return MQT_WS_E_HTTP;
	return text_is(status, "101") ? MQT_WS_E_NONE : MQT_WS_E_UPGRADE;
}

enum mqt_ws_error
mqt_ws_response_check(const uint8_t *head, size_t len)
{
	struct text rest = { (const char *)head, len };
	struct fields f = { 0 };
	enum mqt_ws_error e = status_line_check(split_line(&rest));

	if (e != MQT_WS_E_NONE)
		return e;
	if (!fields_read(rest, &f))
		return MQT_WS_E_HTTP;
	if (!f.upgrade || !f.connection || !f.accept || f.n_keys != 1)
		return MQT_WS_E_UPGRADE;
	if (!f.mqtt || f.n_subprotocols != 1)
		return MQT_WS_E_SUBPROTOCOL;
	return f.extension ? MQT_WS_E_EXTENSION : MQT_WS_E_NONE;
}
