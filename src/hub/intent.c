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

/* Both sides are sorted by kind and id: one pass. */
static int merge_with_stored(struct intent_build *b, struct merge *m, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT kind, id, deleted, body FROM intent_object WHERE node_id = ? ORDER BY kind, id",
			  "s", b->node_id);

	if (rc < 0)
		return rc;
	if (b->objects.n)
		qsort(b->objects.items, b->objects.n, sizeof(void *), object_cmp);
	rc = intent_each(b, q, merge_row, m, e);
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
	}
	return rc < 0 ? rc : 0;
}

static int build_all(struct intent_build *b, struct err *e)
{
	static int (*const parts[])(struct intent_build *, struct err *) = {
		intent_build_networks, intent_build_ports,     intent_build_groups,
		intent_build_servers,  intent_build_chains,    intent_build_address_groups,
		intent_build_acls,     intent_build_telemetry,
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int rc = parts[i](b, e);
		if (rc < 0)
			return rc == -ENOMEM ? intent_no_memory(e) : rc;
	}
	return 0;
}

int intent_compile(struct db *db, const char *node_id, struct err *e)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new(INTENT_ARENA_MAX);
	struct intent_build b = { .db = db, .arena = arena, .node_id = node_id };
	struct merge m = { 0 };
	int64_t revision;
	int rc;

	if (!arena)
		return intent_no_memory(e);
	rc = db_get_text(db, arena, &b.site_id, e, "SELECT site_id FROM node WHERE id = ?", "s",
			 node_id);
	if (rc <= 0)
		return rc; /* deleted in this transaction: its intent went with it */
	rc = db_get_int(db, &revision, e, "SELECT intent_revision FROM node WHERE id = ?", "s", node_id);
	if (rc <= 0)
		return rc;
	rc = build_all(&b, e);
	if (rc >= 0)
		rc = merge_with_stored(&b, &m, e);
	if (rc < 0 || m.changes.n == 0)
		return rc < 0 ? rc : 0;
	rc = store_changes(&b, &m.changes, revision + 1, e);
	return rc < 0 ? rc : 1;
}
