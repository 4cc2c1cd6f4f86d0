/* SPDX-License-Identifier: BSD-3-Clause */

typedef int registry_local_is_empty;
