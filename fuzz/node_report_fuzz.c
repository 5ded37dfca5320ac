/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's hello and report, as the hub stores them: whatever is said, what other nodes have stays as it was. Each input runs in a transaction that is
 * rolled back. Ids are given to the fuzzer as single letters.
 */
#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hub/session_impl.h"
#include "link/frame.h"

#define SERVER                                                                                     \
	"INSERT INTO server (id, name, hostname, project_id, user_id, image_id, flavor, node_id, task_state, created_us, updated_us) "

static const char *const rows[] = {
	"INSERT INTO site (id, name, created_us, updated_us) VALUES ('z', 'branch', 0, 0)",
	"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('n', 'a', 'z', 0, 0)",
	"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('m', 'b', 'z', 0, 0)",
	SERVER "VALUES ('s', 'fw', 'fw', 'p', 'u', 'i', '{}', 'n', 'spawning', 0, 0)",
	SERVER "VALUES ('t', 'fw', 'fw', 'p', 'u', 'i', '{}', 'm', 'spawning', 0, 0)",
	"INSERT INTO intent_object (node_id, kind, id, version, body) VALUES ('n', 'server', 's', 5, x'')",
};

static struct db *hub(void)
{
	static struct store *store;
	static struct db *db;
	char dir[] = "/tmp/demarc-fuzz-XXXXXX", path[64];
	struct err e = { 0 };

	if (db)
		return db;
	FUZZ_CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/hub.db", dir);
	FUZZ_CHECK(store_open(path, &store, &e) == 0 && db_open(store, &db, &e) == 0);
	FUZZ_CHECK(tree_remove(dir, &e) == 0); /* the files live on while they are open */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		FUZZ_CHECK(db_exec(db, &e, rows[i], "") >= 0);
	return db;
}

static int64_t number(struct db *db, const char *sql)
{
	int64_t n = -1;
	struct err e;

	FUZZ_CHECK(db_get_int(db, &n, &e, sql, "") == 1);
	return n;
}

static void check(struct db *db, Demarc__V1__Frame *f)
{
	struct job j = { .node_id = "n", .address = "192.0.2.1", .frame = f };
	struct hello_result ret;
	struct err e = { 0 };
	int rc;

	if (f->body_case == DEMARC__V1__FRAME__BODY_NODE_HELLO) {
		(void)session_hello_try(db, j.node_id, j.address, f->node_hello, &ret);
		rc = session_hello_apply(db, &j, &e);
		FUZZ_CHECK(rc < 0 || j.hello.revision <= SESSION_REVISION_MAX + 1);
		FUZZ_CHECK(rc < 0 || j.hello.revision >= j.hello.node_revision);
	} else {
		rc = session_report_apply(db, &j, &e);
		FUZZ_CHECK(rc < 0 || number(db, "SELECT count(*) FROM event") <= EVENTS_MAX);
	}
	FUZZ_CHECK(rc >= 0 || *e.msg);
	FUZZ_CHECK(number(db, "SELECT count(*) FROM server WHERE id = 't' AND node_id = 'm' AND task_state = 'spawning' AND "
			      "seen_version = 0 AND fault IS NULL") == 1);
	FUZZ_CHECK(number(db, "SELECT count(*) FROM node WHERE id = 'm' AND report_seq = 0 AND intent_revision = 0") ==
		   1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	struct db *db = hub();
	struct err e = { 0 };

	if (frame_decode(FRAME_FROM_NODE, data, size, &f, &e) < 0)
		return 0;
	if (f->body_case != DEMARC__V1__FRAME__BODY_NODE_HELLO &&
	    f->body_case != DEMARC__V1__FRAME__BODY_REPORT)
		return 0;
	FUZZ_CHECK(db_begin(db, DB_WRITE, &e) == 0);
	check(db, f);
	db_rollback(db);
	return 0;
}
