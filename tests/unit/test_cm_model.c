/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <rte_common.h>

/*
 * Random schedules: several fake owners and few client ids, so that everything that can cross
 * does. One step is one small thing: an owner opens, ends, reads a message, falls silent, finds
 * what was killed; a command; a turn; a grace period. After each step the invariants are checked
 * against what the owners know: of channels, and of sessions, each of which is in one place. A
 * schedule is its seed: `test_cm_model SEED` runs it again.
 */

#define N_OWNERS  3
#define N_CLIENTS 4
#define N_SLOTS   24
#define N_CMDS    8
#define N_STEPS   400
#define SCHEDULES 4000

struct model {
	struct rig *rig;
	uint64_t seed;
	uint64_t rng;
	unsigned step;
	const char *broken;
	unsigned commands_out;
	uint64_t lost_before; /* sessions */
	struct model_cmd {
		struct mqt_cm_cmd cmd;
		struct model *model;
		bool out;
	} cmds[N_CMDS];
	/* from the events: who is announced as connected */
	mqt_chan_id announced[N_CLIENTS];
	uint64_t epoch[N_CLIENTS]; /* of the newest channel so far */
};

static uint64_t
rnd(struct model *m, uint64_t n)
{
	/* splitmix64 */
	uint64_t z = m->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % n;
}

static void
breaks(struct model *m, const char *what)
{
	if (!m->broken)
		m->broken = what;
}

static const char *const ids[N_CLIENTS] = { "c0", "c1", "c2", "c3" };

/* --- steps --------------------------------------------------------------------------------------- */

static struct rig_conn *
some_conn(struct model *m)
{
	struct rig_owner *o = &m->rig->owners[rnd(m, N_OWNERS)];

	return o->slots[rnd(m, N_SLOTS)].conn;
}

static void
step_open(struct model *m)
{
	unsigned client = (unsigned)rnd(m, N_CLIENTS);
	/* the CONNACK may have arrived a while before the OPEN gets through */
	uint64_t stamp = m->rig->now_ns - rnd(m, 3) * rnd(m, 20) * RIG_MS + rnd(m, 3);

	static const uint32_t expiry_sec[] = { 0, 1, 5, 3600, UINT32_MAX };
	static const char *const users[] = { NULL, "u", "v" };
	struct rig_open how = { .clientid = ids[client], .client = client, .stamp_ns = stamp };

	how.resume = rnd(m, 4) > 0;
	how.present = how.resume && rnd(m, 3) > 0;
	how.expiry_sec = expiry_sec[rnd(m, RTE_DIM(expiry_sec))];
	how.proto_ver = (uint8_t)(3 + rnd(m, 3));
	how.broker = rnd(m, 4) == 0;
	how.listener = (uint16_t)rnd(m, 2);
	how.username = users[rnd(m, 8) == 0 ? 1 + rnd(m, 2) : 0];
	how.session = rnd(m, 2);
	rig_open(m->rig, (unsigned)rnd(m, N_OWNERS), how);
}

static void
step_end(struct model *m)
{
	struct rig_conn *conn = some_conn(m);

	if (!conn)
		return;
	if (rnd(m, 4) == 0)
		rig_close(m->rig, conn);
	else
		rig_end(m->rig, conn);
}

static void
cmd_done(struct mqt_cm_cmd *cmd)
{
	struct model_cmd *mc = (struct model_cmd *)cmd; /* its first member */

	if (!mc->out)
		breaks(mc->model, "a command done twice");
	mc->out = false;
	mc->model->commands_out--;
	if (cmd->taken != MQT_CHAN_NONE)
		rig_session_got(cmd->session); /* no copy */
	mqt_session_destroy(cmd->session);
	for (unsigned i = 0; i < cmd->n_outcomes; i++) {
		if (cmd->outcomes[i].result == -EINPROGRESS)
			breaks(mc->model, "a command done before its outcome");
	}
}

static void
step_command(struct model *m)
{
	static void (*const commands[])(struct mqt_cm * cm, struct mqt_cm_cmd * cmd) = {
		mqt_cm_kick, mqt_cm_discard, mqt_cm_takeover, mqt_cm_inspect
	};
	struct model_cmd *mc = &m->cmds[rnd(m, N_CMDS)];
	const char *id = ids[rnd(m, N_CLIENTS)];
	struct rig_conn *conn = some_conn(m);

	if (mc->out)
		return;
	*mc = (struct model_cmd){ .model = m, .out = true, .cmd = { .done = cmd_done } };
	mc->cmd.digest = mqt_digest_client(&m->rig->key, 0, NULL, id, strlen(id));
	if (rnd(m, 2))
		mc->cmd.chan = conn ? conn->id : 12345;
	m->commands_out++;
	commands[rnd(m, RTE_DIM(commands))](m->rig->cm, &mc->cmd);
}

static void
step_mood(struct model *m)
{
	struct rig_owner *o = &m->rig->owners[rnd(m, N_OWNERS)];

	o->answer = rnd(m, 3) ? RIG_ANSWER_OK : (enum rig_answer)rnd(m, 4);
	o->end_answer = rnd(m, 3) ? RIG_ANSWER_OK : (enum rig_answer)rnd(m, 4);
	o->mute_grant = rnd(m, 8) == 0;
	o->plain_down = rnd(m, 2);
}

static void
step_beat(struct model *m)
{
	atomic_store(&m->rig->owners[rnd(m, N_OWNERS)].heartbeat_ns, m->rig->now_ns);
}

static void
step(struct model *m)
{
	static const uint64_t ms[] = { 0, 1, 1, 3, 20, 100, 5000 };
	uint64_t what = rnd(m, 100);

	if (what < 18)
		step_open(m);
	else if (what < 26)
		step_end(m);
	else if (what < 30)
		step_command(m);
	else if (what < 33)
		step_mood(m);
	else if (what < 38)
		step_beat(m);
	else if (what < 42)
		rig_find_killed(m->rig, (unsigned)rnd(m, N_OWNERS));
	else if (what < 46)
		rig_grace(m->rig);
	else if (what < 72)
		rig_poll(m->rig, (unsigned)rnd(m, N_OWNERS), (unsigned)rnd(m, 4));
	else
		rig_turn(m->rig, ms[rnd(m, RTE_DIM(ms))]);
}

/* --- invariants ------------------------------------------------------------------------------------ */

/* What the tables say of each channel, against what its owner knows. Returns whether it is live. */
static bool
check_conn(struct model *m, struct rig_conn *conn)
{
	enum mqt_chan_state state = rig_state(m->rig, conn);
	bool slot_live = rig_slot_is(m->rig, conn, MQT_SLOT_LIVE);
	bool registered = state == MQT_CHAN_CONNECTED || state == MQT_CHAN_ORPHANED;

	if (conn->home && (conn->kept ? registered : state != MQT_CHAN_FREE))
		breaks(m, "I5: a row outlives its channel");
	if (conn->n_refusals + conn->n_releases > 1)
		breaks(m, "an OPEN that ended twice");
	if (conn->n_grants > 1)
		breaks(m, "two grants");
	if (conn->n_grants && !conn->over && slot_live && !registered)
		breaks(m, "I3: a living channel was removed");
	if (conn->n_refusals && conn->n_grants)
		breaks(m, "granted and refused");
	/* a channel whose connection may still pass packets after its GRANT */
	return registered && slot_live;
}

static void
check_conns(struct model *m)
{
	unsigned n_live[N_CLIENTS] = { 0 };

	for (unsigned w = 0; w < N_OWNERS; w++) {
		for (unsigned i = 0; i < N_SLOTS; i++) {
			struct rig_conn *conn = m->rig->owners[w].slots[i].conn;

			if (conn)
				n_live[conn->client] += check_conn(m, conn);
		}
	}
	for (unsigned c = 0; c < N_CLIENTS; c++) {
		if (n_live[c] > 1)
			breaks(m, "I1, I4: two live channels of a client");
	}
}

static void
check_tables(struct model *m)
{
	struct mqt_maps_sizes sizes = rig_sizes(m->rig);
	struct mqt_cm_gauge g[MQT_CM_N_GAUGES];
	unsigned n = 0, n_live = 0;
	const struct mqt_chan *row;
	uint32_t pos = 0;

	mqt_rcu_read_lock();
	while ((row = mqt_cm_channels_next(m->rig->cm, &pos))) {
		n++;
		n_live += mqt_cm_is_live(m->rig->cm, row->id);
	}
	mqt_rcu_read_unlock();
	mqt_cm_gauges(m->rig->cm, g);
	if (sizes.channels != n || sizes.live != n_live || g[0].count != n ||
			g[3].count != n_live || g[0].max < n || g[3].max < n_live)
		breaks(m, "I6: counts differ from the tables");
	if (rig_counter(m->rig, MQT_C_DUPLICATES) > 0)
		breaks(m, "I1: duplicates");
	if (rig_counter(m->rig, MQT_C_STALE_CHANNELS) > 0)
		breaks(m, "stale channels");
	if (rig_counter(m->rig, MQT_C_UNEXPECTED_MSG) > 0)
		breaks(m, "an unexpected message");
	if (m->rig->bad > 0)
		breaks(m, "an owner got what it cannot expect");
}

static void
check_event(struct model *m, const struct mqt_event *ev)
{
	unsigned c = (unsigned)(ev->clientid[1] - '0');

	if (ev->type == MQT_EVENT_CONNECTED) {
		if (m->announced[c] != MQT_CHAN_NONE)
			breaks(m, "I8: connected before the old one's disconnected");
		if (ev->epoch <= m->epoch[c])
			breaks(m, "I8: an epoch that does not grow");
		m->announced[c] = ev->chan;
		m->epoch[c] = ev->epoch;
	}
	if (ev->type == MQT_EVENT_DISCONNECTED) {
		if (m->announced[c] != ev->chan || m->epoch[c] != ev->epoch)
			breaks(m, "I8: disconnected of one that was not connected");
		m->announced[c] = MQT_CHAN_NONE;
	}
	if ((ev->type == MQT_EVENT_SUPERSEDED || ev->type == MQT_EVENT_REFUSED) &&
			ev->epoch <= m->epoch[c])
		breaks(m, "I8: an epoch that another has had");
	if (ev->type == MQT_EVENT_RESUMED) {
		const struct rig_conn *a = rig_conn_of(m->rig, ev->chan);
		const struct rig_conn *b = rig_conn_of(m->rig, ev->other);

		if (!a || !b || a->client != b->client || a->broker != b->broker)
			breaks(m, "the session of another client or of another broker");
	}
	if (ev->type == MQT_EVENT_SUPERSEDED) {
		const struct rig_conn *a = rig_conn_of(m->rig, ev->chan);
		const struct rig_conn *b = rig_conn_of(m->rig, ev->other);

		if (a->client != b->client || a->stamp_ns > b->stamp_ns ||
				(a->stamp_ns == b->stamp_ns && a->id > b->id))
			breaks(m, "I2: superseded by an older one");
	}
}

/* I7: a session is in one place, and what is gone has been counted. */
static void
check_sessions(struct model *m, bool quiet)
{
	uint32_t retained = mqt_cm_retained_count(m->rig->cm);
	uint64_t lost = rig_n_lost - m->lost_before;
	uint64_t told = rig_counter(m->rig, MQT_C_SESSION_DISCARDED) +
			rig_counter(m->rig, MQT_C_SESSION_EXPIRED) +
			rig_counter(m->rig, MQT_C_SESSION_EVICTED) +
			rig_counter(m->rig, MQT_C_SESSION_LOST_BY_BROKER);
	uint64_t killed = rig_counter(m->rig, MQT_C_KILLS) +
			rig_counter(m->rig, MQT_C_KILL_MISSED) +
			rig_counter(m->rig, MQT_C_SESSION_LOST_BY_KILL);

	if (rig_n_misplaced > 0)
		breaks(m, "I7: a session in two places");
	if (rig_n_given < retained || (quiet && rig_n_given != retained))
		breaks(m, "I7: a session that nobody holds");
	/* one that was on its way when its owner was given up is told as lost with it */
	if (lost < told || lost > told + killed)
		breaks(m, "I7: a session lost without a word");
	if (retained > m->rig->config.limits.max_retained + m->rig->config.limits.down_batch)
		breaks(m, "more retained sessions than the limit");
}

static void
check_step(struct model *m)
{
	struct mqt_event ev;

	check_sessions(m, false);
	check_conns(m);
	check_tables(m);
	while (rig_event(m->rig, &ev))
		check_event(m, &ev);
}

/* --- a schedule ------------------------------------------------------------------------------------- */

/* Everything goes right from now on: whoever is left must be the newest that did not die. */
static void
check_quiet(struct model *m)
{
	for (unsigned w = 0; w < N_OWNERS; w++) {
		m->rig->owners[w].answer = RIG_ANSWER_OK;
		m->rig->owners[w].end_answer = RIG_ANSWER_OK;
		m->rig->owners[w].mute_grant = false;
		atomic_store(&m->rig->owners[w].heartbeat_ns, 0); /* never stalled */
	}
	rig_settle(m->rig);
	for (unsigned i = 0; i < 3000 && rig_busy(m->rig); i++) {
		rig_turn(m->rig, 1);
		rig_poll_all(m->rig);
		rig_grace(m->rig);
	}
	rig_settle(m->rig); /* what still waited for room in a ring */
	check_step(m);
	check_sessions(m, true);
	if (mqt_cm_retained_count(m->rig->cm) > m->rig->config.limits.max_retained)
		breaks(m, "more retained sessions than the limit");
	if (rig_busy(m->rig))
		breaks(m, "locked for good");
	if (m->commands_out > 0)
		breaks(m, "a command never done");
	for (unsigned w = 0; w < N_OWNERS; w++) {
		for (unsigned i = 0; i < N_SLOTS; i++) {
			struct rig_conn *conn = m->rig->owners[w].slots[i].conn;

			if (conn && !conn->home && !rig_live(m->rig, conn))
				breaks(m, "a channel neither live nor home");
		}
	}
}

/* Adds up what happened, so that a schedule in which nothing crosses is noticed. */
static void
add_up(struct rig *rig, uint64_t happened[MQT_C_N_COUNTERS])
{
	for (unsigned c = 0; c < MQT_C_N_COUNTERS; c++)
		happened[c] += rig_counter(rig, c);
}

static const char *
run(uint64_t seed, unsigned *step_no, uint64_t happened[MQT_C_N_COUNTERS])
{
	/* the maps are too small on purpose in some schedules, the rings in others */
	static const unsigned clients[] = { 64, 3, 2 };
	static const unsigned rings[] = { 256, 2, 8 };
	static const uint32_t retained[] = { 64, 3, 1, 0 };
	struct model m = { .seed = seed, .rng = seed, .lost_before = rig_n_lost };
	const char *broken;

	m.rig = rig_create((struct rig_params){
			N_OWNERS, N_SLOTS, clients[rnd(&m, 3)], rings[rnd(&m, 3)] });
	m.rig->config.limits.down_slice = 1 + (uint32_t)rnd(&m, 4);
	m.rig->config.limits.down_batch = 1 + (uint32_t)rnd(&m, 8);
	m.rig->config.limits.max_retained = retained[rnd(&m, 4)];
	m.rig->config.listeners[0].session_expiry_v3_sec = 2;
	/* the second listener has the settings of this schedule */
	m.rig->config.listeners[1] = m.rig->config.listeners[0];
	m.rig->config.listeners[1].policy = (uint8_t)rnd(&m, 2);
	m.rig->config.listeners[1].bind_username = rnd(&m, 2);
	m.rig->config.flap = (struct mqt_flap){ 3, 2, (uint32_t)rnd(&m, 2) };
	for (m.step = 0; m.step < N_STEPS && !m.broken; m.step++) {
		step(&m);
		check_step(&m);
	}
	*step_no = m.step;
	if (!m.broken)
		check_quiet(&m);
	broken = m.broken;
	add_up(m.rig, happened);
	if (broken)
		rig_destroy(m.rig);
	else
		rig_check_end(m.rig);
	return broken;
}

static uint64_t first_seed = 1;
static unsigned n_schedules = SCHEDULES;

static void
test_invariants_hold_in_random_schedules(void)
{
	static const enum mqt_control_counter crossings[] = {
		MQT_C_RETURNED,
		MQT_C_SUPERSEDED,
		MQT_C_DEAD_WAITERS,
		MQT_C_TABLE_FULL,
		MQT_C_STEPDOWN_OK,
		MQT_C_STEPDOWN_NOPROC,
		MQT_C_STEPDOWN_TIMEOUT,
		MQT_C_STEPDOWN_ERROR,
		MQT_C_KILLS,
		MQT_C_KILL_MISSED,
		MQT_C_KICKED,
		MQT_C_DISCARDED,
		MQT_C_KICK_UNKNOWN,
		MQT_C_DOWN_UNKNOWN,
		MQT_C_ORPHANED,
		MQT_C_ADOPTED_BACK,
		MQT_C_TAKEOVERS,
		MQT_C_SESSION_CREATED,
		MQT_C_SESSION_RESUMED,
		MQT_C_SESSION_HANDED_OUT,
		MQT_C_SESSION_RETAINED,
		MQT_C_SESSION_DISCARDED,
		MQT_C_SESSION_EXPIRED,
		MQT_C_SESSION_EVICTED,
		MQT_C_SESSION_LOST_BY_BROKER,
		MQT_C_SESSION_LEFT_BEHIND,
		MQT_C_SESSION_ADOPTED,
		MQT_C_SESSION_LOST_BY_KILL,
		MQT_C_REFUSED_POLICY,
		MQT_C_REFUSED_USERNAME,
		MQT_C_REFUSED_FLAPPING,
		MQT_C_FLAPPING,
	};
	uint64_t happened[MQT_C_N_COUNTERS] = { 0 };

	for (unsigned i = 0; i < n_schedules; i++) {
		uint64_t seed = first_seed + i;
		char row[32];
		unsigned step_no;
		const char *broken;

		snprintf(row, sizeof(row), "seed %" PRIu64, seed);
		check_row = row;
		broken = run(seed, &step_no, happened);
		CHECK_STR(broken ? broken : "holds", "holds");
		if (broken) {
			printf("    seed %" PRIu64 ", step %u\n", seed, step_no);
			break;
		}
	}
	for (unsigned i = 0; i < RTE_DIM(crossings) && n_schedules >= SCHEDULES; i++) {
		check_row = mqt_control_counter_name(crossings[i]);
		CHECK(happened[crossings[i]] > 0);
	}
	check_row = "";
}

static CU_TestInfo tests[] = {
	{ "invariants hold in random schedules", test_invariants_hold_in_random_schedules },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "model", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(int argc, char **argv)
{
	if (argc > 1) {
		first_seed = strtoull(argv[1], NULL, 0);
		n_schedules = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 1;
	}
	return rig_run(suites);
}
