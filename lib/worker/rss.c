/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who gets a flow where the ports spread it: owners that are the workers to which hardware delivers.
 *
 * All ports get one key and one redirection table (RETA), so that they are one function of addresses
 * and ports (rule R20), and a flow's owner is defined as what this function says. A port hashes some
 * packets otherwise: fragments, behind extension headers or a second VLAN tag by addresses only or
 * not at all. They come in elsewhere and are handed over. Hence the hash that a port writes into an
 * mbuf is never believed, for it does not say of what it was made; the owner is always computed.
 *
 * That costs next to nothing: a key of one repeated 16-bit half makes the Toeplitz hash depend on
 * the sum (exclusive or) of all 16-bit words only, which is what makes it symmetric, and linear in
 * it: two look-ups, one for each byte. It chooses the worker only, never a table's bucket: strangers
 * can aim at it.
 *
 * Where one port cannot do it (no Toeplitz key, no table that can be set and read back, no hash of
 * TCP ports) all owners are the tracker's own hash, for both ends must agree; a port's queues then
 * are where packets happen to come in.
 *
 * Life-cycle: settle as each port starts, agree once all have. Synchronisation: written before the
 * workers run.
 * Sources: Woo, Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012;
 * Microsoft, "RSS Hashing Types", "Verifying the RSS Hash Calculation".
 */
#include "rss.h"

#include "mqtrack/config.h"

#include <string.h>

#include <rte_common.h>
#include <rte_ethdev.h>
#include <rte_log.h>

RTE_LOG_REGISTER(rss_logtype, mqt.rss, NOTICE)

#define KEY_HALF  0x6d5a
#define KEY_USUAL 40 /* bytes, of a driver that does not say */

#define TCP_FIELDS (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)

#define RETA_MAX    4096
#define RETA_GROUPS (RETA_MAX / RTE_ETH_RETA_GROUP_SIZE)

static_assert(MQT_MAX_WORKERS <= UINT8_MAX, "owners are bytes");

/* What spreads the packets of each port, by DPDK's port id. */
static enum mqt_port_rss spread[RTE_MAX_ETHPORTS];

void
rss_key(uint8_t key[RSS_KEY_MAX])
{
	for (unsigned i = 0; i < RSS_KEY_MAX; i++)
		key[i] = (uint8_t)(i % 2 ? KEY_HALF : KEY_HALF >> 8);
}

uint64_t
rss_fields(void)
{
	return TCP_FIELDS | RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6;
}

enum mqt_port_rss
mqt_port_rss(uint16_t port_id)
{
	return port_id < RTE_MAX_ETHPORTS ? spread[port_id] : MQT_PORT_RSS_NONE;
}

const char *
mqt_port_rss_name(enum mqt_port_rss rss)
{
	static const char *const names[] = { "none", "hardware", "software" };

	return names[rss];
}

/* --- each port alone ----------------------------------------------------------------------- */

/* Whether the driver hashes TCP by our key, as it says itself. */
static bool
takes_key(uint16_t port_id)
{
	uint8_t key[RSS_KEY_MAX], want[RSS_KEY_MAX];
	struct rte_eth_rss_conf conf = { .rss_key = key };
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(port_id, &info) != 0 || info.hash_key_size > RSS_KEY_MAX)
		return false;
	conf.rss_key_len = info.hash_key_size ? info.hash_key_size : KEY_USUAL;
	conf.rss_hf = info.flow_type_rss_offloads & rss_fields();
	if (conf.rss_hf == 0) /* ethdev logs an error where one without a hash is given a key */
		return false;
	rss_key(key);
	rss_key(want);
	/* some take it only once they are configured; what came of it is read back */
	(void)rte_eth_dev_rss_hash_update(port_id, &conf);
	memset(key, 0, sizeof(key));
	return rte_eth_dev_rss_hash_conf_get(port_id, &conf) == 0 &&
			(conf.rss_hf & TCP_FIELDS) == TCP_FIELDS &&
			memcmp(key, want, conf.rss_key_len) == 0;
}

void
rss_settle(uint16_t port_id, unsigned n_queues)
{
	if (n_queues == 1)
		spread[port_id] = MQT_PORT_RSS_NONE;
	else
		spread[port_id] =
				takes_key(port_id) ? MQT_PORT_RSS_HARDWARE : MQT_PORT_RSS_SOFTWARE;
}

/* --- all together -------------------------------------------------------------------------- */

/* Toeplitz hash of one 16-bit word under our key; its upper half is the same again. */
static uint16_t
hash_word(uint16_t word)
{
	uint16_t hash = 0;

	for (unsigned bit = 0; bit < 16; bit++)
		if (word & 0x8000u >> bit)
			hash ^= (uint16_t)(KEY_HALF << bit | KEY_HALF >> (16 - bit));
	return hash;
}

void
rss_init(struct rss *rss, unsigned n_buckets, unsigned n_queues)
{
	uint16_t mask = (uint16_t)(n_buckets - 1);

	rss->n_buckets = n_buckets;
	for (unsigned v = 0; v < 256; v++) {
		rss->half[0][v] = hash_word(rte_be_to_cpu_16((uint16_t)v)) & mask;
		rss->half[1][v] = hash_word(rte_be_to_cpu_16((uint16_t)(v << 8))) & mask;
	}
	for (unsigned i = 0; i < n_buckets; i++)
		rss->owner[i] = (uint8_t)(i % n_queues);
}

/* Entries of a port's redirection table; 0: none that could be ours. */
static unsigned
reta_size(uint16_t port_id)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(port_id, &info) != 0 || info.reta_size > RETA_MAX)
		return 0;
	return rte_is_power_of_2(info.reta_size) ? info.reta_size : 0;
}

/* Fills a port's table with the owners. @return whether it is in force. */
static bool
reta_fill(const struct rss *rss, uint16_t port_id)
{
	struct rte_eth_rss_reta_entry64 reta[RETA_GROUPS] = { 0 }, back[RETA_GROUPS] = { 0 };
	uint16_t size = (uint16_t)reta_size(port_id);

	for (unsigned i = 0; i < size; i++) {
		unsigned group = i / RTE_ETH_RETA_GROUP_SIZE, at = i % RTE_ETH_RETA_GROUP_SIZE;

		reta[group].mask |= RTE_BIT64(at);
		reta[group].reta[at] = rss->owner[i & (rss->n_buckets - 1)];
		back[group].mask = reta[group].mask;
	}
	return rte_eth_dev_rss_reta_update(port_id, reta, size) == 0 &&
			rte_eth_dev_rss_reta_query(port_id, back, size) == 0 &&
			memcmp(reta, back, sizeof(reta)) == 0;
}

static bool
agree(struct rss *rss, const uint16_t *port_ids, unsigned n_ports, unsigned n_queues)
{
	unsigned n_buckets = RSS_BUCKETS;

	for (unsigned i = 0; i < n_ports; i++) {
		if (mqt_port_rss(port_ids[i]) != MQT_PORT_RSS_HARDWARE)
			return false;
		n_buckets = RTE_MIN(n_buckets, reta_size(port_ids[i]));
	}
	if (n_buckets < n_queues)
		return false;
	rss_init(rss, n_buckets, n_queues);
	for (unsigned i = 0; i < n_ports; i++)
		if (!reta_fill(rss, port_ids[i]))
			return false;
	return true;
}

void
rss_agree(struct rss *rss, const uint16_t *port_ids, unsigned n_ports, unsigned n_queues)
{
	unsigned n_hardware = 0;

	rss->n_buckets = 0;
	if (n_queues == 1 || agree(rss, port_ids, n_ports, n_queues))
		return;
	rss->n_buckets = 0;
	for (unsigned i = 0; i < n_ports; i++) {
		n_hardware += spread[port_ids[i]] == MQT_PORT_RSS_HARDWARE;
		spread[port_ids[i]] = MQT_PORT_RSS_SOFTWARE;
	}
	if (n_hardware > 0)
		rte_log(RTE_LOG_NOTICE, rss_logtype,
				"rss: not all ports can spread flows by the same key and table; "
				"the tracker does, and packets change workers\n");
}
