/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A connection and its transactions. */

int db_open(struct store *s, struct db **ret, struct err *e)
{
	struct db *db = calloc(1, sizeof(*db));

	if (!db)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	db->store = s;
	int rc = sql_open(s->path, &db->sql, e);
	if (rc < 0) {
		free(db);
		return rc;
	}
	*ret = db;
	return 0;
}

void db_set_cache(struct db *db, unsigned kib)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA cache_size = -%u", kib);
	(void)sqlite3_exec(db->sql, text, NULL, NULL, NULL); /* what fails costs time only */
}

void db_close(struct db *db)
{
	if (!db)
		return;
	db_rollback(db);
	for (size_t i = 0; i < db->n_cached; i++)
		sqlite3_finalize(db->cache[i].stmt);
	sqlite3_close_v2(db->sql);
	free(db);
}

void db_closep(struct db **db)
{
	db_close(*db);
}

bool db_in_tx(const struct db *db)
{
	return db->in_tx;
}

/* A statement without arguments and rows. The text is a literal, but runs too seldom or too briefly to be worth a cache slot. */
static int run(struct db *db, const char *text, struct err *e)
{
	int rc = sqlite3_exec(db->sql, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : sql_fail(db->sql, rc, text, e);
}

static int begin_write(struct db *db, bool anyway, struct err *e)
{
	int rc = wal_sync_check(&db->store->sync, e);

	if (rc == 0 && !anyway)
		rc = store_check_space(db->store, e);
	if (rc == 0)
		rc = writer_enter(&db->store->writers, e);
	if (rc < 0)
		return rc;
	rc = run(db, "BEGIN IMMEDIATE", e);
	if (rc < 0)
		writer_leave(&db->store->writers);
	return rc;
}

int db_begin(struct db *db, enum db_mode mode, struct err *e)
{
	if (db->in_tx)
		return err_set(e, FAULT_INTERNAL, NULL,
			       "a transaction is already open on this connection");
	int rc = mode == DB_READ ? run(db, "BEGIN DEFERRED", e) :
				   begin_write(db, mode == DB_WRITE_ANYWAY, e);
	if (rc < 0)
		return rc;
	db->in_tx = true;
	db->writes = mode != DB_READ;
	db->failed = false;
	return 0;
}

static void leave_tx(struct db *db)
{
	if (!sqlite3_get_autocommit(db->sql))
		sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
	if (db->writes)
		writer_leave(&db->store->writers);
	db->in_tx = db->writes = db->failed = false;
}

void db_rollback(struct db *db)
{
	if (db->in_tx)
		leave_tx(db);
}

void db_note_failure(struct db *db, const struct err *e)
{
	if (!db->in_tx || db->failed || !sqlite3_get_autocommit(db->sql))
		return;
	db->failed = true;
	db->tx_err = *e;
}

int db_commit(struct db *db, struct err *e)
{
	int rc = 0;

	if (!db->in_tx)
		return err_set(e, FAULT_INTERNAL, NULL, "no transaction to commit");
	if (db->failed) {
		if (e)
			*e = db->tx_err;
		rc = -db->tx_err.num;
	} else {
		rc = run(db, "COMMIT", e);
	}
	bool writes = db->writes;
	/* The writers' turn ends before the flush: the next one writes while this one waits, and shares its flush. */
	leave_tx(db);
	return rc == 0 && writes ? wal_sync_wait(&db->store->sync, e) : rc;
}
