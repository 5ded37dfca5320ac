/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/keypair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Made by ssh-keygen(1) for this test; the private half is gone. Its fingerprint is ssh-keygen -E md5 -l's. */
#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIGk5G26/rPpSrOG1FqcrBKFsgYEttbFyQVfYv8hwPSXK"
#define FINGERPRINT "5c:e9:6b:92:3a:10:ed:1d:24:e3:ca:66:55:26:77:9d"

static void fingerprint_is_md5_of_the_blob(void **state)
{
	char fp[KEYPAIR_FINGERPRINT_SIZE];
	struct err e;

	assert_int_equal(keypair_fingerprint("ssh-ed25519 " KEY " test@example", fp, &e), 0);
	assert_string_equal(fp, FINGERPRINT);
	assert_int_equal(keypair_fingerprint("ssh-ed25519 " KEY "\n", fp, &e), 0);
}

static void garbage_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"ssh-ed25519",
		"ssh-ed25519 ",
		"ssh-ed25519 !!!!",
		"ssh-ed25519 AAAA",
		"ssh-rsa " KEY, /* another type than the blob's */
		"ssh-ed25519 " KEY "\nssh-ed25519 " KEY,
	};
	char fp[KEYPAIR_FINGERPRINT_SIZE];
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(keypair_fingerprint(bad[i], fp, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "Keypair data is invalid"));
	}
}

static void made_keys_have_both_halves(void **state)
{
	CLEANUP(free_charp) char *private_key = NULL;
	CLEANUP(free_charp) char *public_key = NULL;
	char fp[KEYPAIR_FINGERPRINT_SIZE];
	struct err e;

	assert_int_equal(keypair_generate(&private_key, &public_key, &e), 0);
	assert_non_null(strstr(private_key, "-----BEGIN RSA PRIVATE KEY-----"));
	assert_int_equal(keypair_fingerprint(public_key, fp, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fingerprint_is_md5_of_the_blob),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(made_keys_have_both_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
