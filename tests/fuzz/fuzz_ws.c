/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * WebSocket. The first byte of an input says whether frames are masked, the next two where the
 * stream behind them is cut: a head, then frames. Fed whole, in two pieces and byte by byte: the
 * same verdicts, the same payload, the same cursor. A frame that is encoded is read again.
 */

#include "fuzz.h"
#include "mqtrack/ws.h"

struct result {
	struct mqt_ws_scan scan;
	struct mqt_ws_cursor cursor;
	enum mqt_parse head;
	uint8_t *payload;
	size_t n_payload;
};

static void
feed_frames(struct result *r, const uint8_t *data, size_t len)
{
	struct mqt_ws_piece piece;
	int64_t n = 0;

	for (size_t at = 0; at < len && n >= 0; at += (size_t)n) {
		n = mqt_ws_cursor_next(&r->cursor, data + at, len - at, &piece);
		FUZZ_CHECK((n < 0) == (r->cursor.error != MQT_WS_E_NONE));
		if (n < 0)
			return;
		FUZZ_CHECK(n > 0 && (size_t)n <= len - at);
		if (piece.len == 0)
			continue;
		FUZZ_CHECK(piece.ptr == data + at && piece.len == n);
		mqt_ws_unmask(r->payload + r->n_payload, piece.ptr, piece.len, piece.key);
		r->n_payload += piece.len;
	}
}

static void
feed(struct result *r, const uint8_t *data, size_t len)
{
	uint8_t *copy = fuzz_copy(data, len);
	size_t used = 0;

	if (r->head == MQT_PARSE_MORE) {
		r->head = mqt_ws_scan_feed(&r->scan, copy, len, &used);
		FUZZ_CHECK(used <= len);
	}
	if (r->head == MQT_PARSE_OK)
		feed_frames(r, copy + used, len - used);
	free(copy);
}

static struct result
begin(size_t size, bool masked)
{
	struct result r = { .head = MQT_PARSE_MORE, .payload = malloc(size + 1) };

	FUZZ_CHECK(r.payload != NULL);
	mqt_ws_cursor_init(&r.cursor, masked);
	return r;
}

static void
check_same(const struct result *a, const struct result *b)
{
	FUZZ_CHECK(a->head == b->head);
	FUZZ_CHECK(a->scan.len == b->scan.len && a->scan.state == b->scan.state);
	FUZZ_CHECK(memcmp(&a->cursor, &b->cursor, sizeof(a->cursor)) == 0);
	FUZZ_CHECK(a->n_payload == b->n_payload);
	FUZZ_CHECK(memcmp(a->payload, b->payload, a->n_payload) == 0);
}

static void
check_head(const struct result *r, const uint8_t *data)
{
	uint8_t *head = fuzz_copy(data, r->scan.len);

	if (r->head == MQT_PARSE_OK) {
		FUZZ_CHECK(mqt_ws_request_check(head, r->scan.len) < MQT_WS_N_ERRORS);
		FUZZ_CHECK(mqt_ws_response_check(head, r->scan.len) < MQT_WS_N_ERRORS);
	}
	free(head);
}

static void
check_round_trip(const uint8_t *data, size_t size, bool masked)
{
	uint8_t key[4] = { 0 }, *frame = malloc(size + 8);
	struct result r = begin(size, masked);
	size_t n;

	memcpy(key, data, size < 4 ? size : 4);
	FUZZ_CHECK(frame != NULL);
	n = mqt_ws_frame_encode(frame, size + 8, MQT_WS_BINARY, masked ? key : NULL, data, size);
	FUZZ_CHECK(n > size || size > UINT16_MAX);
	feed_frames(&r, frame, n);
	if (n > 0)
		FUZZ_CHECK(r.n_payload == size && memcmp(r.payload, data, size) == 0);
	FUZZ_CHECK(mqt_ws_cursor_at_boundary(&r.cursor));
	free(frame);
	free(r.payload);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole, cut, single;
	bool masked;
	size_t at;

	if (size < 3)
		return 0;
	masked = data[0] & 1;
	at = ((size_t)data[1] << 8 | data[2]) % (size - 2);
	data += 3;
	size -= 3;
	whole = begin(size, masked);
	cut = begin(size, masked);
	single = begin(size, masked);
	feed(&whole, data, size);
	feed(&cut, data, at);
	feed(&cut, data + at, size - at);
	check_same(&whole, &cut);
	for (size_t i = 0; i < size; i++)
		feed(&single, data + i, 1);
	check_same(&whole, &single);
	check_head(&whole, data);
	check_round_trip(data, size, masked);
	free(whole.payload);
	free(cut.payload);
	free(single.payload);
	return 0;
}
