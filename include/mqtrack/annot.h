/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_ANNOT_H
#define MQT_ANNOT_H

#include <stdint.h>

/**
 * @file
 * Roles of threads as clang capabilities. A function that may run in one room only says so with
 * MQT_REQUIRES(role); clang's -Wthread-safety rejects a call from another room. gcc sees nothing.
 *
 * | capability        | held by                                                        |
 * |-------------------|----------------------------------------------------------------|
 * | mqt_role_worker   | a data lcore, for what that lcore owns                         |
 * | mqt_role_control  | the one control lcore                                          |
 * | mqt_rcu_read      | any thread inside an RCU read section (shared)                 |
 *
 * A thread takes its role once, at its entry, with mqt_role_<x>_assert(). Calls through an ops
 * table escape the analysis: wrap each in a thin annotated function.
 * Source: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
 */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MQT_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define MQT_TSAN 1
#endif
#ifdef MQT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__clang__)
#define MQT_ATTR(x) __attribute__((x))
#else
#define MQT_ATTR(x)
#endif

#define MQT_CAPABILITY(name)     MQT_ATTR(capability(name))
#define MQT_REQUIRES(...)        MQT_ATTR(requires_capability(__VA_ARGS__))
#define MQT_REQUIRES_SHARED(...) MQT_ATTR(requires_shared_capability(__VA_ARGS__))
#define MQT_ASSERTS(...)         MQT_ATTR(assert_capability(__VA_ARGS__))
#define MQT_ACQUIRE_SHARED(...)  MQT_ATTR(acquire_shared_capability(__VA_ARGS__))
#define MQT_RELEASE_SHARED(...)  MQT_ATTR(release_shared_capability(__VA_ARGS__))
#define MQT_GUARDED_BY(x)        MQT_ATTR(guarded_by(x))
#define MQT_NO_ANALYSIS          MQT_ATTR(no_thread_safety_analysis)

struct MQT_CAPABILITY("role") mqt_role {
	char unused;
};

extern struct mqt_role mqt_role_worker;
extern struct mqt_role mqt_role_control;
extern struct mqt_role mqt_rcu_read;

/** Says that the calling thread is a data lcore. Context: the entry of a worker, or a test. */
static inline void mqt_role_worker_assert(void) MQT_ASSERTS(mqt_role_worker);
static inline void
mqt_role_worker_assert(void)
{
}

/** Says that the calling thread is the control lcore. Context: its entry, or a test. */
static inline void mqt_role_control_assert(void) MQT_ASSERTS(mqt_role_control);
static inline void
mqt_role_control_assert(void)
{
}

/*
 * ThreadSanitizer does not see into libraries that were not built with it. These two tell it of an
 * order that such a library guarantees: what came before mqt_tsan_release() of an address in one
 * thread comes before what follows a later mqt_tsan_acquire() of it in another. NULL, or a build
 * without ThreadSanitizer: nothing.
 */
static inline void
mqt_tsan_release(const void *addr)
{
#ifdef MQT_TSAN
	if (addr)
		__tsan_release((void *)(uintptr_t)addr);
#endif
}

static inline void
mqt_tsan_acquire(const void *addr)
{
#ifdef MQT_TSAN
	if (addr)
		__tsan_acquire((void *)(uintptr_t)addr);
#endif
}

#endif
