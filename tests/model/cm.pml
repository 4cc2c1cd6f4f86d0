/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol between two workers and the control lcore, for one client id.
 *
 * Connections c = 0 .. NC-1 of the same client id open, each once, on either worker. The number of
 * a connection is its stamp and its channel id at once: greater is newer, and no two generations
 * of a slot have the same. On one worker they open in the order of their stamps; between workers in
 * any order, which is what delays, outboxes and bursts can do to them and more.
 *
 * Processes: conn() is what happens to a flow by itself and what its worker does then; worker() is
 * the worker's mailbox; control() the control lcore. Each step of one of them is one d_step. What
 * is shared are the rings and the slots' words. README.md says what is left out and why it may be.
 *
 * Names follow the code: lib/conn/message.c for the worker, lib/cm/{open,stepdown,locker,down}.c
 * for the control lcore.
 *
 * What is checked: the assertions. The first operand of each is a variable that is always false
 * and only names the property in the output of the verifier. final() runs when nothing can move
 * any more, so it finds both a deadlock and whatever was left over.
 *
 * Sizes and choices, by -D:
 *	NC         connections (2, 3)
 *	NS         slots a worker
 *	RING       messages that a ring holds; the outbox behind it holds what is needed
 *	SESSIONS   sessions: clean start or resume, takeover begin and end, CLOSED, retained
 *	TIMEOUTS   an owner may be too slow, at any moment: it is killed
 *	DEATHS     flows may end by themselves at any moment
 *	KICK       one command by API takes the lock
 *	GRACE      a grace period lies between a row's end and RELEASE, as long as you like
 *	HALT       worker 0 may stop for ever at any moment
 * Ways to break it, each must be found: B_..., see run.
 */
#ifndef NC
#define NC 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef RING
#define RING 1
#endif
#define NONE   255
#define NSLOTS (2 * NS)
#ifndef OUTBOX
#define OUTBOX 6 /* checked to be enough */
#endif

/* OPEN(c, resume) GRANTED(c) RETURN(c, session) DONE(c, action, session) DOWN(c, pendings)
 * CLOSED(c, session) | GRANT(c, session) REFUSE(c) STEPDOWN(c, action) RELEASE(c) */
mtype = { OPEN, GRANTED, RETURN, DONE, DOWN, CLOSED, GRANT, REFUSE, STEPDOWN, RELEASE };

/* actions of STEPDOWN and DONE */
#define KICKED  1
#define DISCARD 2
#define BEGIN   3
#define END     4
#define NOPROC  8 /* in DONE: added to the action */

/* names of the properties: always false, not part of the state */
hidden byte I1_one_live, I2_newest_wins, I3_late_close_leaves_others_alone;
hidden byte I4_connack_after_stepdown, I5_no_row_outlives;
hidden byte I7_session_in_one_place, R1_slot_reuse, R5_kill_hits_its_own;
hidden byte ONE_ANSWER, NO_LOCK_OUT, OUTBOX_IS_LARGE_ENOUGH, UNEXPECTED_MESSAGE;
hidden byte KICK_LEAVES_NOTHING;

/* SEEN(what): counts how often the verifier came by, so that run can tell that it did. */
#ifdef COVER
c_decl {
	static unsigned long seen[2000];

	__attribute__((destructor)) static void
	report(void)
	{
		for (int line = 0; line < 2000; line++) {
			if (seen[line] > 0)
				printf("seen %d %lu\n", line, seen[line]);
		}
	}
}
#define SEEN(what) c_code { seen[__LINE__]++; }
#else
#define SEEN(what) skip
#endif

/* --- shared ----------------------------------------------------------------------------------- */

chan up[2] = [RING] of { mtype, byte, byte, byte };    /* worker to control */
chan dn[2] = [RING] of { mtype, byte, byte, byte };    /* control to worker */
chan upo[2] = [OUTBOX] of { mtype, byte, byte, byte }; /* the worker's outbox */
chan dno[2] = [OUTBOX] of { mtype, byte, byte, byte }; /* the control lcore's, for that worker */

/* the slots' words */
#define S_FREE   0
#define S_LIVE   1
#define S_KILLED 2
#define S_CLOSED 3
byte gen[NSLOTS] = NONE; /* generation: the connection */
byte word[NSLOTS];       /* state */
byte slot[NC];           /* of a connection */
#define WORD_IS(c, st) (gen[slot[c]] == (c) && word[slot[c]] == (st))

/* --- the workers' ----------------------------------------------------------------------------- */

#define F_NONE      0
#define F_OPENING   1 /* CONNACK parked, OPEN posted */
#define F_CONNECTED 2
#define F_FROZEN    3 /* takeover has begun: nothing passes */
#define F_OVER      4 /* DOWN or CLOSED posted; waits for RELEASE (or REFUSE) */
#define F_DONE      5 /* released: the slot is free */
byte flow[NC];
byte owner[NC];   /* worker; fixed at start */
bool resumes[NC]; /* not clean start; fixed at start */
#define IS_OPEN(c) (flow[c] >= F_OPENING && flow[c] <= F_FROZEN)
byte wsess[NC];   /* the session that the flow owns */

bool calm;      /* from now on no flow ends by itself */
bool halted;    /* worker 0 has stopped for ever */
bool disturbed; /* a flow ended, was killed or kicked */

/* --- the control lcore's ---------------------------------------------------------------------- */

#define R_NONE     0
#define R_LIVE     1
#define R_DOWN     2 /* disconnected; the lock, or RETURN, decides about it */
#define R_QUEUED   3 /* disconnected, to be unregistered in a slice */
#define R_RETAINED 4 /* disconnected, with a session; its slot is released */
byte row[NC];
#define N_NONE     0
#define N_READ     1
#define N_NEWCOMER 2
#define N_GRANTED  3
#define N_ASKED    4
byte note[NC];
byte asked[NC];     /* N_ASKED: the action */
bool awaits[NC];    /* killed: RELEASE waits for its DOWN */
bool retired[NC];   /* out of the maps, its grace period runs */
bool reclaimed[NC]; /* grace period over, DOWN awaited */
#ifdef B_NO_STAMPS
byte seq[NC]; /* order of reading */
byte n_read;
#define OLDER(a, b) (seq[a] < seq[b])
#else
#define OLDER(a, b) ((a) < (b))
#endif

#define L_IDLE     0
#define L_COMMAND  1
#define L_STEPPING 2
#define L_GRANTING 3
byte lock;
byte cur = NONE;
byte waiter = NONE;
byte n_asks;
bool stalled;     /* worker 0 is taken for stalled */
byte cmd;         /* 0 to come, 1 waits, 2 served, 3 done */
byte rsess[NC];   /* R_RETAINED: the session */
byte hand;        /* session handed over by begin */
byte from = NONE; /* by this channel */
bool pendings;    /* and its pendings have come */
#ifdef B_NOPROC_FRESH
bool fresh;
#define IGNORE_RETAINED fresh
#else
#define IGNORE_RETAINED false
#endif

/* --- ghosts: what only the checks look at ----------------------------------------------------- */

byte answers[NC]; /* REFUSE and RELEASE sent */
bool connack[NC]; /* CONNACK released */
/* session s = 1 .. NC was created for connection s - 1 */
#define P_NONE     0
#define P_WORKER   1
#define P_UP       2 /* in a message to the control lcore */
#define P_DOWN     3 /* in a message to a worker */
#define P_HAND     4
#define P_RETAINED 5
#define P_GONE     6 /* discarded */
#define P_LOST     7 /* lost_by_kill: its owner was killed while it had it */
#define P_LATE     8 /* given up, but not killed: will be discarded when its message comes */
byte place[NC + 1];
byte csess[NC]; /* the session a channel was granted */

/* scratch, within one step only */
hidden mtype mtag; /* the message that is being read */
hidden byte mchan, marg, msess;
hidden byte at, nr, unread, count, rows, rival;
hidden byte ok, was;

/* --- messages --------------------------------------------------------------------------------- */

#ifdef B_OVERTAKE
#define MAY_ENTER(ring, outbox) (len(ring) < RING)
#else
#define MAY_ENTER(ring, outbox) (len(outbox) == 0 && len(ring) < RING)
#endif

inline post_up(t_, c_, x_, s_)
{
	printf("w%d -> control: %e c%d x%d s%d\n", owner[c_], t_, c_, x_, s_);
	if
	:: MAY_ENTER(up[owner[c_]], upo[owner[c_]]) -> up[owner[c_]]!t_, c_, x_, s_
	:: else ->
		SEEN(a full ring to the control lcore);
		assert(OUTBOX_IS_LARGE_ENOUGH || len(upo[owner[c_]]) < OUTBOX);
		upo[owner[c_]]!t_, c_, x_, s_
	fi
}

inline post_down(t_, c_, x_, s_)
{
	printf("control -> w%d: %e c%d x%d s%d\n", owner[c_], t_, c_, x_, s_);
	if
	:: MAY_ENTER(dn[owner[c_]], dno[owner[c_]]) -> dn[owner[c_]]!t_, c_, x_, s_
	:: else ->
		SEEN(a full ring to a worker);
		assert(OUTBOX_IS_LARGE_ENOUGH || len(dno[owner[c_]]) < OUTBOX);
		dno[owner[c_]]!t_, c_, x_, s_
	fi
}

/* A session goes from one place to another. Lost and late ones stay what they are. */
inline move(s_, from_, to_)
{
	if
	:: s_ == 0 || place[s_] == P_LOST || place[s_] == P_LATE
	:: else ->
		assert(I7_session_in_one_place || place[s_] == from_);
		place[s_] = to_
	fi
}

/* --- the worker ------------------------------------------------------------------------------- */

/* LIVE -> CLOSED; ok: it was not killed. */
inline leave(c_)
{
	ok = WORD_IS(c_, S_LIVE);
	if
	:: ok -> word[slot[c_]] = S_CLOSED
	:: else
	fi
}

/* The flow is over. @keep_: its session is to outlive it, where it has one. */
inline channel_down(c_, keep_)
{
	leave(c_);
	if
	:: ok && keep_ && wsess[c_] != 0 ->
		move(wsess[c_], P_WORKER, P_UP);
		post_up(CLOSED, c_, 0, wsess[c_])
	:: ok && !(keep_) && wsess[c_] != 0 ->
		move(wsess[c_], P_WORKER, P_GONE);
		post_up(DOWN, c_, 0, 0)
	:: else ->
		post_up(DOWN, c_, (ok && keep_ && flow[c_] == F_FROZEN -> 1 : 0), 0)
	fi;
	wsess[c_] = 0;
	flow[c_] = F_OVER
}

/* The CONNACK leaves. */
inline check_release(c_)
{
	for (at : 0 .. NC - 1) {
		if
		:: at != c_ && connack[at] ->
			assert(I1_one_live || !(flow[at] == F_CONNECTED && WORD_IS(at, S_LIVE)));
			assert(I4_connack_after_stepdown || flow[at] >= F_OVER || WORD_IS(at, S_KILLED))
		:: else
		fi
	}
	connack[c_] = true
}

inline on_grant()
{
	if
	:: IS_OPEN(mchan) && WORD_IS(mchan, S_KILLED) ->
		SEEN(GRANT for a killed newcomer);
		channel_down(mchan, 0)
	:: else
	fi;
	if
	:: flow[mchan] == F_OPENING ->
		flow[mchan] = F_CONNECTED;
		check_release(mchan);
		wsess[mchan] = msess;
		move(msess, P_DOWN, P_WORKER);
		post_up(GRANTED, mchan, 0, 0)
	:: else ->
		SEEN(GRANT for a dead newcomer);
		move(msess, P_DOWN, P_UP);
#ifndef B_NO_RETURN
		post_up(RETURN, mchan, 0, msess)
#endif
	fi
}

inline on_stepdown()
{
	if
	:: !IS_OPEN(mchan) -> post_up(DONE, mchan, marg + NOPROC, 0)
	:: IS_OPEN(mchan) && marg >= BEGIN && WORD_IS(mchan, S_KILLED) ->
		SEEN(BEGIN or END for a killed flow);
		channel_down(mchan, 0);
		post_up(DONE, mchan, marg + NOPROC, 0)
	:: IS_OPEN(mchan) && marg == BEGIN && !WORD_IS(mchan, S_KILLED) ->
		assert(UNEXPECTED_MESSAGE || flow[mchan] == F_CONNECTED);
		flow[mchan] = F_FROZEN;
		move(wsess[mchan], P_WORKER, P_UP);
		post_up(DONE, mchan, BEGIN, wsess[mchan]);
		wsess[mchan] = 0
	:: IS_OPEN(mchan) && marg == END && !WORD_IS(mchan, S_KILLED) ->
		assert(UNEXPECTED_MESSAGE || flow[mchan] == F_FROZEN);
		channel_down(mchan, 0); /* the pendings go with the answer */
		post_up(DONE, mchan, END, 0)
	:: IS_OPEN(mchan) && marg < BEGIN ->
		channel_down(mchan, 0);
		post_up(DONE, mchan, marg, 0)
	fi
}

proctype worker(byte me)
{
end:
	do
	:: d_step {
		len(dn[me]) > 0 && !(halted && me == 0) ->
		dn[me]?mtag, mchan, marg, msess;
#ifndef B_REUSE_EARLY
		/* no message comes behind REFUSE or RELEASE, so none finds the next user of a slot */
		assert(R1_slot_reuse || (gen[slot[mchan]] == mchan && flow[mchan] < F_DONE));
#endif
		if
		:: mtag == GRANT -> on_grant()
		:: mtag == STEPDOWN -> on_stepdown()
		:: mtag == REFUSE ->
			leave(mchan);
			flow[mchan] = F_DONE
		:: mtag == RELEASE ->
			assert(R1_slot_reuse || flow[mchan] == F_OVER);
			flow[mchan] = F_DONE
		fi
	}
	:: d_step { /* the outbox moves on */
		len(upo[me]) > 0 && len(up[me]) < RING && !(halted && me == 0) ->
		upo[me]?mtag, mchan, marg, msess;
		up[me]!mtag, mchan, marg, msess
	}
	od
}

/* --- a flow ----------------------------------------------------------------------------------- */

#define RUNS(c) (!(halted && owner[c] == 0))
#ifdef B_REUSE_EARLY
#define SLOT_FREE(i) (gen[i] == NONE || flow[gen[i]] >= F_OVER)
#else
#define SLOT_FREE(i) (gen[i] == NONE || flow[gen[i]] == F_DONE)
#endif
#if NS == 1
#define ANY_SLOT_FREE(w) (SLOT_FREE(w))
#else
#define ANY_SLOT_FREE(w) (SLOT_FREE(w) || SLOT_FREE(w + 2))
#endif
/* on one worker they open in their order */
#define OPENS_AFTER(c, before) (c <= before || owner[before] != owner[c] || flow[before] != F_NONE)
#if NC == 3
#define MY_TURN(c) (flow[c] == F_NONE && OPENS_AFTER(c, 0) && OPENS_AFTER(c, 1))
#else
#define MY_TURN(c) (flow[c] == F_NONE && OPENS_AFTER(c, 0))
#endif

proctype conn(byte me)
{
end:
	do
	:: d_step {
		MY_TURN(me) && RUNS(me) && ANY_SLOT_FREE(owner[me]) ->
		at = owner[me];
		if
		:: SLOT_FREE(at)
		:: else -> at = at + 2
		fi;
#ifndef B_REUSE_EARLY
		if
		:: gen[at] != NONE ->
			SEEN(a slot used again);
			assert(R1_slot_reuse || row[gen[at]] == R_NONE || row[gen[at]] == R_RETAINED)
		:: else
		fi;
#endif
		slot[me] = at;
		gen[at] = me;
		word[at] = S_LIVE;
		flow[me] = F_OPENING;
		post_up(OPEN, me, resumes[me], 0)
	}
	:: d_step { /* ended by its client or broker, by a limit, or found killed */
		IS_OPEN(me) && RUNS(me) &&
#ifdef DEATHS
		(!calm || flow[me] == F_FROZEN || !WORD_IS(me, S_LIVE)) ->
#else
		!WORD_IS(me, S_LIVE) ->
#endif
		disturbed = true;
		printf("c%d ends\n", me);
		channel_down(me, 1)
	}
#if defined(SESSIONS) && defined(DEATHS)
	:: d_step { /* the same, and its session does not outlive it */
		flow[me] == F_CONNECTED && RUNS(me) && !calm && WORD_IS(me, S_LIVE) ->
		disturbed = true;
		printf("c%d ends with its session\n", me);
		channel_down(me, 0)
	}
#endif
	od
}

/* --- the control lcore: out of the maps, home to the worker ----------------------------------- */

inline answer(t_, c_)
{
	assert(ONE_ANSWER || answers[c_] == 0);
	answers[c_]++;
	post_down(t_, c_, 0, 0)
}

/* No reader can see it any more. */
inline reclaim(c_)
{
	if
#ifndef B_RELEASE_BEFORE_DOWN
	:: awaits[c_] ->
		SEEN(RELEASE waits for DOWN);
		reclaimed[c_] = true
#endif
	:: else -> answer(RELEASE, c_)
	fi
}

inline chan_remove(c_)
{
	row[c_] = R_NONE;
#ifdef GRACE
	retired[c_] = true
#else
	reclaim(c_)
#endif
}

/* Removes what has stepped down. */
inline retire()
{
	for (at : 0 .. NC - 1) {
		if
		:: row[at] == R_DOWN || row[at] == R_QUEUED -> chan_remove(at)
		:: else
		fi
	}
}

/* A row that is down keeps a session; its slot goes home at once. */
inline retain(c_, s_, from_)
{
	move(s_, from_, P_RETAINED);
	row[c_] = R_RETAINED;
	rsess[c_] = s_;
	answer(RELEASE, c_)
}

/* A retained session is discarded. Its slot went home when it was retained. */
inline discard(c_)
{
	move(rsess[c_], P_RETAINED, P_GONE);
	rsess[c_] = 0;
	row[c_] = R_NONE
}

/* --- stepping down ---------------------------------------------------------------------------- */

/* The kill. ok: what the control lcore takes it for; was: what it was. */
inline kill_word(c_)
{
	printf("control: kills c%d\n", c_);
	was = WORD_IS(c_, S_LIVE);
	if
	:: was -> SEEN(a kill)
	:: else -> SEEN(a kill that finds the flow closed)
	fi;
#ifdef B_STORE
	assert(R5_kill_hits_its_own || gen[slot[c_]] == c_);
	gen[slot[c_]] = c_;
	word[slot[c_]] = S_KILLED;
	ok = true;
#else
	ok = was;
	if
	:: was -> word[slot[c_]] = S_KILLED
	:: else
	fi;
#endif
	disturbed = true
}

/* After a kill: the session it had. Killed while it had it: @to_. Closed before: it is on its way
 * and will be discarded. */
inline give_up_session(c_, to_)
{
	if
	:: csess[c_] != 0 && ok ->
		assert(I7_session_in_one_place || was);
		move(csess[c_], place[csess[c_]], to_)
	:: csess[c_] != 0 && !ok && place[csess[c_]] != P_GONE && place[csess[c_]] != P_LOST ->
		place[csess[c_]] = P_LATE
	:: else
	fi
}

inline settle(c_)
{
	note[c_] = N_NONE;
	asked[c_] = 0;
	n_asks--
}

/* A message brings a session of a channel that was given up. */
inline late(s_)
{
	if
	:: s_ != 0 ->
		assert(I7_session_in_one_place || place[s_] == P_LATE || place[s_] == P_LOST);
		if
		:: place[s_] == P_LATE ->
			SEEN(the late session of a flow that closed by itself);
			place[s_] = P_GONE
		:: else -> SEEN(the late session of a killed flow)
		fi
	:: else
	fi
}

inline stepdown_answer()
{
	if
	:: note[mchan] != N_ASKED || asked[mchan] != (marg & 7) -> late(msess)
	:: note[mchan] == N_ASKED && asked[mchan] == marg && marg == BEGIN ->
		move(msess, P_UP, P_HAND);
		hand = msess;
		from = mchan;
		pendings = false;
		asked[mchan] = END; /* always sent: the point of no return */
		if
		:: cur == NONE -> SEEN(begin answered after the newcomer has died)
		:: else
		fi;
#ifdef B_NO_END
		if
		:: cur == NONE ->
			hand = 0;
			settle(mchan)
		:: else -> post_down(STEPDOWN, mchan, END, 0)
		fi
#else
		post_down(STEPDOWN, mchan, END, 0);
#ifdef B_NO_WAIT_END
		pendings = true;
		settle(mchan)
#endif
#endif
	:: note[mchan] == N_ASKED && asked[mchan] == marg && marg == END ->
		pendings = true;
		settle(mchan)
	:: note[mchan] == N_ASKED && asked[mchan] + NOPROC == marg && asked[mchan] >= BEGIN ->
		assert(I7_session_in_one_place || row[mchan] != R_LIVE); /* R3: its end came before */
		if
		:: marg == BEGIN + NOPROC && row[mchan] == R_RETAINED ->
			SEEN(begin answered noproc: CLOSED has brought the session)
		:: marg == BEGIN + NOPROC && row[mchan] != R_RETAINED ->
			SEEN(begin answered noproc: there is no session)
		:: else -> SEEN(end answered noproc: the frozen flow closed by itself)
		fi;
#ifdef B_NOPROC_FRESH
		fresh = true;
#endif
		settle(mchan)
	:: note[mchan] == N_ASKED && asked[mchan] == (marg & 7) && (marg & 7) < BEGIN ->
		assert(UNEXPECTED_MESSAGE || row[mchan] != R_LIVE);
		settle(mchan)
	fi
}

inline stepdown_timeout(c_)
{
	printf("control: c%d does not answer\n", c_);
	if
	:: asked[c_] == END -> /* the takeover has failed */
		SEEN(end not answered);
		move(hand, P_HAND, P_GONE);
		hand = 0;
		from = NONE
	:: else
	fi;
	if
	:: row[c_] == R_LIVE ->
#ifdef B_NO_KILL
		ok = false;
#else
		kill_word(c_);
#endif
		row[c_] = R_DOWN;
		awaits[c_] = true;
		if
		:: asked[c_] == BEGIN -> give_up_session(c_, P_LOST)
		:: asked[c_] < BEGIN -> give_up_session(c_, P_GONE)
		:: else
		fi
	:: else
	fi;
	settle(c_)
}

inline ask(c_, action_)
{
	assert(I2_newest_wins || lock == L_COMMAND || c_ < cur);
	note[c_] = N_ASKED;
	asked[c_] = action_;
	n_asks++;
	if
	:: stalled && owner[c_] == 0 -> /* not asked: killed at once (R8) */
		SEEN(a kill without a request);
		stepdown_timeout(c_)
	:: else -> post_down(STEPDOWN, c_, action_, 0)
	fi
}

/* --- opening ---------------------------------------------------------------------------------- */

inline supersede(c_, by_)
{
	if
	:: c_ == cur && lock == L_STEPPING -> SEEN(superseded after its stepdowns)
	:: c_ == cur && lock == L_IDLE -> SEEN(superseded by the registered channel)
	:: c_ == waiter -> SEEN(superseded while it waits)
	:: else -> SEEN(superseded as it comes)
	fi;
	printf("control: c%d is superseded by c%d\n", c_, by_);
	assert(I2_newest_wins || c_ < by_);
	note[c_] = N_NONE;
	answer(REFUSE, c_)
}

inline cur_over()
{
	cur = NONE;
	lock = L_IDLE
}

/* A newcomer comes to the lock. */
inline enter(c_)
{
	note[c_] = N_NEWCOMER;
	rival = waiter;
	if
	:: rival == NONE && cur != NONE && (lock != L_GRANTING || row[cur] == R_LIVE) -> rival = cur
	:: else
	fi;
	if
	:: rival != NONE && OLDER(c_, rival) -> supersede(c_, rival)
	:: else ->
		if
		:: waiter != NONE -> supersede(waiter, c_)
		:: else
		fi;
		waiter = c_
	fi
}

inline open_begin()
{
	rival = NONE; /* the newest that lives */
	for (at : 0 .. NC - 1) {
		if
		:: row[at] == R_LIVE && (rival == NONE || OLDER(rival, at)) -> rival = at
		:: else
		fi
	}
	if
	:: rival != NONE && OLDER(cur, rival) ->
		supersede(cur, rival);
		cur_over()
	:: else ->
		lock = L_STEPPING;
#ifdef B_NOPROC_FRESH
		fresh = false;
#endif
		for (at : 0 .. NC - 1) {
			if
			:: row[at] == R_LIVE -> ask(at, (at == rival && resumes[cur] -> BEGIN : DISCARD))
			:: else
			fi
		}
	fi
}

/* The session that the newcomer gets: msess. */
inline choose_session()
{
	msess = 0;
	if
	:: hand != 0 && resumes[cur] ->
		assert(I7_session_in_one_place || pendings);
		SEEN(a takeover);
		msess = hand;
		move(msess, P_HAND, P_DOWN);
		hand = 0;
		from = NONE
	:: else
	fi;
	for (at : 0 .. NC - 1) {
		if
		:: row[at] == R_RETAINED && resumes[cur] && msess == 0 && !IGNORE_RETAINED ->
			SEEN(a retained session resumed);
			msess = rsess[at];
			move(msess, P_RETAINED, P_DOWN);
			rsess[at] = 0;
#ifdef B_SECOND_RELEASE
			chan_remove(at)
#else
			row[at] = R_NONE
#endif
		:: row[at] == R_RETAINED && !resumes[cur] ->
			SEEN(a retained session discarded);
			discard(at)
		:: else
		fi
	}
	if
#ifdef SESSIONS
	:: msess == 0 ->
		printf("control: a fresh session for c%d\n", cur);
		for (at : 1 .. NC) { /* only if nothing is left */
			assert(I7_session_in_one_place || place[at] == P_NONE || place[at] >= P_GONE)
		}
		msess = cur + 1;
		place[msess] = P_DOWN
#endif
	:: else
	fi;
	csess[cur] = msess
}

/* The hand goes back to where it came from: the newcomer is gone. */
inline hand_back()
{
	if
	:: hand != 0 ->
		SEEN(the session of a takeover is retained for the newcomer is gone);
		assert(I7_session_in_one_place || (row[from] == R_DOWN && pendings));
		retain(from, hand, P_HAND);
		hand = 0;
		from = NONE
	:: else
	fi
}

inline open_stepped()
{
	if
	:: cur == NONE ->
		hand_back();
		cur_over()
	:: cur != NONE && waiter != NONE ->
		hand_back();
		supersede(cur, waiter);
		cur_over()
	:: else ->
		choose_session();
		row[cur] = R_LIVE;
		retire();
		note[cur] = N_GRANTED;
		lock = L_GRANTING;
		post_down(GRANT, cur, 0, msess)
	fi
}

/* GRANTED or RETURN. */
inline open_answer()
{
	if
	:: note[mchan] != N_GRANTED -> late(msess)
	:: else ->
		note[mchan] = N_NONE;
		if
		:: mtag == RETURN && msess != 0 && row[mchan] == R_DOWN ->
			SEEN(RETURN brings the session);
			retain(mchan, msess, P_UP)
		:: mtag == RETURN && msess == 0 && row[mchan] == R_DOWN -> row[mchan] = R_QUEUED
		:: else
#if !defined(B_DOWN_FORGOTTEN) && !defined(B_OVERTAKE)
			-> assert(UNEXPECTED_MESSAGE || mtag == GRANTED || row[mchan] != R_LIVE)
#endif
		fi;
		cur_over()
	fi
}

inline open_timeout(c_)
{
	printf("control: c%d does not answer to GRANT\n", c_);
	if
	:: row[c_] == R_LIVE ->
		kill_word(c_);
		give_up_session(c_, P_LOST);
		awaits[c_] = true;
		chan_remove(c_)
	:: else -> /* its DOWN has come, its RETURN is late */
		SEEN(RETURN does not come);
		ok = false;
		give_up_session(c_, P_LOST);
		if
		:: row[c_] == R_DOWN -> row[c_] = R_QUEUED
		:: else
		fi
	fi;
	note[c_] = N_NONE;
	cur_over()
}

/* --- DOWN and CLOSED -------------------------------------------------------------------------- */

inline others_rows()
{
	count = 0;
	for (at : 0 .. NC - 1) {
		count = count + (at != mchan && row[at] != R_NONE -> 1 : 0)
	}
}

inline down()
{
	others_rows();
	rows = count;
	if
	:: awaits[mchan] ->
		awaits[mchan] = false;
		late(msess);
#ifdef B_DELETE_BY_CLIENT
		for (at : 0 .. NC - 1) {
			if
			:: row[at] == R_LIVE -> chan_remove(at)
			:: else
			fi
		}
#endif
		if
		:: reclaimed[mchan] ->
			reclaimed[mchan] = false;
			answer(RELEASE, mchan)
		:: else
		fi
#ifndef B_DOWN_FORGOTTEN
	:: !awaits[mchan] && (note[mchan] == N_READ || note[mchan] == N_NEWCOMER) ->
		note[mchan] = N_NONE;
		answer(RELEASE, mchan);
		if
		:: waiter == mchan ->
			SEEN(a newcomer dies while it waits);
			waiter = NONE
		:: cur == mchan ->
			SEEN(a newcomer dies while the older ones step down);
			cur = NONE
		:: else -> SEEN(a newcomer dies before it comes to the lock)
		fi
#endif
	:: !awaits[mchan] && row[mchan] == R_LIVE ->
		if
		:: mtag == CLOSED ->
			SEEN(CLOSED brings the session);
			retain(mchan, msess, P_UP)
		:: mtag == DOWN && note[mchan] == N_ASKED ->
			row[mchan] = R_DOWN;
			if
			:: from == mchan && marg == 1 -> pendings = true
			:: else
			fi
#ifndef B_GRANTED_ROW
		:: mtag == DOWN && note[mchan] == N_GRANTED ->
			SEEN(a newcomer dies between GRANT and its answer);
			row[mchan] = R_DOWN
		:: mtag == DOWN && note[mchan] == N_NONE -> row[mchan] = R_QUEUED
#else
		:: mtag == DOWN && note[mchan] != N_ASKED -> row[mchan] = R_QUEUED
#endif
		fi
	:: else ->
		SEEN(DOWN crosses REFUSE);
		assert(UNEXPECTED_MESSAGE || (mtag == DOWN && row[mchan] == R_NONE))
	fi;
	others_rows();
	assert(I3_late_close_leaves_others_alone || rows == count)
}

/* --- the lock --------------------------------------------------------------------------------- */

inline command_begin()
{
	cmd = 2;
	disturbed = true;
	lock = L_COMMAND;
	for (at : 0 .. NC - 1) {
		if
		:: row[at] == R_LIVE ->
			SEEN(a kick);
			ask(at, KICKED)
		:: row[at] == R_RETAINED ->
			SEEN(a retained session kicked);
			discard(at)
		:: else
		fi
	}
}

inline command_end()
{
	retire();
	for (at : 0 .. NC - 1) {
#ifndef B_KICK_LEAVES
		if
		:: row[at] == R_RETAINED -> /* CLOSED crossed the request */
			SEEN(a kick that crosses CLOSED);
			discard(at)
		:: else
		fi;
#endif
		assert(KICK_LEAVES_NOTHING || row[at] == R_NONE)
	}
	cmd = 3;
	lock = L_IDLE
}

inline lock_run()
{
	do
	:: n_asks > 0 || lock == L_GRANTING -> break
	:: n_asks == 0 && lock == L_IDLE ->
		if
		:: cmd == 1 -> command_begin()
		:: cmd != 1 && waiter != NONE ->
			cur = waiter;
			waiter = NONE;
			open_begin()
		:: else ->
			retire();
			break
		fi
	:: n_asks == 0 && lock == L_COMMAND -> command_end()
	:: n_asks == 0 && lock == L_STEPPING -> open_stepped()
	od;
	skip
}

/* --- the turn --------------------------------------------------------------------------------- */

inline open_read()
{
	assert(UNEXPECTED_MESSAGE || (note[mchan] == N_NONE && row[mchan] == R_NONE));
#ifdef B_NO_STAMPS
	n_read++;
	seq[mchan] = n_read;
	enter(mchan)
#else
	note[mchan] = N_READ
#endif
}

inline read_ring(w_)
{
	unread = len(up[w_]);
	do
	:: unread > 0 ->
		unread--;
		up[w_]?mtag, mchan, marg, msess;
		if
		:: mtag == OPEN -> open_read()
		:: mtag == DOWN || mtag == CLOSED -> down()
		:: mtag == DONE -> stepdown_answer()
		:: mtag == GRANTED || mtag == RETURN -> open_answer()
		fi
	:: else -> break
	od
}

inline open_apply()
{
	for (nr : 0 .. NC - 1) { /* in the order of the stamps */
		if
		:: note[nr] == N_READ -> enter(nr)
		:: else
		fi
	}
}

proctype control()
{
end:
	do
	:: d_step { /* a turn */
		len(up[0]) + len(up[1]) > 0 ->
		read_ring(0);
		read_ring(1);
		open_apply();
		lock_run()
	}
	:: d_step { /* the outbox moves on */
		len(dno[0]) > 0 && len(dn[0]) < RING ->
		dno[0]?mtag, mchan, marg, msess;
		dn[0]!mtag, mchan, marg, msess
	}
	:: d_step {
		len(dno[1]) > 0 && len(dn[1]) < RING ->
		dno[1]?mtag, mchan, marg, msess;
		dn[1]!mtag, mchan, marg, msess
	}
#ifdef KICK
	:: d_step {
		cmd == 0 ->
		printf("control: kick\n");
		cmd = 1;
		lock_run()
	}
#endif
	od
}

/* What the control lcore does about one channel when its time has come. */
proctype later(byte me)
{
end:
	do
	:: d_step {
		row[me] == R_QUEUED ->
		chan_remove(me)
	}
#if defined(SESSIONS) && defined(DEATHS)
	:: d_step { /* the retained session expires */
		row[me] == R_RETAINED && !calm ->
		SEEN(a retained session expires);
		discard(me)
	}
#endif
#ifdef GRACE
	:: d_step { /* the grace period is over */
		retired[me] ->
		retired[me] = false;
		reclaim(me)
	}
#endif
#ifdef TIMEOUTS
	:: d_step {
		note[me] == N_ASKED ->
		stepdown_timeout(me);
		lock_run()
	}
	:: d_step {
		note[me] == N_GRANTED ->
		open_timeout(me);
		lock_run()
	}
#endif
	od
}

/* --- the rest of the world -------------------------------------------------------------------- */

/* Nothing moves any more. */
proctype final()
{
	d_step {
		timeout ->
		assert(NO_LOCK_OUT || (lock == L_IDLE && cur == NONE && waiter == NONE && n_asks == 0));
		count = 0;
		for (at : 0 .. NC - 1) {
			assert(I5_no_row_outlives || row[at] == R_NONE || row[at] == R_RETAINED ||
					(row[at] == R_LIVE && (!RUNS(at) || flow[at] == F_CONNECTED)));
			assert(I3_late_close_leaves_others_alone || !RUNS(at) ||
					flow[at] != F_CONNECTED || row[at] == R_LIVE);
			count = count + (row[at] == R_LIVE -> 1 : 0)
		}
		assert(I1_one_live || count <= 1);
		for (at : 0 .. NC - 1) {
			if
			:: RUNS(at) && flow[at] != F_NONE ->
				/* answered: connected, or sent home once */
				assert(NO_LOCK_OUT || flow[at] == F_CONNECTED || flow[at] == F_DONE);
				assert(ONE_ANSWER || answers[at] == (flow[at] == F_DONE -> 1 : 0));
				assert(NO_LOCK_OUT || (!retired[at] && !reclaimed[at] && !awaits[at]))
			:: else
			fi
		}
#ifdef KICK
		assert(NO_LOCK_OUT || cmd == 3);
#endif
		assert(I7_session_in_one_place || hand == 0);
		count = 0;
		for (at : 1 .. NC) {
			assert(I7_session_in_one_place || halted || place[at] == P_NONE ||
					place[at] == P_WORKER || place[at] == P_RETAINED ||
					place[at] == P_GONE || place[at] == P_LOST);
			count = count + (place[at] == P_WORKER || place[at] == P_RETAINED -> 1 : 0)
		}
		assert(I7_session_in_one_place || count <= 1);
		/* nobody was harmed: then the newest has won */
		assert(I2_newest_wins || disturbed || halted || flow[NC - 1] == F_NONE ||
				flow[NC - 1] == F_CONNECTED)
	}
}

init {
	atomic {
		/* the workers are alike, but for the order of reading, and unless one may halt */
#if NC == 2 || defined(HALT)
		if
		:: owner[0] = 0
		:: owner[0] = 1
		fi;
#endif
		if
		:: owner[1] = 0
		:: owner[1] = 1
		fi;
#if NC == 3
		if
		:: owner[2] = 0
		:: owner[2] = 1
		fi;
#endif
#ifdef SESSIONS
		if
		:: resumes[0] = true
		:: resumes[0] = false
		fi;
		if
		:: resumes[1] = true
		:: resumes[1] = false
		fi;
#if NC == 3
		if
		:: resumes[2] = true
		:: resumes[2] = false
		fi;
#endif
#endif
		run worker(0);
		run worker(1);
		run control();
		for (at : 0 .. NC - 1) {
			run conn(at);
			run later(at)
		};
		run final()
	}
#ifdef HALT
	if
	:: stalled = true;
		stalled = false
	:: stalled = true;
		halted = true
	:: halted = true;
		stalled = true
	fi;
#endif
#ifdef DEATHS
	calm = true
#endif
}
