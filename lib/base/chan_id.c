/* SPDX-License-Identifier: BSD-3-Clause */
/* Channel ids as text, "nn-ww-ssssss-gggggg". Pure functions: no state, any thread. */
#include "mqtrack/chan_id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *
mqt_chan_id_format(mqt_chan_id id, char buf[MQT_CHAN_STRLEN])
{
	snprintf(buf, MQT_CHAN_STRLEN, "%02x-%02x-%06" PRIx32 "-%06" PRIx32, mqt_chan_id_node(id),
			mqt_chan_id_worker(id), mqt_chan_id_slot(id), mqt_chan_id_gen(id));
	return buf;
}

int
mqt_chan_id_parse(const char *str, mqt_chan_id *id)
{
	static const char shape[] = "xx-xx-xxxxxx-xxxxxx";
	uint64_t v = 0;

	_Static_assert(sizeof(shape) == MQT_CHAN_STRLEN, "the whole text form");
	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		int digit = hex_digit(str[i]);

		if (shape[i] == 'x' ? digit < 0 : str[i] != '-')
			return -EINVAL;
		if (shape[i] == 'x')
			v = v << 4 | (uint64_t)digit;
	}
	if (str[sizeof(shape) - 1] != '\0' || mqt_chan_id_gen(v) == 0)
		return -EINVAL;
	*id = v;
	return 0;
}
