/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/registry.h"

#include <stddef.h>

/*
 * The registry of a node on its own, and the annotated way through a registry's table.
 *
 * `local` keeps nothing: what this node owns is in its maps, and there is no other node. Its
 * functions are the empty ones, so that callers need no test for "is there a registry".
 */

static void
local_registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
}

static void
local_unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
}

static unsigned
local_lookup(void *arg, const struct mqt_digest *digest, mqt_chan_id *out, unsigned n)
{
	return 0;
}

static const struct mqt_registry_ops local_ops = {
	.registered = local_registered,
	.unregistered = local_unregistered,
	.lookup = local_lookup,
};

static const struct mqt_registry local = {
	.ops = &local_ops,
	.arg = NULL,
};

const struct mqt_registry *
mqt_registry_local(void)
{
	return &local;
}

void
mqt_registry_registered(
		const struct mqt_registry *reg, const struct mqt_digest *digest, mqt_chan_id id)
{
	reg->ops->registered(reg->arg, digest, id);
}

void
mqt_registry_unregistered(
		const struct mqt_registry *reg, const struct mqt_digest *digest, mqt_chan_id id)
{
	reg->ops->unregistered(reg->arg, digest, id);
}

unsigned
mqt_registry_lookup(const struct mqt_registry *reg, const struct mqt_digest *digest,
		mqt_chan_id *out, unsigned n)
{
	return reg->ops->lookup(reg->arg, digest, out, n);
}
