/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way to mqtrackd: one AF_UNIX connection, one request at a time, one JSON text a line
 * (lib/ctl/README.md).
 */
#include "client.h"

#include "text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS  30000
#define READ_BYTES 65536

/* Error codes of the daemon, see lib/ctl/README.md. */
#define E_CLIENT  (-32001)
#define E_CHANNEL (-32002)

static enum status
unreachable(const struct client *client, int err)
{
	fprintf(stderr, "mqtrackctl: cannot reach mqtrackd at %s: %s; %s\n", client->path,
			strerror(err),
			err == EACCES ? "run it as root, or as a user that may use the socket"
				      : "is it running? give its socket with --socket");
	return STATUS_USAGE;
}

enum status
client_open(struct client *client, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*client = (struct client){ .path = path, .fd = -1 };
	if (strlen(path) >= sizeof(addr.sun_path))
		return unreachable(client, ENAMETOOLONG);
	strcpy(addr.sun_path, path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return unreachable(client, errno);
	return STATUS_OK;
}

void
client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->line);
}

static enum status
broken(const struct client *client, const char *what)
{
	fprintf(stderr, "mqtrackctl: mqtrackd at %s %s\n", client->path, what);
	return STATUS_USAGE;
}

/* Reads what is there. @return STATUS_OK with at least a byte more. */
static enum status
fill(struct client *client, int timeout_ms)
{
	struct pollfd pfd = { .fd = client->fd, .events = POLLIN };
	ssize_t n;
	int ready;

	if (client->cap - client->len < READ_BYTES) {
		client->cap = 2 * client->cap + READ_BYTES;
		client->line = realloc(client->line, client->cap);
		if (!client->line)
			return broken(client, "sent more than fits in memory");
	}
	do
		ready = poll(&pfd, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return broken(client, "does not answer");
	do
		n = recv(client->fd, client->line + client->len, client->cap - client->len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return unreachable(client, errno);
	if (n == 0)
		return broken(client, "has closed the connection");
	client->len += (size_t)n;
	return STATUS_OK;
}

enum status
client_next(struct client *client, int timeout_ms, json_t **message)
{
	enum status status = STATUS_OK;
	size_t scanned = 0;
	json_error_t error;
	char *end = NULL;

	client->len -= client->taken;
	if (client->taken && client->len)
		memmove(client->line, client->line + client->taken, client->len);
	client->taken = 0;
	while (!end) {
		if (client->len > scanned)
			end = memchr(client->line + scanned, '\n', client->len - scanned);
		scanned = client->len;
		if (!end)
			status = fill(client, timeout_ms);
		if (status != STATUS_OK)
			return status;
	}
	client->taken = (size_t)(end - client->line) + 1;
	*message = json_loadb(client->line, client->taken - 1, JSON_ALLOW_NUL, &error);
	return *message ? STATUS_OK : broken(client, "answers with something that is not JSON");
}

static enum status
refused(const json_t *error)
{
	const json_t *message = json_object_get(error, "message");
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	char *text;

	if (code == E_CLIENT || code == E_CHANNEL)
		return STATUS_UNKNOWN;
	text = text_visible(json_string_value(message), json_string_length(message));
	fprintf(stderr, "mqtrackctl: %s\n", text);
	free(text);
	return STATUS_REFUSED;
}

static void
send_request(struct client *client, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", 1, "method",
			method, "params", params);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0, sent = 0;

	if (!text) {
		fputs("mqtrackctl: out of memory\n", stderr);
		exit(STATUS_USAGE);
	}
	text[len++] = '\n'; /* in the place of the NUL */
	while (sent < len) {
		ssize_t n = send(client->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* it may have said why before it closed: read on */
		sent += (size_t)n;
	}
	free(text);
	json_decref(request);
}

enum status
client_call(struct client *client, const char *method, json_t *params, json_t **result)
{
	json_t *message, *error;
	enum status status;

	send_request(client, method, params);
	for (;;) {
		status = client_next(client, ANSWER_MS, &message);
		if (status != STATUS_OK)
			return status;
		error = json_object_get(message, "error");
		*result = json_incref(json_object_get(message, "result"));
		if (error)
			status = refused(error);
		json_decref(message);
		if (error || *result)
			return status;
	}
}
