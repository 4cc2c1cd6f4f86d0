/* SPDX-License-Identifier: BSD-3-Clause */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
buf_reserve(struct ctl_buf *buf, size_t extra)
{
	size_t cap = buf->cap ? buf->cap : 512;
	char *data;

	if (buf->head == buf->len)
		buf->head = buf->len = 0;
	if (buf->head > buf->cap / 2) { /* moves each byte once on average */
		memmove(buf->data, buf->data + buf->head, buf->len - buf->head);
		buf->len -= buf->head;
		buf->head = 0;
	}
	if (extra <= buf->cap - buf->len)
		return 0;
	while (cap - buf->len < extra)
		cap *= 2;
	data = realloc(buf->data, cap);
	if (!data)
		return -ENOMEM;
	buf->data = data;
	buf->cap = cap;
	return 0;
}

int
ctl_buf_append(struct ctl_buf *buf, const void *data, size_t len)
{
	if (buf_reserve(buf, len) < 0)
		return -ENOMEM;
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return 0;
}

static int
buf_json_chunk(const char *data, size_t len, void *arg)
{
	return ctl_buf_append(arg, data, len) < 0 ? -1 : 0;
}

int
ctl_buf_append_json(struct ctl_buf *buf, const json_t *json)
{
	return json_dump_callback(json, buf_json_chunk, buf, JSON_COMPACT) < 0 ? -ENOMEM : 0;
}

void
ctl_buf_free(struct ctl_buf *buf)
{
	free(buf->data);
	*buf = (struct ctl_buf){ 0 };
}
