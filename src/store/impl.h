/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_STORE_IMPL_H
#define DEMARC_STORE_IMPL_H

/* What the files of src/store share. Nobody else includes this, apart from the store's own tests. */

#include <pthread.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "store/db.h"

struct migration {
	int64_t version; /* from 1, no gap */
	const char *name;
	const char *sql;
};
extern const struct migration store_migrations[];
extern const size_t store_n_migrations;

/*
 * Group commit. A commit that is in the WAL gets a number; wal_sync_wait() returns when a flush that began after that
 * number was given has ended. The first waiter flushes for all who came before (leader), the rest wait for it.
 */
struct wal_sync {
	pthread_mutex_t lock;
	pthread_cond_t done;
	int fd; /* of the WAL, opened once: the file is never unlinked while the store is open */
	uint64_t committed; /* number of the newest commit in the WAL */
	uint64_t synced;    /* every commit up to here is on stable storage */
	uint64_t n_flushes; /* fdatasync calls so far */
	bool flushing;
	int error; /* sticky: after a failed flush nobody knows what the disk holds */
};

/* One writer at a time, first come first served. */
struct writer_queue {
	pthread_mutex_t lock;
	struct writer *first, *last;
	bool busy;
};

struct store {
	char *path;
	sqlite3 *keeper; /* open as long as the store: the WAL then stays. Used by store_open() alone. */
	struct wal_sync sync;
	struct writer_queue writers;
	uint64_t (*free_bytes)(void *ctx);
	void *free_bytes_ctx;
};

#define STORE_CACHED_STATEMENTS 128 /* per connection, least recently used goes first */

struct cached_stmt {
	sqlite3_stmt *stmt;
	uint64_t hash;	   /* of the text */
	uint64_t last_use; /* value of db.n_uses then */
	bool busy;	   /* a query runs on it */
};

struct db {
	struct store *store;
	sqlite3 *sql;
	bool in_tx, writes;
	bool failed; /* the engine rolled back: everything up to db_rollback() fails with tx_err */
	struct err tx_err;
	uint64_t n_uses;
	struct cached_stmt cache[STORE_CACHED_STATEMENTS];
	size_t n_cached;
};

struct db_rows {
	struct db *db;
	sqlite3_stmt *stmt;
	struct cached_stmt *slot; /* NULL: stmt is ours to finalize */
};

#define STORE_BUSY_TIMEOUT_MS 5000

void wal_sync_init(struct wal_sync *w);
void wal_sync_done(struct wal_sync *w);
/* Waits for the caller's transaction, which is in the WAL. One that changed nothing counts too: it may build on commits
 * not yet flushed, and flushing nothing is cheap. */
WARN_UNUSED int wal_sync_wait(struct wal_sync *w, struct err *e);
/* Fails early when an earlier flush failed. */
WARN_UNUSED int wal_sync_check(struct wal_sync *w, struct err *e);

void writer_queue_init(struct writer_queue *q);
void writer_queue_done(struct writer_queue *q);
WARN_UNUSED int writer_enter(struct writer_queue *q, struct err *e);
void writer_leave(struct writer_queue *q);

/* A configured connection. */
WARN_UNUSED int sql_open(const char *path, sqlite3 **ret, struct err *e);
/* Turns the state of the connection after `rc` into a fault. Statement text helps to name a table; may be NULL. */
WARN_UNUSED int sql_fail(sqlite3 *sql, int rc, const char *text, struct err *e);
WARN_UNUSED int store_migrate(sqlite3 *sql, const struct migration *rows, size_t n_rows, struct err *e);
WARN_UNUSED int store_check_space(struct store *s, struct err *e);
/* Runs inside a failed call: when the engine rolled back by itself, remembers why. */
void db_note_failure(struct db *db, const struct err *e);
int db_finish_stmt(struct db_rows *q);

#endif
