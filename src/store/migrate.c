/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include "base/clock.h"

/*
 * Migrations run once each, in order, in a transaction of their own, with foreign keys off (a table is changed by building the new
 * one beside it) and checked before the commit.
 */

static int run(sqlite3 *sql, const char *text, struct err *e)
{
	int rc = sqlite3_exec(sql, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : sql_fail(sql, rc, text, e);
}

static void stmt_finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

static int check_history(sqlite3 *sql, const struct migration *rows, size_t n_rows,
			 int64_t *ret_newest, struct err *e)
{
	static const char text[] = "SELECT version, name FROM schema_migration ORDER BY version";
	CLEANUP(stmt_finalizep) sqlite3_stmt *stmt = NULL;
	int64_t newest = 0;
	int rc = sqlite3_prepare_v2(sql, text, -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return sql_fail(sql, rc, text, e);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t version = sqlite3_column_int64(stmt, 0);
		const char *name = (const char *)sqlite3_column_text(stmt, 1);
		if (version > (int64_t)n_rows)
			return err_set(e, FAULT_PRECONDITION, NULL,
				       "the database has schema version %lld (%s), this program knows up to %zu: "
				       "use the newer program, or restore a backup",
				       (long long)version, name ? name : "?", n_rows);
		if (version != newest + 1 || !name || strcmp(name, rows[newest].name) != 0)
			return err_set(e, FAULT_PRECONDITION, NULL,
				       "the database's migration %lld is \"%s\", not the one this program knows",
				       (long long)version, name ? name : "?");
		newest = version;
	}
	if (rc != SQLITE_DONE)
		return sql_fail(sql, rc, text, e);
	*ret_newest = newest;
	return 0;
}

static int check_foreign_keys(sqlite3 *sql, const struct migration *m, struct err *e)
{
	CLEANUP(stmt_finalizep) sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(sql, "PRAGMA foreign_key_check", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return sql_fail(sql, rc, NULL, e);
	return err_set(e, FAULT_INTERNAL, NULL,
		       "migration %lld (%s) leaves rows of table %s without their parent",
		       (long long)m->version, m->name, (const char *)sqlite3_column_text(stmt, 0));
}

static int record(sqlite3 *sql, const struct migration *m, struct err *e)
{
	static const char text[] =
		"INSERT INTO schema_migration (version, name, applied_at) VALUES (?, ?, ?)";
	CLEANUP(stmt_finalizep) sqlite3_stmt *stmt = NULL;
	char now[TIME_STR_SIZE];
	int rc = sqlite3_prepare_v2(sql, text, -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return sql_fail(sql, rc, text, e);
	sqlite3_bind_int64(stmt, 1, m->version);
	sqlite3_bind_text(stmt, 2, m->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, time_format_s(clock_wall_us(), now), -1, SQLITE_TRANSIENT);
	rc = sqlite3_step(stmt);
	return rc == SQLITE_DONE ? 0 : sql_fail(sql, rc, text, e);
}

static int apply(sqlite3 *sql, const struct migration *m, struct err *e)
{
	int rc = run(sql, "BEGIN IMMEDIATE", e);

	if (rc == 0 && (rc = run(sql, m->sql, e)) < 0)
		rc = err_wrap(e, "migration %lld (%s)", (long long)m->version, m->name);
	if (rc == 0)
		rc = check_foreign_keys(sql, m, e);
	if (rc == 0)
		rc = record(sql, m, e);
	if (rc == 0)
		rc = run(sql, "COMMIT", e);
	if (rc < 0 && !sqlite3_get_autocommit(sql))
		sqlite3_exec(sql, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

int store_migrate(sqlite3 *sql, const struct migration *rows, size_t n_rows, struct err *e)
{
	int64_t newest = 0;
	int rc = run(sql,
		     "CREATE TABLE IF NOT EXISTS schema_migration "
		     "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
		     e);

	if (rc == 0)
		rc = check_history(sql, rows, n_rows, &newest, e);
	if (rc == 0)
		rc = run(sql, "PRAGMA foreign_keys=OFF; PRAGMA synchronous=FULL", e);
	for (size_t i = (size_t)newest; rc == 0 && i < n_rows; i++)
		rc = apply(sql, &rows[i], e);
	if (rc == 0)
		rc = run(sql, "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL", e);
	return rc;
}
