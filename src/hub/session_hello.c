/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "base/types.h"
#include "model/digest.h"

/*
 * What a node's hello means. One that comes back as it left is answered from one read of its row, by a thread that writes nothing
 * (session_hello_try): after an outage that is every node. All others are the store thread's (session_hello_apply).
 */

struct node_row {
	int64_t revision, acked, report_seq;
	bool revoked;
};

static int node_row_load(struct db *db, const char *node_id, struct node_row *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT intent_revision, acked_revision, report_seq, revoked FROM node WHERE id = ?",
			  "s", node_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 1)
		*ret = (struct node_row){ .revision = db_int(q, 0),
					  .acked = db_int(q, 1),
					  .report_seq = db_int(q, 2),
					  .revoked = db_int(q, 3) != 0 };
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the hub does not know this node");
	return rc < 0 ? rc : 0;
}

static int stored_digest(struct db *db, const char *node_id, char ret[static DIGEST_HEX_SIZE],
			 struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct digest *d = digest_new();
	int rc = db_query(db, &q, e,
			  "SELECT kind, id, version FROM intent_object WHERE node_id = ? AND deleted = 0 ORDER BY kind, id",
			  "s", node_id);

	while (d && rc >= 0 && (rc = db_step(q, e)) == 1)
		digest_add(d, db_text(q, 0), db_text(q, 1), (uint64_t)db_int(q, 2));
	digest_take(d, ret);
	return rc < 0 ? rc : 0;
}

int session_digest_keep(struct db *db, const char *node_id, struct err *e)
{
	char digest[DIGEST_HEX_SIZE];
	int rc = stored_digest(db, node_id, digest, e);

	if (rc == 0)
		rc = db_exec(db, e,
			     "UPDATE node SET intent_digest = ?, digest_revision = intent_revision WHERE id = ?",
			     "ss", digest, node_id);
	return rc < 0 ? rc : 0;
}

/*
 * A delta needs the tombstones after the node's revision, and these are there only from what it has acknowledged on. A node
 * that says less has lost something; one that says more, or the same with other contents, talks to a hub that has.
 */
static int needs_resync(struct db *db, const struct job *j, const struct node_row *row, bool *ret,
			struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	int64_t revision = (int64_t)hello->intent_revision;
	char digest[DIGEST_HEX_SIZE];
	int rc;

	*ret = revision < row->acked || hello->intent_revision > (uint64_t)row->revision;
	if (*ret || revision != row->revision)
		return 0;
	rc = stored_digest(db, j->node_id, digest, e);
	if (rc == 0)
		*ret = strcmp(digest, hello->intent_digest) != 0;
	return rc;
}

static json_t *inventory_json(const Demarc__V1__Inventory *i)
{
	json_t *o = json_object(), *nics = json_array();

	if (!i) {
		json_decref(nics);
		return o;
	}
	for (size_t n = 0; n < i->n_nics; n++)
		json_array_append_new(nics, json_string(i->nics[n]));
	json_object_set_new(o, "hostname", json_string(i->hostname));
	json_object_set_new(o, "vcpus", json_integer(i->vcpus));
	json_object_set_new(o, "memory_mb", json_integer((json_int_t)i->memory_mb));
	json_object_set_new(o, "disk_gb", json_integer((json_int_t)i->disk_gb));
	json_object_set_new(o, "kernel", json_string(i->kernel));
	json_object_set_new(o, "nics", nics);
	json_object_set_new(o, "container_runtime", json_string(i->container_runtime));
	return o;
}

/* Of what a hello says about the node itself: equal ones need not be stored again. */
static const char *hello_digest(const Demarc__V1__NodeHello *h, char ret[static DIGEST_HEX_SIZE])
{
	Demarc__V1__NodeHello about = DEMARC__V1__NODE_HELLO__INIT;
	uint8_t sum[SHA256_DIGEST_LENGTH];
	CLEANUP(free_voidp) uint8_t *bytes = NULL;
	size_t size;

	about.release = h->release;
	about.boot_id = h->boot_id;
	about.features = h->features;
	about.n_features = h->n_features;
	about.inventory = h->inventory;
	size = demarc__v1__node_hello__get_packed_size(&about);
	bytes = malloc(size + 1);
	ret[0] = '\0'; /* equal to nothing that is stored */
	if (!bytes)
		return ret;
	demarc__v1__node_hello__pack(&about, bytes);
	SHA256(bytes, size, sum);
	hex_of(sum, sizeof(sum), ret);
	return ret;
}

/* The node holds the newest intent: an acknowledgement that was lost is repaired. */
static int in_step(struct db *db, const char *node_id, int64_t revision, struct err *e)
{
	int rc = db_exec(db, e, "UPDATE node SET acked_revision = ? WHERE id = ? AND acked_revision < ?",
			 "isi", revision, node_id, revision);

	return rc < 0 ? rc : session_digest_keep(db, node_id, e);
}

static int hello_write(struct db *db, const struct job *j, int64_t report_seq, struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	CLEANUP(json_freep) json_t *inventory = inventory_json(hello->inventory);
	CLEANUP(json_freep) json_t *features = json_array();
	char digest[DIGEST_HEX_SIZE];
	int rc;

	for (size_t i = 0; i < hello->n_features; i++)
		json_array_append_new(features, json_string(hello->features[i]));
	rc = db_exec(db, e,
		     "UPDATE node SET release = ?, features = ?, inventory = ?, boot_id = ?, address = ?, last_seen_us = ?, "
		     "report_seq = ?, hello_digest = ? WHERE id = ?",
		     "sjjssiiss", hello->release, features, inventory, hello->boot_id, j->address,
		     j->now_us, report_seq, hello_digest(hello, digest), j->node_id);
	return rc < 0 ? rc : intent_tell_unsupported(db, j->node_id, NULL, e);
}

#define HELLO_TEXT_MAX 256 /* bytes of one text in a hello */
#define HELLO_LIST_MAX 64

static int hello_check(const Demarc__V1__NodeHello *h, struct err *e)
{
	const char *texts[] = { h->release,
				h->boot_id,
				h->run_id,
				h->intent_digest,
				h->inventory ? h->inventory->hostname : "",
				h->inventory ? h->inventory->kernel : "",
				h->inventory ? h->inventory->container_runtime : "" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strlen(texts[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a text in the hello is too long");
	if (h->n_features > HELLO_LIST_MAX || (h->inventory && h->inventory->n_nics > HELLO_LIST_MAX))
		return err_set(e, FAULT_PROTOCOL, NULL, "a list in the hello is too long");
	for (size_t i = 0; i < h->n_features; i++)
		if (strlen(h->features[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a feature's name is too long");
	for (size_t i = 0; h->inventory && i < h->inventory->n_nics; i++)
		if (strlen(h->inventory->nics[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a NIC's name is too long");
	return 0;
}

/*
 * The node holds more than the hub: the hub was restored from a backup, or the row is new. The hub's count goes past the node's,
 * so that no revision ever means two things to the node.
 */
static int go_past(struct db *db, const struct job *j, struct node_row *row, struct err *e)
{
	uint64_t revision = j->frame->node_hello->intent_revision;
	int rc;

	if (revision > SESSION_REVISION_MAX)
		return err_set(e, FAULT_PROTOCOL, NULL, "the node's revision is out of range");
	row->revision = (int64_t)revision + 1;
	rc = db_exec(db, e, "UPDATE node SET intent_revision = ? WHERE id = ?", "is", row->revision,
		     j->node_id);
	return rc < 0 ? rc : 0;
}

static int hello_look(struct db *db, struct job *j, struct node_row *row, struct err *e)
{
	int rc = hello_check(j->frame->node_hello, e);

	if (rc == 0)
		rc = node_row_load(db, j->node_id, row, e);
	if (rc < 0)
		return rc;
	/* A disabled node gets no new servers, and stays connected for those it has. */
	if (row->revoked)
		return err_set(e, FAULT_FORBIDDEN, NULL, "the node is revoked");
	return needs_resync(db, j, row, &j->hello.resync, e);
}

static void hello_answer(struct job *j, const struct node_row *row)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;

	/* A node that was set up anew counts its reports from the start. */
	j->hello.report_seq = MIN_OF((uint64_t)row->report_seq, (uint64_t)hello->last_report_seq);
	j->hello.revision = (uint64_t)row->revision;
	j->hello.node_revision = hello->intent_revision;
}

int session_hello_apply(struct db *db, struct job *j, struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	struct node_row row = { 0 };
	int rc = hello_look(db, j, &row, e);

	if (rc == 0 && hello->intent_revision > (uint64_t)row.revision)
		rc = go_past(db, j, &row, e);
	if (rc < 0)
		return rc;
	hello_answer(j, &row);
	if (!j->hello.resync && hello->intent_revision == j->hello.revision)
		rc = in_step(db, j->node_id, row.revision, e);
	return rc < 0 ? rc : hello_write(db, j, (int64_t)j->hello.report_seq, e);
}

int session_hello_read(struct db *db, struct job *j, struct err *e)
{
	struct node_row row = { 0 };
	int rc = hello_look(db, j, &row, e);

	if (rc == 0 && j->frame->node_hello->intent_revision > (uint64_t)row.revision)
		rc = err_set(e, FAULT_NO_SPACE, NULL,
			     "the node holds more than the hub, whose disk is full: there is no number for what follows");
	if (rc == 0)
		hello_answer(j, &row);
	return rc;
}

/* ---- as it left ---- */

/* 1 when the row says what the hello says, and nothing is to be sent or written. */
static int row_is_same(struct db *db, const char *node_id, const char *address,
		       const Demarc__V1__NodeHello *h, struct hello_result *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	char digest[DIGEST_HEX_SIZE];
	int64_t revision = (int64_t)h->intent_revision;
	int rc = db_query(
		db, &q, e,
		"SELECT report_seq, address, intent_digest, hello_digest FROM node WHERE id = ?1 AND revoked = 0 AND "
		"intent_revision = ?2 AND acked_revision = ?2 AND digest_revision = ?2 AND report_seq <= ?3",
		"sii", node_id, revision, (int64_t)MIN_OF(h->last_report_seq, (uint64_t)INT64_MAX));

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	ret->revision = ret->node_revision = h->intent_revision;
	ret->report_seq = (uint64_t)db_int(q, 0);
	return str_eq_c(str_of(db_text(q, 1)), address) &&
	       str_eq_c(str_of(db_text(q, 2)), h->intent_digest) &&
	       str_eq_c(str_of(db_text(q, 3)), hello_digest(h, digest));
}

bool session_hello_try(struct db *db, const char *node_id, const char *address,
		       const Demarc__V1__NodeHello *h, struct hello_result *ret)
{
	struct err e;

	*ret = (struct hello_result){ 0 };
	return h->intent_revision <= SESSION_REVISION_MAX && hello_check(h, &e) == 0 &&
	       row_is_same(db, node_id, address, h, ret, &e) == 1;
}

/* All that wait at once: one read transaction. A read that fails says nothing about the node: the store thread tells. */
void session_hello_run(struct job_thread *t, struct job *list)
{
	struct sessions *s = t->sessions;
	struct err e;
	int rc = db_begin(t->db, DB_READ, &e);

	for (struct job *j = jobs_drop_late(list), *next; j; j = next) {
		next = j->next;
		if (rc == 0 && session_hello_try(t->db, j->node_id, j->address,
						 j->frame->node_hello, &j->hello)) {
			session_post_hello(s, j);
			job_free(j);
		} else {
			job_thread_push(&s->store, j);
		}
	}
	if (rc == 0)
		db_rollback(t->db);
}
