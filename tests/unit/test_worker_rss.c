/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports that spread by hardware: a flow's owner is the worker to which they deliver it, in both
 * directions; what they deliver elsewhere is handed over; and where one of them cannot do it none
 * is believed. Ports of rings pretend: what DPDK is asked about RSS is answered below.
 */
#include "../../lib/worker/rss.h"
#include "frame_rig.h"
#include "worker_rig.h"

#include <rte_thash.h>

/* --- ports that pretend ------------------------------------------------------------------------ */

struct pretended {
	bool has_rss;
	bool other_key;     /* takes ours, uses its own */
	bool without_ports; /* hashes TCP over IPv6 by addresses */
	bool fixed_table;   /* cannot be set */
	bool deaf_table;    /* can be set, without effect */
	uint16_t reta_size;
	uint8_t key[64];
	uint16_t reta[4096];
};

static struct pretended nic[RTE_MAX_ETHPORTS];

int __real_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info);
int __real_rte_eth_dev_configure(
		uint16_t port_id, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(
		uint16_t port_id, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_rss_hash_update(uint16_t port_id, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port_id, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_reta_update(
		uint16_t port_id, struct rte_eth_rss_reta_entry64 *reta, uint16_t size);
int __wrap_rte_eth_dev_rss_reta_query(
		uint16_t port_id, struct rte_eth_rss_reta_entry64 *reta, uint16_t size);

int
__wrap_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info)
{
	int ret = __real_rte_eth_dev_info_get(port_id, info);

	info->reta_size = nic[port_id].reta_size;
	info->hash_key_size = 52;
	info->flow_type_rss_offloads = nic[port_id].has_rss ? RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP : 0;
	return ret;
}

/* A port without a hash was given a key: ethdev logs that as an error. */
static bool asked_for_nothing;

/* The ring below knows nothing of a hash. */
int
__wrap_rte_eth_dev_configure(
		uint16_t port_id, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf)
{
	struct rte_eth_conf plain = *conf;

	plain.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	plain.rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){ 0 };
	return __real_rte_eth_dev_configure(port_id, n_rx, n_tx, &plain);
}

int
__wrap_rte_eth_dev_rss_hash_update(uint16_t port_id, struct rte_eth_rss_conf *conf)
{
	if (!nic[port_id].has_rss) {
		asked_for_nothing = true;
		return -ENOTSUP;
	}
	CHECK_EQ(conf->rss_key_len, 52);
	if (!nic[port_id].other_key)
		memcpy(nic[port_id].key, conf->rss_key, conf->rss_key_len);
	return 0;
}

int
__wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port_id, struct rte_eth_rss_conf *conf)
{
	if (!nic[port_id].has_rss)
		return -ENOTSUP;
	memcpy(conf->rss_key, nic[port_id].key, conf->rss_key_len);
	conf->rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP |
			(nic[port_id].without_ports ? RTE_ETH_RSS_IPV6
						    : RTE_ETH_RSS_NONFRAG_IPV6_TCP);
	return 0;
}

int
__wrap_rte_eth_dev_rss_reta_update(
		uint16_t port_id, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	CHECK_EQ(size, nic[port_id].reta_size);
	if (nic[port_id].fixed_table)
		return -ENOTSUP;
	for (unsigned i = 0; i < size && !nic[port_id].deaf_table; i++)
		if (reta[i / 64].mask & RTE_BIT64(i % 64))
			nic[port_id].reta[i] = reta[i / 64].reta[i % 64];
	return 0;
}

int
__wrap_rte_eth_dev_rss_reta_query(
		uint16_t port_id, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	for (unsigned i = 0; i < size; i++)
		if (reta[i / 64].mask & RTE_BIT64(i % 64))
			reta[i / 64].reta[i % 64] = nic[port_id].reta[i];
	return 0;
}

/* Both ports anew, as good ones. */
static void
pretend(uint16_t reta_outside, uint16_t reta_inside)
{
	memset(nic, 0, sizeof(nic));
	for (unsigned i = 0; i < 2; i++) {
		struct pretended *p = &nic[port_ids[i]];

		p->has_rss = true;
		p->reta_size = i ? reta_inside : reta_outside;
		memset(p->key, 0x77, sizeof(p->key));
		memset(p->reta, 0xff, sizeof(p->reta));
	}
}

static void
settle(void)
{
	rss_settle(port_ids[0], N_WORKERS);
	rss_settle(port_ids[1], N_WORKERS);
}

/* --- the hash that hardware computes ----------------------------------------------------------- */

/* The definition, bit by bit. */
static uint32_t
toeplitz(const uint8_t *key, const uint8_t *data, unsigned len)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < len * 8; i++) {
		uint32_t window = 0;

		for (unsigned b = i; b < i + 32; b++)
			window = window << 1 | (key[b / 8] >> (7 - b % 8) & 1);
		if (data[i / 8] >> (7 - i % 8) & 1)
			hash ^= window;
	}
	return hash;
}

/* Addresses and ports as hardware reads them. @return how many bytes. */
static unsigned
tuple_of(const struct frame *f, uint8_t out[36])
{
	bool ip6 = f->data[f->l3] >> 4 == 6;
	unsigned len = ip6 ? 32 : 8;

	memcpy(out, f->data + f->l3 + (ip6 ? 8 : 12), len);
	memcpy(out + len, f->data + f->l4, 4);
	return len + 4;
}

/* The queue that a port puts a frame in. */
static unsigned
queue_of(unsigned port, const struct frame *f)
{
	const struct pretended *p = &nic[port_ids[port]];
	uint8_t tuple[36];
	unsigned len = tuple_of(f, tuple);

	return p->reta[toeplitz(p->key, tuple, len) & (p->reta_size - 1u)];
}

/* Frame of a flow, or of its answer. */
static void
flow_frame(struct frame *f, unsigned i, bool back)
{
	struct frame_spec s = { .ip6 = i % 3 == 0,
		.src = back ? 2 : (uint8_t)(3 + i % 200),
		.dst = back ? (uint8_t)(3 + i % 200) : 2,
		.sport = back ? 1883 : (uint16_t)(1025 + i * 37),
		.dport = back ? (uint16_t)(1025 + i * 37) : 1883,
		.seq = i };

	frame_make(f, &s);
}

static void
key_of(const struct frame *f, struct mqt_flow_key *key, struct mqt_pkt *view)
{
	struct rte_mbuf *m = mbuf_of(f->data, f->len);

	CHECK_EQ(mqt_pkt_parse(m, view), MQT_PKT_TCP);
	mqt_flow_key_of(m, view, key);
	rte_pktmbuf_free(m);
}

/*
 * Source: Microsoft, "Verifying the RSS Hash Calculation": its key, addresses, ports and values.
 */
static const uint8_t ms_key[40] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
	0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77,
	0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

static const struct {
	const char *src, *dst;
	uint16_t sport, dport;
	uint32_t hash;
} ms_vectors[] = {
	{ "66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178 },
	{ "199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea },
	{ "24.19.198.95", "12.22.207.184", 12898, 38024, 0x5c2b394a },
	{ "38.27.205.30", "209.142.163.6", 48228, 2217, 0xafc7327f },
	{ "153.39.163.191", "202.188.127.2", 44251, 1303, 0x10e828a2 },
	{ "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d },
	{ "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf },
	{ "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
			0x02d1feef },
};

static void
test_the_definition_gives_the_published_values(void)
{
	for (size_t i = 0; i < RTE_DIM(ms_vectors); i++) {
		struct mqt_endpoint src, dst;
		uint8_t tuple[36];
		unsigned len;

		check_row = ms_vectors[i].src;
		CHECK_EQ(mqt_endpoint_parse_ip(ms_vectors[i].src, &src), 0);
		CHECK_EQ(mqt_endpoint_parse_ip(ms_vectors[i].dst, &dst), 0);
		len = src.version == 4 ? 4 : 16;
		memcpy(tuple, src.ip, len);
		memcpy(tuple + len, dst.ip, len);
		frame_put16(tuple + 2 * len, ms_vectors[i].sport);
		frame_put16(tuple + 2 * len + 2, ms_vectors[i].dport);
		CHECK_EQ(toeplitz(ms_key, tuple, 2 * len + 4), ms_vectors[i].hash);
	}
	check_row = "";
}

static void
test_the_computed_hash_is_the_definition_in_both_directions(void)
{
	static const unsigned sizes[] = { 512, 128, 64, 2 };
	uint8_t key[RSS_KEY_MAX], tuple[36];
	static struct rss rss;

	rss_key(key);
	for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
		rss_init(&rss, sizes[k], 2);
		for (unsigned i = 0; i < 4000; i++) {
			struct mqt_flow_key flow;
			struct mqt_pkt view;
			struct frame f;
			uint32_t hash, words[9];
			unsigned len;

			flow_frame(&f, i, i & 1);
			key_of(&f, &flow, &view);
			len = tuple_of(&f, tuple);
			hash = toeplitz(key, tuple, len);
			for (unsigned w = 0; w < len / 4; w++)
				words[w] = (uint32_t)tuple[4 * w] << 24 | tuple[4 * w + 1] << 16 |
						tuple[4 * w + 2] << 8 | tuple[4 * w + 3];
			CHECK_EQ(rte_softrss(words, len / 4, key), hash);
			CHECK_EQ(hash >> 16, hash & 0xffff);
			CHECK_EQ(rss_bucket(&rss, &flow, view.ip_version), hash & (sizes[k] - 1));
			flow_frame(&f, i, !(i & 1));
			CHECK_EQ(toeplitz(key, tuple, tuple_of(&f, tuple)), hash);
		}
	}
}

/* --- packets ------------------------------------------------------------------------------------ */

/* Feeds a frame where the port would put it, with the hash that it would write. */
static void
feed_as_hardware(unsigned port, unsigned queue, const struct frame *f, uint32_t hash)
{
	struct rte_mbuf *m = feed(port, queue, f->data, f->len);

	m->hash.rss = hash;
	m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
}

static void
test_hardware_delivers_each_flow_to_its_owner(void)
{
	/* tables of one size, and of two */
	static const uint16_t sizes[][2] = { { 128, 128 }, { 512, 64 }, { 2, 2048 } };

	for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
		unsigned n = 0;

		pretend(sizes[k][0], sizes[k][1]);
		settle();
		setup();
		CHECK_EQ(mqt_port_rss(port_ids[0]), MQT_PORT_RSS_HARDWARE);
		CHECK_EQ(mqt_port_rss(port_ids[1]), MQT_PORT_RSS_HARDWARE);
		for (unsigned i = 0; i < 400; i++) {
			struct frame f;
			unsigned queue[2];

			for (unsigned back = 0; back < 2; back++) {
				flow_frame(&f, i, back);
				queue[back] = queue_of(back, &f);
				CHECK(queue[back] < N_WORKERS);
				feed_as_hardware(back, queue[back], &f, 0);
			}
			CHECK_EQ(queue[0], queue[1]);
			n += queue[0];
			if (i % 50 == 49)
				run();
		}
		CHECK(n > 100 && n < 300); /* both have work */
		CHECK_EQ(sum_of(MQT_W_OWNED), 800);
		CHECK_EQ(sum_of(MQT_W_HANDED_OVER), 0);
		CHECK_EQ(conns_of[0]->n_seen, 2 * (400 - n));
		CHECK_EQ(conns_of[1]->n_seen, 2 * n);
		teardown();
	}
}

/*
 * A packet that a port hashes otherwise (options, extension headers, tags) comes in at any queue
 * with any hash; it is its owner who judges it.
 */
static void
test_what_hardware_hashes_otherwise_is_handed_over(void)
{
	static const uint8_t nops[4] = { 1, 1, 1, 0 }, dst_opts[8] = { 6, 0, 1, 4 };

	for (unsigned i = 0; i < 64; i++) {
		struct frame_spec s = { .ip6 = i & 1,
			.src = 1,
			.dst = 2,
			.sport = 40000,
			.dport = 1883,
			.seq = 2,
			.proto = i & 1 ? 60 : 0,
			.ext_len = i & 1 ? 8 : 4,
			.ext = i & 1 ? dst_opts : nops };
		struct frame plain, odd;
		unsigned owner, other;

		s.sport = (uint16_t)(s.sport + i);
		if (i & 2) {
			s.n_tags = 2;
			memcpy(s.tpid, (uint16_t[]){ 0x88a8, 0x8100 }, 4);
		}
		pretend(128, 128);
		settle();
		setup();
		frame_make(&odd, &s);
		s.ext_len = s.proto = 0;
		s.seq = 1;
		frame_make(&plain, &s);
		owner = queue_of(0, &plain);
		other = !owner;
		feed_as_hardware(0, owner, &plain, 0);
		feed_as_hardware(0, i & 4 ? owner : other, &odd, i & 8 ? owner : other);
		run();
		CHECK_EQ(conns_of[owner]->n_seen, 2);
		CHECK_EQ(conns_of[other]->n_seen, 0);
		CHECK_EQ(sum_of(MQT_W_OWNED), i & 4 ? 2 : 1);
		CHECK_EQ(sum_of(MQT_W_HANDED_OVER), i & 4 ? 0 : 1);
		teardown();
	}
}

static void
test_fragments_of_a_flow_reach_its_owner(void)
{
	for (unsigned i = 0; i < 16; i++) {
		struct frame_spec s = { .ip6 = i & 1,
			.src = 1,
			.dst = 2,
			.dport = 1883,
			.sport = (uint16_t)(40000 + i),
			.payload_len = 100 };
		struct frame whole, frag;
		unsigned owner;

		config.limits.fragments = 16;
		pretend(128, 128);
		settle();
		setup();
		frame_make(&whole, &s);
		owner = queue_of(0, &whole);
		frame_fragment(&whole, 0, 64, true, 7, &frag);
		feed_as_hardware(0, i & 1, &frag, 1);
		frame_fragment(&whole, 64, 56, false, 7, &frag);
		feed_as_hardware(0, i & 1, &frag, 1);
		run();
		CHECK_EQ(conns_of[owner]->n_seen, 1);
		CHECK_EQ(conns_of[!owner]->n_seen, 0);
		teardown();
		config.limits.fragments = 0;
	}
}

/* --- where not all ports can do it --------------------------------------------------------------- */

static void
make_worse(unsigned row, struct pretended *p)
{
	p->has_rss = row != 0;
	p->other_key = row == 1;
	p->without_ports = row == 2;
	p->fixed_table = row == 3;
	p->deaf_table = row == 4;
	if (row == 5)
		p->reta_size = 0;
	if (row == 6)
		p->reta_size = 96;
	if (row == 7)
		p->reta_size = 1;
}

static void
test_one_port_that_cannot_makes_all_owners_the_trackers_choice(void)
{
	static const char *const rows[] = { "no RSS", "another key", "no hash of ports",
		"fixed table", "deaf table", "no table", "odd table", "table too small" };

	for (unsigned k = 0; k < 2 * RTE_DIM(rows); k++) {
		unsigned bad = k % 2;

		check_row = rows[k / 2];
		pretend(128, 128);
		make_worse(k / 2, &nic[port_ids[bad]]);
		settle();
		CHECK_EQ(mqt_port_rss(port_ids[!bad]), MQT_PORT_RSS_HARDWARE);
		setup();
		CHECK_EQ(mqt_port_rss(port_ids[0]), MQT_PORT_RSS_SOFTWARE);
		CHECK_EQ(mqt_port_rss(port_ids[1]), MQT_PORT_RSS_SOFTWARE);
		for (unsigned i = 0; i < 64; i++) {
			struct frame f;

			for (unsigned back = 0; back < 2; back++) {
				flow_frame(&f, i, back);
				feed_as_hardware(back, i & 1, &f, 0);
			}
		}
		run();
		CHECK_EQ(conns_of[0]->n_seen + conns_of[1]->n_seen, 128);
		for (unsigned w = 0; w < N_WORKERS; w++)
			for (unsigned i = 0; i < conns_of[w]->n_seen; i++)
				CHECK_EQ(owner_of(conns_of[w]->seen[i].hash), w);
		CHECK(sum_of(MQT_W_HANDED_OVER) > 0);
		teardown();
	}
	check_row = "";
}

static void
test_one_worker_needs_no_agreement(void)
{
	pretend(128, 128);
	rss_settle(port_ids[0], 1);
	rss_settle(port_ids[1], 1);
	workers = make_workers(1);
	CHECK(workers != NULL);
	CHECK_EQ(mqt_port_rss(port_ids[0]), MQT_PORT_RSS_NONE);
	CHECK_EQ(nic[port_ids[0]].reta[0], 0xffff);
	teardown();
}

static void
test_a_port_without_a_hash_is_given_no_key(void)
{
	CHECK(!asked_for_nothing); /* of all ports of all tests */
}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_the_definition_gives_the_published_values),
		TEST(test_the_computed_hash_is_the_definition_in_both_directions),
		TEST(test_hardware_delivers_each_flow_to_its_owner),
		TEST(test_what_hardware_hashes_otherwise_is_handed_over),
		TEST(test_fragments_of_a_flow_reach_its_owner),
		TEST(test_one_port_that_cannot_makes_all_owners_the_trackers_choice),
		TEST(test_one_worker_needs_no_agreement),
		{ "a port without a hash is given no key",
				test_a_port_without_a_hash_is_given_no_key },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker_rss", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("rss", suites);
}
