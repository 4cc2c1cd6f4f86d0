/* SPDX-License-Identifier: BSD-3-Clause */

typedef int packet_view_is_empty;
