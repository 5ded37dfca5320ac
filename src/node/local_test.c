/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

static char dir[] = "/tmp/local-test-XXXXXX";

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

static struct local *open_it(void)
{
	struct local *l = NULL;

	assert_int_equal(local_open(dir, &l, NULL), 0);
	return l;
}

static bool keep_b(void *ctx, const char *id)
{
	(void)ctx;
	return strcmp(id, "b") == 0;
}

static void test_numbers_stay(void **state)
{
	struct local *l = open_it();

	(void)state;
	assert_int_equal(local_number(l, LOCAL_CHAIN, "a"), 1);
	assert_int_equal(local_number(l, LOCAL_CHAIN, "b"), 2);
	assert_int_equal(local_number(l, LOCAL_CHAIN, "a"), 1);
	assert_int_equal(local_number(l, LOCAL_NETWORK, "a"), 1);
	assert_int_equal(local_port_index(l, "p").num, LOCAL_PORT_BASE + 1);
	assert_int_equal(local_save(l, NULL), 0);
	local_close(l);
	l = open_it();
	assert_int_equal(local_number(l, LOCAL_CHAIN, "b"), 2);
	assert_string_equal(local_id_find(l, LOCAL_CHAIN, 1), "a");
	local_prune(l, LOCAL_CHAIN, keep_b, NULL);
	assert_int_equal(local_number_find(l, LOCAL_CHAIN, "a"), 0);
	assert_int_equal(local_number(l, LOCAL_CHAIN, "c"), 3); /* a number rests before it is used again */
	local_close(l);
}

static void test_numbers_run_out_and_come_back(void **state)
{
	struct local *l = open_it();
	char id[16];

	(void)state;
	for (int i = 1; i <= 1023; i++) {
		(void)snprintf(id, sizeof(id), "c%d", i);
		assert_int_equal(local_number(l, LOCAL_CHAIN, id), i);
	}
	assert_int_equal(local_number(l, LOCAL_CHAIN, "more"), 0);
	local_prune(l, LOCAL_CHAIN, keep_b, NULL);
	assert_int_equal(local_number(l, LOCAL_CHAIN, "more"), 1);
	local_close(l);
}

static void test_notes(void **state)
{
	struct local *l = open_it();

	(void)state;
	assert_null(local_note(l, "run", "a"));
	local_note_set(l, "run", "a", "x");
	local_note_set(l, "run", "b", "y");
	assert_int_equal(local_save(l, NULL), 0);
	local_close(l);
	l = open_it();
	assert_string_equal(local_note(l, "run", "a"), "x");
	local_note_prune(l, "run", keep_b, NULL);
	assert_null(local_note(l, "run", "a"));
	local_note_set(l, "run", "b", NULL);
	assert_null(local_note(l, "run", "b"));
	local_close(l);
}

static void test_unreadable_file_starts_anew(void **state)
{
	char path[256];
	struct local *l;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/local.json", dir);
	assert_int_equal(file_write_atomic(path, 0600, STR("{\"numbers\": [1,"), NULL), 0);
	l = open_it();
	assert_int_equal(local_number(l, LOCAL_PORT, "p"), 1);
	local_close(l);
}

static void test_port_name(void **state)
{
	char name[IF_NAMESIZE];

	(void)state;
	local_port_name("01234567-89ab-4cde-8f01-23456789abcd", name);
	assert_string_equal(name, "dm0123456789ab");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers_run_out_and_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable_file_starts_anew, setup, teardown),
		cmocka_unit_test(test_port_name),
	};

	return cmocka_run_group_tests_name("node-local", tests, NULL, NULL);
}
