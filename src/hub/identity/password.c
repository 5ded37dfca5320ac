/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/password.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/types.h"

/* "$y$j8T$": yescrypt with N = 2^11, r = 32: 2 MiB and about 7 ms on the kind of machine a hub runs on, so that one core
 * checks over 100 passwords a second. Debian's own default, j9T, takes twice that. */
#define COST 4
/* Of no user: what a check against an unknown user name runs, so that it takes as long as any other. */
static const char nobody[] = "$y$j8T$k2XAnEHBqQ1Ct2aMXFKNa/$sMbf1/Vfi1N93ZRNXDyqNwy66FbiMtnn0fjuIsYGqwA";

static sem_t running; /* a storm of logins must leave processors to the rest */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	sem_init(&running, 0, n > 1 ? (unsigned)n : 1);
}

bool password_enter(unsigned max_wait_ms)
{
	struct timespec until;
	int rc;

	pthread_once(&once, start);
	clock_gettime(CLOCK_REALTIME, &until); /* what sem_timedwait(3) counts in */
	until.tv_nsec += (long)max_wait_ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while ((rc = sem_timedwait(&running, &until)) < 0 && errno == EINTR)
		;
	return rc == 0;
}

void password_leave(void)
{
	sem_post(&running);
}

static int run_crypt(const char *password, const char *setting, char ret[static PASSWORD_HASH_SIZE],
		     struct err *e)
{
	struct crypt_data *d;
	const char *hash;

	_Static_assert(PASSWORD_HASH_SIZE >= CRYPT_OUTPUT_SIZE, "hash buffer");
	if (strlen(password) > PASSWORD_MAX_BYTES)
		return err_set(e, FAULT_BAD_REQUEST, "password",
			       "The password is longer than %d bytes.", PASSWORD_MAX_BYTES);
	d = calloc(1, sizeof(*d)); /* 32 KiB: too much for a worker's stack */
	if (!d)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a password hash");
	hash = crypt_rn(password, setting, d, sizeof(*d));
	if (hash)
		str_copy(ret, PASSWORD_HASH_SIZE, str_of(hash));
	OPENSSL_cleanse(d, sizeof(*d));
	free(d);
	return hash ? 0 : err_set(e, FAULT_INTERNAL, NULL, "the system's crypt(3) refuses yescrypt");
}

int password_hash(const char *password, char ret[static PASSWORD_HASH_SIZE], struct err *e)
{
	char salt[16], setting[CRYPT_GENSALT_OUTPUT_SIZE];

	random_bytes(salt, sizeof(salt));
	if (!crypt_gensalt_rn("$y$", COST, salt, sizeof(salt), setting, sizeof(setting)))
		return err_set(e, FAULT_INTERNAL, NULL, "the system's crypt(3) has no yescrypt");
	return run_crypt(password, setting, ret, e);
}

int password_check(const char *password, const char *hash, struct err *e)
{
	const char *setting = hash && *hash == '$' ? hash : nobody;
	char out[PASSWORD_HASH_SIZE] = "";
	bool same;
	int rc;

	/* A password that could never have been set fits nobody. */
	if (strlen(password) > PASSWORD_MAX_BYTES)
		return 0;
	rc = run_crypt(password, setting, out, e);
	if (rc < 0)
		return rc;
	same = strlen(out) == strlen(setting) && CRYPTO_memcmp(out, setting, strlen(out)) == 0;
	return same && setting == hash;
}
