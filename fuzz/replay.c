/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main program of a fuzz target in a normal build: runs every file of the corpus directory given
 * as argument, the empty input, and each file cut short, once. One TAP line per directory.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"

#define SEED_MAX_BYTES (1 << 20)

/* A copy of the exact size, so that ASan sees the first byte read past the end. */
static void run_exact(const char *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int run_file(const char *dir, const char *name)
{
	CLEANUP(strbuf_done) struct strbuf path = { 0 };
	CLEANUP(free_charp) char *data = NULL;
	struct err e;
	size_t size;

	strbuf_addf(&path, "%s/%s", dir, name);
	if (file_read(strbuf_cstr(&path), SEED_MAX_BYTES, &data, &size, &e) < 0) {
		printf("Bail out! %s\n", e.msg);
		return -1;
	}
	run_exact(data, size);
	for (size_t cut = 1; cut <= 8 && cut <= size; cut++)
		run_exact(data, size - cut);
	return 0;
}

int main(int argc, char **argv)
{
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
	unsigned n_files = 0;
	struct dirent *ent;

	puts("1..1");
	if (!d) {
		printf("Bail out! cannot read the corpus directory: %s\n", strerror(errno));
		return 1;
	}
	run_exact("", 0);
	while ((ent = readdir(d))) {
		if (ent->d_name[0] == '.')
			continue;
		if (run_file(argv[1], ent->d_name) < 0)
			return 1;
		n_files++;
	}
	closedir(d);
	printf("%sok 1 - replays %u seeds\n", n_files ? "" : "not ", n_files);
	return n_files ? 0 : 1;
}
