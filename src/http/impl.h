/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_IMPL_H
#define DEMARC_HTTP_IMPL_H

/*
 * What the files of the server share; nobody else includes this.
 *
 *   socket -> conn.c (TLS, states) -> parse.c -> exchange.c (one request and its reply) -> pool.c (queue, workers) -> handler
 *   socket <- conn.c (output)      <- reply.c <- exchange.c <- pool.c (finished list, uv_async) <----------------------
 *                    \-> ws.c -> ws_frame.c    after an upgrade
 *
 * A server has n fronts: loops, each a thread with a listening socket of its own on the one port (SO_REUSEPORT), its own TLS
 * context, its own connections and its own descriptor table (table.h). The first is the caller's loop, in the process's table. A connection belongs to its front's thread for life, and so
 * does everything here, except: the pool's queues and each front's list of finished exchanges (the pool's lock), an exchange
 * between pool_push() and its way back (the worker's), the exchange's pipe (its own lock), and what is atomic. Descriptors of a
 * front with its own table are numbers without meaning to all other threads; what it kept of the process's has the same number
 * in both until the process closes its copy.
 */

#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/wheel.h"
#include "http/lag.h"
#include "http/parse.h"
#include "http/pipe.h"
#include "http/server.h"
#include "http/share.h"
#include "http/ws_frame.h"

#define HTTP_CN_SIZE 65		       /* RFC 5280: ub-common-name is 64 */
#define HTTP_PEER_SIZE 46	       /* INET6_ADDRSTRLEN */
#define HTTP_SCRATCH_BYTES (16u << 10) /* one TLS record */
#define HTTP_ARENA_MAX (64u << 20)
#define HTTP_BODIES_MAX (64u << 20) /* bytes of all buffered bodies together; more get 503 */

struct conn;

/* One request and its reply. Freed by its front's thread when both the worker and the connection are done with it. */
struct exchange {
	struct http_request req;
	struct http_reply reply;
	struct http_server *server;
	struct front *front; /* its thread frees it */
	struct conn *conn;   /* NULL: the client has gone. Front's thread only */
	struct http_field *fields;
	size_t n_fields;
	bool streamed, at_worker, keep_alive, http10;
	struct http_pipe pipe; /* when streamed */
	struct strbuf body;    /* when buffered; req.body is a view of it */
	struct exchange *next; /* in a queue of the pool */
	size_t n_counted;      /* of the server's body_bytes */
	struct exchange *notice_next;
	bool noticed; /* is in the pool's list of notices */
	bool passed;  /* the reply's file is on its way to the front's table */
	uint64_t seq; /* order of arrival */
	int64_t start_ns;
};

struct exchange_list {
	struct exchange *first, *last;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct exchange_list plain,
		streams; /* streams wait apart: slow uploads must not take every worker */
	size_t n_queued, max_queued;
	unsigned n_streaming, max_streaming, n_threads, n_started;
	uint64_t next_seq;
	bool stopping;
	pthread_t *threads;
};

enum conn_state {
	CONN_HELLO,	/* nothing has come yet; costs no TLS state */
	CONN_QUEUED,	/* waits for its turn to handshake (admit.c) */
	CONN_HANDSHAKE, /* TLS */
	CONN_HEAD,	/* reading a request's head, or idle before it */
	CONN_BODY,	/* reading its body */
	CONN_WORK,	/* a worker has it */
	CONN_REPLY,	/* sending */
	CONN_WS,	/* WebSocket open */
	CONN_FLUSH,	/* sending the last bytes, then closing */
	CONN_LINGER,	/* our side is closed; takes and drops what the peer still sends */
	CONN_DEAD,	/* waits for its handle to close */
};

/* A WebSocket is a connection that changed its protocol. */
struct http_ws {
	struct conn *conn;
	struct ws_reader reader;
	void *user;
	bool opened; /* ops->open() kept it: ops->close() is due */
	bool close_sent;
	bool wants_room; /* something was queued since ops->room() */
};

struct conn {
	struct http_server *server;
	struct front *front;
	struct conn *prev, *next;
	struct conn *idle_prev, *idle_next;   /* in the front's list of idle ones */
	struct conn *queue_next;	      /* CONN_QUEUED */
	struct conn *shake_prev, *shake_next; /* CONN_HANDSHAKE; then: a ticket is owed, or held */
	int64_t shake_ns, shake_spent_ns;     /* since then; of our time */
	bool is_shaking, is_owed, is_held,
		is_node; /* is_node: says so in its ALPN; nothing is believed of it */
	struct wheel_node deadline;
	uv_poll_t poll;
	int fd, events; /* events: what the poll handle watches now */
	SSL *ssl;
	enum conn_state state;
	bool peer_eof, paused, close_after, over_limit, processing, head_started;
	bool want_write_to_read, want_read_to_write; /* TLS 1.3 key updates */
	bool is_idle;				     /* waits for a request, and in the list */
	uint64_t last_rx_ms;
	struct share share;	   /* of a WebSocket */
	struct turn_list *turn_in; /* NULL, or input waits here for a later turn */
	struct conn *turn_prev, *turn_next;
	bool was_held_back;

	struct strbuf in;
	size_t in_off, scanned;
	struct exchange *exchange;
	struct http_chunked chunked;
	bool body_chunked, continue_due;
	uint64_t body_left;

	struct strbuf out;
	size_t out_off;
	struct str out_body; /* in the exchange's arena */
	int out_fd;
	uint64_t out_fd_off, out_fd_left;

	struct http_ws ws;
	bool has_cert;
	char cn[HTTP_CN_SIZE], peer[HTTP_PEER_SIZE];
};

/* Who waits for a handshake, and who is in one: nodes, or all others. The oldest first. */
struct admit_kind {
	struct conn *first, *last;
	unsigned n;
	struct conn *shake_first, *shake_last;
	unsigned n_shaking;
	int64_t spent_ns; /* on its handshakes in this turn of the loop */
};
struct admit {
	struct admit_kind nodes, others;
	struct admit_kind owed; /* nodes whose ticket is due */
	struct admit_kind held; /* those that have one, in the order in which they got it */
	int64_t crowd_ns;	/* when somebody last had to wait for a turn */
	int64_t hellos_ns;	/* of first bytes */
	int64_t one_ns;		/* what a handshake takes, averaged */
	int64_t next_slot_ns;	/* when the next one that is turned away should come back */
	uint64_t n_refused;
	uv_idle_t spin; /* while somebody waits, the loop does not sleep */
	bool spins;
};

/* Connections that are not read from, the one that waits longest first. */
struct turn_list {
	struct conn *first, *last;
};
struct turns {
	struct turn_list left;	/* something was left when their turn was over */
	struct turn_list spent; /* more was taken than their share: they wait for time */
	int64_t since_ns;	/* the turn of the connection that is being read */
	uv_timer_t timer;	/* for the latter */
	uv_idle_t spin;		/* for the former */
};

/* One loop. */
struct front {
	struct http_server *server;
	unsigned index;
	uv_loop_t *loop, own_loop; /* loop: the caller's for the first */
	pthread_t thread;
	OSSL_LIB_CTX *tls_lib; /* of ctx and of all contexts that come after it */
	SSL_CTX *ctx;
	int listen_fd, spare_fd; /* spare_fd: given up for a moment to turn clients away when descriptors run out */
	int pass_fd, take_fd; /* files of replies, from the workers' table to the front's; -1: the same table */
	bool has_table;			 /* of its own */
	sem_t ready;			 /* the thread has its table */
	atomic_uint own_conns, *n_conns; /* in the lists of all fronts of this table */
	uv_poll_t listener;
	uv_async_t wake;
	uv_timer_t tick;
	uv_check_t turn;
	uint64_t grace_until_ms;
	struct conn *conns;
	struct conn *idle_first, *idle_last; /* the one that has been idle longest first */
	struct wheel wheel;
	unsigned n_handles; /* of connections, until the loop has closed them */
	unsigned n_closing_handles;
	struct admit admit;
	struct turns turns;
	struct lag lag;
	uint64_t turned_ns,
		idle_ns; /* the loop's clock, and what it has slept, at the end of the last turn */
	unsigned n_since_trim; /* handshakes since free memory went back to the system */
	int64_t shaken_ns;     /* the last of them */
	int64_t keys_ns;       /* first front: when the keys of tickets were last looked at */
	bool has_loop, has_thread, is_open, is_told;
	bool stopping, drained, finishing;
	atomic_bool stop_asked, end_asked;
	_Atomic(SSL_CTX *) next_ctx; /* of a reload; the front takes it */
	/* under the pool's lock */
	struct exchange_list finished;
	struct exchange *notices; /* their workers have read from the pipe */
	char scratch[HTTP_SCRATCH_BYTES];
};

struct http_server {
	struct http_config c; /* strings are ours */
	uint16_t port;
	struct pool pool;
	struct ticket_keys *tickets; /* of all contexts; reload_lock */
	pthread_mutex_t reload_lock;
	atomic_size_t body_bytes; /* buffered now */
	atomic_uint n_conns;	  /* in the lists of the fronts that share the process's table */
	atomic_uint n_drained;	  /* fronts that stop and have no connection left */
	struct front *fronts;	  /* c.n_fronts */
	unsigned grace_ms;
	bool stopping, free_when_closed; /* first front's thread */
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* server.c: first front's thread */
void server_finish(struct http_server *s); /* no front has a connection left */
void server_first_ended(struct http_server *s);

/* front.c */
WARN_UNUSED int front_open(struct front *f, struct err *e); /* before its thread runs */
void front_begin_stop(struct front *f);	  /* takes no more clients; conns finish */
void front_end(struct front *f);	  /* closes the handles: no connection is left */
void front_wake(struct front *f);	  /* any thread */
void front_own_table(struct front *f);	  /* its thread, first thing */
void front_leave_copies(struct front *f); /* the process's copies of what the front has taken over */

/* listen.c */
WARN_UNUSED int listen_open(const struct http_config *c, unsigned n, int *ret_fds,
			    uint16_t *ret_port, struct err *e);

/* conn.c */
void conn_accept(struct front *f, int fd, bool over_limit);
void conn_give_ticket(struct conn *c); /* of TLS; it has nothing else to send */
void conn_process(struct conn *c); /* runs the state machine on what has been read, sends, sets the poll */
void conn_arm(struct conn *c); /* sets the poll alone: output waits for the next turn of the loop */
void conn_timeout(struct conn *c);			/* its deadline is reached */
void conn_drop(struct conn *c);				/* at once, without a word */
void conn_close_gently(struct conn *c);			/* server stop: after what is in progress */
void conn_finish(struct conn *c);			/* send what waits, then close */
void conn_set_deadline(struct conn *c, unsigned in_ms); /* 0: none */
struct str conn_input(const struct conn *c);
void conn_consume(struct conn *c, size_t n);

void conn_start_tls(struct conn *c); /* its turn has come */
void conn_go_on(struct conn *c);     /* with what was left of its input */

/* admit.c: which handshakes, and when */
void admit_init(struct front *f);
void admit_end(struct front *f, void (*closed)(uv_handle_t *handle)); /* closes one handle */
void admit_hello(struct conn *c);     /* the first bytes are there: queues, or turns away */
bool admit_may_take(struct front *f); /* false: this turn has taken enough clients */
/* How many nodes may wait: at this rate of handshakes a second, by time and by lag_strain(). */
unsigned admit_room(double rate, unsigned queue_ms, double strain);
/* A new client that is turned away at once: the caller closes fd. *since_ns moves on. */
bool admit_turns_away(struct front *f, int fd, int64_t *since_ns);
bool admit_may_step(const struct conn *c); /* false: this turn has done enough handshaking */
void admit_stepped(struct conn *c, int64_t ns);
void admit_shaking(struct conn *c, bool on); /* in TLS from now on; no more */
void admit_done(struct conn *c);	     /* a handshake has ended well */
void admit_owes(struct conn *c, bool owed);  /* a ticket, which it gets in quieter times */
void admit_holds(struct conn *c);	     /* it has its ticket: the next one is due later */
void admit_forget(struct conn *c);	     /* the connection goes */
void admit_turn(struct front *f);	     /* once per turn of the loop */

/* share.c: how long a connection's input is handled before it is the others' turn */
void turn_begin(struct conn *c);
bool turn_is_over(const struct conn *c);
void turn_leave(struct conn *c); /* has input left: not read from until it goes on */
void turn_end(struct conn *c);
void turn_forget(struct conn *c); /* the connection goes, or goes on */
void turns_init(struct front *f);
void turns_turn(struct front *f); /* once per turn of the loop */

/* request.c: from bytes to an exchange */
void request_head(struct conn *c);	 /* CONN_HEAD */
void request_body(struct conn *c);	 /* CONN_BODY */
void request_notice(struct exchange *x); /* the worker has read from the pipe */
void request_timeout(struct conn *c);	 /* CONN_BODY: no more bytes came */

/* exchange.c */
struct exchange *exchange_new(struct conn *c, const struct http_head *h,
			      struct str raw_head); /* NULL: no memory */
void exchange_free(struct exchange *x);
void exchange_detach(struct exchange *x); /* the connection is gone */

/* reply.c */
void reply_start(struct conn *c); /* serializes the exchange's reply */
void reply_error(struct conn *c, int status, const char *message); /* the server's own; closes after it */
/* The same with one more header line, "Name: value"; NULL: none. */
void reply_error_with(struct conn *c, int status, const char *message, const char *header_line);
const char *http_reason(int status);

/* pool.c */
WARN_UNUSED int pool_start(struct pool *p, struct http_server *s, unsigned n, struct err *e);
void pool_stop(struct pool *p);			       /* waits for the handlers that run */
bool pool_push(struct pool *p, struct exchange *x);    /* false: full */
void pool_done(struct pool *p, struct http_server *s); /* after pool_stop(), when no front runs */
/* Both lists at once: an exchange in *ret_notices is alive until the finished ones have been looked at. */
void pool_collect(struct front *f, struct exchange **ret_notices, struct exchange **ret_finished);
void pool_notice(struct pool *p, struct exchange *x); /* worker */
void exchange_list_add(struct exchange_list *l, struct exchange *x);

/* ws.c */
void ws_upgrade(struct conn *c, const struct http_head *h, size_t head_size);
void ws_input(struct conn *c);
void ws_timeout(struct conn *c);
void ws_flushed(struct conn *c); /* the queue is empty */
void ws_done(struct conn *c);
void ws_start_close(struct conn *c, enum ws_code code, const char *reason);

#endif
