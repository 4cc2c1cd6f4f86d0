/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections behind a proxy: its header is read, believed, kept for the comparison of repeated
 * bytes, and passes; what has none is reset where one is required.
 */
#include "conn_rig.h"
#include "mqtrack/proxy.h"
#include "mqtrack/ws.h"

#define CN "device 7"

static bool
is_peer(const struct mqt_info *info, const struct mqt_endpoint *ep)
{
	struct mqt_endpoint peer = mqt_info_peer(info);

	return mqt_endpoint_equal(&peer, ep);
}

static const struct mqt_proxy header_v1 = {
	.version = 1,
	.src = { { 203, 0, 113, 9 }, 4711, 4 },
	.dst = { { 192, 0, 2, 11 }, 1883, 4 },
};
static const struct mqt_proxy header_v2 = {
	.version = 2,
	.src = { { 0x20, 0x01, 0x0d, 0xb8, [15] = 9 }, 4711, 6 },
	.dst = { { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, 1883, 6 },
	.cert_cn = { (const uint8_t *)CN, sizeof(CN) - 1 },
};
static const struct mqt_proxy header_unknown = { .version = 1 };
static const struct mqt_proxy header_local = { .version = 2, .local = true };

static void
proxy_world(enum mqt_proxy_mode mode)
{
	world_config();
	w.config.listeners[0].proxy = (uint8_t)mode;
	world_start();
}

/* Header and CONNECT, @p piece bytes a segment, then CONNACK. */
static void
proxy_open(struct flow *f, const struct mqt_proxy *header, size_t piece)
{
	uint8_t buf[512];
	size_t len = header ? mqt_proxy_encode(buf, sizeof(buf), header) : 0;
	struct mqt_msg msg;

	len += connect_packet(buf + len, sizeof(buf) - len, f->version, "sensor-1");
	tcp_open(f);
	out_clear();
	for (size_t at = 0; at < len; at += piece)
		send_next(f, CLIENT, ACK, buf + at, RTE_MIN(piece, len - at));
	CHECK_EQ(n_sent(1), (len + piece - 1) / piece);
	send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), f->version, 0));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
}

static void
leave(struct flow *f)
{
	tell(f, MQT_MSG_GRANT, 0);
	send_next(f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	release(f);
	world_end();
}

static void
test_header_names_the_client_however_it_is_cut(void)
{
	static const struct {
		const char *name;
		const struct mqt_proxy *header;
		enum mqt_proxy_mode mode;
		const char *cn;
	} rows[] = {
		{ "version 1", &header_v1, MQT_PROXY_REQUIRE, "" },
		{ "version 2 with CN", &header_v2, MQT_PROXY_REQUIRE, CN },
		{ "version 2, accepted", &header_v2, MQT_PROXY_ACCEPT, CN },
		{ "unknown", &header_unknown, MQT_PROXY_REQUIRE, "" },
		{ "local", &header_local, MQT_PROXY_REQUIRE, "" },
		{ "none, accepted", NULL, MQT_PROXY_ACCEPT, "" },
		{ "off", NULL, MQT_PROXY_OFF, "" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		for (size_t piece = 1; piece <= 4096; piece *= 8) {
			const struct mqt_proxy *header = rows[i].header;
			bool told = header && header->src.version;
			struct flow f = flow_new();

			check_row = rows[i].name;
			proxy_world(rows[i].mode);
			proxy_open(&f, header, piece);
			CHECK_EQ(f.info->clientid_len, 8);
			CHECK_MEM(mqt_info_clientid(f.info), "sensor-1", 8);
			CHECK_MEM(mqt_info_username(f.info), "user", 4);
			CHECK_EQ(f.info->cert_cn_len, strlen(rows[i].cn));
			CHECK_MEM(mqt_info_cert_cn(f.info), rows[i].cn, strlen(rows[i].cn));
			if (told) {
				CHECK(is_peer(f.info, &header->src));
				CHECK_EQ(mqt_info_via(f.info).port, f.client_port);
				CHECK_EQ(mqt_info_via(f.info).ip[3], 1);
			} else {
				CHECK_EQ(mqt_info_peer(f.info).port, f.client_port);
				CHECK_EQ(mqt_info_via(f.info).version, 0);
			}
			CHECK_EQ(mqt_info_broker(f.info).port, 1883);
			CHECK_EQ(COUNT(PROXY_HEADERS), header != NULL);
			CHECK_EQ(COUNT(PROXY_LOCAL), header == &header_local);
			CHECK_EQ(COUNT(OPAQUE), 0);
			leave(&f);
		}
	}
}

static void
test_what_has_no_valid_header_is_reset_where_it_is_required(void)
{
	static const struct {
		const char *name, *bytes;
		size_t len;
		enum mqt_worker_counter required, accepted;
	} rows[] = {
		{ "MQTT", "\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", 14, MQT_W_PROXY_MISSING,
				MQT_W_CONNECT },
		{ "HTTP", "GET / HTTP/1.1\r\n", 16, MQT_W_PROXY_MISSING, MQT_W_OPAQUE_PROTOCOL },
		{ "malformed line", "PROXY TCP4 192.0.2.1 nowhere 1 2\r\n", 34,
				MQT_W_PROXY_MALFORMED, MQT_W_OPAQUE_PROXY },
		{ "line without end",
				"PROXY UNKNOWN                                                "
				"                                                            ",
				121, MQT_W_PROXY_MALFORMED, MQT_W_OPAQUE_PROXY },
		{ "unknown version", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", 16, MQT_W_PROXY_MALFORMED,
				MQT_W_OPAQUE_PROXY },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		for (unsigned mode = MQT_PROXY_ACCEPT; mode <= MQT_PROXY_REQUIRE; mode++) {
			bool required = mode == MQT_PROXY_REQUIRE;
			struct flow f = flow_new();

			check_row = rows[i].name;
			proxy_world(mode);
			tcp_open(&f);
			out_clear();
			send_next(&f, CLIENT, ACK, rows[i].bytes, rows[i].len);
			CHECK_EQ(mqt_counter_get(&w.counters.v[required ? rows[i].required
									: rows[i].accepted]),
					1);
			CHECK_EQ(COUNT(PROXY_HEADERS), 0);
			CHECK_EQ(COUNT(INJECTED_RST), required ? 2 : 0);
			CHECK_EQ(in_state(MQT_CONN_CLOSING), required);
			CHECK_EQ(n_sent(1), 1);
			CHECK_EQ(sent(1, 0)->v.payload_len, required ? 0 : rows[i].len);
			CHECK_EQ(n_sent(0), required);
			world_end();
		}
	}
}

static void
test_begin_of_a_header_that_becomes_something_else_is_malformed(void)
{
	struct flow f = flow_new();

	proxy_world(MQT_PROXY_REQUIRE);
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, "PRO", 3);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	send_next(&f, CLIENT, ACK, "PFIND", 5);
	CHECK_EQ(COUNT(PROXY_MALFORMED), 1);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	world_end();
}

static void
test_health_check_passes_without_a_trace(void)
{
	struct flow f = flow_new();
	uint8_t buf[64];
	size_t len = mqt_proxy_encode(buf, sizeof(buf), &header_local);

	proxy_world(MQT_PROXY_REQUIRE);
	tcp_open(&f);
	out_clear();
	send_next(&f, CLIENT, ACK, buf, len);
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(n_sent(1), 3);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(COUNT(PROXY_LOCAL), 1);
	CHECK_EQ(COUNT(OPAQUE), 0);
	CHECK_EQ(COUNT(INJECTED_RST), 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_NO_MESSAGE();
	world_end();
}

static void
test_header_is_the_same_in_each_copy_until_it_is_acknowledged(void)
{
	struct flow f = flow_new();
	uint32_t begin;
	uint8_t buf[256];
	size_t len = mqt_proxy_encode(buf, sizeof(buf), &header_v1);

	proxy_world(MQT_PROXY_REQUIRE);
	tcp_open(&f);
	begin = f.seq[CLIENT];
	len += connect_packet(buf + len, sizeof(buf) - len, 4, "a");
	send_next(&f, CLIENT, ACK, buf, len);
	out_clear();
	buf[11] ^= 1; /* the address */
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], buf, len);
	CHECK_EQ(COUNT(CONFLICT), 1);
	CHECK_EQ(n_sent(1), 0);
	buf[11] ^= 1;
	buf[len - 1] ^= 1; /* CONNECT */
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], buf, len);
	CHECK_EQ(COUNT(CONFLICT), 2);
	buf[len - 1] ^= 1;
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], buf, len);
	CHECK_EQ(n_sent(1), 1);
	world_end();
}

static void
test_kept_header_goes_once_all_of_it_is_acknowledged(void)
{
	struct flow f = flow_new();
	uint8_t other[8] = "xxxxxxxx";
	uint32_t begin;

	proxy_world(MQT_PROXY_REQUIRE);
	begin = f.seq[CLIENT] + 1;
	proxy_open(&f, &header_v1, 4096);
	tell(&f, MQT_MSG_GRANT, 0);
	drop_messages();
	send_next(&f, BROKER, ACK, NULL, 0);
	out_clear();
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], other, sizeof(other));
	CHECK_EQ(COUNT(CONFLICT), 0); /* the broker has it: no copy can change it any more */
	CHECK_EQ(n_sent(1), 1);
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	release(&f);
	world_end();
}

static void
test_header_may_come_before_a_websocket(void)
{
	static const char request[] =
			"GET / HTTP/1.1\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\nSec-WebSocket-Key: x\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
	static const char answer[] = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"
				     "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
	static const uint8_t key[4] = { 4, 3, 2, 1 };

	for (size_t piece = 1; piece <= 1000; piece *= 10) {
		struct flow f = flow_new();
		uint8_t buf[1024], packet[256];
		size_t len = mqt_proxy_encode(buf, sizeof(buf), &header_v2), n;
		struct mqt_msg msg;

		world_config();
		w.config.listeners[0].proxy = MQT_PROXY_REQUIRE;
		w.config.listeners[0].transport = MQT_TRANSPORT_WS;
		world_start();
		memcpy(buf + len, request, strlen(request));
		len += strlen(request);
		n = connect_packet(packet, sizeof(packet), 4, "both");
		n = mqt_ws_frame_encode(
				buf + len, sizeof(buf) - len, MQT_WS_BINARY, key, packet, n);
		tcp_open(&f);
		for (size_t at = 0; at < len; at += piece)
			send_next(&f, CLIENT, ACK, buf + at, RTE_MIN(piece, len - at));
		send_next(&f, BROKER, ACK, answer, strlen(answer));
		send_next(&f, CLIENT, ACK, buf + len, n);
		n = connack_packet(packet, sizeof(packet), 4, 0);
		n = mqt_ws_frame_encode(buf, sizeof(buf), MQT_WS_BINARY, NULL, packet, n);
		send_next(&f, BROKER, ACK, buf, n);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		f.chan = msg.chan;
		f.info = msg.info;
		CHECK_EQ(f.info->transport, MQT_TRANSPORT_WS);
		CHECK(is_peer(f.info, &header_v2.src));
		CHECK_MEM(mqt_info_clientid(f.info), "both", 4);
		leave(&f);
	}
}

int
main(void)
{
	CU_TestInfo proxy[] = {
		TEST(test_header_names_the_client_however_it_is_cut),
		TEST(test_what_has_no_valid_header_is_reset_where_it_is_required),
		TEST(test_begin_of_a_header_that_becomes_something_else_is_malformed),
		TEST(test_health_check_passes_without_a_trace),
		TEST(test_header_is_the_same_in_each_copy_until_it_is_acknowledged),
		TEST(test_kept_header_goes_once_all_of_it_is_acknowledged),
		TEST(test_header_may_come_before_a_websocket),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ .pName = "behind a proxy", .pTests = proxy },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
