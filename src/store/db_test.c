/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"

struct fixture {
	char folder[64], path[96];
	struct store *store;
	struct db *db;
	uint64_t free_bytes;
};

static uint64_t fake_free(void *ctx)
{
	return ((struct fixture *)ctx)->free_bytes;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;

	snprintf(f->folder, sizeof(f->folder), "/tmp/demarc-db-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/hub.db", f->folder);
	f->free_bytes = 1ULL << 30;
	assert_int_equal(store_open(f->path, &f->store, &e), 0);
	store_set_space_probe(f->store, fake_free, f);
	assert_int_equal(db_open(f->store, &f->db, &e), 0);
	assert_int_equal(db_exec(f->db, &e,
				 "CREATE TABLE tt (id TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0), r REAL, j TEXT, v BLOB, "
				 "parent TEXT REFERENCES tt (id), UNIQUE (n, r)) STRICT",
				 ""),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;

	db_close(f->db);
	store_close(f->store);
	int rc = tree_remove(f->folder, &e);
	free(f);
	return rc;
}

static int64_t count(struct db *db)
{
	int64_t n = -1;
	struct err e;

	assert_int_equal(db_get_int(db, &n, &e, "SELECT count(*) FROM tt", ""), 1);
	return n;
}

static void arguments_come_back(void **state)
{
	struct fixture *f = *state;
	struct err e;
	CLEANUP(json_freep) json_t *j = json_pack("{s:[i,b]}", "list", 1, 1);

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt VALUES (?,?,?,?,?,?)", "sirjvn", "a\"b",
				 INT64_MAX, 1.5, j, (const void *)"\0\1", (size_t)2),
			 1);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt VALUES (?,?,?,?,?,?)", "sbnjvs", "b", 7,
				 NULL, NULL, (size_t)0, (const char *)NULL),
			 1);
	CLEANUP(db_donep) struct db_rows *q = NULL;
	assert_int_equal(
		db_query(f->db, &q, &e, "SELECT id, n, r, j, v, parent FROM tt ORDER BY id", ""), 0);
	assert_int_equal(db_step(q, &e), 1);
	assert_string_equal(db_text(q, 0), "a\"b");
	assert_int_equal(db_int(q, 1), INT64_MAX);
	assert_float_equal(db_real(q, 2), 1.5, 0);
	CLEANUP(json_freep) json_t *back = db_json(q, 3);
	assert_true(json_equal(back, j));
	size_t size = 0;
	const void *blob = db_blob(q, 4, &size);
	assert_int_equal(size, 2);
	assert_memory_equal(blob, "\0\1", 2);
	assert_true(db_is_null(q, 5));
	assert_int_equal(db_step(q, &e), 1);
	assert_int_equal(db_int(q, 1), 1);
	assert_null(db_json(q, 3));
	assert_false(db_is_null(q, 4));
	assert_null(db_text(q, 5));
	assert_int_equal(db_step(q, &e), 0);
}

static void get_reports_absence(void **state)
{
	struct fixture *f = *state;
	struct err e;
	const char *text = "kept";
	int64_t n = 5;
	CLEANUP(arena_freep) struct arena *a = arena_new(4096);

	assert_int_equal(db_get_text(f->db, a, &text, &e, "SELECT id FROM tt WHERE id = ?", "s", "x"),
			 0);
	assert_string_equal(text, "kept");
	assert_int_equal(db_get_int(f->db, &n, &e, "SELECT n FROM tt", ""), 0);
	assert_int_equal(n, 5);
	assert_int_equal(db_get_text(f->db, a, &text, &e, "SELECT 'x' || ?", "s", "y"), 1);
	assert_string_equal(text, "xy");
}

static void argument_count_is_checked(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_exec(f->db, &e, "DELETE FROM tt WHERE id = ?", ""), -EIO);
	assert_int_equal(db_exec(f->db, &e, "DELETE FROM tt; DELETE FROM tt", ""), -EIO);
	assert_int_equal(db_exec(f->db, &e, "DELETE FROM absent", ""), -EIO);
	assert_false(db_in_tx(f->db));
}

static void rollback_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_true(db_in_tx(f->db));
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('a', 1), ('b', 2)", ""), 2);
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), -EIO);
	db_rollback(f->db);
	db_rollback(f->db);
	assert_false(db_in_tx(f->db));
	assert_int_equal(count(f->db), 0);
}

static void read_transaction_refuses_writes(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_begin(f->db, DB_READ, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('a', 1)", ""), -EIO);
	assert_int_equal(db_commit(f->db, &e), 0);
	assert_int_equal(db_commit(f->db, &e), -EIO);
	assert_int_equal(count(f->db), 0);
}

static void conflicts_name_the_columns(void **state)
{
	static const struct {
		const char *sql, *field;
	} rows[] = {
		{ "INSERT INTO tt (id, n) VALUES ('a', 2)", "tt.id" },
		{ "INSERT INTO tt (id, n, r) VALUES ('b', 1, 1.0)", "tt.n, tt.r" },
		{ "INSERT INTO tt (id, n) VALUES ('b', -1)", "n >= 0" },
		{ "INSERT INTO tt (id) VALUES ('b')", "tt.n" },
		{ "INSERT INTO tt (id, n, parent) VALUES ('b', 3, 'x')", "tt" },
		{ "DELETE FROM tt WHERE id = 'a'", "tt" },
	};
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n, r) VALUES ('a', 1, 1.0)", ""), 1);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n, parent) VALUES ('c', 9, 'a')", ""),
			 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(db_exec(f->db, &e, rows[i].sql, ""), -EEXIST);
		assert_int_equal(e.fault, FAULT_CONFLICT);
		assert_string_equal(e.field, rows[i].field);
	}
	/* In a transaction the statement alone is undone: the caller may go on. */
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('d', 4)", ""), 1);
	assert_int_equal(db_exec(f->db, &e, rows[0].sql, ""), -EEXIST);
	assert_int_equal(db_commit(f->db, &e), 0);
	assert_int_equal(count(f->db), 3);
}

static void reserve_refuses_writes_only(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('a', 1)", ""), 1);
	f->free_bytes = (16 << 20) - 1;
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), -ENOSPC);
	assert_int_equal(db_exec(f->db, &e, "DELETE FROM tt", ""), -ENOSPC);
	assert_int_equal(e.fault, FAULT_NO_SPACE);
	assert_int_equal(count(f->db), 1);
	assert_int_equal(db_begin(f->db, DB_WRITE_ANYWAY, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('b', 2)", ""), 1);
	assert_int_equal(db_commit(f->db, &e), 0);
	assert_int_equal(count(f->db), 2);
	f->free_bytes = 16 << 20;
	assert_int_equal(db_exec(f->db, &e, "DELETE FROM tt", ""), 2);
}

/* A database that cannot grow fails like a full disk: the engine may roll back by itself. */
static void full_database_rolls_back(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int rc = 0;
	int64_t pages = 0;

	assert_int_equal(db_get_int(f->db, &pages, &e, "PRAGMA page_count", ""), 1);
	char limit[64];
	snprintf(limit, sizeof(limit), "PRAGMA max_page_count=%lld", (long long)pages + 4);
	assert_int_equal(sqlite3_exec(f->db->sql, limit, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	for (int64_t i = 0; rc >= 0 && i < 100; i++)
		rc = db_exec(f->db, &e, "INSERT INTO tt (id, n, v) VALUES ('x' || ?, ?, zeroblob(5000))",
			     "ii", i, i);
	assert_int_equal(rc, -ENOSPC);
	if (db_commit(f->db, &e) < 0)
		assert_int_equal(e.fault, FAULT_NO_SPACE);
	assert_false(db_in_tx(f->db));
	assert_true(count(f->db) < 100);
	CLEANUP(arena_freep) struct arena *a = arena_new(4096);
	const char *verdict = NULL;
	assert_int_equal(db_get_text(f->db, a, &verdict, &e, "PRAGMA integrity_check", ""), 1);
	assert_string_equal(verdict, "ok");
}

/* After the engine rolled back, nothing may run as if the transaction were still there. */
static void failed_transaction_stays_failed(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('a', 1)", ""), 1);
	assert_int_equal(db_exec(f->db, &e, "INSERT OR ROLLBACK INTO tt (id, n) VALUES ('a', 1)", ""),
			 -EEXIST);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('b', 2)", ""), -EEXIST);
	assert_int_equal(db_commit(f->db, &e), -EEXIST);
	assert_false(db_in_tx(f->db));
	assert_int_equal(count(f->db), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('b', 2)", ""), 1);
}

static void same_text_twice_at_once(void **state)
{
	struct fixture *f = *state;
	struct err e;
	CLEANUP(db_donep) struct db_rows *outer = NULL, *inner = NULL;
	static const char text[] = "SELECT id FROM tt ORDER BY id";

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO tt (id, n) VALUES ('a', 1), ('b', 2)", ""), 2);
	assert_int_equal(db_query(f->db, &outer, &e, text, ""), 0);
	assert_int_equal(db_step(outer, &e), 1);
	assert_int_equal(db_query(f->db, &inner, &e, text, ""), 0);
	assert_int_equal(db_step(inner, &e), 1);
	assert_int_equal(db_step(outer, &e), 1);
	assert_string_equal(db_text(outer, 0), "b");
	assert_string_equal(db_text(inner, 0), "a");
}

static void statement_cache_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct err e;
	CLEANUP(db_donep) struct db_rows *held = NULL;

	assert_int_equal(db_query(f->db, &held, &e, "SELECT 'held'", ""), 0);
	for (int i = 0; i < 2 * STORE_CACHED_STATEMENTS; i++) {
		char text[32];
		int64_t n = -1;
		snprintf(text, sizeof(text), "SELECT %d", i);
		assert_int_equal(db_get_int(f->db, &n, &e, text, ""), 1);
		assert_int_equal(n, i);
	}
	assert_int_equal(f->db->n_cached, STORE_CACHED_STATEMENTS);
	assert_int_equal(db_step(held, &e), 1);
	assert_string_equal(db_text(held, 0), "held");
}

static void migrations_run_once_and_in_order(void **state)
{
	static const struct migration rows[] = {
		{ 1, "one", "CREATE TABLE a (x INTEGER) STRICT;" },
		{ 2, "two", "ALTER TABLE a ADD COLUMN y TEXT; INSERT INTO a VALUES (1, 'b');" },
		{ 3, "broken", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO absent VALUES (1);" },
	};
	static const struct migration other[] = { { 1, "uno", "SELECT 1" }, { 2, "two", "SELECT 1" } };
	struct fixture *f = *state;
	struct err e;
	char path[128];
	sqlite3 *sql = NULL;

	snprintf(path, sizeof(path), "%s/m.db", f->folder);
	assert_int_equal(sql_open(path, &sql, &e), 0);
	assert_int_equal(store_migrate(sql, rows, 1, &e), 0);
	assert_int_equal(store_migrate(sql, rows, 2, &e), 0);
	assert_int_equal(store_migrate(sql, rows, 2, &e), 0);
	assert_true(store_migrate(sql, rows, 3, &e) < 0);
	assert_non_null(strstr(e.msg, "migration 3 (broken)"));
	/* The broken one left nothing, and a newer or foreign schema is refused. */
	assert_int_equal(sqlite3_exec(sql, "SELECT * FROM b", NULL, NULL, NULL), SQLITE_ERROR);
	assert_int_equal(store_migrate(sql, rows, 1, &e), -ESTALE);
	assert_non_null(strstr(e.msg, "schema version 2"));
	assert_int_equal(store_migrate(sql, other, 2, &e), -ESTALE);
	sqlite3_close(sql);
}

static void migration_checks_foreign_keys(void **state)
{
	static const struct migration rows[] = {
		{ 1, "one",
		  "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER REFERENCES p (id));"
		  "INSERT INTO c VALUES (1);" },
	};
	struct fixture *f = *state;
	struct err e;
	char path[128];
	sqlite3 *sql = NULL;

	snprintf(path, sizeof(path), "%s/m.db", f->folder);
	assert_int_equal(sql_open(path, &sql, &e), 0);
	assert_int_equal(store_migrate(sql, rows, 1, &e), -EIO);
	assert_non_null(strstr(e.msg, "table c"));
	sqlite3_close(sql);
}

static void newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e;
	struct store *second = NULL;

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO schema_migration VALUES (?, 'later', 'now')",
				 "i", (int64_t)store_n_migrations + 1),
			 1);
	assert_int_equal(store_open(f->path, &second, &e), -ESTALE);
	assert_null(second);
}

static void not_a_database_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e;
	struct store *second = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/garbage.db", f->folder);
	char junk[4096];
	memset(junk, 'x', sizeof(junk));
	assert_int_equal(file_write_atomic(path, 0600, (struct str){ junk, sizeof(junk) }, &e), 0);
	assert_int_equal(store_open(path, &second, &e), -EIO);
	assert_non_null(strstr(e.msg, path));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(arguments_come_back),
		CASE(get_reports_absence),
		CASE(argument_count_is_checked),
		CASE(rollback_leaves_nothing),
		CASE(read_transaction_refuses_writes),
		CASE(conflicts_name_the_columns),
		CASE(reserve_refuses_writes_only),
		CASE(full_database_rolls_back),
		CASE(failed_transaction_stays_failed),
		CASE(same_text_twice_at_once),
		CASE(statement_cache_is_bounded),
		CASE(migrations_run_once_and_in_order),
		CASE(migration_checks_foreign_keys),
		CASE(newer_schema_is_refused),
		CASE(not_a_database_is_refused),
	};

	return cmocka_run_group_tests_name("store-db", tests, NULL, NULL);
}
