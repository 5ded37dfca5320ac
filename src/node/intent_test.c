/* SPDX-License-Identifier: Apache-2.0 */
#include "node/intent.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char dir[] = "/tmp/intent-test-XXXXXX";

#define NET_A "aaaaaaaa-0000-4000-8000-000000000001"
#define NET_B "bbbbbbbb-0000-4000-8000-000000000002"

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

static struct intent *open_it(bool *ret_damaged)
{
	struct intent *in = NULL;
	struct err e = { 0 };

	if (intent_open(dir, &in, ret_damaged, &e) < 0)
		fail_msg("%s", e.msg);
	return in;
}

/* One network object, changed, deleted, or the whole intent. */
static int apply(struct intent *in, uint64_t base, uint64_t revision, const char *id,
		 const char *name, bool full, struct err *e)
{
	Demarc__V1__Network net = DEMARC__V1__NETWORK__INIT;
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT, *list[] = { &o };
	Demarc__V1__Intent m = DEMARC__V1__INTENT__INIT;
	char kind[] = "network";

	net.name = (char *)(uintptr_t)(name ? name : "");
	o.kind = kind;
	o.id = (char *)(uintptr_t)id;
	o.version = revision;
	o.deleted = !name;
	if (name) {
		o.body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
		o.network = &net;
	}
	m.revision = revision;
	m.base_revision = base;
	m.full = full;
	m.n_objects = 1;
	m.objects = list;
	return intent_apply(in, &m, e);
}

static void test_survives_reopening(void **state)
{
	char before[INTENT_DIGEST_SIZE], after[INTENT_DIGEST_SIZE];
	struct intent *in;
	bool damaged;

	(void)state;
	in = open_it(&damaged);
	assert_int_equal(intent_revision(in), 0);
	assert_int_equal(apply(in, 0, 1, NET_A, "one", false, NULL), 0);
	assert_int_equal(apply(in, 1, 2, NET_B, "two", false, NULL), 0);
	assert_int_equal(apply(in, 2, 5, NET_A, "changed", false, NULL), 0);
	intent_digest(in, before);
	intent_close(in);
	in = open_it(&damaged);
	assert_false(damaged);
	assert_int_equal(intent_revision(in), 5);
	assert_string_equal(intent_network(in, NET_A)->name, "changed");
	assert_int_equal(intent_version(in, "network", NET_B), 2);
	intent_digest(in, after);
	assert_string_equal(before, after);
	assert_int_equal(apply(in, 5, 6, NET_B, NULL, false, NULL), 0);
	assert_null(intent_network(in, NET_B));
	intent_close(in);
}

static void test_refuses_without_change(void **state)
{
	struct err e = { 0 };
	struct intent *in;
	bool damaged;

	(void)state;
	in = open_it(&damaged);
	assert_int_equal(apply(in, 0, 3, NET_A, "one", true, NULL), 0);
	assert_true(apply(in, 2, 4, NET_B, "x", false, &e) < 0);
	assert_int_equal(e.fault, FAULT_PRECONDITION);
	assert_true(apply(in, 3, 4, "not-a-uuid", "x", false, &e) < 0);
	assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	assert_true(apply(in, 3, 2, NET_B, "x", false, &e) < 0);
	assert_int_equal(intent_revision(in), 3);
	assert_null(intent_network(in, NET_B));
	assert_int_equal(apply(in, 1, 3, NET_A, "a repeat", false, NULL), 0);
	assert_string_equal(intent_network(in, NET_A)->name, "one");
	intent_close(in);
}

/* One object that is not valid keeps nothing else from being taken, and what was held of it stays. */
static void test_the_rest_is_taken(void **state)
{
	Demarc__V1__Network good = DEMARC__V1__NETWORK__INIT, wrong = DEMARC__V1__NETWORK__INIT;
	Demarc__V1__Object a = DEMARC__V1__OBJECT__INIT, b = DEMARC__V1__OBJECT__INIT,
			   *list[] = { &a, &b };
	Demarc__V1__Intent m = DEMARC__V1__INTENT__INIT;
	char kind[] = "network", id_a[] = NET_A, id_b[] = NET_B, name[] = "new";
	struct err e = { 0 };
	struct intent *in;
	bool damaged;

	(void)state;
	in = open_it(&damaged);
	assert_int_equal(apply(in, 0, 3, NET_A, "one", true, NULL), 0);
	wrong.segmentation_id = 70000;
	good.name = wrong.name = name;
	a.kind = b.kind = kind;
	a.id = id_a;
	b.id = id_b;
	a.body_case = b.body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
	a.network = &wrong;
	b.network = &good;
	a.version = b.version = m.revision = 4;
	m.base_revision = 3;
	m.n_objects = 2;
	m.objects = list;
	for (int full = 0; full < 2; full++) {
		m.full = full;
		assert_true(intent_apply(in, &m, &e) < 0);
		assert_non_null(strstr(e.field, "network/" NET_A));
		assert_int_equal(intent_apply_rest(in, &m, &e), 0);
		assert_int_equal(intent_left_out(in), 1);
		m.full = false;
		assert_true(intent_apply(in, &m, &e) < 0); /* is no repeat of what was taken */
		assert_int_equal(intent_revision(in), 4);
		assert_string_equal(intent_network(in, NET_A)->name, "one");
		assert_string_equal(intent_network(in, NET_B)->name, "new");
		assert_int_equal(intent_version(in, "network", NET_A), 3);
	}
	m.base_revision = 9;
	m.full = false;
	assert_true(intent_apply_rest(in, &m, &e) < 0); /* not based on what is held */
	intent_close(in);
	in = open_it(&damaged);
	assert_string_equal(intent_network(in, NET_A)->name, "one");
	assert_int_equal(intent_revision(in), 4);
	m.full = true;
	assert_int_equal(intent_apply_rest(in, &m, &e), 0);
	assert_int_equal(apply(in, 4, 5, NET_A, NULL, false, NULL), 0);
	assert_int_equal(intent_left_out(in), 0);
	intent_close(in);
}

static void log_path(char ret[256])
{
	(void)snprintf(ret, 256, "%s/intent.log", dir);
}

/* A crash can leave any part of the last record; what was acknowledged before it stays. */
static void test_every_torn_tail(void **state)
{
	char path[256], *bytes = NULL;
	size_t size = 0, first;
	struct intent *in;
	struct stat st;
	bool damaged;

	(void)state;
	log_path(path);
	in = open_it(&damaged);
	assert_int_equal(apply(in, 0, 1, NET_A, "one", false, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	first = (size_t)st.st_size;
	assert_int_equal(apply(in, 1, 2, NET_B, "two", false, NULL), 0);
	intent_close(in);
	assert_int_equal(file_read(path, 1 << 20, &bytes, &size, NULL), 0);
	for (size_t cut = first; cut < size; cut++) {
		assert_int_equal(file_write_atomic(path, 0600, (struct str){ bytes, cut }, NULL), 0);
		in = open_it(&damaged);
		assert_false(damaged);
		assert_int_equal(intent_revision(in), 1);
		/* The tail is gone, so that the next record follows the last good one. */
		assert_int_equal(apply(in, 1, 9, NET_B, "again", false, NULL), 0);
		intent_close(in);
		in = open_it(&damaged);
		assert_int_equal(intent_revision(in), 9);
		intent_close(in);
	}
	free(bytes);
}

static void test_damage_is_told(void **state)
{
	char path[256], *bytes = NULL;
	size_t size = 0;
	struct intent *in;
	bool damaged;

	(void)state;
	log_path(path);
	in = open_it(&damaged);
	assert_int_equal(apply(in, 0, 1, NET_A, "one", false, NULL), 0);
	intent_close(in);
	assert_int_equal(file_read(path, 1 << 20, &bytes, &size, NULL), 0);
	bytes[size - 1] ^= 1;
	assert_int_equal(file_write_atomic(path, 0600, (struct str){ bytes, size }, NULL), 0);
	in = open_it(&damaged);
	assert_true(damaged);
	assert_int_equal(intent_revision(in), 0);
	intent_close(in);
	free(bytes);
}

static void test_long_log_is_rewritten(void **state)
{
	char path[256], *name = malloc(1001);
	struct intent *in;
	struct stat st;
	bool damaged;

	(void)state;
	log_path(path);
	memset(name, 'x', 1000);
	name[1000] = '\0';
	in = open_it(&damaged);
	for (uint64_t i = 0; i < 2500; i++)
		assert_int_equal(apply(in, i, i + 1, NET_A, name, false, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 2000000);
	intent_close(in);
	in = open_it(&damaged);
	assert_int_equal(intent_revision(in), 2500);
	intent_close(in);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_survives_reopening, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refuses_without_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_rest_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_log_is_rewritten, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-intent", tests, NULL, NULL);
}
