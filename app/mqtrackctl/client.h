/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKCTL_CLIENT_H
#define MQTRACKCTL_CLIENT_H

#include <jansson.h>
#include <stddef.h>

/** Exit status of the program. */
enum status {
	STATUS_OK = 0,
	STATUS_REFUSED = 1, /* refused, or an unknown client */
	STATUS_USAGE = 2,   /* wrong usage, or the daemon cannot be reached */
	STATUS_UNKNOWN = 3, /* of client_call() only: unknown client or channel, not said yet */
};

/** A connection to mqtrackd. */
struct client {
	const char *path;
	int fd;
	char *line;
	size_t len, cap; /* bytes read, room */
	size_t taken;    /* bytes of the line given out last */
};

/** @return STATUS_OK, or STATUS_USAGE having said why. */
enum status client_open(struct client *client, const char *path);
void client_close(struct client *client);

/**
 * Calls a method.
 * @param params taken; NULL: none.
 * @param result the caller's, on STATUS_OK.
 * @return STATUS_OK; STATUS_REFUSED or STATUS_USAGE having said why; STATUS_UNKNOWN, which the
 * caller says, for it knows the id.
 */
enum status client_call(struct client *client, const char *method, json_t *params, json_t **result);

/**
 * Waits for the next message.
 * @param timeout_ms -1: for ever.
 * @param message the caller's. @return as client_call().
 */
enum status client_next(struct client *client, int timeout_ms, json_t **message);

#endif
