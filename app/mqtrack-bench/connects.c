/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * Both ends of MQTT connections over real sockets, for scripts/bench-peers: what lies between them
 * is measured, so both do as little as they can. Single thread, epoll.
 *
 *   serve    a broker that only answers: CONNACK, PINGRESP, and the end behind a DISCONNECT
 *   connect  N clients at a time, each with a client id of its own: CONNECT, CONNACK, DISCONNECT,
 *            end of the stream, and again; the latency is from SYN to CONNACK
 *   ping     N clients that stay: PINGREQ, PINGRESP, and again
 *   hold     N clients that stay and do nothing until SECONDS are over; says when all are there
 *
 * All packets fit a segment, so none is ever cut. Prints a line: number done, seconds, median and
 * 99th percentile of the latency in microseconds, number failed.
 */

#define MAX_EVENTS 256
#define FIRST_NS   5000000000u
#define STALLED_NS 8000000000u /* nothing at all has happened for so long */

enum mode {
	SERVE,
	CONNECT,
	PING,
	HOLD,
};

enum state {
	OPENING,    /* SYN sent */
	CONNECTING, /* CONNECT sent */
	PINGING,    /* PINGREQ sent */
	HELD,
	LEAVING, /* DISCONNECT sent */
};

struct client {
	int fd;
	enum state state;
	uint64_t number; /* of all that were begun */
	uint64_t begin_ns;
};

struct load {
	enum mode mode;
	struct sockaddr_in to;
	struct in_addr from; /* first of n_from addresses in a row */
	uint32_t n_from;
	uint32_t n; /* clients at a time */
	struct client *clients;
	int epoll;
	uint64_t n_begun, n_done, n_failed, n_held;
	uint32_t *latency_us;
	uint64_t cap;
	uint64_t progress_ns;
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
watch(int epoll, int op, int fd, uint32_t events, uint32_t number)
{
	struct epoll_event event = { .events = events, .data.u32 = number };

	if (epoll_ctl(epoll, op, fd, &event) != 0)
		die("epoll_ctl");
}

static void
set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* --- the broker --------------------------------------------------------------------------------- */

/* Answers what came. @return whether the connection goes on. */
static bool
answer(int fd)
{
	uint8_t in[2048], out[64];
	size_t n_out = 0;
	ssize_t n = recv(fd, in, sizeof(in), 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	for (ssize_t at = 0; at + 2 <= n && n_out + 4 <= sizeof(out); at += 2 + in[at + 1]) {
		if (in[at] == 0x10) {
			memcpy(out + n_out, "\x20\x02\x00\x00", 4);
			n_out += 4;
		} else if (in[at] == 0xc0) {
			memcpy(out + n_out, "\xd0\x00", 2);
			n_out += 2;
		} else {
			return false;
		}
	}
	return send(fd, out, n_out, MSG_NOSIGNAL) == (ssize_t)n_out;
}

static void
accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		set_nodelay(fd);
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint32_t)fd);
	}
}

static int
serve(const struct sockaddr_in *at, uint64_t end_ns)
{
	int one = 1, epoll = epoll_create1(0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct epoll_event events[MAX_EVENTS];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)at, sizeof(*at)) != 0 ||
			listen(listener, 4096) != 0)
		die("listen");
	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint32_t)listener);
	puts("listening");
	fflush(stdout);
	while (now_ns() < end_ns) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, 1000);

		for (int i = 0; i < n; i++) {
			int fd = (int)events[i].data.u32;

			if (fd == listener)
				accept_all(epoll, listener);
			else if (!answer(fd))
				close(fd);
		}
	}
	return 0;
}

/* --- the clients -------------------------------------------------------------------------------- */

static void
latency_add(struct load *l, uint64_t ns)
{
	if (l->n_done == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 65536;
		l->latency_us = realloc(l->latency_us, l->cap * sizeof(*l->latency_us));
		if (!l->latency_us)
			die("latencies");
	}
	l->latency_us[l->n_done++] = (uint32_t)(ns / 1000);
}

static void
client_begin(struct load *l, uint32_t i)
{
	struct client *c = &l->clients[i];
	struct sockaddr_in from = { .sin_family = AF_INET };
	int one = 1;

	c->number = l->n_begun++;
	from.sin_addr.s_addr = htonl(ntohl(l->from.s_addr) + (uint32_t)(c->number % l->n_from));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	set_nodelay(c->fd);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		die("bind");
	c->begin_ns = now_ns();
	c->state = OPENING;
	if (connect(c->fd, (struct sockaddr *)&l->to, sizeof(l->to)) != 0 && errno != EINPROGRESS)
		die("connect");
	watch(l->epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, i);
}

static void
client_end(struct load *l, uint32_t i, bool failed)
{
	l->n_failed += failed;
	close(l->clients[i].fd);
	client_begin(l, i);
}

static bool
client_send(const struct client *c, const void *packet, size_t len)
{
	return send(c->fd, packet, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool
send_connect(const struct client *c)
{
	uint8_t packet[64] = { 0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0 };
	int n = snprintf((char *)packet + 14, sizeof(packet) - 14, "peer-%u-%llu", getpid(),
			(unsigned long long)c->number);

	packet[1] = (uint8_t)(12 + n);
	packet[13] = (uint8_t)n;
	return client_send(c, packet, 14 + (size_t)n);
}

static bool
send_ping(struct client *c)
{
	c->state = PINGING;
	c->begin_ns = now_ns();
	return client_send(c, "\xc0\x00", 2);
}

/* What follows a CONNACK. */
static bool
connected(struct load *l, struct client *c)
{
	switch (l->mode) {
	case CONNECT:
		latency_add(l, now_ns() - c->begin_ns);
		c->state = LEAVING;
		return client_send(c, "\xe0\x00", 2);
	case PING:
		return send_ping(c);
	default:
		latency_add(l, now_ns() - c->begin_ns);
		c->state = HELD;
		l->n_held++;
		return true;
	}
}

/* @return whether it is as it should be so far. */
static bool
client_input(struct load *l, struct client *c)
{
	uint8_t in[64];
	ssize_t n = recv(c->fd, in, sizeof(in), 0);

	if (c->state == CONNECTING)
		return n == 4 && memcmp(in, "\x20\x02\x00\x00", 4) == 0 && connected(l, c);
	if (c->state == PINGING && n == 2 && in[0] == 0xd0) {
		latency_add(l, now_ns() - c->begin_ns);
		return send_ping(c);
	}
	return false;
}

static void
client_event(struct load *l, uint32_t i)
{
	struct client *c = &l->clients[i];

	if (c->state == OPENING) {
		int error = 0;
		socklen_t len = sizeof(error);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error != 0 || !send_connect(c)) {
			client_end(l, i, true);
			return;
		}
		c->state = CONNECTING;
		watch(l->epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, i);
	} else if (c->state == LEAVING) {
		client_end(l, i, false);
	} else if (!client_input(l, c)) {
		client_end(l, i, true);
	}
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
print_result(struct load *l, uint64_t ns)
{
	uint64_t n = l->n_done;

	qsort(l->latency_us, n, sizeof(*l->latency_us), by_value);
	printf("%llu %.3f %u %u %llu\n", (unsigned long long)n, (double)ns / 1e9,
			n ? l->latency_us[n / 2] : 0, n ? l->latency_us[n - 1 - n / 100] : 0,
			(unsigned long long)l->n_failed);
}

static int
run(struct load *l, uint64_t end_ns)
{
	uint64_t begin = now_ns(), now = begin;
	struct epoll_event events[MAX_EVENTS];
	uint32_t n_at_once = l->mode == HOLD ? 64 : l->n, n_there = 0;
	bool told = false;

	l->epoll = epoll_create1(0);
	l->clients = calloc(l->n, sizeof(*l->clients));
	if (!l->clients)
		die("clients");
	l->progress_ns = begin;
	/* a first packet that is lost comes again after a second */
	while (now < end_ns || (l->n_done == 0 && now < end_ns + FIRST_NS)) {
		int n;

		/* those that are to be held come at a rate that no queue of a listener loses */
		for (uint32_t k = 0; k < n_at_once && n_there < l->n; k++)
			client_begin(l, n_there++);
		n = epoll_wait(l->epoll, events, MAX_EVENTS, 10);
		now = now_ns();
		if (n > 0)
			l->progress_ns = now;
		for (int i = 0; i < n; i++)
			client_event(l, events[i].data.u32);
		if (l->mode == HOLD && l->n_held == l->n && !told) {
			puts("held");
			fflush(stdout);
			told = true;
		} else if (l->mode != HOLD && now - l->progress_ns > STALLED_NS) {
			break;
		}
	}
	print_result(l, now - begin);
	return l->n_done > 0 ? 0 : 1;
}

/* --- the whole ----------------------------------------------------------------------------------- */

static int
usage(void)
{
	fprintf(stderr,
			"usage: mqtrack-connects serve|connect|ping|hold ADDRESS PORT SECONDS "
			"[N [FIRST-SOURCE N-SOURCES]]\n");
	return 2;
}

/* As many files as this user may have. */
static void
raise_files(void)
{
	struct rlimit files = { 65536, 65536 };

	if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int
main(int argc, char **argv)
{
	static const char *const modes[] = { "serve", "connect", "ping", "hold" };
	struct load l = { .n = 1, .n_from = 1, .to = { .sin_family = AF_INET } };
	uint64_t end_ns;

	if (argc < 5)
		return usage();
	while (strcmp(modes[l.mode], argv[1]) != 0)
		if (++l.mode > HOLD)
			return usage();
	l.to.sin_port = htons((uint16_t)atoi(argv[3]));
	end_ns = now_ns() + (uint64_t)(atof(argv[4]) * 1e9);
	if (argc > 5)
		l.n = (uint32_t)atoi(argv[5]);
	if (argc > 7)
		l.n_from = (uint32_t)atoi(argv[7]);
	if (inet_pton(AF_INET, argv[2], &l.to.sin_addr) != 1 || l.n == 0 || l.n_from == 0 ||
			(argc > 7 && inet_pton(AF_INET, argv[6], &l.from) != 1))
		return usage();
	raise_files();
	return l.mode == SERVE ? serve(&l.to, end_ns) : run(&l, end_ns);
}
