/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_addr_is_empty;
