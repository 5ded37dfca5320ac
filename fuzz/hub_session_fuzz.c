/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub's end of the channel as a whole: sessions of nodes that come, say anything in any order, and go, with people who open streams and ask
 * at the same time. The fronts' code runs as it is; sockets, threads and time are the script's. Where the hub waits for a node (stream_read(),
 * session_call()), the script goes on inside of that wait, and says how it ends.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "hub/cert.h"
#include "hub/session_impl.h"
#include "hub/stream.h"
#include "link/frame.h"
#include "link/link.h"
#include "script.h"

#define CONNS 6u
#define NODES 3u
#define USERS 2u
#define FRONTS 2u
#define STREAMS 96u
#define CALLS 32u
#define DEPTH_MAX 3u	       /* waits inside of waits */
#define STREAM_WINDOW 262144u  /* what the hub grants a node */
#define CREDIT_MAX (1u << 20)  /* what it lets itself be granted */
#define STREAM_DATA_MAX 16384u /* of one message */
#define BYTES_PERIOD 65521u
#define IMAGE "11111111-2222-3333-4444-55555555555"

static const char *const nodes[NODES] = { "node-a", "node-b", "node-c" };
static const char *const users[USERS] = { "alice", "bob" };

struct http_ws {
	struct session *session; /* NULL: no connection */
	unsigned front, node;
	size_t queued;
	bool takes_nothing; /* not even into its queue */
	bool is_closing, said_goodbye;
};

/* What must be true of a stream, kept beside the hub's own account of it. */
struct seen_stream {
	uint64_t id, session;
	bool is_over; /* one side has closed it */
	uint64_t sent, read; /* the node's bytes: those that came while it was open, those that a person got */
	uint64_t granted, credit; /* to the node, and to the hub */
};

struct seen_call {
	uint64_t request, session;
};

static struct world {
	struct hub_config config;
	struct hub hub;
	struct sessions sessions;
	struct http_ws conns[CONNS];
	struct seen_stream streams[STREAMS];
	unsigned n_streams;
	struct seen_call calls[CALLS];
	unsigned n_calls, depth;
	struct script script;
	uv_async_cb on_async;
	uv_timer_cb on_tick;
} w;

static const uint64_t sizes[] = {
	0,	  1,	     2,	    100,   4095,	  16383,
	16384,	  16385,     65536, 65537, STREAM_WINDOW, STREAM_WINDOW + 1,
	1u << 20, UINT32_MAX
};

/* ---- the sockets ---- */

int __wrap_http_ws_send(struct http_ws *ws, const void *data, size_t size);
size_t __wrap_http_ws_queued_bytes(const struct http_ws *ws);
void __wrap_http_ws_close(struct http_ws *ws, uint16_t code, const char *reason);
unsigned __wrap_http_ws_front(const struct http_ws *ws);
bool __wrap_http_ws_client_serial(const struct http_ws *ws, char *ret, size_t size);
bool __wrap_http_ws_resumed(const struct http_ws *ws);
double __wrap_http_ws_strain(const struct http_ws *ws);

/* Each hello and each answer to a ping says how often the node is to show itself, by the number of nodes and the front's load. */
static void check_interval(const struct http_ws *ws, const Demarc__V1__Frame *f)
{
	uint32_t ms = heartbeat_ms(w.config.heartbeat_s, atomic_load(&w.sessions.n_up),
				   http_ws_strain(ws));

	if (f->body_case == DEMARC__V1__FRAME__BODY_HUB_HELLO)
		FUZZ_CHECK(f->hub_hello->heartbeat_ms == ms);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_PONG)
		FUZZ_CHECK(f->pong->heartbeat_ms == ms);
	else
		return;
	FUZZ_CHECK(ws->session->heartbeat_ms == ms);
}

int __wrap_http_ws_send(struct http_ws *ws, const void *data, size_t size)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	struct err e;

	FUZZ_CHECK(ws->session && !ws->is_closing && !ws->said_goodbye);
	FUZZ_CHECK(size <= LINK_FRAME_MAX);
	FUZZ_CHECK(frame_decode(FRAME_FROM_HUB, data, size, &f, &e) == 0);
	check_interval(ws, f);
	if (ws->takes_nothing)
		return -ENOBUFS;
	ws->said_goodbye = f->body_case == DEMARC__V1__FRAME__BODY_GOODBYE;
	ws->queued += f->body_case == DEMARC__V1__FRAME__BODY_CHUNK ? 65536 : size;
	return 0;
}

size_t __wrap_http_ws_queued_bytes(const struct http_ws *ws)
{
	return ws->queued;
}

void __wrap_http_ws_close(struct http_ws *ws, uint16_t code, const char *reason)
{
	FUZZ_CHECK(!ws->is_closing && code == 1000 && reason);
	ws->is_closing = true;
}

unsigned __wrap_http_ws_front(const struct http_ws *ws)
{
	return ws->front;
}

double __wrap_http_ws_strain(const struct http_ws *ws)
{
	return 1 + ws->front;
}

bool __wrap_http_ws_resumed(const struct http_ws *ws)
{
	return ws->front;
}

bool __wrap_http_ws_client_serial(const struct http_ws *ws, char *ret, size_t size)
{
	FUZZ_CHECK(size > 2);
	(void)snprintf(ret, size, "00");
	return ws->node != 0;
}

/* ---- the loop ---- */

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb fn);
int __wrap_uv_async_send(uv_async_t *async);
int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *timer);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb fn);

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb fn)
{
	(void)loop;
	(void)async;
	w.on_async = fn;
	return 0;
}

int __wrap_uv_async_send(uv_async_t *async)
{
	FUZZ_CHECK(async->data);
	return 0;
}

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	(void)loop;
	(void)timer;
	return 0;
}

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms)
{
	(void)timer;
	FUZZ_CHECK(first_ms && every_ms);
	w.on_tick = fn;
	return 0;
}

void __wrap_uv_close(uv_handle_t *handle, uv_close_cb fn)
{
	(void)handle;
	FUZZ_CHECK(!fn);
}

/* ---- certificates, which are not looked at here ---- */

bool __wrap_certs_is_pending(struct hub *h, const char *serial);
bool __wrap_certs_trust_is(struct hub *h, const char *digest);
bool __wrap_certs_is_refused(void *ctx, struct str node_id, struct str serial);
int __wrap_certs_trust(struct hub *h, struct trust *ret);

bool __wrap_certs_is_pending(struct hub *h, const char *serial)
{
	(void)h;
	return *serial;
}

bool __wrap_certs_trust_is(struct hub *h, const char *digest)
{
	(void)h;
	return *digest == 't';
}

bool __wrap_certs_is_refused(void *ctx, struct str node_id, struct str serial)
{
	(void)ctx;
	(void)serial;
	return node_id.len == 0;
}

int __wrap_certs_trust(struct hub *h, struct trust *ret)
{
	(void)h;
	*ret = (struct trust){ .ca = strdup("ca"), .digest = "t" };
	return ret->ca ? 0 : -ENOMEM;
}

/* ---- what is said to nodes about streams and calls ---- */

static struct seen_stream *stream_of(uint64_t id)
{
	for (unsigned i = 0; i < w.n_streams; i++)
		if (w.streams[i].id == id)
			return &w.streams[i];
	return NULL;
}

static void check_open(uint64_t serial, const Demarc__V1__StreamOpen *m)
{
	FUZZ_CHECK(!stream_of(m->id) && m->window == STREAM_WINDOW);
	FUZZ_CHECK(w.n_streams < STREAMS);
	w.streams[w.n_streams++] =
		(struct seen_stream){ .id = m->id, .session = serial, .granted = m->window };
}

static void check_said(uint64_t serial, const Demarc__V1__Frame *f)
{
	struct seen_stream *x;

	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA) {
		x = stream_of(f->stream_data->id);
		FUZZ_CHECK(x && x->session == serial && !x->is_over);
		FUZZ_CHECK(f->stream_data->data.len <= STREAM_DATA_MAX);
		FUZZ_CHECK(f->stream_data->data.len && f->stream_data->data.len <= x->credit);
		x->credit -= f->stream_data->data.len;
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_WINDOW) {
		x = stream_of(f->stream_window->id);
		FUZZ_CHECK(x && x->session == serial && !x->is_over);
		x->granted += f->stream_window->add;
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE) {
		x = stream_of(f->stream_close->id);
		FUZZ_CHECK(x && x->session == serial && !x->is_over);
		x->is_over = true;
	}
}

static void check_call(uint64_t serial, const Demarc__V1__Frame *f)
{
	FUZZ_CHECK(f->request && f->request % 2 == 0);
	for (unsigned i = 0; i < w.n_calls; i++)
		FUZZ_CHECK(w.calls[i].request != f->request);
	FUZZ_CHECK(w.n_calls < CALLS);
	w.calls[w.n_calls++] = (struct seen_call){ f->request, serial };
}

void __real_session_post_frame(struct sessions *s, uint64_t serial, enum post_kind kind,
			       const Demarc__V1__Frame *f);
void __wrap_session_post_frame(struct sessions *s, uint64_t serial, enum post_kind kind,
			       const Demarc__V1__Frame *f);

void __wrap_session_post_frame(struct sessions *s, uint64_t serial, enum post_kind kind,
			       const Demarc__V1__Frame *f)
{
	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_OPEN)
		check_open(serial, f->stream_open);
	else if (kind == POST_STREAM)
		check_said(serial, f);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_CALL)
		check_call(serial, f);
	__real_session_post_frame(s, serial, kind, f);
}

/* ---- what must hold at any time ---- */

static void check_session(const struct session *x, size_t *under_way)
{
	unsigned n = 0;

	FUZZ_CHECK(x->control.n_bytes <= SESSION_OUT_MAX && x->bulk.n_bytes <= SESSION_OUT_MAX);
	FUZZ_CHECK(x->ws->queued <= SESSION_SOCKET_MAX + 2 * LINK_FRAME_MAX);
	FUZZ_CHECK(x->n_reports <= SESSION_REPORTS_MAX);
	FUZZ_CHECK(x->report_bytes <= SESSION_REPORT_BYTES_MAX && (x->n_reports || !x->report_bytes));
	FUZZ_CHECK((x->state == SESSION_UP) == x->is_up || x->state != SESSION_CLOSING);
	for (const struct chunk_wanted *c = x->place.first; c; c = c->next)
		n++;
	FUZZ_CHECK(n == x->place.n_waiting && n <= CHUNKS_WAITING_MAX);
	FUZZ_CHECK((n || x->place.under_way) == (x->place.in != NULL) ||
		   x->place.in == &w.sessions.bulk.queue.sent);
	*under_way += x->place.under_way;
}

/* Jobs of one session: whatever it says, and however fast. */
static void check_jobs(const struct job_thread *t, const struct session *x)
{
	unsigned n = 0;

	for (const struct job *j = t->head; j; j = j->next)
		n += j->serial == x->serial;
	FUZZ_CHECK(n <= SESSION_REPORTS_MAX + 2);
}

static void check_all_jobs(void)
{
	for (unsigned i = 0; i < CONNS; i++)
		if (w.conns[i].session)
			check_jobs(&w.sessions.store, w.conns[i].session);
}

static void check(void)
{
	size_t under_way = 0;
	unsigned n_up = 0;

	for (unsigned i = 0; i < CONNS; i++) {
		const struct session *x = w.conns[i].session;

		if (!x)
			continue;
		n_up += x->is_up;
		check_session(x, &under_way);
		for (unsigned k = 0; k < i; k++)
			FUZZ_CHECK(!x->is_up || !w.conns[k].session || !w.conns[k].session->is_up ||
				   w.conns[k].node != w.conns[i].node);
	}
	FUZZ_CHECK(n_up == atomic_load(&w.sessions.n_up));
	FUZZ_CHECK(under_way == w.sessions.bulk.queue.under_way);
	FUZZ_CHECK(under_way <= CHUNKS_UNDER_WAY_MAX + LINK_CHUNK_MAX);
}

/* ---- nodes ---- */

static struct http_ws *conn(void)
{
	return &w.conns[script_number(&w.script) % CONNS];
}

static void node_comes(struct http_ws *ws, unsigned node, unsigned front)
{
	void *user = NULL;

	if (ws->session)
		return;
	*ws = (struct http_ws){ .front = front, .node = node };
	FUZZ_CHECK(session_ws_ops.open(&w.hub, ws, str_of(nodes[node]), STR("192.0.2.1"), &user) == 0);
	ws->session = user;
}

static void streams_over(uint64_t serial)
{
	for (unsigned i = 0; i < w.n_streams; i++)
		if (w.streams[i].session == serial)
			w.streams[i].is_over = true;
}

static void node_goes(struct http_ws *ws)
{
	uint64_t serial;

	if (!ws->session)
		return;
	serial = ws->session->serial;
	session_ws_ops.close(&w.hub, ws, ws->session);
	ws->session = NULL;
	streams_over(serial);
}

static void say_bytes(struct http_ws *ws, const void *data, size_t size)
{
	if (ws->session)
		FUZZ_CHECK(session_ws_ops.message(&w.hub, ws, ws->session, data, size) == 0);
}

static void say(struct http_ws *ws, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;

	FUZZ_CHECK(frame_encode(f, &data, &size) == 0);
	say_bytes(ws, data, size);
}

static void say_hello(struct http_ws *ws, unsigned how)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__NodeHello m = DEMARC__V1__NODE_HELLO__INIT;
	char *features[] = { (char *)(uintptr_t) "cert-renew" };

	m.node_id = (char *)(uintptr_t)nodes[how & 1 ? (ws->node + 1) % NODES : ws->node];
	m.n_features = how & 2 ? 1 : 0;
	m.features = features;
	m.intent_revision = how;
	f.body_case = DEMARC__V1__FRAME__BODY_NODE_HELLO;
	f.node_hello = &m;
	say(ws, &f);
}

/* The stream that an argument names: one of those opened, or none. */
static uint64_t stream_id(void)
{
	unsigned n = script_number(&w.script);

	return n < w.n_streams ? w.streams[n].id : n;
}

/* What a node says on a stream from that byte on: at least a window's worth. */
static const uint8_t *bytes_at(uint64_t stream, uint64_t at)
{
	static uint8_t bytes[BYTES_PERIOD + STREAM_WINDOW + 1];

	for (uint32_t i = bytes[1] ? sizeof(bytes) : 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i % BYTES_PERIOD * 2654435761u >> 24);
	return bytes + (at + stream) % BYTES_PERIOD;
}

static bool is_heard(const struct http_ws *ws, const struct seen_stream *x)
{
	return x && ws->session && ws->session->state == SESSION_UP &&
	       ws->session->serial == x->session && !x->is_over;
}

static void say_data(struct http_ws *ws, uint64_t id, size_t size)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;
	struct seen_stream *x = stream_of(id);
	bool counts = is_heard(ws, x);

	m.id = id;
	m.data.len = MIN_OF(size, (size_t)STREAM_DATA_MAX + 1);
	m.data.data = (uint8_t *)(uintptr_t)bytes_at(id, x ? x->sent : 0);
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
	f.stream_data = &m;
	say(ws, &f);
	if (counts && !x->is_over)
		x->sent += m.data.len;
	FUZZ_CHECK(!x || x->sent <= x->granted);
}

static void say_window(struct http_ws *ws, uint64_t id, uint32_t add)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamWindow m = DEMARC__V1__STREAM_WINDOW__INIT;
	struct seen_stream *x = stream_of(id);

	if (is_heard(ws, x))
		x->credit = MIN_OF(x->credit + add, (uint64_t)CREDIT_MAX);
	m.id = id;
	m.add = add;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_WINDOW;
	f.stream_window = &m;
	say(ws, &f);
}

static void say_close(struct http_ws *ws, uint64_t id)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamClose m = DEMARC__V1__STREAM_CLOSE__INIT;
	struct seen_stream *x = stream_of(id);

	if (is_heard(ws, x))
		x->is_over = true;
	m.id = id;
	m.error = (char *)(uintptr_t) "the end";
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_CLOSE;
	f.stream_close = &m;
	say(ws, &f);
}

static void say_result(struct http_ws *ws, unsigned which)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CallResult m = DEMARC__V1__CALL_RESULT__INIT;

	f.request = which < w.n_calls ? w.calls[which].request : which;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL_RESULT;
	f.call_result = &m;
	m.error = (char *)(uintptr_t)nodes[ws->node];
	say(ws, &f);
}

static void want_chunk(struct http_ws *ws, unsigned offset, uint32_t size)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__ChunkRequest m = DEMARC__V1__CHUNK_REQUEST__INIT;
	char image[40];

	(void)snprintf(image, sizeof(image), IMAGE "%u", offset / 32 % 10);
	f.request = 1;
	m.image_id = image;
	m.offset = offset % 32 < 20 ? offset % 32 * 65536ull : UINT64_MAX - offset;
	m.size = size;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK_REQUEST;
	f.chunk_request = &m;
	say(ws, &f);
}

static void say_report(struct http_ws *ws)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Report m = DEMARC__V1__REPORT__INIT;

	m.seq = 7;
	f.body_case = DEMARC__V1__FRAME__BODY_REPORT;
	f.report = &m;
	say(ws, &f);
}

static void say_ack(struct http_ws *ws, unsigned revision)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__IntentAck m = DEMARC__V1__INTENT_ACK__INIT;

	m.revision = revision;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT_ACK;
	f.intent_ack = &m;
	say(ws, &f);
}

static void say_ping(struct http_ws *ws)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Ping m = DEMARC__V1__PING__INIT;

	f.body_case = DEMARC__V1__FRAME__BODY_PING;
	f.ping = &m;
	say(ws, &f);
}

static void say_cert_request(struct http_ws *ws)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CertRequest m = DEMARC__V1__CERT_REQUEST__INIT;

	m.csr = (char *)(uintptr_t) "csr";
	f.body_case = DEMARC__V1__FRAME__BODY_CERT_REQUEST;
	f.cert_request = &m;
	say(ws, &f);
}

static void say_raw(struct http_ws *ws)
{
	size_t n = MIN_OF((size_t)script_number(&w.script), (size_t)(w.script.end - w.script.at));

	say_bytes(ws, w.script.at, n);
	w.script.at += n;
}

/* ---- people ---- */

static const char *user(void)
{
	return users[script_number(&w.script) % USERS];
}

static void person_opens(void)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__LogStream log = DEMARC__V1__LOG_STREAM__INIT;
	const char *node = nodes[script_number(&w.script) % NODES];
	struct err e = { 0 };
	uint64_t id = 0;
	int rc;

	if (w.n_streams == STREAMS)
		return;
	open.kind_case = DEMARC__V1__STREAM_OPEN__KIND_LOG;
	open.log = &log;
	rc = stream_open(&w.hub, node, user(), "log", &open, &id, &e);
	FUZZ_CHECK(rc == 0 ? stream_of(id) != NULL : *e.msg);
}

static void person_reads(void)
{
	static char buf[STREAM_WINDOW + 1];
	uint64_t id = stream_id(), size = script_pick(&w.script, sizes, ARRAY_LEN(sizes));
	struct seen_stream *x;
	struct stream_read got;
	struct err e = { 0 };
	int rc = stream_read(&w.hub, id, user(), 1000, buf, MIN_OF(size, sizeof(buf)), &got, &e);

	x = stream_of(id);
	FUZZ_CHECK(rc == 0 ? x != NULL : *e.msg);
	if (rc < 0)
		return;
	FUZZ_CHECK(memcmp(buf, bytes_at(id, x->read), got.size) == 0);
	x->read += got.size;
	FUZZ_CHECK(x->read <= x->sent && x->granted <= STREAM_WINDOW + x->read);
}

static void person_writes(void)
{
	static const char buf[2 * STREAM_DATA_MAX];
	uint64_t id = stream_id(), size = script_pick(&w.script, sizes, ARRAY_LEN(sizes));
	struct seen_stream *x = stream_of(id);
	uint64_t credit = x ? x->credit : 0;
	struct err e = { 0 };
	int rc = stream_write(&w.hub, id, user(), buf, MIN_OF(size, sizeof(buf)),
			      (uint32_t)size % 3, 80, &e);

	FUZZ_CHECK(rc >= 0 ? x && x->credit + (uint64_t)rc == credit : *e.msg);
}

static void person_closes(void)
{
	uint64_t id = stream_id();
	struct err e = { 0 };

	if (stream_close(&w.hub, id, user(), &e) == 0)
		FUZZ_CHECK(stream_of(id) && stream_of(id)->is_over);
}

static void person_asks(void)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *answer = NULL;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	unsigned mine = w.n_calls, node = script_number(&w.script) % NODES;
	struct err e = { 0 };
	int rc;

	if (mine == CALLS)
		return;
	rc = session_call(&w.hub, nodes[node], &call, 1000, &answer, &e);
	FUZZ_CHECK(rc < 0 ? !answer && *e.msg : answer->request == w.calls[mine].request);
	FUZZ_CHECK(rc < 0 || strcmp(answer->call_result->error, nodes[node]) == 0);
}

/* ---- threads ---- */

static struct job *take_job(struct job_thread *t)
{
	struct job *j = t->head;

	if (j)
		t->head = j->next;
	if (!t->head)
		t->tail = &t->head;
	return j;
}

static void answer_stored(const struct job *j, enum post_kind kind)
{
	struct post *p = post_new(kind, j->serial);

	FUZZ_CHECK(p);
	p->report_seq = j->frame->report->seq;
	p->report_bytes = j->n_bytes;
	sessions_post(&w.sessions, p);
}

static void run_thread(struct job_thread *t, unsigned how)
{
	struct job *j = take_job(t);

	if (!j)
		return;
	j->hello = (struct hello_result){ .revision = how, .node_revision = how / 2, .resync = how & 4 };
	if (j->kind == JOB_HELLO)
		session_post_hello(&w.sessions, j);
	else if (j->kind == JOB_REPORT)
		answer_stored(j, how & 1 ? POST_MERGED : POST_ACKED);
	else if (j->kind == JOB_ACK)
		sessions_post(&w.sessions, post_new(POST_TAKEN, j->serial));
	job_free(j);
}

static void run_threads(void)
{
	unsigned how = script_number(&w.script);
	struct job_thread *threads[] = { &w.sessions.hello, &w.sessions.store, &w.sessions.cert,
					 &w.sessions.reader };

	check_all_jobs();
	run_thread(threads[how % 4], how / 4);
}

/* What the bulk thread does, with a file of zeros. */
static void run_bulk(void)
{
	static uint8_t zeros[16]; /* what is sent counts for what was asked for: see http_ws_send() */
	const struct chunk_place *p = NULL;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Chunk c = DEMARC__V1__CHUNK__INIT;
	struct bulk *b = &w.sessions.bulk;
	struct chunk_wanted *want;
	struct peer_ask *ask;
	int64_t until;
	uint64_t stuck = chunk_queue_stuck(&b->queue, clock_mono_ns());

	if (stuck) {
		session_post_close(&w.sessions, stuck, "stuck", SESSION_STUCK_RETRY_MS);
		return;
	}
	ask = peer_ask_next(b);
	if (ask) {
		session_peer_introduce(b, ask);
		peer_ask_free(ask);
		return;
	}
	want = chunk_queue_next(&b->queue, clock_mono_ns(), &p, &until);
	if (!want)
		return;
	FUZZ_CHECK(p->serial && p->node_id);
	f.request = want->request;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK;
	f.chunk = &c;
	c.image_id = want->image_id;
	c.offset = want->offset;
	if (want->size == 0 || want->size > LINK_CHUNK_MAX)
		c.error = (char *)(uintptr_t) "not a valid request";
	else
		c.data = (ProtobufCBinaryData){ .len = sizeof(zeros), .data = zeros };
	session_post_frame(&w.sessions, p->serial, POST_CHUNK, &f);
	free(want);
}

/* ---- the store, as far as nodes that are introduced need it: every node has every image ---- */

int __wrap_session_may_read(struct db *db, const char *node_id, const char *image_id, struct err *e);
int __wrap_db_query(struct db *db, struct db_rows **ret, struct err *e, const char *sql,
		    const char *fmt, ...);
int __wrap_db_step(struct db_rows *q, struct err *e);
const char *__wrap_db_text(struct db_rows *q, int col);
void __wrap_db_donep(struct db_rows **q);

static unsigned n_rows;

int __wrap_session_may_read(struct db *db, const char *node_id, const char *image_id, struct err *e)
{
	(void)db;
	FUZZ_CHECK(*node_id);
	return strcmp(image_id, IMAGE "9") != 0 ? 1 : err_set(e, FAULT_NOT_FOUND, NULL, "not its own");
}

int __wrap_db_query(struct db *db, struct db_rows **ret, struct err *e, const char *sql,
		    const char *fmt, ...)
{
	(void)db;
	(void)e;
	(void)sql;
	FUZZ_CHECK(strcmp(fmt, "ss") == 0);
	n_rows = 0;
	*ret = NULL;
	return 0;
}

int __wrap_db_step(struct db_rows *q, struct err *e)
{
	(void)q;
	(void)e;
	return n_rows++ < NODES;
}

const char *__wrap_db_text(struct db_rows *q, int col)
{
	(void)q;
	return col ? "abcdef" : nodes[n_rows - 1];
}

void __wrap_db_donep(struct db_rows **q)
{
	(void)q;
}

/* At a time when somebody asks or answers. */
static void check_introductions(void)
{
	const struct bulk *b = &w.sessions.bulk;
	unsigned n = 0;

	for (const struct peer_ask *a = b->asks; a; a = *(struct peer_ask *const *)a)
		n++;
	FUZZ_CHECK(n == b->n_asks && n <= 64);
}

static void ask_for_peer(struct http_ws *ws, unsigned how)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__PeerAsk m = DEMARC__V1__PEER_ASK__INIT;
	Demarc__V1__PeerEnd end = DEMARC__V1__PEER_END__INIT;
	char image[40], *others[17];

	(void)snprintf(image, sizeof(image), IMAGE "%u", how % 10);
	for (unsigned i = 0; i < ARRAY_LEN(others); i++)
		others[i] = (char *)(uintptr_t)nodes[i % NODES];
	f.request = 2 * how + 1;
	m.image_id = image;
	m.end = how % 7 ? &end : NULL;
	m.not_node_ids = others;
	m.n_not_node_ids = how == 40 ? 17 : how % 4;
	end.address = (char *)(uintptr_t)nodes[ws->node];
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_ASK;
	f.peer_ask = &m;
	say(ws, &f);
	check_introductions();
}

static void say_given(struct http_ws *ws, unsigned which)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__PeerGiven m = DEMARC__V1__PEER_GIVEN__INIT;

	f.request = w.sessions.bulk.intros.next_id - which;
	m.error = (char *)(uintptr_t)nodes[ws->node];
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_GIVEN;
	f.peer_given = &m;
	say(ws, &f);
	for (unsigned i = 0; i < PEER_INTROS_MAX; i++)
		FUZZ_CHECK(!w.sessions.bulk.intros.rows[i].id ||
			   w.sessions.bulk.intros.rows[i].id <= w.sessions.bulk.intros.next_id);
}

static void run_front(void)
{
	w.on_async(&w.sessions.fronts[script_number(&w.script) % FRONTS].async);
}

/* A node that is not answered is told when to come before it gives up, whatever the threads do; one that says nothing any more is gone. */
static void check_nobody_waits(void)
{
	const int64_t ticks_ms = 2 * SESSION_TICK_MS;

	for (unsigned i = 0; i < CONNS; i++) {
		const struct session *x = w.conns[i].session;

		FUZZ_CHECK(!x || x->state != SESSION_NEW ||
			   clock_mono_ns() - x->opened_ns < (SESSION_ANSWER_MS + ticks_ms) * NS_PER_MS);
		FUZZ_CHECK(!x || x->state != SESSION_UP ||
			   clock_mono_ns() - x->last_rx_ns <
				   (heartbeat_silence_ms(x->heartbeat_ms) + ticks_ms) * NS_PER_MS);
	}
}

static void pass_time(void)
{
	static const uint64_t ms[] = { 1, 250, 5000, 15001, 60001, 70001, 120000, 8 * 3600 * 1000 };

	clock_warp((int64_t)script_pick(&w.script, ms, ARRAY_LEN(ms)) * NS_PER_MS);
	for (unsigned i = 0; i < FRONTS; i++)
		w.on_tick(&w.sessions.fronts[i].tick);
	check_nobody_waits();
}

static void make_room(struct http_ws *ws)
{
	uint64_t n = script_pick(&w.script, sizes, ARRAY_LEN(sizes));

	ws->queued -= MIN_OF((uint64_t)ws->queued, n);
	if (ws->session && ws->queued == 0)
		session_ws_ops.room(&w.hub, ws, ws->session);
}

/* ---- steps ---- */

static void step_of_node(uint8_t what)
{
	struct http_ws *ws = conn();
	uint64_t id;

	switch (what) {
	case 'N':
		id = script_number(&w.script);
		node_comes(ws, id % NODES, id / NODES % FRONTS);
		break;
	case 'X':
		node_goes(ws);
		break;
	case 'H':
		say_hello(ws, script_number(&w.script));
		break;
	case 'd':
		id = stream_id();
		say_data(ws, id, script_pick(&w.script, sizes, ARRAY_LEN(sizes)));
		break;
	case 'w':
		id = stream_id();
		say_window(ws, id, (uint32_t)script_pick(&w.script, sizes, ARRAY_LEN(sizes)));
		break;
	case 'c':
		say_close(ws, stream_id());
		break;
	case 'r':
		say_result(ws, script_number(&w.script));
		break;
	case 'q':
		id = script_number(&w.script);
		want_chunk(ws, (unsigned)id, (uint32_t)script_pick(&w.script, sizes, ARRAY_LEN(sizes)));
		break;
	case 'R':
		say_report(ws);
		break;
	case 'A':
		say_ack(ws, script_number(&w.script));
		break;
	case 'P':
		say_ping(ws);
		break;
	case 'K':
		say_cert_request(ws);
		break;
	case 'I':
		say_raw(ws);
		break;
	case 'O':
		make_room(ws);
		break;
	default: /* 'J' */
		ws->takes_nothing = !ws->takes_nothing;
		break;
	}
}

static void step_of_peers(uint8_t what)
{
	struct http_ws *ws = conn();

	(what == 'a' ? ask_for_peer : say_given)(ws, script_number(&w.script));
}

static void step(void)
{
	uint8_t what = script_char(&w.script);

	if (strchr("NXHdwcrqRAPKIOJ", what) && what) {
		step_of_node(what);
	} else if (what == 'a' || what == 'g') {
		step_of_peers(what);
	} else if (what == 'o') {
		person_opens();
	} else if (what == 'i') {
		person_reads();
	} else if (what == 'u') {
		person_writes();
	} else if (what == 'x') {
		person_closes();
	} else if (what == 'C') {
		person_asks();
	} else if (what == 'S') {
		run_threads();
	} else if (what == 'B') {
		run_bulk();
	} else if (what == 't') {
		run_front();
	} else if (what == 'T') {
		pass_time();
	} else if (what == 'V') {
		session_drop(&w.hub, nodes[script_number(&w.script) % NODES], "revoked");
	} else if (what == 'k') {
		session_wake(&w.hub, nodes[script_number(&w.script) % NODES]);
	} else {
		return;
	}
	check();
}

/* Someone waits: the rest of the world goes on. '.' is the end of the wait's time, ',' wakes it. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until);

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until)
{
	int rc = ETIMEDOUT;

	(void)cond;
	(void)until;
	if (w.depth >= DEPTH_MAX)
		return rc;
	w.depth++;
	pthread_mutex_unlock(lock);
	while (!script_is_over(&w.script)) {
		if (*w.script.at == '.' || *w.script.at == ',') {
			rc = script_char(&w.script) == ',' ? 0 : ETIMEDOUT;
			break;
		}
		step();
	}
	pthread_mutex_lock(lock);
	w.depth--;
	return rc;
}

/* ---- begin and end of the world ---- */

static void thread_init(struct job_thread *t)
{
	t->tail = &t->head;
	t->sessions = &w.sessions;
	t->stop = t->running = false;
}

static void begin(const uint8_t *data, size_t size)
{
	struct sessions *s = &w.sessions;
	uint8_t how;
	struct err e;

	log_init("fuzz", LOG_ERROR_);
	clock_freeze(1000 * NS_PER_S, 0);
	w.script = (struct script){ data, data + size };
	w.n_streams = w.n_calls = w.depth = 0;
	w.config.n_workers = 16;
	w.hub.config = &w.config;
	w.hub.sessions = s;
	s->hub = &w.hub;
	s->next_request = 0;
	s->last_sweep_ns = clock_mono_ns();
	thread_init(&s->hello);
	thread_init(&s->store);
	thread_init(&s->reader);
	thread_init(&s->cert);
	s->bulk.sessions = s;
	s->bulk.intros = (struct peer_intros){ 0 };
	how = script_char(&w.script);
	w.config.heartbeat_s = how == '3';
	chunk_queue_init(&s->bulk.queue, 0, how == '2' ? 2000000 : 0);
	FUZZ_CHECK(streams_new(&w.hub, &w.hub.streams, &e) == 0);
	for (unsigned i = 0; i < FRONTS; i++) {
		s->fronts[i].sessions = s;
		s->fronts[i].index = i;
		s->fronts[i].n_serials = 0;
		s->fronts[i].post_head = NULL;
		s->fronts[i].post_tail = &s->fronts[i].post_head;
		FUZZ_CHECK(session_front_starts(&w.hub, i, NULL, &e) == 0);
	}
}

static void end(void)
{
	struct sessions *s = &w.sessions;
	struct job_thread *threads[] = { &s->hello, &s->store, &s->cert, &s->reader };
	struct job *j;

	check_all_jobs();
	for (unsigned i = 0; i < CONNS; i++)
		node_goes(&w.conns[i]);
	check();
	for (unsigned i = 0; i < FRONTS; i++) {
		w.on_async(&s->fronts[i].async); /* for those that are gone */
		session_front_ends(&w.hub, i);
		FUZZ_CHECK(!s->fronts[i].all && !s->fronts[i].seen && !s->fronts[i].post_head);
		FUZZ_CHECK(!s->fronts[i].gone[0].len && !s->fronts[i].gone[1].len);
	}
	FUZZ_CHECK(!s->calls && atomic_load(&s->n_up) == 0);
	for (struct peer_ask *a = peer_ask_next(&s->bulk); a; a = peer_ask_next(&s->bulk))
		peer_ask_free(a);
	FUZZ_CHECK(s->bulk.n_asks == 0);
	FUZZ_CHECK(!s->bulk.queue.turns.first && !s->bulk.queue.later.first && !s->bulk.queue.sent.first);
	streams_free(w.hub.streams);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		while ((j = take_job(threads[i])))
			job_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin(data, size);
	while (!script_is_over(&w.script))
		step();
	end();
	return 0;
}
