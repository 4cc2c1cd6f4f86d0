/* SPDX-License-Identifier: BSD-3-Clause */

typedef int worker_port_is_empty;
