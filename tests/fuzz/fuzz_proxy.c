/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * PROXY protocol: the verdict does not change with bytes behind the header, what is shorter than the
 * header is MORE, and what is read can be encoded and read again.
 */

#include "fuzz.h"
#include "mqtrack/proxy.h"

static enum mqt_parse
parse(const uint8_t *data, size_t len, struct mqt_proxy *out, enum mqt_proxy_error *error)
{
	uint8_t *copy = fuzz_copy(data, len);
	enum mqt_parse r = mqt_proxy_parse(copy, len, out, error);

	if (r == MQT_PARSE_OK) {
		FUZZ_CHECK(out->len > 0 && out->len <= len && out->len <= MQT_PROXY_MAX);
		FUZZ_CHECK(out->src.version == out->dst.version);
		if (out->cert_cn.len > 0) {
			FUZZ_CHECK(out->cert_cn.ptr >= copy);
			FUZZ_CHECK(out->cert_cn.ptr + out->cert_cn.len <= copy + out->len);
			out->cert_cn.ptr = data + (out->cert_cn.ptr - copy);
		}
	}
	free(copy);
	return r;
}

static void
check_round_trip(const struct mqt_proxy *proxy)
{
	static uint8_t buf[MQT_PROXY_MAX];
	struct mqt_proxy again = { 0 };
	size_t len = mqt_proxy_encode(buf, sizeof(buf), proxy);

	if (len == 0) {
		FUZZ_CHECK(proxy->cert_cn.len > 1024);
		return;
	}
	FUZZ_CHECK(mqt_proxy_parse(buf, len, &again, NULL) == MQT_PARSE_OK);
	FUZZ_CHECK(again.len == len);
	FUZZ_CHECK(memcmp(&again.src, &proxy->src, sizeof(again.src)) == 0);
	FUZZ_CHECK(memcmp(&again.dst, &proxy->dst, sizeof(again.dst)) == 0);
	if (proxy->src.version != 0)
		FUZZ_CHECK(again.cert_cn.len == proxy->cert_cn.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum mqt_proxy_error error = MQT_PROXY_E_NONE, error_cut;
	struct mqt_proxy whole = { 0 }, cut = { 0 };
	enum mqt_parse r = parse(data, size, &whole, &error), r_cut;
	bool due = false;

	FUZZ_CHECK((r == MQT_PARSE_BAD) == (error != MQT_PROXY_E_NONE));
	for (size_t len = 0; len <= size; len++) {
		r_cut = parse(data, len, &cut, &error_cut);
		FUZZ_CHECK(!due || r_cut == r);
		if (r_cut == MQT_PARSE_MORE)
			continue;
		FUZZ_CHECK(r_cut == r);
		if (r == MQT_PARSE_BAD)
			FUZZ_CHECK(error_cut == error);
		else
			FUZZ_CHECK(due || len == whole.len);
		due = true;
	}
	if (r == MQT_PARSE_OK)
		check_round_trip(&whole);
	return 0;
}
