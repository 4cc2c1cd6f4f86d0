/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bad wire between two interfaces: of the frames that carry TCP some are lost, some come twice,
 * a few of those much later, some are overtaken by others, and all take their time. What becomes of
 * the n-th frame of a direction depends on the seed alone.
 *
 *    wire NEAR FAR SEED [NAME=VALUE]...
 *
 * loss, twice, stale, late: how many of a thousand frames are lost, repeated at once or within
 * spread_us, repeated within stale_us, or delayed by up to spread_us more than the others. delay_us:
 * what each takes. Says "ready" when it passes frames and, when it is ended by SIGTERM, what it did.
 *
 * Frames that wait are in a heap for each direction, by the time when they are due and then in the
 * order in which they came.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MAX_FRAME 65536
#define MAX_QUEUE 65536

enum {
	LOSS,
	TWICE,
	STALE,
	LATE,
	DELAY,
	SPREAD,
	STALE_SPREAD,
	N_SETTINGS
};

static const char *const setting_names[N_SETTINGS] = {
	[LOSS] = "loss",
	[TWICE] = "twice",
	[STALE] = "stale",
	[LATE] = "late",
	[DELAY] = "delay_us",
	[SPREAD] = "spread_us",
	[STALE_SPREAD] = "stale_us",
};

struct frame {
	uint64_t due_ns;
	uint64_t serial;
	size_t len;
	uint8_t data[];
};

struct direction {
	int in, out;
	uint64_t random;
	uint64_t serial;
	uint64_t n_frames, n_lost, n_twice, n_stale, n_late;
	size_t n_queued;
	struct frame *queue[MAX_QUEUE];
};

static unsigned settings[N_SETTINGS];
static struct direction directions[2];
static volatile sig_atomic_t ended;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64 */
static uint64_t
draw(struct direction *d)
{
	uint64_t z = d->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t
draw_ns(struct direction *d, unsigned setting)
{
	return draw(d) % (settings[setting] + UINT64_C(1)) * 1000;
}

/* --- the queue --------------------------------------------------------------------------------- */

static bool
before(const struct frame *a, const struct frame *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->serial < b->serial;
}

static void
push(struct direction *d, const uint8_t *data, size_t len, uint64_t due_ns)
{
	struct frame *f;
	size_t at = d->n_queued;

	if (at == MAX_QUEUE)
		return;
	f = malloc(sizeof(*f) + len);
	if (!f)
		die("malloc");
	f->due_ns = due_ns;
	f->serial = d->serial++;
	f->len = len;
	memcpy(f->data, data, len);
	d->n_queued++;
	for (; at > 0 && before(f, d->queue[(at - 1) / 2]); at = (at - 1) / 2)
		d->queue[at] = d->queue[(at - 1) / 2];
	d->queue[at] = f;
}

static struct frame *
pop(struct direction *d)
{
	struct frame *first = d->queue[0], *last = d->queue[--d->n_queued];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < d->n_queued) {
		if (child + 1 < d->n_queued && before(d->queue[child + 1], d->queue[child]))
			child++;
		if (!before(d->queue[child], last))
			break;
		d->queue[at] = d->queue[child];
		at = child;
	}
	d->queue[at] = last;
	return first;
}

/* --- frames ------------------------------------------------------------------------------------ */

static bool
is_tcp(const uint8_t *f, size_t len)
{
	unsigned type = len < 34 ? 0 : (unsigned)f[12] << 8 | f[13];

	return (type == ETH_P_IP && f[23] == IPPROTO_TCP) ||
			(type == ETH_P_IPV6 && f[20] == IPPROTO_TCP);
}

static void
take(struct direction *d, const uint8_t *data, size_t len)
{
	uint64_t due_ns = now_ns() + settings[DELAY] * UINT64_C(1000);
	/* all are drawn for each frame, so that none depends on what became of another */
	bool hit[LATE + 1];
	uint64_t late_ns, twice_ns, stale_ns;

	if (!is_tcp(data, len)) {
		push(d, data, len, due_ns);
		return;
	}
	for (unsigned i = LOSS; i <= LATE; i++)
		hit[i] = draw(d) % 1000 < settings[i];
	late_ns = draw_ns(d, SPREAD);
	twice_ns = draw_ns(d, SPREAD);
	stale_ns = draw_ns(d, STALE_SPREAD);
	d->n_frames++;
	if (hit[LOSS]) {
		d->n_lost++;
		return;
	}
	if (hit[LATE])
		d->n_late++;
	push(d, data, len, due_ns + (hit[LATE] ? late_ns : 0));
	if (hit[TWICE]) {
		d->n_twice++;
		push(d, data, len, due_ns + twice_ns);
	}
	if (hit[STALE]) {
		d->n_stale++;
		push(d, data, len, due_ns + stale_ns);
	}
}

static void
receive(struct direction *d)
{
	static uint8_t buf[MAX_FRAME];
	ssize_t len;

	while ((len = recv(d->in, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		take(d, buf, (size_t)len);
	if (len < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN)
		die("recv");
}

/* What the interface does not take is lost, as on any wire. */
static void
send_due(struct direction *d)
{
	uint64_t now = now_ns();

	while (d->n_queued > 0 && d->queue[0]->due_ns <= now) {
		struct frame *f = pop(d);

		if (send(d->out, f->data, f->len, 0) < 0)
			d->n_lost++;
		free(f);
	}
}

/* --- the program ------------------------------------------------------------------------------- */

static int
port_open(const char *name)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	struct packet_mreq all = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int one = 1, room = 8 << 20, fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || at.sll_ifindex == 0 ||
			setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
			setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
			setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
			bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die(name);
	return fd;
}

static void
set(const char *text)
{
	for (unsigned i = 0; i < N_SETTINGS; i++) {
		size_t len = strlen(setting_names[i]);

		if (strncmp(text, setting_names[i], len) == 0 && text[len] == '=') {
			settings[i] = (unsigned)strtoul(text + len + 1, NULL, 10);
			return;
		}
	}
	fprintf(stderr, "no setting: %s\n", text);
	exit(2);
}

static void
on_end(int signal)
{
	(void)signal;
	ended = 1;
}

/* Until when nothing is due. */
static struct timespec
idle_time(void)
{
	uint64_t now = now_ns(), wait = 1000000000;

	for (unsigned i = 0; i < 2; i++)
		if (directions[i].n_queued > 0) {
			uint64_t due = directions[i].queue[0]->due_ns;

			due = due > now ? due - now : 0;
			wait = due < wait ? due : wait;
		}
	return (struct timespec){ .tv_sec = (time_t)(wait / 1000000000),
		.tv_nsec = (long)(wait % 1000000000) };
}

static void
run(void)
{
	struct pollfd fds[2] = { { .fd = directions[0].in, .events = POLLIN },
		{ .fd = directions[1].in, .events = POLLIN } };
	sigset_t none;

	sigemptyset(&none);
	while (!ended) {
		struct timespec wait = idle_time();

		if (ppoll(fds, 2, &wait, &none) < 0 && errno != EINTR)
			die("ppoll");
		for (unsigned i = 0; i < 2; i++) {
			receive(&directions[i]);
			send_due(&directions[i]);
		}
	}
}

int
main(int argc, char **argv)
{
	static const char *const names[] = { "from near to far", "from far to near" };
	struct sigaction action = { .sa_handler = on_end };
	sigset_t end;
	int near, far;

	if (argc < 4) {
		fprintf(stderr, "usage: wire NEAR FAR SEED [NAME=VALUE]...\n");
		return 2;
	}
	for (int i = 4; i < argc; i++)
		set(argv[i]);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL); /* it comes while ppoll() waits, and only then */
	sigaction(SIGTERM, &action, NULL);
	near = port_open(argv[1]);
	far = port_open(argv[2]);
	for (unsigned i = 0; i < 2; i++) {
		directions[i].in = i ? far : near;
		directions[i].out = i ? near : far;
		directions[i].random = strtoull(argv[3], NULL, 10) * 2 + i;
		draw(&directions[i]);
	}
	printf("ready\n");
	fflush(stdout);
	run();
	for (unsigned i = 0; i < 2; i++)
		printf("%s: %llu frames, %llu lost, %llu twice, %llu stale, %llu late\n", names[i],
				(unsigned long long)directions[i].n_frames,
				(unsigned long long)directions[i].n_lost,
				(unsigned long long)directions[i].n_twice,
				(unsigned long long)directions[i].n_stale,
				(unsigned long long)directions[i].n_late);
	return 0;
}
