/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The array behind a flow table: what was added is found, what was removed is not, whatever stands
 * beside it.
 */
#include "../../lib/conn/flows.h"
#include "check.h"

#define MOST 3000u

/* --- a plain list of the same, to compare with -------------------------------------------------- */

struct pair {
	uint32_t hash, slot;
};

static struct flows table;
static struct pair model[MOST];
static uint32_t n_model;
static uint64_t state = 1;

static uint32_t
pick(uint32_t n)
{
	return check_random(&state, n);
}

/* All slots under a hash as bits of a sum that no order changes. @return how many. */
static uint32_t
sum_of_table(uint32_t hash, uint64_t *sum)
{
	struct flows_probe probe = flows_first(&table, hash);
	uint32_t slot, n = 0;

	*sum = 0;
	while ((slot = flows_next(&table, hash, &probe)) != FLOWS_NONE) {
		*sum += 0x9e3779b97f4a7c15u * (slot + 1);
		n++;
	}
	CHECK_EQ(flows_next(&table, hash, &probe), FLOWS_NONE);
	return n;
}

static uint32_t
sum_of_model(uint32_t hash, uint64_t *sum)
{
	uint32_t n = 0;

	*sum = 0;
	for (uint32_t i = 0; i < n_model; i++) {
		if (model[i].hash != hash)
			continue;
		*sum += 0x9e3779b97f4a7c15u * (model[i].slot + 1);
		n++;
	}
	return n;
}

static void
check_hash(uint32_t hash)
{
	uint64_t a, b;

	CHECK_EQ(sum_of_table(hash, &a), sum_of_model(hash, &b));
	CHECK_EQ(a, b);
}

static bool
add(uint32_t hash, uint32_t slot)
{
	if (!flows_add(&table, hash, slot))
		return false;
	model[n_model++] = (struct pair){ hash, slot };
	return true;
}

static void
remove_at(uint32_t i)
{
	CHECK(flows_remove(&table, model[i].hash, model[i].slot));
	CHECK(!flows_remove(&table, model[i].hash, model[i].slot));
	model[i] = model[--n_model];
}

static void
begin(uint32_t most)
{
	CHECK_EQ(flows_init(&table, most, MQT_PAGES_SMALL), 0);
	n_model = 0;
}

/* Nothing is left, not even what would make the next look-up longer. */
static void
end(void)
{
	while (n_model > 0)
		remove_at(pick(n_model));
	CHECK_EQ(table.n, 0);
	for (uint32_t i = 0; i <= table.mask; i++)
		CHECK_EQ(table.entry[i].slot, 0);
	flows_fini(&table);
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void
test_an_empty_table_has_nothing(void)
{
	begin(1);
	check_hash(0);
	CHECK(!flows_remove(&table, 0, 0));
	CHECK(add(7, 0));
	check_hash(7);
	CHECK(!flows_remove(&table, 7, 1));
	CHECK(!flows_remove(&table, 8, 0));
	CHECK(!flows_add(&table, 8, 1));
	end();
	flows_fini(&table); /* twice does no harm */
}

static void
test_slots_of_one_hash_are_all_found(void)
{
	begin(64);
	for (uint32_t slot = 0; slot < 20; slot++)
		CHECK(add(0xffffffff, slot));
	CHECK(add(0xffffffff, FLOWS_NONE - 2));
	check_hash(0xffffffff);
	check_hash(0x7fffffff); /* the same home */
	remove_at(10);
	remove_at(0);
	check_hash(0xffffffff);
	end();
}

/* Each order in which three runs that meet can be taken apart, around the end of the array. */
static void
test_gaps_are_closed_around_the_end(void)
{
	static const uint32_t homes[] = { 0, 0, 1, 1, 3, 5 };
	const uint32_t n = sizeof(homes) / sizeof(homes[0]);
	uint32_t size;

	begin(40);
	size = table.mask + 1;
	CHECK_EQ(size, 64);
	for (uint32_t first = size - 8; first <= size; first++) {
		for (uint32_t gone = 0; gone < n * n; gone++) {
			for (uint32_t i = 0; i < n; i++)
				CHECK(add((first + homes[i]) % size + i * size, i));
			remove_at(gone % n);
			remove_at(gone / n % n_model);
			for (uint32_t i = 0; i < n; i++)
				check_hash((first + homes[i]) % size + i * size);
			while (n_model > 0)
				remove_at(0);
		}
	}
	end();
}

static void
test_a_full_table_refuses_and_has_all(void)
{
	begin(MOST);
	CHECK(table.mask + 1 >= MOST * 4 / 3);
	while (n_model < MOST)
		CHECK(add(pick(UINT32_MAX), n_model));
	CHECK(!flows_add(&table, 1, MOST));
	for (uint32_t i = 0; i < MOST; i++)
		check_hash(model[i].hash);
	remove_at(17);
	CHECK(add(pick(UINT32_MAX), 17));
	end();
}

/* What a key that is known, or no luck at all, could do. */
static void
test_what_stands_too_far_from_home_is_refused(void)
{
	begin(MOST);
	while (n_model < FLOWS_REACH)
		CHECK(add(n_model << 16, n_model)); /* one home */
	CHECK(!flows_add(&table, 0, FLOWS_REACH));
	CHECK_EQ(table.n, FLOWS_REACH);
	for (uint32_t i = 0; i < FLOWS_REACH; i++)
		check_hash(model[i].hash);
	CHECK(add(1, FLOWS_REACH)); /* its home is one further on */
	CHECK(!flows_add(&table, 1, FLOWS_REACH + 1));
	check_hash(1);
	remove_at(5); /* all move up, and no further than home */
	check_hash(1);
	CHECK(!flows_add(&table, 0, 5));
	CHECK(add(1, 5));
	check_hash(1);
	end();
}

/* Few hashes, so that homes and whole hashes are shared; and many. */
static void
test_it_does_what_a_list_does(void)
{
	static const uint32_t hashes[] = { 40, 700, UINT32_MAX };

	for (unsigned kind = 0; kind < sizeof(hashes) / sizeof(hashes[0]); kind++) {
		uint32_t spread = kind == 1 ? 1u << 20 : 1;

		begin(MOST / 4);
		for (unsigned step = 0; step < 40000; step++) {
			/* fills up, and empties again */
			uint32_t adds = step / 4000 % 2 ? 3 : 7;
			uint32_t hash = pick(hashes[kind]) * spread;

			if (n_model == 0 || pick(10) < adds) {
				bool room = table.n < table.most;

				CHECK_EQ(add(hash, step), room);
			} else {
				uint32_t i = pick(n_model);

				hash = model[i].hash;
				remove_at(i);
			}
			check_hash(hash);
			if (n_model > 0)
				check_hash(model[pick(n_model)].hash);
			CHECK_EQ(table.n, n_model);
		}
		end();
	}
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo tests[] = {
	TEST(test_an_empty_table_has_nothing),
	TEST(test_slots_of_one_hash_are_all_found),
	TEST(test_gaps_are_closed_around_the_end),
	TEST(test_a_full_table_refuses_and_has_all),
	TEST(test_what_stands_too_far_from_home_is_refused),
	TEST(test_it_does_what_a_list_does),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "flows", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
