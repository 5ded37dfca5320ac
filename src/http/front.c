/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/table.h"
#include "http/tickets.h"
#include "http/tls.h"

/* One loop of the server: accepts, times, hands finished requests back, stops. */

#define TRIM_HANDSHAKES 256u
#define TRIM_QUIET_NS (2 * NS_PER_S)
#define OVER_LIMIT_MAX                                                                             \
	64 /* connections beyond n_conns that are told 503; further ones are closed at once */

/* Out of descriptors, a client that waits in the queue would keep the listener readable: turns it away. */
static void refuse_one(struct front *f)
{
	close_fdp(&f->spare_fd);
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	f->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Idle connections are only a saving for their clients: the one that has been idle longest makes room. */
static void make_room(struct front *f)
{
	if (f->idle_first)
		conn_drop(f->idle_first);
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct front *f = handle->data;
	unsigned max = f->server->c.n_conns;
	int64_t since_ns = clock_mono_ns();

	while (admit_may_take(f) && !f->stopping) {
		int fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			refuse_one(f);
		if (fd < 0)
			return;
		if (admit_turns_away(f, fd, &since_ns)) {
			close(fd);
			continue;
		}
		if (atomic_load(f->n_conns) >= max)
			make_room(f);
		unsigned n = atomic_load(f->n_conns);
		if (n >= max + OVER_LIMIT_MAX)
			close(fd);
		else
			conn_accept(f, fd, n >= max);
	}
}

/* The file of a reply, out of the workers' table. In their order: the workers send under the lock of the list. */
static void take_passed(struct front *f, struct exchange *x)
{
	if (!x->passed)
		return;
	x->reply.body_fd = table_receive(f->take_fd);
	if (x->reply.body_fd >= 0)
		return;
	log_limited(LOG_WARN_, "http_file_lost", "errno=%d", -x->reply.body_fd);
	x->reply = (struct http_reply){ .status = 503, .body_fd = -1 };
}

static void on_finished(struct front *f, struct exchange *x)
{
	struct conn *c = x->conn;

	x->at_worker = false;
	take_passed(f, x);
	if (!c) {
		exchange_free(x);
		return;
	}
	reply_start(c);
	conn_process(c);
}

static void front_take_ctx(struct front *f)
{
	SSL_CTX *next = atomic_exchange(&f->next_ctx, NULL);

	if (!next)
		return;
	SSL_CTX_free(f->ctx); /* connections hold it until they end */
	f->ctx = next;
}

static void on_wake(uv_async_t *handle)
{
	struct front *f = handle->data;
	struct exchange *notices, *finished;

	pool_collect(f, &notices, &finished);
	for (struct exchange *x = notices; x; x = x->notice_next)
		request_notice(x);
	while (finished) {
		struct exchange *x = finished;
		finished = x->next;
		on_finished(f, x);
	}
	front_take_ctx(f);
	if (atomic_load(&f->stop_asked) && !f->stopping)
		front_begin_stop(f);
	if (atomic_load(&f->end_asked) && !f->finishing)
		front_end(f);
}

void front_wake(struct front *f)
{
	(void)uv_async_send(&f->wake); /* fails for a handle that is no async only */
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct front *f = handle->data;

	if (--f->n_closing_handles == 0 && f->finishing && f->index == 0)
		server_first_ended(f->server);
}

static void close_handle(struct front *f, uv_handle_t *handle)
{
	f->n_closing_handles++;
	uv_close(handle, on_handle_closed);
}

void front_end(struct front *f)
{
	const struct http_config *c = &f->server->c;

	f->finishing = true;
	if (f->is_told && c->front_ends)
		c->front_ends(c->ctx, f->index);
	close_handle(f, (uv_handle_t *)&f->wake);
	close_handle(f, (uv_handle_t *)&f->tick);
	close_handle(f, (uv_handle_t *)&f->turn);
	close_handle(f, (uv_handle_t *)&f->turns.timer);
	close_handle(f, (uv_handle_t *)&f->turns.spin);
	f->n_closing_handles++;
	admit_end(f, on_handle_closed);
	if (!f->stopping)
		close_handle(f, (uv_handle_t *)&f->listener);
}

static void for_all_conns(struct front *f, void (*fn)(struct conn *c))
{
	for (struct conn *c = f->conns, *next; c; c = next) {
		next = c->next;
		fn(c);
	}
}

static void on_tick(uv_timer_t *handle);

#define DUE_NS (2 * NS_PER_MS) /* of ending what is due, in a turn of the loop */
#define DUE_MAX 64u    /* what has ended is freed at the end of the turn, outside that time */
#define DUE_REST_MS 1u /* until the rest goes on */

struct due_share {
	int64_t since_ns;
	unsigned n;
};

/* Clients that came together end together: the others do not wait for that. */
static bool on_due(struct wheel_node *n, void *ctx)
{
	struct due_share *s = ctx;

	conn_timeout(CONTAINER_OF(n, struct conn, deadline));
	return ++s->n < DUE_MAX && clock_mono_ns() - s->since_ns < DUE_NS;
}

static void end_due(struct front *f)
{
	struct due_share s = { .since_ns = clock_mono_ns() };

	if (wheel_turn(&f->wheel, uv_now(f->loop), on_due, &s))
		(void)uv_timer_start(&f->tick, on_tick, DUE_REST_MS, uv_timer_get_repeat(&f->tick));
}

/* The buffers of handshakes lie between what stays: after a storm the free pages go back to the system. */
static void trim_memory(struct front *f)
{
	if (f->n_since_trim < TRIM_HANDSHAKES || clock_mono_ns() - f->shaken_ns < TRIM_QUIET_NS)
		return;
	f->n_since_trim = 0;
	(void)malloc_trim(0);
}

#define KEYS_NS (60 * NS_PER_S)

/* Once a day, a file of some bytes is written: this loop may wait for that. */
static void turn_keys(struct front *f)
{
	int64_t now = clock_mono_ns();
	struct err e = { 0 };

	if (f->index != 0 || now - f->keys_ns < KEYS_NS)
		return;
	f->keys_ns = now;
	if (ticket_keys_turn(ticket_keys_of(f->ctx), &e) < 0)
		log_limited(LOG_WARN_, "tls_ticket_key_not_stored", "reason=%s", LOGQ(e.msg));
}

static void on_tick(uv_timer_t *handle)
{
	struct front *f = handle->data;
	uint64_t now_ms = uv_now(f->loop);

	turn_keys(f);
	end_due(f);
	trim_memory(f);
	if (!f->stopping)
		return;
	if (now_ms >= f->grace_until_ms)
		for_all_conns(f, conn_drop);
	if (!f->n_handles && !f->drained) {
		f->drained = true;
		atomic_fetch_add(&f->server->n_drained, 1);
	}
	if (f->index == 0 && !f->finishing && atomic_load(&f->server->n_drained) == f->server->c.n_fronts)
		server_finish(f->server);
}

/* Often enough for the shortest time-out, seldom enough to cost nothing. */
static unsigned tick_ms(const struct http_config *c)
{
	const unsigned times[] = { c->handshake_ms, c->head_ms, c->body_ms, c->keep_alive_ms,
				   c->ws_ping_ms };
	unsigned ms = 4000;

	for (size_t i = 0; i < ARRAY_LEN(times); i++)
		ms = MIN_OF(ms, times[i]);
	return MAX_OF(ms / 4, 5u);
}

/* A turn ends here: all since the last one but what the loop slept. */
static void measure_turn(struct front *f)
{
	uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(f->loop);
	int64_t took = (int64_t)(now - f->turned_ns) - (int64_t)(idle - f->idle_ns);

	f->turned_ns = now;
	f->idle_ns = idle;
	lag_turn(&f->lag, MAX_OF(took, (int64_t)0));
}

static void on_turn(uv_check_t *handle)
{
	struct front *f = handle->data;

	admit_turn(f);
	turns_turn(f);
	measure_turn(f);
}

/* By what uv_async_send() wakes a loop: an eventfd, or a pipe where the kernel has none. Returns the next free place. */
static int *wake_fds(const struct front *f, int *ret)
{
	*ret++ = f->loop->async_io_watcher.fd;
	*ret++ = f->loop->async_wfd;
	return ret;
}

/*
 * A limit of open files is one of a table: with a table each, n fronts hold n times as many connections. Kept are standard error (the
 * log), what uv_loop_init() has opened (epoll, a pipe for signals, and the wakes of every loop: a node that comes back at another front
 * than before makes this one write to that one's, under the same number as in the process's table), the socket, and the way for files.
 */
void front_own_table(struct front *f)
{
	int keep[7 + 2 * HTTP_FRONTS_MAX] = { STDERR_FILENO,
					      uv_backend_fd(f->loop),
					      f->loop->signal_pipefd[0],
					      f->loop->signal_pipefd[1],
					      f->listen_fd,
					      f->spare_fd,
					      f->take_fd };
	int *end = keep + 7, rc;

	for (unsigned i = 0; i < f->server->c.n_fronts; i++)
		end = wake_fds(&f->server->fronts[i], end);
	rc = f->take_fd < 0 ? -EMFILE : table_take_own(keep, (size_t)(end - keep));
	f->has_table = rc == 0;
	if (f->has_table)
		f->n_conns = &f->own_conns;
	else
		log_warn("http_front_shares_table", "front=%u errno=%d", f->index, -rc);
}

void front_leave_copies(struct front *f)
{
	if (!f->has_table) {
		close_fdp(&f->pass_fd);
		close_fdp(&f->take_fd);
		f->pass_fd = f->take_fd = -1;
		return;
	}
	/* Or the kernel would go on to give clients to a socket that nobody looks at when the front has closed its own. */
	(void)close(f->listen_fd);
	(void)close(f->spare_fd);
	(void)close(f->take_fd);
}

int front_open(struct front *f, struct err *e)
{
	int rc;

	f->tls_lib = tls_lib_new();
	if (!f->tls_lib)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS");
	rc = tls_server_new(&f->server->c, f->tls_lib, &f->ctx, e);
	if (rc < 0)
		return rc;
	f->wake.data = f->listener.data = f->tick.data = f->turn.data = f;
	rc = uv_loop_configure(f->loop, UV_METRICS_IDLE_TIME);
	if (rc == 0)
		rc = uv_poll_init(f->loop, &f->listener, f->listen_fd);
	if (rc < 0)
		return err_errno(e, rc, "loop");
	rc = uv_async_init(f->loop, &f->wake, on_wake);
	if (rc < 0) {
		close_handle(f, (uv_handle_t *)&f->listener);
		return err_errno(e, rc, "loop");
	}
	(void)uv_timer_init(f->loop, &f->tick); /* cannot fail, nor can this */
	(void)uv_check_init(f->loop, &f->turn);
	admit_init(f);
	turns_init(f);
	lag_init(&f->lag);
	f->turned_ns = uv_hrtime();
	f->idle_ns = uv_metrics_idle_time(f->loop);
	f->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned ms = tick_ms(&f->server->c);
	uv_update_time(f->loop);
	wheel_init(&f->wheel, ms, uv_now(f->loop));
	(void)uv_timer_start(&f->tick, on_tick, ms, ms);
	(void)uv_check_start(&f->turn, on_turn);
	(void)uv_poll_start(&f->listener, UV_READABLE, on_accept);
	f->is_open = true;
	return 0;
}

void front_begin_stop(struct front *f)
{
	f->stopping = true;
	f->grace_until_ms = uv_now(f->loop) + f->server->grace_ms;
	close_handle(f, (uv_handle_t *)&f->listener);
	close_fdp(&f->listen_fd);
	f->listen_fd = -1;
	for_all_conns(f, conn_close_gently);
	(void)uv_timer_start(&f->tick, on_tick, 0, 5);
}
