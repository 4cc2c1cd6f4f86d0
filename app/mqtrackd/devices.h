/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_DEVICES_H
#define MQTRACKD_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * Devices as the configuration names them: a PCI address ("0000:3b:00.0"), the name of a device
 * that exists already (made by --vdev), or a virtual one to make ("net_af_packet0,iface=eth1").
 */

/** Bytes of a PCI address in its long form, with NUL. */
#define DEVICE_PCI_LEN 32

/** Whether it is a PCI address. @param canonical its long form, may be NULL. */
bool device_is_pci(const char *device, char canonical[DEVICE_PCI_LEN]);

/**
 * Finds or makes a device. For one it makes, net_af_packet gets `qpairs` and `framecnt`,
 * net_af_xdp `queue_count`, unless they are given.
 * @param err set on failure: what is wrong and what to do.
 * @return 0 with @p port_id set, or negative errno.
 */
int device_open(const char *device, unsigned n_queues, uint16_t *port_id, char *err,
		size_t err_size);

#endif
