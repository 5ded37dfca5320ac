/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_STORE_DB_H
#define DEMARC_STORE_DB_H

/*
 * The store: SQL behind a small surface, SQLite first. `struct store` is the database; `struct db` is one connection,
 * used by one thread. Statements are prepared once per connection and cached by their text (pass literals or stable strings).
 *
 * Durability: db_commit() returns only after the commit is on stable storage: the connections commit into the WAL
 * (synchronous=NORMAL) and then wait for one shared fdatasync of the WAL that covers them (group commit), so that many small
 * writers share one disk flush. A request that was answered 2xx therefore survives kill -9 and power loss.
 * Faults: NO_SPACE (disk full, SQLITE_FULL, or the free-space reserve is reached), CONFLICT (UNIQUE or FOREIGN KEY: field names the
 * columns), UNAVAILABLE (busy past 5 s), INTERNAL.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct store;
struct db;

/* Opens or creates `path`, applies missing migrations in one transaction each, verifies the schema version (a newer one than
 * this program knows is refused). */
WARN_UNUSED int store_open(const char *path, struct store **ret, struct err *e);
void store_close(struct store *s); /* after every db_close(); takes NULL */
/* For tests of a full disk: free_bytes(ctx) is asked instead of the file system; NULL restores it. Before threads start. */
void store_set_space_probe(struct store *s, uint64_t (*free_bytes)(void *ctx), void *ctx);

WARN_UNUSED int db_open(struct store *s, struct db **ret, struct err *e);
void db_close(struct db *db);
/* Pages that the connection keeps in memory, at most; of a new one 512 KiB. Not in a transaction. */
void db_set_cache(struct db *db, unsigned kib);
void db_closep(struct db **db);

/* DB_WRITE_ANYWAY: the free-space reserve is for this; only the engine's own word that the disk is full refuses it. */
enum db_mode { DB_READ, DB_WRITE, DB_WRITE_ANYWAY };
WARN_UNUSED int db_begin(struct db *db, enum db_mode mode, struct err *e); /* DEFERRED or IMMEDIATE */
WARN_UNUSED int db_commit(struct db *db, struct err *e); /* durable when it returns 0 (see above) */
void db_rollback(struct db *db);			 /* no-op outside a transaction */
bool db_in_tx(const struct db *db);

/*
 * Statement arguments follow a format string, one letter per '?':
 *   s  const char * (NULL binds NULL)      i  int64_t          b  int (bool, 0 or 1)
 *   j  const json_t * as compact text (NULL binds NULL)         v  const void *, size_t (blob)
 *   r  double                               n  binds NULL, takes no argument
 */
/* Runs to the end, ignores rows. Returns the number of changed rows. */
WARN_UNUSED int db_exec(struct db *db, struct err *e, const char *sql, const char *fmt, ...);

/* A running query: for (rc = db_query(...); (rc = db_step(q, e)) == 1;) ...; db_done(q). */
struct db_rows;
WARN_UNUSED int db_query(struct db *db, struct db_rows **ret, struct err *e, const char *sql,
			 const char *fmt, ...);
WARN_UNUSED int db_step(struct db_rows *q, struct err *e); /* 1 a row, 0 the end, < 0 */
void db_done(struct db_rows *q);			   /* takes NULL */
void db_donep(struct db_rows **q);
/* Columns from 0; borrowed until the next step. */
bool db_is_null(struct db_rows *q, int col);
int64_t db_int(struct db_rows *q, int col);
double db_real(struct db_rows *q, int col);
const char *db_text(struct db_rows *q, int col); /* NULL for NULL */
const void *db_blob(struct db_rows *q, int col, size_t *ret_size);
json_t *db_json(struct db_rows *q, int col); /* parsed; new reference; NULL for NULL or bad text */

/* One value, or "not there": returns 1 or 0. Text goes to the arena. */
WARN_UNUSED int db_get_int(struct db *db, int64_t *ret, struct err *e, const char *sql,
			   const char *fmt, ...);
WARN_UNUSED int db_get_text(struct db *db, struct arena *a, const char **ret, struct err *e,
			    const char *sql, const char *fmt, ...);

/* For statements whose arguments are only known at run time (the generic handlers). */
enum db_arg_kind { DB_ARG_NULL, DB_ARG_INT, DB_ARG_REAL, DB_ARG_TEXT, DB_ARG_JSON, DB_ARG_BLOB };
struct db_arg {
	enum db_arg_kind kind;
	int64_t i;
	double r;
	const char *s;
	const json_t *j;
	const void *p;
	size_t size;
};
WARN_UNUSED int db_execv(struct db *db, struct err *e, const char *sql, const struct db_arg *args,
			 size_t n_args);
WARN_UNUSED int db_queryv(struct db *db, struct db_rows **ret, struct err *e, const char *sql,
			  const struct db_arg *args, size_t n_args);

#endif
