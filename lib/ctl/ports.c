/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The links of the ports. Nobody else would notice a cable that was pulled or an interface that was
 * deleted: workers just receive nothing. Looked at each second and when system.info asks; each
 * change is logged once.
 * Synchronisation: the control thread's alone. Not the lcores': it takes system calls.
 */
#include "internal.h"

#include <rte_log.h>

static const char *
device(const struct mqt_ctl *ctl, unsigned port)
{
	const struct mqt_port_pair *pair = &ctl->p.config->pairs[port / 2];

	return port % 2 ? pair->inside : pair->outside;
}

static const char *
side(unsigned port)
{
	return port % 2 ? "inside" : "outside";
}

static void
tell(const struct mqt_ctl *ctl, unsigned port)
{
	switch (ctl->links[port]) {
	case MQT_PORT_UP:
		RTE_LOG(NOTICE, CTL, "ports[%u].%s (%s): its link is up again\n", port / 2,
				side(port), device(ctl, port));
		break;
	case MQT_PORT_DOWN:
		RTE_LOG(WARNING, CTL,
				"ports[%u].%s (%s): its link is down, nothing passes this pair. "
				"Check "
				"the cable, or set the interface up\n",
				port / 2, side(port), device(ctl, port));
		break;
	case MQT_PORT_GONE:
		RTE_LOG(ERR, CTL,
				"ports[%u].%s (%s): its device is gone, nothing passes this pair "
				"any "
				"more. Restart mqtrackd when it is back\n",
				port / 2, side(port), device(ctl, port));
		break;
	}
}

unsigned
ctl_ports_count(const struct mqt_ctl *ctl)
{
	return ctl->p.port_ids ? 2u * ctl->p.config->n_pairs : 0;
}

static enum mqt_port_link
link_of(const struct mqt_ctl *ctl, unsigned port)
{
	/* what is gone stays gone: an interface of the same name is another one */
	return ctl->links[port] == MQT_PORT_GONE ? MQT_PORT_GONE
						 : mqt_port_link(ctl->p.port_ids[port]);
}

void
ctl_ports_look(struct mqt_ctl *ctl)
{
	/* it may take a moment to come up */
	if (mqt_clock_mono(ctl->p.clock) < ctl->started_ns + CTL_WATCH_MS * MQT_NS_PER_MS)
		return;
	for (unsigned port = 0; port < ctl_ports_count(ctl); port++) {
		enum mqt_port_link link = link_of(ctl, port);

		if (link == ctl->links[port])
			continue;
		ctl->links[port] = link;
		tell(ctl, port);
	}
}

json_t *
ctl_ports_json(struct mqt_ctl *ctl)
{
	json_t *list = json_array();

	if (ctl_ports_count(ctl) > 0)
		ctl_ports_look(ctl);
	for (unsigned port = 0; port < ctl_ports_count(ctl); port++)
		json_array_append_new(list,
				json_pack("{s:s, s:i, s:s, s:s, s:s}", "device", device(ctl, port),
						"pair", (int)(port / 2), "side", side(port), "link",
						mqt_port_link_name(link_of(ctl, port)), "rss",
						mqt_port_rss_name(mqt_port_rss(
								ctl->p.port_ids[port]))));
	return list;
}
