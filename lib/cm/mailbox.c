/* SPDX-License-Identifier: BSD-3-Clause */

typedef int cm_mailbox_is_empty;
