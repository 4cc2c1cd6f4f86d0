/* SPDX-License-Identifier: BSD-3-Clause */
/* Deliberately wrong: the control lcore posts in the worker's name. */
#include "mqtrack/mailbox.h"

void answer(struct mqt_mailbox *mb, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);

void
answer(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	mqt_mailbox_post_control(mb, msg);
}
