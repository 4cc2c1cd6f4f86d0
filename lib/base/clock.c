/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_clock_is_empty;
