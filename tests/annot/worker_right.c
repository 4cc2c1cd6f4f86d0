/* SPDX-License-Identifier: BSD-3-Clause */
/* The worker itself posts, and a thread that says so at its entry. */
#include "mqtrack/mailbox.h"

void answer(struct mqt_mailbox *mb, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker);
void enter(struct mqt_mailbox *mb, const struct mqt_msg *msg);

void
answer(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	mqt_mailbox_post_control(mb, msg);
}

void
enter(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	mqt_role_worker_assert();
	answer(mb, msg);
}
