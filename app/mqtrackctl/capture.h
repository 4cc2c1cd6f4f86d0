/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_CAPTURE_H
#define CTL_CAPTURE_H

#include "client.h"

/**
 * Captures into a file until the daemon says that it is over.
 * @param params of capture.start; taken.
 * @param path of the file, "-": standard output. It is made, or made empty, once the capture is on.
 * @param end set on STATUS_OK to what the daemon said last, the caller's.
 * @return as client_call().
 */
enum status capture_to_file(struct client *client, json_t *params, const char *path, json_t **end);

/** Says on standard error how it ended. */
void capture_print_end(const json_t *end);

#endif
