/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of limits.max_clients is in use, and a word to the operator before it is all: beyond it
 * newcomers pass untracked, or are reset. Looked at each second and when stats.get asks; said once on
 * the way up, once when there is room again, with a gap between so that a fleet that comes and goes
 * around the mark does not fill the log.
 * Synchronisation: the control thread's alone.
 */
#include "internal.h"

#include <rte_log.h>

#define SCARCE_PERCENT 90
#define ENOUGH_PERCENT 80

/* Retained sessions have room of their own. Two counts read one after the other: together they may
 * be wrong for a moment. */
static uint32_t
n_connections(const struct mqt_ctl *ctl)
{
	uint32_t n_retained = mqt_cm_retained_count(ctl->p.cm);
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(mqt_cm_maps(ctl->p.cm), &sizes);
	return sizes.channels > n_retained ? sizes.channels - n_retained : 0;
}

double
ctl_room_fill(const struct mqt_ctl *ctl)
{
	return (double)n_connections(ctl) / ctl->p.config->limits.max_clients;
}

void
ctl_room_look(struct mqt_ctl *ctl)
{
	uint32_t max = ctl->p.config->limits.max_clients, n = n_connections(ctl);
	uint64_t mark = ctl->room_scarce ? ENOUGH_PERCENT : SCARCE_PERCENT;
	bool scarce = 100ull * n >= mark * max;

	if (scarce == ctl->room_scarce)
		return;
	ctl->room_scarce = scarce;
	if (scarce)
		RTE_LOG(WARNING, CTL,
				"%u of %u clients are connected: beyond limits.max_clients "
				"newcomers pass untracked, or are reset where on_failure is "
				"closed. Raise the limit\n",
				n, max);
	else
		RTE_LOG(NOTICE, CTL, "%u of %u clients are connected: there is room again\n", n,
				max);
}
