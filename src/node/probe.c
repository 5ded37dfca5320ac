/* SPDX-License-Identifier: Apache-2.0 */
#include "node/probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/netns.h"

#define WAITING_MS 200
#define HEALTHY_MS 500
#define TIMEOUT_MS 2000
#define FAILURES_MAX 2
#define ARGS_MAX 32

struct probe {
	uv_loop_t *loop;
	uv_timer_t timer;		     /* next attempt */
	uv_timer_t timeout;		     /* of the attempt under way */
	unsigned n_open;		     /* handles and requests that still point here */
	bool stopped, healthy, busy, second; /* second: the fixed IP is being tried */
	unsigned n_failures;
	uv_tcp_t *tcp;
	uv_process_t *process;
	void (*changed)(void *ctx);
	void *ctx;
	struct probe_spec spec;
	uint16_t port;
	char what[512], id[RUNTIME_ID_SIZE], reason[128];
};

static void attempt(struct probe *p);

static void put(struct probe *p)
{
	if (--p->n_open == 0)
		free(p);
}

static void on_handle_closed(uv_handle_t *h)
{
	put(h->data);
}

static void on_tcp_closed(uv_handle_t *h)
{
	put(h->data);
	free(h);
}

static void on_timer(uv_timer_t *t)
{
	attempt(t->data);
}

static void result(struct probe *p, bool ok, const char *why)
{
	bool before = p->healthy;

	(void)uv_timer_stop(&p->timeout);
	p->busy = false;
	if (p->stopped)
		return;
	p->n_failures = ok ? 0 : p->n_failures + 1;
	if (ok)
		p->healthy = true;
	else if (p->n_failures >= FAILURES_MAX)
		p->healthy = false;
	(void)str_copy(p->reason, sizeof(p->reason), str_of(p->healthy ? "" : why));
	(void)uv_timer_start(&p->timer, on_timer, p->healthy ? HEALTHY_MS : WAITING_MS, 0);
	if (p->healthy != before)
		p->changed(p->ctx);
}

/* ---- tcp ---- */

static void tcp_end(struct probe *p)
{
	if (p->tcp)
		uv_close((uv_handle_t *)MOVE_PTR(p->tcp), on_tcp_closed);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct probe *p = req->data;
	bool again = status < 0 && status != UV_ECANCELED && !p->second && p->spec.addr.family;

	free(req);
	if (status != UV_ECANCELED) {
		tcp_end(p);
		p->second = again;
		if (again && !p->stopped)
			attempt(p);
		else
			/* uv_strerror(0) would leak a text about an unknown error */
			result(p, status == 0, status < 0 ? uv_strerror(status) : "");
	}
	put(p);
}

static int socket_inside(struct probe *p, int family, int *ret_fd, struct err *e)
{
	CLEANUP(netns_leave) struct netns_visit visit = NETNS_VISIT_NONE;
	int r = netns_enter(&visit, p->spec.netns_fd, e);

	if (r < 0)
		return r;
	*ret_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *ret_fd < 0 ? err_errno(e, errno, "probe socket") : 0;
}

static struct sockaddr_storage target(const struct probe *p)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;

	if (p->second && p->spec.addr.family == IP_V6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(p->port);
		memcpy(&v6->sin6_addr, p->spec.addr.b, 16);
		return ss;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(p->port);
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (p->second)
		memcpy(&v4->sin_addr, p->spec.addr.b, 4);
	return ss;
}

static int tcp_begin(struct probe *p, struct err *e)
{
	struct sockaddr_storage ss = target(p);
	CLEANUP(free_voidp) uv_connect_t *req = calloc(1, sizeof(*req));
	int fd = -1, r = socket_inside(p, ss.ss_family, &fd, e);

	if (r < 0)
		return r;
	p->tcp = req ? calloc(1, sizeof(*p->tcp)) : NULL;
	if (!p->tcp) {
		close_fdp(&fd);
		return err_set(e, FAULT_NO_MEMORY, NULL, "probe");
	}
	(void)uv_tcp_init(p->loop, p->tcp);
	p->tcp->data = p;
	p->n_open++;
	req->data = p;
	r = uv_tcp_open(p->tcp, fd);
	if (r < 0)
		close_fdp(&fd);
	else
		r = uv_tcp_connect(req, p->tcp, (struct sockaddr *)&ss, on_connect);
	if (r < 0) {
		tcp_end(p);
		return err_set(e, FAULT_UNAVAILABLE, NULL, "%s", uv_strerror(r));
	}
	p->n_open++; /* the request */
	(void)MOVE_PTR(req);
	return 0;
}

/* ---- exec ---- */

static void on_exit_status(uv_process_t *proc, int64_t status, int signal_number)
{
	struct probe *p = proc->data;
	char why[64];

	(void)snprintf(why, sizeof(why),
		       signal_number ? "probe command took too long" : "probe command ended with %d",
		       (int)status);
	if (p->process == proc)
		p->process = NULL;
	uv_close((uv_handle_t *)proc, on_tcp_closed);
	result(p, status == 0 && signal_number == 0, why);
}

static int exec_begin(struct probe *p, struct err *e)
{
	char text[sizeof(p->what)], root[sizeof(p->spec.rt->root)], command[300];
	char *argv[ARGS_MAX + 6];
	uv_stdio_container_t io[3] = { { .flags = UV_IGNORE },
				       { .flags = UV_IGNORE },
				       { .flags = UV_IGNORE } };
	uv_process_options_t o = { .exit_cb = on_exit_status, .stdio = io, .stdio_count = 3 };
	static char root_flag[] = "--root", exec_verb[] = "exec";
	size_t n = 0;
	int r;

	(void)str_copy(text, sizeof(text), str_of(p->what + strlen("exec:")));
	(void)str_copy(root, sizeof(root), str_of(p->spec.rt->root));
	(void)str_copy(command, sizeof(command), str_of(p->spec.rt->command));
	argv[n++] = command;
	argv[n++] = root_flag;
	argv[n++] = root;
	argv[n++] = exec_verb;
	argv[n++] = p->id;
	for (char *s = text; *s && n < ARGS_MAX + 5;) {
		while (*s == ' ')
			*s++ = '\0';
		if (*s)
			argv[n++] = s;
		while (*s && *s != ' ')
			s++;
	}
	argv[n] = NULL;
	o.file = command;
	o.args = argv;
	p->process = calloc(1, sizeof(*p->process));
	if (!p->process)
		return err_set(e, FAULT_NO_MEMORY, NULL, "probe");
	p->process->data = p;
	p->n_open++;
	r = uv_spawn(p->loop, p->process, &o);
	if (r < 0) {
		uv_close((uv_handle_t *)MOVE_PTR(p->process), on_tcp_closed);
		return err_set(e, FAULT_INTERNAL, NULL, "probe command: %s", uv_strerror(r));
	}
	return 0;
}

/* ---- the cycle ---- */

static void on_timeout(uv_timer_t *t)
{
	struct probe *p = t->data;

	if (p->process) {
		(void)uv_process_kill(p->process, SIGKILL); /* its end brings the result */
		return;
	}
	tcp_end(p);
	result(p, false, "no answer in 2 s");
}

static void attempt(struct probe *p)
{
	struct err e = { 0 };
	int r;

	if (p->stopped)
		return;
	if (!p->second && p->busy)
		return;
	p->busy = true;
	if (!p->second)
		(void)uv_timer_start(&p->timeout, on_timeout, TIMEOUT_MS, 0);
	r = p->port ? tcp_begin(p, &e) : exec_begin(p, &e);
	if (r < 0) {
		p->second = false;
		result(p, false, e.msg);
	}
}

int probe_start(uv_loop_t *loop, const struct probe_spec *s, void (*changed)(void *ctx), void *ctx,
		struct probe **ret, struct err *e)
{
	struct probe *p = calloc(1, sizeof(*p));
	uint64_t port = 0;

	if (!p)
		return err_set(e, FAULT_NO_MEMORY, NULL, "probe");
	p->loop = loop;
	p->spec = *s;
	p->changed = changed;
	p->ctx = ctx;
	p->n_open = 2;
	(void)str_copy(p->what, sizeof(p->what), str_of(s->what));
	(void)str_copy(p->id, sizeof(p->id), str_of(s->id));
	(void)str_copy(p->reason, sizeof(p->reason), STR("not yet probed"));
	(void)uv_timer_init(loop, &p->timer);
	(void)uv_timer_init(loop, &p->timeout);
	p->timer.data = p->timeout.data = p;
	if (strncmp(p->what, "tcp:", 4) == 0 && str_to_u64(str_of(p->what + 4), 65535, &port) == 0)
		p->port = (uint16_t)port;
	p->healthy = s->assume_healthy;
	if (p->port || strncmp(p->what, "exec:", 5) == 0) {
		attempt(p);
	} else {
		p->healthy = true; /* it runs: the process watch says when it does not */
		p->reason[0] = '\0';
	}
	*ret = p;
	return 0;
}

void probe_stop(struct probe *p)
{
	if (!p)
		return;
	p->stopped = true;
	tcp_end(p);
	if (p->process)
		(void)uv_process_kill(p->process, SIGKILL);
	uv_close((uv_handle_t *)&p->timer, on_handle_closed);
	uv_close((uv_handle_t *)&p->timeout, on_handle_closed);
}

bool probe_healthy(const struct probe *p)
{
	return p && p->healthy;
}

const char *probe_what(const struct probe *p)
{
	return p->what;
}

const char *probe_reason(const struct probe *p)
{
	return p->reason;
}
