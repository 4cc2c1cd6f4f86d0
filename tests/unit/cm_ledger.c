/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions, each of which has one owner. The test binaries are linked so that the manager's calls come
 * here first. A session is the owners' or given away; copies for readers are not counted.
 */
#include "cm_rig.h"

#include <stdlib.h>

struct mqt_session *__real_mqt_session_create(void);
void __real_mqt_session_destroy(struct mqt_session *session);
struct mqt_session *__wrap_mqt_session_create(void);
void __wrap_mqt_session_destroy(struct mqt_session *session);

enum rig_place {
	RIG_AT_OWNER,
	RIG_GIVEN, /* in a message, or the manager's */
};

#define RIG_TOKENS 4096

struct rig_token {
	struct rig_token *next;
	struct mqt_session *session;
	enum rig_place place;
};

static struct rig_token *rig_tokens[RIG_TOKENS];

unsigned rig_n_sessions, rig_n_given;
uint64_t rig_n_lost, rig_n_misplaced;

static struct rig_token **
rig_token_of(const struct mqt_session *session)
{
	struct rig_token **link = &rig_tokens[(uintptr_t)session / 16 % RIG_TOKENS];

	while (*link && (*link)->session != session)
		link = &(*link)->next;
	return link;
}

static void
rig_token_add(struct mqt_session *session, enum rig_place place)
{
	struct rig_token **link = rig_token_of(session);
	struct rig_token *t = calloc(1, sizeof(*t));

	if (!session || !t || *link)
		abort();
	*t = (struct rig_token){ .session = session, .place = place };
	*link = t;
	rig_n_sessions++;
	rig_n_given += place == RIG_GIVEN;
}

/* The manager makes one. */
struct mqt_session *
__wrap_mqt_session_create(void)
{
	struct mqt_session *session = __real_mqt_session_create();

	rig_token_add(session, RIG_GIVEN);
	return session;
}

/* Anybody destroys one, or a copy. */
void
__wrap_mqt_session_destroy(struct mqt_session *session)
{
	struct rig_token **link = rig_token_of(session);
	struct rig_token *t = *link;

	if (session && t) {
		*link = t->next;
		rig_n_sessions--;
		rig_n_given -= t->place == RIG_GIVEN;
		rig_n_lost += t->place == RIG_GIVEN;
		free(t);
	}
	__real_mqt_session_destroy(session);
}

static void
rig_session_move(const struct mqt_session *session, enum rig_place from, enum rig_place to)
{
	struct rig_token *t = *rig_token_of(session);

	if (!t || t->place != from) {
		rig_n_misplaced++;
		return;
	}
	t->place = to;
	if (to == RIG_GIVEN)
		rig_n_given++;
	else
		rig_n_given--;
}

struct mqt_session *
rig_session_new(void)
{
	struct mqt_session *session = __real_mqt_session_create();

	rig_token_add(session, RIG_AT_OWNER);
	return session;
}

void
rig_session_give(const struct mqt_session *session)
{
	rig_session_move(session, RIG_AT_OWNER, RIG_GIVEN);
}

void
rig_session_got(const struct mqt_session *session)
{
	rig_session_move(session, RIG_GIVEN, RIG_AT_OWNER);
}
