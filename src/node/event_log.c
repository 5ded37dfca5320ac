/* SPDX-License-Identifier: Apache-2.0 */
#include "node/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "base/types.h"

#define RECORD_BYTES_MAX 4096u	     /* one Event as it is packed; ours are below 1 KiB */
#define FILE_BYTES_MAX (8u << 20)    /* nothing is written beyond it */
#define FILE_SLACK_BYTES (64u << 10) /* a small file is not made anew all the time */
#define LOST_MAX 8u /* events that say that others are lost, of which all but one were sent */
#define LOST_TEXT "older events were lost: more than %d waited for the hub"

struct event {
	Demarc__V1__Event *pb;
	uint64_t seq; /* report that carries it; 0: none yet */
};

struct event_log {
	char path[PATH_MAX];
	int fd;
	uint64_t file_bytes, rewrite_at;
	size_t n;
	struct event events[EVENT_LOG_MAX];
};

/* ---- file: size (4 bytes, little endian), packed Event; a torn tail is ignored ---- */

static int event_pack(const Demarc__V1__Event *ev, struct strbuf *b)
{
	size_t size = demarc__v1__event__get_packed_size(ev);
	CLEANUP(free_voidp) uint8_t *buf = malloc(size + 1);
	const uint8_t head[4] = { (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
				  (uint8_t)(size >> 24) };

	if (!buf)
		return -ENOMEM;
	demarc__v1__event__pack(ev, buf);
	strbuf_add(b, head, sizeof(head));
	strbuf_add(b, buf, size);
	return b->error;
}

/* A failure leaves the file as it was, to be tried again when it has grown some more. */
static void file_rewrite(struct event_log *l)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct err e = { 0 };

	l->rewrite_at = l->file_bytes + FILE_SLACK_BYTES;
	for (size_t i = 0; i < l->n; i++)
		if (event_pack(l->events[i].pb, &b) < 0)
			return;
	if (file_write_atomic(l->path, 0600, (struct str){ strbuf_cstr(&b), b.len }, &e) < 0) {
		log_limited(LOG_WARN_, "event_unsaved", "error=\"%s\"", e.msg);
	} else {
		l->file_bytes = b.len;
		l->rewrite_at = 2 * b.len + FILE_SLACK_BYTES;
	}
	close_fdp(&l->fd);
	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->fd >= 0)
		(void)!ftruncate(l->fd, (off_t)l->file_bytes); /* of an old file, a torn tail */
}

static void file_append(struct event_log *l, const Demarc__V1__Event *ev)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	bool fits;

	if (l->fd < 0 || event_pack(ev, &b) < 0)
		return;
	fits = l->file_bytes + b.len <= FILE_BYTES_MAX;
	/* No sync: a crash of this process loses nothing, and a power loss costs at most what was not yet written back;
	 * waiting for the disk here would delay the traffic's own failover. */
	if (fits && write(l->fd, b.ptr, b.len) == (ssize_t)b.len) {
		l->file_bytes += b.len;
		return;
	}
	log_limited(LOG_WARN_, "event_unsaved", "path=%s", l->path);
	if (fits)
		(void)!ftruncate(l->fd, (off_t)l->file_bytes); /* no half of it before the next one */
}

/* ---- memory ---- */

static void drop(struct event_log *l, size_t i)
{
	demarc__v1__event__free_unpacked(l->events[i].pb, NULL);
	memmove(&l->events[i], &l->events[i + 1], (l->n - i - 1) * sizeof(l->events[0]));
	l->n--;
}

static Demarc__V1__Event *event_new(const char *kind, const char *severity, const char *resource,
				    const char *text)
{
	Demarc__V1__Event ev = DEMARC__V1__EVENT__INIT;
	char id[UUID_STR_SIZE], k[64], sev[16], res[128], t[512];
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	(void)uuid_format(uuid_random(), id);
	(void)str_copy(k, sizeof(k), str_of(kind));
	(void)str_copy(sev, sizeof(sev), str_of(severity));
	(void)str_copy(res, sizeof(res), str_of(resource));
	(void)str_copy(t, sizeof(t), str_of(text));
	ev.id = id;
	ev.time_us = clock_wall_us();
	ev.kind = k;
	ev.severity = sev;
	ev.resource = res;
	ev.text = t;
	if (event_pack(&ev, &b) < 0)
		return NULL;
	return demarc__v1__event__unpack(NULL, b.len - 4, (const uint8_t *)b.ptr + 4);
}

/* How many events this one says are lost; 0: it says nothing of the kind. */
static uint64_t lost_count(const Demarc__V1__Event *ev)
{
	struct str rest, count = str_cut(str_of(ev->text), ' ', &rest);
	uint64_t n = 0;

	if (strcmp(ev->kind, EVENT_LOST_KIND) != 0 || str_to_u64(count, UINT64_MAX / 2, &n) < 0)
		return 0;
	return n;
}

static Demarc__V1__Event *lost_new(uint64_t count)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%" PRIu64 " " LOST_TEXT, count, EVENT_LOG_MAX);
	return event_new(EVENT_LOST_KIND, "warning", "node", text);
}

/* An event that nobody was told of yet, and whose id stays, counts one more. */
static bool lost_more(Demarc__V1__Event *ev)
{
	Demarc__V1__Event *with = lost_new(lost_count(ev) + 1);

	if (!with)
		return false;
	free(ev->text);
	ev->text = MOVE_PTR(with->text);
	ev->time_us = with->time_us;
	demarc__v1__event__free_unpacked(with, NULL);
	return true;
}

/*
 * The oldest goes and is counted. What reading the file again comes to is the same: the event that counts is in it
 * (returns true: not yet), and each that is read after it makes it count one more.
 */
static bool make_room(struct event_log *l)
{
	Demarc__V1__Event *lost;
	size_t oldest = 0;

	log_limited(LOG_WARN_, "event_dropped", "reason=\"too many wait for the hub\"");
	while (oldest < LOST_MAX && lost_count(l->events[oldest].pb) > 0)
		oldest++;
	if (oldest > 0 && (l->events[oldest - 1].seq == 0 || oldest == LOST_MAX)) {
		(void)lost_more(l->events[oldest - 1].pb);
		drop(l, oldest);
		return false;
	}
	drop(l, oldest);
	lost = lost_new(2); /* it needs a place, too */
	if (lost) {
		demarc__v1__event__free_unpacked(l->events[oldest].pb, NULL);
		l->events[oldest] = (struct event){ .pb = lost };
	}
	return lost;
}

/* Takes ev. True: the file must be made anew. */
static bool take(struct event_log *l, Demarc__V1__Event *ev)
{
	bool anew = l->n == EVENT_LOG_MAX && make_room(l);

	l->events[l->n++] = (struct event){ .pb = ev };
	return anew;
}

/* ---- reading what is there ---- */

static Demarc__V1__Event *record_read(FILE *f)
{
	uint8_t head[4], body[RECORD_BYTES_MAX];
	Demarc__V1__Event *ev;
	struct uuid id;
	size_t len;

	if (fread(head, 1, sizeof(head), f) != sizeof(head))
		return NULL;
	len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
	if (len > sizeof(body) || fread(body, 1, len, f) != len)
		return NULL;
	ev = demarc__v1__event__unpack(NULL, len, body);
	/* After a power loss, the tail may be zeros, which is an event, too. */
	if (ev && uuid_parse(str_of(ev->id), &id) < 0) {
		demarc__v1__event__free_unpacked(ev, NULL);
		return NULL;
	}
	return ev;
}

/* However large the file has become: its end is what is kept. */
static void file_load(struct event_log *l)
{
	FILE *f = fopen(l->path, "rbe");
	Demarc__V1__Event *ev;

	if (!f)
		return;
	while ((ev = record_read(f))) {
		(void)take(l, ev);
		l->file_bytes = (uint64_t)ftello(f);
	}
	(void)fclose(f);
}

int event_log_open(const char *path, struct event_log **ret, struct err *e)
{
	struct event_log *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(e, FAULT_NO_MEMORY, NULL, "event log");
	l->fd = -1;
	if (str_copy(l->path, sizeof(l->path), str_of(path)) < 0) {
		free(l);
		return err_errno(e, ENAMETOOLONG, "event log %s", path);
	}
	file_load(l);
	file_rewrite(l);
	*ret = l;
	return 0;
}

void event_log_close(struct event_log *l)
{
	if (!l)
		return;
	while (l->n)
		drop(l, l->n - 1);
	close_fdp(&l->fd);
	free(l);
}

/* ---- using it ---- */

void event_log_add(struct event_log *l, const char *kind, const char *severity,
		   const char *resource, const char *text)
{
	Demarc__V1__Event *ev = event_new(kind, severity, resource, text);
	bool anew;

	if (!ev)
		return;
	anew = take(l, ev);
	if (!anew)
		file_append(l, ev);
	if (anew || l->file_bytes > l->rewrite_at)
		file_rewrite(l);
}

size_t event_log_n(const struct event_log *l)
{
	return l->n;
}

const Demarc__V1__Event *event_log_at(const struct event_log *l, size_t i)
{
	return l->events[i].pb;
}

uint64_t event_log_seq(const struct event_log *l, size_t i)
{
	return l->events[i].seq;
}

void event_log_mark(struct event_log *l, size_t i, uint64_t seq)
{
	l->events[i].seq = seq;
}

void event_log_unmark(struct event_log *l, uint64_t seq)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->events[i].seq >= seq)
			l->events[i].seq = 0;
}

void event_log_ack(struct event_log *l, uint64_t seq)
{
	bool dropped = false;

	for (size_t i = 0; i < l->n;) {
		if (l->events[i].seq && l->events[i].seq <= seq) {
			drop(l, i);
			dropped = true;
		} else {
			i++;
		}
	}
	if (dropped)
		file_rewrite(l);
}
