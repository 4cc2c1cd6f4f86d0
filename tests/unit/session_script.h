/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_SESSION_SCRIPT_H
#define TESTS_UNIT_SESSION_SCRIPT_H

/*
 * Scripts of packets and the session they leave, both as text, so that a row of a table reads as what
 * passed on the wire. Packets go through the tap, as in the tracker.
 *

 */

#include "mqtrack/session.h"

/** A session under test and what moves it. */
struct script {
	struct mqt_session *session;
	struct mqt_pendings *pendings;
	struct mqt_session_limits limits;
	enum mqt_session_dir sender;
	uint8_t version;
	unsigned n_missed; /* as mqt_session_apply() returned it */
};

struct script script_start(uint8_t version, uint32_t filters, uint32_t inflight);
void script_end(struct script *script);

/** Runs all words of @p text. */
void script_run(struct script *script, const char *text);
/** Runs one. */
void script_word(struct script *script, const char *word);

/** The session as text. Static storage. */
const char *script_dump(const struct mqt_session *session);

#endif
