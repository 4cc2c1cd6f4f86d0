/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's thread: one epoll loop, all sockets non-blocking.
 *
 * A turn: wait; accept a few; read one piece from each connection that has something; serve at
 * most one request of each connection; answer commands that have come home; push events; send;
 * free what has died. So a turn's work is bounded by the number of connections, and the one that
 * floods waits exactly as long for its next request as the one that asks once (I11).
 *
 * Life-cycle: start binds, creates the thread; stop sets a flag and wakes it by the eventfd, joins,
 * closes everything.
 *
 * Synchronisation: everything belongs to the thread. Commands come home through the wait-free
 * queue of the sink (command.c); maps are read in RCU sections of a few rows (clients.c), and the
 * thread is offline whenever it sleeps; the ring of events has its own protocol. The ring cannot
 * wake anybody, so it is looked at every CTL_POLL_MS while there are subscribers.
 *
 * Sources: epoll(7); JSON-RPC 2.0; unix(7).
 */
#include "internal.h"
#include "mqtrack/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_log.h>

#define SERVER_EVENTS 64

RTE_LOG_REGISTER(ctl_logtype, mqt.ctl, NOTICE)

/* How long the next wait may last: not at all while a connection could be served. */
static int
wait_ms(const struct mqt_ctl *ctl, bool more)
{
	const struct ctl_conn *conn;
	int ms = ctl->listen_paused ? CTL_POLL_MS : ctl_ports_count(ctl) ? CTL_WATCH_MS : -1;

	if (more)
		return 0;
	TAILQ_FOREACH (conn, &ctl->conns, entry) {
		if (ctl_rpc_has_work(conn) || (conn->gone && ctl_conn_wants_input(conn)))
			return 0;
		if (conn->sub.active || conn->capture || conn->closing)
			ms = CTL_POLL_MS;
	}
	return ms;
}

/* What nobody else would notice. */
static void
watch_turn(struct mqt_ctl *ctl)
{
	uint64_t now;

	if (ctl_ports_count(ctl) == 0)
		return;
	now = mqt_clock_mono(ctl->p.clock);
	if (now < ctl->watch_due_ns)
		return;
	ctl->watch_due_ns = now + CTL_WATCH_MS * MQT_NS_PER_MS;
	ctl_ports_look(ctl);
	ctl_room_look(ctl);
}

static void
listen_arm(struct mqt_ctl *ctl, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = &ctl->listen_fd };

	if (epoll_ctl(ctl->epoll_fd, EPOLL_CTL_MOD, ctl->listen_fd, &ev) < 0)
		RTE_LOG(ERR, CTL, "epoll_ctl: %s\n", strerror(errno));
}

static void
accept_turn(struct mqt_ctl *ctl)
{
	ctl_conn_accept(ctl);
	if (ctl->listen_paused)
		listen_arm(ctl, false);
}

static void
conn_event(struct ctl_conn *conn, uint32_t events)
{
	if (events & EPOLLIN)
		ctl_conn_read(conn);
	if (events & EPOLLOUT)
		ctl_conn_flush(conn);
	if (events & (EPOLLERR | EPOLLHUP)) /* both directions are shut */
		ctl_conn_gone(conn);
}

/* Whether nothing more will ever be said on it. */
static bool
is_over(const struct ctl_conn *conn)
{
	if (conn->dead || (conn->gone && conn->closing))
		return true;
	if (conn->gone)
		return conn->eof && !ctl_rpc_is_waiting(conn);
	if (conn->closing)
		return ctl_conn_backlog(conn) == 0 ||
				mqt_clock_mono(conn->ctl->p.clock) >= conn->close_by_ns;
	return conn->eof && !conn->in_line && !conn->batch && !conn->n_calls && !conn->sub.active &&
			!conn->capture && ctl_conn_backlog(conn) == 0;
}

/* @return true: a subscriber has more to take. */
static bool
serve_turn(struct mqt_ctl *ctl)
{
	struct ctl_conn *conn, *next;
	bool more = false;

	TAILQ_FOREACH (conn, &ctl->conns, entry) {
		if (conn->gone)
			ctl_conn_read(conn);
		if (!ctl_rpc_has_work(conn))
			continue;
		ctl_rpc_serve(conn);
		ctl_conn_find_line(conn);
	}
	ctl_command_poll(ctl);
	for (conn = TAILQ_FIRST(&ctl->conns); conn; conn = next) {
		next = TAILQ_NEXT(conn, entry);
		more |= ctl_events_pump(conn);
		more |= ctl_capture_pump(conn);
		if (!conn->dead)
			ctl_conn_arm(conn);
		if (is_over(conn))
			ctl_conn_destroy(conn);
	}
	return more;
}

static void *
server_run(void *arg)
{
	struct mqt_ctl *ctl = arg;
	struct epoll_event events[SERVER_EVENTS];
	bool more = false;

	mqt_rcu_register();
	while (!atomic_load_explicit(&ctl->stop, memory_order_acquire)) {
		int n = epoll_wait(ctl->epoll_fd, events, SERVER_EVENTS, wait_ms(ctl, more));

		if (ctl->listen_paused) {
			ctl->listen_paused = false;
			listen_arm(ctl, true);
		}
		for (int i = 0; i < n; i++) {
			uint64_t wakeups;

			if (events[i].data.ptr == &ctl->listen_fd)
				accept_turn(ctl);
			else if (events[i].data.ptr != ctl->sink)
				conn_event(events[i].data.ptr, events[i].events);
			else if (read(ctl->sink->eventfd, &wakeups, sizeof(wakeups)) < 0)
				RTE_LOG(DEBUG, CTL, "eventfd: %s\n", strerror(errno));
		}
		watch_turn(ctl);
		more = serve_turn(ctl);
	}
	mqt_rcu_unregister();
	return NULL;
}

static int
epoll_add(struct mqt_ctl *ctl, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(ctl->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* The thread takes no signals: they are the daemon's main thread's. */
static int
thread_start(struct mqt_ctl *ctl)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = rte_ctrl_thread_create(&ctl->thread, "mqt-ctl", NULL, server_run, ctl);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err < 0 ? err : -err;
}

struct mqt_ctl *
mqt_ctl_start(const struct mqt_ctl_params *params)
{
	struct mqt_ctl *ctl = calloc(1, sizeof(*ctl));
	int err = -ENOMEM;

	if (!ctl)
		goto err_ctl;
	ctl->p = *params;
	ctl->listen_fd = -1;
	ctl->started_ns = mqt_clock_mono(params->clock);
	ctl->started_wall_ns = mqt_clock_wall(params->clock);
	ctl->watch_due_ns = ctl->started_ns + CTL_WATCH_MS * MQT_NS_PER_MS;
	TAILQ_INIT(&ctl->conns);
	LIST_INIT(&ctl->calls);
	ctl->sink = ctl_sink_create();
	if (!ctl->sink)
		goto err_sink;
	ctl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (ctl->epoll_fd < 0) {
		err = -errno;
		goto err_epoll;
	}
	err = ctl_listen_open(ctl);
	if (err < 0)
		goto err_listen;
	err = epoll_add(ctl, ctl->listen_fd, &ctl->listen_fd);
	if (err == 0)
		err = epoll_add(ctl, ctl->sink->eventfd, ctl->sink);
	if (err == 0)
		err = thread_start(ctl);
	if (err == 0)
		return ctl;
	ctl_listen_close(ctl);
err_listen:
	close(ctl->epoll_fd);
err_epoll:
	ctl_sink_put(ctl->sink);
err_sink:
	free(ctl);
err_ctl:
	errno = -err;
	return NULL;
}

void
mqt_ctl_stop(struct mqt_ctl *ctl)
{
	uint64_t one = 1;

	if (!ctl)
		return;
	/* pairs with the loop's acquire */
	atomic_store_explicit(&ctl->stop, true, memory_order_release);
	if (write(ctl->sink->eventfd, &one, sizeof(one)) < 0)
		RTE_LOG(ERR, CTL, "eventfd: %s\n", strerror(errno));
	pthread_join(ctl->thread, NULL);
	ctl_listen_close(ctl);
	while (!TAILQ_EMPTY(&ctl->conns))
		ctl_conn_destroy(TAILQ_FIRST(&ctl->conns));
	while (!LIST_EMPTY(&ctl->calls))
		ctl_call_free(LIST_FIRST(&ctl->calls));
	close(ctl->epoll_fd);
	ctl_sink_put(ctl->sink);
	free(ctl);
}
