/* SPDX-License-Identifier: BSD-3-Clause */

typedef int cm_event_is_empty;
