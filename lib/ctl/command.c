/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands to the channel manager, and their way home: clients.kick and clients.discard here, the
 * questions of clients.get in inspect.c.
 *
 * Life-cycle of a command: allocated here, given to mqt_cm_kick() or another, belongs to the manager until
 * it calls done(), which queues it in the sink and wakes the control thread; ctl_command_poll() then
 * gives its outcome to its call and frees it. One call may need several commands (a client id in
 * several domains, or assigned by several brokers); its answer is sent when all are home.
 *
 * Synchronisation: done() runs on the control lcore, or in mqt_cm_destroy(): a wait-free enqueue, a
 * write to a non-blocking eventfd, and giving up its share of the sink. The sink is shared by
 * mqt_ctl and each command under way; the last one to let go frees it with everything inside. So
 * mqt_ctl_stop() may come before or after the control lcore's end, and no command is lost, freed
 * twice, or answered into freed memory. What is in the sink when the last share goes is not looked
 * at, only freed.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_log.h>
#define COMMANDS_MAX (CTL_LOOKUP_MAX + MQT_MAX_DOMAINS)

struct ctl_sink *
ctl_sink_create(void)
{
	struct ctl_sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sink->eventfd < 0) {
		free(sink);
		return NULL;
	}
	__cds_wfcq_init(&sink->head, &sink->tail);
	atomic_init(&sink->n_owners, 1);
	return sink;
}

static struct ctl_command *
sink_take(struct ctl_sink *sink)
{
	struct cds_wfcq_node *node = __cds_wfcq_dequeue_blocking(&sink->head, &sink->tail);
	struct ctl_command *command;

	if (!node)
		return NULL;
	command = (struct ctl_command *)((char *)node - offsetof(struct ctl_command, home));
	mqt_tsan_acquire(command);
	return command;
}

static void
command_free(struct ctl_command *command)
{
	mqt_session_destroy(command->cmd.session);
	free(command);
}

void
ctl_sink_put(struct ctl_sink *sink)
{
	/* acq_rel: the last one sees what the others have queued */
	if (atomic_fetch_sub_explicit(&sink->n_owners, 1, memory_order_acq_rel) != 1)
		return;
	for (struct ctl_command *c = sink_take(sink); c; c = sink_take(sink))
		command_free(c);
	close(sink->eventfd);
	free(sink);
}

/* Context: the control lcore. Does not block: a full eventfd has woken the thread already. */
static void
command_done(struct mqt_cm_cmd *cmd)
{
	struct ctl_command *command =
			(struct ctl_command *)((char *)cmd - offsetof(struct ctl_command, cmd));
	struct ctl_sink *sink = command->sink;
	uint64_t one = 1;

	cds_wfcq_node_init(&command->home);
	mqt_tsan_release(command); /* the queue orders it, which ThreadSanitizer does not see */
	cds_wfcq_enqueue(&sink->head, &sink->tail, &command->home);
	if (write(sink->eventfd, &one, sizeof(one)) < 0)
		RTE_LOG(DEBUG, CTL, "eventfd is full\n");
	ctl_sink_put(sink);
}

void
ctl_command_poll(struct mqt_ctl *ctl)
{
	for (struct ctl_command *c = sink_take(ctl->sink); c; c = sink_take(ctl->sink)) {
		struct ctl_call *call = c->call;

		call->home(call, c);
		command_free(c);
		if (--call->n_commands == 0)
			call->settle(call);
	}
}

void
ctl_command_submit(struct ctl_call *call, ctl_command_fn *submit,
		struct ctl_command *const *commands, unsigned n)
{
	struct ctl_sink *sink = call->ctl->sink;

	call->n_commands = n;
	for (unsigned i = 0; i < n; i++) {
		commands[i]->cmd.done = command_done;
		commands[i]->call = call;
		commands[i]->sink = sink;
		atomic_fetch_add_explicit(&sink->n_owners, 1, memory_order_relaxed);
		submit(call->ctl->p.cm, &commands[i]->cmd);
	}
	if (n == 0)
		call->settle(call);
}

/* --- kick and discard -------------------------------------------------------------------------- */

static const char *
outcome_name(int result)
{
	switch (result) {
	case 0:
		return "stepped_down";
	case -ENOENT:
		return "already_gone";
	case -ETIMEDOUT:
		return "killed";
	default:
		return "failed";
	}
}

static int
outcome_add(json_t *list, const struct mqt_cm_outcome *outcome)
{
	json_t *obj = json_object();
	int err = obj ? 0 : -1;

	err |= ctl_record_set_chan(obj, "channel", outcome->chan);
	err |= json_object_set_new(obj, "result", json_string(outcome_name(outcome->result)));
	return err | json_array_append_new(list, obj);
}

static void
stepdown_home(struct ctl_call *call, struct ctl_command *command)
{
	call->n_channels += command->cmd.n_channels;
	for (unsigned i = 0; i < command->cmd.n_outcomes; i++)
		outcome_add(call->outcomes, &command->cmd.outcomes[i]);
}

static void
stepdown_settle(struct ctl_call *call)
{
	ctl_call_result(call,
			json_pack("{s:b, s:i, s:O}", "ok", 1, "n_channels", (int)call->n_channels,
					"channels", call->outcomes));
}

static bool
add_digest(struct mqt_digest *digests, unsigned *n, const struct mqt_digest *digest)
{
	for (unsigned i = 0; i < *n; i++) {
		if (mqt_digest_equal(&digests[i], digest))
			return false;
	}
	digests[(*n)++] = *digest;
	return true;
}

/*
 * Which clients a client id means: those registered under it, by their own digest (an id that a
 * broker has assigned belongs to that broker's client). Where there is none, the plain id in each
 * domain asked for: one that is being opened right now is found by taking its lock.
 */
static unsigned
target_digests(struct ctl_call *call, const struct ctl_target *target, struct mqt_digest *digests)
{
	const struct mqt_ctl_params *p = &call->ctl->p;
	const struct mqt_chan *chans[CTL_LOOKUP_MAX];
	struct mqt_digest digest;
	unsigned n_chans, n = 0;

	mqt_rcu_read_lock();
	n_chans = mqt_cm_lookup(p->cm, target->domain, target->clientid.data, target->clientid.len,
			chans, CTL_LOOKUP_MAX);
	for (unsigned i = 0; i < n_chans && i < CTL_LOOKUP_MAX; i++)
		add_digest(digests, &n, &mqt_chan_info(chans[i])->digest);
	mqt_rcu_read_unlock();
	for (unsigned domain = 0; n_chans == 0 && domain < p->config->n_domains; domain++) {
		if (target->domain >= 0 && target->domain != (int)domain)
			continue;
		digest = mqt_digest_client(p->hash_key, (uint16_t)domain, NULL,
				target->clientid.data, target->clientid.len);
		add_digest(digests, &n, &digest);
	}
	return n;
}

/*
 * Makes all commands, of the kind of @p like, before the first one is submitted, so that it fails as
 * a whole or not.
 */
static void
command_run(struct ctl_call *call, const struct ctl_target *target, const struct mqt_cm_cmd *like,
		ctl_command_fn *submit)
{
	struct mqt_digest digests[COMMANDS_MAX];
	struct ctl_command *commands[COMMANDS_MAX];
	unsigned n = 1, n_made = 0;

	if (!target->channel)
		n = target_digests(call, target, digests);
	call->outcomes = json_array();
	while (n_made < n && (commands[n_made] = calloc(1, sizeof(struct ctl_command))) != NULL) {
		struct mqt_cm_cmd *cmd = &commands[n_made]->cmd;

		*cmd = *like;
		cmd->chan = target->channel;
		if (!target->channel)
			cmd->digest = digests[n_made];
		n_made++;
	}
	if (!call->outcomes || n_made < n) {
		while (n_made > 0)
			free(commands[--n_made]);
		ctl_call_result(call, NULL);
		return;
	}
	call->home = stepdown_home;
	call->settle = stepdown_settle;
	ctl_command_submit(call, submit, commands, n);
}

void
ctl_command_kick(struct ctl_call *call, const json_t *params)
{
	struct mqt_cm_cmd like = { 0 };
	struct ctl_target target;

	if (!ctl_clients_target(call, params, "reason", &target))
		return;
	if (ctl_params_reason(call, params, &like.has_code, &like.code))
		command_run(call, &target, &like, mqt_cm_kick);
	ctl_bytes_free(&target.clientid);
}

void
ctl_command_discard(struct ctl_call *call, const json_t *params)
{
	const struct mqt_cm_cmd like = { 0 };
	struct ctl_target target;

	if (!ctl_clients_target(call, params, NULL, &target))
		return;
	command_run(call, &target, &like, mqt_cm_discard);
	ctl_bytes_free(&target.clientid);
}
