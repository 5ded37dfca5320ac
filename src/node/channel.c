/* SPDX-License-Identifier: Apache-2.0 */
#include "node/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/overlay.h"
#include "node/calls.h"
#include "node/cert.h"
#include "node/peer.h"
#include "node/report.h"
#include "node/stream.h"

/* What this release understands beyond the base of the schema; behaviour is chosen by these names. The last one, when the node is configured so. */
static const char *const features[] = { "intent-digest", "chunk-resume", "chain-hold",
					"trace-follow",	 "acl",		 "native",
					"cert-renew",	 "streams",	 OVERLAY_FEATURE,
					PEER_FEATURE };

static char *text(const char *s)
{
	static char empty[] = "";

	return s ? (char *)(uintptr_t)s : empty;
}

struct machine {
	struct utsname uts;
	char runtime[64];
	char *nics[CONFIG_NICS_MAX];
};

static void inventory(struct node *n, Demarc__V1__Inventory *ret, struct machine *m)
{
	struct statvfs fs;

	demarc__v1__inventory__init(ret);
	memset(m, 0, sizeof(*m));
	(void)uname(&m->uts);
	runtime_version(&n->rt, m->runtime, sizeof(m->runtime));
	ret->hostname = m->uts.nodename;
	ret->kernel = m->uts.release;
	ret->container_runtime = m->runtime;
	ret->vcpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	ret->memory_mb = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
	if (statvfs(n->cfg.state_dir, &fs) == 0)
		ret->disk_gb = (uint64_t)fs.f_blocks * fs.f_frsize >> 30;
	for (size_t i = 0; i < n->cfg.n_nics; i++)
		m->nics[ret->n_nics++] = n->cfg.nics[i].name;
	ret->nics = m->nics;
}

/* whole: as if nothing were held, so that the hub sends everything. */
static void send_hello(struct node *n, bool whole)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__NodeHello h = DEMARC__V1__NODE_HELLO__INIT;
	Demarc__V1__Inventory inv;
	struct machine m;
	char digest[INTENT_DIGEST_SIZE];

	inventory(n, &inv, &m);
	intent_digest(n->intent, digest);
	h.node_id = n->id;
	h.release = text(DEMARC_VERSION);
	h.n_features = ARRAY_LEN(features) - !peers_are_on(n);
	h.features = (char **)(uintptr_t)features;
	h.boot_id = n->boot_id;
	h.run_id = n->run_id;
	h.intent_revision = n->frozen || whole ? 0 : intent_revision(n->intent);
	h.intent_digest = digest;
	h.inventory = &inv;
	h.last_report_seq = reports_last_seq(n);
	h.trust_digest = n->identity->trust_digest;
	f.body_case = DEMARC__V1__FRAME__BODY_NODE_HELLO;
	f.node_hello = &h;
	if (link_client_send(n->link, &f) < 0)
		log_limited(LOG_WARN_, "hello_unsent", "node=%s", n->id);
	else
		resync_said(&n->resync, clock_mono_ns());
}

static void send_ack(struct node *n, uint64_t request, uint64_t revision, const char *error)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__IntentAck ack = DEMARC__V1__INTENT_ACK__INIT;

	ack.revision = revision;
	ack.error = text(error);
	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT_ACK;
	f.intent_ack = &ack;
	(void)!link_client_send(n->link, &f); /* a lost one is repaired by the next hello */
}

static void ask(struct node *n, enum resync_ask what)
{
	if (what != RESYNC_NOTHING)
		send_hello(n, what == RESYNC_WHOLE);
}

static void tell(struct node *n, const char *kind, const char *severity, const char *text)
{
	reports_event(n, kind, severity, "", text); /* of the node itself */
}

static void on_refused(struct node *n, uint64_t revision, const struct err *e, const char *error)
{
	bool alarm;
	enum resync_ask what = resync_refused(&n->resync, e->fault, clock_mono_ns(), &alarm);

	log_limited(LOG_WARN_, "intent_refused", "revision=%llu error=\"%s\"",
		    (unsigned long long)revision, error);
	ask(n, what);
	if (alarm)
		tell(n, "intent_refused", "error", error);
}

static void on_intent(struct node *n, uint64_t request, const Demarc__V1__Intent *m)
{
	char error[ERR_FIELD_SIZE + ERR_MSG_SIZE + 2];
	struct err e = { 0 };
	int r = node_intent(n, m, &e);

	if (r == 0) {
		send_ack(n, request, intent_revision(n->intent), "");
		if (!intent_left_out(n->intent) && resync_accepted(&n->resync))
			tell(n, "intent_accepted", "info", "the node does again what the hub says");
		return;
	}
	(void)snprintf(error, sizeof(error), "%s%s%s", e.field, *e.field ? ": " : "", e.msg);
	if (e.fault == FAULT_BAD_REQUEST || e.fault == FAULT_TOO_LARGE)
		(void)!node_intent_rest(n, m, NULL);
	send_ack(n, request, intent_revision(n->intent), error);
	on_refused(n, m->revision, &e, error);
}

void channel_tick(struct node *n)
{
	if (n->link && link_client_is_up(n->link))
		ask(n, resync_tick(&n->resync, clock_mono_ns()));
}

int channel_ask_chunk(struct node *n, const char *image_id, uint64_t offset, uint32_t size)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__ChunkRequest c = DEMARC__V1__CHUNK_REQUEST__INIT;

	if (!n->link || !link_client_is_up(n->link))
		return -ENOTCONN;
	n->next_request += 2;
	f.request = n->next_request | 1; /* odd: the node asks */
	c.image_id = text(image_id);
	c.offset = offset;
	c.size = size;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK_REQUEST;
	f.chunk_request = &c;
	return link_client_send(n->link, &f);
}

static void on_up(void *ctx)
{
	struct node *n = ctx;

	resync_connected(&n->resync);
	send_hello(n, false);
}

static void on_down(void *ctx, const char *reason)
{
	log_limited(LOG_INFO_, "link_down", "reason=\"%s\"", reason);
	streams_link_down(ctx);
	cert_link_down(ctx);
}

static void on_hub_hello(struct node *n, const Demarc__V1__HubHello *h)
{
	log_info("link_up", "hub_release=%.32s hub_revision=%llu own_revision=%llu resync=%d",
		 h->release, (unsigned long long)h->intent_revision,
		 (unsigned long long)intent_revision(n->intent), h->resync);
	resync_answered(&n->resync);
	reports_link_up(n, h->report_seq);
	peers_link_up(n, h); /* before images ask */
	images_link_up(n->images);
	cert_link_up(n);
	node_kick(n);
}

static void on_frame(void *ctx, const Demarc__V1__Frame *f)
{
	struct node *n = ctx;

	switch (f->body_case) {
	case DEMARC__V1__FRAME__BODY_HUB_HELLO:
		on_hub_hello(n, f->hub_hello);
		return;
	case DEMARC__V1__FRAME__BODY_INTENT:
		on_intent(n, f->request, f->intent);
		return;
	case DEMARC__V1__FRAME__BODY_REPORT_ACK:
		reports_ack(n, f->report_ack->seq);
		return;
	case DEMARC__V1__FRAME__BODY_CHUNK:
		images_chunk(n->images, f->chunk);
		return;
	case DEMARC__V1__FRAME__BODY_CALL:
		calls_answer(n, f->request, f->call);
		return;
	case DEMARC__V1__FRAME__BODY_GOODBYE:
		log_limited(LOG_INFO_, "hub_goodbye", "reason=\"%.200s\"", f->goodbye->reason);
		return;
	case DEMARC__V1__FRAME__BODY_TRUST:
		cert_trust(n, f->trust);
		return;
	case DEMARC__V1__FRAME__BODY_CERT_ISSUED:
		cert_issued(n, f->cert_issued);
		return;
	case DEMARC__V1__FRAME__BODY_STREAM_OPEN:
	case DEMARC__V1__FRAME__BODY_STREAM_DATA:
	case DEMARC__V1__FRAME__BODY_STREAM_WINDOW:
	case DEMARC__V1__FRAME__BODY_STREAM_CLOSE:
		streams_frame(n, f);
		return;
	case DEMARC__V1__FRAME__BODY_PEER_GIVE:
	case DEMARC__V1__FRAME__BODY_PEER_TAKE:
		peers_frame(n, f);
		return;
	case DEMARC__V1__FRAME__BODY_PEER_ASK:
	case DEMARC__V1__FRAME__BODY_PEER_GIVEN:
	case DEMARC__V1__FRAME__BODY_CERT_REQUEST:
	case DEMARC__V1__FRAME__BODY_NODE_HELLO:
	case DEMARC__V1__FRAME__BODY_PING:
	case DEMARC__V1__FRAME__BODY_PONG:
	case DEMARC__V1__FRAME__BODY_INTENT_ACK:
	case DEMARC__V1__FRAME__BODY_REPORT:
	case DEMARC__V1__FRAME__BODY_CHUNK_REQUEST:
	case DEMARC__V1__FRAME__BODY_CALL_RESULT:
	case DEMARC__V1__FRAME__BODY__NOT_SET:
	case _DEMARC__V1__FRAME__BODY__CASE_IS_INT_SIZE:
		return; /* nothing that a hub says to a node, or what a newer one does: ignored */
	}
}

static struct link_client_config settings(const struct node *n, const char *urls[static 8])
{
	const struct link_identity *id = n->identity;
	struct link_client_config c = {
		.hub_urls = urls,
		.ca_file = id->ca_file,
		.cert_file = n->on_next ? id->next_file : id->cert_file,
		.key_file = n->on_next ? id->next_file : id->key_file,
		.user = n->cfg.user,
		.proxy = *n->cfg.proxy ? n->cfg.proxy : NULL,
	};

	if (*n->cfg.hub)
		urls[c.n_hub_urls++] = n->cfg.hub;
	for (size_t i = 0; !*n->cfg.hub && i < id->n_hub_urls && i < 8; i++)
		urls[c.n_hub_urls++] = id->hub_urls[i];
	return c;
}

static void on_ticket(void *ctx, const struct link_ticket *t)
{
	ticket_came(ctx, t);
}

static bool on_busy(void *ctx)
{
	return streams_open(ctx);
}

const struct link_client_ops channel_ops = { on_up, on_frame, on_down, on_ticket, on_busy };

int channel_start(struct node *n, struct link_identity *id, struct err *e)
{
	struct link_client_config c;
	struct link_ticket ticket;
	char *text = NULL;
	const char *urls[8];
	int rc;

	n->identity = id;
	n->on_next = id->next_file != NULL;
	c = settings(n, urls);
	if (ticket_read(n, &text, &ticket))
		c.ticket = &ticket;
	rc = link_client_start(n->loop, &c, &channel_ops, n, &n->link, e);
	if (rc == 0 && c.ticket && !link_client_has_ticket(n->link))
		log_debug("ticket_dropped", "reason=\"it came with another certificate, CA or hub\"");
	if (c.ticket)
		explicit_bzero(text, (size_t)(ticket.session.ptr - text) + ticket.session.len);
	free(text);
	return rc;
}

int channel_reload(struct node *n, struct err *e)
{
	const char *urls[8];
	struct link_client_config c = settings(n, urls);

	return link_client_reload(n->link, &c, e);
}

void channel_stop(struct node *n)
{
	if (n->link)
		link_client_stop(n->link);
	n->link = NULL;
}
