/* SPDX-License-Identifier: Apache-2.0 */
#include "node/oci.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/layer.h"
#include "node/rootfs.h"

static char dir[] = "/tmp/oci-test-XXXXXX";

static int setup(void **state)
{
	(void)state;
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return tree_remove(dir, NULL);
}

static const char *in_dir(const char *name)
{
	static char path[4][512];
	static unsigned i;

	i = (i + 1) % 4;
	(void)snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

struct member {
	const char *path, *text; /* text: content, or target of a link */
	unsigned type;		 /* AE_IF*; 1: hard link */
	unsigned mode;
};

/* Owned by who runs the test, as chown to another needs root. */
static void write_tar(const char *path, const struct member *m, size_t n)
{
	struct archive *a = archive_write_new();
	struct archive_entry *ae = archive_entry_new();

	assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		bool is_file = m[i].type == AE_IFREG;

		archive_entry_clear(ae);
		archive_entry_set_pathname(ae, m[i].path);
		archive_entry_set_perm(ae, (__LA_MODE_T)(m[i].mode ? m[i].mode : 0755));
		archive_entry_set_uid(ae, getuid());
		archive_entry_set_gid(ae, getgid());
		archive_entry_set_filetype(ae, m[i].type == 1 ? AE_IFREG : m[i].type);
		if (m[i].type == 1)
			archive_entry_set_hardlink(ae, m[i].text);
		else if (m[i].type == AE_IFLNK)
			archive_entry_set_symlink(ae, m[i].text);
		archive_entry_set_size(ae, is_file ? (la_int64_t)strlen(m[i].text) : 0);
		assert_int_equal(archive_write_header(a, ae), ARCHIVE_OK);
		if (is_file)
			assert_int_equal(archive_write_data(a, m[i].text, strlen(m[i].text)),
					 (la_ssize_t)strlen(m[i].text));
	}
	archive_entry_free(ae);
	assert_int_equal(archive_write_free(a), ARCHIVE_OK);
}

static int add(const struct member *m, size_t n, bool first, struct layer_budget *budget, struct err *e)
{
	CLEANUP(close_fdp) int root = -1;

	write_tar(in_dir("layer.tar"), m, n);
	(void)mkdir(in_dir("root"), 0755);
	root = open(in_dir("root"), O_RDONLY | O_DIRECTORY);
	return rootfs_add_layer(root, first, in_dir("layer.tar"), budget, e);
}

#define ADD(first, e, ...)                                                                         \
	({                                                                                         \
		const struct member m_[] = { __VA_ARGS__ };                                        \
		struct layer_budget b_ = { 1 << 20, 1000 };                                        \
		add(m_, ARRAY_LEN(m_), (first), &b_, (e));                                         \
	})

static void assert_content(const char *name, const char *want)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;

	if (file_read(in_dir(name), 1 << 20, &text, &size, NULL) < 0)
		fail_msg("%s is not there", name);
	assert_string_equal(text, want);
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(in_dir(name), &st) == 0;
}

static void test_layers_and_whiteouts(void **state)
{
	(void)state;
	assert_int_equal(ADD(true, NULL, { "a/b", "lower", AE_IFREG, 0 },
			     { "a/c", "stays", AE_IFREG, 0 }, { "d/e", "hidden", AE_IFREG, 0 },
			     { "bin", "usr/bin", AE_IFLNK, 0 }, { "usr/bin/x", "x", AE_IFREG, 0 }),
			 0);
	/* The marks come after the files they must not touch: they act on the lower layer only. */
	assert_int_equal(ADD(false, NULL, { "d/f", "new", AE_IFREG, 0 },
			     { "a/.wh.b", "", AE_IFREG, 0 }, { "d/.wh..wh..opq", "", AE_IFREG, 0 },
			     { "bin/y", "through a link", AE_IFREG, 0 }),
			 0);
	assert_false(exists("root/a/b"));
	assert_content("root/a/c", "stays");
	assert_false(exists("root/d/e"));
	assert_content("root/d/f", "new");
	assert_content("root/usr/bin/y", "through a link");
}

static void test_links_stay_inside(void **state)
{
	(void)state;
	/* "out" leads to / when followed by a program, but to the root of the image when unpacking. */
	assert_int_equal(ADD(true, NULL, { "out", "/", AE_IFLNK, 0 },
			     { "up", "../../../..", AE_IFLNK, 0 }, { "out/evil", "1", AE_IFREG, 0 },
			     { "up/evil2", "2", AE_IFREG, 0 }),
			 0);
	assert_content("root/evil", "1");
	assert_content("root/evil2", "2");
	assert_int_equal(access("/evil", F_OK), -1);
	/* A link in place of a file is replaced, not followed. */
	assert_int_equal(ADD(false, NULL, { "f", "/etc/hostname", AE_IFLNK, 0 },
			     { "f", "mine", AE_IFREG, 0 }),
			 0);
	assert_content("root/f", "mine");
	assert_int_equal(ADD(false, NULL, { "h", "evil", 1, 0 }), 0);
	assert_content("root/h", "1");
}

static void test_refused(void **state)
{
	static const struct {
		struct member m;
		const char *why;
	} rows[] = {
		{ { "../x", "", AE_IFREG, 0 }, "leaves its directory" },
		{ { "a/../../x", "", AE_IFREG, 0 }, "leaves its directory" },
		{ { "/x", "", AE_IFREG, 0 }, "absolute path" },
		{ { "h", "../etc/passwd", 1, 0 }, "leaves its directory" },
		{ { "h", "/etc/passwd", 1, 0 }, "absolute path" },
		{ { "h", "absent", 1, 0 }, "" },
		{ { ".wh..", "", AE_IFREG, 0 }, "whiteout" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = { 0 };
		struct layer_budget b = { 1 << 20, 1000 };

		if (add(&rows[i].m, 1, true, &b, &e) >= 0 || !strstr(e.msg, rows[i].why))
			fail_msg("row %zu: %s", i, e.msg);
	}
}

static void test_policy_and_budget(void **state)
{
	struct layer_budget small = { 2000, 1000 }, few = { 1 << 20, 1 };
	const struct member two[] = { { "a", "x", AE_IFREG, 0 }, { "b", "y", AE_IFREG, 0 } };
	struct err e = { 0 };
	char big[3000];
	struct member one = { "a", big, AE_IFREG, 0 };
	struct stat st;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_true(add(&one, 1, true, &small, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	assert_true(add(two, 2, true, &few, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	assert_int_equal(ADD(true, NULL, { "s", "x", AE_IFREG, 06755 }, { "dev", "", AE_IFCHR, 0 }), 0);
	assert_int_equal(lstat(in_dir("root/s"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_false(exists("root/dev"));
}

static void test_garbage(void **state)
{
	struct err e = { 0 };
	json_t *config = NULL;

	(void)state;
	assert_int_equal(
		file_write_atomic(in_dir("image"), 0600, STR("this is no archive at all"), NULL), 0);
	assert_true(oci_unpack(in_dir("image"), in_dir("scratch"), in_dir("root"), 1 << 20, &config,
			       &e) < 0);
	assert_false(exists("scratch"));
	write_tar(in_dir("image"),
		  &(struct member){ "index.json", "{\"manifests\": []}", AE_IFREG, 0 }, 1);
	assert_true(oci_unpack(in_dir("image"), in_dir("scratch"), in_dir("root"), 1 << 20, &config,
			       &e) < 0);
	assert_non_null(strstr(e.msg, "no manifest"));
}

static void test_json(void **state)
{
	static struct oci_manifest m;
	struct oci_blob b;
	bool nested = false;
	json_t *config = NULL;

	(void)state;
	assert_true(oci_index_parse(STR("{}"), &b, &nested, NULL) < 0);
	assert_true(oci_index_parse(STR("{\"manifests\":[{\"digest\":\"md5:00\"}]}"), &b, &nested,
				    NULL) < 0);
	assert_true(oci_manifest_parse(STR("{\"config\":{}}"), &m, NULL) < 0);
	assert_true(oci_docker_manifest_parse(STR("[{\"Config\":\"../x\",\"Layers\":[]}]"), &m,
					      NULL) < 0);
	assert_int_equal(oci_docker_manifest_parse(
				 STR("[{\"Config\":\"c.json\",\"Layers\":[\"a/layer.tar\"]}]"), &m, NULL),
			 0);
	assert_string_equal(m.layers[0].name, "a/layer.tar");
	assert_true(oci_config_parse(STR("{\"config\":{\"Cmd\":\"sh\"}}"), &config, NULL) < 0);
	assert_true(oci_config_parse(STR("{\"config\":{\"Env\":[1]}}"), &config, NULL) < 0);
	assert_int_equal(oci_config_parse(STR("{\"config\":{\"Cmd\":[\"sh\"]}}"), &config, NULL), 0);
	json_decref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layers_and_whiteouts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_stay_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy_and_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests_name("node-oci", tests, NULL, NULL);
}
