/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames and MTU at a port's start (rule R19): where a frame of full MTU would not fit, the start
 * fails. Ports of rings, of which DPDK and the kernel say what a row wants.
 */
#include "worker_rig.h"

#include <linux/if.h>
#include <linux/sockios.h>
#include <stdarg.h>

/* What the device says of itself. */
static struct says {
	bool scatter;
	uint16_t max_mtu;
	uint32_t max_rx_pktlen;
	int kernel_mtu;  /* 0: there is no interface */
	int set_mtu_ret; /* of the driver */
} says;

static unsigned mtu_set;

int __real_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_set_mtu(uint16_t port_id, uint16_t mtu);
int __wrap_ioctl(int fd, unsigned long request, ...);

int
__wrap_rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info)
{
	int ret = __real_rte_eth_dev_info_get(port_id, info);

	info->rx_offload_capa &= ~RTE_ETH_RX_OFFLOAD_SCATTER;
	if (says.scatter)
		info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_SCATTER;
	info->max_mtu = says.max_mtu;
	info->max_rx_pktlen = says.max_rx_pktlen;
	info->if_index = says.kernel_mtu ? 1 : 0; /* the loopback interface, of any name space */
	return ret;
}

int
__wrap_rte_eth_dev_set_mtu(uint16_t port_id, uint16_t mtu)
{
	mtu_set = mtu;
	return says.set_mtu_ret;
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
	struct ifreq *ifr;
	va_list ap;

	va_start(ap, request);
	ifr = va_arg(ap, struct ifreq *);
	va_end(ap);
	if (request != SIOCGIFMTU)
		return -1;
	ifr->ifr_mtu = says.kernel_mtu;
	return 0;
}

static int
start(unsigned frame_room, const struct says *what)
{
	static unsigned n_ports; /* a closed one keeps its name */
	struct rte_ring *in = wire("r19", n_ports, 0), *out = wire("r19", n_ports, 1);
	char name[16];
	int id, ret = -1;
	struct rte_mempool *frames = rte_pktmbuf_pool_create("r19", 64, 0, 0,
			(uint16_t)(RTE_PKTMBUF_HEADROOM + frame_room), SOCKET_ID_ANY);

	snprintf(name, sizeof(name), "r19_%u", n_ports++);
	id = rte_eth_from_rings(name, &in, 1, &out, 1, 0);
	says = *what;
	mtu_set = 0;
	CHECK(id >= 0 && frames);
	if (id >= 0 && frames) {
		ret = mqt_port_start((uint16_t)id, 1, frames);
		if (ret == 0)
			mqt_port_stop((uint16_t)id);
		else
			rte_eth_dev_close((uint16_t)id);
	}
	rte_mempool_free(frames);
	rte_ring_free(in);
	rte_ring_free(out);
	return ret;
}

static void
test_a_frame_of_full_mtu_must_fit(void)
{
	const unsigned l2 = MQT_L2_MAX, room = 1500 + l2;
	const struct {
		const char *row;
		unsigned room;
		struct says says;
		int ret;
		unsigned mtu_set;
	} rows[] = {
		{ "just fits", room, { 0 }, 0, 0 },
		{ "mbuf a byte too small", room - 1, { 0 }, -EMSGSIZE, 0 },
		{ "frames of the device too small", 4000, { .max_rx_pktlen = 1517 }, -EMSGSIZE, 0 },
		{ "frames of the device just fit", 4000, { .max_rx_pktlen = 1518 }, 0, 0 },
		{ "MTU of the device too small", 4000, { .max_mtu = 1499 }, -EMSGSIZE, 0 },
		{ "MTU of the device just fits", 4000, { .max_mtu = 1500 }, 0, 0 },
		{ "MTU too small, although mbufs may be chained", 1000,
				{ .scatter = true, .max_mtu = 1499 }, -EMSGSIZE, 0 },
		{ "MTU of the interface fits", 9000 + l2, { .kernel_mtu = 9000 }, 0, 9000 },
		{ "MTU of the interface does not fit", 9000 + l2 - 1, { .kernel_mtu = 9000 },
				-EMSGSIZE, 0 },
		{ "smaller MTU of the interface", 1280 + l2, { .kernel_mtu = 1280 }, 0, 1280 },
		{ "MTU beyond all frames", 4000, { .kernel_mtu = 65536 }, -EMSGSIZE, 0 },
		{ "driver refuses", room, { .kernel_mtu = 1500, .set_mtu_ret = -EINVAL }, -EINVAL,
				1500 },
		{ "driver cannot say", room, { .kernel_mtu = 1500, .set_mtu_ret = -ENOTSUP }, 0,
				1500 },
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		check_row = rows[i].row;
		CHECK_EQ(start(rows[i].room, &rows[i].says), rows[i].ret);
		CHECK_EQ(mtu_set, rows[i].mtu_set);
	}
	check_row = "";
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "test_a_frame_of_full_mtu_must_fit", test_a_frame_of_full_mtu_must_fit },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker_port", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("port", suites);
}
