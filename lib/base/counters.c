/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_counters_is_empty;
