/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a device's name in the configuration to a DPDK port.
 * Synchronisation: none, one thread at start.
 */
#include "devices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_pci.h>

/*
 * What a virtual device should get from us unless the user says otherwise. The default ring of
 * net_af_packet (512 frames) loses packets under TCP load.
 */
static const struct {
	const char *driver, *key;
	const char *value; /* NULL: the number of queues */
} completions[] = {
	{ "net_af_packet", "qpairs", NULL },
	{ "net_af_packet", "framecnt", "4096" },
	{ "net_af_xdp", "queue_count", NULL },
};

bool
device_is_pci(const char *device, char canonical[DEVICE_PCI_LEN])
{
	struct rte_pci_addr addr;

	if (rte_pci_addr_parse(device, &addr) != 0)
		return false;
	if (canonical)
		rte_pci_device_name(&addr, canonical, DEVICE_PCI_LEN);
	return true;
}

/* Whether "iface=a,framecnt=4096" has a key. */
static bool
has_key(const char *args, const char *key)
{
	size_t len = strlen(key);

	while (*args) {
		if (strncmp(args, key, len) == 0 && args[len] == '=')
			return true;
		args += strcspn(args, ",");
		args += *args == ',';
	}
	return false;
}

static void
complete(const char *name, char *args, size_t size, unsigned n_queues)
{
	for (size_t i = 0; i < RTE_DIM(completions); i++) {
		const char *driver = completions[i].driver, *key = completions[i].key;
		size_t len = strlen(args);
		char number[16];

		if (strncmp(name, driver, strlen(driver)) != 0 || has_key(args, key))
			continue;
		snprintf(number, sizeof(number), "%u", n_queues);
		snprintf(args + len, size - len, "%s%s=%s", len ? "," : "", key,
				completions[i].value ? completions[i].value : number);
	}
}

static int
make(const char *name, const char *user_args, unsigned n_queues, char *err, size_t err_size)
{
	char args[256];
	int ret;

	snprintf(args, sizeof(args), "%s", user_args);
	complete(name, args, sizeof(args), n_queues);
	ret = rte_eal_hotplug_add("vdev", name, args);
	if (ret == 0)
		return 0;
	snprintf(err, err_size,
			"device '%s' cannot be made with '%s'; the lines above say why. Is there "
			"such a driver, does the interface exist in this network namespace, and "
			"may this process open it (CAP_NET_RAW, CAP_NET_ADMIN)?",
			name, args);
	return ret;
}

int
device_open(const char *device, unsigned n_queues, uint16_t *port_id, char *err, size_t err_size)
{
	const char *comma = strchr(device, ',');
	const char *args = comma ? comma + 1 : "";
	char name[RTE_ETH_NAME_MAX_LEN];
	int ret;

	if (!device_is_pci(device, name))
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
	if (rte_eth_dev_get_port_by_name(name, port_id) == 0) {
		if (!comma)
			return 0;
		snprintf(err, err_size, "device '%s' exists already: name it without arguments",
				name);
		return -EEXIST;
	}
	if (strncmp(name, "net_", 4) != 0) {
		snprintf(err, err_size,
				"device '%s' does not exist. A PCI device must be bound to a "
				"driver for user space (dpdk-devbind.py --bind=vfio-pci); a "
				"virtual one has a driver's name, as in net_af_packet0,iface=eth1",
				name);
		return -ENODEV;
	}
	ret = make(name, args, n_queues, err, err_size);
	if (ret == 0)
		ret = rte_eth_dev_get_port_by_name(name, port_id);
	return ret;
}
