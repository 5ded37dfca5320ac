/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hub/session.h"

/*
 * The compiler: build every object of the node from rows, compare with what is stored, write what differs under a new
 * revision, leave a tombstone for what is gone.
 */

#define INTENT_ARENA_MAX (64u << 20) /* bytes for one compilation: some 50,000 objects */

int intent_no_memory(struct err *e)
{
	return err_set(e, FAULT_TOO_LARGE, NULL, "the node's intent does not fit into memory");
}

/* ---- small helpers of the parts ---- */

/* Doubles at powers of two, so that n alone tells the capacity. */
int intent_append(struct arena *a, size_t *n, void ***array, void *item)
{
	if (!item)
		return -ENOMEM;
	if ((*n & (*n - 1)) == 0) { /* 0, 1, 2, 4, 8 … : full */
		void **grown = arena_alloc(a, (*n ? *n * 2 : 1) * sizeof(void *));
		if (!grown)
			return -ENOMEM;
		if (*n)
			memcpy(grown, *array, *n * sizeof(void *));
		*array = grown;
	}
	(*array)[(*n)++] = item;
	return 0;
}

int intent_vec_add(struct intent_build *b, struct intent_vec *v, void *item)
{
	return intent_append(b->arena, &v->n, &v->items, item);
}

char *intent_dup(struct intent_build *b, const char *s)
{
	return arena_strdup(b->arena, s ? s : "");
}

char *intent_text(struct intent_build *b, struct db_rows *q, int col)
{
	return intent_dup(b, db_text(q, col));
}

Demarc__V1__Object *intent_object_add(struct intent_build *b, const char *kind, const char *id)
{
	Demarc__V1__Object *o = ARENA_NEW(b->arena, Demarc__V1__Object);

	if (!o)
		return NULL;
	demarc__v1__object__init(o);
	o->kind = intent_dup(b, kind);
	o->id = intent_dup(b, id);
	if (!o->kind || !o->id || intent_vec_add(b, &b->objects, o) < 0)
		return NULL;
	return o;
}

Demarc__V1__Object *intent_object_keep(struct intent_build *b, const char *kind, const char *id)
{
	return intent_object_add(b, kind, id); /* has no body: see compare_one() */
}

Demarc__V1__Object *intent_find(const struct intent_vec *v, size_t from, const char *id)
{
	size_t low = from, high = v->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		Demarc__V1__Object *o = v->items[mid];
		int order = strcmp(o->id, id);

		if (order == 0)
			return o;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

int intent_each(struct intent_build *b, struct db_rows *take, intent_row_fn fn, void *ctx, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = take;
	int rc;

	while ((rc = db_step(q, e)) == 1) {
		rc = fn(b, q, ctx, e);
		if (rc < 0)
			return rc == -ENOMEM ? intent_no_memory(e) : rc;
	}
	return rc;
}

/* ---- compare and store ---- */

struct change {
	const char *kind, *id;
	const uint8_t *body; /* NULL: a tombstone */
	size_t size;
};

static int object_cmp(const void *a, const void *b)
{
	const Demarc__V1__Object *x = *(Demarc__V1__Object *const *)a,
				 *y = *(Demarc__V1__Object *const *)b;
	int order = strcmp(x->kind, y->kind);

	return order ? order : strcmp(x->id, y->id);
}

static int change_add(struct intent_build *b, struct intent_vec *changes, const char *kind,
		      const char *id, const uint8_t *body, size_t size)
{
	struct change *c = ARENA_NEW(b->arena, struct change);

	if (!c)
		return -ENOMEM;
	*c = (struct change){
		.kind = intent_dup(b, kind), .id = intent_dup(b, id), .body = body, .size = size
	};
	return c->kind && c->id ? intent_vec_add(b, changes, c) : -ENOMEM;
}

/* body NULL: nothing is stored yet, or a tombstone. */
static int compare_one(struct intent_build *b, const Demarc__V1__Object *o, const void *body,
		       size_t size, struct intent_vec *changes, struct err *e)
{
	size_t new_size = demarc__v1__object__get_packed_size(o);
	uint8_t *packed;

	if (o->body_case == DEMARC__V1__OBJECT__BODY__NOT_SET)
		return body ? 0 :
			      err_set(e, FAULT_INTERNAL, NULL, "%s %s is not stored", o->kind, o->id);

	if (new_size > INTENT_OBJECT_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL,
			       "%s %s needs %zu bytes in the node's intent; %u is the most",
			       o->kind, o->id, new_size, INTENT_OBJECT_MAX);
	packed = arena_alloc(b->arena, new_size);
	if (!packed)
		return intent_no_memory(e);
	demarc__v1__object__pack(o, packed);
	if (body && size == new_size && memcmp(body, packed, size) == 0)
		return 0;
	if (change_add(b, changes, o->kind, o->id, packed, new_size) < 0)
		return intent_no_memory(e);
	return 0;
}

struct merge {
	struct intent_vec changes;
	size_t next; /* in the built objects */
};

static int merge_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	struct merge *m = ctx;
	const char *kind = db_text(q, 0), *id = db_text(q, 1);
	bool deleted = db_int(q, 2), keeps;
	Demarc__V1__Object key = { .kind = (char *)kind, .id = (char *)id }, *key_ptr = &key;
	size_t size = 0;
	const void *body = NULL;
	int rc;

	for (; m->next < b->objects.n; m->next++) {
		int order = object_cmp(&b->objects.items[m->next], &key_ptr);
		if (order > 0)
			break;
		/* Large bodies are not read for nothing. */
		keeps = ((Demarc__V1__Object *)b->objects.items[m->next])->body_case ==
			DEMARC__V1__OBJECT__BODY__NOT_SET;
		if (order == 0 && !deleted)
			body = keeps ? "" : db_blob(q, 3, &size);
		rc = compare_one(b, b->objects.items[m->next], order == 0 ? body : NULL, size,
				 &m->changes, e);
		if (rc < 0)
			return rc;
		if (order == 0) {
			m->next++;
			return 0;
		}
	}
	return deleted ? 0 : change_add(b, &m->changes, kind, id, NULL, 0);
}

/* Every object that parts can make. Kinds in their order: the built objects are sorted by kind, too. */
static const struct {
	const char *kind;
	unsigned part;
} kinds[] = {
	{ "acl", INTENT_ACLS },
	{ "acl_part", INTENT_ACLS },
	{ "address_group", INTENT_ADDRESSES },
	{ "chain", INTENT_CHAINS },
	{ "network", INTENT_NETWORKS },
	{ "port", INTENT_PORTS },
	{ "security_group", INTENT_GROUPS },
	{ "server", INTENT_SERVERS },
	{ "telemetry", INTENT_TELEMETRY },
};

static int merge_all(struct intent_build *b, struct merge *m, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT kind, id, deleted, body FROM intent_object WHERE node_id = ? ORDER BY kind, id",
			  "s", b->node_id);

	return rc < 0 ? rc : intent_each(b, q, merge_row, m, e);
}

static int merge_kind(struct intent_build *b, struct merge *m, const char *kind, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT kind, id, deleted, body FROM intent_object WHERE node_id = ? AND kind = ? ORDER BY id",
			  "ss", b->node_id, kind);

	return rc < 0 ? rc : intent_each(b, q, merge_row, m, e);
}

/* Both sides are sorted by kind and id: one pass. */
static int merge_with_stored(struct intent_build *b, struct merge *m, unsigned parts, struct err *e)
{
	int rc = 0;

	if (b->objects.n)
		qsort(b->objects.items, b->objects.n, sizeof(void *), object_cmp);
	if (parts == INTENT_ALL)
		rc = merge_all(b, m, e);
	for (size_t i = 0; rc >= 0 && parts != INTENT_ALL && i < ARRAY_LEN(kinds); i++)
		if (kinds[i].part & parts)
			rc = merge_kind(b, m, kinds[i].kind, e);
	for (; rc >= 0 && m->next < b->objects.n; m->next++)
		rc = compare_one(b, b->objects.items[m->next], NULL, 0, &m->changes, e);
	return rc;
}

static int store_changes(struct intent_build *b, const struct intent_vec *changes, int64_t revision,
			 struct err *e)
{
	int rc = db_exec(b->db, e, "UPDATE node SET intent_revision = ? WHERE id = ?", "is",
			 revision, b->node_id);

	for (size_t i = 0; rc >= 0 && i < changes->n; i++) {
		const struct change *c = changes->items[i];
		rc = db_exec(b->db, e,
			     "INSERT INTO intent_object (node_id, kind, id, version, deleted, body) VALUES (?, ?, ?, ?, ?, ?) "
			     "ON CONFLICT (node_id, kind, id) DO UPDATE SET version = excluded.version, "
			     "deleted = excluded.deleted, body = excluded.body",
			     "sssibv", b->node_id, c->kind, c->id, revision, !c->body,
			     (const void *)(c->body ? c->body : (const uint8_t *)""), c->size);
		if (rc >= 0 && c->body && strcmp(c->kind, "network") == 0)
			rc = intent_tell_unsupported(b->db, b->node_id, c->id, e);
	}
	return rc < 0 ? rc : 0;
}

static int build_parts(struct intent_build *b, unsigned parts, struct err *e)
{
	static const struct {
		unsigned part;
		int (*build)(struct intent_build *, struct err *);
	} rows[] = {
		{ INTENT_NETWORKS, intent_build_networks },
		{ INTENT_PORTS, intent_build_ports },
		{ INTENT_GROUPS, intent_build_groups },
		{ INTENT_SERVERS, intent_build_servers },
		{ INTENT_CHAINS, intent_build_chains },
		{ INTENT_ADDRESSES, intent_build_address_groups },
		{ INTENT_ACLS, intent_build_acls },
		{ INTENT_TELEMETRY, intent_build_telemetry },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int rc = rows[i].part & parts ? rows[i].build(b, e) : 0;
		if (rc < 0)
			return rc == -ENOMEM ? intent_no_memory(e) : rc;
	}
	return 0;
}

/* 0: the node was deleted in this transaction, and its intent went with it. */
static int node_load(struct intent_build *b, int64_t *ret_revision, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e, "SELECT site_id, intent_revision FROM node WHERE id = ?",
			  "s", b->node_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc != 1)
		return rc;
	b->site_id = intent_text(b, q, 0);
	*ret_revision = db_int(q, 1);
	return b->site_id ? 1 : intent_no_memory(e);
}

int intent_compile_parts(struct db *db, const char *node_id, unsigned parts, struct err *e)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new(INTENT_ARENA_MAX);
	struct intent_build b = { .db = db, .arena = arena, .node_id = node_id };
	struct merge m = { 0 };
	int64_t revision = 0;
	int rc;

	if (!arena)
		return intent_no_memory(e);
	rc = node_load(&b, &revision, e);
	if (rc <= 0)
		return rc;
	/* A node that never had an intent has no other parts either. */
	if (revision == 0)
		parts = INTENT_ALL;
	rc = build_parts(&b, parts, e);
	if (rc >= 0)
		rc = merge_with_stored(&b, &m, parts, e);
	if (rc < 0 || m.changes.n == 0)
		return rc < 0 ? rc : 0;
	rc = store_changes(&b, &m.changes, revision + 1, e);
	return rc < 0 ? rc : 1;
}

int intent_compile(struct db *db, const char *node_id, struct err *e)
{
	return intent_compile_parts(db, node_id, INTENT_ALL, e);
}
