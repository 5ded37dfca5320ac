/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

/* Statements: cache, arguments, rows. */

#define DB_ARGS_MAX 128 /* '?' in one statement written with a format string */

/* FNV-1a, 64 bits: only picks a candidate, the text is compared as well. */
static uint64_t text_hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	return h;
}

static struct cached_stmt *cache_find(struct db *db, uint64_t hash, const char *text)
{
	for (size_t i = 0; i < db->n_cached; i++) {
		struct cached_stmt *c = &db->cache[i];
		if (!c->busy && c->hash == hash && strcmp(sqlite3_sql(c->stmt), text) == 0)
			return c;
	}
	return NULL;
}

/* A slot to fill: a new one, or the least recently used that no query holds. NULL when all are held. */
static struct cached_stmt *cache_slot(struct db *db)
{
	struct cached_stmt *oldest = NULL;

	if (db->n_cached < STORE_CACHED_STATEMENTS)
		return &db->cache[db->n_cached++];
	for (size_t i = 0; i < db->n_cached; i++) {
		struct cached_stmt *c = &db->cache[i];
		if (!c->busy && (!oldest || c->last_use < oldest->last_use))
			oldest = c;
	}
	if (oldest)
		sqlite3_finalize(oldest->stmt);
	return oldest;
}

static int prepare(struct db *db, const char *text, struct db_rows *q, struct err *e)
{
	uint64_t hash = text_hash(text);
	struct cached_stmt *slot = cache_find(db, hash, text);

	if (!slot) {
		sqlite3_stmt *stmt = NULL;
		const char *tail = NULL;
		int rc = sqlite3_prepare_v3(db->sql, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
		if (rc != SQLITE_OK)
			return sql_fail(db->sql, rc, text, e);
		if (!stmt || tail[strspn(tail, " ;\n\t")]) {
			sqlite3_finalize(stmt);
			return err_set(e, FAULT_INTERNAL, NULL,
				       "database: expected exactly one statement");
		}
		q->stmt = stmt;
		slot = cache_slot(db);
		if (!slot)
			return 0;
		*slot = (struct cached_stmt){ .stmt = stmt, .hash = hash };
	}
	slot->busy = true;
	slot->last_use = ++db->n_uses;
	q->slot = slot;
	q->stmt = slot->stmt;
	return 0;
}

int db_finish_stmt(struct db_rows *q)
{
	int rc = sqlite3_reset(q->stmt);

	sqlite3_clear_bindings(q->stmt);
	if (q->slot)
		q->slot->busy = false;
	else
		sqlite3_finalize(q->stmt);
	q->stmt = NULL;
	return rc;
}

static int bind_json(sqlite3_stmt *stmt, int at, const json_t *j)
{
	if (!j)
		return sqlite3_bind_null(stmt, at);
	char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? sqlite3_bind_text(stmt, at, text, -1, free) : SQLITE_NOMEM;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct db_arg *a)
{
	switch (a->kind) {
	case DB_ARG_NULL:
		return sqlite3_bind_null(stmt, at);
	case DB_ARG_INT:
		return sqlite3_bind_int64(stmt, at, a->i);
	case DB_ARG_REAL:
		return sqlite3_bind_double(stmt, at, a->r);
	case DB_ARG_TEXT:
		return sqlite3_bind_text(stmt, at, a->s, -1, SQLITE_TRANSIENT);
	case DB_ARG_JSON:
		return bind_json(stmt, at, a->j);
	case DB_ARG_BLOB:
		/* A NULL pointer of size 0 is an empty blob, not NULL. */
		return sqlite3_bind_blob64(stmt, at, a->p ? a->p : "", a->size, SQLITE_TRANSIENT);
	}
	return SQLITE_MISUSE;
}

/* Writes need a write transaction: a read transaction cannot be turned into one without losing its place in the queue. */
static int check_mode(struct db *db, const struct db_rows *q, struct err *e)
{
	if (db->failed) {
		if (e)
			*e = db->tx_err;
		return -db->tx_err.num;
	}
	if (!db->writes && !sqlite3_stmt_readonly(q->stmt))
		return err_set(e, FAULT_INTERNAL, NULL, "database: write outside a write transaction");
	return 0;
}

static int start(struct db *db, const char *text, const struct db_arg *args, size_t n_args,
		 struct db_rows *q, struct err *e)
{
	*q = (struct db_rows){ .db = db };
	int rc = prepare(db, text, q, e);
	if (rc < 0)
		return rc;
	rc = check_mode(db, q, e);
	if (rc == 0 && (size_t)sqlite3_bind_parameter_count(q->stmt) != n_args)
		rc = err_set(e, FAULT_INTERNAL, NULL, "database: %d arguments expected, %zu given",
			     sqlite3_bind_parameter_count(q->stmt), n_args);
	for (size_t i = 0; rc == 0 && i < n_args; i++) {
		int bound = bind_one(q->stmt, (int)i + 1, &args[i]);
		if (bound != SQLITE_OK)
			rc = sql_fail(db->sql, bound, text, e);
	}
	if (rc < 0)
		(void)db_finish_stmt(q);
	return rc;
}

static int step(struct db_rows *q, struct err *e)
{
	struct err local;
	int rc = sqlite3_step(q->stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	rc = sql_fail(q->db->sql, rc, sqlite3_sql(q->stmt), e ? e : &local);
	db_note_failure(q->db, e ? e : &local);
	return rc;
}

/* Format letters to arguments; the caller checks the count against the statement. */
static size_t args_read(struct db_arg *args, const char *fmt, va_list ap)
{
	size_t n = 0;

	for (; *fmt; fmt++) {
		struct db_arg *a = &args[n++];
		assert(n <= DB_ARGS_MAX);
		*a = (struct db_arg){ .kind = DB_ARG_NULL };
		switch (*fmt) {
		case 's':
			a->s = va_arg(ap, const char *);
			a->kind = a->s ? DB_ARG_TEXT : DB_ARG_NULL;
			break;
		case 'i':
			a->i = va_arg(ap, int64_t);
			a->kind = DB_ARG_INT;
			break;
		case 'b':
			a->i = va_arg(ap, int) != 0;
			a->kind = DB_ARG_INT;
			break;
		case 'j':
			a->j = va_arg(ap, const json_t *);
			a->kind = DB_ARG_JSON;
			break;
		case 'v':
			a->p = va_arg(ap, const void *);
			a->size = va_arg(ap, size_t);
			a->kind = DB_ARG_BLOB;
			break;
		case 'r':
			a->r = va_arg(ap, double);
			a->kind = DB_ARG_REAL;
			break;
		case 'n':
			break;
		default:
			assert(!"unknown letter in a statement's format");
		}
	}
	return n;
}

/* Runs to the end on an open transaction, or on a read statement without one. */
static int exec_here(struct db *db, struct err *e, const char *sql, const struct db_arg *args,
		     size_t n_args)
{
	struct db_rows q;
	int rc = start(db, sql, args, n_args, &q, e);

	if (rc < 0)
		return rc;
	int before = sqlite3_total_changes(db->sql);
	while ((rc = step(&q, e)) == 1)
		;
	/* sqlite3_changes() keeps the count of an earlier statement when this one is no INSERT, UPDATE or DELETE. */
	int changed = sqlite3_total_changes(db->sql) != before ? sqlite3_changes(db->sql) : 0;
	(void)db_finish_stmt(&q);
	return rc < 0 ? rc : changed;
}

int db_execv(struct db *db, struct err *e, const char *sql, const struct db_arg *args, size_t n_args)
{
	if (db->in_tx)
		return exec_here(db, e, sql, args, n_args);
	int rc = db_begin(db, DB_WRITE, e);
	if (rc < 0)
		return rc;
	int changed = exec_here(db, e, sql, args, n_args);
	if (changed < 0) {
		db_rollback(db);
		return changed;
	}
	rc = db_commit(db, e);
	return rc < 0 ? rc : changed;
}

int db_exec(struct db *db, struct err *e, const char *sql, const char *fmt, ...)
{
	struct db_arg args[DB_ARGS_MAX];
	va_list ap;

	va_start(ap, fmt);
	size_t n = args_read(args, fmt, ap);
	va_end(ap);
	return db_execv(db, e, sql, args, n);
}

int db_queryv(struct db *db, struct db_rows **ret, struct err *e, const char *sql,
	      const struct db_arg *args, size_t n_args)
{
	struct db_rows *q = malloc(sizeof(*q));

	if (!q)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	int rc = start(db, sql, args, n_args, q, e);
	if (rc < 0) {
		free(q);
		return rc;
	}
	*ret = q;
	return 0;
}

int db_query(struct db *db, struct db_rows **ret, struct err *e, const char *sql, const char *fmt, ...)
{
	struct db_arg args[DB_ARGS_MAX];
	va_list ap;

	va_start(ap, fmt);
	size_t n = args_read(args, fmt, ap);
	va_end(ap);
	return db_queryv(db, ret, e, sql, args, n);
}

int db_step(struct db_rows *q, struct err *e)
{
	return step(q, e);
}

void db_done(struct db_rows *q)
{
	if (!q)
		return;
	(void)db_finish_stmt(q);
	free(q);
}

void db_donep(struct db_rows **q)
{
	db_done(*q);
}

bool db_is_null(struct db_rows *q, int col)
{
	return sqlite3_column_type(q->stmt, col) == SQLITE_NULL;
}

int64_t db_int(struct db_rows *q, int col)
{
	return sqlite3_column_int64(q->stmt, col);
}

double db_real(struct db_rows *q, int col)
{
	return sqlite3_column_double(q->stmt, col);
}

const char *db_text(struct db_rows *q, int col)
{
	return (const char *)sqlite3_column_text(q->stmt, col);
}

const void *db_blob(struct db_rows *q, int col, size_t *ret_size)
{
	const void *p = sqlite3_column_blob(q->stmt, col);

	*ret_size = (size_t)sqlite3_column_bytes(q->stmt, col);
	return p;
}

json_t *db_json(struct db_rows *q, int col)
{
	const char *text = db_text(q, col);

	return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

int db_get_int(struct db *db, int64_t *ret, struct err *e, const char *sql, const char *fmt, ...)
{
	struct db_arg args[DB_ARGS_MAX];
	struct db_rows q;
	va_list ap;

	va_start(ap, fmt);
	size_t n = args_read(args, fmt, ap);
	va_end(ap);
	int rc = start(db, sql, args, n, &q, e);
	if (rc < 0)
		return rc;
	rc = step(&q, e);
	if (rc == 1)
		*ret = sqlite3_column_int64(q.stmt, 0);
	(void)db_finish_stmt(&q);
	return rc;
}

int db_get_text(struct db *db, struct arena *a, const char **ret, struct err *e, const char *sql,
		const char *fmt, ...)
{
	struct db_arg args[DB_ARGS_MAX];
	struct db_rows q;
	va_list ap;

	va_start(ap, fmt);
	size_t n = args_read(args, fmt, ap);
	va_end(ap);
	int rc = start(db, sql, args, n, &q, e);
	if (rc < 0)
		return rc;
	rc = step(&q, e);
	if (rc == 1) {
		const char *text = (const char *)sqlite3_column_text(q.stmt, 0);
		*ret = arena_strdup(a, text);
		if (text && !*ret)
			rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	}
	(void)db_finish_stmt(&q);
	return rc;
}
