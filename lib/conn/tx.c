/* SPDX-License-Identifier: BSD-3-Clause */

typedef int conn_tx_is_empty;
