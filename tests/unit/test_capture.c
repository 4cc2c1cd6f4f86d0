/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures: who may have one, the rings from the workers to the reader, the blocks of the file.
 */
#include "capture_rig.h"

#include <errno.h>

static struct frame frame;
static uint8_t data[MQT_CAPTURE_LENGTH];

/* What the workers do once they look: nothing else here. */
static void
workers_look(struct mqt_captures *all)
{
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++)
		for (unsigned w = 0; w < all->n_workers; w++)
			all->capture[i].seen[w] = all->capture[i].word;
}

static void
put(struct mqt_capture *capture, unsigned worker, uint64_t at_ns, uint32_t len, uint32_t piece)
{
	struct mqt_capture_packet packet = { .at_ns = at_ns, .port = 1 };

	mqt_role_worker_assert();
	mqt_capture_put(capture, worker, &packet, frame_make(&frame, (uint8_t)at_ns, len, piece));
}

/* The next packet is that of put(). */
static void
check_take(struct mqt_captures *all, struct mqt_capture *capture, uint64_t at_ns, uint32_t len)
{
	struct mqt_capture_packet packet = { 0 };
	uint32_t wrong = 0;

	CHECK(mqt_capture_take(all, capture, &packet, data));
	CHECK_EQ(packet.at_ns, at_ns);
	CHECK_EQ(packet.len, len);
	CHECK_EQ(packet.cap_len, RTE_MIN(len, MQT_CAPTURE_LENGTH));
	CHECK_EQ(packet.port, 1);
	for (uint32_t i = 0; i < packet.cap_len; i++)
		wrong += data[i] != (uint8_t)(at_ns + i);
	CHECK_EQ(wrong, 0);
}

static void
check_empty(struct mqt_captures *all, struct mqt_capture *capture)
{
	struct mqt_capture_packet packet;

	CHECK(!mqt_capture_take(all, capture, &packet, data));
}

static void
test_packets_come_out_as_they_went_in(void)
{
	static const struct {
		uint32_t len, piece;
	} rows[] = { { 1, 1 }, { 60, 60 }, { 61, 30 }, { 1514, 400 }, { 65535, 16000 },
		{ 65540, 20000 } };
	struct mqt_captures *all = mqt_captures_create(1);
	struct mqt_capture *capture = mqt_capture_start(all, "a", 1, -1);
	uint64_t n = 0;

	check_empty(all, capture);
	/* many times around the ring */
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < RTE_DIM(rows); i++)
			put(capture, 0, n + i, rows[i].len, rows[i].piece);
		for (unsigned i = 0; i < RTE_DIM(rows); i++)
			check_take(all, capture, n + i, rows[i].len);
		n += RTE_DIM(rows);
	}
	check_empty(all, capture);
	CHECK_EQ(mqt_capture_dropped(all, capture), 0);
	mqt_captures_destroy(all);
}

static void
test_full_ring_drops_and_counts(void)
{
	struct mqt_captures *all = mqt_captures_create(2);
	struct mqt_capture *capture = mqt_capture_start(all, "a", 1, -1);
	const unsigned fit = MQT_CAPTURE_RING / (1000 + sizeof(struct mqt_capture_packet));

	for (unsigned i = 0; i < fit + 3; i++)
		put(capture, 0, i, 1000, 1000);
	CHECK_EQ(mqt_capture_dropped(all, capture), 3);
	put(capture, 1, 7000, 1000, 1000); /* another worker has its own room */
	CHECK_EQ(mqt_capture_dropped(all, capture), 3);
	for (unsigned i = 0; i < fit; i++)
		check_take(all, capture, i, 1000);
	check_take(all, capture, 7000, 1000);
	check_empty(all, capture);
	put(capture, 0, 8000, 1000, 1000);
	check_take(all, capture, 8000, 1000);
	mqt_captures_destroy(all);
}

static void
test_packets_of_several_workers_come_by_time(void)
{
	struct mqt_captures *all = mqt_captures_create(3);
	struct mqt_capture *capture = mqt_capture_start(all, "a", 1, -1);

	put(capture, 2, 10, 60, 60);
	put(capture, 0, 20, 60, 60);
	put(capture, 1, 30, 60, 60);
	put(capture, 2, 40, 60, 60);
	for (uint64_t at = 10; at <= 40; at += 10)
		check_take(all, capture, at, 60);
	mqt_captures_destroy(all);
}

static void
test_capture_is_given_out_again_once_all_workers_have_seen_its_end(void)
{
	struct mqt_captures *all = mqt_captures_create(2);
	struct mqt_capture *capture[MQT_CAPTURES_MAX];

	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		capture[i] = mqt_capture_start(all, "a", 1, -1);
		CHECK(capture[i] != NULL);
		CHECK(!mqt_capture_is_settled(all, capture[i]));
	}
	errno = 0;
	CHECK(mqt_capture_start(all, "a", 1, -1) == NULL);
	CHECK_EQ(errno, EBUSY);
	workers_look(all);
	CHECK(mqt_capture_is_settled(all, capture[2]));
	put(capture[2], 1, 5, 60, 60);
	mqt_capture_release(all, capture[2]);
	CHECK(!mqt_capture_is_settled(all, capture[2]));
	CHECK(mqt_capture_start(all, "b", 1, 3) == NULL); /* one may still copy */
	capture[2]->seen[0] = capture[2]->word;
	CHECK(mqt_capture_start(all, "b", 1, 3) == NULL);
	capture[2]->seen[1] = capture[2]->word;
	CHECK(mqt_capture_start(all, "b", 1, 3) == capture[2]);
	CHECK_EQ(capture[2]->domain, 3);
	CHECK_MEM(capture[2]->clientid, "b", 1);
	check_empty(all, capture[2]); /* what the one before left is not its */
	mqt_captures_destroy(all);
}

static void
test_each_wish_is_announced(void)
{
	struct mqt_captures *all = mqt_captures_create(1);
	uint32_t epoch = all->epoch;
	struct mqt_capture *capture = mqt_capture_start(all, NULL, 0, -1);

	CHECK_EQ(all->epoch, ++epoch);
	CHECK_EQ(capture->word % 2, 1);
	mqt_capture_add(all, capture, 77);
	CHECK_EQ(all->epoch, ++epoch);
	CHECK_EQ(capture->chans[0], 77);
	mqt_capture_stop(all, capture);
	CHECK_EQ(all->epoch, ++epoch);
	CHECK_EQ(capture->word % 2, 0);
	mqt_capture_release(all, capture); /* it has been stopped */
	CHECK_EQ(all->epoch, epoch);
	mqt_captures_destroy(all);
}

/* --- the file ---------------------------------------------------------------------------------- */

static void
test_section_and_interface_say_what_follows(void)
{
	uint8_t buf[MQT_PCAPNG_OVERHEAD];
	char name[200];
	const uint8_t *option;
	uint16_t len;
	uint32_t type;
	size_t size = mqt_pcapng_section(buf);

	CHECK_EQ(block_at(buf, size, 0, &type), size);
	CHECK_EQ(type, 0x0a0d0d0a);
	CHECK_EQ(u32_at(buf + 8), 0x1a2b3c4d);
	CHECK_EQ(u32_at(buf + 12), 1); /* version 1.0, little endian */
	size = mqt_pcapng_interface(buf, "inside3");
	CHECK_EQ(block_at(buf, size, 0, &type), size);
	CHECK_EQ(type, 1);
	CHECK_EQ(u16_at(buf + 8), 1); /* Ethernet */
	CHECK_EQ(u32_at(buf + 12), MQT_CAPTURE_LENGTH);
	option = option_of(buf, (uint32_t)size, 16, 2, &len);
	CHECK(option && len == 7 && memcmp(option, "inside3", 7) == 0);
	option = option_of(buf, (uint32_t)size, 16, 9, &len);
	CHECK(option && len == 1 && *option == 9); /* nanoseconds */
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	size = mqt_pcapng_interface(buf, name);
	CHECK(size <= sizeof(buf));
	CHECK_EQ(block_at(buf, size, 0, &type), size);
}

static void
test_packet_block_has_the_packet_its_way_and_its_fate(void)
{
	static const struct {
		const char *name;
		uint8_t note;
		bool sent;
		uint32_t len, flags;
		const char *says; /* NULL: no comment */
	} rows[] = {
		{ "received", MQT_CAPTURE_PASSED, false, 60, 1, NULL },
		{ "odd length", MQT_CAPTURE_PASSED, false, 61, 1, NULL },
		{ "injected", MQT_CAPTURE_INJECTED, true, 54, 2, "sent by mqtrack" },
		{ "held", MQT_CAPTURE_HELD, false, 63, 1, "held" },
		{ "frozen", MQT_CAPTURE_FROZEN, false, 62, 1,
				"dropped by mqtrack: the connection is" },
		{ "closing", MQT_CAPTURE_CLOSING, false, 64, 1,
				"dropped by mqtrack: it is closing" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct mqt_capture_packet packet = { .len = 1514,
			.cap_len = rows[i].len,
			.port = 3,
			.note = rows[i].note,
			.sent = rows[i].sent };
		uint8_t bytes[64], buf[64 + MQT_PCAPNG_OVERHEAD];
		uint32_t type, options = 28 + RTE_ALIGN_CEIL(rows[i].len, 4u);
		const uint8_t *option;
		uint16_t len;
		size_t size;

		check_row = rows[i].name;
		memset(bytes, 0xa0 + (int)i, sizeof(bytes));
		memset(buf, 0xee, sizeof(buf));
		size = mqt_pcapng_packet(buf, &packet, 0x0123456789abcdefull, bytes);
		CHECK_EQ(block_at(buf, size, 0, &type), size);
		CHECK_EQ(type, 6);
		CHECK_EQ(u32_at(buf + 8), 3);
		CHECK_EQ(u32_at(buf + 12), 0x01234567);
		CHECK_EQ(u32_at(buf + 16), 0x89abcdef);
		CHECK_EQ(u32_at(buf + 20), rows[i].len);
		CHECK_EQ(u32_at(buf + 24), 1514);
		CHECK_MEM(buf + 28, bytes, rows[i].len);
		option = option_of(buf, (uint32_t)size, options, 2, &len);
		CHECK(option && len == 4 && u32_at(option) == rows[i].flags);
		option = option_of(buf, (uint32_t)size, options, 1, &len);
		CHECK((option != NULL) == (rows[i].says != NULL));
		if (option && rows[i].says)
			CHECK_MEM(option, rows[i].says, strlen(rows[i].says));
	}
	check_row = "";
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo capture_tests[] = {
	TEST(test_packets_come_out_as_they_went_in),
	TEST(test_full_ring_drops_and_counts),
	TEST(test_packets_of_several_workers_come_by_time),
	TEST(test_capture_is_given_out_again_once_all_workers_have_seen_its_end),
	TEST(test_each_wish_is_announced),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo file_tests[] = {
	TEST(test_section_and_interface_say_what_follows),
	TEST(test_packet_block_has_the_packet_its_way_and_its_fate),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "captures", NULL, NULL, NULL, NULL, capture_tests },
	{ "pcapng", NULL, NULL, NULL, NULL, file_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
