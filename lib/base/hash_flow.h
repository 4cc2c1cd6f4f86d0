/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HASH_FLOW_H
#define HASH_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The two implementations behind mqt_hash_flow(). Which one runs is a property of the machine, so
 * it is the same for all threads of a process. Their outputs differ.
 */

/* Whether hash_flow_aes() runs on this CPU. */
bool hash_flow_has_aes(void);

/* len a multiple of 16, no alignment needed. Context: only where hash_flow_has_aes(). */
uint64_t hash_flow_aes(const uint8_t key[16], const void *data, size_t len);

/* On every CPU. */
uint64_t hash_flow_sip(const uint8_t key[16], const void *data, size_t len);

#endif
