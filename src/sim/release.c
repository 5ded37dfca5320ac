/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "link/frame.h"
#include "link/link.h"
#include "sim/slow.h"

/*
 * Nodes of other releases (B6: two back, one forward), as far as their messages show it: they list fewer features, leave out fields that came
 * later, or say things that this release has never heard of.
 */

struct release {
	const char *name;
	const char *const *features;
	size_t n_features;
	bool first; /* says only what the first schema had */
	bool later; /* has fields, features and kinds of messages of its own */
};

static const char *const oldest[] = { "chunk-resume" };
static const char *const older[] = { "intent-digest", "chunk-resume", "chain-hold", "trace-follow",
				     "acl" };
static const char *const newer[] = { "intent-digest", "chunk-resume", "chain-hold",
				     "trace-follow",  "acl",	      "native",
				     "cert-renew",    "streams",      "encapsulations",
				     "x-not-yet-made" };

static const struct release releases[] = {
	{ "0.0.8", oldest, ARRAY_LEN(oldest), .first = true },
	{ "0.0.9", older, ARRAY_LEN(older) },
	{ "0.2.0", newer, ARRAY_LEN(newer), .later = true },
};

#define UNKNOWN_FIELD 1900u /* numbers that the schema does not use */
#define UNKNOWN_KIND 1901u

/* As protobuf writes them: a text of seven bytes with its length, and a number. Written, never changed. */
static uint8_t a_text[] = "\7unheard", a_number[] = { 0x2a };
static ProtobufCMessageUnknownField strange[] = {
	{ UNKNOWN_FIELD, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, sizeof(a_text) - 1, a_text },
	{ UNKNOWN_KIND, PROTOBUF_C_WIRE_TYPE_VARINT, sizeof(a_number), a_number },
};

static const struct release *release_of(const struct sim_node *s)
{
	return &releases[s->index % ARRAY_LEN(releases)];
}

static void add_strange(ProtobufCMessage *m)
{
	m->unknown_fields = strange;
	m->n_unknown_fields = ARRAY_LEN(strange);
}

/* Shallow: what the copies point to stays the sender's. */
struct copies {
	Demarc__V1__NodeHello hello;
	Demarc__V1__Inventory inventory;
	Demarc__V1__IntentAck ack;
	Demarc__V1__Report report;
};

static void say_hello(const struct release *r, Demarc__V1__Frame *f, struct copies *c)
{
	static char none[] = "";
	Demarc__V1__NodeHello *h = &c->hello;

	*h = *f->node_hello;
	h->release = (char *)(uintptr_t)r->name;
	h->features = (char **)(uintptr_t)r->features;
	h->n_features = r->n_features;
	if (r->first) {
		h->intent_digest = h->trust_digest = h->run_id = none;
		h->inventory = NULL;
	} else {
		c->inventory = *h->inventory;
		h->inventory = &c->inventory;
	}
	if (r->later) {
		add_strange(&h->base);
		add_strange(&c->inventory.base);
	}
	f->node_hello = h;
}

int release_encode(void *ctx, const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size)
{
	const struct release *r = release_of(CONTAINER_OF((struct node *)ctx, struct sim_node, n));
	Demarc__V1__Frame out = *f;
	struct copies c;

	if (f->body_case == DEMARC__V1__FRAME__BODY_NODE_HELLO) {
		say_hello(r, &out, &c);
	} else if (r->later && f->body_case == DEMARC__V1__FRAME__BODY_INTENT_ACK) {
		c.ack = *f->intent_ack;
		add_strange(&c.ack.base);
		out.intent_ack = &c.ack;
	} else if (r->later && f->body_case == DEMARC__V1__FRAME__BODY_REPORT) {
		c.report = *f->report;
		add_strange(&c.report.base);
		out.report = &c.report;
	}
	if (r->later)
		add_strange(&out.base);
	return frame_encode(&out, ret, ret_size);
}

void release_up(struct sim_node *s)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	/* Neither side knows its kind; the hub is to ignore it. */
	if (s->slot->mixed && release_of(s)->later)
		(void)!link_client_send(s->n.link, &f);
}
