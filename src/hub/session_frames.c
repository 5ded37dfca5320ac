/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/stream.h"
#include "link/frame.h"
#include "link/link.h"

/*
 * What a node may say, and in which state. Front's thread. Everything that blocks becomes a job, and of each kind a session has a bounded number
 * with the threads: what a node says without end must cost neither memory nor the others' turn.
 */

#define HELLOS_MAX 8 /* after the first, in a row */

static void refuse(struct sessions *s, struct session *x, const char *reason)
{
	log_limited(LOG_WARN_, "session_refused", "node=%s peer=%s reason=%s", x->node_id, x->peer,
		    LOGQ(reason));
	session_goodbye(s, x, reason, 30000);
}

/* Each handler takes the frame over when it moves *f. */
typedef void (*frame_fn)(struct sessions *s, struct session *x, Demarc__V1__Frame **f);

static struct job *job_of_frame(enum job_kind kind, const struct session *x, Demarc__V1__Frame **f)
{
	struct job *j = job_new(kind, x->serial, x->node_id);

	if (j) {
		j->frame = MOVE_PTR(*f);
		(void)str_copy(j->address, sizeof(j->address), str_of(x->peer));
	}
	return j;
}

/* Each costs a transaction and, perhaps, the whole intent: HELLOS_MAX at once, and one a second. */
static bool may_say_again(struct session *x)
{
	int64_t now = clock_mono_ns();

	x->hellos_ns = MAX_OF(x->hellos_ns, now - HELLOS_MAX * NS_PER_S) + NS_PER_S;
	return x->hellos_ns <= now;
}

/* A hello on a connection that is up says what the node holds after it had to refuse an intent: it is told from there on. */
static void take_hello(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	struct job *j;

	if (x->hello_pending && x->state != SESSION_UP) {
		refuse(s, x, "a second hello before the first was answered");
		return;
	}
	if (strcmp((*f)->node_hello->node_id, x->node_id) != 0) {
		refuse(s, x, "the node id is not that of the certificate");
		return;
	}
	if (x->state == SESSION_UP && !may_say_again(x)) {
		refuse(s, x, "too many hellos on one connection");
		return;
	}
	if (x->hello_pending) /* earlier releases say one for each change that they refuse: the first one's answer is good for all */
		return;
	session_cert_hello(s, x, (*f)->node_hello);
	j = job_of_frame(JOB_HELLO, x, f);
	if (j && x->state == SESSION_NEW)
		j->until_ns = x->opened_ns + SESSION_ANSWER_MS * NS_PER_MS;
	x->hello_pending = true;
	x->acked = 0;
	pthread_mutex_lock(&s->lock);
	x->wakes = session_wakes(s, x->node_id, false);
	pthread_mutex_unlock(&s->lock);
	/* Reports may be on their way behind a later hello: both to the same thread, in their order. */
	job_thread_push(x->state == SESSION_UP ? &s->store : &s->hello, j);
}

static void take_ping(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	Demarc__V1__Pong pong = DEMARC__V1__PONG__INIT;
	Demarc__V1__Frame out = DEMARC__V1__FRAME__INIT;

	pong.nonce = (*f)->ping->nonce;
	pong.heartbeat_ms = x->heartbeat_ms = session_heartbeat_ms(x);
	out.request = (*f)->request;
	out.body_case = DEMARC__V1__FRAME__BODY_PONG;
	out.pong = &pong;
	session_send(s, x, &out);
	session_watch(x);
}

/* One is with the store, and of those that come meanwhile only the highest is kept. */
void session_ack_push(struct sessions *s, struct session *x)
{
	struct job *j;

	if (x->has_ack || !x->next_ack)
		return;
	j = job_new(JOB_ACK, x->serial, x->node_id);
	if (j)
		j->revision = x->acked = x->next_ack;
	x->has_ack = j != NULL;
	x->next_ack = 0;
	job_thread_push(&s->store, j);
}

static void take_ack(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	const Demarc__V1__IntentAck *ack = (*f)->intent_ack;

	/* The node says hello again when it wants to be told otherwise; the revision is what it holds, without what it refused. */
	if (*ack->error)
		log_limited(LOG_WARN_, "node_intent_refused", "node=%s revision=%llu reason=%s",
			    x->node_id, (unsigned long long)ack->revision, LOGQ(ack->error));
	if (ack->revision <= x->acked) /* the store has it */
		return;
	x->next_ack = MAX_OF(x->next_ack, ack->revision);
	session_ack_push(s, x);
}

static void take_report(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	size_t size = demarc__v1__report__get_packed_size((*f)->report);
	struct job *j;

	if (x->n_reports >= SESSION_REPORTS_MAX || x->report_bytes + size > SESSION_REPORT_BYTES_MAX) {
		refuse(s, x, "too many reports without waiting for an acknowledgement");
		return;
	}
	j = job_of_frame(JOB_REPORT, x, f);
	if (j) {
		j->n_bytes = size;
		x->report_ns = clock_mono_ns();
		x->n_reports++;
		x->report_bytes += size;
	}
	job_thread_push(&s->store, j);
}

static void take_chunk_request(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	int rc = session_chunk_want(x, *f);

	if (rc < 0)
		refuse(s, x,
		       rc == -ENOBUFS ? "too many chunk requests at a time" :
					"the hub has no memory for a chunk request");
}

static void take_call_result(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	session_call_answer(s, x->serial, MOVE_PTR(*f));
}

static void take_goodbye(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	log_limited(LOG_INFO_, "node_goodbye", "node=%s reason=%s", x->node_id,
		    LOGQ((*f)->goodbye->reason));
	session_goodbye(s, x, "goodbye", 0);
}

static void take_stream(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	streams_frame(s->hub, x->serial, *f);
}

static void take_cert_request(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	const char *reason = session_cert_request(s, x, f);

	if (reason)
		refuse(s, x, reason);
}

static void take_peer_ask(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	session_peer_ask(x, f);
}

static void take_peer_given(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	session_peer_given(x, *f);
}

static const struct {
	Demarc__V1__Frame__BodyCase body;
	bool before_hello;
	frame_fn take; /* NULL: nothing to do */
} frame_rows[] = {
	{ DEMARC__V1__FRAME__BODY_NODE_HELLO, true, take_hello },
	{ DEMARC__V1__FRAME__BODY_PING, true, take_ping },
	{ DEMARC__V1__FRAME__BODY_PONG, true, NULL },
	{ DEMARC__V1__FRAME__BODY_GOODBYE, true, take_goodbye },
	{ DEMARC__V1__FRAME__BODY_INTENT_ACK, false, take_ack },
	{ DEMARC__V1__FRAME__BODY_REPORT, false, take_report },
	{ DEMARC__V1__FRAME__BODY_CHUNK_REQUEST, false, take_chunk_request },
	{ DEMARC__V1__FRAME__BODY_CALL_RESULT, false, take_call_result },
	{ DEMARC__V1__FRAME__BODY_CERT_REQUEST, false, take_cert_request },
	{ DEMARC__V1__FRAME__BODY_STREAM_DATA, false, take_stream },
	{ DEMARC__V1__FRAME__BODY_STREAM_WINDOW, false, take_stream },
	{ DEMARC__V1__FRAME__BODY_STREAM_CLOSE, false, take_stream },
	{ DEMARC__V1__FRAME__BODY_PEER_ASK, false, take_peer_ask },
	{ DEMARC__V1__FRAME__BODY_PEER_GIVEN, false, take_peer_given },
};

int session_take_frame(struct sessions *s, struct session *x, Demarc__V1__Frame *take)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = take;

	for (size_t i = 0; i < ARRAY_LEN(frame_rows); i++) {
		if (frame_rows[i].body != f->body_case)
			continue;
		if (x->state != SESSION_UP && !frame_rows[i].before_hello)
			refuse(s, x, "a message before the hello was answered");
		else if (frame_rows[i].take)
			frame_rows[i].take(s, x, &f);
		return 0;
	}
	return 0; /* a kind of a later release: ignored */
}
