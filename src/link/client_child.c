/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/child.h"

/* The child's process and pipe, and the kernel's word that addresses or routes changed. */

#define READ_BYTES 65536u
#define PATH_BYTES 4096

/* ---- to the child ---- */

struct pipe_write {
	uv_write_t req;
	struct strbuf bytes;
	struct link_client *l;
};

static void on_written(uv_write_t *req, int status)
{
	struct pipe_write *w = CONTAINER_OF(req, struct pipe_write, req);

	(void)status; /* a dead child is seen by its exit */
	w->l->queued_bytes -= w->bytes.len;
	strbuf_done(&w->bytes);
	free(w);
}

static int tell(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	struct pipe_write *w;
	uv_buf_t buf;
	int rc;

	if (!l->child_running)
		return -ENOTCONN;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	pipe_msg_add(&w->bytes, kind, l->gen, payload);
	rc = w->bytes.error;
	buf = uv_buf_init(w->bytes.ptr, (unsigned)w->bytes.len);
	w->l = l;
	if (rc == 0)
		rc = uv_write(&w->req, (uv_stream_t *)&l->pipe, &buf, 1, on_written);
	if (rc < 0) {
		strbuf_done(&w->bytes);
		free(w);
		return rc;
	}
	l->queued_bytes += w->bytes.len;
	return 0;
}

static void kill_child(struct link_client *l);

/* ---- from the child ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char bytes[READ_BYTES]; /* the loop reads one handle at a time */

	(void)h;
	(void)suggested;
	*buf = uv_buf_init(bytes, sizeof(bytes));
}

static void take_all(struct link_client *l)
{
	struct pipe_head h;
	struct str payload;
	size_t at = 0;
	int rc;

	while ((rc = pipe_msg_next(&l->in, &at, &h, &payload)) == 1) {
		client_take(l, &h, payload);
		if (l->state == LINK_STOPPED)
			return;
	}
	pipe_buf_consume(&l->in, at);
	if (rc < 0 || l->in.error)
		kill_child(l);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link_client *l = stream->data;

	if (n < 0) {
		kill_child(l); /* closed its end: its exit follows, or is helped */
		return;
	}
	strbuf_add(&l->in, buf->base, (size_t)n);
	take_all(l);
	if (l->state != LINK_STOPPED)
		client_rearm(l);
}

/* ---- life of the child ---- */

static void on_closed(uv_handle_t *h)
{
	struct link_client *l = h->data;

	if (h == (uv_handle_t *)&l->process)
		l->process_open = false;
	else
		l->pipe_open = false;
	client_handle_closed(l);
}

static void close_pipe(struct link_client *l)
{
	if (l->pipe_open && !uv_is_closing((uv_handle_t *)&l->pipe))
		uv_close((uv_handle_t *)&l->pipe, on_closed);
}

static void on_exit_child(uv_process_t *p, int64_t status, int term_signal)
{
	struct link_client *l = p->data;

	(void)status;
	(void)term_signal;
	l->child_running = false;
	close_pipe(l);
	uv_close((uv_handle_t *)p, on_closed);
	if (l->state != LINK_STOPPED)
		client_lost(l, "the network process has ended");
}

static void kill_child(struct link_client *l)
{
	if (l->child_running)
		(void)uv_process_kill(&l->process, SIGKILL); /* gone already: on_exit_child is on its way */
	close_pipe(l);
}

static int spawn(struct link_client *l)
{
	char path[PATH_BYTES], arg0[] = "demarc-link", arg1[] = LINK_CHILD_ARG;
	char *args[] = { arg0, arg1, NULL }, *env[] = { NULL };
	size_t size = sizeof(path);
	uv_stdio_container_t stdio[4] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
		{ .flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE),
		  .data.stream = (uv_stream_t *)&l->pipe },
	};
	uv_process_options_t o = {
		.exit_cb = on_exit_child, .args = args, .env = env, .stdio = stdio, .stdio_count = 4
	};
	int rc = uv_exepath(path, &size);

	if (rc < 0)
		return rc;
	o.file = path;
	return uv_spawn(l->loop, &l->process, &o);
}

/* -EBUSY while the handles of the child before are still closing: the next attempt comes with the back-off. */
static int start(struct link_client *l)
{
	int rc;

	if (l->child_running)
		return 0;
	if (l->process_open || l->pipe_open)
		return -EBUSY;
	rc = uv_pipe_init(l->loop, &l->pipe, 0);
	if (rc < 0)
		return rc;
	l->pipe_open = l->process_open = true;
	l->n_handles += 2;
	l->pipe.data = l->process.data = l;
	l->in.len = 0;
	rc = spawn(l);
	if (rc < 0) { /* uv_spawn() leaves an initialised handle */
		uv_close((uv_handle_t *)&l->process, on_closed);
		close_pipe(l);
		return rc;
	}
	l->child_running = true;
	rc = uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read);
	if (rc == 0)
		rc = tell(l, PIPE_CONFIG, str_of(l->config));
	return rc < 0 ? rc : client_child_started(l);
}

static void nothing(struct link_client *l)
{
	(void)l; /* the handles' closing ends it */
}

const struct link_carrier carrier_child = { start, tell, kill_child, nothing };

/* ---- netlink ---- */

static void on_netlink(uv_poll_t *p, int status, int events)
{
	struct link_client *l = p->data;
	char bytes[8192];

	(void)events;
	if (status < 0) {
		uv_poll_stop(p);
		return;
	}
	/* What changed does not matter, and a lost notice (ENOBUFS) is a change as well. */
	while (recv(l->netlink_fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	client_hint(l);
}

static void on_netlink_closed(uv_handle_t *h)
{
	client_handle_closed(h->data);
}

void client_watch_netlink(struct link_client *l)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK,
				 .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
					      RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
	CLEANUP(close_fdp)
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    uv_poll_init(l->loop, &l->netlink, fd) < 0)
		return;
	l->netlink.data = l;
	l->n_handles++;
	if (uv_poll_start(&l->netlink, UV_READABLE, on_netlink) < 0) {
		uv_close((uv_handle_t *)&l->netlink, on_netlink_closed);
		return;
	}
	l->netlink_fd = MOVE_FD(fd);
}
