/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_config_is_empty;
