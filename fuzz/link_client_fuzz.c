/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's end of the channel as a whole: a hub that refuses, redirects, sends away and says anything in any order, a network process that lies and dies, an
 * agent that sends and hangs up inside of what it is told, lines that break, time. The state machine (client.c, client_ticket.c), the WebSocket (wire.c,
 * wsc.c) and what decodes run as they are; TLS and the loop are the script's, and so is the process between them (child.c).
 */
#include "fuzz.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/clock.h"
#include "link/client_impl.h"
#include "link/wire.h"
#include "script.h"

#define HUBS 3u
#define TICK_SLACK_MS 1000 /* an idle client looks once a second */
#define HOUR_MS 3600000
#define PING_SIZE 127
#define FRAME_HEAD_MAX 14 /* bytes of a WebSocket's frame */
#define EVENTS_MAX                                                                                 \
	64u /* of one firing of the timer: a client that always finds something to do is stuck */

static const char *const hub_urls[HUBS] = { "https://198.51.100.1:8443", "https://hub.example",
					    "https://[2001:db8::1]:443" };

static struct world {
	struct link_client *l;
	bool is_freed, stops_inside, hangs_up_inside;
	/* the network process */
	bool child, child_dies, tell_fails, start_fails, dialling;
	uint32_t gen;
	struct wire wire;
	size_t bulk_bytes, frame_bytes; /* that the hub has not taken */
	uint8_t child_binding[LINK_BINDING_SIZE];
	/* what the agent was told */
	bool up, in_down, busy;
	unsigned n_tickets;
	/* the loop */
	uv_timer_cb on_timer;
	int64_t due_ns; /* 0: none */
	struct script script;
} w;

static const uint64_t sizes[] = { 0,	 1,	2,     125,    126,	      4096,
				  16384, 65535, 65536, 262144, LINK_FRAME_MAX };
static const uint64_t numbers[] = { 0,	   1,	   2,	   499,	    500,       60000,
				    60001, 120000, 120001, 3600000, UINT32_MAX };

static uint32_t number(void)
{
	return (uint32_t)script_pick(&w.script, numbers, ARRAY_LEN(numbers));
}

/* ---- the loop ---- */

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb fn);

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms)
{
	FUZZ_CHECK(timer == &w.l->timer && fn && every_ms == 0 && w.l->state != LINK_STOPPED);
	w.on_timer = fn;
	w.due_ns = clock_mono_ns() + (int64_t)first_ms * NS_PER_MS;
	return 0;
}

void __wrap_uv_close(uv_handle_t *handle, uv_close_cb fn)
{
	FUZZ_CHECK(handle == (uv_handle_t *)&w.l->timer && fn);
	w.due_ns = 0;
}

void __wrap_random_bytes(void *ret, size_t size);

void __wrap_random_bytes(void *ret, size_t size)
{
	memset(ret, 0x5a, size);
}

/* ---- TLS: the connection is there or it is not ---- */

void __wrap_dial_close(struct dial *d);
ssize_t __wrap_dial_write(struct dial *d, const void *buf, size_t size);

void __wrap_dial_close(struct dial *d)
{
	FUZZ_CHECK(d == (struct dial *)&w);
}

/* The hub takes as much as the script says; what a node says is of its kinds. */
ssize_t __wrap_dial_write(struct dial *d, const void *buf, size_t size)
{
	uint64_t n = script_pick(&w.script, sizes, ARRAY_LEN(sizes));

	FUZZ_CHECK(d == (struct dial *)&w && buf);
	return n ? (ssize_t)MIN_OF((uint64_t)size, n) : -EAGAIN;
}

/* ---- the network process ---- */

static void close_wire(void)
{
	wire_close(&w.wire);
	w.bulk_bytes = w.frame_bytes = 0;
	w.dialling = false;
}

static void hear(uint32_t kind, uint32_t gen, struct str payload)
{
	struct pipe_head h = { .size = (uint32_t)payload.len, .gen = gen, .kind = kind };

	if (w.l->state != LINK_STOPPED && w.child)
		client_take(w.l, &h, payload);
}

static void hear_number(enum pipe_kind kind, uint64_t n)
{
	char text[24];

	hear(kind, w.gen,
	     (struct str){ text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)n) });
}

static void child_down(const char *reason)
{
	if (!w.dialling && !w.wire.dial)
		return;
	close_wire();
	hear(PIPE_DOWN, w.gen, str_of(reason));
}

static void on_wire_up(void *ctx)
{
	hear(PIPE_UP, w.gen, STR(""));
}

static void on_wire_message(void *ctx, struct str bytes)
{
	hear(PIPE_FRAME, w.gen, bytes);
}

static void on_wire_retry(void *ctx, uint32_t ms)
{
	FUZZ_CHECK(ms && ms <= WSC_RETRY_MAX_MS);
	hear_number(PIPE_RETRY, ms);
}

static const struct wire_ops wire_ops = { on_wire_up, on_wire_message, on_wire_retry };

static void check_frame(struct str bytes, bool bulk)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	struct err e;

	FUZZ_CHECK(w.l->state == LINK_UP && bytes.len <= LINK_FRAME_MAX);
	FUZZ_CHECK(frame_decode(FRAME_FROM_NODE, bytes.ptr, bytes.len, &f, &e) == 0);
	FUZZ_CHECK(bulk == (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA ||
			    f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE));
}

static int take(enum pipe_kind kind, struct str payload)
{
	switch (kind) {
	case PIPE_DIAL:
		FUZZ_CHECK(w.l->state == LINK_DIALLING &&
			   strcmp(payload.ptr, link_client_hub(w.l)) == 0);
		close_wire();
		w.gen = w.l->gen;
		w.dialling = true;
		return 0;
	case PIPE_FRAME:
		check_frame(payload, false);
		if (w.wire.dial && w.gen == w.l->gen) {
			wire_send(&w.wire, payload);
			w.frame_bytes += payload.len + FRAME_HEAD_MAX;
		}
		return 0;
	case PIPE_BULK:
		check_frame(payload, true);
		FUZZ_CHECK(w.bulk_bytes < CLIENT_BULK_AHEAD || w.gen != w.l->gen);
		w.bulk_bytes += payload.len;
		return 0;
	case PIPE_HANGUP:
		close_wire(); /* and says so, which nobody waits for: see 'z' */
		return 0;
	case PIPE_TICKET:
		FUZZ_CHECK(payload.len && payload.len <= LINK_TICKET_MAX && link_client_has_ticket(w.l));
		FUZZ_CHECK(memcmp(w.l->ticket.binding, w.child_binding, LINK_BINDING_SIZE) == 0);
		FUZZ_CHECK(!w.l->doing_full && !w.l->fresh_child);
		return 0;
	case PIPE_CONFIG:
	case PIPE_UP:
	case PIPE_DOWN:
	case PIPE_RETRY:
	case PIPE_WROTE:
		break;
	}
	FUZZ_CHECK(!"a message that is the child's");
	return -EINVAL;
}

static int tell(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	FUZZ_CHECK(l == w.l);
	if (!w.child || w.tell_fails)
		return w.child ? -ENOMEM : -ENOTCONN;
	return take(kind, payload);
}

static int start(struct link_client *l)
{
	if (w.child && !w.child_dies)
		return 0;
	if (w.child_dies || w.start_fails)
		return -EBUSY;
	w.child = true;
	memcpy(w.child_binding, l->binding, sizeof(w.child_binding));
	return client_child_started(l);
}

/* Its end is told later: see 'x'. */
static void kill_child(struct link_client *l)
{
	w.child_dies = w.child;
}

static void carrier_free(struct link_client *l)
{
	w.is_freed = true;
}

static const struct link_carrier carrier = { start, tell, kill_child, carrier_free };

static void child_ends(void)
{
	if (!w.child)
		return;
	close_wire();
	w.child = w.child_dies = false;
	if (w.l->state != LINK_STOPPED)
		client_lost(w.l, "the network process has ended");
}

/* ---- the agent ---- */

static int send_kind(Demarc__V1__Frame__BodyCase kind, size_t size)
{
	static uint8_t bytes[LINK_FRAME_MAX];
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__NodeHello hello = DEMARC__V1__NODE_HELLO__INIT;
	Demarc__V1__StreamData data = DEMARC__V1__STREAM_DATA__INIT;
	Demarc__V1__StreamClose close = DEMARC__V1__STREAM_CLOSE__INIT;

	data.data = (ProtobufCBinaryData){ size, bytes };
	f.body_case = kind;
	if (kind == DEMARC__V1__FRAME__BODY_NODE_HELLO)
		f.node_hello = &hello;
	else if (kind == DEMARC__V1__FRAME__BODY_STREAM_DATA)
		f.stream_data = &data;
	else
		f.stream_close = &close;
	return link_client_send(w.l, &f);
}

static void stop(void)
{
	if (w.l->state != LINK_STOPPED)
		link_client_stop(w.l);
}

static void on_up(void *ctx)
{
	FUZZ_CHECK(ctx == &w && !w.up && link_client_is_up(w.l));
	w.up = true;
	(void)!send_kind(DEMARC__V1__FRAME__BODY_NODE_HELLO, 0);
}

static void on_frame(void *ctx, const Demarc__V1__Frame *f)
{
	FUZZ_CHECK(ctx == &w && w.up);
	FUZZ_CHECK(f->body_case != DEMARC__V1__FRAME__BODY_PING &&
		   f->body_case != DEMARC__V1__FRAME__BODY_PONG);
	if (f->body_case == DEMARC__V1__FRAME__BODY_INTENT)
		FUZZ_CHECK(!f->intent->more && f->intent->n_objects <= INTENT_PARTS_OBJECTS_MAX);
	if (w.hangs_up_inside)
		link_client_hang_up(w.l, "what the hub says is of no use");
	if (w.stops_inside)
		stop();
}

static void on_down(void *ctx, const char *reason)
{
	FUZZ_CHECK(ctx == &w && reason && str_is_utf8(str_of(reason)) && !w.in_down);
	FUZZ_CHECK(!link_client_is_up(w.l) &&
		   send_kind(DEMARC__V1__FRAME__BODY_NODE_HELLO, 0) == -ENOTCONN);
	w.up = false;
	if (!w.hangs_up_inside)
		return;
	w.in_down = true; /* it is over already: nothing comes of it */
	link_client_hang_up(w.l, "again");
	w.in_down = false;
}

static void on_ticket(void *ctx, const struct link_ticket *t)
{
	FUZZ_CHECK(ctx == &w && t->session.len && t->session.len <= LINK_TICKET_MAX);
	FUZZ_CHECK(memcmp(t->binding, w.child_binding, LINK_BINDING_SIZE) == 0);
	w.n_tickets++;
}

static bool on_busy(void *ctx)
{
	FUZZ_CHECK(ctx == &w);
	return w.busy;
}

static const struct link_client_ops ops = { on_up, on_frame, on_down, on_ticket, on_busy };

/* Days have passed. */
static void full_is_due(void)
{
	if (w.l->full_due_ns)
		w.l->full_due_ns = clock_mono_ns();
}

/* link_client_reload(), whose files are not there: another certificate. */
static void reload(void)
{
	w.l->binding[0] = (uint8_t)script_number(&w.script);
	if (w.l->state == LINK_WAITING)
		w.l->carrier->kill(w.l);
	else
		w.l->config_stale = w.child;
}

/* ---- the hub ---- */

static void say(const void *bytes, size_t size)
{
	struct str in = { bytes, size };

	if (!w.wire.dial || w.l->state == LINK_STOPPED)
		return;
	if (wire_take(&w.wire, in) < 0)
		child_down(w.wire.reason);
}

/* One message of the WebSocket, in one frame or in two. */
static void say_message(const void *bytes, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	uint8_t head[4] = { 0x82, 126, (uint8_t)(size >> 8), (uint8_t)size };

	FUZZ_CHECK(size <= UINT16_MAX);
	strbuf_add(&b, head, sizeof(head));
	strbuf_add(&b, bytes, size);
	say(b.ptr, b.len);
}

static void say_frame(const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;

	FUZZ_CHECK(frame_encode(f, &data, &size) == 0);
	say_message(data, size);
}

static void say_hello(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__HubHello m = DEMARC__V1__HUB_HELLO__INIT;

	m.heartbeat_ms = number();
	f.body_case = DEMARC__V1__FRAME__BODY_HUB_HELLO;
	f.hub_hello = &m;
	say_frame(&f);
}

static void say_goodbye(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Goodbye m = DEMARC__V1__GOODBYE__INIT;

	m.retry_after_ms = number();
	f.body_case = DEMARC__V1__FRAME__BODY_GOODBYE;
	f.goodbye = &m;
	say_frame(&f);
}

static void say_ping(bool pong)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Ping ping = DEMARC__V1__PING__INIT;
	Demarc__V1__Pong answer = DEMARC__V1__PONG__INIT;

	f.body_case = pong ? DEMARC__V1__FRAME__BODY_PONG : DEMARC__V1__FRAME__BODY_PING;
	if (pong) {
		answer.heartbeat_ms = number();
		f.pong = &answer;
	} else {
		f.ping = &ping;
	}
	say_frame(&f);
}

static void say_intent(unsigned how)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Intent m = DEMARC__V1__INTENT__INIT;
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT, *objects[] = { &o, &o };

	m.more = how & 1;
	m.revision = how / 2 % 3;
	m.full = how & 8;
	m.objects = objects;
	m.n_objects = how / 16 % 3;
	o.kind = (char *)(uintptr_t) "port";
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT;
	f.intent = &m;
	say_frame(&f);
}

static void say_call(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Call m = DEMARC__V1__CALL__INIT;

	f.request = 2;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL;
	f.call = &m;
	say_frame(&f);
}

/* RFC 6455 section 4.2.2, item 4. */
static void accept_of(const char *key, char ret[static 32])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	char text[80];
	unsigned n = 0;
	int size = snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);

	FUZZ_CHECK(EVP_Digest(text, (size_t)size, sum, &n, EVP_sha1(), NULL) == 1);
	EVP_EncodeBlock((unsigned char *)ret, sum, (int)n);
}

#define SWITCHES "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static void answer_opening(unsigned how)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	static const char *const others[] = {
		"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
		(SWITCHES "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
		"\r\n\r\n",
	};
	char accept[32];

	if (w.wire.open)
		return;
	accept_of(w.wire.key, accept);
	if (how % 8 == 0 || how % 8 == 1) /* 1: with an extension that was not asked for */
		strbuf_addf(&b,
			    SWITCHES "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: " LINK_PROTOCOL
				     "\r\n%s\r\n",
			    accept, how % 8 ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
	else if (how % 8 == 2)
		strbuf_addf(&b, "HTTP/1.1 503 Busy\r\n%s: %u\r\n\r\n",
			    how & 8 ? "Retry-After" : "X-Retry-After-Ms", number());
	else
		strbuf_adds(&b, others[(how - 3) % ARRAY_LEN(others)]);
	say(b.ptr, b.len);
}

/* A head of a frame that says anything, and what follows of it. */
static void say_odd_frame(void)
{
	uint8_t bytes[2 + 8 + 125] = { (uint8_t)script_char(&w.script),
				       (uint8_t)script_char(&w.script) };

	say(bytes, 2 + script_number(&w.script) % (sizeof(bytes) - 2));
}

/* More than are answered while the hub takes nothing. */
static void flood_of_pings(void)
{
	static uint8_t pings[WIRE_PONGS_MAX / 128][PING_SIZE];

	for (unsigned i = 0; i < ARRAY_LEN(pings); i++) {
		pings[i][0] = 0x89;
		pings[i][1] = PING_SIZE - 2;
	}
	say(pings, sizeof(pings));
}

static void say_raw(bool message)
{
	size_t n = MIN_OF((size_t)script_number(&w.script), (size_t)(w.script.end - w.script.at));

	if (message)
		say_message(w.script.at, n);
	else
		say(w.script.at, n);
	w.script.at += n;
}

/* ---- the line, and the process that holds it ---- */

static void dial_ends(unsigned how)
{
	struct url u;

	if (!w.child || !w.dialling)
		return;
	if (how == 0) {
		FUZZ_CHECK(url_parse(str_of(link_client_hub(w.l)), &u, NULL) == 0);
		w.dialling = false;
		wire_begin(&w.wire, (struct dial *)&w, &u);
		return;
	}
	if (how > 1)
		hear_number(PIPE_RETRY, number());
	child_down("no way to the hub");
}

static void hub_takes(void)
{
	size_t before = w.wire.out.len, bulk = w.bulk_bytes;

	if (!w.wire.dial)
		return;
	if (wire_write(&w.wire) < 0) {
		child_down(w.wire.reason);
	} else if (w.wire.out.len == 0 && bulk) {
		w.frame_bytes = 0;
		w.bulk_bytes = 0; /* more comes at once */
		hear_number(PIPE_WROTE, bulk);
	} else if (w.wire.out.len < before) {
		w.frame_bytes = w.wire.out.len ? w.frame_bytes : 0;
		hear_number(PIPE_WROTE, 0);
	}
}

static void give_ticket(void)
{
	char session[LINK_TICKET_MAX + 2];
	size_t size = MIN_OF(script_pick(&w.script, sizes, ARRAY_LEN(sizes)), sizeof(session));

	memset(session, 's', sizeof(session));
	session[0] = (char)script_char(&w.script);
	hear(PIPE_TICKET, w.gen, (struct str){ session, size });
}

/* A network process that an attacker owns says anything. */
static void lie(void)
{
	uint32_t kind = script_number(&w.script), gen = w.gen + script_number(&w.script) % 2;
	size_t n = MIN_OF((size_t)script_number(&w.script), (size_t)(w.script.end - w.script.at));

	w.bulk_bytes = 0; /* it may have said that it wrote everything */
	hear(kind, gen, (struct str){ (const char *)w.script.at, n });
	w.script.at += n;
}

/* ---- time ---- */

static void fire(void)
{
	for (unsigned i = 0; w.due_ns && w.due_ns <= clock_mono_ns(); i++) {
		FUZZ_CHECK(i < EVENTS_MAX);
		w.due_ns = 0;
		w.on_timer(&w.l->timer);
	}
}

/* As the loop does: each time that is due on its way. */
static void pass_time(void)
{
	static const uint64_t ms[] = { 1, 250, 1000, 2000, 15001, 40001, 60001, 135000, 4100000 };
	int64_t until = clock_mono_ns() + (int64_t)script_pick(&w.script, ms, ARRAY_LEN(ms)) * NS_PER_MS;

	for (unsigned i = 0; i < 200 && w.due_ns && w.due_ns <= until; i++) {
		if (w.due_ns > clock_mono_ns())
			clock_warp(w.due_ns - clock_mono_ns());
		fire();
	}
	if (clock_mono_ns() < until && (!w.due_ns || w.due_ns > until))
		clock_warp(until - clock_mono_ns());
}

/* ---- what must hold at any time ---- */

static int64_t ms_since(int64_t ns)
{
	return (clock_mono_ns() - ns) / NS_PER_MS;
}

static void check_bulk(const struct link_client *l)
{
	size_t bytes = 0;

	for (const struct bulk *b = l->bulk; b; b = b->next)
		bytes += b->size;
	FUZZ_CHECK(bytes == l->bulk_bytes && bytes <= CLIENT_BULK_MAX);
	FUZZ_CHECK(l->bulk_ahead <= CLIENT_BULK_AHEAD + LINK_FRAME_MAX);
	FUZZ_CHECK(l->state == LINK_UP || l->state == LINK_STOPPED || (!l->bulk && !l->bulk_ahead));
}

static void check(void)
{
	const struct link_client *l = w.l;

	check_bulk(l);
	/* The opening, what the client sends, and the last answer to a ping. */
	FUZZ_CHECK(w.wire.head.len <= WSC_HEAD_MAX);
	FUZZ_CHECK(w.wire.out.len <= 1024 + w.frame_bytes + WIRE_PONGS_MAX);
	if (l->state == LINK_STOPPED)
		return;
	FUZZ_CHECK(w.due_ns && w.up == (l->state == LINK_UP) && l->hub < l->n_hubs);
	FUZZ_CHECK(l->n_tried <= l->n_hubs);
	FUZZ_CHECK(l->state != LINK_UP || (l->full_due_ns && !l->doing_full && !l->fresh_child));
	if (l->state == LINK_DIALLING)
		FUZZ_CHECK(ms_since(l->since_ns) <= CLIENT_DIAL_MS + TICK_SLACK_MS);
	if (l->state == LINK_WAITING)
		FUZZ_CHECK((l->dial_at_ns - clock_mono_ns()) / NS_PER_MS <= HOUR_MS + HOUR_MS / 8);
	if (l->state != LINK_UP)
		return;
	FUZZ_CHECK(l->heartbeat_ms >= CLIENT_HEARTBEAT_MIN_MS &&
		   l->heartbeat_ms <= CLIENT_HEARTBEAT_MAX_MS);
	FUZZ_CHECK(l->said_hello || ms_since(l->since_ns) <= CLIENT_HELLO_MS + TICK_SLACK_MS);
	/* Who neither says nor takes anything is given up. */
	FUZZ_CHECK(ms_since(MAX_OF(l->rx_ns, l->wrote_ns)) <=
		   l->heartbeat_ms + 3 * CLIENT_PROBE_MS + 3 * TICK_SLACK_MS);
}

/* ---- steps ---- */

static void step_of_hub(uint8_t what)
{
	switch (what) {
	case 'A':
		answer_opening(script_number(&w.script));
		break;
	case 'H':
		say_hello();
		break;
	case 'I':
		say_intent(script_number(&w.script));
		break;
	case 'G':
		say_goodbye();
		break;
	case 'P':
		say_ping(false);
		break;
	case 'p':
		say_ping(true);
		break;
	case 'Q':
		say_call();
		break;
	case 'R':
		say_raw(true);
		break;
	case 'r':
		say_raw(false);
		break;
	case 'O':
		say_odd_frame();
		break;
	default: /* 'F' */
		flood_of_pings();
		break;
	}
}

static void step_of_child(uint8_t what)
{
	switch (what) {
	case 'D':
		dial_ends(script_number(&w.script) % 3);
		break;
	case 'd':
		child_down("the line is cut");
		break;
	case 'W':
		hub_takes();
		break;
	case 't':
		give_ticket();
		break;
	case 'Z':
		lie();
		break;
	case 'z': /* after a hang-up, to which it belongs */
		hear(PIPE_DOWN, w.gen, STR("closed"));
		break;
	case 'x':
		child_ends();
		break;
	case 'n':
		w.tell_fails = !w.tell_fails;
		break;
	default: /* 's' */
		w.start_fails = !w.start_fails;
		break;
	}
}

static void step_of_agent(uint8_t what)
{
	switch (what) {
	case 'B':
		(void)!send_kind(DEMARC__V1__FRAME__BODY_STREAM_DATA,
				 script_pick(&w.script, sizes, ARRAY_LEN(sizes) - 2));
		break;
	case 'C':
		(void)!send_kind(DEMARC__V1__FRAME__BODY_STREAM_CLOSE, 0);
		break;
	case 'E':
		(void)!send_kind(DEMARC__V1__FRAME__BODY_NODE_HELLO, 0);
		break;
	case 'h':
		link_client_hang_up(w.l, "the agent wants another connection");
		break;
	case 'L':
		reload();
		break;
	case 'K':
		client_hint(w.l);
		break;
	case 'i':
		w.hangs_up_inside = !w.hangs_up_inside;
		break;
	case 'f':
		full_is_due();
		break;
	case 'b':
		w.busy = !w.busy;
		break;
	default: /* 'j' */
		w.stops_inside = !w.stops_inside;
		break;
	}
}

static void step(void)
{
	uint8_t what = script_char(&w.script);

	if (w.l->state == LINK_STOPPED || !what)
		return;
	if (strchr("AHIGPpQRrOF", what))
		step_of_hub(what);
	else if (strchr("DdWtZzxns", what))
		step_of_child(what);
	else if (strchr("BCEhLKijfb", what))
		step_of_agent(what);
	else if (what == 'T')
		pass_time();
	else
		return;
	fire();
	check();
}

/* ---- begin and end of the world ---- */

static void begin(const uint8_t *data, size_t size)
{
	struct link_client *l = calloc(1, sizeof(*l));

	FUZZ_CHECK(l);
	w = (struct world){ .l = l, .script = { data, data + size } };
	clock_freeze(1000 * NS_PER_S, 0);
	w.wire.ops = &wire_ops;
	l->carrier = &carrier;
	l->ops = ops;
	l->ctx = &w;
	l->netlink_fd = -1;
	l->n_handles = 1;
	l->n_hubs = 1 + script_number(&w.script) % HUBS;
	l->hubs = calloc(l->n_hubs, sizeof(char *));
	for (size_t i = 0; i < l->n_hubs; i++)
		l->hubs[i] = strdup(hub_urls[i]);
	l->timer.data = l;
	l->state = LINK_WAITING;
	l->dial_at_ns = clock_mono_ns();
	client_rearm(l);
	fire();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin(data, size);
	while (!script_is_over(&w.script))
		step();
	w.hangs_up_inside = false;
	stop();
	close_wire();
	client_handle_closed(w.l);
	FUZZ_CHECK(w.is_freed);
	return 0;
}
