/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client of the control socket: bytes to lines on the way in, a backlog on the way out.
 *
 * Life-cycle: accepted -> serves lines -> [closing: its last answer is being sent] -> dead, freed
 * by the loop at the end of the turn, so that nothing in a turn meets a freed connection. A client
 * that has shut down its sending side (nc, socat) still gets all its answers, and a subscriber its
 * events until it has gone altogether. What it had sent before it went is still carried out.
 *
 * Bounds: at most control.max_request + 1 bytes of input, read in pieces; input is not read while
 * a whole line waits, so a flood stays in the kernel's buffer and stops its sender. At most
 * control.max_backlog bytes that the client does not read, then it is closed.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_log.h>

/* Says why, and leaves: what the socket buffer does not take is not worth waiting for. */
static void
refuse(struct mqt_ctl *ctl, int fd)
{
	char message[96];
	struct ctl_buf out = { 0 };
	json_t *error;

	snprintf(message, sizeof(message),
			"too many control connections: %u are open (control.max_clients)",
			ctl->n_conns);
	error = ctl_rpc_error_json(NULL, CTL_E_TOO_MANY, message);
	if (error && ctl_buf_append_json(&out, error) == 0 && ctl_buf_append(&out, "\n", 1) == 0) {
		if (send(fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			RTE_LOG(DEBUG, CTL, "refusal not sent: %s\n", strerror(errno));
	}
	json_decref(error);
	ctl_buf_free(&out);
	close(fd);
}

static void
conn_create(struct mqt_ctl *ctl, int fd)
{
	struct ctl_conn *conn = calloc(1, sizeof(*conn));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = conn };

	if (!conn || epoll_ctl(ctl->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(conn);
		close(fd);
		return;
	}
	conn->ctl = ctl;
	conn->fd = fd;
	conn->armed = EPOLLIN;
	TAILQ_INSERT_TAIL(&ctl->conns, conn, entry);
	ctl->n_conns++;
}

void
ctl_conn_accept(struct mqt_ctl *ctl)
{
	for (unsigned i = 0; i < CTL_ACCEPT_TURN; i++) {
		int fd = accept4(ctl->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			/* nothing that could be taken now: do not spin on the one that waits */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
					errno == ENOBUFS)
				ctl->listen_paused = true;
			return;
		}
		if (ctl->n_conns >= ctl->p.config->control.max_clients)
			refuse(ctl, fd);
		else
			conn_create(ctl, fd);
	}
}

void
ctl_conn_destroy(struct ctl_conn *conn)
{
	ctl_rpc_abandon(conn);
	ctl_capture_drop(conn);
	TAILQ_REMOVE(&conn->ctl->conns, conn, entry);
	conn->ctl->n_conns--;
	close(conn->fd);
	ctl_buf_free(&conn->in);
	ctl_buf_free(&conn->out);
	free(conn);
}

void
ctl_conn_find_line(struct ctl_conn *conn)
{
	struct ctl_buf *in = &conn->in;
	size_t len = in->len - in->head;
	const char *lf;

	if (conn->in_line || conn->closing || len == 0)
		return;
	lf = memchr(in->data + in->head + conn->in_scanned, '\n', len - conn->in_scanned);
	conn->in_scanned = len;
	if (lf)
		conn->in_line = (size_t)(lf - (in->data + in->head)) + 1;
	else if (len > conn->ctl->p.config->control.max_request)
		ctl_rpc_oversize(conn);
}

bool
ctl_conn_wants_input(const struct ctl_conn *conn)
{
	return !conn->eof && !conn->closing && !conn->in_line && !conn->batch;
}

void
ctl_conn_read(struct ctl_conn *conn)
{
	char chunk[CTL_READ_BYTES];
	size_t room = (size_t)conn->ctl->p.config->control.max_request + 1 -
			(conn->in.len - conn->in.head);
	ssize_t n;

	if (!ctl_conn_wants_input(conn))
		return;
	n = recv(conn->fd, chunk, room < sizeof(chunk) ? room : sizeof(chunk), MSG_DONTWAIT);
	if (n < 0) {
		conn->dead = errno != EAGAIN && errno != EINTR;
		return;
	}
	if (n == 0) {
		conn->eof = true;
		/* a last line without its line feed counts */
		if (conn->in.len > conn->in.head && ctl_buf_append(&conn->in, "\n", 1) < 0)
			conn->dead = true;
	} else if (ctl_buf_append(&conn->in, chunk, (size_t)n) < 0) {
		conn->dead = true;
	}
	ctl_conn_find_line(conn);
}

const char *
ctl_conn_take_line(struct ctl_conn *conn, size_t *len)
{
	const char *line = conn->in.data + conn->in.head;

	*len = conn->in_line - 1;
	conn->in.head += conn->in_line;
	conn->in_line = 0;
	conn->in_scanned = 0;
	return line;
}

size_t
ctl_conn_backlog(const struct ctl_conn *conn)
{
	return conn->out.len - conn->out.head;
}

void
ctl_conn_gone(struct ctl_conn *conn)
{
	if (conn->gone)
		return;
	conn->gone = true;
	conn->sub.active = false;
	ctl_buf_free(&conn->out);
	epoll_ctl(conn->ctl->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
}

void
ctl_conn_flush(struct ctl_conn *conn)
{
	struct ctl_buf *out = &conn->out;
	ssize_t n;

	if (conn->gone || out->len == out->head)
		return;
	n = send(conn->fd, out->data + out->head, out->len - out->head,
			MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			ctl_conn_gone(conn);
		return;
	}
	out->head += (size_t)n;
	if (out->head == out->len)
		ctl_buf_free(out);
}

/* After a message: out with it, and see whether the client reads at all. */
static void
push(struct ctl_conn *conn, int err)
{
	if (err == 0)
		err = ctl_buf_append(&conn->out, "\n", 1);
	if (err < 0) {
		conn->dead = true;
		return;
	}
	ctl_conn_flush(conn);
	if (ctl_conn_backlog(conn) > conn->ctl->p.config->control.max_backlog) {
		RTE_LOG(INFO, CTL, "control client closed: %zu bytes unread\n",
				ctl_conn_backlog(conn));
		conn->dead = true;
	}
}

void
ctl_conn_send(struct ctl_conn *conn, const json_t *json)
{
	if (!conn->dead && !conn->gone)
		push(conn, json ? ctl_buf_append_json(&conn->out, json) : -ENOMEM);
}

void
ctl_conn_send_text(struct ctl_conn *conn, const char *text, size_t len)
{
	if (!conn->dead && !conn->gone)
		push(conn, ctl_buf_append(&conn->out, text, len));
}

void
ctl_conn_finish(struct ctl_conn *conn)
{
	conn->closing = true;
	conn->in_line = 0;
	conn->close_by_ns = mqt_clock_mono(conn->ctl->p.clock) + CTL_LINGER_NS;
}

void
ctl_conn_arm(struct ctl_conn *conn)
{
	struct epoll_event ev = { .data.ptr = conn };

	ev.events = (ctl_conn_wants_input(conn) ? EPOLLIN : 0) |
			(ctl_conn_backlog(conn) ? EPOLLOUT : 0);
	if (conn->gone || ev.events == conn->armed)
		return;
	if (epoll_ctl(conn->ctl->epoll_fd, EPOLL_CTL_MOD, conn->fd, &ev) < 0)
		conn->dead = true;
	conn->armed = ev.events;
}
