/* SPDX-License-Identifier: BSD-3-Clause */

typedef int packet_segment_is_empty;
