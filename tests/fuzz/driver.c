/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Replays stored inputs through a fuzz target, without libFuzzer: each file of the folders given,
 * whole and cut at each length. Fails where there is none, so that a lost corpus is noticed.
 */

#include "fuzz.h"

#include <dirent.h>

static unsigned n_files;

static void
replay_bytes(const uint8_t *data, size_t size)
{
	for (size_t len = 0; len <= size; len++) {
		uint8_t *copy = fuzz_copy(data, len);

		LLVMFuzzerTestOneInput(copy, len);
		free(copy);
	}
}

static int
replay_file(const char *dir, const char *name)
{
	static uint8_t data[65536];
	char path[4096];
	size_t size;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		return -1;
	}
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	fprintf(stderr, "%s\n", path);
	replay_bytes(data, size);
	n_files++;
	return 0;
}

static int
replay_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int ret = 0;

	if (d == NULL) {
		perror(dir);
		return -1;
	}
	while (ret == 0 && (entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			ret = replay_file(dir, entry->d_name);
	closedir(d);
	return ret;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay_dir(argv[i]) != 0)
			return 1;
	if (n_files == 0) {
		fprintf(stderr, "no inputs\n");
		return 1;
	}
	printf("%u inputs\n", n_files);
	return 0;
}
