/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_REGISTRY_H
#define MQT_REGISTRY_H

#include "mqtrack/annot.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/hash.h"

/**
 * @file
 * Who owns a client id beyond this node. The embedded default, `local`, knows of no other node.
 */

struct mqt_registry_ops {
	/** A channel of this node was registered. */
	void (*registered)(void *arg, const struct mqt_digest *digest, mqt_chan_id id);
	/** It is gone. */
	void (*unregistered)(void *arg, const struct mqt_digest *digest, mqt_chan_id id);
	/** Channels of a client on other nodes. @return how many were written, at most @p n. */
	unsigned (*lookup)(
			void *arg, const struct mqt_digest *digest, mqt_chan_id *out, unsigned n);
};

/** A registry: its functions and their state. */
struct mqt_registry {
	const struct mqt_registry_ops *ops;
	void *arg;
};

/** The registry of a node on its own: nothing is registered elsewhere. Static. */
const struct mqt_registry *mqt_registry_local(void);

/** Tells the registry. Context: control. */
void mqt_registry_registered(const struct mqt_registry *reg, const struct mqt_digest *digest,
		mqt_chan_id id) MQT_REQUIRES(mqt_role_control);
void mqt_registry_unregistered(const struct mqt_registry *reg, const struct mqt_digest *digest,
		mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/**
 * Channels of a client on other nodes than this one. A digest says the same on all nodes only where
 * they share a hash key, which is for the backend to see to.
 * @return how many were written, at most @p n.
 * Context: any thread outside of a read section; may block in a cluster registry.
 */
unsigned mqt_registry_lookup(const struct mqt_registry *reg, const struct mqt_digest *digest,
		mqt_chan_id *out, unsigned n);

#endif
