/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the established path does not do, as production code runs it (lib/worker between two ports
 * that are rings): no allocation, no copy, no lock, no system call.
 *
 * Each check runs in a process of its own, whose setup is done and whose packet pool is empty.
 *  - millions of packets under a seccomp filter: the kernel kills the process if it calls for
 *    anything but write and exit (strict mode would forbid to read the clock as well). malloc and its kin, and locks of the C library, are this file's, which
 *    count; rte_malloc counts by itself. What leaves is the very mbuf that came in, untouched.
 *  - some hundred packets instruction by instruction: none of them is a locked one, or a system
 *    call. Packets are written beforehand.
 */
#include "bench.h"
#include "check.h"
#include "mqtrack/mqtt.h"
#include "wire.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_malloc.h>

#define N_FLOWS    2000u
#define N_PORTIONS 4000u /* some two million packets */
#define HALF       (WIRE_PORTION / 2)
#define FRAME      128u /* bytes of a frame that are compared */

static struct wire *wire;
static uint8_t publish[64];
static uint16_t publish_len;

/* --- what is counted ------------------------------------------------------------------------------ */

static unsigned long n_allocs, n_locks;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *ptr);

void *
malloc(size_t size)
{
	n_allocs++;
	return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	n_allocs++;
	return __libc_calloc(n, size);
}

void *
realloc(void *ptr, size_t size)
{
	n_allocs++;
	return __libc_realloc(ptr, size);
}

void *
aligned_alloc(size_t align, size_t size)
{
	n_allocs++;
	return __libc_memalign(align, size);
}

int
posix_memalign(void **ptr, size_t align, size_t size)
{
	n_allocs++;
	*ptr = __libc_memalign(align, size);
	return *ptr ? 0 : ENOMEM;
}

void
free(void *ptr)
{
	n_allocs += ptr != NULL;
	__libc_free(ptr);
}

#define COUNTED_LOCK(name, type)                                                                   \
	int name(type *lock)                                                                       \
	{                                                                                          \
		static int (*real)(type *);                                                        \
                                                                                                   \
		n_locks++;                                                                         \
		if (!real)                                                                         \
			*(void **)&real = dlsym(RTLD_NEXT, #name);                                 \
		return real(lock);                                                                 \
	}

COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)

static unsigned long
n_rte_allocs(void)
{
	struct rte_malloc_socket_stats stats;
	unsigned long n = 0;

	for (int i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (rte_malloc_get_socket_stats(i, &stats) == 0)
			n += stats.alloc_count;
	return n;
}

/* --- packets ------------------------------------------------------------------------------------------ */

/* Publishes of many connections, and their acknowledgements. */
static void
write_portion(struct wire_lane *lane)
{
	for (unsigned i = 0; i < HALF; i++) {
		struct bench_flow *f = &lane->flows[lane->cursor];

		lane->cursor = (lane->cursor + 1) % lane->n;
		for (unsigned way = 0; way < 2; way++) {
			struct rte_mbuf *m = lane->portion[way * HALF + i];

			rte_pktmbuf_reset(m);
			bench_write(m, f, way == 0, MQT_TCP_ACK, publish,
					way == 0 ? publish_len : 0);
		}
	}
	for (unsigned way = 0; way < 2; way++)
		rte_ring_sp_enqueue_bulk(
				lane->rx[way], (void **)&lane->portion[way * HALF], HALF, NULL);
}

struct before {
	struct rte_mbuf *m;
	void *data;
	uint8_t frame[FRAME];
	struct rte_mbuf head;
};

static struct before befores[WIRE_PORTION];

static void
remember(const struct wire_lane *lane)
{
	for (unsigned i = 0; i < WIRE_PORTION; i++) {
		struct before *b = &befores[i];

		b->m = lane->portion[i];
		b->data = rte_pktmbuf_mtod(b->m, void *);
		memcpy(b->frame, b->data, FRAME);
		b->head = *b->m;
	}
}

/* Takes the portion out again. @return whether it is the one that came in, as it came in. */
static bool
is_untouched(struct wire_lane *lane)
{
	bool ok = rte_ring_count(lane->tx[1]) == HALF;

	/* the client's leave on the inside */
	ok = ok &&
			rte_ring_sc_dequeue_bulk(lane->tx[1], (void **)lane->portion, HALF, NULL) ==
					HALF;
	ok = ok &&
			rte_ring_sc_dequeue_bulk(lane->tx[0], (void **)&lane->portion[HALF], HALF,
					NULL) == HALF;
	for (unsigned i = 0; ok && i < WIRE_PORTION; i++) {
		const struct before *b = &befores[i];
		const struct rte_mbuf *m = lane->portion[i];

		ok = m == b->m && rte_pktmbuf_mtod(m, void *) == b->data &&
				memcmp(b->data, b->frame, RTE_MIN(FRAME, m->data_len)) == 0 &&
				memcmp(m, &b->head, sizeof(*m)) == 0;
	}
	return ok;
}

static void
turns(struct wire_lane *lane)
{
	mqt_role_worker_assert();
	for (unsigned i = 0; i < HALF; i += WIRE_BURST)
		mqt_worker_turn(lane->worker);
}

/* In the child, which has an EAL of its own: not all of its memory would survive a fork. */
static void
set_up(void)
{
	const struct mqt_bytes topic = { (const uint8_t *)"a/topic", 7 };

	publish_len = (uint16_t)mqt_mqtt_publish_encode(
			publish, sizeof(publish), 4, 0, 0, topic, topic);
	if (bench_eal_init(wire_memory_mib(N_FLOWS)) != 0)
		exit(2);
	wire = wire_create(N_FLOWS, 1, false);
	if (!wire)
		exit(2);
	while (rte_pktmbuf_alloc(wire->pool))
		; /* gone for good: from now on, none can be had */
}

/* --- no system call, no allocation, no copy -------------------------------------------------------------- */

struct result {
	unsigned portions;
	unsigned long allocs, locks, rte_allocs;
	uint64_t publishes;
	unsigned mbufs; /* that are back in the pool */
};

static int
forbid_system_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { RTE_DIM(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/* In the child: never returns. @param call one system call, which must kill it. */
static void
run_strict(int out, bool call)
{
	struct wire_lane *lane;
	struct result r = { 0 };
	bool ok = true;

	set_up();
	lane = &wire->lane[0];
	rmdir(rte_eal_get_runtime_dir());
	r.rte_allocs = n_rte_allocs();
	r.publishes = wire_count(wire, MQT_RECV_MSG);
	if (forbid_system_calls() != 0)
		_exit(3);
	r.allocs = n_allocs;
	r.locks = n_locks;
	while (ok && r.portions < N_PORTIONS) {
		write_portion(lane);
		remember(lane);
		turns(lane);
		ok = is_untouched(lane);
		r.portions += ok;
	}
	if (call)
		getppid();
	r.allocs = n_allocs - r.allocs;
	r.locks = n_locks - r.locks;
	r.rte_allocs = n_rte_allocs() - r.rte_allocs;
	r.publishes = wire_count(wire, MQT_RECV_MSG) - r.publishes;
	r.mbufs = rte_mempool_avail_count(wire->pool);
	ok = write(out, &r, sizeof(r)) == sizeof(r);
	_exit(ok ? 0 : 1);
}

static void
test_millions_of_packets_cost_no_system_call_allocation_or_copy(void)
{
	struct result r = { 0 };
	int fds[2], status = 0;
	pid_t child;

	CHECK_EQ(pipe(fds), 0);
	child = fork();
	if (child == 0)
		run_strict(fds[1], false);
	close(fds[1]);
	CHECK_EQ(read(fds[0], &r, sizeof(r)), sizeof(r));
	close(fds[0]);
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(r.portions, N_PORTIONS);
	CHECK_EQ(r.publishes, (uint64_t)N_PORTIONS * HALF);
	CHECK_EQ(r.mbufs, 0);
	CHECK_EQ(r.allocs, 0);
	CHECK_EQ(r.rte_allocs, 0);
	/* those of the statistics that are asked for in between */
	CHECK(r.locks < 2 * RTE_MAX_NUMA_NODES);
}

static void
test_a_system_call_would_have_been_seen(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		run_strict(2, true);
	waitpid(child, &status, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* --- no lock ---------------------------------------------------------------------------------------- */

#if defined(__x86_64__)

enum instruction {
	PLAIN,
	LOCKED,
	SYSCALL,
	TRAP
};

/* Source: Intel SDM volume 2, §2.1 (prefixes), XCHG (locked where it has a memory operand). */
static enum instruction
instruction_at(pid_t pid, uint64_t rip)
{
	uint64_t words[2];
	uint8_t b[16];
	unsigned i = 0;

	words[0] = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, rip, NULL);
	words[1] = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, rip + 8, NULL);
	memcpy(b, words, sizeof(b));
	if (b[0] == 0xcc)
		return TRAP;
	for (; i < 12 && memchr("\xf0\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65", b[i], 11); i++)
		if (b[i] == 0xf0)
			return LOCKED;
	if ((b[i] & 0xf0) == 0x40)
		i++;
	if (b[i] == 0x0f && b[i + 1] == 0x05)
		return SYSCALL;
	return (b[i] & 0xfe) == 0x86 && b[i + 1] >> 6 != 3 ? LOCKED : PLAIN;
}

/* From one breakpoint of the child to its next. @return instructions, 0: it went wrong. */
static unsigned long
step_through(pid_t pid, unsigned long *locked, unsigned long *syscalls)
{
	unsigned long n = 0;
	int status;

	while (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
			WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP) {
		struct user_regs_struct regs;
		enum instruction what;

		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
			return 0;
		what = instruction_at(pid, regs.rip);
		if (what == TRAP)
			return n;
		*locked += what == LOCKED;
		*syscalls += what == SYSCALL;
		n++;
	}
	return 0;
}

static void
run_traced(bool lock)
{
	static atomic_uint word;
	struct wire_lane *lane;

	mqt_role_worker_assert();
	set_up();
	lane = &wire->lane[0];
	rmdir(rte_eal_get_runtime_dir());
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (unsigned i = 0; i < 2; i++) { /* all symbols are bound */
		write_portion(lane);
		remember(lane);
		turns(lane);
		if (!is_untouched(lane))
			_exit(1);
	}
	write_portion(lane);
	remember(lane);
	__asm__ volatile("int3");
	mqt_worker_turn(lane->worker); /* one burst of each port */
	if (lock)
		atomic_fetch_add(&word, 1);
	__asm__ volatile("int3");
	_exit(0);
}

/* @return locked instructions and system calls. */
static unsigned long
trace(bool lock)
{
	unsigned long n, locked = 0, syscalls = 0;
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		run_traced(lock);
	waitpid(child, &status, 0);
	CHECK_EQ(status, SIGTRAP << 8 | 0x7f); /* stopped by it */
	n = step_through(child, &locked, &syscalls);
	CHECK(n > 100ul * 2 * WIRE_BURST);
	ptrace(PTRACE_KILL, child, NULL, NULL);
	waitpid(child, &status, 0);
	return locked + syscalls;
}

static void
test_no_instruction_of_a_packet_is_locked(void)
{
	CHECK_EQ(trace(false), 0);
	CHECK_EQ(trace(true), 1); /* one would be seen */
}

#else

static void
test_no_instruction_of_a_packet_is_locked(void)
{
}

#endif

/* --- the rest ------------------------------------------------------------------------------------- */

static CU_TestInfo tests[] = {
	{ "millions of packets cost no system call, allocation or copy",
			test_millions_of_packets_cost_no_system_call_allocation_or_copy },
	{ "a system call would have been seen", test_a_system_call_would_have_been_seen },
	{ "no instruction of a packet is locked", test_no_instruction_of_a_packet_is_locked },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "established cost", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

/* Where the clock is not read without the kernel there is nothing to be seen. */
static bool
clock_needs_kernel(void)
{
	static const char path[] =
			"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	char name[64] = "";
	FILE *f = fopen(path, "re");

	if (f) {
		if (!fgets(name, sizeof(name), f))
			name[0] = '\0';
		fclose(f);
	}
	return strncmp(name, "tsc", 3) != 0 && strncmp(name, "kvm-clock", 9) != 0 &&
			strncmp(name, "hyperv_clocksource_tsc", 22) != 0 &&
			strncmp(name, "arch_sys_counter", 16) != 0;
}

int
main(void)
{
	if (clock_needs_kernel()) {
		printf("the clock of this machine needs system calls\n");
		return 77;
	}
	return check_run(suites);
}
