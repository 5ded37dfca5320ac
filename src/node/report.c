/* SPDX-License-Identifier: Apache-2.0 */
#include "node/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "node/event_log.h"
#include "node/status.h"

#define REPORT_BYTES_MAX (256u << 10) /* of one report: fits a frame well */
#define NODE_STATUS_NS                                                                             \
	(10 * NS_PER_S) /* between figures of the node itself; at least two heartbeats */
#define DROPS_MAX 128
#define COUNTERS_MAX 32
#define GONE_MAX 1024
#define UNACKED_MAX                                                                                \
	8 /* reports on their way: what a hub that cannot store is behind by; the rest is kept here */

/* A status as it was sent last. */
struct sent {
	struct sent *next;
	enum status_kind kind;
	char id[UUID_STR_SIZE];
	bool seen, dirty;
	uint64_t seq; /* report that carried it last; 0: none yet */
	size_t stable_size, size;
	char *stable, *packed;
};

struct gone {
	char id[UUID_STR_SIZE];
	uint64_t seq; /* report that carried it; 0: none yet */
};

struct reports {
	char seq_path[PATH_MAX];
	uint64_t seq, acked;
	uint64_t link_seq; /* the last one before this connection */
	bool held; /* the hub is behind: what there is to say goes with its next acknowledgement */
	struct sent *sent;
	struct event_log *events;
	size_t n_gone;
	struct gone gone[GONE_MAX];
	int64_t node_status_ns;
	bool ready; /* HubHello has come */
};

/* ---- sequence number: exact across kill -9; after a power loss the hub's own number corrects it ---- */

static void seq_save(const struct reports *r)
{
	CLEANUP(close_fdp) int fd = open(r->seq_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)!pwrite(fd, &r->seq, sizeof(r->seq), 0);
}

static void seq_load(struct reports *r)
{
	CLEANUP(close_fdp) int fd = open(r->seq_path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &r->seq, sizeof(r->seq), 0) != sizeof(r->seq))
		r->seq = 0;
}

uint64_t reports_last_seq(const struct node *n)
{
	return n->reports->seq;
}

/* ---- events ---- */

size_t reports_n_events(const struct node *n)
{
	return event_log_n(n->reports->events);
}

void reports_event(struct node *n, const char *kind, const char *severity, const char *resource,
		   const char *text)
{
	event_log_add(n->reports->events, kind, severity, resource, text);
}

/* ---- statuses ---- */

static struct sent *sent_get(struct reports *r, enum status_kind kind, const char *id)
{
	struct sent *s = r->sent;

	while (s && (s->kind != kind || strcmp(s->id, id) != 0))
		s = s->next;
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->kind = kind;
	s->dirty = true;
	(void)str_copy(s->id, sizeof(s->id), str_of(id));
	s->next = r->sent;
	r->sent = s;
	return s;
}

static bool replace(char **p, size_t *size, struct str with)
{
	char *copy = malloc(with.len + 1);

	if (!copy)
		return false;
	memcpy(copy, with.ptr, with.len);
	free(*p);
	*p = copy;
	*size = with.len;
	return true;
}

static void on_status(void *ctx, enum status_kind kind, const char *id, struct str stable,
		      struct str packed)
{
	struct reports *r = ctx;
	struct sent *s = sent_get(r, kind, id);

	if (!s)
		return;
	s->seen = true;
	if (s->stable && str_eq((struct str){ s->stable, s->stable_size }, stable)) {
		(void)!replace(&s->packed, &s->size, packed);
		return;
	}
	s->dirty = replace(&s->stable, &s->stable_size, stable) &&
		   replace(&s->packed, &s->size, packed);
}

static void sent_free(struct sent *s)
{
	free(s->stable);
	free(s->packed);
	free(s);
}

static void gather(struct node *n)
{
	struct reports *r = n->reports;

	for (struct sent *s = r->sent; s; s = s->next)
		s->seen = false;
	status_each(n, on_status, r);
	for (struct sent **p = &r->sent; *p;) {
		struct sent *s = *p;

		if (s->seen) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		sent_free(s);
	}
}

/* ---- one report ---- */

static int add_pointer(size_t *n, void ***list, void *p)
{
	void **grown = realloc(*list, (*n + 1) * sizeof(*grown));

	if (!grown || !p)
		return -ENOMEM;
	*list = grown;
	grown[(*n)++] = p;
	return 0;
}

#define ADD(report, field, p) add_pointer(&(report)->n_##field, (void ***)&(report)->field, (p))

static int add_status(Demarc__V1__Report *rep, const struct sent *s)
{
	const uint8_t *p = (const uint8_t *)s->packed;

	switch (s->kind) {
	case STATUS_SERVER:
		return ADD(rep, servers, demarc__v1__server_status__unpack(NULL, s->size, p));
	case STATUS_PORT:
		return ADD(rep, ports, demarc__v1__port_status__unpack(NULL, s->size, p));
	case STATUS_CHAIN:
		return ADD(rep, chains, demarc__v1__chain_status__unpack(NULL, s->size, p));
	}
	return 0;
}

static size_t add_dirty(struct reports *r, Demarc__V1__Report *rep)
{
	size_t bytes = 0;

	for (struct sent *s = r->sent; s && bytes < REPORT_BYTES_MAX; s = s->next) {
		if (!s->dirty || add_status(rep, s) < 0)
			continue;
		s->dirty = false;
		s->seq = rep->seq;
		bytes += s->size + 8;
	}
	return bytes;
}

static size_t add_gone(struct reports *r, Demarc__V1__Report *rep)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_gone; i++) {
		Demarc__V1__ServerStatus m = DEMARC__V1__SERVER_STATUS__INIT;
		uint8_t buf[128];

		if (r->gone[i].seq)
			continue;
		m.id = r->gone[i].id;
		m.state = DEMARC__V1__SERVER_STATE__SERVER_GONE;
		if (ADD(rep, servers,
			demarc__v1__server_status__unpack(
				NULL, demarc__v1__server_status__pack(&m, buf), buf)) < 0)
			break;
		r->gone[i].seq = rep->seq;
		n++;
	}
	return n;
}

static size_t add_events(struct reports *r, Demarc__V1__Report *rep, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < event_log_n(r->events) && bytes < REPORT_BYTES_MAX; i++) {
		const Demarc__V1__Event *ev = event_log_at(r->events, i);
		CLEANUP(free_voidp) uint8_t *buf = NULL;
		size_t size = demarc__v1__event__get_packed_size(ev);

		if (event_log_seq(r->events, i))
			continue;
		buf = malloc(size + 1);
		if (!buf)
			break;
		demarc__v1__event__pack(ev, buf);
		if (ADD(rep, events, demarc__v1__event__unpack(NULL, size, buf)) < 0)
			break;
		event_log_mark(r->events, i, rep->seq);
		bytes += size + 4;
		n++;
	}
	return n;
}

/* What reports from that one on have carried is sent again. */
static void unmark(struct reports *r, uint64_t seq)
{
	event_log_unmark(r->events, seq);
	for (size_t i = 0; i < r->n_gone; i++)
		if (r->gone[i].seq >= seq)
			r->gone[i].seq = 0;
	for (struct sent *s = r->sent; s; s = s->next)
		s->dirty |= s->seq >= seq;
}

static int64_t node_status_every_ns(const struct node *n)
{
	return MAX_OF(NODE_STATUS_NS, 2 * link_client_heartbeat_ms(n->link) * NS_PER_MS);
}

static bool send_report(struct node *n, Demarc__V1__Report *rep)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__NodeStatus node;
	Demarc__V1__Counter drops[DROPS_MAX], *ptrs[DROPS_MAX];
	Demarc__V1__Counter counters[COUNTERS_MAX], *counter_ptrs[COUNTERS_MAX];
	struct status_nics nics;
	struct reports *r = n->reports;

	if (clock_mono_ns() >= r->node_status_ns) {
		node.n_drops = status_node(n, &node, drops, DROPS_MAX);
		for (size_t i = 0; i < node.n_drops; i++)
			ptrs[i] = &drops[i];
		node.drops = ptrs;
		node.n_counters = status_counters(n, counters, COUNTERS_MAX);
		for (size_t i = 0; i < node.n_counters; i++)
			counter_ptrs[i] = &counters[i];
		node.counters = counter_ptrs;
		node.n_nics = status_nics(n, &nics);
		node.nics = nics.ptr;
		rep->node = &node;
		r->node_status_ns = clock_mono_ns() + node_status_every_ns(n);
	}
	f.body_case = DEMARC__V1__FRAME__BODY_REPORT;
	f.report = rep;
	if (link_client_send(n->link, &f) < 0) {
		rep->node = NULL;
		unmark(r, rep->seq);
		return false;
	}
	rep->node = NULL; /* it is on the stack */
	return true;
}

static uint64_t n_unacked(const struct reports *r)
{
	uint64_t from = MAX_OF(r->acked, r->link_seq);

	return r->seq > from ? r->seq - from : 0;
}

/* Returns true when there may be more. */
static bool flush_one(struct node *n)
{
	struct reports *r = n->reports;
	Demarc__V1__Report *rep;
	size_t bytes, n_other;
	bool more = false;

	r->held = n_unacked(r) >= UNACKED_MAX;
	if (r->held)
		return false;
	rep = calloc(1, sizeof(*rep));
	if (!rep)
		return false;
	demarc__v1__report__init(rep);
	rep->seq = r->seq + 1;
	rep->intent_revision = intent_revision(n->intent);
	bytes = add_dirty(r, rep);
	n_other = add_gone(r, rep) + add_events(r, rep, bytes);
	if (bytes || n_other || clock_mono_ns() >= r->node_status_ns) {
		r->seq = rep->seq;
		seq_save(r);
		more = send_report(n, rep) && (bytes >= REPORT_BYTES_MAX || n_other > 0);
	}
	demarc__v1__report__free_unpacked(rep, NULL);
	return more;
}

void reports_flush(struct node *n)
{
	gather(n);
	if (!n->link || !n->reports->ready || !link_client_is_up(n->link))
		return;
	n->reports->held = false;
	while (!n->reports->held && flush_one(n))
		;
}

/* Somewhere in the second half of the time until then: nodes that all came back at once do not go on together. */
static int64_t node_status_later_ns(const struct node *n)
{
	uint64_t half = (uint64_t)node_status_every_ns(n) / 2, random;

	random_bytes(&random, sizeof(random));
	return clock_mono_ns() + (int64_t)(half + random % half);
}

/*
 * What reports up to the hub's number have carried is in its store, so a node whose link was cut says again only what was on its way.
 * The first time, everything: what another process of this node has said is not known.
 */
void reports_link_up(struct node *n, uint64_t report_seq)
{
	struct reports *r = n->reports;
	bool knows = r->ready && report_seq && report_seq <= r->seq;

	r->seq = MAX_OF(r->seq, report_seq);
	r->ready = true;
	r->link_seq = r->seq;
	r->held = false;
	r->node_status_ns = knows ? node_status_later_ns(n) : 0;
	reports_ack(n, report_seq);
	unmark(r, knows ? report_seq + 1 : 0);
	reports_flush(n);
}

void reports_ack(struct node *n, uint64_t seq)
{
	struct reports *r = n->reports;

	r->acked = MAX_OF(r->acked, seq);
	event_log_ack(r->events, seq);
	for (size_t i = 0; i < r->n_gone;) {
		if (r->gone[i].seq && r->gone[i].seq <= seq)
			r->gone[i] = r->gone[--r->n_gone];
		else
			i++;
	}
	if (r->held)
		reports_flush(n);
}

void reports_server_gone(struct node *n, const char *id)
{
	struct reports *r = n->reports;

	if (r->n_gone == GONE_MAX)
		return; /* the hub sees it missing from the statuses */
	memset(&r->gone[r->n_gone], 0, sizeof(r->gone[0]));
	(void)str_copy(r->gone[r->n_gone++].id, UUID_STR_SIZE, str_of(id));
}

int reports_open(struct node *n, struct err *e)
{
	struct reports *r = calloc(1, sizeof(*r));
	char events_path[PATH_MAX];
	int rc;

	if (!r)
		return err_set(e, FAULT_NO_MEMORY, NULL, "reports");
	(void)snprintf(events_path, sizeof(events_path), "%s/events.log", n->cfg.state_dir);
	(void)snprintf(r->seq_path, sizeof(r->seq_path), "%s/report.seq", n->cfg.state_dir);
	rc = event_log_open(events_path, &r->events, e);
	if (rc < 0) {
		free(r);
		return rc;
	}
	seq_load(r);
	n->reports = r;
	return 0;
}

void reports_close(struct node *n)
{
	struct reports *r = n->reports;

	if (!r)
		return;
	while (r->sent) {
		struct sent *s = r->sent;

		r->sent = s->next;
		sent_free(s);
	}
	event_log_close(r->events);
	free(r);
	n->reports = NULL;
}
