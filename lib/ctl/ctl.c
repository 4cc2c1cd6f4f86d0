/* SPDX-License-Identifier: BSD-3-Clause */

typedef int ctl_ctl_is_empty;
