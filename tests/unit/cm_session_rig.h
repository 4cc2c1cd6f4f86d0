/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CM_SESSION_RIG_H
#define TESTS_UNIT_CM_SESSION_RIG_H

/*
 * What tests of sessions at the channel manager share: the client that comes and comes again.
 */

#include "cm_rig.h"

static const struct rig_params small = { 2, 64, 64, 256 };

/* A client with a session of an hour. */
static const struct rig_open first = {
	.clientid = "a", .resume = true, .expiry_sec = 3600, .session = true
};
/* It comes again, and its broker has the session. */
static const struct rig_open again = {
	.clientid = "a", .resume = true, .present = true, .expiry_sec = 3600
};

static inline struct rig_open
but_present(struct rig_open how, bool present)
{
	how.present = present;
	return how;
}

static inline struct rig_open
but_expiry(struct rig_open how, uint32_t expiry_sec)
{
	how.expiry_sec = expiry_sec;
	return how;
}

/* Opens, sees it through, ends; what is left is a retained session. */
static inline struct rig_conn *
retain(struct rig *rig, unsigned w, struct rig_open how)
{
	struct rig_conn *conn = rig_connect(rig, w, how);

	rig_end(rig, conn);
	rig_settle(rig);
	return conn;
}

/* A command and how often it was done; a session that it has taken is the test's. */
struct cmd {
	struct mqt_cm_cmd cmd; /* first */
	unsigned n_done;
};

static inline void
cmd_done(struct mqt_cm_cmd *cmd)
{
	((struct cmd *)cmd)->n_done++;
	if (cmd->taken != MQT_CHAN_NONE)
		rig_session_got(cmd->session);
}

#endif
