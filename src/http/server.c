/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/table.h"
#include "http/tickets.h"
#include "http/tls.h"

/* Start and stop of all fronts. What one of them does is in front.c. */

static void set_default(unsigned *v, unsigned dflt)
{
	if (!*v)
		*v = dflt;
}

/* What the process may open, less what is not a connection: the database, workers, uploads, nodes' images. */
#define FILES_KEPT 512u
static unsigned conns_default(void)
{
	struct rlimit l = { 0 };

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur > 1u << 24)
		return 1u << 16;
	return l.rlim_cur > 2 * FILES_KEPT ? (unsigned)l.rlim_cur - FILES_KEPT :
					     (unsigned)l.rlim_cur / 2;
}

static void config_defaults(struct http_config *c)
{
	set_default(&c->n_workers, 8);
	set_default(&c->n_conns, conns_default());
	set_default(&c->n_fronts, 1);
	set_default(&c->n_queue, 512);
	set_default(&c->n_handshakes, 1024);
	set_default(&c->queue_ms, 1500);
	set_default(&c->handshake_ms, 15000);
	set_default(&c->head_ms, 30000);
	set_default(&c->body_ms, 60000);
	set_default(&c->keep_alive_ms, 75000);
	set_default(&c->ws_ping_ms, 30000);
	set_default(&c->quiet_ms, 2000);
	set_default(&c->ticket_renew_ms, TICKET_RENEW_S * 1000);
	if (!c->max_body_bytes)
		c->max_body_bytes = 1u << 20;
	if (!c->ws_max_message_bytes)
		c->ws_max_message_bytes = 1u << 20;
	if (!c->ws_max_queue_bytes)
		c->ws_max_queue_bytes = 4u << 20;
}

static int config_copy(struct http_config *to, const struct http_config *from, struct err *e)
{
	const char **texts[] = { &to->listen_addr,    &to->cert_file, &to->key_file,
				 &to->client_ca_file, &to->ws_path,   &to->ws_protocol,
				 &to->ticket_file };
	bool failed = false;

	*to = *from;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!*texts[i])
			continue;
		*texts[i] = strdup(*texts[i]);
		failed |= !*texts[i];
	}
	config_defaults(to);
	return failed ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory") : 0;
}

static void config_done(struct http_config *c)
{
	const char *texts[] = { c->listen_addr, c->cert_file,	c->key_file,   c->client_ca_file,
				c->ws_path,	c->ws_protocol, c->ticket_file };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free((void *)(uintptr_t)texts[i]);
}

/* A client that goes away while it is written to must not end the process: the TLS library writes without MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

/* ---- start ---- */

static void *front_main(void *arg)
{
	struct front *f = arg;

	front_own_table(f);
	sem_post(&f->ready);
	uv_run(f->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void front_init(struct http_server *s, unsigned i, uv_loop_t *loop)
{
	struct front *f = &s->fronts[i];

	f->server = s;
	f->index = i;
	f->spare_fd = f->pass_fd = f->take_fd = -1;
	f->n_conns = &s->n_conns;
	(void)sem_init(&f->ready, 0, 0);
	f->loop = i == 0 ? loop : &f->own_loop;
}

static int open_fronts(struct http_server *s, struct err *e)
{
	unsigned n = s->c.n_fronts;
	int rc = 0;

	/* The caller's loop last: what is open there can only be closed by running it. */
	for (unsigned i = n; rc == 0 && i-- > 0;) {
		if (i > 0 && uv_loop_init(&s->fronts[i].own_loop) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
		s->fronts[i].has_loop = i > 0;
		rc = front_open(&s->fronts[i], e);
	}
	return rc;
}

/* Tickets of one front are good at every other. */
static int share_tickets(struct http_server *s, struct err *e)
{
	int rc = ticket_keys_new(s->c.ticket_file, false, &s->tickets, e);

	for (unsigned i = 0; rc == 0 && i < s->c.n_fronts; i++)
		rc = ticket_keys_use(s->tickets, s->fronts[i].tls_lib, s->fronts[i].ctx, e);
	return rc;
}

/*
 * Signals are for the first thread: libuv's handler writes to descriptors of the process's table. Those that a thread causes itself
 * stay.
 */
static int start_thread(struct front *f)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t block, before;
	int num;

	sigfillset(&block);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		sigdelset(&block, own[i]);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	num = pthread_create(&f->thread, NULL, front_main, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return num;
}

static int run_thread(struct front *f, struct err *e)
{
	int rc = table_way_open(&f->pass_fd, &f->take_fd), num;

	if (rc < 0)
		return err_errno(e, rc, "open a way for files");
	num = start_thread(f);
	if (num)
		return err_errno(e, num, "start a thread");
	f->has_thread = true;
	while (sem_wait(&f->ready) < 0)
		; /* EINTR */
	front_leave_copies(f);
	return 0;
}

static int run_fronts(struct http_server *s, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < s->c.n_fronts; i++)
		if (s->c.front_starts) {
			rc = s->c.front_starts(s->c.ctx, i, s->fronts[i].loop, e);
			if (rc < 0)
				return rc;
			s->fronts[i].is_told = true;
		}
	for (unsigned i = 1; rc == 0 && i < s->c.n_fronts; i++)
		rc = run_thread(&s->fronts[i], e);
	return rc;
}

/* Takes part in an orderly stop, or ends what a failed start has opened. Every front but the first. */
static void end_others(struct http_server *s)
{
	for (unsigned i = 1; i < s->c.n_fronts; i++) {
		struct front *f = &s->fronts[i];

		if (f->has_thread) {
			atomic_store(&f->end_asked, true);
			front_wake(f);
			pthread_join(f->thread, NULL);
			f->has_thread = false;
			if (f->has_table) /* these went with it */
				f->listen_fd = f->spare_fd = f->take_fd = -1;
		} else if (f->is_open) {
			front_end(f);
			uv_run(f->loop, UV_RUN_DEFAULT);
		}
		if (f->has_loop)
			uv_loop_close(f->loop);
		f->has_loop = f->is_open = false;
	}
}

static int start(struct http_server *s, uv_loop_t *loop, struct err *e)
{
	int fds[HTTP_FRONTS_MAX];
	int rc;

	for (unsigned i = 0; i < HTTP_FRONTS_MAX; i++)
		fds[i] = -1;
	rc = listen_open(&s->c, s->c.n_fronts, fds, &s->port, e);
	for (unsigned i = 0; i < s->c.n_fronts; i++) {
		front_init(s, i, loop);
		s->fronts[i].listen_fd = fds[i];
	}
	if (rc == 0)
		rc = pool_start(&s->pool, s, s->c.n_workers, e);
	if (rc == 0)
		rc = open_fronts(s, e);
	if (rc == 0)
		rc = share_tickets(s, e);
	return rc < 0 ? rc : run_fronts(s, e);
}

/* What is open on the caller's loop frees the server when the loop has closed it. */
static void start_failed(struct http_server *s)
{
	if (s->fronts)
		end_others(s);
	if (!s->fronts || !s->fronts[0].is_open) {
		http_server_free(s);
		return;
	}
	s->free_when_closed = true;
	front_end(&s->fronts[0]);
}

int http_server_start(uv_loop_t *loop, const struct http_config *c, struct http_server **ret,
		      struct err *e)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	(void)pthread_mutex_init(&s->reload_lock, NULL); /* cannot fail without attributes */
	ignore_sigpipe();
	int rc = config_copy(&s->c, c, e);
	s->c.n_fronts = MIN_OF(s->c.n_fronts, HTTP_FRONTS_MAX);
	if (rc == 0)
		s->fronts = calloc(s->c.n_fronts, sizeof(*s->fronts));
	if (rc == 0)
		rc = s->fronts ? start(s, loop, e) : err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	if (rc < 0) {
		start_failed(s);
		return rc;
	}
	*ret = s;
	return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

/* ---- stop: every front loses its connections; then the workers end; then the fronts do ---- */

static void free_ctxs(SSL_CTX *const *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		SSL_CTX_free(all[i]);
}

/* The keys that are there open tickets of clients whom nobody vouches for any more. Last of what can fail. */
static int replace_keys(struct http_server *s, SSL_CTX *const *all, struct err *e)
{
	struct ticket_keys *fresh = NULL;
	int rc = 0;

	if (s->c.ticket_file && unlink(s->c.ticket_file) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s", s->c.ticket_file);
	ticket_keys_leave(s->tickets);
	rc = ticket_keys_new(s->c.ticket_file, true, &fresh, e);
	for (unsigned i = 0; rc == 0 && i < s->c.n_fronts; i++)
		rc = ticket_keys_use(fresh, s->fronts[i].tls_lib, all[i], e);
	if (rc < 0) {
		ticket_keys_free(fresh);
		return rc;
	}
	ticket_keys_free(s->tickets); /* connections hold it until they end */
	s->tickets = fresh;
	return 0;
}

int http_server_reload(struct http_server *s, struct err *e)
{
	SSL_CTX *all[HTTP_FRONTS_MAX] = { 0 };
	unsigned n = s->c.n_fronts;
	int rc = 0;

	pthread_mutex_lock(&s->reload_lock);
	for (unsigned i = 0; rc == 0 && i < n; i++)
		rc = tls_server_new(&s->c, s->fronts[i].tls_lib, &all[i], e);
	if (rc == 0)
		rc = replace_keys(s, all, e);
	pthread_mutex_unlock(&s->reload_lock);
	if (rc < 0) {
		free_ctxs(all, n);
		return rc;
	}
	for (unsigned i = 0; i < n; i++) {
		SSL_CTX_free(atomic_exchange(&s->fronts[i].next_ctx, all[i]));
		front_wake(&s->fronts[i]);
	}
	return 0;
}

void http_server_stop(struct http_server *s, unsigned grace_ms, void (*stopped)(void *ctx), void *ctx)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->stopped = stopped;
	s->stopped_ctx = ctx;
	s->grace_ms = grace_ms;
	for (unsigned i = 1; i < s->c.n_fronts; i++) {
		atomic_store(&s->fronts[i].stop_asked, true);
		front_wake(&s->fronts[i]);
	}
	front_begin_stop(&s->fronts[0]);
}

/* Handlers that still run have lost their clients; their end is waited for. */
void server_finish(struct http_server *s)
{
	pool_stop(&s->pool);
	end_others(s);
	front_end(&s->fronts[0]);
}

void server_first_ended(struct http_server *s)
{
	s->fronts[0].is_open = false;
	if (s->free_when_closed)
		http_server_free(s);
	else if (s->stopped)
		s->stopped(s->stopped_ctx);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	if (s->pool.n_started)
		pool_stop(&s->pool);
	pool_done(&s->pool, s);
	for (unsigned i = 0; s->fronts && i < s->c.n_fronts; i++) {
		close_fdp(&s->fronts[i].listen_fd);
		close_fdp(&s->fronts[i].spare_fd);
		close_fdp(&s->fronts[i].pass_fd);
		close_fdp(&s->fronts[i].take_fd);
		sem_destroy(&s->fronts[i].ready);
		SSL_CTX_free(s->fronts[i].ctx);
		SSL_CTX_free(atomic_load(&s->fronts[i].next_ctx));
		OSSL_LIB_CTX_free(s->fronts[i].tls_lib);
	}
	ticket_keys_free(s->tickets);
	pthread_mutex_destroy(&s->reload_lock);
	free(s->fronts);
	config_done(&s->c);
	free(s);
}
