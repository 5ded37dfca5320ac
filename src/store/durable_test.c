/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

/* Many threads on one store: fairness, shared flushes, and what a killed process leaves behind. */

#define N_THREADS 4

static char folder[64], path[96];

static int setup(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/demarc-durable-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/hub.db", folder);
	return 0;
}

static int teardown(void **state)
{
	struct err e;

	return tree_remove(folder, &e);
}

static void make_table(struct store *s)
{
	struct err e;
	struct db *db = NULL;

	assert_int_equal(db_open(s, &db, &e), 0);
	assert_true(db_exec(db, &e,
			    "CREATE TABLE IF NOT EXISTS tt (id INTEGER PRIMARY KEY, pad TEXT) STRICT",
			    "") >= 0);
	db_close(db);
}

struct work {
	struct store *store;
	int64_t first;	/* ids first, first + N_THREADS, ... */
	int64_t n_rows; /* 0: until killed */
	int ack_fd;	/* 8 bytes per acknowledged row; -1: none */
	int64_t n_done;
};

static int insert_one(struct db *db, int64_t id, struct err *e)
{
	int rc = db_begin(db, DB_WRITE, e);

	if (rc == 0)
		rc = db_exec(db, e, "INSERT INTO tt VALUES (?, hex(zeroblob(400)))", "i", id);
	if (rc < 0) {
		db_rollback(db);
		return rc;
	}
	return db_commit(db, e);
}

static void *writer_thread(void *arg)
{
	struct work *w = arg;
	struct err e;
	struct db *db = NULL;

	if (db_open(w->store, &db, &e) < 0)
		return NULL;
	for (int64_t i = 0; !w->n_rows || i < w->n_rows; i++) {
		int64_t id = w->first + i * N_THREADS;
		if (insert_one(db, id, &e) < 0)
			break;
		w->n_done++;
		if (w->ack_fd >= 0 && write(w->ack_fd, &id, sizeof(id)) != sizeof(id))
			break;
	}
	db_close(db);
	return NULL;
}

static void run_writers(struct store *s, struct work *works, int64_t n_rows, int ack_fd)
{
	pthread_t threads[N_THREADS];

	for (int i = 0; i < N_THREADS; i++) {
		works[i] = (struct work){ .store = s, .first = i, .n_rows = n_rows, .ack_fd = ack_fd };
		if (pthread_create(&threads[i], NULL, writer_thread, &works[i]) != 0)
			abort();
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void concurrent_writers_all_succeed(void **state)
{
	struct err e;
	struct store *s = NULL;
	struct work works[N_THREADS];

	assert_int_equal(store_open(path, &s, &e), 0);
	make_table(s);
	run_writers(s, works, 50, -1);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(works[i].n_done, 50);
	assert_int_equal(s->sync.synced, s->sync.committed);
	assert_true(s->sync.n_flushes <= s->sync.committed);
	assert_int_equal(s->sync.committed, N_THREADS * 50 + 1);
	store_close(s);
}

static void failed_flush_stops_writes(void **state)
{
	struct err e;
	struct store *s = NULL;
	struct db *db = NULL;
	int64_t n = -1;

	assert_int_equal(store_open(path, &s, &e), 0);
	make_table(s);
	assert_int_equal(db_open(s, &db, &e), 0);
	int real = MOVE_FD(s->sync.fd);
	assert_int_equal(insert_one(db, 1, &e), -EIO);
	s->sync.fd = MOVE_FD(real);
	/* The descriptor works again, but what the disk holds is unknown: no further acknowledgement. */
	assert_int_equal(insert_one(db, 2, &e), -EIO);
	assert_int_equal(db_get_int(db, &n, &e, "SELECT count(*) FROM tt", ""), 1);
	db_close(db);
	store_close(s);
}

static void new_files_are_private(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct err e;
	struct store *s = NULL;

	assert_int_equal(store_open(path, &s, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		char name[128];
		struct stat st;
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		assert_int_equal(stat(name, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	store_close(s);
}

static void child_writes_until_killed(int ack_fd)
{
	struct err e;
	struct store *s = NULL;
	struct work works[N_THREADS];

	if (store_open(path, &s, &e) < 0)
		_exit(1);
	run_writers(s, works, 0, ack_fd);
	_exit(2);
}

static int64_t check_acknowledged(const bool *acked, size_t n)
{
	struct err e;
	struct store *s = NULL;
	struct db *db = NULL;
	int64_t n_checked = 0, found = 0;

	assert_int_equal(store_open(path, &s, &e), 0);
	assert_int_equal(db_open(s, &db, &e), 0);
	for (size_t id = 0; id < n; id++) {
		if (!acked[id])
			continue;
		n_checked++;
		assert_int_equal(db_get_int(db, &found, &e, "SELECT 1 FROM tt WHERE id = ?", "i",
					    (int64_t)id),
				 1);
	}
	CLEANUP(arena_freep) struct arena *a = arena_new(4096);
	const char *verdict = NULL;
	assert_int_equal(db_get_text(db, a, &verdict, &e, "PRAGMA integrity_check", ""), 1);
	assert_string_equal(verdict, "ok");
	assert_true(db_exec(db, &e, "DELETE FROM tt", "") >= n_checked);
	db_close(db);
	store_close(s);
	return n_checked;
}

#define MAX_ACKS 4096

static void killed_process_loses_no_acknowledged_row(void **state)
{
	struct err e;
	struct store *s = NULL;

	assert_int_equal(store_open(path, &s, &e), 0);
	make_table(s);
	store_close(s);
	for (int64_t round = 0; round < 5; round++) {
		static bool acked[MAX_ACKS];
		int fds[2];
		memset(acked, 0, sizeof(acked));
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child_writes_until_killed(fds[1]);
		close(fds[1]);
		int64_t id, n_acks = 0, kill_at = 20 + 37 * round;
		while (read(fds[0], &id, sizeof(id)) == sizeof(id)) {
			if (id < MAX_ACKS)
				acked[id] = true;
			if (++n_acks == kill_at)
				kill(pid, SIGKILL);
		}
		close(fds[0]);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(check_acknowledged(acked, MAX_ACKS) >= kill_at);
	}
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(concurrent_writers_all_succeed),
		CASE(failed_flush_stops_writes),
		CASE(new_files_are_private),
		CASE(killed_process_loses_no_acknowledged_row),
	};

	return cmocka_run_group_tests_name("store-durable", tests, NULL, NULL);
}
