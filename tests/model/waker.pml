/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping and being woken (lib/base/waker.c): one owner that takes and sleeps without a limit, two
 * others that post and wake, each store held up in its thread's store buffer for any time unless a
 * fence or a locked operation empties that. `run` goes through all states; the broken ones, which
 * leave out one step each, must be found.
 *
 * A store buffer of one entry a thread is enough: each writes one word before it reads the other's.
 * The eventfd is a counter; a system call empties no buffer here, which is worse than what is real.
 */

#ifndef NP
#define NP 2 /* who posts */
#endif
#ifndef NM
#define NM 2 /* messages of each */
#endif

byte posted[NP]; /* as all see it */
byte taken[NP];  /* the owner's own */
bit asleep;      /* as all see it */
byte rung;       /* writes to the eventfd that were not read */

/* the first operand of the assertion: always false, it only names the property */
hidden byte LOST_WAKE_UP;

/* store buffers */
bit buf_asleep_full, buf_asleep;
bit buf_post_full[NP];
byte buf_post[NP];

inline flush_owner()
{
	if
	:: buf_asleep_full -> asleep = buf_asleep; buf_asleep_full = 0
	:: else
	fi
}

/* What the owner sees: its own words are its own, others' are what has left their buffers. */
inline look(found)
{
	d_step {
		found = false;
		i = 0;
		do
		:: i < NP ->
			found = found || posted[i] != taken[i];
			i++
		:: else -> break
		od;
		i = 0
	}
}

inline store_asleep(value)
{
	atomic {
		flush_owner();
		buf_asleep_full = 1;
		buf_asleep = value
	}
}

active proctype owner()
{
	byte i = 0;
	bool found;

	do
	:: /* a turn */
		d_step {
			i = 0;
			do
			:: i < NP -> taken[i] = posted[i]; i++
			:: else -> break
			od;
			i = 0
		}
		/* back-off is over: it announces */
		store_asleep(1);
#ifndef B_NO_OWNER_FENCE
		atomic { flush_owner() };
#endif
#ifdef B_NO_LOOK
		found = false;
#else
		look(found);
#endif
		if
		:: found -> skip
		:: else ->
end_sleep:
			atomic { rung > 0 -> rung = 0 }
		fi;
		store_asleep(0)
	od
}

/* What is in a buffer leaves it at any time. */
active proctype owner_buffer()
{
end:
	do
	:: atomic { buf_asleep_full -> flush_owner() }
	od
}

inline flush_poster(me)
{
	if
	:: buf_post_full[me] -> posted[me] = buf_post[me]; buf_post_full[me] = 0
	:: else
	fi
}

active [NP] proctype poster()
{
	byte me = _pid - 2, n = 0;
	bit saw;

	do
	:: n < NM ->
		n++;
		atomic {
			flush_poster(me);
			buf_post_full[me] = 1;
			buf_post[me] = n
		}
#ifndef B_NO_POSTER_FENCE
		atomic { flush_poster(me) };
#endif
		saw = asleep;
		if
		:: saw ->
			/* a locked exchange: it empties the buffer, and only one gets the 1 */
			atomic {
				flush_poster(me);
				saw = asleep;
				asleep = 0
			}
			if
			:: saw ->
				rung++
			:: else
			fi
		:: else
		fi
	:: else -> break
	od
}

active [NP] proctype poster_buffer()
{
	byte me = _pid - 2 - NP;

end:
	do
	:: atomic { buf_post_full[me] -> flush_poster(me) }
	od
}

/* When nothing moves any more the owner sleeps for ever: nothing may be left for it. */
active proctype final()
{
	byte i = 0;

	timeout;
	do
	:: i < NP ->
		assert(LOST_WAKE_UP || (posted[i] == NM && taken[i] == NM));
		i++
	:: else -> break
	od
}
