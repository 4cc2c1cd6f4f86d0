/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Infos: addresses packed behind the strings.
 */
#include "base_rig.h"
#include "mqtrack/info.h"

#include <stdlib.h>
#include <string.h>

#define STRINGS                                                                                    \
	"client-1"                                                                                 \
	"user"                                                                                     \
	"cn"
#define CANARY 0xa5

static const struct mqt_endpoint kinds[] = {
	{ .version = 0 },
	{ .ip = { 192, 0, 2, 255 }, .port = 65535, .version = 4 },
	{ .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0xff }, .port = 1883, .version = 6 },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The @p i-th of all with that kind, so that no two ends are the same. */
static struct mqt_endpoint
end_of(unsigned kind, uint8_t i)
{
	struct mqt_endpoint ep = kinds[kind];

	if (ep.version)
		ep.ip[1] = (uint8_t)(i + 1);
	return ep;
}

static void
check_end(struct mqt_endpoint got, struct mqt_endpoint want)
{
	CHECK(mqt_endpoint_equal(&got, &want));
}

static void
check_ends(unsigned p, unsigned b, unsigned v)
{
	static const size_t len[N_KINDS] = { 0, 6, 18 };
	size_t strings = strlen(STRINGS), size = offsetof(struct mqt_info, data) + strings;
	struct mqt_endpoint peer = end_of(p, 0), broker = end_of(b, 1), via = end_of(v, 2);
	size_t ends = mqt_info_ends_size(&peer, &broker, v ? &via : NULL);
	uint8_t *mem = malloc(size + ends + 8);
	struct mqt_info *info = (struct mqt_info *)(void *)mem;
	struct mqt_endpoint both[2];

	CHECK_EQ(ends, len[p] + len[b] + len[v]);
	memset(mem, CANARY, size + ends + 8);
	memset(mem, 0, offsetof(struct mqt_info, data));
	info->clientid_len = 8;
	info->username_len = 4;
	info->cert_cn_len = 2;
	memcpy(info->data, STRINGS, strings);
	CHECK_EQ(mqt_info_peer(info).version, 0); /* none so far */
	mqt_info_set_ends(info, &peer, &broker, v ? &via : NULL);
	CHECK_EQ(mqt_info_size(info), size + ends);
	check_end(mqt_info_peer(info), peer);
	check_end(mqt_info_broker(info), broker);
	check_end(mqt_info_via(info), via);
	memset(both, CANARY, sizeof(both));
	mqt_info_ends(info, &both[0], &both[1]);
	check_end(both[0], peer);
	check_end(both[1], broker);
	CHECK_MEM(mqt_info_clientid(info), "client-1", 8);
	CHECK_MEM(mqt_info_username(info), "user", 4);
	CHECK_MEM(mqt_info_cert_cn(info), "cn", 2);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(mem[size + ends + i], CANARY);
	free(mem);
}

static void
test_ends_of_each_kind_come_back(void)
{
	for (unsigned p = 0; p < N_KINDS; p++)
		for (unsigned b = 0; b < N_KINDS; b++)
			for (unsigned v = 0; v < N_KINDS; v++)
				check_ends(p, b, v);
}

/* An info of client and broker, nothing else. Ownership: the caller's. */
static struct mqt_info *
info_of(unsigned peer_kind, const char *id, const struct mqt_endpoint *broker)
{
	struct mqt_info *info = calloc(1, sizeof(*info) + 16 + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint peer = end_of(peer_kind, 0);

	info->clientid_len = (uint16_t)strlen(id);
	memcpy(info->data, id, strlen(id));
	mqt_info_set_ends(info, &peer, broker, NULL);
	return info;
}

static void
test_brokers_are_the_same_wherever_they_lie(void)
{
	for (unsigned a = 0; a < N_KINDS; a++) {
		for (unsigned b = 0; b < N_KINDS; b++) {
			struct mqt_endpoint ea = end_of(a, 1), eb = end_of(b, 1), other = eb;
			struct mqt_info *x = info_of(1, "x", &ea), *y = info_of(2, "longer", &eb),
					*z;

			other.port ^= 0x100;
			z = info_of(2, "longer", &other);
			CHECK_EQ(mqt_info_same_broker(x, y), a == b);
			CHECK_EQ(mqt_info_same_broker(y, x), a == b);
			CHECK_EQ(mqt_info_same_broker(x, z), a == b && eb.version == 0);
			free(x);
			free(y);
			free(z);
		}
	}
}

static void
test_an_ipv4_client_with_23_bytes_fits_72(void)
{
	struct mqt_endpoint ip4 = end_of(1, 0);

	/* with malloc's own word a block of 80 */
	CHECK_EQ(offsetof(struct mqt_info, data) + 23 + mqt_info_ends_size(&ip4, &ip4, NULL), 72);
}

static CU_TestInfo info_tests[] = {
	TEST(test_ends_of_each_kind_come_back),
	TEST(test_brokers_are_the_same_wherever_they_lie),
	TEST(test_an_ipv4_client_with_23_bytes_fits_72),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "info", NULL, NULL, NULL, NULL, info_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
