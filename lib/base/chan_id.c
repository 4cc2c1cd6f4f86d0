/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_chan_id_is_empty;
