/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Link headers of connections: each different pair is there once, as long as somebody uses it.
 */
#include "../../lib/conn/links.h"
#include "check.h"

#include <string.h>

#define MOST  200u
#define PAIRS 300u

static const struct mqt_hash_key key = { .flow = { 1, 2, 3 } };
static struct links links;

static struct link_pair
pair_of(uint32_t n)
{
	struct link_pair pair = { .l2_len = { 14, (uint8_t)(n % 2 ? 18 : 14) } };

	memcpy(pair.l2[n % 2], &n, sizeof(n));
	return pair;
}

static bool
holds(uint32_t link, uint32_t n)
{
	struct link_pair pair = pair_of(n);

	return memcmp(links_at(&links, link), &pair, sizeof(pair)) == 0;
}

static uint32_t
get(uint32_t n)
{
	struct link_pair pair = pair_of(n);
	uint32_t link = links_get(&links, &pair);

	CHECK(link < MOST);
	CHECK(holds(link, n));
	return link;
}

static void
test_users_of_one_pair_share_it(void)
{
	uint32_t a, b;

	CHECK_EQ(links_init(&links, MOST, &key), 0);
	a = get(1);
	b = get(2);
	CHECK(a != b);
	for (unsigned i = 0; i < 1000; i++) {
		CHECK_EQ(get(1), a);
		CHECK_EQ(get(2), b);
	}
	CHECK_EQ(links.n_fresh, 2);
	for (unsigned i = 0; i < 1001; i++)
		links_put(&links, a);
	CHECK(holds(b, 2));
	/* its place is another's now, and nobody finds it there */
	CHECK_EQ(get(3), a);
	CHECK(get(1) != a);
	CHECK_EQ(get(2), b);
	CHECK_EQ(links.n_fresh, 3);
	links_fini(&links);
	links_fini(&links);
}

/* What was asked for last is gone: the next that has its place is not taken for it. */
static void
test_the_last_one_may_go(void)
{
	uint32_t a;

	CHECK_EQ(links_init(&links, MOST, &key), 0);
	a = get(1);
	links_put(&links, a);
	CHECK_EQ(get(1), a);
	links_put(&links, a);
	CHECK_EQ(links.index.n, 0);
	CHECK_EQ(get(2), a);
	links_put(&links, a);
	CHECK_EQ(links.index.n, 0);
	links_fini(&links);
}

/* As many pairs as users, or few; as many users as there may be. */
static void
test_users_come_and_go(void)
{
	static uint32_t link_of[MOST], number_of[MOST], n_users[PAIRS];
	uint64_t state = 1;

	for (uint32_t n_pairs = 1; n_pairs <= PAIRS; n_pairs += 23) {
		uint32_t n = 0, used = 0, most_used = 0;

		memset(n_users, 0, sizeof(n_users));
		CHECK_EQ(links_init(&links, MOST, &key), 0);
		for (unsigned step = 0; step < 20000; step++) {
			uint32_t random;

			state = state * 6364136223846793005u + 1442695040888963407u;
			random = (uint32_t)(state >> 33);
			if (n < MOST && (n == 0 || random % 16 < (step / 2000 % 2 ? 5 : 11))) {
				number_of[n] = random / 16 % n_pairs;
				link_of[n] = get(number_of[n]);
				used += n_users[number_of[n]]++ == 0;
				n++;
			} else {
				uint32_t i = random / 16 % n;

				CHECK(holds(link_of[i], number_of[i]));
				links_put(&links, link_of[i]);
				used -= --n_users[number_of[i]] == 0;
				n--;
				number_of[i] = number_of[n];
				link_of[i] = link_of[n];
			}
			most_used = used > most_used ? used : most_used;
			CHECK_EQ(links.index.n, used);
			CHECK_EQ(links.n_fresh, most_used);
		}
		links_fini(&links);
	}
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo tests[] = {
	TEST(test_users_of_one_pair_share_it),
	TEST(test_the_last_one_may_go),
	TEST(test_users_come_and_go),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "links", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
