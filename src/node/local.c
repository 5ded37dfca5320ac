/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define LOCAL_NAME "local.json"
#define LOCAL_BYTES_MAX (64u << 20)

static const struct {
	const char *key;
	uint32_t max;
} kinds[LOCAL_N_KINDS] = {
	[LOCAL_NETWORK] = { "networks", 65535 },
	[LOCAL_PORT] = { "ports", 1u << 20 },
	[LOCAL_SG] = { "security_groups", 0xffffff },
	[LOCAL_CHAIN] = { "chains", 1023 },
	[LOCAL_ACL] = { "acls", 65535 },
	[LOCAL_ADDRESS_GROUP] = { "address_groups", 0xffffff },
	[LOCAL_METER] = { "meters", 2047 },
	[LOCAL_TUNNEL] = { "tunnels", 1u << 20 },
};

struct local {
	char path[PATH_MAX];
	json_t *root; /* {"numbers": {kind: {id: n}}, "next": {kind: n}, "notes": {topic: {id: text}}} */
	bool dirty;
};

static json_t *child(json_t *obj, const char *key)
{
	json_t *c = json_object_get(obj, key);

	if (json_is_object(c))
		return c;
	c = json_object();
	(void)json_object_set_new(obj, key, c);
	return json_object_get(obj, key);
}

static json_t *numbers(const struct local *l, enum local_kind kind)
{
	return child(child(l->root, "numbers"), kinds[kind].key);
}

static json_t *notes(const struct local *l, const char *topic)
{
	return child(child(l->root, "notes"), topic);
}

static int load(struct local *l, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	int r = file_read(l->path, LOCAL_BYTES_MAX, &text, &size, e);

	if (r == -ENOENT)
		l->root = json_object();
	else if (r < 0)
		return r;
	else if (json_parse((struct str){ text, size }, &l->root, NULL) < 0 ||
		 !json_is_object(l->root)) {
		/* Not readable any more: numbers are given anew, see the header. */
		json_freep(&l->root);
		l->root = json_object();
	}
	return l->root ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "local state");
}

int local_open(const char *state_dir, struct local **ret, struct err *e)
{
	CLEANUP(local_closep) struct local *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, FAULT_NO_MEMORY, NULL, "local state");
	if (snprintf(l->path, sizeof(l->path), "%s/%s", state_dir, LOCAL_NAME) >= (int)sizeof(l->path))
		return err_set(e, FAULT_BAD_REQUEST, "state_dir", "path is too long");
	r = load(l, e);
	if (r < 0)
		return r;
	*ret = MOVE_PTR(l);
	return 0;
}

void local_close(struct local *l)
{
	if (!l)
		return;
	json_decref(l->root);
	free(l);
}

int local_save(struct local *l, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	int r;

	if (!l->dirty)
		return 0;
	text = json_text(l->root);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "local state");
	r = file_write_atomic(l->path, 0600, str_of(text), e);
	if (r == 0)
		l->dirty = false;
	return r;
}

/* ---- numbers ---- */

static bool number_taken(json_t *of_kind, uint32_t number)
{
	const char *id;
	json_t *v;

	json_object_foreach(of_kind, id, v)
		if (json_integer_value(v) == (json_int_t)number)
			return true;
	return false;
}

/* The next free number after the last one given: a number rests as long as possible before it is used again. */
static uint32_t number_new(struct local *l, enum local_kind kind)
{
	json_t *next = child(l->root, "next");
	uint32_t max = kinds[kind].max;
	uint32_t at = (uint32_t)json_int(next, kinds[kind].key, 1);

	for (uint32_t tried = 0; tried <= json_object_size(numbers(l, kind)); tried++, at++) {
		if (at < 1 || at > max)
			at = 1;
		if (!number_taken(numbers(l, kind), at)) {
			(void)json_object_set_new(next, kinds[kind].key,
						  json_integer((json_int_t)at + 1));
			return at;
		}
	}
	return 0;
}

uint32_t local_number_find(const struct local *l, enum local_kind kind, const char *id)
{
	int64_t v = json_int(numbers(l, kind), id, 0);

	return v > 0 && v <= (int64_t)kinds[kind].max ? (uint32_t)v : 0;
}

uint32_t local_number(struct local *l, enum local_kind kind, const char *id)
{
	uint32_t number = local_number_find(l, kind, id);

	if (number)
		return number;
	if (json_object_size(numbers(l, kind)) >= kinds[kind].max)
		return 0;
	number = number_new(l, kind);
	if (number) {
		(void)json_object_set_new(numbers(l, kind), id, json_integer(number));
		l->dirty = true;
	}
	return number;
}

const char *local_id_find(const struct local *l, enum local_kind kind, uint32_t number)
{
	const char *id;
	json_t *v;

	json_object_foreach(numbers(l, kind), id, v)
		if (json_integer_value(v) == (json_int_t)number)
			return id;
	return NULL;
}

static void prune(struct local *l, json_t *obj, bool (*keep)(void *ctx, const char *id), void *ctx)
{
	const char *id;
	void *tmp;
	json_t *v;

	json_object_foreach_safe(obj, tmp, id, v)
		if (!keep(ctx, id)) {
			(void)json_object_del(obj, id);
			l->dirty = true;
		}
}

void local_prune(struct local *l, enum local_kind kind, bool (*keep)(void *ctx, const char *id),
		 void *ctx)
{
	prune(l, numbers(l, kind), keep, ctx);
}

ifindex local_port_index(struct local *l, const char *port_id)
{
	uint32_t number = local_number(l, LOCAL_PORT, port_id);

	return (ifindex){ number ? LOCAL_PORT_BASE + (int)number : 0 };
}

void local_port_name(const char *port_id, char ret[static IF_NAMESIZE])
{
	size_t n = 2;

	memcpy(ret, "dm", 2);
	for (const char *p = port_id; *p && n < 14; p++)
		if (*p != '-')
			ret[n++] = *p;
	ret[n] = '\0';
}

/* ---- notes ---- */

const char *local_note(const struct local *l, const char *topic, const char *id)
{
	return json_str(notes(l, topic), id);
}

void local_note_set(struct local *l, const char *topic, const char *id, const char *text)
{
	const char *old = local_note(l, topic, id);

	if (text ? old && strcmp(old, text) == 0 : !old)
		return;
	if (text)
		(void)json_object_set_new(notes(l, topic), id, json_string(text));
	else
		(void)json_object_del(notes(l, topic), id);
	l->dirty = true;
}

void local_note_prune(struct local *l, const char *topic, bool (*keep)(void *ctx, const char *id),
		      void *ctx)
{
	prune(l, notes(l, topic), keep, ctx);
}
