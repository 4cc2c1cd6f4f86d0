/* SPDX-License-Identifier: BSD-3-Clause */

typedef int maps_grace_is_empty;
