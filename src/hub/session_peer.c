/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "link/frame.h"

/*
 * Nodes of a site copy images from each other: the hub knows who has what, and tells each end of whom to expect. It carries none of the bytes.
 * A node that asks is answered at once, or when the other node has said whether it gives; either may be gone meanwhile.
 */

#define ASK_BYTES_MAX 2048 /* encoded: its id, its end, 16 ids of others */
#define NOT_MAX 16
#define ASKS_MAX 64  /* of all nodes, that wait for the thread */
#define ASKS_BURST 8 /* of one; then one a second: each is a look into the store */

struct peer_ask {
	struct peer_ask *next;
	uint64_t serial;
	char node_id[40];
	Demarc__V1__Frame *frame; /* owned */
};

void peer_ask_free(struct peer_ask *a)
{
	if (!a)
		return;
	frame_free(a->frame);
	free(a);
}
DEFINE_CLEANUP(struct peer_ask *, peer_ask_free)

/* Any thread. */
static void answer(struct sessions *s, uint64_t serial, uint64_t request, Demarc__V1__PeerTake *t)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_TAKE;
	f.peer_take = t;
	session_post_frame(s, serial, POST_SEND, &f);
}

static void refuse(struct sessions *s, uint64_t serial, uint64_t request, const char *why)
{
	Demarc__V1__PeerTake t = DEMARC__V1__PEER_TAKE__INIT;

	t.error = (char *)why;
	answer(s, serial, request, &t);
}

/* ---- the fronts' side ---- */

static bool may_ask(struct session *x, const Demarc__V1__PeerAsk *a)
{
	int64_t now = clock_mono_ns();

	x->asks_ns = MAX_OF(x->asks_ns, now - ASKS_BURST * NS_PER_S) + NS_PER_S;
	return x->asks_ns <= now && a->end && a->n_not_node_ids <= NOT_MAX &&
	       demarc__v1__peer_ask__get_packed_size(a) <= ASK_BYTES_MAX;
}

static struct peer_ask *ask_new(const struct session *x, Demarc__V1__Frame **f)
{
	struct peer_ask *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->serial = x->serial;
	(void)str_copy(a->node_id, sizeof(a->node_id), str_of(x->node_id));
	a->frame = MOVE_PTR(*f);
	return a;
}

void session_peer_ask(struct session *x, Demarc__V1__Frame **f)
{
	struct sessions *s = x->front->sessions;
	struct bulk *b = &s->bulk;
	const uint64_t request = (*f)->request;
	CLEANUP(peer_ask_freep)
	struct peer_ask *a = may_ask(x, (*f)->peer_ask) ? ask_new(x, f) : NULL;
	bool waits = false;

	pthread_mutex_lock(&b->lock);
	if (a && b->n_asks < ASKS_MAX) {
		*(b->asks ? b->asks_end : &b->asks) = a;
		b->asks_end = &a->next;
		b->n_asks++;
		a = NULL;
		waits = true;
		pthread_cond_signal(&b->cond);
	}
	pthread_mutex_unlock(&b->lock);
	if (!waits)
		refuse(s, x->serial, request, "the hub introduces nobody now");
}

void session_peer_given(struct session *x, const Demarc__V1__Frame *f)
{
	struct sessions *s = x->front->sessions;
	Demarc__V1__PeerTake t = DEMARC__V1__PEER_TAKE__INIT;
	struct peer_intro i;
	bool waits;

	if (demarc__v1__peer_given__get_packed_size(f->peer_given) > ASK_BYTES_MAX)
		return;
	pthread_mutex_lock(&s->bulk.lock);
	waits = peer_intro_take(&s->bulk.intros, f->request, x->serial, clock_mono_ns(), &i);
	pthread_mutex_unlock(&s->bulk.lock);
	if (!waits)
		return;
	t.error = f->peer_given->error;
	t.node_id = i.giver_id;
	t.end = f->peer_given->end;
	answer(s, i.taker, i.request, &t);
}

/* ---- the bulk thread's ---- */

struct peer_ask *peer_ask_next(struct bulk *b)
{
	struct peer_ask *a = b->asks;

	if (a) {
		b->asks = a->next;
		b->n_asks--;
	}
	return a;
}

static bool is_excluded(const Demarc__V1__PeerAsk *a, const char *node_id)
{
	for (size_t i = 0; i < a->n_not_node_ids; i++)
		if (strcmp(a->not_node_ids[i], node_id) == 0)
			return true;
	return false;
}

/* Other nodes of the site with a server that uses the same bytes: by the site's few nodes, and their few servers. */
static const char candidates_sql[] =
	"SELECT DISTINCT n.id, i.os_hash_value FROM node me "
	"CROSS JOIN image wanted ON wanted.id = ? "
	"CROSS JOIN node n ON n.site_id = me.site_id AND n.id <> me.id AND n.revoked = 0 "
	"AND EXISTS (SELECT 1 FROM json_each(n.features) WHERE value = 'peer-copy') "
	"CROSS JOIN server s ON s.node_id = n.id CROSS JOIN image i ON i.id = +s.image_id "
	"WHERE me.id = ? AND i.os_hash_value = wanted.os_hash_value AND i.os_hash_algo = 'sha512'";

/* 1: *ret and *ret_sha512 are set; 0: there is none. */
static int find_giver(struct bulk *b, const struct peer_ask *a, struct peer_intro *ret,
		      char ret_sha512[static 129], struct err *e)
{
	const Demarc__V1__PeerAsk *m = a->frame->peer_ask;
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = session_may_read(b->db, a->node_id, m->image_id, e);

	if (rc >= 0)
		rc = db_query(b->db, &q, e, candidates_sql, "ss", m->image_id, a->node_id);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		const char *id = db_text(q, 0);

		ret->giver = is_excluded(m, id) ? 0 : session_serial_of(b->sessions, id);
		if (ret->giver && str_copy(ret_sha512, 129, str_of(db_text(q, 1))) == 0)
			return str_copy(ret->giver_id, sizeof(ret->giver_id), str_of(id)) < 0 ? 0 : 1;
	}
	return rc;
}

static void ask_giver(struct bulk *b, struct peer_ask *a, const struct peer_intro *i, char *sha512)
{
	Demarc__V1__PeerGive g = DEMARC__V1__PEER_GIVE__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	pthread_mutex_lock(&b->lock);
	f.request = peer_intro_add(&b->intros, i, clock_mono_ns());
	pthread_mutex_unlock(&b->lock);
	if (f.request == 0) {
		refuse(b->sessions, i->taker, i->request, "the hub introduces nobody now");
		return;
	}
	g.sha512 = sha512;
	g.node_id = a->node_id;
	g.end = a->frame->peer_ask->end;
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_GIVE;
	f.peer_give = &g;
	session_post_frame(b->sessions, i->giver, POST_SEND, &f);
}

void session_peer_introduce(struct bulk *b, struct peer_ask *a)
{
	struct peer_intro i = { .taker = a->serial, .request = a->frame->request };
	char sha512[129];
	struct err e = { 0 };
	int rc = find_giver(b, a, &i, sha512, &e);

	if (rc == 1)
		ask_giver(b, a, &i, sha512);
	else
		refuse(b->sessions, a->serial, i.request,
		       rc < 0 ? e.msg : "no other node of the site gives it");
}
