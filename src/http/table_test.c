/* SPDX-License-Identifier: Apache-2.0 */
#include "http/table.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "http/test_client.h"

/* Fronts with a descriptor table each, and where the kernel refuses that: who is full says so, and its clients find another front. */

#define ROOM 3u /* connections of a table */
#define FRONTS 3u
#define TRIES 400u /* the kernel spreads connections by a hash of their ports */

static char file[128];

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned n_blocked;
	bool open;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false };

static void handle(void *ctx, unsigned worker, struct http_request *r, struct http_reply *reply)
{
	reply->status = 200;
	if (str_eq_c(r->path, "/file")) {
		reply->body_fd = open(file, O_RDONLY | O_CLOEXEC);
		reply->body_fd_size = 5;
		return;
	}
	pthread_mutex_lock(&gate.lock);
	gate.n_blocked++;
	pthread_cond_broadcast(&gate.changed);
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	reply->body = STR("{}");
}

static struct test_server server;

static void start(void)
{
	const struct http_config c = { .listen_addr = "127.0.0.1",
				       .cert_file = test_pki.cert,
				       .key_file = test_pki.key,
				       .n_fronts = FRONTS,
				       .n_conns = ROOM,
				       .n_workers = FRONTS * ROOM + 1,
				       .handle = handle };

	gate.n_blocked = 0;
	gate.open = false;
	test_server_start(&server, &c);
}

static void dial(struct test_client *c)
{
	assert_true(test_client_open(c, http_server_port(server.server), NULL, NULL, NULL));
}

/* Within a millisecond. Readable is not enough: a ticket may be. */
static bool has_answer(struct test_client *c)
{
	struct timeval soon = { .tv_usec = 1000 }, late = { .tv_sec = TEST_WAIT_S };
	char byte;
	int n;

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	n = SSL_peek(c->ssl, &byte, 1);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &late, sizeof(late));
	return n > 0;
}

/* A connection that stays, with a request that is worked on; or it is told to come back, and goes. */
static bool stay(struct test_client *c)
{
	unsigned before = gate.n_blocked;
	struct test_reply r;
	bool works = false;

	dial(c);
	test_client_say(c, "GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
	for (int i = 0; i < TEST_WAIT_S * 1000 && !works && !has_answer(c); i++) {
		pthread_mutex_lock(&gate.lock);
		works = gate.n_blocked > before;
		pthread_mutex_unlock(&gate.lock);
	}
	if (works)
		return true;
	assert_true(test_client_reply(c, &r, true));
	assert_int_equal(r.status, 503);
	assert_non_null(strstr(r.head, "\r\nRetry-After: "));
	test_reply_done(&r);
	test_client_close(c);
	return false;
}

/* How many find a place, each of them after as many tries as it takes. */
static unsigned fill(struct test_client *many, unsigned most)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TRIES && n < most; i++)
		n += stay(&many[n]);
	return n;
}

static void empty(struct test_client *many, unsigned n)
{
	struct test_reply r;

	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	for (unsigned i = 0; i < n; i++) {
		assert_true(test_client_reply(&many[i], &r, true));
		assert_int_equal(r.status, 200);
		test_reply_done(&r);
		test_client_close(&many[i]);
	}
}

/* A front cannot give a client to another one: it says so, and the client's next port is another front's. */
static void clients_of_a_full_front_find_the_others(void **state)
{
	struct test_client many[FRONTS * ROOM], beyond;

	start();
	assert_int_equal(fill(many, FRONTS * ROOM), FRONTS * ROOM);
	for (unsigned i = 0; i < 10; i++) /* now all are full */
		assert_false(stay(&beyond));
	empty(many, FRONTS * ROOM);
	test_server_stop(&server);
}

/* From now on, for the rest of this process. */
static void forbid_unshare(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	assert_non_null(filter);
	assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0), 0);
	assert_int_equal(seccomp_load(filter), 0);
	seccomp_release(filter);
	assert_int_equal(unshare(CLONE_FILES), -1);
	assert_int_equal(errno, EPERM);
}

/* As in a container whose filter forbids it: all fronts work, and together have the room of one table. */
static void fronts_that_get_no_table_share_one(void **state)
{
	struct test_client many[FRONTS * ROOM], c;
	int keep[] = { STDERR_FILENO };
	struct test_reply r;

	forbid_unshare();
	assert_int_equal(table_take_own(keep, 1), -EPERM);
	start();
	for (unsigned i = 0; i < 4 * FRONTS; i++) { /* files, whose way is another one then, at every front */
		dial(&c);
		test_client_say(&c, "GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_true(test_client_reply(&c, &r, true));
		assert_int_equal(r.status, 200);
		assert_int_equal(r.body_size, 5);
		assert_memory_equal(r.body, "bytes", 5);
		test_reply_done(&r);
		test_client_close(&c);
	}
	assert_int_equal(fill(many, FRONTS * ROOM), ROOM);
	empty(many, ROOM);
	test_server_stop(&server);
}

static int make(void **state)
{
	struct err e;

	assert_int_equal(test_pki_make(state), 0);
	(void)snprintf(file, sizeof(file), "%s/file", test_pki.folder);
	return file_write_atomic(file, 0600, STR("bytes"), &e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_of_a_full_front_find_the_others),
		cmocka_unit_test(fronts_that_get_no_table_share_one), /* the last: its filter stays */
	};

	return cmocka_run_group_tests_name("http-table", tests, make, test_pki_remove);
}
