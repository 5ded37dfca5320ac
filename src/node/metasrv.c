/* SPDX-License-Identifier: Apache-2.0 */
#include "node/metasrv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/types.h"
#include "node/httpreq.h"
#include "node/netns.h"

/* The generated skeleton declares all of libbpf's styles of attaching; one is used. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "metadata.skel.h"
#pragma GCC diagnostic pop

#define CONNECTIONS_MAX 8
#define IDLE_MS 5000

struct conn {
	uv_tcp_t tcp;
	uv_timer_t idle;
	uv_write_t write;
	struct metasrv *srv; /* NULL: stopped */
	struct conn *next;
	unsigned n_open; /* handles not yet closed */
	bool closing, close_after, writing;
	size_t len;
	char in[HTTPREQ_HEAD_MAX + 1];
	char *out;
};

struct metasrv {
	uv_tcp_t tcp;
	metasrv_docs_fn docs;
	void *ctx;
	struct conn *conns;
	unsigned n_conns;
	struct metadata_bpf *bpf;
	struct bpf_link *link; /* to the function's namespace */
};

static void serve(struct conn *c);

static void unlink_conn(struct conn *c)
{
	if (!c->srv)
		return;
	for (struct conn **p = &c->srv->conns; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			c->srv->n_conns--;
			break;
		}
	c->srv = NULL;
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->n_open == 0) {
		free(c->out);
		free(c);
	}
}

static void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	unlink_conn(c);
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->idle, on_closed);
}

static void on_idle(uv_timer_t *t)
{
	conn_close(t->data);
}

static void on_written(uv_write_t *w, int status)
{
	struct conn *c = w->data;

	free(c->out);
	c->out = NULL;
	c->writing = false;
	if (c->closing)
		return;
	if (status < 0 || c->close_after)
		conn_close(c);
	else
		serve(c);
}

static void answer(struct conn *c, int status, const char *type, struct str body, bool head_only)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	uv_buf_t buf;

	strbuf_addf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", status,
		    status == 200 ? "OK" :
		    status == 404 ? "Not Found" :
				    "Error",
		    type, body.len, c->close_after ? "Connection: close\r\n" : "");
	if (!head_only)
		strbuf_add(&b, body.ptr, body.len);
	buf.len = b.len;
	c->out = strbuf_take(&b);
	buf.base = c->out;
	c->write.data = c;
	c->writing = c->out && uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0;
	if (!c->writing)
		conn_close(c);
}

static void answer_document(struct conn *c, const struct httpreq *req)
{
	CLEANUP(strbuf_done) struct strbuf body = { 0 };
	CLEANUP(meta_done) struct meta_docs docs = { 0 };
	const char *type = "text/plain";
	int status = 500;

	if (c->srv->docs(c->srv->ctx, &docs) == 0)
		status = meta_lookup(&docs, req->path, &body, &type);
	answer(c, status, type, (struct str){ strbuf_cstr(&body), body.len }, req->head_only);
}

static void serve(struct conn *c)
{
	struct httpreq req;
	int r;

	if (c->writing || c->closing || c->len == 0)
		return;
	r = httpreq_parse((struct str){ c->in, c->len }, &req);
	if (r == 0)
		return;
	if (r < 0) {
		c->close_after = true;
		answer(c, -r, "text/plain", STR("bad request\n"), false);
		return;
	}
	memmove(c->in, c->in + r, c->len - (size_t)r);
	c->len -= (size_t)r;
	c->close_after = !req.keep_alive;
	answer_document(c, &req);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	(void)suggested;
	*buf = uv_buf_init(c->in + c->len, (unsigned)(sizeof(c->in) - c->len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;

	(void)buf;
	if (n < 0) { /* also UV_ENOBUFS: more pipelined than one head can be */
		conn_close(c);
		return;
	}
	c->len += (size_t)n;
	(void)uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
	serve(c);
}

static void on_connection(uv_stream_t *s, int status)
{
	struct metasrv *m = s->data;
	struct conn *c = status == 0 ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return;
	c->srv = m;
	c->n_open = 2;
	(void)uv_tcp_init(s->loop, &c->tcp);
	(void)uv_timer_init(s->loop, &c->idle);
	c->tcp.data = c->idle.data = c;
	c->next = m->conns;
	m->conns = c;
	m->n_conns++;
	if (uv_accept(s, (uv_stream_t *)&c->tcp) < 0 || m->n_conns > CONNECTIONS_MAX ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		conn_close(c);
	else
		(void)uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
}

/* On any port: metadata.bpf.c brings the connections to port 80 here. */
static int listen_inside(int netns_fd, int *ret_fd, struct err *e)
{
	CLEANUP(netns_leave) struct netns_visit visit = NETNS_VISIT_NONE;
	CLEANUP(close_fdp) int fd = -1;
	struct sockaddr_in sa = { .sin_family = AF_INET,

				  .sin_addr.s_addr = htonl(0xa9fea9fe) };
	int one = 1, r = netns_enter(&visit, netns_fd, e);

	if (r < 0)
		return r;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(e, errno, "metadata socket");
	*ret_fd = MOVE_FD(fd);
	return 0;
}

static void on_srv_closed(uv_handle_t *h)
{
	struct metasrv *m = h->data;

	if (m->link)
		(void)bpf_link__destroy(m->link);
	metadata_bpf__destroy(m->bpf);
	free(m);
}

/* The listening socket has to be one already when it goes into the map. */
static int steer(struct metasrv *m, int netns_fd, int fd, struct err *e)
{
	uint32_t zero = 0;
	uint64_t value = (uint64_t)fd;
	int r;

	m->bpf = metadata_bpf__open_and_load();
	if (!m->bpf)
		return err_errno(e, errno, "loading the metadata program");
	r = bpf_map_update_elem(bpf_map__fd(m->bpf->maps.service), &zero, &value, BPF_ANY);
	if (r < 0)
		return err_errno(e, r, "metadata socket");
	m->link = bpf_program__attach_netns(m->bpf->progs.metadata, netns_fd);
	return m->link ? 0 : err_errno(e, errno, "attaching the metadata program");
}

int metasrv_start(uv_loop_t *loop, int netns_fd, metasrv_docs_fn docs, void *ctx,
		  struct metasrv **ret, struct err *e)
{
	struct metasrv *m;
	int fd = -1, r = listen_inside(netns_fd, &fd, e);

	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m) {
		close_fdp(&fd);
		return err_set(e, FAULT_NO_MEMORY, NULL, "metadata service");
	}
	m->docs = docs;
	m->ctx = ctx;
	(void)uv_tcp_init(loop, &m->tcp);
	m->tcp.data = m;
	r = uv_tcp_open(&m->tcp, fd);
	if (r < 0)
		close_fdp(&fd);
	else
		r = uv_listen((uv_stream_t *)&m->tcp, CONNECTIONS_MAX, on_connection);
	if (r < 0)
		r = err_set(e, FAULT_INTERNAL, NULL, "metadata service: %s", uv_strerror(r));
	else
		r = steer(m, netns_fd, fd, e);
	if (r < 0) {
		uv_close((uv_handle_t *)&m->tcp, on_srv_closed);
		return r;
	}
	*ret = m;
	return 0;
}

void metasrv_stop(struct metasrv *m)
{
	if (!m)
		return;
	while (m->conns)
		conn_close(m->conns);
	uv_close((uv_handle_t *)&m->tcp, on_srv_closed);
}
