/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GEN_HISTOGRAM_H
#define GEN_HISTOGRAM_H

#include <stdint.h>

/* Numbers counted in classes of at most an eighth of their value. */

#define GEN_HISTOGRAM_CLASSES 256

struct gen_histogram {
	uint64_t n;
	uint32_t max;
	uint64_t class[GEN_HISTOGRAM_CLASSES];
};

static inline unsigned
gen_histogram_class(uint32_t value)
{
	unsigned shift = value < 16 ? 0 : 28u - (unsigned)__builtin_clz(value);

	return shift * 8 + (value >> shift);
}

static inline void
gen_histogram_add(struct gen_histogram *h, uint32_t value)
{
	h->n++;
	h->class[gen_histogram_class(value)]++;
	if (value > h->max)
		h->max = value;
}

/** Greatest value of the class in which the share @p q lies; 0 where there is none. */
static inline uint32_t
gen_histogram_quantile(const struct gen_histogram *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;

	for (unsigned i = 0; i < GEN_HISTOGRAM_CLASSES; i++) {
		unsigned shift = i < 16 ? 0 : i / 8 - 1;
		uint64_t top = (((uint64_t)i - shift * 8 + 1) << shift) - 1;

		seen += h->class[i];
		if (h->n > 0 && (seen > want || seen == h->n))
			return top < h->max ? (uint32_t)top : h->max;
	}
	return 0;
}

#endif
