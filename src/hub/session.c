/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "link/frame.h"
#include "link/link.h"

/* The loop's side: connections come and go, bytes go out in order, silence is noticed. */

#define TICK_MS 1000u
#define PUMP_MS 2u

/* ---- the table of connected nodes ---- */

static size_t bucket_of(const char *node_id)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *node_id; node_id++)
		h = (h ^ (uint8_t)*node_id) * 16777619u;
	return h & (SESSION_BUCKETS - 1);
}

struct session *session_find_up(struct sessions *s, const char *node_id)
{
	struct session *x = s->up[bucket_of(node_id)];

	while (x && strcmp(x->node_id, node_id) != 0)
		x = x->next_up;
	return x;
}

static void table_remove(struct sessions *s, struct session *x)
{
	pthread_mutex_lock(&s->lock);
	if (x->is_up) {
		struct session **at = &s->up[bucket_of(x->node_id)];
		while (*at != x)
			at = &(*at)->next_up;
		*at = x->next_up;
		x->is_up = false;
	}
	pthread_mutex_unlock(&s->lock);
}

/* Returns the session that was there before under the same identity. */
static struct session *table_replace(struct sessions *s, struct session *x, uint64_t revision)
{
	struct session *old, **bucket = &s->up[bucket_of(x->node_id)];

	pthread_mutex_lock(&s->lock);
	old = session_find_up(s, x->node_id);
	pthread_mutex_unlock(&s->lock);
	if (old)
		table_remove(s, old);
	pthread_mutex_lock(&s->lock);
	x->sent_revision = revision;
	x->is_up = true;
	x->next_up = *bucket;
	*bucket = x;
	pthread_mutex_unlock(&s->lock);
	return old;
}

static struct session **serial_slot(struct sessions *s, uint64_t serial)
{
	struct session **at = &s->by_serial[serial & (SESSION_BUCKETS - 1)];

	while (*at && (*at)->serial != serial)
		at = &(*at)->next_serial;
	return at;
}

static void list_add(struct sessions *s, struct session *x)
{
	*serial_slot(s, x->serial) = x;
	x->next = s->all;
	x->at = &s->all;
	if (x->next)
		x->next->at = &x->next;
	s->all = x;
}

static void list_remove(struct sessions *s, struct session *x)
{
	*serial_slot(s, x->serial) = x->next_serial;
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
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

static bool session_drain(struct session *x)
{
	queue_drain(x, &x->control, SESSION_SOCKET_MAX);
	if (!x->control.head)
		queue_drain(x, &x->bulk, SESSION_BULK_MAX);
	return !x->control.head && !x->bulk.head;
}

static void on_pump(uv_timer_t *timer)
{
	struct sessions *s = timer->data;
	bool idle = true;

	for (struct session *x = s->all; x; x = x->next)
		if (x->state != SESSION_CLOSING)
			idle &= session_drain(x);
	if (idle) {
		uv_timer_stop(timer);
		s->pump_active = false;
	}
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
	if (session_drain(x) || s->pump_active)
		return;
	s->pump_active = uv_timer_start(&s->pump, on_pump, PUMP_MS, PUMP_MS) == 0;
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
	table_remove(s, x);
	http_ws_close(x->ws, 1000, "goodbye");
}

/* ---- WebSocket events ---- */

static int on_open(void *ctx, struct http_ws *ws, struct str cn, struct str peer, void **ret_user)
{
	struct hub *h = ctx;
	struct sessions *s = h->sessions;
	struct session *x;

	if (!s || cn.len == 0 || cn.len >= sizeof(x->node_id))
		return -EPERM;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->ws = ws;
	x->serial = ++s->next_serial;
	x->opened_ns = x->last_rx_ns = clock_mono_ns();
	(void)str_copy(x->node_id, sizeof(x->node_id), cn);
	(void)str_copy(x->peer, sizeof(x->peer), peer);
	list_add(s, x);
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
	x->seen = true;
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
	if (x->is_up)
		log_limited(LOG_INFO_, "node_disconnected", "node=%s peer=%s", x->node_id, x->peer);
	table_remove(s, x);
	session_calls_lost(s, x->serial);
	list_remove(s, x);
	queue_clear(&x->control);
	queue_clear(&x->bulk);
	free(x);
}

const struct http_ws_ops session_ws_ops = { .open = on_open, .message = on_message, .close = on_close };

/* ---- posts ---- */

static void send_hub_hello(struct sessions *s, struct session *x, const struct post *p)
{
	char *features[] = { (char *)"intent.more" };
	Demarc__V1__HubHello hello = DEMARC__V1__HUB_HELLO__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	hello.release = (char *)DEMARC_VERSION;
	hello.features = features;
	hello.n_features = ARRAY_LEN(features);
	hello.heartbeat_ms = SESSION_HEARTBEAT_MS;
	hello.intent_revision = p->revision;
	hello.resync = p->resync;
	hello.report_seq = p->report_seq;
	f.body_case = DEMARC__V1__FRAME__BODY_HUB_HELLO;
	f.hub_hello = &hello;
	session_send(s, x, &f);
}

static void hello_done(struct sessions *s, struct session *x, const struct post *p)
{
	struct session *old;

	if (!x->hello_pending)
		return;
	x->hello_pending = false;
	old = table_replace(s, x, p->resync ? 0 : p->node_revision);
	if (old && old != x)
		session_goodbye(s, old, "replaced by a newer connection of the same node", 5000);
	if (x->state == SESSION_NEW)
		log_info("node_connected", "node=%s peer=%s revision=%llu resync=%d", x->node_id,
			 x->peer, (unsigned long long)p->node_revision, p->resync);
	x->state = SESSION_UP;
	send_hub_hello(s, x, p);
	session_intent_push(s, x, p->node_revision, p->resync);
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

void session_take_post(struct sessions *s, struct post *p)
{
	struct session *x;

	if (p->kind == POST_DROP) {
		pthread_mutex_lock(&s->lock);
		x = session_find_up(s, p->node_id);
		pthread_mutex_unlock(&s->lock);
	} else {
		x = *serial_slot(s, p->serial);
	}
	if (!x || x->state == SESSION_CLOSING)
		return;
	switch (p->kind) {
	case POST_HELLO:
		hello_done(s, x, p);
		break;
	case POST_CHUNK:
		x->n_chunks--;
		session_send_bytes(s, x, p->data, p->size, true);
		break;
	case POST_SEND:
		session_send_bytes(s, x, p->data, p->size, false);
		break;
	case POST_ACKED:
		x->n_reports--;
		send_report_ack(s, x, p->report_seq);
		break;
	case POST_CLOSE:
	case POST_DROP:
		log_limited(LOG_WARN_, "session_closed", "node=%s peer=%s reason=%s", x->node_id,
			    x->peer, LOGQ(p->text));
		session_goodbye(s, x, p->text, p->retry_after_ms);
		break;
	}
}

static void on_async(uv_async_t *async)
{
	struct sessions *s = async->data;
	struct post *list, *next;

	pthread_mutex_lock(&s->lock);
	list = s->post_head;
	s->post_head = NULL;
	s->post_tail = &s->post_head;
	pthread_mutex_unlock(&s->lock);
	for (; list; list = next) {
		next = list->next;
		session_take_post(s, list);
		post_free(list);
	}
}

/* ---- time ---- */

static bool is_dead(const struct session *x, int64_t now)
{
	if (x->state == SESSION_UP)
		return now - x->last_rx_ns > SESSION_DEAD_MS * NS_PER_MS;
	return now - x->opened_ns > SESSION_HELLO_MS * NS_PER_MS;
}

/* Nodes heard of since the last time, in lists of at most SEEN_LIST_BYTES. */
#define SEEN_LIST_BYTES 20000
static void flush_seen(struct sessions *s)
{
	struct strbuf list = { 0 };

	for (struct session *x = s->all; x; x = x->next) {
		if (x->state != SESSION_UP || !x->seen)
			continue;
		x->seen = false;
		strbuf_addf(&list, "%s\n", x->node_id);
		if (list.len < SEEN_LIST_BYTES && x->next)
			continue;
		struct job *j = job_new(JOB_SEEN, 0, "");
		if (j)
			j->seen = strbuf_take(&list);
		job_thread_push(&s->store, j);
		list = (struct strbuf){ 0 };
	}
	if (list.len) {
		struct job *j = job_new(JOB_SEEN, 0, "");
		if (j)
			j->seen = strbuf_take(&list);
		job_thread_push(&s->store, j);
	}
	strbuf_done(&list);
}

static void on_tick(uv_timer_t *timer)
{
	struct sessions *s = timer->data;
	int64_t now = clock_mono_ns();

	for (struct session *x = s->all, *next; x; x = next) {
		next = x->next;
		if (x->state != SESSION_CLOSING && is_dead(x, now)) {
			log_limited(LOG_WARN_, "session_silent", "node=%s peer=%s", x->node_id, x->peer);
			session_goodbye(s, x, "no sign of life", 0);
		}
	}
	if (now - s->last_seen_ns >= SESSION_SEEN_MS * NS_PER_MS) {
		s->last_seen_ns = now;
		flush_seen(s);
	}
	if (s->all && now - s->last_sweep_ns >= SESSION_SWEEP_MS * NS_PER_MS) {
		s->last_sweep_ns = now;
		job_thread_push(&s->reader, job_new(JOB_SWEEP, 0, ""));
	}
}

/* ---- life ---- */

static void sessions_release(struct sessions *s)
{
	for (struct post *p = s->post_head, *next; p; p = next) {
		next = p->next;
		post_free(p);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct sessions *s = handle->data;

	if (--s->n_open_handles == 0)
		sessions_release(s);
}

static int start_handles(struct sessions *s, struct err *e)
{
	uv_loop_t *loop = s->hub->loop;
	int rc = uv_async_init(loop, &s->async, on_async);

	if (rc < 0)
		return err_errno(e, rc, "cannot watch for node sessions");
	(void)uv_timer_init(loop, &s->tick); /* cannot fail */
	(void)uv_timer_init(loop, &s->pump);
	s->n_open_handles = 3;
	s->async.data = s->tick.data = s->pump.data = s;
	uv_unref((uv_handle_t *)&s->async);
	uv_unref((uv_handle_t *)&s->tick);
	(void)uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
	return 0;
}

int sessions_new(struct hub *h, struct sessions **ret, struct err *e)
{
	struct sessions *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for node sessions");
	s->hub = h;
	s->post_tail = &s->post_head;
	s->last_seen_ns = s->last_sweep_ns = clock_mono_ns();
	pthread_mutex_init(&s->lock, NULL);
	rc = start_handles(s, e);
	if (rc < 0) {
		sessions_release(s);
		return rc;
	}
	rc = job_thread_start(&s->store, s, 256, session_store_run, e);
	if (rc >= 0)
		rc = job_thread_start(&s->reader, s, 64, session_reader_run, e);
	if (rc >= 0)
		rc = job_thread_start(&s->bulk, s, 1, session_bulk_run, e);
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
	job_thread_stop(&s->store);
	job_thread_stop(&s->reader);
	job_thread_stop(&s->bulk);
	if (s->hub->sessions == s)
		s->hub->sessions = NULL;
	for (struct session *x = s->all, *next; x; x = next) {
		next = x->next;
		session_calls_lost(s, x->serial);
		queue_clear(&x->control);
		queue_clear(&x->bulk);
		free(x);
	}
	s->all = NULL;
	uv_close((uv_handle_t *)&s->async, on_handle_closed);
	uv_close((uv_handle_t *)&s->tick, on_handle_closed);
	uv_close((uv_handle_t *)&s->pump, on_handle_closed);
}
