/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traffic as pcap files: one a port of the tracker, or both merged.
 *
 * The times of the packets are those of the rate, in microseconds, for Pktgen knows no other kind of
 * file; their order holds where they are too close. Who reads two files without looking at times, as
 * net_pcap does, needs them laid out in turns: the tracker's worker takes at most so many frames from
 * the outside port, then as many from the inside port; so a turn has the same number of frames in
 * both files, the answer to a packet is never in an earlier turn, and what is missing is filled up
 * with frames that mean nothing.
 * Synchronisation: none, one thread.
 */
#include "wire.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#define NS_PER_SEC UINT64_C(1000000000)
#define FILLER_LEN 60

struct files {
	const struct gen_options *o;
	pcap_t *pcap;
	pcap_dumper_t *file[2];
	uint64_t now_ns, step_ns;
	uint32_t n_turn[2]; /* frames of this turn */
};

static int
complain(const char *path, const char *why)
{
	fprintf(stderr, "mqtrack-gen: %s: %s\n", path, why);
	return -1;
}

static int
open_files(struct files *f)
{
	f->pcap = pcap_open_dead(DLT_EN10MB, 65535);
	if (!f->pcap)
		return complain(f->o->out[0], "no memory");
	for (unsigned i = 0; i < 2 && f->o->out[i]; i++) {
		f->file[i] = pcap_dump_open(f->pcap, f->o->out[i]);
		if (!f->file[i])
			return complain(f->o->out[i], pcap_geterr(f->pcap));
	}
	return 0;
}

/* @return 0, or -1 where a file is not whole. */
static int
close_files(struct files *f)
{
	int ret = 0;

	for (unsigned i = 0; i < 2; i++) {
		if (!f->file[i])
			continue;
		errno = 0;
		if (pcap_dump_flush(f->file[i]) != 0 || ferror(pcap_dump_file(f->file[i])))
			ret = complain(f->o->out[i], errno ? strerror(errno) : "cannot write");
		pcap_dump_close(f->file[i]);
	}
	if (f->pcap)
		pcap_close(f->pcap);
	return ret;
}

static void
write_frame(struct files *f, unsigned file, const uint8_t *data, uint32_t len)
{
	struct pcap_pkthdr head = { .caplen = len, .len = len };

	head.ts.tv_sec = (time_t)(f->now_ns / NS_PER_SEC);
	head.ts.tv_usec = (suseconds_t)(f->now_ns % NS_PER_SEC / 1000);
	pcap_dump((u_char *)f->file[file], &head, data);
}

static void
end_turn(struct files *f)
{
	static const uint8_t filler[FILLER_LEN] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88,
		0xb5 };

	for (unsigned i = 0; i < 2; i++) {
		for (; f->n_turn[i] < f->o->turn; f->n_turn[i]++)
			write_frame(f, i, filler, sizeof(filler));
		f->n_turn[i] = 0;
	}
}

/* A client's packet comes before all of the brokers' of its turn. */
static void
put(struct files *f, enum gen_side from, const struct rte_mbuf *m)
{
	bool starts_over = from == GEN_CLIENT && f->n_turn[GEN_BROKER] > 0;

	if (f->o->turn && (starts_over || f->n_turn[from] == f->o->turn))
		end_turn(f);
	f->n_turn[from]++;
	write_frame(f, f->o->output == GEN_MERGED ? 0 : from, rte_pktmbuf_mtod(m, const uint8_t *),
			m->pkt_len);
	f->now_ns += f->step_ns;
}

/* Nothing is said until then. */
static void
pause_until(struct files *f, uint64_t until_ns)
{
	if (f->o->turn == 0) {
		f->now_ns = until_ns;
		return;
	}
	while (f->now_ns < until_ns) {
		end_turn(f);
		f->now_ns += f->step_ns * f->o->turn;
	}
}

static void
write_all(struct files *f, struct gen_engine *engine)
{
	enum gen_next next;
	enum gen_side from;
	struct rte_mbuf *m;

	while ((next = gen_engine_next(engine, f->now_ns, &m, &from)) != GEN_DONE) {
		if (next == GEN_RESTING) {
			pause_until(f, gen_engine_rest_ends(engine));
		} else if (next == GEN_NOTHING) { /* --flow-rate */
			pause_until(f, f->now_ns + f->step_ns);
		} else {
			if (!f->o->established || gen_engine_talked(engine))
				put(f, from, m);
			rte_pktmbuf_free(gen_engine_arrived(engine, f->now_ns,
					from == GEN_CLIENT ? GEN_BROKER : GEN_CLIENT, m));
			rte_pktmbuf_free(m);
		}
	}
	if (f->o->turn)
		end_turn(f);
}

int
gen_files_run(const struct gen_options *o, struct gen_engine *engine)
{
	struct files f = { .o = o, .now_ns = NS_PER_SEC, .step_ns = NS_PER_SEC / o->rate };
	int ret = open_files(&f);

	if (ret == 0)
		write_all(&f, engine);
	return close_files(&f) || ret ? -1 : 0;
}
