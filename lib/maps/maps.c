/* SPDX-License-Identifier: BSD-3-Clause */

typedef int maps_maps_is_empty;
