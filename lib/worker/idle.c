/* SPDX-License-Identifier: BSD-3-Clause */

typedef int worker_idle_is_empty;
