/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each test works in a directory of its own, the current one while it runs. */
static int setup(void **state)
{
	char *dir = strdup("/tmp/demarc-file-test.XXXXXX");

	*state = dir;
	return dir && mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct err e = { 0 };
	int r = chdir("/") < 0 ? -1 : tree_remove(*state, &e);

	if (r < 0)
		fprintf(stderr, "%s\n", e.msg);
	free(*state);
	return r;
}

static void put(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, 0644, str_of(text), NULL), 0);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static size_t n_entries(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void test_read_whole(void **state)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;

	assert_int_equal(file_write_atomic("f", 0600, (struct str){ "a\0b", 3 }, NULL), 0);
	assert_int_equal(file_read("f", 3, &text, &size, NULL), 0);
	assert_int_equal(size, 3);
	assert_memory_equal(text, "a\0b\0", 4);
}

static void test_read_empty_and_sizeless(void **state)
{
	CLEANUP(free_charp) char *empty = NULL;
	CLEANUP(free_charp) char *proc = NULL;
	size_t size = 9;

	put("f", "");
	assert_int_equal(file_read("f", 0, &empty, &size, NULL), 0);
	assert_int_equal(size, 0);
	assert_string_equal(empty, "");
	assert_int_equal(file_read("/proc/self/status", 1 << 20, &proc, NULL, NULL), 0);
	assert_non_null(strstr(proc, "Pid:"));
}

static void test_read_large(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	CLEANUP(free_charp) char *text = NULL;
	size_t size;

	for (int i = 0; i < 50000; i++)
		strbuf_addf(&b, "%d\n", i);
	assert_int_equal(file_write_atomic("f", 0600, (struct str){ b.ptr, b.len }, NULL), 0);
	assert_int_equal(file_read("f", b.len, &text, &size, NULL), 0);
	assert_int_equal(size, b.len);
	assert_memory_equal(text, b.ptr, size);
}

static void test_read_failures(void **state)
{
	char *text = NULL;
	struct err e;

	put("f", "four");
	assert_int_equal(file_read("f", 3, &text, NULL, &e), -EMSGSIZE);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	assert_int_equal(file_read("/dev/zero", 100, &text, NULL, &e), -EMSGSIZE);
	assert_int_equal(file_read("none", 3, &text, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "none"));
	assert_int_equal(file_read(".", 3, &text, NULL, &e), -EISDIR);
	assert_null(text);
}

static void test_write_replaces_with_mode(void **state)
{
	CLEANUP(free_charp) char *text = NULL;
	struct stat st;

	umask(077);
	put("f", "old");
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(file_write_atomic("f", 0600, STR("new"), NULL), 0);
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read("f", 10, &text, NULL, NULL), 0);
	assert_string_equal(text, "new");
	assert_int_equal(n_entries("."), 1);
}

static void test_write_replaces_a_link_not_its_target(void **state)
{
	CLEANUP(free_charp) char *text = NULL;
	struct stat st;

	put("target", "kept");
	assert_int_equal(symlink("target", "link"), 0);
	put("link", "new");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(file_read("target", 10, &text, NULL, NULL), 0);
	assert_string_equal(text, "kept");
}

static void test_write_failures_leave_nothing(void **state)
{
	char far[5000];
	struct err e;

	assert_int_equal(file_write_atomic("no/such/f", 0600, STR("x"), &e), -ENOENT);
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(file_write_atomic("d", 0600, STR("x"), &e), -EISDIR);
	assert_non_null(strstr(e.msg, "write d"));
	memset(far, 'x', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(file_write_atomic(far, 0600, STR("x"), &e), -ENAMETOOLONG);
	assert_int_equal(n_entries("."), 1);
}

static void test_dir_make(void **state)
{
	struct err e;
	struct stat st;

	assert_int_equal(dir_make("a/b//c/", 0755, &e), 0);
	assert_int_equal(stat("a/b/c", &st), 0);
	assert_int_equal(dir_make("a/b/c", 0700, &e), 0);
	put("f", "");
	assert_int_equal(dir_make("f", 0700, &e), -ENOTDIR);
	assert_int_equal(dir_make("f/x", 0700, &e), -ENOTDIR);
	assert_int_equal(dir_make("", 0700, &e), -ENOENT);
	assert_int_equal(dir_make("/", 0700, &e), 0);
}

static void test_tree_remove(void **state)
{
	assert_int_equal(dir_make("t/a/b", 0755, NULL), 0);
	put("t/f", "x");
	put("t/a/f", "x");
	assert_int_equal(mkfifo("t/a/b/fifo", 0600), 0);
	assert_int_equal(tree_remove("t", NULL), 0);
	assert_false(exists("t"));
	assert_int_equal(tree_remove("t", NULL), 0); /* absent is success */
	assert_int_equal(tree_remove("t/deeper", NULL), 0);
	put("f", "x");
	assert_int_equal(tree_remove("f", NULL), 0);
	assert_false(exists("f"));
}

static void test_tree_remove_does_not_follow_links(void **state)
{
	assert_int_equal(dir_make("keep/sub", 0755, NULL), 0);
	put("keep/f", "x");
	assert_int_equal(dir_make("t/d", 0755, NULL), 0);
	assert_int_equal(symlink("../keep", "t/rel"), 0);
	assert_int_equal(symlink("/", "t/d/root"), 0);
	assert_int_equal(symlink("..", "t/d/up"), 0);
	assert_int_equal(symlink("gone", "t/dangling"), 0);
	assert_int_equal(tree_remove("t", NULL), 0);
	assert_false(exists("t"));
	assert_true(exists("keep/f"));
	assert_true(exists("keep/sub"));
	assert_int_equal(symlink("keep", "l"), 0);
	assert_int_equal(tree_remove("l", NULL), 0);
	assert_false(exists("l"));
	assert_true(exists("keep/f"));
}

/* A tree far deeper than a path can be long, with siblings on each level. */
static void test_tree_remove_deep(void **state)
{
	int fd;

	assert_int_equal(mkdir("t", 0755), 0);
	fd = open("t", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		if (i % 50 == 0)
			assert_int_equal(mkdirat(fd, ".removed-0", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(tree_remove("t", NULL), 0);
	assert_false(exists("t"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_read_whole),
		T(test_read_empty_and_sizeless),
		T(test_read_large),
		T(test_read_failures),
		T(test_write_replaces_with_mode),
		T(test_write_replaces_a_link_not_its_target),
		T(test_write_failures_leave_nothing),
		T(test_dir_make),
		T(test_tree_remove),
		T(test_tree_remove_does_not_follow_links),
		T(test_tree_remove_deep),
	};

	return cmocka_run_group_tests_name("base-file", tests, NULL, NULL);
}
