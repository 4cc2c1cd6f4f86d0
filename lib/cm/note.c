/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_prefetch.h>

/*
 * Notes: what the manager must remember about a channel beyond its row in the maps, for as long as
 * something about it is outstanding. A channel that is merely connected has none, so they cost
 * nothing in a quiet fleet.
 *
 * Life of a note, by kind:
 *
 *	READ -> NEWCOMER -> GRANTED -> gone        the way of an OPEN that is confirmed
 *	READ -> DEAD, NEWCOMER -> gone             its flow ended, or it was refused
 *	ASKED -> gone                              a stepdown, answered
 *	ASKED, GRANTED -> NONE with await_down     killed: kept until its DOWN has come, and keeps
 *	                                           the info if that is reclaimed first
 *
 * A channel has one note at most. Whatever may be killed has a note before that, so a kill never
 * needs memory.
 *
 * Answers that are awaited all have the same limit; so the queue `timed`, appended to at its end,
 * is in the order of the deadlines, and looking for what is due costs nothing.
 *
 * Synchronisation: none, control lcore only.
 */

static struct cm_note **
bucket_of(const struct cm_notes *notes, mqt_chan_id chan)
{
	return &notes->buckets[mqt_hash_chan(chan) & notes->mask];
}

int
cm_notes_init(struct cm_notes *notes, uint32_t n_buckets)
{
	*notes = (struct cm_notes){ .mask = n_buckets - 1 };
	cm_pool_init(&notes->pool, sizeof(struct cm_note));
	notes->buckets = calloc(n_buckets, sizeof(struct cm_note *));
	return notes->buckets ? 0 : -ENOMEM;
}

void
cm_notes_fini(struct cm_notes *notes)
{
	for (uint64_t i = 0; notes->buckets && i <= notes->mask; i++) {
		for (struct cm_note *note = notes->buckets[i]; note; note = note->next) {
			free(note->info);
			mqt_session_destroy(note->session);
		}
	}
	free(notes->buckets);
	cm_pool_fini(&notes->pool);
}

struct cm_note *
cm_note_find(const struct cm_notes *notes, mqt_chan_id chan)
{
	struct cm_note *note = *bucket_of(notes, chan);

	while (note && note->chan != chan)
		note = note->next;
	return note;
}

void
cm_note_ahead(const struct cm_notes *notes, mqt_chan_id chan, bool first)
{
	struct cm_note **bucket = bucket_of(notes, chan);

	if (!first)
		rte_prefetch0(bucket);
	else if (*bucket)
		for (size_t at = 0; at < sizeof(**bucket); at += RTE_CACHE_LINE_SIZE)
			rte_prefetch0((const char *)*bucket + at);
}

struct cm_note *
cm_note_make(struct cm_notes *notes, mqt_chan_id chan)
{
	struct cm_note *note = cm_note_find(notes, chan);
	struct cm_note **bucket = bucket_of(notes, chan);

	if (note)
		return note;
	note = cm_pool_get(&notes->pool);
	if (!note)
		return NULL;
	note->chan = chan;
	note->outcome = CM_NO_OUTCOME;
	note->next = *bucket;
	*bucket = note;
	notes->n++;
	return note;
}

void
cm_note_unlink(struct cm_notes *notes, struct cm_note *note)
{
	struct cm_note **link = bucket_of(notes, note->chan);

	while (*link != note)
		link = &(*link)->next;
	*link = note->next;
	notes->n--;
}

void
cm_note_free(struct cm_notes *notes, struct cm_note *note)
{
	cm_pool_put(&notes->pool, note);
}

void
cm_note_drop(struct mqt_cm *cm, struct cm_note *note)
{
	if (note->kind != CM_NOTE_NONE || note->await_down)
		return;
	cm_note_untime(cm, note);
	cm_note_unlink(&cm->notes, note);
	cm_note_free(&cm->notes, note);
}

void
cm_note_await_down(struct mqt_cm *cm, struct cm_note *note)
{
	if (!note->await_down)
		cm->notes.n_await_down++;
	note->await_down = true;
}

void
cm_note_had_down(struct mqt_cm *cm, struct cm_note *note)
{
	if (note->await_down)
		cm->notes.n_await_down--;
	note->await_down = false;
}

void
cm_note_time(struct mqt_cm *cm, struct cm_note *note)
{
	cm_note_untime(cm, note);
	note->due_ns = cm->ctl_ns + cm->limit_ns;
	note->timed = true;
	TAILQ_INSERT_TAIL(&cm->timed, note, by_due);
}

void
cm_note_untime(struct mqt_cm *cm, struct cm_note *note)
{
	if (!note->timed)
		return;
	note->timed = false;
	TAILQ_REMOVE(&cm->timed, note, by_due);
}
