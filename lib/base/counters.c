/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of the counters, in lower case, made once from the lists in the header and never changed
 * afterwards. Any thread may ask first.
 */
#include "mqtrack/counters.h"

#include <ctype.h>
#include <pthread.h>
#include <stddef.h>

#define NAME_MAX_LEN 40

#define COUNTER_NAME(name, help) #name,
#define COUNTER_HELP(name, help) help,
#define COUNTER_FITS(name, help) _Static_assert(sizeof(#name) <= NAME_MAX_LEN, #name);

MQT_WORKER_COUNTERS(COUNTER_FITS)
MQT_CONTROL_COUNTERS(COUNTER_FITS)

static const char *const worker_upper[] = { MQT_WORKER_COUNTERS(COUNTER_NAME) };
static const char *const worker_help[] = { MQT_WORKER_COUNTERS(COUNTER_HELP) };
static const char *const control_upper[] = { MQT_CONTROL_COUNTERS(COUNTER_NAME) };
static const char *const control_help[] = { MQT_CONTROL_COUNTERS(COUNTER_HELP) };

static pthread_once_t names_once = PTHREAD_ONCE_INIT;
static char worker_names[MQT_W_N_COUNTERS][NAME_MAX_LEN];
static char control_names[MQT_C_N_COUNTERS][NAME_MAX_LEN];

static void
lower(char *dst, const char *src)
{
	do {
		*dst++ = (char)tolower((unsigned char)*src);
	} while (*src++);
}

static void
names_make(void)
{
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		lower(worker_names[i], worker_upper[i]);
	for (unsigned i = 0; i < MQT_C_N_COUNTERS; i++)
		lower(control_names[i], control_upper[i]);
}

const char *
mqt_worker_counter_name(unsigned counter)
{
	pthread_once(&names_once, names_make);
	return counter < MQT_W_N_COUNTERS ? worker_names[counter] : NULL;
}

const char *
mqt_worker_counter_help(unsigned counter)
{
	return counter < MQT_W_N_COUNTERS ? worker_help[counter] : NULL;
}

const char *
mqt_control_counter_name(unsigned counter)
{
	pthread_once(&names_once, names_make);
	return counter < MQT_C_N_COUNTERS ? control_names[counter] : NULL;
}

const char *
mqt_control_counter_help(unsigned counter)
{
	return counter < MQT_C_N_COUNTERS ? control_help[counter] : NULL;
}
