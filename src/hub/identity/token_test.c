/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hub/identity/password.h"

#define DAY_US (86400LL * 1000000)

static char dir[64], path[128];

static int make_dir(void **state)
{
	str_copy(dir, sizeof(dir), STR("/tmp/demarc-token-XXXXXX"));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/token-keys", dir);
	return 0;
}

static int remove_dir(void **state)
{
	return tree_remove(dir, NULL);
}

static struct token_keys *open_at(int64_t now_us)
{
	struct token_keys *k = NULL;
	struct err e = { 0 };

	if (token_keys_open(path, now_us, &k, &e) < 0)
		fail_msg("%s", e.msg);
	return k;
}

static struct token sample(void)
{
	struct token t = { .issued_us = 1000,
			   .expires_us = 2000,
			   .methods = METHOD_PASSWORD,
			   .scope = SCOPE_PROJECT,
			   .audit_id = { { 1, 2, 3 } } };

	memset(t.user_id, 'u', 32);
	memset(t.scope_id, 'p', 64);
	return t;
}

static void test_round_trip(void **state)
{
	struct token_keys *k = open_at(0), *again = open_at(5);
	struct token t = sample(), back;
	char text[TOKEN_TEXT_SIZE];
	struct err e = { 0 };

	token_sign(k, &t, text);
	assert_int_equal(token_verify(again, str_of(text), 1999, &back, &e), 0);
	assert_memory_equal(&t, &back, sizeof(t));
	assert_int_equal(token_verify(again, str_of(text), 2000, &back, &e), -EACCES);
	assert_int_equal(e.fault, FAULT_UNAUTHENTICATED);
	token_keys_free(k);
	token_keys_free(again);
}

/* Each changed character, each cut and each longer text is refused. */
static void test_hostile(void **state)
{
	struct token_keys *k = open_at(0);
	struct token t = sample(), back;
	char text[TOKEN_TEXT_SIZE], bad[TOKEN_TEXT_SIZE + 8];
	struct err e = { 0 };
	size_t len;

	token_sign(k, &t, text);
	len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, text, len + 1);
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		assert_int_equal(token_verify(k, str_of(bad), 1500, &back, &e), -EACCES);
		bad[i] = '=';
		assert_int_equal(token_verify(k, str_of(bad), 1500, &back, &e), -EACCES);
		assert_int_equal(token_verify(k, (struct str){ text, i }, 1500, &back, &e), -EACCES);
	}
	snprintf(bad, sizeof(bad), "%sA", text);
	assert_int_equal(token_verify(k, str_of(bad), 1500, &back, &e), -EACCES);
	snprintf(bad, sizeof(bad), "%sAAAA", text);
	assert_int_equal(token_verify(k, str_of(bad), 1500, &back, &e), -EACCES);
	assert_int_equal(token_verify(k, STR(""), 1500, &back, &e), -EACCES);
	token_keys_free(k);
}

static void test_other_keys(void **state)
{
	struct token_keys *k = open_at(0), *other;
	struct token t = sample(), back;
	char text[TOKEN_TEXT_SIZE];
	struct err e = { 0 };

	token_sign(k, &t, text);
	assert_int_equal(unlink(path), 0);
	other = open_at(0);
	assert_int_equal(token_verify(other, str_of(text), 1500, &back, &e), -EACCES);
	token_keys_free(k);
	token_keys_free(other);
}

static void test_rotation(void **state)
{
	struct token_keys *k = open_at(0);
	struct token t = sample(), back;
	char text[TOKEN_TEXT_SIZE];
	struct err e = { 0 };

	token_sign(k, &t, text);
	token_keys_free(k);
	/* The first key signs for 90 days and verifies for two rotations more. */
	for (int i = 1; i <= 3; i++) {
		k = open_at(i * 91 * DAY_US);
		assert_int_equal(token_verify(k, str_of(text), 1500, &back, &e), i < 3 ? 0 : -EACCES);
		token_keys_free(k);
	}
}

static void test_file(void **state)
{
	struct token_keys *k = open_at(0);
	struct err e = { 0 };
	struct stat st;

	token_keys_free(k);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(token_keys_open(path, 0, &k, &e), -EIO);
	assert_non_null(strstr(e.msg, path));
	assert_int_equal(file_write_atomic(path, 0600, STR("1 0 abc\n"), &e), 0);
	assert_int_equal(token_keys_open(path, 0, &k, &e), -EIO);
	assert_non_null(strstr(e.msg, "damaged"));
	assert_int_equal(file_write_atomic(path, 0600, STR(""), &e), 0);
	assert_int_equal(token_keys_open(path, 0, &k, &e), -EIO);
}

static void test_passwords(void **state)
{
	char hash[PASSWORD_HASH_SIZE], other[PASSWORD_HASH_SIZE], text[PASSWORD_MAX_BYTES + 2];
	struct err e = { 0 };

	assert_int_equal(password_hash("correct", hash, &e), 0);
	assert_memory_equal(hash, "$y$j8T$", 7);
	assert_int_equal(password_hash("correct", other, &e), 0);
	assert_string_not_equal(hash, other);
	assert_int_equal(password_check("correct", hash, &e), 1);
	assert_int_equal(password_check("Correct", hash, &e), 0);
	assert_int_equal(password_check("", hash, &e), 0);
	assert_int_equal(password_check("correct", NULL, &e), 0);
	assert_int_equal(password_check("x", "not a hash", &e), 0);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(password_hash(text, hash, &e), -EINVAL);
	assert_int_equal(password_check(text, hash, &e), 0);
	text[PASSWORD_MAX_BYTES] = '\0';
	assert_int_equal(password_hash(text, hash, &e), 0);
	assert_int_equal(password_check(text, hash, &e), 1);
}

int main(void)
{
#define IN_DIR(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)
	const struct CMUnitTest tests[] = {
		IN_DIR(test_round_trip), IN_DIR(test_hostile), IN_DIR(test_other_keys),
		IN_DIR(test_rotation),	 IN_DIR(test_file),    cmocka_unit_test(test_passwords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
