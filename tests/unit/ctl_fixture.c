/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_mbuf.h>

#define DEADLINE_NS (20 * MQT_NS_PER_SEC)

/* A step that must not fail: the tests cannot go on without it. */
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s: %s\n", __func__, __LINE__, #cond,              \
					strerror(errno));                                          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t
real_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * MQT_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- clock with a gate ----------------------------------------------------------------------- */

static uint64_t
clock_mono(void *arg)
{
	struct tracker *t = arg;

	if (!pthread_equal(pthread_self(), t->test_thread)) {
		pthread_mutex_lock(&t->lock);
		t->gate_waiting++;
		pthread_cond_broadcast(&t->cond);
		while (t->gate_closed && !t->gate_passes)
			pthread_cond_wait(&t->cond, &t->lock);
		if (t->gate_closed)
			t->gate_passes--;
		t->gate_waiting--;
		pthread_cond_broadcast(&t->cond);
		pthread_mutex_unlock(&t->lock);
	}
	return real_ns(CLOCK_MONOTONIC);
}

static uint64_t
clock_wall(void *arg)
{
	(void)arg;
	return real_ns(CLOCK_REALTIME);
}

void
tracker_gate_close(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	t->gate_closed = true;
	pthread_mutex_unlock(&t->lock);
}

bool
tracker_gate_wait(struct tracker *t)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_NS / MQT_NS_PER_SEC;
	pthread_mutex_lock(&t->lock);
	while (!(t->gate_waiting && !t->gate_passes) && !err)
		err = pthread_cond_timedwait(&t->cond, &t->lock, &until);
	pthread_mutex_unlock(&t->lock);
	return !err;
}

void
tracker_gate_pass(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	t->gate_passes++;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

void
tracker_gate_open(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	t->gate_closed = false;
	t->gate_passes = 0;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

/* --- tracker ----------------------------------------------------------------------------------- */

void
tracker_init(struct tracker *t)
{
	*t = (struct tracker){ .test_thread = pthread_self() };
	strcpy(t->dir, "/tmp/mqtrack-test-XXXXXX");
	MUST(mkdtemp(t->dir));
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
	t->clock = (struct mqt_clock){ .mono_ns = clock_mono, .wall_ns = clock_wall, .arg = t };
	mqt_config_init(&t->config);
	t->config.limits.max_clients = TRACKER_SLOTS / 2;
	t->config.limits.stepdown_local_ms = 20;
	t->config.limits.stall_ms = 60000;
	t->config.limits.events = 1024;
	snprintf(t->config.control.socket, sizeof(t->config.control.socket), "%s/ctl.sock", t->dir);
}

void
tracker_start(struct tracker *t)
{
	static unsigned n_started;
	char name[32];

	snprintf(name, sizeof(name), "ctl%u", n_started++);
	MUST(mqt_hash_key_init(&t->hash_key) == 0);
	t->maps = mqt_maps_create(
			&(struct mqt_maps_params){ .max_channels = t->config.limits.max_clients });
	MUST(t->maps);
	t->events = mqt_event_ring_create(t->config.limits.events);
	t->mailbox = mqt_mailbox_create(1024);
	t->slots = calloc(TRACKER_SLOTS, sizeof(*t->slots));
	MUST(t->events && t->mailbox && t->slots);
	atomic_store(&t->heartbeat_ns, mqt_clock_mono(&t->clock));
	if (t->n_workers) {
		t->config.n_pairs = 1;
		t->pool = rte_pktmbuf_pool_create(
				name, 256, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
		MUST(t->pool);
		t->workers = mqt_workers_create(&(struct mqt_workers_params){
				.config = &t->config,
				.clock = &t->clock,
				.hash_key = &t->hash_key,
				.pool = t->pool,
				.n_workers = t->n_workers,
				.port_ids = (const uint16_t[]){ 0, 1 },
				.socket_id = SOCKET_ID_ANY,
		});
		MUST(t->workers);
	}
	t->captures = mqt_captures_create(1);
	MUST(t->captures);
	t->cm = mqt_cm_create(&(struct mqt_cm_params){
			.config = &t->config,
			.clock = &t->clock,
			.hash_key = &t->hash_key,
			.maps = t->maps,
			.events = t->events,
			.registry = mqt_registry_local(),
			.owners =
					&(struct mqt_cm_owner){
							.mailbox = t->mailbox,
							.slots = { t->slots, sizeof(*t->slots),
									TRACKER_SLOTS },
							.heartbeat_ns = &t->heartbeat_ns,
					},
			.n_owners = 1,
	});
	MUST(t->cm);
	t->ctl = mqt_ctl_start(&(struct mqt_ctl_params){
			.config = &t->config,
			.clock = &t->clock,
			.hash_key = &t->hash_key,
			.cm = t->cm,
			.events = t->events,
			.workers = t->workers,
			.captures = t->captures,
	});
	MUST(t->ctl);
}

struct mqt_slot *
tracker_slot(struct tracker *t, mqt_chan_id chan)
{
	return &t->slots[mqt_chan_id_slot(chan)];
}

static void
post(struct tracker *t, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	mqt_mailbox_post_control(t->mailbox, msg);
}

void
tracker_set_session(struct tracker *t, mqt_chan_id chan, struct mqt_session *session)
{
	uint32_t slot = mqt_chan_id_slot(chan);

	mqt_session_destroy(t->session[slot]);
	t->session[slot] = session;
}

static struct mqt_session *
take_session(struct tracker *t, mqt_chan_id chan)
{
	uint32_t slot = mqt_chan_id_slot(chan);
	struct mqt_session *session = t->session[slot];

	t->session[slot] = NULL;
	return session;
}

static void
post_down(struct tracker *t, mqt_chan_id chan, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	tracker_set_session(t, chan, NULL);
	t->open[mqt_chan_id_slot(chan)] = MQT_CHAN_NONE;
	post(t,
			&(struct mqt_msg){ .type = MQT_MSG_DOWN,
					.chan = chan,
					.reason = (uint8_t)reason,
					.stamp_ns = mqt_clock_mono(&t->clock) });
}

/* The flow stands still from now on; its session is the newcomer's. */
static void
worker_takeover_begin(struct tracker *t, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	bool live = t->open[mqt_chan_id_slot(msg->chan)] == msg->chan;

	post(t,
			&(struct mqt_msg){ .type = MQT_MSG_STEPDOWN_DONE,
					.chan = msg->chan,
					.action = msg->action,
					.token = msg->token,
					.session = live ? take_session(t, msg->chan) : NULL,
					.result = live ? 0 : -ENOENT });
}

static void
worker_stepdown(struct tracker *t, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	static const enum mqt_reason reasons[] = {
		[MQT_STEPDOWN_KICK] = MQT_REASON_KICKED,
		[MQT_STEPDOWN_DISCARD] = MQT_REASON_DISCARDED,
		[MQT_STEPDOWN_TAKEOVER_END] = MQT_REASON_TAKEN_OVER,
	};
	bool was_live = mqt_slot_leave(tracker_slot(t, msg->chan), msg->chan, MQT_SLOT_CLOSED);

	t->n_stepdowns++;
	t->code = msg->code;
	if (was_live)
		post_down(t, msg->chan, reasons[msg->action]);
	post(t,
			&(struct mqt_msg){ .type = MQT_MSG_STEPDOWN_DONE,
					.chan = msg->chan,
					.action = msg->action,
					.token = msg->token,
					.result = was_live ? 0 : -ENOENT });
}

static void
worker_handle(struct tracker *t, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	switch (msg->type) {
	case MQT_MSG_INSPECT:
		post(t,
				&(struct mqt_msg){ .type = MQT_MSG_INSPECTED,
						.chan = msg->chan,
						.token = msg->token,
						.session = mqt_session_clone(
								t->session[mqt_chan_id_slot(
										msg->chan)]) });
		break;
	case MQT_MSG_GRANT:
		tracker_set_session(t, msg->chan, msg->session);
		t->granted[mqt_chan_id_slot(msg->chan)] = true;
		post(t, &(struct mqt_msg){ .type = MQT_MSG_GRANTED, .chan = msg->chan });
		break;
	case MQT_MSG_REFUSE:
	case MQT_MSG_RELEASE:
		free(msg->info);
		break;
	case MQT_MSG_STEPDOWN:
		if (msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN)
			worker_takeover_begin(t, msg);
		else
			worker_stepdown(t, msg);
		break;
	default:
		fprintf(stderr, "worker: unexpected message %d\n", msg->type);
		abort();
	}
}

static void
worker_turn(struct tracker *t)
{
	struct mqt_msg msgs[32];
	unsigned n;

	mqt_role_worker_assert();
	if (t->mute)
		return;
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++)
		atomic_store(&t->captures->capture[i].seen[0],
				atomic_load(&t->captures->capture[i].word));
	for (uint32_t s = 0; s < t->next_slot; s++) { /* finds that it was killed */
		if (t->open[s] &&
				atomic_load(&t->slots[s].word) ==
						mqt_slot_word(mqt_chan_id_gen(t->open[s]),
								MQT_SLOT_KILLED))
			post_down(t, t->open[s], MQT_REASON_KILLED);
	}
	while ((n = mqt_mailbox_poll_worker(t->mailbox, msgs, 32)) > 0) {
		for (unsigned i = 0; i < n; i++)
			worker_handle(t, &msgs[i]);
	}
}

void
tracker_step(struct tracker *t)
{
	mqt_role_control_assert();
	if (!t->no_heartbeat)
		atomic_store(&t->heartbeat_ns, mqt_clock_mono(&t->clock));
	mqt_cm_turn(t->cm);
	worker_turn(t);
	if (mqt_maps_grace_wanted(t->maps))
		mqt_maps_grace_run(t->maps);
}

static struct mqt_info *
info_create(struct tracker *t, const struct client_spec *spec, mqt_chan_id chan)
{
	size_t id_len = spec->id_len ? spec->id_len : spec->id ? strlen(spec->id) : 0;
	size_t user_len = spec->username_len ? spec->username_len
			: spec->username     ? strlen(spec->username)
					     : 0;
	struct mqt_info *info = calloc(1, sizeof(*info) + id_len + user_len + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint peer = { .ip = { 192, 0, 2, 7 }, .port = 40000, .version = 4 };
	struct mqt_endpoint broker = { .ip = { 198, 51, 100, 1 }, .port = 1883, .version = 4 };

	if (spec->broker.version)
		broker = spec->broker;
	MUST(info);
	info->flags = spec->flags | (spec->resume ? 0 : MQT_INFO_CLEAN_START);
	info->expiry_sec = spec->expiry_sec;
	info->keepalive_sec = spec->keepalive_sec;
	info->domain = spec->domain;
	info->listener = spec->listener;
	info->proto_ver = spec->proto_ver ? spec->proto_ver : 4;
	info->transport = spec->transport;
	info->clientid_len = (uint16_t)id_len;
	info->username_len = (uint16_t)user_len;
	mqt_info_set_ends(info, &peer, &broker, NULL);
	if (id_len)
		memcpy(info->data, spec->id, id_len);
	if (user_len)
		memcpy(info->data + id_len, spec->username, user_len);
	if (spec->username)
		info->flags |= MQT_INFO_HAS_USERNAME;
	if (spec->flags & MQT_INFO_ANONYMOUS)
		info->digest = mqt_digest_anonymous(&t->hash_key, chan);
	else
		info->digest = mqt_digest_client(&t->hash_key, spec->domain,
				spec->flags & MQT_INFO_ASSIGNED ? &broker : NULL, spec->id, id_len);
	return info;
}

mqt_chan_id
tracker_open(struct tracker *t, const struct client_spec *spec)
{
	uint32_t slot = t->next_slot++ % TRACKER_SLOTS;
	mqt_chan_id chan;
	uint64_t until = real_ns(CLOCK_MONOTONIC) + DEADLINE_NS;

	mqt_role_worker_assert();
	MUST(t->next_slot <= TRACKER_SLOTS);
	t->gen[slot]++;
	chan = mqt_chan_id_make(t->config.node_id, 0, slot, t->gen[slot]);
	atomic_store(&t->slots[slot].word, mqt_slot_word(t->gen[slot], MQT_SLOT_LIVE));
	t->open[slot] = chan;
	post(t,
			&(struct mqt_msg){ .type = MQT_MSG_OPEN,
					.chan = chan,
					.stamp_ns = mqt_clock_mono(&t->clock),
					.info = info_create(t, spec, chan) });
	while (!t->granted[slot]) {
		tracker_step(t);
		MUST(real_ns(CLOCK_MONOTONIC) < until);
	}
	return chan;
}

mqt_chan_id
tracker_open_id(struct tracker *t, const char *id)
{
	return tracker_open(t, &(struct client_spec){ .id = id });
}

void
tracker_settle(struct tracker *t)
{
	uint64_t until = real_ns(CLOCK_MONOTONIC) + DEADLINE_NS;

	mqt_role_control_assert();
	do {
		tracker_step(t);
		MUST(real_ns(CLOCK_MONOTONIC) < until);
	} while (mqt_cm_busy(t->cm));
}

void
tracker_close(struct tracker *t, mqt_chan_id chan)
{
	mqt_role_worker_assert();
	MUST(mqt_slot_leave(tracker_slot(t, chan), chan, MQT_SLOT_CLOSED));
	post_down(t, chan, MQT_REASON_CLIENT_DISCONNECT);
	tracker_settle(t);
}

void
tracker_leave(struct tracker *t, mqt_chan_id chan, const struct mqt_session_final *final)
{
	struct mqt_session *session = take_session(t, chan);

	mqt_role_worker_assert();
	if (!session)
		session = mqt_session_create();
	MUST(session && mqt_slot_leave(tracker_slot(t, chan), chan, MQT_SLOT_CLOSED));
	mqt_session_set_final(session, final);
	t->open[mqt_chan_id_slot(chan)] = MQT_CHAN_NONE;
	post(t,
			&(struct mqt_msg){ .type = MQT_MSG_CLOSED,
					.chan = chan,
					.reason = MQT_REASON_CLIENT_DISCONNECT,
					.stamp_ns = mqt_clock_mono(&t->clock),
					.session = session });
	tracker_settle(t);
}

/* Infos and sessions on their way home when all has stopped, or that have stayed with the worker. */
static void
drop_mail(struct tracker *t)
{
	struct mqt_msg msg;

	mqt_role_worker_assert();
	while (mqt_mailbox_poll_worker(t->mailbox, &msg, 1) == 1) {
		if (msg.type == MQT_MSG_REFUSE || msg.type == MQT_MSG_RELEASE)
			free(msg.info);
		if (msg.type == MQT_MSG_GRANT)
			mqt_session_destroy(msg.session);
	}
	for (uint32_t s = 0; s < TRACKER_SLOTS; s++)
		mqt_session_destroy(t->session[s]);
}

void
tracker_stop_now(struct tracker *t)
{
	char path[128];

	mqt_ctl_stop(t->ctl);
	mqt_cm_destroy(t->cm);
	drop_mail(t);
	mqt_captures_destroy(t->captures);
	mqt_workers_destroy(t->workers);
	rte_mempool_free(t->pool);
	mqt_maps_destroy(t->maps);
	mqt_event_ring_destroy(t->events);
	mqt_mailbox_destroy(t->mailbox);
	free(t->slots);
	snprintf(path, sizeof(path), "%s/ctl.sock", t->dir);
	unlink(path);
	MUST(rmdir(t->dir) == 0);
}

void
tracker_stop(struct tracker *t)
{
	t->mute = false;
	tracker_settle(t);
	tracker_stop_now(t);
}

/* --- control clients ----------------------------------------------------------------------------- */

void
peer_open(struct peer *p, struct tracker *t)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*p = (struct peer){ .t = t, .next_id = 1 };
	strcpy(addr.sun_path, t->config.control.socket);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(p->fd >= 0);
	MUST(connect(p->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	MUST(fcntl(p->fd, F_SETFL, O_NONBLOCK) == 0);
}

void
peer_close(struct peer *p)
{
	close(p->fd);
	free(p->in);
}

bool
peer_send(struct peer *p, const void *data, size_t len)
{
	uint64_t until = real_ns(CLOCK_MONOTONIC) + DEADLINE_NS;
	const char *bytes = data;

	while (len > 0) {
		ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL);

		MUST(real_ns(CLOCK_MONOTONIC) < until);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			poll(&(struct pollfd){ .fd = p->fd, .events = POLLOUT }, 1, 1);
			tracker_step(p->t);
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

bool
peer_send_line(struct peer *p, const char *line)
{
	return peer_send(p, line, strlen(line)) && peer_send(p, "\n", 1);
}

/* Reads what is there. @return 1 more bytes, 0 nothing, -1 closed. */
static int
peer_fill(struct peer *p)
{
	ssize_t n;

	if (p->cap - p->len < 65536) {
		p->cap = 2 * p->cap + 65536;
		p->in = realloc(p->in, p->cap);
		MUST(p->in);
	}
	n = recv(p->fd, p->in + p->len, p->cap - p->len, 0);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	p->len += (size_t)n;
	return n > 0 ? 1 : -1;
}

bool
peer_has_message(struct peer *p)
{
	peer_fill(p);
	return memchr(p->in, '\n', p->len) != NULL;
}

json_t *
peer_recv(struct peer *p)
{
	uint64_t until = real_ns(CLOCK_MONOTONIC) + DEADLINE_NS;
	json_error_t error;
	json_t *json;
	char *end;

	while (!p->len || !(end = memchr(p->in, '\n', p->len))) {
		int more = peer_fill(p);

		if (more < 0 || real_ns(CLOCK_MONOTONIC) >= until)
			return NULL;
		if (more == 0) {
			poll(&(struct pollfd){ .fd = p->fd, .events = POLLIN }, 1, 1);
			tracker_step(p->t);
		}
	}
	json = json_loadb(p->in, (size_t)(end - p->in), JSON_ALLOW_NUL, &error);
	if (!json)
		fprintf(stderr, "not JSON: %s\n", error.text);
	MUST(json);
	p->len -= (size_t)(end + 1 - p->in);
	memmove(p->in, end + 1, p->len);
	return json;
}

bool
peer_at_end(struct peer *p)
{
	uint64_t until = real_ns(CLOCK_MONOTONIC) + DEADLINE_NS;
	int more = 0;

	while (more >= 0 && real_ns(CLOCK_MONOTONIC) < until) {
		more = peer_fill(p);
		if (more == 0) {
			poll(&(struct pollfd){ .fd = p->fd, .events = POLLIN }, 1, 1);
			tracker_step(p->t);
		}
	}
	return more < 0;
}

json_t *
peer_call(struct peer *p, const char *method, const char *params)
{
	json_t *request = json_pack(
			"{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", p->next_id++, "method", method);
	json_t *answer = NULL;
	char *text;

	if (params) {
		json_t *json = json_loads(params, JSON_ALLOW_NUL, NULL);

		MUST(json);
		json_object_set_new(request, "params", json);
	}
	text = json_dumps(request, JSON_COMPACT);
	peer_send_line(p, text);
	free(text);
	do {
		json_decref(answer); /* an event, or what was said to nobody in particular */
		answer = peer_recv(p);
	} while (answer &&
			!json_equal(json_object_get(answer, "id"), json_object_get(request, "id")));
	json_decref(request);
	return answer;
}

json_t *
peer_result(struct peer *p, const char *method, const char *params)
{
	json_t *answer = peer_call(p, method, params);
	json_t *result = json_incref(json_object_get(answer, "result"));
	json_t *error = json_object_get(answer, "error");

	if (!result)
		fprintf(stderr, "\n    %s %s: %s\n", method, params ? params : "",
				error ? json_string_value(json_object_get(error, "message"))
				      : "no answer");
	json_decref(answer);
	return result;
}

int
peer_error(struct peer *p, const char *method, const char *params)
{
	json_t *answer = peer_call(p, method, params);
	json_t *error = json_object_get(answer, "error");
	int code = answer ? (int)json_integer_value(json_object_get(error, "code")) : -1;

	json_decref(answer);
	return code;
}
