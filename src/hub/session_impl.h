/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_SESSION_IMPL_H
#define DEMARC_HUB_SESSION_IMPL_H

/*
 * Inside of the node sessions. A session lives on the front of its connection (http/server.h), and only that thread touches it.
 * Four parties share `struct sessions`:
 *
 *   fronts          WebSocket events, frames in and out, heartbeats       session.c, session_frames.c
 *   hello thread    reads the row of each node that says hello            session_hello.c
 *   store thread    other hellos, reports, acks, last seen: in batches     session_store.c, session_wait.c, session_report.c
 *   reader thread   deltas and snapshots of intent                        session_intent.c
 *   bulk thread     chunks of image files, when it is their turn          session_chunk.c, chunk_queue.c
 *                   nodes that are to copy one from each other            session_peer.c, peer_intro.c
 *   cert thread     certificates of nodes                                 session_cert.c
 *   any thread      session_wake, session_drop, session_call              session_call.c
 *
 * A session is named by its serial, which names its front too, outside of that thread: it may be gone when an answer comes, and
 * then the answer is dropped. A front never reads the store: its descriptors are not in the front's table (http/table.h). Work goes to the threads as jobs, results come back to the front as posts (uv_async). Only the
 * table of connected nodes and the calls in progress are under the lock.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/wheel.h"
#include "demarc.pb-c.h"
#include "hub/chunk_queue.h"
#include "hub/hub.h"
#include "hub/peer_intro.h"
#include "hub/session.h"

/* The node pings at an interval that the hub names: */
#define SESSION_HEARTBEAT_MIN_MS 5000u
#define SESSION_HEARTBEAT_MAX_MS 60000u
#define SESSION_HEARTBEATS_PER_S 500u /* of all nodes together, where that allows it */
/* Silence beyond the interval after which a session is closed: as long again, within these. A node gives up earlier (link/client_impl.h). */
#define SESSION_GRACE_MIN_MS 2000u
#define SESSION_GRACE_MAX_MS 10000u
#define SESSION_HELLO_MS 10000u /* from the handshake to NodeHello */
/* From there to the answer: the node gives up after 15 s (link/client_impl.h), and would only say it all again. */
#define SESSION_ANSWER_MS 12000u
#define SESSION_LATE_RETRY_MS 10000u /* then it comes back after so long, */
#define SESSION_LATE_SLOT_MS 100u    /* the next one so much later, */
#define SESSION_LATE_SLOTS 200u	     /* and so on */
#define SESSION_SEEN_MS 60000u	     /* last_seen of connected nodes is written at this interval */
#define SESSION_GONE_MS                                                                            \
	10000u /* of those that left, after one to two of these, unless they are back */
#define SESSION_TICK_MS 250u
#define SESSION_SWEEP_MS 5000u /* lost wake-ups are looked for at this interval */
#define SESSION_REPORTS_MAX 64 /* reports of one node that wait for the store */
#define SESSION_REPORT_BYTES_MAX                                                                   \
	(4u << 20) /* their bytes; an agent has 8 of some 300 KiB on their way at most */
#define SESSION_OUT_MAX                                                                            \
	(16u << 20) /* bytes of control frames that wait for the socket, per session */
#define SESSION_SOCKET_MAX (1536u << 10) /* bytes handed to the socket at a time */
#define SESSION_BULK_MAX                                                                           \
	(64u << 10) /* chunks and streams wait while more than this is in the socket's queue */
#define SESSION_STUCK_RETRY_MS 60000u	  /* for a node that did not take its chunk */
#define SESSION_REVISION_MAX (1ull << 53) /* a node that claims more is not counting */
#define EVENTS_MAX 100000		  /* newest events kept */

/* ---- jobs: work for a thread ---- */

enum job_kind {
	JOB_HELLO,	  /* hello, then store unless the node comes back as it left */
	JOB_REPORT,	  /* store */
	JOB_ACK,	  /* store */
	JOB_SEEN,	  /* store */
	JOB_INTENT,	  /* reader */
	JOB_SWEEP,	  /* reader */
	JOB_CERT_REQUEST, /* cert */
	JOB_CERT_USED,	  /* cert */
	JOB_CERT_SWEEP,	  /* cert */
	JOB_AUDIT,	  /* cert */
};

struct hello_result {
	uint64_t revision, node_revision; /* the hub's, the node's */
	uint64_t report_seq;		  /* last one stored */
	bool resync;
};

struct job {
	struct job *next;
	enum job_kind kind;
	uint64_t serial;
	char node_id[40];
	char address[64];
	Demarc__V1__Frame *frame;  /* owned: HELLO, REPORT */
	uint64_t revision;	   /* ACK: acknowledged; INTENT: what the node holds */
	bool full;		   /* INTENT: send everything */
	struct hello_result hello; /* HELLO: result */
	int64_t until_ns;      /* HELLO: when the node is sent away if it has no answer; 0: never */
	int64_t now_us;	       /* wall clock when the frame came */
	size_t n_bytes;	       /* REPORT: as it came */
	struct job *wait_next; /* REPORT that waits for space: an older one of the bucket */
	uint64_t ack_seq;      /* the same: to acknowledge with it; 0: its own number */
	char *seen; /* owned. SEEN: node ids, a line each; CERT_USED: serial number; AUDIT: text */
	struct err err; /* result of a store job */
	int rc;
};
struct job *job_new(enum job_kind kind, uint64_t serial, const char *node_id);
void job_free(struct job *j);
/* Without the hellos that nobody waits for any more; they are freed. */
struct job *jobs_drop_late(struct job *take_list);

/* A thread with its store connection that takes everything that waits at once. */
struct job_thread {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct job *head, **tail;
	unsigned batch_max,
		cache_kib; /* cache_kib: of the store's pages; 0: as usual. Set before the start */
	int64_t due_ns; /* its own; run() is called then at the latest, with NULL when there is nothing; 0: never */
	bool stop, running;
	struct sessions *sessions;
	struct db *db;
	/* Does the jobs of the list; owns them. */
	void (*run)(struct job_thread *t, struct job *list);
};
/* name: as the system shows it, 15 bytes at most */
WARN_UNUSED int job_thread_start(struct job_thread *t, struct sessions *s, const char *name,
				 unsigned batch_max, void (*run)(struct job_thread *, struct job *),
				 struct err *e);
void job_thread_push(struct job_thread *t, struct job *take);
void job_thread_stop(struct job_thread *t); /* waits for what runs, frees what waits */

/* The thread that reads images. */
struct bulk {
	pthread_t thread;
	bool running, has_lock;
	struct sessions *sessions;
	struct db *db;
	pthread_mutex_t lock; /* below */
	pthread_cond_t cond;
	struct chunk_queue queue;
	struct peer_ask *asks, **asks_end; /* the end is valid while there is one */
	unsigned n_asks;
	struct peer_intros intros;
	bool stop;
};

/* ---- posts: results for a front ---- */

enum post_kind {
	POST_HELLO,    /* hello is checked */
	POST_SEND,     /* bytes for the session */
	POST_CHUNK,    /* bytes, behind control frames */
	POST_ACKED,    /* report stored: ReportAck follows */
	POST_MERGED,   /* report that another one stands for */
	POST_TAKEN,    /* the store thread has done the node's IntentAck */
	POST_CERT,     /* bytes: the answer to a certificate request */
	POST_STREAM,   /* bytes, behind control frames */
	POST_CLOSE,    /* goodbye with text, retry_after_ms */
	POST_REPLACED, /* a newer connection of the same node, on whichever front, is up */
};
struct post {
	struct post *next;
	enum post_kind kind;
	uint64_t serial;
	char node_id[40];
	uint8_t *data; /* owned: an encoded frame */
	size_t size;
	char text[256];
	uint32_t retry_after_ms;
	uint64_t report_seq;
	size_t report_bytes; /* ACKED, MERGED */
	struct hello_result hello;
};
struct post *post_new(enum post_kind kind, uint64_t serial);
void post_free(struct post *p);
void sessions_post(struct sessions *s, struct post *take); /* any thread; to the front of the serial */

/* ---- sessions ---- */

/* A frame that waits for the socket. */
struct out {
	struct out *next;
	size_t size;
	uint8_t data[];
};
struct out_queue {
	struct out *head, **tail;
	size_t n_bytes;
};

enum session_state { SESSION_NEW, SESSION_UP, SESSION_CLOSING };

/* Its front's, but for the fields named under the lock. */
struct session {
	struct session *next, **at;  /* all sessions of the front; at: what points here */
	struct session *next_serial; /* chain of by_serial */
	struct session *seen_next,
		**seen_at; /* in the front's list of those heard of; seen_at NULL: not in it */
	struct session_front *front;
	struct wheel_node silence;
	uint64_t serial;
	struct http_ws *ws;
	char node_id[40]; /* from the certificate */
	char peer[64];
	enum session_state state;
	int64_t opened_ns, last_rx_ns;
	int64_t report_ns; /* the last one was given to the store, which writes last_seen with it; 0: none */
	uint32_t heartbeat_ms; /* what it was told */
	unsigned n_reports;    /* with the store thread */
	size_t report_bytes;   /* of them */
	bool has_ack;	       /* with the store thread */
	uint64_t acked;	       /* the last one that was given to it since the hello */
	uint64_t next_ack;     /* waits for it; 0: none */
	int64_t hellos_ns;     /* until when those after the first are paid for */
	int64_t asks_ns;       /* the same, of questions for another node */
	bool has_chunk; /* given to the bulk queue or the socket, and not known to have left */
	struct chunk_place place; /* under the bulk thread's lock */
	bool hello_pending;	  /* with the hello or the store thread */
	uint32_t wakes;		  /* of its bucket when the hello came */
	struct out_queue control, bulk;
	char *new_serial;  /* owned; of a certificate that is seen for the first time */
	bool cert_pending; /* with the certificates' thread */
	bool trust_stale;  /* the node is to be told what to trust */
	/* under sessions.lock */
	struct session *next_up; /* chain of the table */
	bool is_up;
	uint64_t sent_revision; /* the reader has read rows up to here */
};

struct call {
	struct call *next;
	uint64_t request, serial;
	Demarc__V1__Frame *result;
	bool done, lost;
	pthread_cond_t cond;
};

#define SESSION_BUCKETS 8192 /* power of two; 15,000 nodes: chains of two */

struct session_front {
	struct sessions *sessions;
	unsigned index;
	uv_async_t async;
	uv_timer_t tick;
	struct wheel wheel; /* of silence */
	struct session *all;
	struct session *seen; /* heard of since last_seen was written */
	struct strbuf gone[2]; /* ids of those that left, a line each; since the last look, and before it */
	unsigned n_late; /* whom the store had no time for */
	struct session *by_serial[SESSION_BUCKETS];
	uint64_t n_serials;
	int64_t last_seen_ns, last_gone_ns;
	pthread_mutex_t lock; /* below */
	bool open;	      /* the async handle may be used */
	struct post *post_head, **post_tail;
};

/* Jobs of the store thread, which is the only one to touch them, that wait: for space on the disk, or for each other. session_wait.c */
#define WAIT_BUCKETS 4096
struct store_waiting {
	struct job *head, *last;
	unsigned n, n_max;
	size_t bytes, bytes_max;
	int64_t retry_ns;		  /* when they are to be tried */
	struct job *newest[WAIT_BUCKETS]; /* reports, by session, the newest first */
};
enum wait_what {
	WAIT_KEPT,    /* the job waits, and is not the caller's any more */
	WAIT_MERGED,  /* the caller frees it; it is acknowledged with one that waits */
	WAIT_PASSED,  /* figures for which there is no room: acknowledged, and not stored */
	WAIT_REFUSED, /* no room */
};
/* A report or an acknowledgement. */
enum wait_what store_wait(struct store_waiting *w, struct job *j);
/* All of them, in their order; none waits any more. */
struct job *store_wait_take(struct store_waiting *w);
/* A report of the session waits. */
bool store_wait_has(struct store_waiting *w, uint64_t serial);
/* A report that says only what the node counts and measures: the next one says it again. */
bool job_figures_only(const struct job *j);

struct sessions {
	struct hub *hub;
	struct store_waiting waiting, lingering;
	struct session_front fronts[HTTP_FRONTS_MAX];
	int64_t last_sweep_ns; /* first front's */
	struct job_thread hello, store, reader, cert;
	struct bulk bulk;
	atomic_uint n_up; /* in the table */

	pthread_mutex_t lock; /* below */
	struct session *up[SESSION_BUCKETS];
	uint32_t wakes[SESSION_BUCKETS]; /* changes of intents, by the bucket of their node */
	struct call *calls;
	uint64_t next_request; /* even */
};

void session_post_hello(struct sessions *s, const struct job *j); /* its result */

/* Changes of the intents in the node's bucket, up to now; `more`: one more. Under the lock. */
uint32_t session_wakes(struct sessions *s, const char *node_id, bool more);
/* Under the lock; NULL when the node is not connected. */
struct session *session_find_up(struct sessions *s, const char *node_id);
/* Any thread; takes the lock. 0: the node is not connected. */
uint64_t session_serial_of(struct sessions *s, const char *node_id);

/* Thread of the session's front. */
void session_send(struct sessions *s, struct session *x, const Demarc__V1__Frame *f);
void session_send_bytes(struct sessions *s, struct session *x, const uint8_t *data, size_t size,
			bool bulk);
void session_goodbye(struct sessions *s, struct session *x, const char *reason, uint32_t retry_after_ms);
int session_take_frame(struct sessions *s, struct session *x, Demarc__V1__Frame *take);
/* Gives the IntentAck that waits to the store, unless one is there. */
void session_ack_push(struct sessions *s, struct session *x);
void session_calls_lost(struct sessions *s, uint64_t serial);
/* Gives the answer to the call that waits for it; frees it when nobody does. */
void session_call_answer(struct sessions *s, uint64_t serial, Demarc__V1__Frame *take);
void session_intent_push(struct sessions *s, const struct session *x, uint64_t node_revision, bool full);

/* Its silence is looked for by the interval that it was told last, which may be shorter than the one before. Thread of its front. */
void session_watch(struct session *x);
uint32_t session_heartbeat_ms(const struct session *x); /* what it is told now */
/* The same by what it depends on. `fixed_s`: the operator's, 0: none; strain: http/lag.h. */
uint32_t heartbeat_ms(uint32_t fixed_s, uint32_t n_nodes, double strain);
/* After so long a silence a node that was told this interval is gone. */
uint32_t heartbeat_silence_ms(uint32_t told_ms);

/* Threads. */
void session_hello_run(struct job_thread *t, struct job *list);
void session_store_run(struct job_thread *t, struct job *list);
void session_store_init(struct sessions *s);
void session_store_done(struct sessions *s); /* after its thread has ended */
void session_reader_run(struct job_thread *t, struct job *list);
WARN_UNUSED int bulk_start(struct bulk *b, struct sessions *s, struct err *e);
void bulk_stop(struct bulk *b);
/* Checks and stores a hello inside the open write transaction. */
WARN_UNUSED int session_hello_apply(struct db *db, struct job *j, struct err *e);
/* The same answer with nothing written, for a full disk. NO_SPACE: it cannot be given without. */
WARN_UNUSED int session_hello_read(struct db *db, struct job *j, struct err *e);
/* True when the node comes back as it left, and nothing is to be stored or sent to it. Reads one row. */
bool session_hello_try(struct db *db, const char *node_id, const char *address,
		       const Demarc__V1__NodeHello *h, struct hello_result *ret);
/* Stores the digest of the node's intent with its revision, so that no hello has to count it. */
WARN_UNUSED int session_digest_keep(struct db *db, const char *node_id, struct err *e);
void session_hello_done(struct sessions *s, struct session *x, const struct hello_result *r);
/* Applies one report inside the open write transaction. */
WARN_UNUSED int session_report_apply(struct db *db, const struct job *j, struct err *e);
/* Encodes f and posts it; out of memory closes the session. */
void session_post_frame(struct sessions *s, uint64_t serial, enum post_kind kind,
			const Demarc__V1__Frame *f);
void session_post_close(struct sessions *s, uint64_t serial, const char *reason,
			uint32_t retry_after_ms);

/* session_chunk.c: thread of the session's front. -ENOBUFS: too many wait. */
WARN_UNUSED int session_chunk_want(struct session *x, const Demarc__V1__Frame *f);
void session_chunk_taken(struct session *x);
void session_chunk_leave(struct session *x);
/* The image is one of the node's servers'. NOT_FOUND. */
WARN_UNUSED int session_may_read(struct db *db, const char *node_id, const char *image_id,
				 struct err *e);

/* session_peer.c: thread of the session's front. */
void session_peer_ask(struct session *x, Demarc__V1__Frame **f);
void session_peer_given(struct session *x, const Demarc__V1__Frame *f);
/* The bulk thread's; the first under its lock. Owned by the caller; NULL: none waits. */
struct peer_ask *peer_ask_next(struct bulk *b);
void session_peer_introduce(struct bulk *b, struct peer_ask *a);
void peer_ask_free(struct peer_ask *a);

/* session_cert.c: thread of the session's front; the last one is the certificates' thread. */
void session_cert_open(struct sessions *s, struct session *x);
void session_cert_hello(struct sessions *s, struct session *x, const Demarc__V1__NodeHello *h);
void session_cert_up(struct sessions *s, struct session *x);
/* Returns why the node is refused, or NULL; takes the frame over. */
const char *session_cert_request(struct sessions *s, struct session *x, Demarc__V1__Frame **f);
void session_cert_run(struct job_thread *t, struct job *list);

#endif
