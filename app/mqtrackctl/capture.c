/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture: the daemon sends pieces of a pcapng file, each of whole blocks, and they are written
 * as they come. So the file can be read at any time, and is whole when the program is interrupted. Only
 * its owner may read it: it holds what a client has said, passwords among it.
 */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status
cannot_write(const char *path)
{
	fprintf(stderr, "mqtrackctl: cannot write %s: %s\n", path, strerror(errno));
	return STATUS_USAGE;
}

static int
write_all(int fd, const unsigned char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static enum status
write_piece(int fd, const char *path, const json_t *data)
{
	size_t len = json_string_length(data), n = 0;
	unsigned char *piece = malloc(len + 1);
	enum status status = STATUS_OK;

	if (!piece ||
			sodium_base642bin(piece, len, json_string_value(data), len, NULL, &n, NULL,
					sodium_base64_VARIANT_ORIGINAL) != 0) {
		fputs("mqtrackctl: the daemon sends no base64, or there is no memory\n", stderr);
		status = STATUS_USAGE;
	} else if (write_all(fd, piece, n) < 0) {
		status = cannot_write(path);
	}
	free(piece);
	return status;
}

static enum status
follow(struct client *client, int fd, const char *path, json_t **end)
{
	enum status status = STATUS_OK;

	*end = NULL;
	while (status == STATUS_OK && !*end) {
		json_t *message, *params;

		status = client_next(client, -1, &message);
		if (status != STATUS_OK)
			return status;
		params = json_object_get(message, "params");
		if (json_is_string(json_object_get(params, "data")))
			status = write_piece(fd, path, json_object_get(params, "data"));
		else if (json_object_get(params, "end"))
			*end = json_incref(params);
		json_decref(message);
	}
	return status;
}

/* A file that was there before is emptied, and its owner's alone from then on. @return -1 with errno. */
static int
file_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), err;
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 &&
			(!S_ISREG(st.st_mode) || (fchmod(fd, 0600) == 0 && ftruncate(fd, 0) == 0)))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

enum status
capture_to_file(struct client *client, json_t *params, const char *path, json_t **end)
{
	bool to_stdout = strcmp(path, "-") == 0;
	enum status status;
	json_t *result;
	int fd;

	status = client_call(client, "capture.start", params, &result);
	if (status != STATUS_OK)
		return status;
	json_decref(result);
	fd = to_stdout ? STDOUT_FILENO : file_open(path);
	if (fd < 0)
		return cannot_write(path);
	status = follow(client, fd, path, end);
	if (!to_stdout && close(fd) < 0 && status == STATUS_OK) {
		json_decref(*end);
		status = cannot_write(path);
	}
	return status;
}

void
capture_print_end(const json_t *end)
{
	const char *why = json_string_value(json_object_get(end, "end"));

	fprintf(stderr, "%lld packets, %lld bytes, %lld packets dropped; ended by: %s\n",
			(long long)json_integer_value(json_object_get(end, "packets")),
			(long long)json_integer_value(json_object_get(end, "bytes")),
			(long long)json_integer_value(json_object_get(end, "dropped")),
			why ? why : "?");
}
