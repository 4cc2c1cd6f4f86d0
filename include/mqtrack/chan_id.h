/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CHAN_ID_H
#define MQT_CHAN_ID_H

#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * Channel id: 64 bits that name one channel for ever (rule R1).
 *
 *   63      56 55      48 47                24 23                 0
 *   [  node  ] [ worker ] [       slot       ] [    generation    ]
 *
 * 0 is no channel: generations start at 1 and skip 0 when they wrap.
 */

typedef uint64_t mqt_chan_id;

#define MQT_CHAN_NONE       ((mqt_chan_id)0)
#define MQT_CHAN_NODE_MAX   255u
#define MQT_CHAN_WORKER_MAX 255u
#define MQT_CHAN_SLOT_BITS  24
#define MQT_CHAN_GEN_BITS   24
#define MQT_CHAN_SLOT_MAX   ((1u << MQT_CHAN_SLOT_BITS) - 1)
#define MQT_CHAN_GEN_MAX    ((1u << MQT_CHAN_GEN_BITS) - 1)
/** Bytes of the text form with its terminating NUL: "nn-ww-ssssss-gggggg" in hexadecimal. */
#define MQT_CHAN_STRLEN 20

static inline mqt_chan_id
mqt_chan_id_make(unsigned node, unsigned worker, uint32_t slot, uint32_t gen)
{
	return (uint64_t)node << 56 | (uint64_t)worker << 48 | (uint64_t)slot << 24 | gen;
}

static inline unsigned
mqt_chan_id_node(mqt_chan_id id)
{
	return (unsigned)(id >> 56);
}

static inline unsigned
mqt_chan_id_worker(mqt_chan_id id)
{
	return (unsigned)(id >> 48) & 0xff;
}

static inline uint32_t
mqt_chan_id_slot(mqt_chan_id id)
{
	return (uint32_t)(id >> 24) & MQT_CHAN_SLOT_MAX;
}

static inline uint32_t
mqt_chan_id_gen(mqt_chan_id id)
{
	return (uint32_t)id & MQT_CHAN_GEN_MAX;
}

/** The generation after @p gen; never 0. */
static inline uint32_t
mqt_chan_id_gen_next(uint32_t gen)
{
	return gen == MQT_CHAN_GEN_MAX ? 1 : gen + 1;
}

/** Writes the text form. @param buf at least MQT_CHAN_STRLEN bytes. @return buf. */
char *mqt_chan_id_format(mqt_chan_id id, char buf[MQT_CHAN_STRLEN]);

/**
 * Reads the text form.
 * @param str NUL-terminated.
 * @param id set on success only.
 * @return 0, or -EINVAL where @p str is not exactly one channel id.
 */
int mqt_chan_id_parse(const char *str, mqt_chan_id *id);

#endif
