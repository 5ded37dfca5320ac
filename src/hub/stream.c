/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/session_impl.h"

#define STREAMS_MAX 64
#define OF_A_USER_MAX 16
#define WINDOW (256u << 10) /* bytes of a node that wait for a person */
#define DATA_MAX 16384u	    /* of one StreamData */
#define CREDIT_MAX (1u << 20)
#define ANSWER_MS 15000	   /* for the node to take the opening */
#define ABANDONED_MS 60000 /* nobody reads */
#define IDLE_MS (15 * 60 * 1000)
#define TOTAL_MS (8 * 3600 * 1000)
#define KEPT_MS 60000 /* an end that nobody has read */

struct stream {
	struct stream *next;
	uint64_t id, session;
	char node_id[40], user_id[72], what[160];
	struct strbuf in; /* from the node */
	uint32_t credit;  /* bytes the node takes */
	int64_t opened_ns, read_ns, ended_ns;
	bool has_answered, has_ended;
	char error[256];
	int exit_status;
	unsigned n_readers;
	bool is_gone; /* out of the list; the last reader frees */
	pthread_cond_t cond;
};

struct streams {
	struct hub *hub;
	pthread_mutex_t lock; /* all below */
	struct stream *list;
	uint64_t next_id;
	unsigned n, n_waiting;
};

int streams_new(struct hub *h, struct streams **ret, struct err *e)
{
	struct streams *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for streams");
	s->hub = h;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

static void stream_free(struct stream *x)
{
	strbuf_done(&x->in);
	pthread_cond_destroy(&x->cond);
	free(x);
}

void streams_free(struct streams *s)
{
	if (!s)
		return;
	for (struct stream *x = s->list, *next; x; x = next) {
		next = x->next;
		stream_free(x);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- under the lock ---- */

static struct stream *find(struct streams *s, uint64_t id)
{
	struct stream *x = s->list;

	while (x && x->id != id)
		x = x->next;
	return x;
}

static struct stream *find_of(struct streams *s, uint64_t id, const char *user_id, struct err *e)
{
	struct stream *x = find(s, id);

	if (x && strcmp(x->user_id, user_id) == 0)
		return x;
	(void)!err_set(e, FAULT_NOT_FOUND, NULL, "Stream %llu could not be found.",
		       (unsigned long long)id);
	return NULL;
}

static void tell_end(struct streams *s, const struct stream *x)
{
	struct job *j = job_new(JOB_AUDIT, 0, x->node_id);
	struct strbuf b = { 0 };

	strbuf_addf(&b, "%s ended%s%s after %lld s", x->what, *x->error ? ": " : "", x->error,
		    (long long)((clock_mono_ns() - x->opened_ns) / NS_PER_S));
	if (j)
		j->seen = strbuf_take(&b);
	else
		strbuf_done(&b);
	if (s->hub->sessions)
		job_thread_push(&s->hub->sessions->cert, j);
	else
		job_free(j);
}

static void end(struct streams *s, struct stream *x, const char *error, int exit_status)
{
	if (x->has_ended)
		return;
	x->has_ended = true;
	x->ended_ns = clock_mono_ns();
	x->exit_status = exit_status;
	(void)str_copy(x->error, sizeof(x->error), str_of(error));
	str_scrub_utf8(x->error);
	pthread_cond_broadcast(&x->cond);
	tell_end(s, x);
}

static void remove_stream(struct streams *s, struct stream *x)
{
	struct stream **at = &s->list;

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	s->n--;
	x->is_gone = true;
	pthread_cond_broadcast(&x->cond);
	if (x->n_readers == 0)
		stream_free(x);
}

static void post(struct streams *s, const struct stream *x, Demarc__V1__Frame *f)
{
	if (s->hub->sessions)
		session_post_frame(s->hub->sessions, x->session, POST_STREAM, f);
}

static void post_close(struct streams *s, const struct stream *x)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamClose m = DEMARC__V1__STREAM_CLOSE__INIT;

	m.id = x->id;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_CLOSE;
	f.stream_close = &m;
	post(s, x, &f);
}

static void post_window(struct streams *s, const struct stream *x, uint32_t n, uint32_t rows,
			uint32_t columns)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamWindow m = DEMARC__V1__STREAM_WINDOW__INIT;

	m.id = x->id;
	m.add = n;
	m.rows = rows;
	m.columns = columns;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_WINDOW;
	f.stream_window = &m;
	post(s, x, &f);
}

/* ---- opening ---- */

static struct stream *stream_new(const char *node_id, const char *user_id, const char *what)
{
	struct stream *x = calloc(1, sizeof(*x));
	pthread_condattr_t attr;

	if (!x)
		return NULL;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&x->cond, &attr);
	pthread_condattr_destroy(&attr);
	(void)str_copy(x->node_id, sizeof(x->node_id), str_of(node_id));
	(void)str_copy(x->user_id, sizeof(x->user_id), str_of(user_id));
	(void)str_copy(x->what, sizeof(x->what), str_of(what));
	x->in.limit_bytes = WINDOW + 1;
	x->opened_ns = x->read_ns = clock_mono_ns();
	return x;
}

static unsigned count_of(const struct streams *s, const char *user_id)
{
	unsigned n = 0;

	for (const struct stream *x = s->list; x; x = x->next)
		n += strcmp(x->user_id, user_id) == 0;
	return n;
}

/* Under the lock. */
static int enlist(struct streams *s, struct stream *x, uint64_t session, struct err *e)
{
	if (!session)
		return err_set(e, FAULT_UNAVAILABLE, NULL,
			       "The node is not connected: demarc node show %s says since when.",
			       x->node_id);
	if (s->n >= STREAMS_MAX || count_of(s, x->user_id) >= OF_A_USER_MAX)
		return err_set(e, FAULT_QUOTA, NULL,
			       "There are %u streams open: at most %d, and %d of a user. End one; what nobody reads ends after a minute.",
			       s->n, STREAMS_MAX, OF_A_USER_MAX);
	x->session = session;
	x->id = ++s->next_id;
	x->next = s->list;
	s->list = x;
	s->n++;
	return 0;
}

int stream_open(struct hub *h, const char *node_id, const char *user_id, const char *what,
		Demarc__V1__StreamOpen *open, uint64_t *ret_id, struct err *e)
{
	struct streams *s = h->streams;
	struct stream *x = stream_new(node_id, user_id, what);
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	int rc;

	if (!x)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	pthread_mutex_lock(&s->lock);
	rc = enlist(s, x, h->sessions ? session_serial_of(h->sessions, node_id) : 0, e);
	if (rc == 0) {
		open->id = *ret_id = x->id;
		open->window = WINDOW;
		open->idle_ms = IDLE_MS;
		open->total_ms = TOTAL_MS;
		f.body_case = DEMARC__V1__FRAME__BODY_STREAM_OPEN;
		f.stream_open = open;
		post(s, x, &f);
	}
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		stream_free(x);
	return rc;
}

/* ---- the person's side ---- */

static void wait_for(struct streams *s, struct stream *x, unsigned wait_ms)
{
	int64_t until = clock_mono_ns() + wait_ms * NS_PER_MS;
	const struct timespec t = { until / NS_PER_S, until % NS_PER_S };

	s->n_waiting++;
	while (x->in.len == 0 && !x->has_ended && !x->is_gone)
		if (pthread_cond_timedwait(&x->cond, &s->lock, &t) == ETIMEDOUT)
			break;
	s->n_waiting--;
}

static void take(struct streams *s, struct stream *x, char *buf, size_t max, struct stream_read *ret)
{
	size_t n = MIN_OF(max, x->in.len);

	if (n) {
		memcpy(buf, x->in.ptr, n);
		x->in.len -= n;
		memmove(x->in.ptr, x->in.ptr + n, x->in.len);
	}
	x->read_ns = clock_mono_ns();
	*ret = (struct stream_read){ .size = n,
				     .is_open = !x->has_ended || x->in.len,
				     .exit_status = x->exit_status };
	(void)str_copy(ret->error, sizeof(ret->error), str_of(x->error));
	if (n && !x->has_ended)
		post_window(s, x, (uint32_t)n, 0, 0);
}

int stream_read(struct hub *h, uint64_t id, const char *user_id, unsigned wait_ms, char *buf,
		size_t max, struct stream_read *ret, struct err *e)
{
	struct streams *s = h->streams;
	struct stream *x;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	x = find_of(s, id, user_id, e);
	if (x) {
		x->n_readers++;
		x->read_ns = clock_mono_ns();
		if (s->n_waiting < MAX_OF(h->config->n_workers / 4, 1u)) /* the API keeps its share */
			wait_for(s, x, wait_ms);
		x->n_readers--;
	}
	if (x && x->is_gone) { /* closed meanwhile */
		if (x->n_readers == 0)
			stream_free(x);
		x = NULL;
	}
	if (x) {
		take(s, x, buf, max, ret);
		if (!ret->is_open && x->n_readers == 0)
			remove_stream(s, x);
	} else {
		rc = err_set(e, FAULT_NOT_FOUND, NULL, "Stream %llu could not be found.",
			     (unsigned long long)id);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int stream_write(struct hub *h, uint64_t id, const char *user_id, const char *data, size_t size,
		 uint32_t rows, uint32_t columns, struct err *e)
{
	struct streams *s = h->streams;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;
	struct stream *x;
	int rc = -ENOENT;

	pthread_mutex_lock(&s->lock);
	x = find_of(s, id, user_id, e);
	if (x && !x->has_ended) {
		size_t n = MIN_OF(MIN_OF(size, (size_t)x->credit), (size_t)DATA_MAX);

		if (rows && columns)
			post_window(s, x, 0, rows, columns);
		m.id = id;
		m.data.data = (uint8_t *)(uintptr_t)data;
		m.data.len = n;
		f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
		f.stream_data = &m;
		if (n)
			post(s, x, &f);
		x->credit -= (uint32_t)n;
		rc = (int)n;
	} else if (x) {
		rc = err_set(e, FAULT_GONE, NULL, "The stream has ended.");
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int stream_close(struct hub *h, uint64_t id, const char *user_id, struct err *e)
{
	struct streams *s = h->streams;
	struct stream *x;

	pthread_mutex_lock(&s->lock);
	x = find_of(s, id, user_id, e);
	if (x) {
		if (!x->has_ended)
			post_close(s, x);
		end(s, x, "", 0);
		remove_stream(s, x);
	}
	pthread_mutex_unlock(&s->lock);
	return x ? 0 : -ENOENT;
}

/* ---- the node's side ---- */

static void take_data(struct streams *s, struct stream *x, const Demarc__V1__StreamData *m)
{
	if (x->has_ended || m->data.len == 0)
		return;
	if (m->data.len > DATA_MAX || x->in.len + m->data.len > WINDOW) {
		post_close(s, x);
		end(s, x, "the node sent more than it was granted", 0);
		return;
	}
	strbuf_add(&x->in, m->data.data, m->data.len);
	pthread_cond_broadcast(&x->cond);
}

static uint64_t id_of(const Demarc__V1__Frame *f)
{
	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA)
		return f->stream_data->id;
	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_WINDOW)
		return f->stream_window->id;
	return f->stream_close->id;
}

void streams_frame(struct hub *h, uint64_t session, const Demarc__V1__Frame *f)
{
	struct streams *s = h->streams;
	struct stream *x;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	x = find(s, id_of(f));
	if (x && x->session != session) /* another node's: as if it were not there */
		x = NULL;
	if (x && f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA) {
		take_data(s, x, f->stream_data);
	} else if (x && f->body_case == DEMARC__V1__FRAME__BODY_STREAM_WINDOW) {
		x->has_answered = true;
		x->credit = MIN_OF(x->credit + MIN_OF(f->stream_window->add, CREDIT_MAX), CREDIT_MAX);
	} else if (x) {
		end(s, x, f->stream_close->error, f->stream_close->exit_status);
	}
	pthread_mutex_unlock(&s->lock);
}

void streams_lost(struct hub *h, uint64_t session)
{
	struct streams *s = h->streams;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	for (struct stream *x = s->list; x; x = x->next)
		if (x->session == session)
			end(s, x, "the connection to the node was lost", 0);
	pthread_mutex_unlock(&s->lock);
}

/* Why it is to end; NULL: it is not. The node has its own clock for idle and total times, and may be wrong. */
static const char *over(const struct stream *x, int64_t now)
{
	if (!x->has_answered && now - x->opened_ns > ANSWER_MS * NS_PER_MS)
		return "the node does not answer";
	if (now - x->read_ns > ABANDONED_MS * NS_PER_MS)
		return "nobody reads";
	if (now - x->opened_ns > (TOTAL_MS + ABANDONED_MS) * NS_PER_MS)
		return "its time is over";
	return NULL;
}

void streams_tick(struct hub *h)
{
	struct streams *s = h->streams;
	int64_t now = clock_mono_ns();

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	for (struct stream *x = s->list, *next; x; x = next) {
		const char *why = x->has_ended ? NULL : over(x, now);

		next = x->next;
		if (why) {
			post_close(s, x);
			end(s, x, why, 0);
		}
		if (x->has_ended && now - x->ended_ns > KEPT_MS * NS_PER_MS)
			remove_stream(s, x);
	}
	pthread_mutex_unlock(&s->lock);
}
