/* SPDX-License-Identifier: Apache-2.0 */
#include "node/intent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "model/digest.h"
#include "node/validate.h"

/*
 * One record of the log, little endian:
 *    0      4      8                  16
 *   +------+------+------------------+----------------------
 *   | mark | size | sha256, 8 bytes  | Intent, size bytes
 *   +------+------+------------------+----------------------
 */
#define RECORD_MARK 0x31544e49u /* "INT1" */
#define RECORD_HEAD 16
#define RECORD_MAX (32u << 20)	  /* bytes of one packed Intent */
#define LOG_COMPACT_MIN (1 << 20) /* bytes: shorter logs are not worth rewriting */
#define LOG_NAME "intent.log"

struct intent {
	char path[PATH_MAX];
	int fd;
	size_t log_bytes, base_bytes; /* whole log; its first record */
	uint64_t revision;
	intent_object **objects; /* owned, sorted by kind, id */
	size_t n, cap;
	uint64_t *left; /* owned: hashes of kind and id of what was left out */
	size_t n_left;
};

static int object_cmp(const char *kind, const char *id, const intent_object *o)
{
	int r = strcmp(kind, o->kind);

	return r ? r : strcmp(id, o->id);
}

/* Place of (kind, id), or where it would go. */
static size_t place(const struct intent *in, const char *kind, const char *id, bool *ret_found)
{
	size_t lo = 0, hi = in->n;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int r = object_cmp(kind, id, in->objects[mid]);

		if (r == 0) {
			*ret_found = true;
			return mid;
		}
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static void object_free(intent_object *o)
{
	if (o)
		demarc__v1__object__free_unpacked(o, NULL);
}
DEFINE_CLEANUP(intent_object *, object_free)

static void remove_at(struct intent *in, size_t at)
{
	object_free(in->objects[at]);
	memmove(&in->objects[at], &in->objects[at + 1], (in->n - at - 1) * sizeof(in->objects[0]));
	in->n--;
}

static int insert_at(struct intent *in, size_t at, intent_object *o)
{
	if (in->n == in->cap) {
		size_t cap = in->cap ? 2 * in->cap : 64;
		intent_object **p = realloc(in->objects, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		in->objects = p;
		in->cap = cap;
	}
	memmove(&in->objects[at + 1], &in->objects[at], (in->n - at) * sizeof(in->objects[0]));
	in->objects[at] = o;
	in->n++;
	return 0;
}

/* A copy by packing: keeps unknown fields. NULL: no memory. */
static intent_object *object_copy(const intent_object *o)
{
	size_t size = demarc__v1__object__get_packed_size(o);
	CLEANUP(free_voidp) uint8_t *buf = malloc(size ? size : 1);

	if (!buf)
		return NULL;
	demarc__v1__object__pack(o, buf);
	return demarc__v1__object__unpack(NULL, size, buf);
}

static int put(struct intent *in, const intent_object *o, struct err *e)
{
	CLEANUP(object_freep) intent_object *copy = NULL;
	bool found;
	size_t at = place(in, o->kind, o->id, &found);

	if (o->deleted) {
		if (found)
			remove_at(in, at);
		return 0;
	}
	copy = object_copy(o);
	if (!copy)
		return err_set(e, FAULT_NO_MEMORY, NULL, "object of the intent");
	if (found) {
		object_free(in->objects[at]);
		in->objects[at] = MOVE_PTR(copy);
		return 0;
	}
	if (in->n >= INTENT_OBJECTS_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "more than %d objects in the intent",
			       INTENT_OBJECTS_MAX);
	if (insert_at(in, at, copy) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "objects of the intent");
	(void)MOVE_PTR(copy);
	return 0;
}

/* ---- what was left out ---- */

static uint64_t name_hash(const intent_object *o)
{
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */

	for (const char *p = o->kind; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	h *= 0x100000001b3ULL;
	for (const char *p = o->id; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	return h;
}

static void left_drop(struct intent *in, uint64_t hash)
{
	for (size_t i = 0; i < in->n_left; i++)
		if (in->left[i] == hash)
			in->left[i--] = in->left[--in->n_left];
}

static int left_add(struct intent *in, const uint64_t *left, size_t n)
{
	uint64_t *grown = n ? realloc(in->left, (in->n_left + n) * sizeof(*grown)) : in->left;

	if (n && !grown)
		return -ENOMEM;
	in->left = grown;
	for (size_t i = 0; i < n; i++) {
		left_drop(in, left[i]);
		in->left[in->n_left++] = left[i];
	}
	return 0;
}

/* Memory only; the record is on disk already, or comes from there. */
static int take(struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	if (m->full) {
		in->n_left = 0;
		while (in->n > 0)
			remove_at(in, in->n - 1);
	}
	for (size_t i = 0; i < m->n_objects; i++) {
		int r = put(in, m->objects[i], e);

		if (r < 0)
			return r;
		left_drop(in, name_hash(m->objects[i]));
	}
	in->revision = m->revision;
	return 0;
}

/* ---- log ---- */

static void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int record_of(const Demarc__V1__Intent *m, uint8_t **ret, size_t *ret_size, struct err *e)
{
	size_t size = demarc__v1__intent__get_packed_size(m);
	uint8_t sum[SHA256_DIGEST_LENGTH];
	uint8_t *buf;

	if (size > RECORD_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "intent of %zu bytes", size);
	buf = malloc(RECORD_HEAD + size);
	if (!buf)
		return err_set(e, FAULT_NO_MEMORY, NULL, "intent record");
	demarc__v1__intent__pack(m, buf + RECORD_HEAD);
	put_u32(buf, RECORD_MARK);
	put_u32(buf + 4, (uint32_t)size);
	SHA256(buf + RECORD_HEAD, size, sum);
	memcpy(buf + 8, sum, 8);
	*ret = buf;
	*ret_size = RECORD_HEAD + size;
	return 0;
}

/* Size of the valid record at p, or 0. *ret is owned by the caller. */
static size_t record_read(const uint8_t *p, size_t left, Demarc__V1__Intent **ret)
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	size_t size;

	if (left < RECORD_HEAD || get_u32(p) != RECORD_MARK)
		return 0;
	size = get_u32(p + 4);
	if (size > RECORD_MAX || size > left - RECORD_HEAD)
		return 0;
	SHA256(p + RECORD_HEAD, size, sum);
	if (memcmp(sum, p + 8, 8) != 0)
		return 0;
	*ret = demarc__v1__intent__unpack(NULL, size, p + RECORD_HEAD);
	return *ret ? RECORD_HEAD + size : 0;
}

static int write_all(int fd, const uint8_t *p, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int log_append(struct intent *in, const uint8_t *record, size_t size, struct err *e)
{
	int r = lseek(in->fd, (off_t)in->log_bytes, SEEK_SET) < 0 ? -errno : 0;

	if (r == 0)
		r = write_all(in->fd, record, size);
	if (r == 0 && fdatasync(in->fd) < 0)
		r = -errno;
	if (r < 0) {
		/* What was written in part was never acknowledged: cut it off, now or at the next load. */
		(void)!ftruncate(in->fd, (off_t)in->log_bytes);
		return err_errno(e, r, "%s", in->path);
	}
	in->log_bytes += size;
	return 0;
}

static int reopen(struct intent *in, struct err *e)
{
	close_fdp(&in->fd);
	in->fd = open(in->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return in->fd < 0 ? err_errno(e, errno, "%s", in->path) : 0;
}

/* Replaces the log by one record. */
static int log_replace(struct intent *in, const uint8_t *record, size_t size, struct err *e)
{
	int r = file_write_atomic(in->path, 0600, (struct str){ (const char *)record, size }, e);

	if (r == 0)
		r = reopen(in, e);
	if (r == 0)
		in->log_bytes = in->base_bytes = size;
	return r;
}

/* Rewrites the log as one full record when that saves much. A failure is harmless: the log is complete. */
static void log_compact(struct intent *in)
{
	Demarc__V1__Intent full = DEMARC__V1__INTENT__INIT;
	CLEANUP(free_voidp) uint8_t *record = NULL;
	size_t size;

	if (in->log_bytes < LOG_COMPACT_MIN || in->log_bytes < 4 * in->base_bytes)
		return;
	full.revision = in->revision;
	full.full = true;
	full.n_objects = in->n;
	full.objects = in->objects;
	if (record_of(&full, &record, &size, NULL) == 0)
		(void)!log_replace(in, record, size, NULL);
}

static int log_load(struct intent *in, bool *ret_damaged, struct err *e)
{
	CLEANUP(free_charp) char *bytes = NULL;
	size_t size = 0, at = 0;
	int r = file_read(in->path, INTENT_LOG_MAX, &bytes, &size, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while (at < size) {
		Demarc__V1__Intent *m = NULL;
		size_t n = record_read((const uint8_t *)bytes + at, size - at, &m);

		if (n == 0)
			break;
		if (at == 0)
			in->base_bytes = n;
		r = take(in, m, e);
		demarc__v1__intent__free_unpacked(m, NULL);
		if (r < 0)
			return r;
		at += n;
	}
	in->log_bytes = at;
	*ret_damaged = size > 0 && at == 0;
	return 0;
}

int intent_open(const char *state_dir, struct intent **ret, bool *ret_damaged, struct err *e)
{
	CLEANUP(intent_closep) struct intent *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return err_set(e, FAULT_NO_MEMORY, NULL, "intent");
	in->fd = -1;
	if (snprintf(in->path, sizeof(in->path), "%s/%s", state_dir, LOG_NAME) >= (int)sizeof(in->path))
		return err_set(e, FAULT_BAD_REQUEST, "state_dir", "path is too long");
	*ret_damaged = false;
	r = log_load(in, ret_damaged, e);
	if (r == 0)
		r = reopen(in, e);
	if (r < 0)
		return r;
	if (ftruncate(in->fd, (off_t)in->log_bytes) < 0)
		return err_errno(e, errno, "%s", in->path);
	*ret = MOVE_PTR(in);
	return 0;
}

void intent_close(struct intent *in)
{
	if (!in)
		return;
	while (in->n > 0)
		remove_at(in, in->n - 1);
	free(in->objects);
	free(in->left);
	close_fdp(&in->fd);
	free(in);
}

/* ---- applying ---- */

static int check_head(const struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	if (!m->full && m->base_revision != in->revision)
		return err_set(e, FAULT_PRECONDITION, "base_revision",
			       "change of revision %llu, but this node holds %llu",
			       (unsigned long long)m->base_revision, (unsigned long long)in->revision);
	if (m->revision == 0 || (!m->full && m->revision <= m->base_revision))
		return err_set(e, FAULT_BAD_REQUEST, "revision", "revision %llu does not follow %llu",
			       (unsigned long long)m->revision, (unsigned long long)m->base_revision);
	if (m->n_objects > INTENT_OBJECTS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "objects", "%zu objects", m->n_objects);
	return 0;
}

static int check(const struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	int r = check_head(in, m, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_objects; i++) {
		if (validate_object(m->objects[i], e) < 0) {
			char at[32];

			(void)snprintf(at, sizeof(at), "objects[%zu]", i);
			return err_in(e, at);
		}
	}
	return 0;
}

int intent_apply(struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	CLEANUP(free_voidp) uint8_t *record = NULL;
	size_t size = 0;
	int r;

	if (!m->full && m->revision == in->revision && m->revision != 0 && !in->n_left)
		return 0; /* a repeat */
	r = check(in, m, e);
	if (r == 0)
		r = record_of(m, &record, &size, e);
	if (r == 0)
		r = m->full ? log_replace(in, record, size, e) : log_append(in, record, size, e);
	if (r == 0)
		r = take(in, m, e);
	if (r == 0)
		log_compact(in);
	return r;
}

static int store(struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	CLEANUP(free_voidp) uint8_t *record = NULL;
	Demarc__V1__Intent *copy;
	size_t size = 0;
	int r = record_of(m, &record, &size, e);

	if (r < 0)
		return r;
	copy = demarc__v1__intent__unpack(NULL, size - RECORD_HEAD, record + RECORD_HEAD);
	if (!copy)
		return err_set(e, FAULT_NO_MEMORY, NULL, "intent");
	r = m->full ? log_replace(in, record, size, e) : log_append(in, record, size, e);
	if (r == 0)
		r = take(in, copy, e);
	demarc__v1__intent__free_unpacked(copy, NULL);
	if (r == 0)
		log_compact(in);
	return r;
}

int intent_apply_rest(struct intent *in, const Demarc__V1__Intent *m, struct err *e)
{
	CLEANUP(free_voidp) Demarc__V1__Object **objects = NULL;
	CLEANUP(free_voidp) uint64_t *left = NULL;
	Demarc__V1__Intent rest = *m;
	size_t n_left = 0;
	int r = check_head(in, m, e);

	if (r < 0)
		return r;
	objects = calloc(m->n_objects + 1, sizeof(*objects));
	left = calloc(m->n_objects + 1, sizeof(*left));
	if (!objects || !left)
		return err_set(e, FAULT_NO_MEMORY, NULL, "objects of the intent");
	rest.objects = objects;
	rest.n_objects = 0;
	for (size_t i = 0; i < m->n_objects; i++) {
		Demarc__V1__Object *o = m->objects[i];
		const intent_object *held = NULL;

		if (validate_object(o, NULL) < 0) {
			left[n_left++] = name_hash(o);
			if (m->full) /* a change leaves alone what it does not name */
				held = intent_find(in, o->kind, o->id);
			o = (Demarc__V1__Object *)(uintptr_t)held;
		}
		if (o)
			objects[rest.n_objects++] = o;
	}
	if ((m->full ? 0 : in->n_left) + n_left > INTENT_OBJECTS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "objects", "%zu objects are not valid", n_left);
	r = store(in, &rest, e);
	if (r == 0 && left_add(in, left, n_left) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "objects of the intent");
	return r;
}

size_t intent_left_out(const struct intent *in)
{
	return in->n_left;
}

/* ---- reading ---- */

uint64_t intent_revision(const struct intent *in)
{
	return in->revision;
}

void intent_digest(const struct intent *in, char ret[static INTENT_DIGEST_SIZE])
{
	struct digest *d = digest_new();

	for (size_t i = 0; d && i < in->n; i++)
		digest_add(d, in->objects[i]->kind, in->objects[i]->id, in->objects[i]->version);
	digest_take(d, ret);
}

const intent_object *intent_find(const struct intent *in, const char *kind, const char *id)
{
	bool found;
	size_t at = place(in, kind, id, &found);

	return found ? in->objects[at] : NULL;
}

const Demarc__V1__Network *intent_network(const struct intent *in, const char *id)
{
	const intent_object *o = intent_find(in, "network", id);

	return o && o->body_case == DEMARC__V1__OBJECT__BODY_NETWORK ? o->network : NULL;
}

const Demarc__V1__Port *intent_port(const struct intent *in, const char *id)
{
	const intent_object *o = intent_find(in, "port", id);

	return o && o->body_case == DEMARC__V1__OBJECT__BODY_PORT ? o->port : NULL;
}

const Demarc__V1__Server *intent_server(const struct intent *in, const char *id)
{
	const intent_object *o = intent_find(in, "server", id);

	return o && o->body_case == DEMARC__V1__OBJECT__BODY_SERVER ? o->server : NULL;
}

uint64_t intent_version(const struct intent *in, const char *kind, const char *id)
{
	const intent_object *o = intent_find(in, kind, id);

	return o ? o->version : 0;
}

const intent_object *intent_at(const struct intent *in, size_t i)
{
	return i < in->n ? in->objects[i] : NULL;
}

const intent_object *intent_next(const struct intent *in, const char *kind, size_t *pos)
{
	if (*pos == 0) {
		bool found;

		*pos = place(in, kind, "", &found);
	}
	for (; *pos < in->n && strcmp(in->objects[*pos]->kind, kind) == 0; (*pos)++)
		if (in->objects[*pos]->body_case != DEMARC__V1__OBJECT__BODY__NOT_SET)
			return in->objects[(*pos)++];
	return NULL;
}
