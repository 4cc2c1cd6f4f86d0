/* SPDX-License-Identifier: BSD-3-Clause */
/* The data lcores: what passes, who owns what, the turn, making and ending, ports. */
#include "worker_rig.h"

/* --- traffic that is no listener's ----------------------------------------------------------- */

static const struct other {
	const char *row;
	unsigned len;
	enum mqt_worker_counter counter;
	uint8_t frame[96];
} others[] = {
	{ "ARP request", 42, MQT_W_PASSED,
			{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1,
					0x08, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0,
					0, 0, 0, 0, 192, 0, 2, 2 } },
	{ "one byte", 1, MQT_W_PASSED, { 0xff } },
	{ "header only", 14, MQT_W_PASSED, { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 } },
	{ "LLDP", 60, MQT_W_PASSED,
			{ 1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc, 2, 7, 4 } },
	{ "UDP to 1883", 44, MQT_W_PASSED,
			{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 30, 0, 0, 0,
					0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40,
					0x07, 0x5b, 0, 10, 0, 0, 0xc0, 0 } },
	{ "TCP to 22", 54, MQT_W_PASSED,
			{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0,
					0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40, 0,
					22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff } },
	{ "TCP to 22 on a VLAN", 58, MQT_W_PASSED,
			{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0x00, 0, 100, 0x08, 0x00, 0x45,
					0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2,
					2, 0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff,
					0xff } },
	{ "first fragment to 1883", 58, MQT_W_FRAGMENTS,
			{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 44, 0, 7,
					0x20, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x9c,
					0x40, 0x07, 0x5b, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff,
					0xff } },
	{ "TCP header cut", 50, MQT_W_MALFORMED_PACKETS,
			{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 36, 0, 0, 0,
					0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40,
					0x07, 0x5b, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2 } },
	{ "IPv6 neighbour solicitation", 86, MQT_W_PASSED,
			{ 0x33, 0x33, 0xff, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0,
					32, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
					0, 1, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2,
					135 } },
};

static void
test_other_traffic_passes_bit_for_bit_both_ways(void)
{
	setup();
	for (size_t i = 0; i < RTE_DIM(others); i++) {
		const struct other *o = &others[i];

		check_row = o->row;
		for (unsigned port = 0; port < 2; port++) {
			uint64_t before = counted(port, o->counter);
			struct rte_mbuf *in, *out = NULL;

			/* worker 0 on port 0, worker 1 on port 1 */
			in = feed(port, port, o->frame, o->len);
			CHECK_EQ(turn(port), 1);
			CHECK_EQ(rte_ring_dequeue(tx[port ^ 1][port], (void **)&out), 0);
			CHECK(out == in);
			CHECK_EQ(counted(port, o->counter), before + 1);
			if (!out)
				continue;
			CHECK_EQ(out->nb_segs, 1);
			CHECK_EQ(out->pkt_len, o->len);
			CHECK_MEM(rte_pktmbuf_mtod(out, void *), o->frame, o->len);
			CHECK_EQ(out->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK, 0);
			rte_pktmbuf_free(out);
		}
	}
	check_row = "";
	for (unsigned w = 0; w < N_WORKERS; w++) {
		CHECK_EQ(conns_of[w]->n_seen, 0);
		CHECK_EQ(counted(w, MQT_W_RX_PACKETS), RTE_DIM(others));
		CHECK_EQ(counted(w, MQT_W_TX_PACKETS), RTE_DIM(others));
		CHECK_EQ(counted(w, MQT_W_HANDED_OVER), 0);
	}
	teardown();
}

static void
test_a_wrong_ip_checksum_passes_without_effect(void)
{
	uint8_t f[64];
	unsigned len = tcp4(f, 1, flow_of(0), 2, 1883, 7);
	struct rte_mbuf *in, *out = NULL;

	setup();
	f[22]--;
	in = feed(0, 0, f, len);
	turn(0);
	turn(1);
	CHECK_EQ(rte_ring_dequeue(tx[1][0], (void **)&out), 0);
	CHECK(out == in);
	rte_pktmbuf_free(out);
	CHECK_EQ(conns_of[0]->n_seen + conns_of[1]->n_seen, 0);
	CHECK_EQ(counted(0, MQT_W_BAD_IP_CHECKSUM), 1);
	/* what no listener sees to is not asked for it */
	tcp4(f, 1, 40000, 2, 22, 7);
	f[22]--;
	feed(0, 0, f, len);
	turn(0);
	CHECK_EQ(counted(0, MQT_W_BAD_IP_CHECKSUM), 1);
	CHECK_EQ(counted(0, MQT_W_PASSED), 1);
	teardown();
}

static void
test_a_mix_keeps_its_order(void)
{
	struct rte_mbuf *in[200], *out;
	unsigned n = 0;

	setup();
	for (n = 0; n < RTE_DIM(in); n++) {
		const struct other *o = &others[n % RTE_DIM(others)];

		in[n] = feed(0, 0, o->frame, o->len);
	}
	while (turn(0) > 0)
		;
	for (n = 0; n < RTE_DIM(in) && rte_ring_dequeue(tx[1][0], (void **)&out) == 0; n++) {
		CHECK(out == in[n]);
		rte_pktmbuf_free(out);
	}
	CHECK_EQ(n, RTE_DIM(in));
	teardown();
}

/* --- owners ---------------------------------------------------------------------------------- */

#define N_FLOWS 61
#define N_STEPS 23

/*
 * Flows in both directions; each direction comes from a queue of its own choice, as a port without
 * symmetric RSS would have it.
 */
static void
test_each_flow_has_one_owner_and_keeps_its_order(void)
{
	uint32_t last[N_FLOWS][2];
	unsigned owner[N_FLOWS], n = 0, n_owned[N_WORKERS] = { 0 };
	uint8_t f[64];

	setup();
	memset(last, 0, sizeof(last));
	for (unsigned i = 0; i < N_FLOWS; i++)
		owner[i] = owner_of_flow((uint16_t)(40000 + i));
	for (unsigned step = 1; step <= N_STEPS; step++) {
		for (unsigned i = 0; i < N_FLOWS; i++) {
			uint16_t sport = (uint16_t)(40000 + i);

			feed(0, i % 2, f, tcp4(f, 1, sport, 2, 1883, step));
			feed(1, i / 2 % 2, f, tcp4(f, 2, 1883, 1, sport, step));
		}
		/* at an uneven pace, so that ring and queue are never in step */
		turn(step % 3 == 0);
	}
	run();
	for (unsigned w = 0; w < N_WORKERS; w++) {
		for (unsigned k = 0; k < conns_of[w]->n_seen; k++) {
			const struct seen *s = &conns_of[w]->seen[k];
			unsigned low = ntohs(s->key.v4.port_be[0]);
			unsigned high = ntohs(s->key.v4.port_be[1]);
			unsigned i = (low > high ? low : high) - 40000;

			CHECK_EQ(owner_of(s->hash), w);
			if (i >= N_FLOWS) {
				CHECK(i < N_FLOWS);
				continue;
			}
			CHECK_EQ(owner[i], w);
			CHECK_EQ(s->seq, last[i][s->port] + 1);
			last[i][s->port] = s->seq;
			n++;
		}
		n_owned[w] = conns_of[w]->n_seen;
	}
	CHECK_EQ(n, 2 * N_FLOWS * N_STEPS);
	CHECK(n_owned[0] > 0 && n_owned[1] > 0);
	CHECK_EQ(rte_ring_count(tx[0][0]) + rte_ring_count(tx[0][1]), N_FLOWS * N_STEPS);
	CHECK_EQ(rte_ring_count(tx[1][0]) + rte_ring_count(tx[1][1]), N_FLOWS * N_STEPS);
	CHECK_EQ(counted(0, MQT_W_HANDOVER_DROPPED) + counted(1, MQT_W_HANDOVER_DROPPED), 0);
	CHECK(counted(0, MQT_W_HANDED_OVER) > 0 && counted(1, MQT_W_HANDED_OVER) > 0);
	CHECK_EQ(counted(0, MQT_W_RX_PACKETS) + counted(1, MQT_W_RX_PACKETS), n);
	teardown();
}

static void
test_a_handed_over_packet_leaves_unchanged_on_the_other_port(void)
{
	uint8_t f[64];
	struct rte_mbuf *in, *out;

	setup();
	for (unsigned port = 0; port < 2; port++) {
		unsigned len = tcp4(f, 1, flow_of(1), 2, 1883, 7);

		in = feed(port, 0, f, len);
		CHECK_EQ(turn(0), 1);
		CHECK_EQ(rte_ring_count(tx[port ^ 1][0]) + rte_ring_count(tx[port ^ 1][1]), 0);
		CHECK_EQ(turn(1), 1);
		out = NULL;
		CHECK_EQ(rte_ring_dequeue(tx[port ^ 1][1], (void **)&out), 0);
		CHECK(out == in);
		if (out)
			CHECK_MEM(rte_pktmbuf_mtod(out, void *), f, len);
		rte_pktmbuf_free(out);
		CHECK_EQ(counted(0, MQT_W_HANDED_OVER), port + 1);
	}
	CHECK_EQ(conns_of[1]->n_seen, 2);
	CHECK_EQ(conns_of[1]->seen[0].port, 0);
	CHECK_EQ(conns_of[1]->seen[1].port, 1);
	CHECK_EQ(conns_of[0]->n_seen, 0);
	teardown();
}

static void
test_a_full_handover_ring_drops_and_counts(void)
{
	const unsigned n_fed = 1500;
	unsigned handed, dropped, avail;
	uint16_t sport;
	uint8_t f[64];

	setup();
	sport = flow_of(1);
	for (unsigned i = 0; i < n_fed; i++)
		feed(0, 0, f, tcp4(f, 1, sport, 2, 1883, i + 1));
	while (turn(0) > 0)
		;
	handed = (unsigned)counted(0, MQT_W_HANDED_OVER);
	dropped = (unsigned)counted(0, MQT_W_HANDOVER_DROPPED);
	CHECK_EQ(handed + dropped, n_fed);
	CHECK(handed >= 512 && dropped > 0);
	avail = rte_mempool_avail_count(pool);
	CHECK_EQ(avail, N_MBUFS - handed); /* the dropped ones are back */
	while (turn(1) > 0)
		;
	CHECK_EQ(conns_of[1]->n_seen, handed);
	for (unsigned i = 0; i < conns_of[1]->n_seen; i++)
		CHECK_EQ(conns_of[1]->seen[i].seq, i + 1);
	/* with room again it goes on */
	feed(0, 0, f, tcp4(f, 1, sport, 2, 1883, 77));
	turn(0);
	turn(1);
	CHECK_EQ(conns_of[1]->n_seen, handed + 1);
	teardown();
}

static void
test_packets_left_in_the_rings_are_freed_at_the_end(void)
{
	uint8_t f[64];

	setup();
	for (unsigned i = 0; i < 100; i++)
		feed(0, 0, f, tcp4(f, 1, flow_of(1), 2, 1883, i));
	turn(0);
	CHECK_EQ(counted(0, MQT_W_HANDED_OVER), 64);
	teardown(); /* counts the pool */
}

static void
test_one_worker_owns_everything(void)
{
	uint8_t f[64];

	workers = make_workers(1);
	CHECK(workers != NULL);
	if (!workers)
		return;
	for (unsigned i = 0; i < 64; i++)
		feed(i % 2, 0, f, tcp4(f, 1, (uint16_t)(40000 + i), 2, 1883, i));
	while (turn(0) > 0)
		;
	CHECK_EQ(conns_of[0]->n_seen, 64);
	CHECK_EQ(counted(0, MQT_W_HANDED_OVER), 0);
	/* the burst of one port has left before that of the next is judged */
	CHECK_EQ(conns_of[0]->n_bursts, 2);
	CHECK(!conns_of[0]->unsent_at_input);
	teardown();
}

/* --- the turn --------------------------------------------------------------------------------- */

static void
test_what_mailbox_and_timers_push_leaves_in_the_same_turn(void)
{
	uint8_t f[64];
	unsigned len = tcp4(f, 2, 1883, 1, 40000, 1);

	setup();
	conns_of[0]->from_mailbox = mbuf_of(f, len);
	conns_of[0]->from_timer = mbuf_of(f, len);
	CHECK_EQ(turn(0), 2);
	CHECK_EQ(rte_ring_count(tx[0][0]), 1);
	CHECK_EQ(rte_ring_count(tx[1][0]), 1);
	CHECK_EQ(conns_of[0]->n_polls, 1);
	CHECK_EQ(conns_of[0]->n_expires, 1);
	CHECK_EQ(turn(0), 0);
	teardown();
}

static void
test_nothing_is_unsent_when_the_mailbox_is_read(void)
{
	uint8_t f[64];

	setup();
	for (unsigned i = 0; i < 500; i++) {
		const struct other *o = &others[i % RTE_DIM(others)];

		feed(i % 2, 0, f, tcp4(f, 1, (uint16_t)(40000 + i), 2, 1883, i));
		feed(i % 2, 0, o->frame, o->len);
		if (i % 5 == 0)
			turn(0), turn(1);
	}
	run();
	CHECK(!conns_of[0]->unsent_at_poll);
	CHECK(!conns_of[1]->unsent_at_poll);
	CHECK(conns_of[0]->n_polls > 100);
	teardown();
}

static void
test_what_a_port_does_not_take_is_dropped_and_counted(void)
{
	const unsigned n_fed = 300, room = 100;
	uint8_t f[64];

	setup();
	/* fill the wire but for some room */
	for (unsigned i = 0; i < WIRE - room; i++)
		CHECK_EQ(rte_ring_enqueue(tx[1][0], mbuf_of(f, tcp4(f, 1, 2, 3, 4, 0))), 0);
	for (unsigned i = 0; i < n_fed; i++)
		feed(0, 0, others[0].frame, others[0].len);
	while (turn(0) > 0)
		;
	CHECK_EQ(counted(0, MQT_W_TX_PACKETS), room);
	CHECK_EQ(counted(0, MQT_W_TX_DROPPED), n_fed - room);
	CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS - WIRE);
	teardown();
}

static void
test_the_heartbeat_is_the_time_of_the_turn(void)
{
	const _Atomic uint64_t *heartbeat;
	struct mqt_worker_view view;

	setup();
	heartbeat = mqt_worker_heartbeat(mqt_workers_at(workers, 1));
	CHECK_EQ(atomic_load(heartbeat), 0);
	turn(0);
	CHECK_EQ(atomic_load(heartbeat), 0);
	for (unsigned i = 0; i < 3; i++) {
		turn(1);
		CHECK_EQ(atomic_load(heartbeat), now);
	}
	mqt_worker_view(mqt_workers_at(workers, 1), &view);
	CHECK_EQ(view.heartbeat_ns, now);
	teardown();
}

/* --- making and ending ------------------------------------------------------------------------- */

static void
test_a_worker_shows_what_is_its_own(void)
{
	struct mqt_worker_view view;

	setup();
	CHECK_EQ(mqt_workers_count(workers), N_WORKERS);
	CHECK(mqt_workers_at(workers, N_WORKERS) == NULL);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		const struct mqt_worker *w = mqt_workers_at(workers, i);

		mqt_worker_view(w, &view);
		CHECK_EQ(view.index, i);
		CHECK_EQ(view.heartbeat_ns, 0);
		CHECK(view.gauges == &conns_of[i]->gauges);
		CHECK_EQ(mqt_worker_slots(w).n, 7 + i);
		CHECK(mqt_worker_mailbox(w) == conns_of[i]->params.mailbox);
		CHECK_EQ(conns_of[i]->params.worker, i);
		CHECK_EQ(conns_of[i]->params.n_workers, N_WORKERS);
		CHECK(conns_of[i]->params.counters == view.counters);
	}
	CHECK(mqt_worker_mailbox(mqt_workers_at(workers, 0)) !=
			mqt_worker_mailbox(mqt_workers_at(workers, 1)));
	teardown();
}

static void
test_stop_ends_run(void)
{
	struct mqt_worker_view view;

	setup();
	mqt_worker_view(mqt_workers_at(workers, 0), &view);
	CHECK_EQ(view.lcore, LCORE_ID_ANY);
	mqt_workers_stop(workers);
	CHECK_EQ(mqt_worker_run(mqt_workers_at(workers, 0)), 0);
	mqt_worker_view(mqt_workers_at(workers, 0), &view);
	CHECK_EQ(view.lcore, rte_lcore_id());
	teardown();
}

static void
test_a_failed_creation_leaves_nothing(void)
{
	fail_create = 1;
	rte_errno = 0;
	CHECK(make_workers(N_WORKERS) == NULL);
	CHECK_EQ(rte_errno, ENOMEM);
	CHECK_EQ(n_conns, 0);
	fail_create = -1;
	mqt_workers_destroy(NULL);
}

static void
test_counts_out_of_range_are_refused(void)
{
	static const struct {
		const char *row;
		unsigned n_workers, n_pairs;
	} rows[] = {
		{ "no worker", 0, 1 },
		{ "too many workers", MQT_MAX_WORKERS + 1, 1 },
		{ "no pair", 1, 0 },
		{ "too many pairs", 1, MQT_MAX_PAIRS + 1 },
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		check_row = rows[i].row;
		config.n_pairs = (uint16_t)rows[i].n_pairs;
		CHECK(make_workers(rows[i].n_workers) == NULL);
		CHECK_EQ(rte_errno, EINVAL);
	}
	check_row = "";
	config.n_pairs = 1;
}

/* --- ports ------------------------------------------------------------------------------------- */

static void
test_a_port_with_too_few_queues_is_refused(void)
{
	struct rte_ring *in = wire("few", 0, 0), *out = wire("few", 0, 1);
	int id = rte_eth_from_rings("few", &in, 1, &out, 1, 0);

	CHECK(id >= 0);
	CHECK_EQ(mqt_port_start((uint16_t)id, 2, pool), -ENODEV);
	CHECK_EQ(mqt_port_start((uint16_t)id, 1, pool), 0);
	mqt_port_stop((uint16_t)id);
	mqt_port_stop((uint16_t)id); /* gone: nothing */
	rte_ring_free(in);
	rte_ring_free(out);
}

static void
test_mbufs_smaller_than_a_frame_are_refused(void)
{
	struct rte_ring *in = wire("small", 0, 0), *out = wire("small", 0, 1);
	int id = rte_eth_from_rings("small", &in, 1, &out, 1, 0);
	struct rte_mempool *small, *enough;

	small = rte_pktmbuf_pool_create("small", 64, 0, 0,
			RTE_PKTMBUF_HEADROOM + RTE_ETHER_MTU + MQT_L2_MAX - 1, SOCKET_ID_ANY);
	enough = rte_pktmbuf_pool_create("enough", 64, 0, 0,
			RTE_PKTMBUF_HEADROOM + RTE_ETHER_MTU + MQT_L2_MAX, SOCKET_ID_ANY);
	CHECK(id >= 0 && small && enough);
	if (id >= 0 && small && enough) {
		int ret = mqt_port_start((uint16_t)id, 1, small);

		/* the port may spread a frame over several mbufs: then small ones will do */
		CHECK(ret == -EMSGSIZE || ret == 0);
		if (ret != 0)
			CHECK_EQ(mqt_port_start((uint16_t)id, 1, enough), 0);
		mqt_port_stop((uint16_t)id);
	}
	rte_mempool_free(small);
	rte_mempool_free(enough);
	rte_ring_free(in);
	rte_ring_free(out);
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "other traffic passes bit for bit both ways",
				test_other_traffic_passes_bit_for_bit_both_ways },
		{ "a wrong IP checksum passes without effect",
				test_a_wrong_ip_checksum_passes_without_effect },
		{ "a mix keeps its order", test_a_mix_keeps_its_order },
		{ "each flow has one owner and keeps its order",
				test_each_flow_has_one_owner_and_keeps_its_order },
		{ "a handed over packet leaves unchanged on the other port",
				test_a_handed_over_packet_leaves_unchanged_on_the_other_port },
		{ "a full hand-over ring drops and counts",
				test_a_full_handover_ring_drops_and_counts },
		{ "packets left in the rings are freed at the end",
				test_packets_left_in_the_rings_are_freed_at_the_end },
		{ "one worker owns everything", test_one_worker_owns_everything },
		{ "what mailbox and timers push leaves in the same turn",
				test_what_mailbox_and_timers_push_leaves_in_the_same_turn },
		{ "nothing is unsent when the mailbox is read",
				test_nothing_is_unsent_when_the_mailbox_is_read },
		{ "what a port does not take is dropped and counted",
				test_what_a_port_does_not_take_is_dropped_and_counted },
		{ "the heartbeat is the time of the turn",
				test_the_heartbeat_is_the_time_of_the_turn },
		{ "a worker shows what is its own", test_a_worker_shows_what_is_its_own },
		{ "stop ends run", test_stop_ends_run },
		{ "a failed creation leaves nothing", test_a_failed_creation_leaves_nothing },
		{ "counts out of range are refused", test_counts_out_of_range_are_refused },
		{ "a port with too few queues is refused",
				test_a_port_with_too_few_queues_is_refused },
		{ "mbufs smaller than a frame are refused",
				test_mbufs_smaller_than_a_frame_are_refused },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("worker", suites);
}
