/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port from DPDK's hands to a forwarding one and back.
 *
 * Life-cycle: start = check, configure, queues, MTU, promiscuous, start; what fails is said in the
 * log with what to do, and leaves the port as it was found (stopped). stop = stop and close.
 * A port whose device disappears then receives nothing and takes nothing; mqt_port_link() tells.
 * Synchronisation: start and stop run before and after the workers. The removal event comes on
 * EAL's interrupt thread and only sets a flag.
 * Sources: rule R19 (what enters must leave as it came: no merged, no unfinished segments);
 * netdevice(7), linux/ethtool.h for ports that are a kernel's interface.
 */
#include "mqtrack/worker.h"
#include "rss.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_log.h>
#include <rte_mbuf.h>

RTE_LOG_REGISTER(port_logtype, mqt.port, NOTICE)

#define PORT_LOG(level, ...) rte_log(RTE_LOG_##level, port_logtype, "port " __VA_ARGS__)

#define N_RX_DESC 1024
#define N_TX_DESC 1024

/* Ethernet header and two VLAN tags: what a frame has beyond its MTU. */
#define L2_OVERHEAD MQT_L2_MAX

static const char *
port_name(uint16_t port_id, char buf[RTE_ETH_NAME_MAX_LEN])
{
	if (rte_eth_dev_get_name_by_port(port_id, buf) != 0)
		snprintf(buf, RTE_ETH_NAME_MAX_LEN, "#%u", port_id);
	return buf;
}

/* Which ports DPDK has reported as removed, by its port id. */
static atomic_bool removed[RTE_MAX_ETHPORTS];

static int
on_removal(uint16_t port_id, enum rte_eth_event_type type, void *arg, void *ret_param)
{
	atomic_store_explicit(&removed[port_id], true, memory_order_relaxed);
	return 0;
}

/*
 * Whether the driver's checksum offload is a check. That of the paravirtual ports is a promise
 * instead: asking for it lets the host deliver segments whose checksum was never written.
 */
static bool
checks_checksums(const struct rte_eth_dev_info *info)
{
	static const char *const promising[] = { "net_virtio", "net_vhost" };

	for (unsigned i = 0; i < RTE_DIM(promising); i++)
		if (strncmp(info->driver_name, promising[i], strlen(promising[i])) == 0)
			return false;
	return true;
}

static void
fill_conf(const struct rte_eth_dev_info *info, unsigned n_queues, uint8_t key[RSS_KEY_MAX],
		struct rte_eth_conf *conf)
{
	const uint64_t checksums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

	memset(conf, 0, sizeof(*conf));
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	conf->txmode.mq_mode = RTE_ETH_MQ_TX_NONE;
	if (checks_checksums(info))
		conf->rxmode.offloads = info->rx_offload_capa & checksums;
	if (info->dev_flags && *info->dev_flags & RTE_ETH_DEV_INTR_RMV)
		conf->intr_conf.rmv = 1;
	if (n_queues > 1 && (info->flow_type_rss_offloads & rss_fields()) != 0) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss_fields();
		if (info->hash_key_size > 0 && info->hash_key_size <= RSS_KEY_MAX) {
			rss_key(key);
			conf->rx_adv_conf.rss_conf.rss_key = key;
			conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
		}
	}
}

/* Asks the kernel about the interface behind a port. @return whether it has one, which answered. */
static bool
ask_kernel(const struct rte_eth_dev_info *info, unsigned long request, struct ifreq *ifr)
{
	bool ok;
	int fd;

	if (info->if_index == 0 || !if_indextoname(info->if_index, ifr->ifr_name))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	ok = ioctl(fd, request, ifr) == 0;
	close(fd);
	return ok;
}

/* MTU of the kernel's interface; 0: there is none. */
static unsigned
kernel_mtu(const struct rte_eth_dev_info *info)
{
	struct ifreq ifr = { 0 };

	return ask_kernel(info, SIOCGIFMTU, &ifr) && ifr.ifr_mtu > 0 ? (unsigned)ifr.ifr_mtu : 0;
}

static uint32_t
ethtool_value(const struct rte_eth_dev_info *info, uint32_t cmd)
{
	struct ethtool_value value = { .cmd = cmd };
	struct ifreq ifr = { .ifr_data = (void *)&value };

	return ask_kernel(info, SIOCETHTOOL, &ifr) ? value.data : 0;
}

/* Drivers on top of a kernel's interface that call their link up whatever becomes of it. */
static bool
link_is_the_kernels(const struct rte_eth_dev_info *info)
{
	static const char *const drivers[] = { "net_af_packet", "net_af_xdp" };

	for (unsigned i = 0; i < RTE_DIM(drivers); i++)
		if (strcmp(info->driver_name, drivers[i]) == 0)
			return info->if_index != 0;
	return false;
}

static enum mqt_port_link
kernel_link(const struct rte_eth_dev_info *info)
{
	const int up = IFF_UP | IFF_RUNNING;
	struct ifreq ifr = { 0 };

	if (!if_indextoname(info->if_index, ifr.ifr_name))
		return MQT_PORT_GONE;
	return ask_kernel(info, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & up) == up ? MQT_PORT_UP
										  : MQT_PORT_DOWN;
}

enum mqt_port_link
mqt_port_link(uint16_t port_id)
{
	struct rte_eth_dev_info info;
	struct rte_eth_link link;

	if (!rte_eth_dev_is_valid_port(port_id) || rte_eth_dev_is_removed(port_id) ||
			atomic_load_explicit(&removed[port_id], memory_order_relaxed) ||
			rte_eth_dev_info_get(port_id, &info) != 0)
		return MQT_PORT_GONE;
	if (link_is_the_kernels(&info))
		return kernel_link(&info);
	/* a driver that cannot tell has no link to lose */
	return rte_eth_link_get_nowait(port_id, &link) != 0 || link.link_status == RTE_ETH_LINK_UP
			? MQT_PORT_UP
			: MQT_PORT_DOWN;
}

const char *
mqt_port_link_name(enum mqt_port_link link)
{
	static const char *const names[] = { "up", "down", "gone" };

	return names[link];
}

/* Packet sockets see what the kernel has merged: segments longer than any frame of this port. */
static int
check_merging(const char *name, const struct rte_eth_dev_info *info)
{
	char iface[IF_NAMESIZE];

	if (strcmp(info->driver_name, "net_af_packet") != 0)
		return 0;
	if (!ethtool_value(info, ETHTOOL_GGRO) &&
			!(ethtool_value(info, ETHTOOL_GFLAGS) & ETH_FLAG_LRO))
		return 0;
	PORT_LOG(ERR,
			"%s: the kernel merges received segments, which no longer fit a frame "
			"then. Switch it off: ethtool -K %s gro off lro off\n",
			name, if_indextoname(info->if_index, iface) ? iface : "INTERFACE");
	return -EMSGSIZE;
}

/* The greatest MTU whose frames the port takes. */
static unsigned
greatest_mtu(const struct rte_eth_dev_info *info)
{
	const unsigned ethernet = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	unsigned most = info->max_mtu ? info->max_mtu : UINT16_MAX;

	if (info->max_rx_pktlen > ethernet)
		most = RTE_MIN(most, info->max_rx_pktlen - ethernet);
	return most;
}

/* Rule R19: a frame of full MTU must fit the port, and one mbuf or, where it may, several. */
static int
check_frames(const char *name, const struct rte_eth_dev_info *info, unsigned mtu,
		struct rte_mempool *pool, struct rte_eth_conf *conf)
{
	unsigned room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
	unsigned most = greatest_mtu(info);

	if (room < mtu + L2_OVERHEAD && info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER)
		conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
	else
		most = RTE_MIN(most, room - L2_OVERHEAD);
	if (mtu <= most)
		return 0;
	PORT_LOG(ERR,
			"%s: has an MTU of %u, but takes frames of an MTU of %u at most; longer "
			"ones would be lost. Lower its MTU\n",
			name, mtu, most);
	return -EMSGSIZE;
}

/*
 * Setting the MTU that a kernel's interface already has changes nothing there; it makes the driver
 * compare it with its frames.
 */
static int
confirm_mtu(uint16_t port_id, const char *name, unsigned mtu)
{
	int ret;

	if (mtu == 0)
		return 0;
	ret = rte_eth_dev_set_mtu(port_id, (uint16_t)mtu);
	if (ret == 0 || ret == -ENOTSUP)
		return 0;
	PORT_LOG(ERR, "%s: the driver refuses its MTU of %u (%s). Lower it\n", name, mtu,
			rte_strerror(-ret));
	return ret;
}

static int
check_queues(const char *name, const struct rte_eth_dev_info *info, unsigned n_queues)
{
	if (info->max_rx_queues >= n_queues && info->max_tx_queues >= n_queues)
		return 0;
	PORT_LOG(ERR,
			"%s: has %u rx and %u tx queues, %u workers need one each. Run fewer "
			"worker lcores or give the port more queues\n",
			name, info->max_rx_queues, info->max_tx_queues, n_queues);
	return -ENODEV;
}

static int
setup_queues(uint16_t port_id, const struct rte_eth_dev_info *info, const struct rte_eth_conf *conf,
		unsigned n_queues, struct rte_mempool *pool)
{
	uint16_t n_rx = N_RX_DESC, n_tx = N_TX_DESC;
	struct rte_eth_rxconf rx = info->default_rxconf;
	struct rte_eth_txconf tx = info->default_txconf;
	int socket = rte_eth_dev_socket_id(port_id);
	int ret;

	rx.offloads = conf->rxmode.offloads;
	tx.offloads = 0;
	ret = rte_eth_dev_adjust_nb_rx_tx_desc(port_id, &n_rx, &n_tx);
	for (uint16_t q = 0; ret == 0 && q < n_queues; q++) {
		ret = rte_eth_rx_queue_setup(port_id, q, n_rx, (unsigned)socket, &rx, pool);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(port_id, q, n_tx, (unsigned)socket, &tx);
	}
	return ret;
}

static int
configure(uint16_t port_id, const char *name, unsigned n_queues, struct rte_mempool *pool)
{
	uint8_t key[RSS_KEY_MAX];
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	unsigned mtu;
	int ret;

	ret = rte_eth_dev_info_get(port_id, &info);
	if (ret != 0)
		goto err_said_nothing;
	mtu = kernel_mtu(&info);
	fill_conf(&info, n_queues, key, &conf);
	ret = check_queues(name, &info, n_queues);
	if (ret == 0)
		ret = check_merging(name, &info);
	if (ret == 0)
		ret = check_frames(name, &info, mtu ? mtu : RTE_ETHER_MTU, pool, &conf);
	if (ret != 0)
		return ret;
	ret = rte_eth_dev_configure(port_id, (uint16_t)n_queues, (uint16_t)n_queues, &conf);
	if (ret != 0)
		goto err_said_nothing;
	ret = confirm_mtu(port_id, name, mtu);
	if (ret != 0)
		return ret;
	ret = setup_queues(port_id, &info, &conf, n_queues, pool);
	if (ret != 0)
		goto err_said_nothing;
	return 0;

err_said_nothing:
	PORT_LOG(ERR, "%s: cannot be configured: %s\n", name, rte_strerror(-ret));
	return ret;
}

int
mqt_port_start(uint16_t port_id, unsigned n_queues, struct rte_mempool *pool)
{
	char buf[RTE_ETH_NAME_MAX_LEN];
	const char *name = port_name(port_id, buf);
	int ret;

	ret = configure(port_id, name, n_queues, pool);
	if (ret != 0)
		return ret;
	atomic_store_explicit(&removed[port_id], false, memory_order_relaxed);
	ret = rte_eth_dev_callback_register(port_id, RTE_ETH_EVENT_INTR_RMV, on_removal, NULL);
	if (ret != 0) {
		PORT_LOG(ERR, "%s: no callback for its removal: %s\n", name, rte_strerror(-ret));
		return ret;
	}
	ret = rte_eth_dev_start(port_id);
	if (ret != 0) {
		PORT_LOG(ERR, "%s: cannot be started: %s\n", name, rte_strerror(-ret));
		goto err_callback;
	}
	rss_settle(port_id, n_queues);
	/* a port that has no filter at all does not know the word and receives everything anyway */
	ret = rte_eth_promiscuous_enable(port_id);
	if (ret != 0 && ret != -ENOTSUP) {
		PORT_LOG(ERR, "%s: cannot be made promiscuous: %s\n", name, rte_strerror(-ret));
		goto err_start;
	}
	return 0;

err_start:
	rte_eth_dev_stop(port_id);
err_callback:
	rte_eth_dev_callback_unregister(port_id, RTE_ETH_EVENT_INTR_RMV, on_removal, NULL);
	return ret;
}

void
mqt_port_stop(uint16_t port_id)
{
	char buf[RTE_ETH_NAME_MAX_LEN];
	const char *name;
	int ret;

	if (!rte_eth_dev_is_valid_port(port_id))
		return;
	name = port_name(port_id, buf);
	rte_eth_dev_callback_unregister(port_id, RTE_ETH_EVENT_INTR_RMV, on_removal, NULL);
	ret = rte_eth_dev_stop(port_id);
	if (ret != 0)
		PORT_LOG(WARNING, "%s: cannot be stopped: %s\n", name, rte_strerror(-ret));
	ret = rte_eth_dev_close(port_id);
	if (ret != 0)
		PORT_LOG(WARNING, "%s: cannot be closed: %s\n", name, rte_strerror(-ret));
}
