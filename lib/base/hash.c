/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_hash_is_empty;
