/* SPDX-License-Identifier: BSD-3-Clause */

typedef int conn_conn_is_empty;
