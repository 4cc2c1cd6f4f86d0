/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A session under whatever both sides send. The first three bytes of an input are the version and
 * the two limits; behind them are steps: a byte that says what happens, for bytes on the wire a
 * byte with their number, and the bytes. After each step the limits hold, no filter and no packet
 * id is there twice, and what was counted as missed is what was returned; a copy is the same.
 */

#include "fuzz.h"
#include "mqtrack/session.h"

#define MAX_BODY 100

enum step {
	STEP_CLIENT, /* bytes by the client; also each step that has no other meaning */
	STEP_BROKER,
	STEP_TAKEOVER, /* split and join at once; both streams begin anew */
	STEP_SPLIT,    /* the pendings are kept aside */
	STEP_JOIN,
	STEP_FINAL,
	STEP_COPY, /* goes on with a copy */
	N_STEPS,
};

struct rig {
	struct mqt_session *session;
	struct mqt_session_limits limits;
	struct mqt_mqtt_tap tap[MQT_SESSION_N_DIRS];
	struct mqt_pendings *pendings;
	enum mqt_session_dir sender;
	uint8_t version;
	uint64_t n_missed;
};

static void
check_filters(const struct rig *rig, const struct mqt_session_counts *counts)
{
	struct mqt_bytes a, b;
	uint8_t qos;
	unsigned n;

	for (n = 0; mqt_session_filter(rig->session, n, &a, &qos); n++) {
		FUZZ_CHECK(a.len > 0 && a.len <= MAX_BODY && qos <= 2);
		for (unsigned i = 0; i < n; i++) {
			FUZZ_CHECK(mqt_session_filter(rig->session, i, &b, &qos));
			FUZZ_CHECK(a.len != b.len || memcmp(a.ptr, b.ptr, a.len) != 0);
		}
	}
	FUZZ_CHECK(n == counts->filters && n <= rig->limits.filters);
}

static void
check_inflight(const struct rig *rig, const struct mqt_session_counts *counts,
		enum mqt_session_dir dir)
{
	enum mqt_inflight_state state;
	uint16_t a, b;
	unsigned n;

	for (n = 0; mqt_session_inflight(rig->session, dir, n, &a, &state); n++) {
		FUZZ_CHECK(a != 0 && state <= MQT_INFLIGHT_RELEASED);
		for (unsigned i = 0; i < n; i++) {
			FUZZ_CHECK(mqt_session_inflight(rig->session, dir, i, &b, &state));
			FUZZ_CHECK(a != b);
		}
	}
	FUZZ_CHECK(n == counts->inflight[dir] && n <= rig->limits.inflight);
}

static void
check_session(const struct rig *rig)
{
	struct mqt_session_counts counts;

	mqt_session_counts(rig->session, &counts);
	check_filters(rig, &counts);
	check_inflight(rig, &counts, MQT_SESSION_FROM_CLIENT);
	check_inflight(rig, &counts, MQT_SESSION_TO_CLIENT);
	FUZZ_CHECK(counts.pendings <= UINT16_MAX);
	FUZZ_CHECK(counts.filters_missed + counts.inflight_missed == rig->n_missed);
	/* every part has a bound: the limits are small here */
	FUZZ_CHECK(counts.bytes < 2048 + 2 * rig->limits.filters * 2 * (MAX_BODY + 64));
}

/* A packet that wants no session changes nothing where there is nothing. */
static void
check_not_wanted(const struct rig *rig, const struct mqt_mqtt_packet *packet)
{
	struct mqt_session *fresh = mqt_session_create();
	struct mqt_session_counts before, after;

	FUZZ_CHECK(fresh != NULL);
	mqt_session_counts(fresh, &before);
	/* an UNSUBSCRIBE would wait, but there is nothing that it could take away */
	if (packet->type != MQT_MQTT_UNSUBSCRIBE)
		mqt_session_apply(fresh, &rig->limits, rig->sender, rig->version, packet);
	mqt_session_counts(fresh, &after);
	FUZZ_CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	mqt_session_destroy(fresh);
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	struct rig *rig = arg;

	if (!mqt_session_wants(packet))
		check_not_wanted(rig, packet);
	rig->n_missed += mqt_session_apply(
			rig->session, &rig->limits, rig->sender, rig->version, packet);
	check_session(rig);
}

static void
feed(struct rig *rig, enum mqt_session_dir sender, const uint8_t *data, size_t len)
{
	struct mqt_mqtt_tap *tap = &rig->tap[sender];
	uint8_t *copy = fuzz_copy(data, len);
	struct mqt_mqtt_seen seen = { 0 };

	rig->sender = sender;
	if (!mqt_mqtt_tap_feed(tap, copy, len, rig->version, MAX_BODY, &seen, on_packet, rig))
		mqt_mqtt_tap_fini(tap); /* such a flow is over; the next one begins */
	free(copy);
}

static void
split(struct rig *rig)
{
	struct mqt_session_counts counts;

	if (rig->pendings != NULL)
		return;
	mqt_session_counts(rig->session, &counts);
	rig->pendings = mqt_session_split_pendings(rig->session);
	FUZZ_CHECK((rig->pendings != NULL ? rig->pendings->n : 0) ==
			counts.inflight[MQT_SESSION_TO_CLIENT]);
}

static void
join(struct rig *rig)
{
	mqt_session_join_pendings(rig->session, rig->pendings);
	rig->pendings = NULL;
}

static void
go_on_with_copy(struct rig *rig)
{
	struct mqt_session *copy = mqt_session_clone(rig->session);
	struct mqt_session_counts a, b;

	FUZZ_CHECK(copy != NULL);
	mqt_session_counts(rig->session, &a);
	mqt_session_counts(copy, &b);
	FUZZ_CHECK(memcmp(&a, &b, sizeof(a)) == 0);
	mqt_session_destroy(rig->session);
	rig->session = copy;
}

static void
streams_begin(struct rig *rig)
{
	mqt_mqtt_tap_fini(&rig->tap[MQT_SESSION_FROM_CLIENT]);
	mqt_mqtt_tap_fini(&rig->tap[MQT_SESSION_TO_CLIENT]);
}

/* Returns how many bytes of the input the step took. */
static size_t
step(struct rig *rig, const uint8_t *data, size_t size)
{
	const struct mqt_session_final final = { .expiry_sec = 1 };
	enum step what = data[0] < N_STEPS ? data[0] : STEP_CLIENT;
	size_t n;

	switch (what) {
	case STEP_TAKEOVER:
		split(rig);
		join(rig);
		streams_begin(rig);
		return 1;
	case STEP_SPLIT:
		split(rig);
		return 1;
	case STEP_JOIN:
		join(rig);
		return 1;
	case STEP_FINAL:
		mqt_session_set_final(rig->session, &final);
		streams_begin(rig);
		return 1;
	case STEP_COPY:
		go_on_with_copy(rig);
		return 1;
	default:
		break;
	}
	if (size < 2)
		return size;
	n = data[1] < size - 2 ? data[1] : size - 2;
	feed(rig, what == STEP_BROKER ? MQT_SESSION_TO_CLIENT : MQT_SESSION_FROM_CLIENT, data + 2,
			n);
	return 2 + n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig rig = { .session = mqt_session_create() };

	FUZZ_CHECK(rig.session != NULL);
	if (size >= 3) {
		rig.version = 3 + data[0] % 3;
		rig.limits.filters = data[1] % 16;
		rig.limits.inflight = data[2] % 16;
		rig.limits.bytes = 64 + data[2] * 8;
	}
	for (size_t at = 3; at < size; at += step(&rig, data + at, size - at))
		check_session(&rig);
	check_session(&rig);
	streams_begin(&rig);
	free(rig.pendings);
	mqt_session_destroy(rig.session);
	return 0;
}
