/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/types.h"

/* The agent's side: when to dial, whom, and whether the other end is alive. The carrier does what it is told. */

#define PEM_MAX (256u << 10)
#define TICK_MS 250u

/* ---- streams: what they say waits here, and lets everything else pass ---- */

static bool is_bulk(const struct link_client *l, const Demarc__V1__Frame *f)
{
	/* The end of a stream must not overtake its data. A program that is many nodes has no streams. */
	return !l->here && (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA ||
			    f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE);
}

static void bulk_pop(struct link_client *l)
{
	struct bulk *b = l->bulk;

	l->bulk_bytes -= b->size;
	l->bulk = b->next;
	free(b);
}

static void bulk_clear(struct link_client *l)
{
	while (l->bulk)
		bulk_pop(l);
	l->bulk_ahead = 0;
}

/* A frame that the carrier does not take now is offered with the next one, or when it has written. */
static void bulk_feed(struct link_client *l)
{
	while (l->bulk && l->bulk_ahead < CLIENT_BULK_AHEAD) {
		const struct bulk *b = l->bulk;

		if (l->carrier->tell(l, PIPE_BULK, (struct str){ (const char *)b->bytes, b->size }) < 0)
			return;
		l->bulk_ahead += b->size;
		bulk_pop(l);
	}
}

static int bulk_add(struct link_client *l, const uint8_t *data, size_t size)
{
	struct bulk *b;

	if (l->bulk_bytes + size > CLIENT_BULK_MAX)
		return -ENOBUFS;
	b = malloc(sizeof(*b) + size);
	if (!b)
		return -ENOMEM;
	b->next = NULL;
	b->size = size;
	memcpy(b->bytes, data, size);
	*(l->bulk ? l->bulk_end : &l->bulk) = b;
	l->bulk_end = &b->next;
	l->bulk_bytes += size;
	bulk_feed(l);
	return 0;
}

/* ---- states ---- */

/*
 * The next attempt: after the back-off with the hub that has just worked, for all its nodes have lost it at the same instant; else at once with
 * another hub of the list, and after the back-off when all were tried.
 */
static void schedule_dial(struct link_client *l, bool has_worked)
{
	uint32_t random;
	uint32_t delay_ms = 0;

	l->told_to_wait = l->retry_after_ms != 0;
	if (!has_worked)
		l->hub = (l->hub + 1) % l->n_hubs;
	if (has_worked || ++l->n_tried >= l->n_hubs || l->retry_after_ms) {
		random_bytes(&random, sizeof(random));
		delay_ms = backoff_next_ms(&l->backoff, random, l->retry_after_ms);
		l->n_tried = 0;
		l->retry_after_ms = 0;
	}
	l->state = LINK_WAITING;
	l->dial_at_ns = clock_mono_ns() + delay_ms * NS_PER_MS;
	client_rearm(l);
}

void client_lost(struct link_client *l, const char *reason)
{
	bool has_worked = l->said_hello;

	if (l->state == LINK_WAITING || l->state == LINK_STOPPED)
		return;
	l->said_hello = false;
	intent_parts_clear(&l->parts);
	bulk_clear(l);
	if (l->state == LINK_DIALLING)
		client_full_lost(l);
	if (l->config_stale) {
		l->config_stale = false;
		l->carrier->kill(l);
	}
	schedule_dial(l, has_worked);
	l->ops.down(l->ctx, reason);
}

static void hang_up(struct link_client *l, const char *reason)
{
	if (l->carrier->tell(l, PIPE_HANGUP, STR("")) < 0)
		l->carrier->kill(l);
	client_lost(l, reason);
}

static void dial_now(struct link_client *l)
{
	l->gen++;
	l->state = LINK_DIALLING;
	l->since_ns = clock_mono_ns();
	if (client_full_begins(l))
		l->carrier->kill(l);
	if (l->carrier->start(l) < 0) {
		client_lost(l, "cannot start the network process");
		return;
	}
	if (l->carrier->tell(l, PIPE_DIAL, str_of(l->hubs[l->hub])) < 0)
		client_lost(l, "cannot reach the network process");
}

/* ---- frames ---- */

int link_client_send(struct link_client *l, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;
	int rc;

	if (l->state != LINK_UP)
		return -ENOTCONN;
	rc = l->encode ? l->encode(l->ctx, f, &data, &size) : frame_encode(f, &data, &size);
	if (rc < 0)
		return rc;
	if (is_bulk(l, f))
		return bulk_add(l, data, size);
	if (l->queued_bytes + size > CLIENT_QUEUE_MAX)
		return -ENOBUFS;
	return l->carrier->tell(l, PIPE_FRAME, (struct str){ (const char *)data, size });
}

uint32_t link_client_heartbeat_ms(const struct link_client *l)
{
	return l->heartbeat_ms;
}

bool link_client_is_up(const struct link_client *l)
{
	return l->state == LINK_UP;
}

static void send_ping(struct link_client *l, int64_t now)
{
	Demarc__V1__Ping ping = DEMARC__V1__PING__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	ping.nonce = (uint64_t)now;
	f.body_case = DEMARC__V1__FRAME__BODY_PING;
	f.ping = &ping;
	l->ping_ns = now;
	if (link_client_send(l, &f) < 0)
		hang_up(l, "the connection does not take more");
}

static void answer_ping(struct link_client *l, const Demarc__V1__Frame *in)
{
	Demarc__V1__Pong pong = DEMARC__V1__PONG__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	pong.nonce = in->ping->nonce;
	f.request = in->request;
	f.body_case = DEMARC__V1__FRAME__BODY_PONG;
	f.pong = &pong;
	if (link_client_send(l, &f) < 0)
		hang_up(l, "the connection does not take more");
}

static void set_heartbeat(struct link_client *l, uint32_t ms)
{
	l->heartbeat_ms = MIN_OF(MAX_OF(ms, CLIENT_HEARTBEAT_MIN_MS), CLIENT_HEARTBEAT_MAX_MS);
}

static void take_hello(struct link_client *l, const Demarc__V1__HubHello *h)
{
	l->said_hello = true;
	l->n_tried = 0;
	backoff_reset(&l->backoff);
	set_heartbeat(l, h->heartbeat_ms);
}

static void take_intent(struct link_client *l, Demarc__V1__Frame **f)
{
	Demarc__V1__Frame *whole = NULL;
	int rc = intent_parts_add(&l->parts, f, &whole);

	if (rc < 0) {
		hang_up(l, "the parts of an intent do not fit together");
		return;
	}
	if (!whole)
		return;
	l->ops.frame(l->ctx, whole);
	frame_free(whole);
}

static void take_frame(struct link_client *l, struct str bytes)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	struct err e;

	if (frame_decode(FRAME_FROM_HUB, bytes.ptr, bytes.len, &f, &e) < 0) {
		hang_up(l, e.msg);
		return;
	}
	/* A table of the kinds that concern the channel itself; all others are the owner's. */
	if (f->body_case == DEMARC__V1__FRAME__BODY_PING) {
		answer_ping(l, f);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_INTENT) {
		take_intent(l, &f);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_PONG) {
		if (f->pong->heartbeat_ms)
			set_heartbeat(l, f->pong->heartbeat_ms);
	} else {
		if (f->body_case == DEMARC__V1__FRAME__BODY_HUB_HELLO)
			take_hello(l, f->hub_hello);
		if (f->body_case == DEMARC__V1__FRAME__BODY_GOODBYE)
			l->retry_after_ms = f->goodbye->retry_after_ms;
		l->ops.frame(l->ctx, f);
	}
}

static void take_up(struct link_client *l)
{
	int64_t now = clock_mono_ns();

	if (l->state != LINK_DIALLING)
		return;
	l->state = LINK_UP;
	l->since_ns = l->rx_ns = l->ping_ns = now;
	l->n_unanswered = 0;
	l->said_hello = false;
	l->heartbeat_ms = CLIENT_HEARTBEAT_MAX_MS;
	client_full_up(l);
	l->ops.up(l->ctx);
}

/* Said before the hub has shown who it is, perhaps: it may delay us, but not for long. */
static void take_retry(struct link_client *l, struct str payload)
{
	uint64_t ms;

	if (l->state == LINK_DIALLING && str_to_u64(payload, UINT32_MAX, &ms) == 0)
		l->retry_after_ms = (uint32_t)MIN_OF(ms, (uint64_t)CLIENT_RETRY_MAX_MS);
}

static void take_wrote(struct link_client *l, struct str payload)
{
	uint64_t bytes;

	if (l->state != LINK_UP || str_to_u64(payload, UINT32_MAX, &bytes) < 0)
		return;
	l->wrote_ns = clock_mono_ns();
	l->bulk_ahead -= MIN_OF((size_t)bytes, l->bulk_ahead);
	bulk_feed(l);
}

/* The callbacks may stop the client: whoever loops over messages looks at the state after each. */
void client_take(struct link_client *l, const struct pipe_head *h, struct str payload)
{
	char reason[200];

	if (h->gen != l->gen || l->state == LINK_STOPPED)
		return;
	switch ((enum pipe_kind)h->kind) {
	case PIPE_UP:
		take_up(l);
		break;
	case PIPE_DOWN:
		(void)str_copy(reason, sizeof(reason), payload);
		client_lost(l, str_is_utf8(str_of(reason)) ? reason : "unreadable reason");
		break;
	case PIPE_RETRY:
		take_retry(l, payload);
		break;
	case PIPE_WROTE:
		take_wrote(l, payload);
		break;
	case PIPE_TICKET:
		if (client_ticket_take(l, payload) < 0)
			hang_up(l, "the network process does not follow the protocol");
		break;
	case PIPE_FRAME:
		if (l->state != LINK_UP)
			break;
		l->rx_ns = clock_mono_ns();
		l->n_unanswered = 0;
		take_frame(l, payload);
		break;
	case PIPE_CONFIG:
	case PIPE_DIAL:
	case PIPE_HANGUP:
	case PIPE_BULK:
		hang_up(l, "the network process does not follow the protocol");
		break;
	}
}

/* ---- time ---- */

/*
 * Dead: two pings in a row without a byte back, each CLIENT_PROBE_MS apart. As long as the hub takes what is written, a ping may be behind a
 * large frame on a slow line: its time begins anew.
 */
static void check_alive(struct link_client *l, int64_t now)
{
	if (!l->said_hello && now - l->since_ns > CLIENT_HELLO_MS * NS_PER_MS) {
		hang_up(l, "the hub does not answer the hello");
		return;
	}
	if (l->rx_ns >= l->ping_ns) { /* alive; the hub wants to hear from us at its interval */
		if (now - l->ping_ns >= l->heartbeat_ms * NS_PER_MS)
			send_ping(l, now);
		return;
	}
	if (now - MAX_OF(l->ping_ns, l->wrote_ns) < CLIENT_PROBE_MS * NS_PER_MS)
		return;
	if (++l->n_unanswered >= 2)
		hang_up(l, "the hub does not answer");
	else
		send_ping(l, now);
}

static void give_up(struct link_client *l, const char *reason)
{
	l->carrier->kill(l);
	client_lost(l, reason);
}

static void on_tick(uv_timer_t *timer)
{
	struct link_client *l = timer->data;
	int64_t now = clock_mono_ns();

	if (l->state == LINK_UP && client_full_begins(l))
		give_up(l, "a full handshake is due");
	else if (l->state == LINK_UP)
		check_alive(l, now);
	else if (l->state == LINK_DIALLING && now - l->since_ns > CLIENT_DIAL_MS * NS_PER_MS)
		give_up(l, "the attempt took too long");
	else if (l->state == LINK_WAITING && now >= l->dial_at_ns)
		dial_now(l);
	client_rearm(l);
}

/* Sleeps long when idle: an agent that waits should not wake the machine four times a second. */
void client_rearm(struct link_client *l)
{
	int64_t now = clock_mono_ns(), wait_ms = 1000;

	if (l->state == LINK_STOPPED)
		return;
	if (l->state == LINK_WAITING)
		wait_ms = MAX_OF((l->dial_at_ns - now + NS_PER_MS - 1) / NS_PER_MS, (int64_t)0);
	else if (l->state == LINK_UP && l->rx_ns < l->ping_ns)
		wait_ms = TICK_MS;
	(void)uv_timer_start(&l->timer, on_tick, (uint64_t)wait_ms, 0); /* fails without a callback only */
}

/*
 * The machine's addresses or routes changed: a connection may be dead, a hub that was out of reach may be there. One that has said when to
 * come was within reach: its word is kept to, or each renewed lease and flapping link would bring back those that were sent away.
 */
void client_hint(struct link_client *l)
{
	int64_t now = clock_mono_ns();

	if (now - l->hint_ns < NS_PER_S)
		return;
	l->hint_ns = now;
	if (l->state == LINK_UP && l->rx_ns >= l->ping_ns) {
		send_ping(l, now);
	} else if (l->state == LINK_WAITING && !l->told_to_wait && now - l->since_ns >= NS_PER_S) {
		l->dial_at_ns = now;
	}
	client_rearm(l);
}

/* ---- life ---- */

static int read_pem(json_t *o, const char *key, const char *file, struct err *e)
{
	char *text = NULL;
	size_t size;
	int rc = file_read(file, PEM_MAX, &text, &size, e);

	if (rc < 0)
		return rc;
	rc = json_object_set_new(o, key, json_string(text)) < 0 ?
		     err_set(e, FAULT_BAD_REQUEST, NULL, "%s is not a PEM text", file) :
		     0;
	explicit_bzero(text, size);
	free(text);
	return rc;
}

static int config_text(struct link_client *l, const struct link_client_config *c, struct err *e)
{
	CLEANUP(json_freep) json_t *o = json_object();
	int rc = read_pem(o, "ca", c->ca_file, e);

	if (rc == 0)
		rc = read_pem(o, "cert", c->cert_file, e);
	if (rc == 0)
		rc = read_pem(o, "key", c->key_file, e);
	if (rc < 0)
		return rc;
	if (c->user)
		json_object_set_new(o, "user", json_string(c->user));
	if (c->proxy)
		json_object_set_new(o, "proxy", json_string(c->proxy));
	client_bind(l, o);
	l->config = json_text(o);
	return l->config ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the channel");
}

static int copy_hubs(struct link_client *l, const struct link_client_config *c, struct err *e)
{
	struct url u;

	if (c->n_hub_urls == 0)
		return err_set(e, FAULT_BAD_REQUEST, "hub_urls", "no hub is named");
	l->hubs = calloc(c->n_hub_urls, sizeof(char *));
	for (; l->hubs && l->n_hubs < c->n_hub_urls; l->n_hubs++) {
		int rc = url_parse(str_of(c->hub_urls[l->n_hubs]), &u, e);
		if (rc < 0)
			return rc;
		l->hubs[l->n_hubs] = strdup(c->hub_urls[l->n_hubs]);
		if (!l->hubs[l->n_hubs])
			break;
	}
	return l->n_hubs == c->n_hub_urls ?
		       0 :
		       err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the channel");
}

static void free_hubs(char **hubs, size_t n)
{
	for (size_t i = 0; hubs && i < n; i++)
		free(hubs[i]);
	free(hubs);
}

static void wipe(char *config)
{
	if (config)
		explicit_bzero(config, strlen(config));
	free(config);
}

int link_client_reload(struct link_client *l, const struct link_client_config *c, struct err *e)
{
	struct link_client fresh = { 0 };
	int rc = copy_hubs(&fresh, c, e);

	if (rc == 0)
		rc = l->here ? client_here_reload(l, c, e) : config_text(&fresh, c, e);
	if (rc < 0) {
		free_hubs(fresh.hubs, fresh.n_hubs);
		return rc;
	}
	for (size_t i = 0; i < fresh.n_hubs; i++) /* the one in use stays the one that is asked first */
		if (strcmp(fresh.hubs[i], l->hubs[l->hub]) == 0)
			fresh.hub = i;
	free_hubs(l->hubs, l->n_hubs);
	wipe(l->config);
	l->hubs = fresh.hubs;
	l->n_hubs = fresh.n_hubs;
	l->hub = fresh.hub;
	l->config = fresh.config;
	memcpy(l->binding, fresh.binding, sizeof(l->binding));
	if (l->state == LINK_WAITING)
		l->carrier->kill(l);
	else
		l->config_stale = l->child_running;
	return 0;
}

void link_client_hang_up(struct link_client *l, const char *reason)
{
	if (l->state == LINK_UP || l->state == LINK_DIALLING)
		hang_up(l, reason);
}

const char *link_client_hub(const struct link_client *l)
{
	return l->hubs[l->hub];
}

static void client_free(struct link_client *l)
{
	bulk_clear(l);
	free_hubs(l->hubs, l->n_hubs);
	l->carrier->free(l);
	wipe(l->config);
	client_ticket_clear(l);
	strbuf_done(&l->in);
	intent_parts_clear(&l->parts);
	close_fdp(&l->netlink_fd);
	free(l);
}

void client_handle_closed(struct link_client *l)
{
	if (--l->n_handles == 0)
		client_free(l);
}

static void on_closed(uv_handle_t *h)
{
	client_handle_closed(h->data);
}

int link_client_start(uv_loop_t *loop, const struct link_client_config *c,
		      const struct link_client_ops *ops, void *ctx, struct link_client **ret,
		      struct err *e)
{
	struct link_client *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the channel");
	l->loop = loop;
	l->ops = *ops;
	l->ctx = ctx;
	l->netlink_fd = -1;
	l->encode = c->here ? c->here->encode : NULL;
	l->carrier = c->here ? &carrier_here : &carrier_child;
	rc = copy_hubs(l, c, e);
	if (rc == 0)
		rc = c->here ? client_here_new(l, c->here, e) : config_text(l, c, e);
	if (rc == 0 && c->ticket && client_ticket_keep(l, c->ticket) < 0)
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the channel");
	if (rc < 0) {
		client_free(l);
		return rc;
	}
	(void)uv_timer_init(loop, &l->timer); /* cannot fail */
	l->timer.data = l;
	l->n_handles = 1;
	if (!c->here)
		client_watch_netlink(l);
	l->state = LINK_WAITING;
	l->dial_at_ns = clock_mono_ns();
	client_rearm(l);
	*ret = l;
	return 0;
}

void link_client_stop(struct link_client *l)
{
	if (!l)
		return;
	l->state = LINK_STOPPED;
	l->carrier->kill(l);
	if (l->netlink_fd >= 0)
		uv_close((uv_handle_t *)&l->netlink, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
