/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * PROXY protocol. Each row is parsed whole, with more behind it, and at every length below its own,
 * each time in an allocation of that size: MORE until the verdict is due, then always the same.
 */

#include "check.h"
#include "hex.h"
#include "mqtrack/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define N_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

static enum mqt_parse
parse(const uint8_t *data, size_t len, struct mqt_proxy *out, enum mqt_proxy_error *error)
{
	static uint8_t cn[MQT_PROXY_MAX];
	uint8_t *copy = malloc(len ? len : 1);
	enum mqt_parse r;

	memcpy(copy, data, len);
	r = mqt_proxy_parse(copy, len, out, error);
	if (r == MQT_PARSE_OK && out->cert_cn.len > 0) {
		memcpy(cn, out->cert_cn.ptr, out->cert_cn.len);
		out->cert_cn.ptr = cn;
	}
	free(copy);
	return r;
}

/* Each length below that of the verdict is MORE, each above it the verdict. */
static void
check_cuts(const uint8_t *data, size_t len, enum mqt_parse want, size_t verdict_at)
{
	for (size_t n = 0; n <= len; n++) {
		struct mqt_proxy proxy;
		enum mqt_proxy_error error;

		CHECK_EQ(parse(data, n, &proxy, &error), n < verdict_at ? MQT_PARSE_MORE : want);
	}
}

/* --- version 1 --------------------------------------------------------------------------------- */

static const struct line {
	const char *text;
	enum mqt_proxy_error want;
	const char *src; /* NULL: not told */
	uint16_t port;
} lines[] = {
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 56324 1883\r\n", 0, "192.0.2.1", 56324 },
	{ "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 0, "255.255.255.255",
			65535 },
	{ "PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n", 0, "2001:db8::1", 1 },
	{ "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
			0, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535 },
	{ "PROXY UNKNOWN\r\n", 0, NULL, 0 },
	{ "PROXY UNKNOWN anything at all\r\n", 0, NULL, 0 },
	{ "PROXY UNKNOWNX\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY \r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP5 192.0.2.1 192.0.2.11 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 1\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 1 2 \r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 1 2 3\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY  TCP4 192.0.2.1 192.0.2.11 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1  192.0.2.11 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.256 192.0.2.11 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP6 192.0.2.1 192.0.2.11 1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 65536 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 01 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 -1 2\r\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 1 2\n", MQT_PROXY_E_LINE, NULL, 0 },
	{ "PROXY TCP4 192.0.2.1 192.0.2.11 1 2\r\r\n", MQT_PROXY_E_LINE, NULL, 0 },
};

static void
check_src(const struct mqt_proxy *proxy, const char *src, uint16_t port)
{
	char text[MQT_ADDR_STRLEN] = "";

	CHECK_EQ(proxy->src.version, src == NULL ? 0 : strchr(src, ':') ? 6 : 4);
	CHECK_EQ(proxy->src.version, proxy->dst.version);
	CHECK_EQ(proxy->src.port, port);
	if (src == NULL)
		return;
	inet_ntop(proxy->src.version == 4 ? AF_INET : AF_INET6, proxy->src.ip, text, sizeof(text));
	CHECK_STR(text, src);
}

static void
test_lines_are_read_as_their_table_says(void)
{
	for (size_t i = 0; i < N_OF(lines); i++) {
		const struct line *row = &lines[i];
		size_t len = strlen(row->text);
		enum mqt_parse want = row->want ? MQT_PARSE_BAD : MQT_PARSE_OK;
		enum mqt_proxy_error error = MQT_PROXY_E_NONE;
		struct mqt_proxy proxy = { 0 };
		uint8_t more[256];

		check_row = row->text;
		memcpy(more, row->text, len);
		memcpy(more + len, "\x10\x0c\n", 3);
		CHECK_EQ(parse(more, len + 3, &proxy, &error), want);
		CHECK_EQ(error, row->want);
		check_cuts(more, len + 3, want, len);
		if (row->want)
			continue;
		CHECK_EQ(proxy.version, 1);
		CHECK_EQ(proxy.len, len);
		CHECK(!proxy.local);
		check_src(&proxy, row->src, row->port);
	}
}

static void
test_a_line_ends_within_107_bytes(void)
{
	uint8_t line[MQT_PROXY_V1_MAX + 2];
	struct mqt_proxy proxy;
	enum mqt_proxy_error error;

	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	memcpy(line + MQT_PROXY_V1_MAX - 2, "\r\n", 2);
	CHECK_EQ(parse(line, MQT_PROXY_V1_MAX, &proxy, &error), MQT_PARSE_OK);
	CHECK_EQ(proxy.len, MQT_PROXY_V1_MAX);
	memcpy(line + MQT_PROXY_V1_MAX - 2, "x\r\n", 3);
	CHECK_EQ(parse(line, MQT_PROXY_V1_MAX - 1, &proxy, &error), MQT_PARSE_MORE);
	CHECK_EQ(parse(line, MQT_PROXY_V1_MAX, &proxy, &error), MQT_PARSE_BAD);
	CHECK_EQ(error, MQT_PROXY_E_LINE);
	CHECK_EQ(parse(line, MQT_PROXY_V1_MAX + 1, &proxy, &error), MQT_PARSE_BAD);
}

static void
test_what_begins_otherwise_is_absent(void)
{
	static const char *const rows[] = { "\x10\x0c", "GET / HTTP/1.1\r\n", "PROXI ", "proxy ",
		"\r\n\r\n\x01", "\r\r", "\x16\x03\x01" };
	struct mqt_proxy proxy;

	for (size_t i = 0; i < N_OF(rows); i++) {
		enum mqt_proxy_error error = MQT_PROXY_E_NONE;

		check_row = rows[i];
		CHECK_EQ(parse((const uint8_t *)rows[i], strlen(rows[i]), &proxy, &error),
				MQT_PARSE_BAD);
		CHECK_EQ(error, MQT_PROXY_E_ABSENT);
		CHECK_EQ(mqt_proxy_parse((const uint8_t *)rows[i], strlen(rows[i]), &proxy, NULL),
				MQT_PARSE_BAD);
	}
}

/* --- version 2 --------------------------------------------------------------------------------- */

#define SIGNATURE "0d0a0d0a000d0a515549540a "
#define ADDR4     "c0000201 c000020b dc04 075b "
#define ADDR6     "20010db8000000000000000000000001 20010db8000000000000000000000002 0001 0002 "
#define ADDR_UNIX                                                                                  \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"   \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"   \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"   \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"   \
	"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

static const struct binary {
	const char *name, *hex;
	enum mqt_proxy_error want;
	size_t verdict_at; /* 0: when it is whole */
	const char *src;
	uint16_t port;
	const char *cn;
	bool local;
} binaries[] = {
	{ "TCP4", SIGNATURE "21 11 000c" ADDR4, 0, 0, "192.0.2.1", 56324, "", false },
	{ "TCP6", SIGNATURE "21 21 0024" ADDR6, 0, 0, "2001:db8::1", 1, "", false },
	{ "UDP4 has no client of ours", SIGNATURE "21 12 000c" ADDR4, 0, 0, NULL, 0, "", false },
	{ "unix", SIGNATURE "21 31 00d8" ADDR_UNIX, 0, 0, NULL, 0, "", false },
	{ "unspecified", SIGNATURE "21 00 0000", 0, 0, NULL, 0, "", false },
	{ "unspecified and more", SIGNATURE "21 00 0003 ffffff", 0, 0, NULL, 0, "", false },
	{ "local", SIGNATURE "20 00 0000", 0, 0, NULL, 0, "", true },
	{ "local with what is to be ignored", SIGNATURE "20 11 0003 ffffff", 0, 0, NULL, 0, "",
			true },
	{ "a TLV", SIGNATURE "21 11 0011" ADDR4 "05 0002 aabb", 0, 0, "192.0.2.1", 56324, "",
			false },
	{ "an empty TLV", SIGNATURE "21 11 000f" ADDR4 "04 0000", 0, 0, "192.0.2.1", 56324, "",
			false },
	{ "SSL without CN", SIGNATURE "21 11 0014" ADDR4 "20 0005 01 00000000", 0, 0, "192.0.2.1",
			56324, "", false },
	{ "SSL with version and CN",
			SIGNATURE "21 11 001e" ADDR4
				  "20 000f 07 00000000 21 0001 31 22 0003 616263",
			0, 0, "192.0.2.1", 56324, "abc", false },
	{ "CN behind a TLV",
			SIGNATURE "21 11 001d" ADDR4 "04 0000 20 000b 07 00000000 22 0003 616263",
			0, 0, "192.0.2.1", 56324, "abc", false },
	{ "CN outside SSL is none", SIGNATURE "21 11 0010" ADDR4 "22 0001 61", 0, 0, "192.0.2.1",
			56324, "", false },
	{ "version 1", SIGNATURE "11 11 000c" ADDR4, MQT_PROXY_E_VERSION, 13, NULL, 0, "", false },
	{ "unknown command", SIGNATURE "22 11 000c" ADDR4, MQT_PROXY_E_VERSION, 13, NULL, 0, "",
			false },
	{ "unknown family", SIGNATURE "21 41 0000", MQT_PROXY_E_FAMILY, 0, NULL, 0, "", false },
	{ "unknown transport", SIGNATURE "21 13 000c" ADDR4, MQT_PROXY_E_FAMILY, 0, NULL, 0, "",
			false },
	{ "family without transport", SIGNATURE "21 10 000c" ADDR4, MQT_PROXY_E_FAMILY, 0, NULL, 0,
			"", false },
	{ "short for its addresses", SIGNATURE "21 11 000b c0000201 c000020b dc0407",
			MQT_PROXY_E_LENGTH, 0, NULL, 0, "", false },
	{ "TLV passes the end", SIGNATURE "21 11 0010" ADDR4 "05 0002 aa", MQT_PROXY_E_LENGTH, 0,
			NULL, 0, "", false },
	{ "TLV without length", SIGNATURE "21 11 000e" ADDR4 "05 00", MQT_PROXY_E_LENGTH, 0, NULL,
			0, "", false },
	{ "SSL too short", SIGNATURE "21 11 0013" ADDR4 "20 0004 01000000", MQT_PROXY_E_LENGTH, 0,
			NULL, 0, "", false },
	{ "CN passes the end of SSL", SIGNATURE "21 11 0018" ADDR4 "20 0009 07 00000000 22 0002 61",
			MQT_PROXY_E_LENGTH, 0, NULL, 0, "", false },
	{ "too long", SIGNATURE "21 11 0ff1", MQT_PROXY_E_LENGTH, 16, NULL, 0, "", false },
};

static void
test_binaries_are_read_as_their_table_says(void)
{
	for (size_t i = 0; i < N_OF(binaries); i++) {
		const struct binary *row = &binaries[i];
		uint8_t bytes[512];
		size_t len = hex(bytes, row->hex);
		enum mqt_parse want = row->want ? MQT_PARSE_BAD : MQT_PARSE_OK;
		enum mqt_proxy_error error = MQT_PROXY_E_NONE;
		struct mqt_proxy proxy = { 0 };

		check_row = row->name;
		bytes[len] = 0x10;
		CHECK_EQ(parse(bytes, len + 1, &proxy, &error), want);
		CHECK_EQ(error, row->want);
		check_cuts(bytes, len + 1, want, row->verdict_at ? row->verdict_at : len);
		if (row->want)
			continue;
		CHECK_EQ(proxy.version, 2);
		CHECK_EQ(proxy.len, len);
		CHECK_EQ(proxy.local, row->local);
		CHECK_EQ(proxy.cert_cn.len, strlen(row->cn));
		if (proxy.cert_cn.len > 0)
			CHECK_MEM(proxy.cert_cn.ptr, row->cn, proxy.cert_cn.len);
		check_src(&proxy, row->src, row->port);
	}
}

static void
test_what_is_encoded_is_read_again(void)
{
	const struct mqt_proxy rows[] = {
		{ .version = 1,
				.src = { { 192, 0, 2, 1 }, 5, 4 },
				.dst = { { 192, 0, 2, 2 }, 6, 4 } },
		{ .version = 1, .src = { { 0x20, 1 }, 65535, 6 }, .dst = { { 0xff }, 1, 6 } },
		{ .version = 1 },
		{ .version = 2,
				.src = { { 192, 0, 2, 1 }, 5, 4 },
				.dst = { { 192, 0, 2, 2 }, 6, 4 } },
		{ .version = 2,
				.src = { { 0x20, 1 }, 65535, 6 },
				.dst = { { 0xff }, 1, 6 },
				.cert_cn = { (const uint8_t *)"device 7", 8 } },
		{ .version = 2, .local = true },
	};

	for (size_t i = 0; i < N_OF(rows); i++) {
		uint8_t buf[256];
		size_t len = mqt_proxy_encode(buf, sizeof(buf), &rows[i]);
		struct mqt_proxy got = { 0 };

		CHECK(len > 0);
		CHECK_EQ(parse(buf, len, &got, NULL), MQT_PARSE_OK);
		CHECK_EQ(got.len, len);
		CHECK_EQ(got.version, rows[i].version);
		CHECK_EQ(got.local, rows[i].local);
		CHECK(mqt_proxy_encode(buf, 4, &rows[i]) == 0);
		CHECK_MEM(&got.src, &rows[i].src, sizeof(got.src));
		CHECK_MEM(&got.dst, &rows[i].dst, sizeof(got.dst));
		CHECK_EQ(got.cert_cn.len, rows[i].cert_cn.len);
		if (got.cert_cn.len > 0)
			CHECK_MEM(got.cert_cn.ptr, rows[i].cert_cn.ptr, got.cert_cn.len);
	}
	CHECK_EQ(mqt_proxy_encode(NULL, 0, &(struct mqt_proxy){ .version = 3 }), 0);
}

static void
test_each_error_has_a_name(void)
{
	for (unsigned i = 0; i < MQT_PROXY_N_ERRORS; i++)
		CHECK(strlen(mqt_proxy_error_name(i)) > 2);
	CHECK_STR(mqt_proxy_error_name(MQT_PROXY_N_ERRORS), "unknown");
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo proxy_tests[] = {
	TEST(lines_are_read_as_their_table_says),
	TEST(a_line_ends_within_107_bytes),
	TEST(what_begins_otherwise_is_absent),
	TEST(binaries_are_read_as_their_table_says),
	TEST(what_is_encoded_is_read_again),
	TEST(each_error_has_a_name),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "proxy protocol", .pTests = proxy_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
