/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Left free on the data directory's file system, so that the WAL can always be checkpointed and the journal of the host works. */
#define STORE_RESERVE_BYTES (16ULL << 20)

/* What a CHECK, UNIQUE or NOT NULL failure names, e.g. "port.network_id, port.mac": the text after the engine's ": ". */
static void constraint_field(const char *text, const char *msg, char *ret, size_t size)
{
	static const char *const verbs[] = { "INSERT INTO ", "DELETE FROM ", "UPDATE " };
	const char *at = strstr(msg, "failed: ");

	ret[0] = '\0';
	if (at) {
		str_copy(ret, size, str_of(at + strlen("failed: ")));
		return;
	}
	/* FOREIGN KEY names nothing: the statement's table says at least which resource it was. */
	for (size_t i = 0; text && i < ARRAY_LEN(verbs); i++) {
		if (strncmp(text, verbs[i], strlen(verbs[i])) != 0)
			continue;
		const char *table = text + strlen(verbs[i]);
		str_copy(ret, size, (struct str){ table, strcspn(table, " (\n\t") });
	}
}

static int sql_fail_constraint(sqlite3 *sql, const char *text, struct err *e)
{
	char field[ERR_FIELD_SIZE];
	const char *msg = sqlite3_errmsg(sql);

	constraint_field(text, msg, field, sizeof(field));
	if (sqlite3_extended_errcode(sql) == SQLITE_CONSTRAINT_FOREIGNKEY)
		return err_set(e, FAULT_CONFLICT, field,
			       "the row refers to one that does not exist, or others refer to it");
	return err_set(e, FAULT_CONFLICT, field, "%s", msg);
}

static bool is_no_space(sqlite3 *sql, int rc)
{
	int num = sqlite3_system_errno(sql);

	return (rc & 0xff) == SQLITE_FULL ||
	       ((rc & 0xff) == SQLITE_IOERR && (num == ENOSPC || num == EDQUOT));
}

int sql_fail(sqlite3 *sql, int rc, const char *text, struct err *e)
{
	static const struct {
		int code;
		enum fault fault;
	} rows[] = {
		{ SQLITE_BUSY, FAULT_UNAVAILABLE },  { SQLITE_LOCKED, FAULT_UNAVAILABLE },
		{ SQLITE_NOMEM, FAULT_NO_MEMORY },   { SQLITE_TOOBIG, FAULT_TOO_LARGE },
		{ SQLITE_INTERRUPT, FAULT_TIMEOUT },
	};

	if ((rc & 0xff) == SQLITE_CONSTRAINT)
		return sql_fail_constraint(sql, text, e);
	if (is_no_space(sql, rc))
		return err_set(e, FAULT_NO_SPACE, NULL, "the disk of the database is full");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].code == (rc & 0xff))
			return err_set(e, rows[i].fault, NULL, "database: %s", sqlite3_errmsg(sql));
	return err_set(e, FAULT_INTERNAL, NULL, "database: %s (code %d)", sqlite3_errmsg(sql), rc);
}

int sql_open(const char *path, sqlite3 **ret, struct err *e)
{
	static const char setup[] =
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
		"PRAGMA mmap_size=0; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;"
		"PRAGMA trusted_schema=OFF; PRAGMA wal_autocheckpoint=4000";
	sqlite3 *sql = NULL;
	int on = 1;
	int rc = sqlite3_open_v2(
		path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(sql, 1);
		sqlite3_busy_timeout(sql, STORE_BUSY_TIMEOUT_MS);
		sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
		sqlite3_file_control(sql, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
		rc = sqlite3_exec(sql, setup, NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK) {
		int num = sql ? sql_fail(sql, rc, NULL, e) :
				err_set(e, FAULT_NO_MEMORY, NULL, "database: no memory");
		sqlite3_close(sql);
		return num == 0 ? -EIO : err_wrap(e, "%s", path);
	}
	*ret = sql;
	return 0;
}

/* The names of a new database and its WAL must survive power loss as well as their content. */
static int sync_folder(const char *path, struct err *e)
{
	CLEANUP(free_charp) char *copy = strdup(path);
	CLEANUP(close_fdp) int fd = -1;

	if (!copy)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	const char *folder = dirname(copy);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, errno, "flush folder %s", folder);
	return 0;
}

/* Creates the file first, so that it is never readable by others (the engine gives WAL and index the same mode). */
static int create_private(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	/* An existing file is not opened here: closing it would drop the locks of this process's connections. */
	if (fd < 0)
		return errno == EEXIST ? 0 : err_errno(e, errno, "create %s", path);
	close(fd);
	return 0;
}

static uint64_t statvfs_free(void *ctx)
{
	struct statvfs v;
	CLEANUP(free_charp) char *copy = strdup(ctx);

	/* Not knowing is no reason to refuse: the engine reports a full disk by itself. */
	if (!copy || statvfs(dirname(copy), &v) < 0)
		return UINT64_MAX;
	return (uint64_t)v.f_bavail * v.f_frsize;
}

int store_check_space(struct store *s, struct err *e)
{
	if (s->free_bytes(s->free_bytes_ctx) >= STORE_RESERVE_BYTES)
		return 0;
	return err_set(e, FAULT_NO_SPACE, NULL,
		       "less than %llu MiB are free on the disk of the database",
		       STORE_RESERVE_BYTES >> 20);
}

void store_set_space_probe(struct store *s, uint64_t (*free_bytes)(void *ctx), void *ctx)
{
	s->free_bytes = free_bytes ? free_bytes : statvfs_free;
	s->free_bytes_ctx = free_bytes ? ctx : s->path;
}

static int open_wal(struct store *s, struct err *e)
{
	const char *wal = sqlite3_filename_wal(sqlite3_db_filename(s->keeper, "main"));
	int rc = sqlite3_exec(s->keeper, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return sql_fail(s->keeper, rc, NULL, e);
	s->sync.fd = open(wal, O_RDONLY | O_CLOEXEC);
	/* One flush now: what an earlier process committed and did not flush is from here on as good as acknowledged. */
	if (s->sync.fd < 0 || fsync(s->sync.fd) < 0)
		return err_errno(e, errno, "open %s", wal);
	return sync_folder(s->path, e);
}

int store_open(const char *path, struct store **ret, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	wal_sync_init(&s->sync);
	writer_queue_init(&s->writers);
	s->path = strdup(path);
	store_set_space_probe(s, NULL, NULL);
	if (!s->path) {
		store_close(s);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	}
	int rc = create_private(path, e);
	if (rc == 0)
		rc = sql_open(path, &s->keeper, e);
	if (rc == 0)
		rc = store_migrate(s->keeper, store_migrations, store_n_migrations, e);
	if (rc == 0)
		rc = open_wal(s, e);
	if (rc < 0) {
		store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	sqlite3_close(s->keeper);
	writer_queue_done(&s->writers);
	wal_sync_done(&s->sync);
	free(s->path);
	free(s);
}
