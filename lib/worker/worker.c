/* SPDX-License-Identifier: BSD-3-Clause */

typedef int worker_worker_is_empty;
