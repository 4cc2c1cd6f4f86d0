/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * PROXY protocol. Version 1 is a line of text, version 2 a binary header with TLVs behind its
 * addresses; the first byte tells them apart. Nothing is kept between two calls: a line is at most
 * 107 bytes, and version 2 says its length in its first 16.
 *
 * Both are read as strictly as they are written down, for a header that the broker reads otherwise
 * would show the tracker another client, or another begin of the MQTT stream.
 *
 * Source: The PROXY protocol §2.1, §2.2, §2.2.6.
 */

#include "mqtrack/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V2_HEAD    16
#define V2_LOCAL   0x20
#define V2_PROXY   0x21
#define V2_UNSPEC  0x00
#define V2_TCP4    0x11
#define V2_TCP6    0x21
#define TCP4_LEN   12
#define TCP6_LEN   36
#define UNIX_LEN   216
#define TLV_SSL    0x20
#define TLV_SSL_CN 0x22
#define TLV_HEAD   3
#define SSL_HEAD   5 /* of TLV_SSL: client bits and verify */

static const uint8_t v2_signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55,
	0x49, 0x54, 0x0a };
static const char v1_prefix[6] = "PROXY ";

static const char *const error_names[] = {
	[MQT_PROXY_E_NONE] = "none",
	[MQT_PROXY_E_ABSENT] = "absent",
	[MQT_PROXY_E_LINE] = "line",
	[MQT_PROXY_E_VERSION] = "version",
	[MQT_PROXY_E_FAMILY] = "family",
	[MQT_PROXY_E_LENGTH] = "length",
};

_Static_assert(sizeof(error_names) / sizeof(error_names[0]) == MQT_PROXY_N_ERRORS, "a name each");

const char *
mqt_proxy_error_name(enum mqt_proxy_error error)
{
	return (unsigned)error < MQT_PROXY_N_ERRORS ? error_names[error] : "unknown";
}

static enum mqt_parse
bad(enum mqt_proxy_error *out, enum mqt_proxy_error error)
{
	if (out)
		*out = error;
	return MQT_PARSE_BAD;
}

/* --- version 1 --------------------------------------------------------------------------------- */

/* Copies the next word of a line, and the space behind it where it is not the last one. */
static bool
word_take(const char **at, const char *end, char *word, size_t size, bool last)
{
	const char *space = memchr(*at, ' ', (size_t)(end - *at));
	const char *word_end = space ? space : end;
	size_t len = (size_t)(word_end - *at);

	if (len == 0 || len >= size || (space == NULL) != last || memchr(*at, 0, len))
		return false;
	memcpy(word, *at, len);
	word[len] = '\0';
	*at = last ? end : word_end + 1;
	return true;
}

/* A port in decimal, without a leading zero. */
static bool
port_read(const char *word, uint16_t *port)
{
	uint32_t n = 0;

	if (word[0] == '0' && word[1] != '\0')
		return false;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return false;
		n = 10 * n + (uint32_t)(*word - '0');
	}
	*port = (uint16_t)n;
	return n <= UINT16_MAX; /* five digits at most, see the size of the word */
}

/* Both addresses, then both ports. */
static bool
line_read(const char *at, const char *end, uint16_t version, struct mqt_proxy *out)
{
	struct mqt_endpoint *ep[2] = { &out->src, &out->dst };
	int family = version == 4 ? AF_INET : AF_INET6;
	char word[MQT_ADDR_STRLEN], port[6];

	for (unsigned i = 0; i < 2; i++) {
		if (!word_take(&at, end, word, sizeof(word), false) ||
				inet_pton(family, word, ep[i]->ip) != 1)
			return false;
		ep[i]->version = version;
	}
	for (unsigned i = 0; i < 2; i++)
		if (!word_take(&at, end, port, sizeof(port), i == 1) ||
				!port_read(port, &ep[i]->port))
			return false;
	return true;
}

static enum mqt_parse
v1_parse(const uint8_t *data, size_t len, struct mqt_proxy *out, enum mqt_proxy_error *error)
{
	size_t looked_at = len < MQT_PROXY_V1_MAX ? len : MQT_PROXY_V1_MAX;
	const char *lf = memchr(data, '\n', looked_at), *at, *end;
	char family[8];

	if (!lf)
		return len < MQT_PROXY_V1_MAX ? MQT_PARSE_MORE : bad(error, MQT_PROXY_E_LINE);
	at = (const char *)data + sizeof(v1_prefix);
	end = lf - 1;
	if (end < at || *end != '\r')
		return bad(error, MQT_PROXY_E_LINE);
	*out = (struct mqt_proxy){ .len = (uint32_t)(lf + 1 - (const char *)data), .version = 1 };
	if (end - at >= 7 && memcmp(at, "UNKNOWN", 7) == 0 && (at + 7 == end || at[7] == ' '))
		return MQT_PARSE_OK; /* what follows is to be ignored */
	if (!word_take(&at, end, family, sizeof(family), false))
		return bad(error, MQT_PROXY_E_LINE);
	if (strcmp(family, "TCP4") == 0 && line_read(at, end, 4, out))
		return MQT_PARSE_OK;
	if (strcmp(family, "TCP6") == 0 && line_read(at, end, 6, out))
		return MQT_PARSE_OK;
	return bad(error, MQT_PROXY_E_LINE);
}

/* --- version 2 --------------------------------------------------------------------------------- */

static uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Finds a TLV. @return false: one of them passes the end. */
static bool
tlv_find(struct mqt_bytes all, uint8_t type, struct mqt_bytes *found)
{
	*found = (struct mqt_bytes){ 0 };
	while (all.len > 0) {
		uint32_t len;

		if (all.len < TLV_HEAD)
			return false;
		len = be16(all.ptr + 1);
		if (len > all.len - TLV_HEAD)
			return false;
		if (all.ptr[0] == type && !found->ptr)
			*found = (struct mqt_bytes){ all.ptr + TLV_HEAD, len };
		all.ptr += TLV_HEAD + len;
		all.len -= TLV_HEAD + len;
	}
	return true;
}

static enum mqt_proxy_error
tlvs_read(struct mqt_bytes all, struct mqt_proxy *out)
{
	struct mqt_bytes ssl;

	if (!tlv_find(all, TLV_SSL, &ssl))
		return MQT_PROXY_E_LENGTH;
	if (!ssl.ptr)
		return MQT_PROXY_E_NONE;
	if (ssl.len < SSL_HEAD)
		return MQT_PROXY_E_LENGTH;
	ssl.ptr += SSL_HEAD;
	ssl.len -= SSL_HEAD;
	return tlv_find(ssl, TLV_SSL_CN, &out->cert_cn) ? MQT_PROXY_E_NONE : MQT_PROXY_E_LENGTH;
}

/* Bytes of addresses for a family and transport (§2.2), -1: unknown. */
static int
addresses_len(uint8_t family)
{
	if (family >> 4 > 3 || (family & 0x0f) > 2)
		return -1;
	if ((family >> 4 == 0) != ((family & 0x0f) == 0))
		return family == V2_UNSPEC ? 0 : -1;
	switch (family >> 4) {
	case 1:
		return TCP4_LEN;
	case 2:
		return TCP6_LEN;
	case 3:
		return UNIX_LEN;
	default:
		return 0;
	}
}

static void
addresses_read(const uint8_t *p, uint8_t family, struct mqt_proxy *out)
{
	unsigned ip_len = family == V2_TCP4 ? 4 : 16;

	if (family != V2_TCP4 && family != V2_TCP6)
		return;
	out->src.version = out->dst.version = family == V2_TCP4 ? 4 : 6;
	memcpy(out->src.ip, p, ip_len);
	memcpy(out->dst.ip, p + ip_len, ip_len);
	out->src.port = be16(p + 2 * ip_len);
	out->dst.port = be16(p + 2 * ip_len + 2);
}

/* A whole header. */
static enum mqt_proxy_error
v2_read(const uint8_t *data, uint32_t len, struct mqt_proxy *out)
{
	int n = addresses_len(data[13]);
	struct mqt_bytes tlvs;

	*out = (struct mqt_proxy){ .len = len, .version = 2, .local = data[12] == V2_LOCAL };
	if (out->local) /* the rest is to be ignored */
		return MQT_PROXY_E_NONE;
	if (n < 0)
		return MQT_PROXY_E_FAMILY;
	if (V2_HEAD + (uint32_t)n > len)
		return MQT_PROXY_E_LENGTH;
	addresses_read(data + V2_HEAD, data[13], out);
	if (data[13] == V2_UNSPEC)
		return MQT_PROXY_E_NONE; /* nothing behind it can be relied on */
	tlvs = (struct mqt_bytes){ data + V2_HEAD + n, len - V2_HEAD - (uint32_t)n };
	return tlvs_read(tlvs, out);
}

static enum mqt_parse
v2_parse(const uint8_t *data, size_t len, struct mqt_proxy *out, enum mqt_proxy_error *error)
{
	enum mqt_proxy_error e;
	uint32_t whole;

	if (len > 12 && data[12] != V2_LOCAL && data[12] != V2_PROXY)
		return bad(error, MQT_PROXY_E_VERSION);
	if (len < V2_HEAD)
		return MQT_PARSE_MORE;
	whole = V2_HEAD + be16(data + 14);
	if (whole > MQT_PROXY_MAX)
		return bad(error, MQT_PROXY_E_LENGTH);
	if (len < whole)
		return MQT_PARSE_MORE;
	e = v2_read(data, whole, out);
	return e == MQT_PROXY_E_NONE ? MQT_PARSE_OK : bad(error, e);
}

/* --- either ------------------------------------------------------------------------------------ */

/* As far as it is there, the begin of the stream is this. */
static bool
begins(const uint8_t *data, size_t len, const void *with, size_t with_len)
{
	return memcmp(data, with, len < with_len ? len : with_len) == 0;
}

enum mqt_parse
mqt_proxy_parse(const uint8_t *data, size_t len, struct mqt_proxy *out, enum mqt_proxy_error *error)
{
	if (len == 0)
		return MQT_PARSE_MORE;
	if (begins(data, len, v1_prefix, sizeof(v1_prefix)))
		return len < sizeof(v1_prefix) ? MQT_PARSE_MORE : v1_parse(data, len, out, error);
	if (begins(data, len, v2_signature, sizeof(v2_signature)))
		return v2_parse(data, len, out, error);
	return bad(error, MQT_PROXY_E_ABSENT);
}

/* --- encoder ----------------------------------------------------------------------------------- */

static size_t
v1_encode(uint8_t *buf, size_t cap, const struct mqt_proxy *proxy)
{
	int family = proxy->src.version == 4 ? AF_INET : AF_INET6, n;
	char line[MQT_PROXY_V1_MAX + 1], src[MQT_ADDR_STRLEN], dst[MQT_ADDR_STRLEN];

	if (proxy->src.version == 0) {
		n = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
	} else {
		inet_ntop(family, proxy->src.ip, src, sizeof(src));
		inet_ntop(family, proxy->dst.ip, dst, sizeof(dst));
		n = snprintf(line, sizeof(line), "PROXY TCP%u %s %s %u %u\r\n", proxy->src.version,
				src, dst, proxy->src.port, proxy->dst.port);
	}
	if (n < 0 || (size_t)n > cap)
		return 0;
	memcpy(buf, line, (size_t)n);
	return (size_t)n;
}

static void
put_be16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void
put_tlv_head(uint8_t *p, uint8_t type, size_t len)
{
	p[0] = type;
	put_be16(p + 1, len);
}

/* Both addresses, both ports. @return bytes. */
static size_t
put_addresses(uint8_t *p, const struct mqt_proxy *proxy)
{
	size_t ip_len = proxy->src.version == 4 ? 4 : 16;

	memcpy(p, proxy->src.ip, ip_len);
	memcpy(p + ip_len, proxy->dst.ip, ip_len);
	put_be16(p + 2 * ip_len, proxy->src.port);
	put_be16(p + 2 * ip_len + 2, proxy->dst.port);
	return 2 * ip_len + 4;
}

static size_t
v2_encode(uint8_t *buf, size_t cap, const struct mqt_proxy *proxy)
{
	size_t cn_len = proxy->cert_cn.len, n = V2_HEAD;

	if (cap < V2_HEAD + TCP6_LEN + 2 * TLV_HEAD + SSL_HEAD + cn_len || cn_len > 1024)
		return 0;
	memcpy(buf, v2_signature, sizeof(v2_signature));
	buf[12] = proxy->local || proxy->src.version == 0 ? V2_LOCAL : V2_PROXY;
	buf[13] = proxy->src.version == 4 ? V2_TCP4 : proxy->src.version == 6 ? V2_TCP6 : V2_UNSPEC;
	if (proxy->src.version != 0)
		n += put_addresses(buf + n, proxy);
	if (cn_len > 0) {
		put_tlv_head(buf + n, TLV_SSL, SSL_HEAD + TLV_HEAD + cn_len);
		n += TLV_HEAD;
		memcpy(buf + n, "\x07\0\0\0\0", SSL_HEAD); /* over TLS, certificate verified */
		n += SSL_HEAD;
		put_tlv_head(buf + n, TLV_SSL_CN, cn_len);
		memcpy(buf + n + TLV_HEAD, proxy->cert_cn.ptr, cn_len);
		n += TLV_HEAD + cn_len;
	}
	put_be16(buf + 14, n - V2_HEAD);
	return n;
}

size_t
mqt_proxy_encode(uint8_t *buf, size_t cap, const struct mqt_proxy *proxy)
{
	bool two_families = proxy->src.version != proxy->dst.version;

	if (two_families ||
			(proxy->src.version != 0 && proxy->src.version != 4 &&
					proxy->src.version != 6))
		return 0;
	switch (proxy->version) {
	case 1:
		return proxy->cert_cn.len == 0 && !proxy->local ? v1_encode(buf, cap, proxy) : 0;
	case 2:
		return v2_encode(buf, cap, proxy);
	default:
		return 0;
	}
}
