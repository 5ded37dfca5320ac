/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/stream.h"
#include "link/frame.h"
#include "link/link.h"

/* The fronts' side: connections come and go, bytes go out in order, silence is noticed. */

static uint64_t ms_of(int64_t ns)
{
	return (uint64_t)(ns / NS_PER_MS);
}

/* ---- the table of connected nodes ---- */

static size_t bucket_of(const char *node_id)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *node_id; node_id++)
		h = (h ^ (uint8_t)*node_id) * 16777619u;
	return h & (SESSION_BUCKETS - 1);
}

uint32_t session_wakes(struct sessions *s, const char *node_id, bool more)
{
	return s->wakes[bucket_of(node_id)] += more;
}

struct session *session_find_up(struct sessions *s, const char *node_id)
{
	struct session *x = s->up[bucket_of(node_id)];

	while (x && strcmp(x->node_id, node_id) != 0)
		x = x->next_up;
	return x;
}

/* Under the lock. */
static void table_unlink(struct sessions *s, struct session *x)
{
	if (x->is_up) {
		struct session **at = &s->up[bucket_of(x->node_id)];
		while (*at != x)
			at = &(*at)->next_up;
		*at = x->next_up;
		x->is_up = false;
		atomic_fetch_sub(&s->n_up, 1);
	}
}

/* Returns whether it was there. */
static bool table_remove(struct sessions *s, struct session *x)
{
	bool was_up;

	pthread_mutex_lock(&s->lock);
	was_up = x->is_up;
	table_unlink(s, x);
	pthread_mutex_unlock(&s->lock);
	return was_up;
}

/*
 * Returns the serial of the session that was there before under the same identity; 0: none, or this one. *ret_woken: the intent may
 * have changed since the hello came; from now on its changes find the session.
 */
static uint64_t table_replace(struct sessions *s, struct session *x, uint64_t revision, bool *ret_woken)
{
	struct session *old, **bucket = &s->up[bucket_of(x->node_id)];
	uint64_t serial = 0;

	pthread_mutex_lock(&s->lock);
	*ret_woken = session_wakes(s, x->node_id, false) != x->wakes;
	old = session_find_up(s, x->node_id);
	if (old && old != x)
		serial = old->serial;
	if (old)
		table_unlink(s, old);
	x->sent_revision = revision;
	x->is_up = true;
	x->next_up = *bucket;
	*bucket = x;
	atomic_fetch_add(&s->n_up, 1);
	pthread_mutex_unlock(&s->lock);
	return serial;
}

static struct session **serial_slot(struct session_front *f, uint64_t serial)
{
	struct session **at = &f->by_serial[serial / HTTP_FRONTS_MAX & (SESSION_BUCKETS - 1)];

	while (*at && (*at)->serial != serial)
		at = &(*at)->next_serial;
	return at;
}

static void list_add(struct session_front *f, struct session *x)
{
	*serial_slot(f, x->serial) = x;
	x->next = f->all;
	x->at = &f->all;
	if (x->next)
		x->next->at = &x->next;
	f->all = x;
}

static void seen_remove(struct session *x)
{
	if (!x->seen_at)
		return;
	*x->seen_at = x->seen_next;
	if (x->seen_next)
		x->seen_next->seen_at = x->seen_at;
	x->seen_at = NULL;
}

static void seen_add(struct session *x)
{
	struct session_front *f = x->front;

	if (x->seen_at)
		return;
	x->seen_next = f->seen;
	x->seen_at = &f->seen;
	if (x->seen_next)
		x->seen_next->seen_at = &x->seen_next;
	f->seen = x;
}

static void list_remove(struct session_front *f, struct session *x)
{
	*serial_slot(f, x->serial) = x->next_serial;
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
	wheel_clear(&x->silence);
	seen_remove(x);
}

/* ---- out ---- */

static void queue_clear(struct out_queue *q)
{
	for (struct out *o = q->head, *next; o; o = next) {
		next = o->next;
		free(o);
	}
	*q = (struct out_queue){ 0 };
}

static int queue_add(struct out_queue *q, const uint8_t *data, size_t size)
{
	struct out *o = malloc(sizeof(*o) + size);

	if (!o)
		return -ENOMEM;
	o->next = NULL;
	o->size = size;
	memcpy(o->data, data, size);
	if (q->head)
		*q->tail = o;
	else
		q->head = o;
	q->tail = &o->next;
	q->n_bytes += size;
	return 0;
}

/* Moves what fits below `limit` bytes of the socket's queue. */
static void queue_drain(struct session *x, struct out_queue *q, size_t limit)
{
	while (q->head && http_ws_queued_bytes(x->ws) < limit) {
		struct out *o = q->head;
		if (http_ws_send(x->ws, o->data, o->size) < 0)
			return;
		q->head = o->next;
		q->n_bytes -= o->size;
		free(o);
	}
}

static void session_drain(struct session *x)
{
	queue_drain(x, &x->control, SESSION_SOCKET_MAX);
	if (!x->control.head)
		queue_drain(x, &x->bulk, SESSION_BULK_MAX);
}

/* The next chunk is read when the socket has taken the one before. */
static void chunk_look(struct session *x)
{
	if (!x->has_chunk || x->bulk.head || http_ws_queued_bytes(x->ws))
		return;
	x->has_chunk = false;
	session_chunk_taken(x);
}

/* The socket took all it was given. */
static void on_room(void *ctx, struct http_ws *ws, void *user)
{
	struct session *x = user;

	(void)ctx;
	(void)ws;
	if (x->state == SESSION_CLOSING)
		return;
	session_drain(x);
	chunk_look(x);
}

void session_send_bytes(struct sessions *s, struct session *x, const uint8_t *data, size_t size, bool bulk)
{
	struct out_queue *q = bulk ? &x->bulk : &x->control;

	if (x->state == SESSION_CLOSING)
		return;
	if (q->n_bytes + size > SESSION_OUT_MAX || queue_add(q, data, size) < 0) {
		session_goodbye(s, x, "the node does not read what it is sent", 5000);
		return;
	}
	session_drain(x);
}

void session_send(struct sessions *s, struct session *x, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;
	int rc = frame_encode(f, &data, &size);

	if (rc < 0) {
		log_limited(LOG_ERROR_, "session_frame_failed", "kind=%s errno=%d",
			    frame_kind_name(f), -rc);
		return;
	}
	session_send_bytes(s, x, data, size, false);
}

void session_goodbye(struct sessions *s, struct session *x, const char *reason, uint32_t retry_after_ms)
{
	Demarc__V1__Goodbye bye = DEMARC__V1__GOODBYE__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;

	if (x->state == SESSION_CLOSING)
		return;
	bye.reason = (char *)reason;
	bye.retry_after_ms = retry_after_ms;
	f.body_case = DEMARC__V1__FRAME__BODY_GOODBYE;
	f.goodbye = &bye;
	if (frame_encode(&f, &data, &size) == 0 && http_ws_send(x->ws, data, size) < 0)
		log_limited(LOG_WARN_, "goodbye_unsent", "node=%s", x->node_id);
	x->state = SESSION_CLOSING;
	wheel_clear(&x->silence); /* the closing has a time-out of its own */
	(void)table_remove(s, x);
	http_ws_close(x->ws, 1000, "goodbye");
}

/* ---- WebSocket events ---- */

static int on_open(void *ctx, struct http_ws *ws, struct str cn, struct str peer, void **ret_user)
{
	struct hub *h = ctx;
	struct sessions *s = h->sessions;
	struct session_front *f = s ? &s->fronts[http_ws_front(ws)] : NULL;
	struct session *x;

	if (!f || !f->open || cn.len == 0 || cn.len >= sizeof(x->node_id))
		return -EPERM;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->ws = ws;
	x->front = f;
	x->serial = ++f->n_serials * HTTP_FRONTS_MAX + f->index;
	x->opened_ns = x->last_rx_ns = clock_mono_ns();
	(void)str_copy(x->node_id, sizeof(x->node_id), cn);
	(void)str_copy(x->peer, sizeof(x->peer), peer);
	list_add(f, x);
	x->heartbeat_ms = SESSION_HEARTBEAT_MAX_MS;
	wheel_set(&f->wheel, &x->silence, ms_of(x->opened_ns) + SESSION_HELLO_MS);
	session_cert_open(s, x);
	*ret_user = x;
	return 0;
}

static int on_message(void *ctx, struct http_ws *ws, void *user, const void *data, size_t size)
{
	struct sessions *s = ((struct hub *)ctx)->sessions;
	struct session *x = user;
	Demarc__V1__Frame *f = NULL;
	struct err e;

	(void)ws;
	if (!s || x->state == SESSION_CLOSING)
		return 0;
	x->last_rx_ns = clock_mono_ns();
	seen_add(x);
	if (frame_decode(FRAME_FROM_NODE, data, size, &f, &e) < 0) {
		log_limited(LOG_WARN_, "session_bad_frame", "node=%s peer=%s bytes=%zu reason=%s",
			    x->node_id, x->peer, size, LOGQ(e.msg));
		session_goodbye(s, x, e.msg, 5000);
		return 0;
	}
	return session_take_frame(s, x, f);
}

static void on_close(void *ctx, struct http_ws *ws, void *user)
{
	struct sessions *s = ((struct hub *)ctx)->sessions;
	struct session *x = user;

	(void)ws;
	if (!s || !x)
		return;
	if (table_remove(s, x))
		log_limited(LOG_INFO_, "node_disconnected", "node=%s peer=%s", x->node_id, x->peer);
	if (x->state != SESSION_NEW)
		strbuf_addf(&x->front->gone[0], "%s\n", x->node_id);
	session_calls_lost(s, x->serial);
	streams_lost(s->hub, x->serial);
	session_chunk_leave(x);
	list_remove(x->front, x);
	queue_clear(&x->control);
	queue_clear(&x->bulk);
	free(x->new_serial);
	free(x);
}

const struct http_ws_ops session_ws_ops = { .open = on_open,
					    .message = on_message,
					    .room = on_room,
					    .close = on_close };

/* ---- heartbeat ---- */

/* When the session ends, unless something happens before, in ms. */
static uint64_t silence_until(const struct session *x)
{
	if (x->state == SESSION_UP)
		return ms_of(x->last_rx_ns) + heartbeat_silence_ms(x->heartbeat_ms);
	return ms_of(x->opened_ns) + (x->hello_pending ? SESSION_ANSWER_MS : SESSION_HELLO_MS);
}

void session_watch(struct session *x)
{
	if (x->state == SESSION_UP)
		wheel_set(&x->front->wheel, &x->silence, silence_until(x));
}

uint32_t session_heartbeat_ms(const struct session *x)
{
	const struct sessions *s = x->front->sessions;

	return heartbeat_ms(s->hub->config->heartbeat_s, atomic_load(&s->n_up), http_ws_strain(x->ws));
}

/* ---- posts ---- */

static void send_hub_hello(struct sessions *s, struct session *x, const struct hello_result *r)
{
	char *features[] = { (char *)"intent.more", (char *)"peer-copy" };
	Demarc__V1__HubHello hello = DEMARC__V1__HUB_HELLO__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	hello.release = (char *)DEMARC_VERSION;
	hello.features = features;
	hello.n_features = ARRAY_LEN(features);
	hello.heartbeat_ms = x->heartbeat_ms = session_heartbeat_ms(x);
	hello.intent_revision = r->revision;
	hello.resync = r->resync;
	hello.report_seq = r->report_seq;
	f.body_case = DEMARC__V1__FRAME__BODY_HUB_HELLO;
	f.hub_hello = &hello;
	session_send(s, x, &f);
}

void session_hello_done(struct sessions *s, struct session *x, const struct hello_result *r)
{
	bool woken;
	uint64_t old;

	x->hello_pending = false;
	old = table_replace(s, x, r->resync ? 0 : r->node_revision, &woken);
	if (old) /* on another front, perhaps */
		sessions_post(s, post_new(POST_REPLACED, old));
	if (x->state == SESSION_NEW)
		log_info("node_connected", "node=%s peer=%s revision=%llu resync=%d resumed=%d",
			 x->node_id, x->peer, (unsigned long long)r->node_revision, r->resync,
			 http_ws_resumed(x->ws));
	x->state = SESSION_UP;
	send_hub_hello(s, x, r);
	session_watch(x);
	/* An intent may have changed after the node's row was read and before the node was in the table: then nobody woke it. */
	if (r->resync || r->node_revision != r->revision || woken)
		session_intent_push(s, x, r->node_revision, r->resync);
	session_cert_up(s, x);
}

static void send_report_ack(struct sessions *s, struct session *x, uint64_t seq)
{
	Demarc__V1__ReportAck ack = DEMARC__V1__REPORT_ACK__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	ack.seq = seq;
	f.body_case = DEMARC__V1__FRAME__BODY_REPORT_ACK;
	f.report_ack = &ack;
	session_send(s, x, &f);
}

static void report_done(struct session *x, const struct post *p)
{
	x->n_reports--;
	x->report_bytes -= p->report_bytes;
}

static void take_post(struct session_front *f, struct post *p)
{
	struct sessions *s = f->sessions;
	struct session *x = *serial_slot(f, p->serial);

	if (!x || x->state == SESSION_CLOSING)
		return;
	switch (p->kind) {
	case POST_HELLO:
		if (x->hello_pending)
			session_hello_done(s, x, &p->hello);
		break;
	case POST_CHUNK:
		x->has_chunk = true;
		session_send_bytes(s, x, p->data, p->size, true);
		break;
	case POST_CERT:
		x->cert_pending = false;
		session_send_bytes(s, x, p->data, p->size, false);
		break;
	case POST_STREAM:
		session_send_bytes(s, x, p->data, p->size, true);
		break;
	case POST_SEND:
		session_send_bytes(s, x, p->data, p->size, false);
		break;
	case POST_ACKED:
		report_done(x, p);
		send_report_ack(s, x, p->report_seq);
		break;
	case POST_MERGED:
		report_done(x, p);
		break;
	case POST_TAKEN:
		x->has_ack = false;
		session_ack_push(s, x);
		break;
	case POST_REPLACED:
		session_goodbye(s, x, "replaced by a newer connection of the same node", 5000);
		break;
	case POST_CLOSE:
		log_limited(LOG_WARN_, "session_closed", "node=%s peer=%s reason=%s", x->node_id,
			    x->peer, LOGQ(p->text));
		session_goodbye(s, x, p->text, p->retry_after_ms);
		break;
	}
}

static void on_async(uv_async_t *async)
{
	struct session_front *f = async->data;
	struct post *list, *next;

	pthread_mutex_lock(&f->lock);
	list = f->post_head;
	f->post_head = NULL;
	f->post_tail = &f->post_head;
	pthread_mutex_unlock(&f->lock);
	for (; list; list = next) {
		next = list->next;
		take_post(f, list);
		post_free(list);
	}
}

/* ---- time ---- */

/* The store is slower than nodes wait: before it gives up, the node is told when to come, and those that come together are not told the same. */
static void send_away_late(struct session_front *f, struct session *x)
{
	log_limited(LOG_WARN_, "session_hello_late", "node=%s peer=%s", x->node_id, x->peer);
	session_goodbye(f->sessions, x, "the hub's store is too slow to answer now",
			SESSION_LATE_RETRY_MS + f->n_late++ % SESSION_LATE_SLOTS * SESSION_LATE_SLOT_MS);
}

/* The end of a silence, unless something was heard meanwhile. */
static bool on_silence(struct wheel_node *n, void *ctx)
{
	struct session_front *f = ctx;
	struct session *x = CONTAINER_OF(n, struct session, silence);
	uint64_t until = silence_until(x);

	if (until > ms_of(clock_mono_ns())) {
		wheel_set(&f->wheel, n, until);
		return true;
	}
	if (x->state == SESSION_NEW && x->hello_pending) {
		send_away_late(f, x);
		return true;
	}
	log_limited(LOG_WARN_, "session_silent", "node=%s peer=%s", x->node_id, x->peer);
	session_goodbye(f->sessions, x, "no sign of life", 0);
	return true;
}

/*
 * Ids, a line each, of nodes that were seen `ago_ms` ago, in jobs of at most SEEN_LIST_BYTES and a line: none holds the store's transaction for
 * long.
 */
#define SEEN_LIST_BYTES 20000
static void push_seen(struct sessions *s, struct strbuf *list, size_t min_bytes, unsigned ago_ms)
{
	struct job *j;

	if (list->len == 0 || list->len < min_bytes)
		return;
	j = job_new(JOB_SEEN, 0, "");
	if (j) {
		j->seen = strbuf_take(list);
		j->now_us -= ago_ms * 1000LL;
	}
	job_thread_push(&s->store, j);
	strbuf_done(list);
}

static void add_seen(struct sessions *s, struct strbuf *list, const char *node_id, unsigned ago_ms)
{
	strbuf_addf(list, "%s\n", node_id);
	push_seen(s, list, SEEN_LIST_BYTES, ago_ms);
}

/* Not those whose last report said it. */
static void flush_seen(struct session_front *f, int64_t now)
{
	struct strbuf list = { 0 };

	while (f->seen) {
		struct session *x = f->seen;

		if (!x->report_ns || now - x->report_ns >= SESSION_SEEN_MS * NS_PER_MS)
			add_seen(f->sessions, &list, x->node_id, 0);
		seen_remove(x);
	}
	push_seen(f->sessions, &list, 0, 0);
	strbuf_done(&list);
}

/* Those of the older list that are not back: after an outage that is hardly one. They left ago_ms ago, or before. */
static void flush_gone(struct session_front *f, unsigned ago_ms)
{
	struct strbuf list = { 0 }, older = f->gone[1];
	struct str rest = str_of(strbuf_cstr(&older));

	f->gone[1] = f->gone[0];
	f->gone[0] = (struct strbuf){ 0 };
	while (rest.len) {
		char id[40];

		if (str_copy(id, sizeof(id), str_cut(rest, '\n', &rest)) == 0 &&
		    !session_serial_of(f->sessions, id))
			add_seen(f->sessions, &list, id, ago_ms);
	}
	push_seen(f->sessions, &list, 0, ago_ms);
	strbuf_done(&list);
	strbuf_done(&older);
}

static bool is_due(int64_t now, unsigned every_ms, int64_t *last)
{
	if (now - *last < every_ms * NS_PER_MS)
		return false;
	*last = now;
	return true;
}

static void on_tick(uv_timer_t *timer)
{
	struct session_front *f = timer->data;
	struct sessions *s = f->sessions;
	int64_t now = clock_mono_ns();

	(void)wheel_turn(&f->wheel, ms_of(now), on_silence, f);
	if (is_due(now, SESSION_GONE_MS, &f->last_gone_ns))
		flush_gone(f, SESSION_GONE_MS);
	if (is_due(now, SESSION_SEEN_MS, &f->last_seen_ns))
		flush_seen(f, now);
	if (f->index == 0 && is_due(now, SESSION_SWEEP_MS, &s->last_sweep_ns)) {
		job_thread_push(&s->reader, job_new(JOB_SWEEP, 0, ""));
		job_thread_push(&s->cert, job_new(JOB_CERT_SWEEP, 0, ""));
		streams_tick(s->hub);
	}
}

/* ---- life ---- */

int session_front_starts(void *ctx, unsigned front, uv_loop_t *loop, struct err *e)
{
	struct sessions *s = ((struct hub *)ctx)->sessions;
	struct session_front *f = &s->fronts[front];

	if (uv_async_init(loop, &f->async, on_async) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "cannot watch for node sessions");
	(void)uv_timer_init(loop, &f->tick); /* cannot fail */
	f->async.data = f->tick.data = f;
	f->last_seen_ns = f->last_gone_ns = clock_mono_ns();
	wheel_init(&f->wheel, SESSION_TICK_MS, ms_of(f->last_seen_ns));
	(void)uv_timer_start(&f->tick, on_tick, SESSION_TICK_MS, SESSION_TICK_MS);
	pthread_mutex_lock(&f->lock);
	f->open = true;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

/* The server has closed every connection of the front, and so every session. */
void session_front_ends(void *ctx, unsigned front)
{
	struct session_front *f = &((struct hub *)ctx)->sessions->fronts[front];

	pthread_mutex_lock(&f->lock);
	f->open = false;
	pthread_mutex_unlock(&f->lock);
	flush_gone(f, SESSION_GONE_MS);
	flush_gone(f, 0);
	uv_close((uv_handle_t *)&f->async, NULL);
	uv_close((uv_handle_t *)&f->tick, NULL);
}

static void front_done(struct session_front *f)
{
	for (struct post *p = f->post_head, *next; p; p = next) {
		next = p->next;
		post_free(p);
	}
	strbuf_done(&f->gone[0]);
	strbuf_done(&f->gone[1]);
	pthread_mutex_destroy(&f->lock);
}

static void front_init(struct sessions *s, unsigned i)
{
	struct session_front *f = &s->fronts[i];

	f->sessions = s;
	f->index = i;
	f->post_tail = &f->post_head;
	pthread_mutex_init(&f->lock, NULL);
}

int sessions_new(struct hub *h, struct sessions **ret, struct err *e)
{
	struct sessions *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for node sessions");
	s->hub = h;
	s->last_sweep_ns = clock_mono_ns();
	session_store_init(s);
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned i = 0; i < HTTP_FRONTS_MAX; i++)
		front_init(s, i);
	rc = job_thread_start(&s->hello, s, "nodes-hello", 64, session_hello_run, e);
	if (rc >= 0)
		rc = job_thread_start(&s->store, s, "nodes-store", 256, session_store_run, e);
	if (rc >= 0)
		rc = job_thread_start(&s->reader, s, "nodes-intent", 64, session_reader_run, e);
	if (rc >= 0)
		rc = bulk_start(&s->bulk, s, e);
	if (rc >= 0)
		rc = job_thread_start(&s->cert, s, "nodes-cert", 64, session_cert_run, e);
	if (rc < 0) {
		sessions_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void sessions_free(struct sessions *s)
{
	if (!s)
		return;
	job_thread_stop(&s->hello);
	job_thread_stop(&s->store);
	session_store_done(s);
	job_thread_stop(&s->reader);
	bulk_stop(&s->bulk);
	job_thread_stop(&s->cert);
	if (s->hub->sessions == s)
		s->hub->sessions = NULL;
	for (unsigned i = 0; i < HTTP_FRONTS_MAX; i++)
		front_done(&s->fronts[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
