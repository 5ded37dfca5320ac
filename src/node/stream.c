/* SPDX-License-Identifier: Apache-2.0 */
#include "node/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/capture.h"
#include "node/server.h"

#define STREAMS_MAX 8
#define INPUT_MAX (64u << 10) /* bytes that wait for a program: what the hub is granted */
#define DATA_MAX 16384u	      /* bytes of one StreamData */
#define CREDIT_MAX (1u << 20)
#define TICK_MS 200u
#define ARGV_MAX 64
#define WORD_MAX 4096u
#define SIDE_MAX 1000u /* rows and columns of a terminal */
#define TERM_SIZE 64

struct stream {
	struct stream *next;
	struct node *n;
	uint64_t id;
	uint32_t credit; /* bytes that the hub takes */
	uint32_t idle_ms, total_ms;
	int64_t opened_ns, last_ns;
	unsigned n_handles; /* the last one to close frees */
	bool closed;	    /* out of the list */

	/* a shell */
	int master; /* -1: this is a log or a capture */
	uv_poll_t poll;
	uv_process_t process;
	bool has_process, has_ended, is_hung_up;
	int exit_status;
	struct strbuf input;

	bool is_capture;

	/* a log */
	char path[PATH_MAX];
	ino_t inode;
	off_t offset;
};

struct streams {
	struct stream *list;
	unsigned n;
	uv_timer_t tick;
};

/* ---- to the hub ---- */

static int send_frame(struct node *n, Demarc__V1__Frame *f)
{
	return n->link ? link_client_send(n->link, f) : -ENOTCONN;
}

static void send_close(struct node *n, uint64_t id, const char *error, int exit_status)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamClose m = DEMARC__V1__STREAM_CLOSE__INIT;

	m.id = id;
	m.error = (char *)(uintptr_t)error;
	m.exit_status = exit_status;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_CLOSE;
	f.stream_close = &m;
	(void)!send_frame(n, &f); /* a hub that does not hear it asks no more, and closes by itself */
}

static void send_window(struct stream *s, uint32_t add)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamWindow m = DEMARC__V1__STREAM_WINDOW__INIT;

	m.id = s->id;
	m.add = add;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_WINDOW;
	f.stream_window = &m;
	(void)!send_frame(s->n, &f);
}

/* At most DATA_MAX bytes, within the credit. Control frames pass it (link/link.h). */
static bool send_data(struct stream *s, const char *data, size_t size)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;

	m.id = s->id;
	m.data.data = (uint8_t *)(uintptr_t)data;
	m.data.len = size;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
	f.stream_data = &m;
	if (send_frame(s->n, &f) < 0)
		return false;
	s->credit -= (uint32_t)size;
	s->last_ns = clock_mono_ns();
	return true;
}

/* ---- end ---- */

static void on_handle_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	if (--s->n_handles > 0)
		return;
	close_fdp(&s->master);
	strbuf_done(&s->input);
	free(s);
}

static void on_exit_process(uv_process_t *p, int64_t status, int term_signal);

/* The terminal hangs up; who ignores that is killed. */
static void end_process(struct stream *s)
{
	if (s->has_process && !s->has_ended) {
		(void)uv_process_kill(&s->process, SIGHUP);
		(void)uv_process_kill(&s->process, SIGKILL);
	} else if (s->has_process) {
		uv_close((uv_handle_t *)&s->process, on_handle_closed);
	}
}

static void stream_end(struct stream *s, const char *error)
{
	struct streams *all = s->n->streams;
	struct stream **at = &all->list;

	if (s->closed)
		return;
	s->closed = true;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (--all->n == 0)
		(void)uv_timer_stop(&all->tick);
	if (error)
		send_close(s->n, s->id, error, s->exit_status);
	log_info("stream_closed", "stream=%llu reason=%s", (unsigned long long)s->id,
		 LOGQ(error ? error : "by the hub"));
	if (s->is_capture)
		capture_close(s->n);
	end_process(s);
	if (s->n_handles == 0) {
		free(s);
		return;
	}
	uv_close((uv_handle_t *)&s->poll, on_handle_closed);
}

/* ---- shells ---- */

static void shell_arm(struct stream *s);

/* Reads what the terminal says, as far as there is credit. Returns false when the stream has ended. */
static bool shell_read(struct stream *s)
{
	char buf[DATA_MAX];

	while (s->credit) {
		ssize_t n = read(s->master, buf, MIN_OF((size_t)s->credit, sizeof(buf)));

		if (n < 0 && errno == EAGAIN && !s->has_ended)
			return true;
		if (n <= 0 && !s->has_ended) { /* EIO: the terminal is closed; the status follows */
			(void)uv_process_kill(&s->process, SIGHUP);
			s->is_hung_up = true;
			return true;
		}
		if (n <= 0) {
			stream_end(s, "");
			return false;
		}
		if (!send_data(s, buf, (size_t)n)) {
			stream_end(s, "the channel takes no more");
			return false;
		}
	}
	return true;
}

static void shell_write(struct stream *s)
{
	ssize_t n = s->input.len ? write(s->master, s->input.ptr, s->input.len) : 0;

	/* Nobody has the terminal open any more, while what was said there still waits for credit: it would stay writable. */
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		s->input.len = 0;
	if (n <= 0)
		return;
	s->input.len -= (size_t)n;
	memmove(s->input.ptr, s->input.ptr + n, s->input.len);
	send_window(s, (uint32_t)n);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
	struct stream *s = p->data;

	if (status < 0) {
		stream_end(s, "");
		return;
	}
	if (events & UV_WRITABLE)
		shell_write(s);
	if (!(events & UV_READABLE) || shell_read(s))
		shell_arm(s);
}

static void shell_arm(struct stream *s)
{
	int events =
		s->is_hung_up ? 0 : (s->credit ? UV_READABLE : 0) | (s->input.len ? UV_WRITABLE : 0);

	if (s->closed)
		return;
	if (!events)
		(void)uv_poll_stop(&s->poll);
	else if (uv_poll_start(&s->poll, events, on_poll) < 0)
		stream_end(s, "cannot watch the terminal");
}

static void on_exit_process(uv_process_t *p, int64_t status, int term_signal)
{
	struct stream *s = p->data;

	s->has_ended = true;
	s->exit_status = term_signal ? 128 + term_signal : (int)status;
	if (s->closed)
		uv_close((uv_handle_t *)p, on_handle_closed);
	else if (shell_read(s)) /* the rest of what it said */
		shell_arm(s);
}

static void set_size(int fd, uint32_t rows, uint32_t columns)
{
	struct winsize w = { .ws_row = (unsigned short)MIN_OF(rows, SIDE_MAX),
			     .ws_col = (unsigned short)MIN_OF(columns, SIDE_MAX) };

	if (rows && columns)
		(void)ioctl(fd, TIOCSWINSZ, &w);
}

static int open_terminal(int *ret_master, int *ret_slave)
{
	CLEANUP(close_fdp) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[128];
	int slave;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof(name)) != 0 ||
	    fcntl(master, F_SETFL, O_NONBLOCK | O_RDWR) < 0)
		return -errno;
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	*ret_master = MOVE_FD(master);
	*ret_slave = slave;
	return 0;
}

struct words {
	char *list[ARGV_MAX + 16];
	size_t n;
};

static void add(struct words *w, const char *word)
{
	w->list[w->n++] = (char *)(uintptr_t)word;
}

/* setsid(1) makes the terminal the controlling one, which libuv cannot. */
static void make_argv(const struct node *n, const Demarc__V1__ShellStream *m, const char *term,
		      struct words *w)
{
	add(w, "setsid");
	add(w, "-c");
	if (*m->server_id) {
		add(w, n->rt.command);
		add(w, "--root");
		add(w, n->rt.root);
		add(w, "exec");
		add(w, "-t");
		add(w, "-e");
		add(w, term);
		add(w, m->server_id);
	}
	for (size_t i = 0; i < m->n_argv; i++)
		add(w, m->argv[i]);
	if (m->n_argv == 0)
		add(w, "/bin/sh");
	w->list[w->n] = NULL;
}

static int spawn(struct stream *s, const Demarc__V1__ShellStream *m, int slave)
{
	char term[TERM_SIZE + 8] = "TERM=dumb";
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		    home[] = "HOME=/root";
	char *env[] = { path, home, term, NULL };
	uv_stdio_container_t stdio[3];
	struct words w = { .n = 0 };
	uv_process_options_t o = { .exit_cb = on_exit_process,
				   .file = "/usr/bin/setsid",
				   .args = w.list,
				   .env = env,
				   .cwd = "/",
				   .stdio = stdio,
				   .stdio_count = 3 };
	int rc;

	if (*m->term)
		(void)snprintf(term, sizeof(term), "TERM=%s", m->term);
	make_argv(s->n, m, term, &w);
	for (size_t i = 0; i < 3; i++)
		stdio[i] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = slave };
	rc = uv_spawn(s->n->loop, &s->process, &o);
	s->process.data = s;
	s->has_process = true; /* uv_spawn() leaves an initialised handle */
	s->has_ended = rc < 0;
	s->n_handles++;
	return rc;
}

static int shell_check(struct node *n, const Demarc__V1__ShellStream *m, struct err *e)
{
	const struct server *srv = *m->server_id ? server_find(n, m->server_id) : NULL;

	if (!*m->server_id && strcmp(n->cfg.shell, "yes") != 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "this node's configuration does not allow a shell on it (shell: yes)");
	if (*m->server_id && (!srv || srv->native || srv->phase != SERVER_UP))
		return err_set(e, FAULT_NOT_FOUND, NULL, "the function does not run on this node");
	if (m->n_argv > ARGV_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "more than %d words", ARGV_MAX);
	for (size_t i = 0; i < m->n_argv; i++)
		if (strlen(m->argv[i]) > WORD_MAX)
			return err_set(e, FAULT_BAD_REQUEST, NULL, "a word is too long");
	if (strlen(m->term) >= TERM_SIZE ||
	    strspn(m->term, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+.") !=
		    strlen(m->term))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not the name of a terminal");
	return 0;
}

/* On an error, the stream is to be ended by the caller when it has handles, else freed. */
static int shell_open(struct stream *s, const Demarc__V1__ShellStream *m, struct err *e)
{
	CLEANUP(close_fdp) int slave = -1;
	int rc = shell_check(s->n, m, e);

	if (rc < 0)
		return rc;
	rc = open_terminal(&s->master, &slave);
	if (rc == 0)
		rc = uv_poll_init(s->n->loop, &s->poll, s->master);
	if (rc < 0) {
		close_fdp(&s->master);
		return err_errno(e, rc, "cannot open a terminal");
	}
	s->poll.data = s;
	s->n_handles = 1;
	set_size(s->master, m->rows, m->columns);
	rc = spawn(s, m, slave);
	return rc < 0 ? err_errno(e, rc, "cannot start the shell") : 0;
}

/* ---- logs ---- */

static int log_open(struct stream *s, const Demarc__V1__LogStream *m, struct err *e)
{
	const struct server *srv = server_find(s->n, m->server_id);
	struct stat st;

	if (!srv || srv->native)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the function does not run on this node");
	(void)snprintf(s->path, sizeof(s->path), "%s/servers/%s/console.log", s->n->cfg.state_dir,
		       srv->id);
	if (stat(s->path, &st) == 0) {
		s->inode = st.st_ino;
		s->offset = st.st_size > (off_t)m->tail_bytes ? st.st_size - (off_t)m->tail_bytes : 0;
	}
	return 0;
}

/* What was written since. A log that became shorter, or another file, begins again. */
static void log_read(struct stream *s)
{
	CLEANUP(close_fdp) int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[DATA_MAX];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (st.st_ino != s->inode || st.st_size < s->offset)
		s->offset = 0;
	s->inode = st.st_ino;
	while (s->credit) {
		ssize_t n = pread(fd, buf, MIN_OF((size_t)s->credit, sizeof(buf)), s->offset);

		if (n <= 0 || !send_data(s, buf, (size_t)n))
			return;
		s->offset += n;
	}
}

/* ---- captures ---- */

/* What does not fit the credit waits in the capture, as far as that has room. */
static void capture_more(void *ctx)
{
	struct stream *s = ctx;
	struct str rest = capture_waiting(s->n);
	size_t sent = 0;

	while (s->credit && rest.len > sent) {
		size_t n = MIN_OF(MIN_OF(rest.len - sent, (size_t)s->credit), (size_t)DATA_MAX);

		if (!send_data(s, rest.ptr + sent, n))
			break;
		sent += n;
	}
	capture_sent(s->n, sent);
}

static int capture_begin(struct stream *s, const Demarc__V1__CaptureStream *m, struct err *e)
{
	int rc = capture_open(s->n, m, capture_more, s, e);

	s->is_capture = rc == 0;
	return rc;
}

/* ---- all of them ---- */

static bool is_log(const struct stream *s)
{
	return s->master < 0 && !s->is_capture;
}

/* A capture waits for what may be rare: it ends when its time is over, or nobody reads. */
static void check_time(struct stream *s, int64_t now)
{
	if (now - s->opened_ns > s->total_ms * NS_PER_MS)
		stream_end(s, "its time is over");
	else if (!s->is_capture && now - s->last_ns > s->idle_ms * NS_PER_MS)
		stream_end(s, "nothing happened for too long");
}

static void on_tick(uv_timer_t *t)
{
	struct node *n = t->data;
	int64_t now = clock_mono_ns();

	for (struct stream *s = n->streams->list, *next; s; s = next) {
		next = s->next;
		if (is_log(s))
			log_read(s);
		check_time(s, now);
	}
}

static struct streams *streams_of(struct node *n)
{
	if (n->streams)
		return n->streams;
	n->streams = calloc(1, sizeof(*n->streams));
	if (n->streams) {
		(void)uv_timer_init(n->loop, &n->streams->tick);
		n->streams->tick.data = n;
	}
	return n->streams;
}

static struct stream *find(struct node *n, uint64_t id)
{
	struct stream *s = n->streams ? n->streams->list : NULL;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static int kind_open(struct stream *s, const Demarc__V1__StreamOpen *m, struct err *e)
{
	switch (m->kind_case) {
	case DEMARC__V1__STREAM_OPEN__KIND_SHELL:
		return shell_open(s, m->shell, e);
	case DEMARC__V1__STREAM_OPEN__KIND_LOG:
		return log_open(s, m->log, e);
	case DEMARC__V1__STREAM_OPEN__KIND_CAPTURE:
		return capture_begin(s, m->capture, e);
	case DEMARC__V1__STREAM_OPEN__KIND__NOT_SET:
	case _DEMARC__V1__STREAM_OPEN__KIND__CASE_IS_INT_SIZE:
		break;
	}
	return err_set(e, FAULT_NOT_IMPLEMENTED, NULL, "this node has no stream of that kind");
}

static void begin(struct streams *all, struct stream *s)
{
	s->next = all->list;
	all->list = s;
	if (all->n++ == 0)
		(void)uv_timer_start(&all->tick, on_tick, TICK_MS, TICK_MS);
}

static void take_open(struct node *n, const Demarc__V1__StreamOpen *m)
{
	struct streams *all = streams_of(n);
	struct stream *s = find(n, m->id);
	struct err e = { 0 };

	if (s) { /* its end is the end of both: nothing is sent under an id that was closed */
		stream_end(s, "the hub has opened it twice");
		return;
	}
	s = all && all->n < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
	if (!s) {
		send_close(n, m->id, "this node has too many streams", 0);
		return;
	}
	s->n = n;
	s->id = m->id;
	s->master = -1;
	s->credit = MIN_OF(m->window, CREDIT_MAX);
	s->idle_ms = m->idle_ms;
	s->total_ms = m->total_ms;
	s->opened_ns = s->last_ns = clock_mono_ns();
	begin(all, s);
	if (kind_open(s, m, &e) < 0) {
		stream_end(s, e.msg);
		return;
	}
	log_info("stream_opened", "stream=%llu kind=%s", (unsigned long long)m->id,
		 s->is_capture ? "capture" :
		 s->master < 0 ? "log" :
				 "shell");
	send_window(s, INPUT_MAX);
	if (s->master >= 0)
		shell_arm(s);
	else if (is_log(s))
		log_read(s);
}

static void take_data(struct stream *s, const Demarc__V1__StreamData *m)
{
	if (s->master < 0 || s->is_hung_up || m->data.len == 0)
		return;
	if (s->input.len + m->data.len > INPUT_MAX) {
		stream_end(s, "more input than was granted");
		return;
	}
	strbuf_add(&s->input, m->data.data, m->data.len);
	s->last_ns = clock_mono_ns();
	if (s->input.error)
		stream_end(s, "no memory");
	else
		shell_arm(s);
}

static void take_window(struct stream *s, const Demarc__V1__StreamWindow *m)
{
	s->credit = MIN_OF(s->credit + MIN_OF(m->add, CREDIT_MAX), CREDIT_MAX);
	if (is_log(s))
		log_read(s);
	if (s->is_capture)
		capture_more(s);
	if (s->master < 0)
		return;
	set_size(s->master, m->rows, m->columns);
	if (!s->has_ended || shell_read(s))
		shell_arm(s);
}

void streams_frame(struct node *n, const Demarc__V1__Frame *f)
{
	struct stream *s;

	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_OPEN) {
		take_open(n, f->stream_open);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA) {
		s = find(n, f->stream_data->id);
		if (s)
			take_data(s, f->stream_data);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_WINDOW) {
		s = find(n, f->stream_window->id);
		if (s)
			take_window(s, f->stream_window);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE) {
		s = find(n, f->stream_close->id);
		if (s)
			stream_end(s, NULL);
	}
}

bool streams_open(const struct node *n)
{
	return n->streams && n->streams->list;
}

void streams_link_down(struct node *n)
{
	while (n->streams && n->streams->list)
		stream_end(n->streams->list, NULL);
}

static void on_timer_closed(uv_handle_t *h)
{
	free(CONTAINER_OF((uv_timer_t *)h, struct streams, tick));
}

void streams_close(struct node *n)
{
	if (!n->streams)
		return;
	streams_link_down(n);
	uv_close((uv_handle_t *)&n->streams->tick, on_timer_closed);
	n->streams = NULL;
}
