/* SPDX-License-Identifier: BSD-3-Clause */

typedef int cm_cm_is_empty;
