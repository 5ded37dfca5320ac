/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's end of streams and of the calls beside them: a hub that says anything in any order to shells, logs and captures, while programs write, read
 * and end, frames are captured, and the connection goes. Programs, terminals, the loop, the datapath and time are the script's.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "dp/observe.h"
#include "link/frame.h"
#include "node/calls.h"
#include "node/flows.h"
#include "node/node.h"
#include "node/server.h"
#include "node/stream.h"
#include "script.h"

#define STREAMS 64u /* ids of one input */
#define OPEN_MAX 8u /* at a time */
#define HANDLES 256u
#define CREDIT_MAX (1u << 20)
#define INPUT_MAX (64u << 10)
#define DATA_MAX 16384u
#define BYTES_PERIOD 65521u
#define IDLE_TURNS                                                                                 \
	64u /* a terminal that neither gives nor takes a byte so often is watched in vain */
#define SERVER_ID "11111111-2222-3333-4444-555555555555"
#define PORT_ID "99999999-2222-3333-4444-555555555555"

static const char *const texts[] = {
	"",
	SERVER_ID,
	PORT_ID,
	"xterm-256color",
	"a b",
	"\xc3\xa9\xc3\xa9\xc3\xa9",
	/* cut anywhere, it is UTF-8 no more */
	"x\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
	"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
	"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
};

enum kind { SHELL, LOG, CAPTURE, UNKNOWN, KINDS };

/* The hub's account of a stream. */
struct seen_stream {
	uint64_t id;
	enum kind kind;
	bool is_open;
	uint64_t credit;	/* the node may send */
	uint64_t granted, said; /* to the hub, by the hub */
	uint64_t heard;		/* bytes of the node */
	int program;		/* the other end of its terminal; -1: none */
	uint64_t wrote, got;	/* bytes of the program, and to it */
};

enum handle_kind { TIMER, POLL, PROCESS };
struct handle {
	uv_handle_t *h;
	enum handle_kind kind;
	bool is_active, is_closing, is_closed, was_killed, has_exited;
	int events, fd;
	void (*fn)(void); /* of the kind's own type */
	uv_close_cb closed;
};

static struct world {
	struct node node;
	struct server server;
	struct script script;
	struct seen_stream streams[STREAMS], *opening;
	unsigned n_streams;
	struct handle handles[HANDLES];
	unsigned n_handles;
	bool is_deaf; /* something that the node said was lost */
	bool link_down, link_full, spawn_fails, no_terminal, captures;
	unsigned n_answers, idle_turns;
	uint64_t answer_to, lost;
	int log_fd;
	struct script *packets; /* to be found by the next look */
} w;

static const uint64_t sizes[] = { 0,	 1,	2,     100,   4096,   16383,	16384,
				  16385, 65535, 65536, 65537, 262144, 1u << 20, UINT32_MAX };

/* What goes through a terminal, in either direction: at least 64 KiB from there on. */
static const char *bytes_at(uint64_t at)
{
	static char bytes[BYTES_PERIOD + INPUT_MAX + 1];

	for (uint32_t i = bytes[1] ? sizeof(bytes) : 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i % BYTES_PERIOD * 2654435761u >> 24);
	return bytes + at % BYTES_PERIOD;
}

/* ---- the link ---- */

static struct seen_stream *stream_of(uint64_t id)
{
	for (unsigned i = w.n_streams; i > 0; i--)
		if (w.streams[i - 1].id == id)
			return &w.streams[i - 1];
	return NULL;
}

static void hear_data(const Demarc__V1__StreamData *m)
{
	struct seen_stream *x = stream_of(m->id);

	FUZZ_CHECK(x && x->is_open && m->data.len && m->data.len <= DATA_MAX);
	FUZZ_CHECK(m->data.len <= x->credit);
	x->credit -= m->data.len;
	if (x->kind == SHELL)
		FUZZ_CHECK(memcmp(m->data.data, bytes_at(x->heard), m->data.len) == 0);
	x->heard += m->data.len;
	FUZZ_CHECK(x->kind != SHELL || x->heard <= x->wrote);
	w.idle_turns = 0;
}

static void hear_window(const Demarc__V1__StreamWindow *m)
{
	struct seen_stream *x = stream_of(m->id);

	FUZZ_CHECK(x && x->is_open);
	x->granted += m->add;
	FUZZ_CHECK(x->granted <= INPUT_MAX + x->said);
	w.idle_turns = 0;
}

static void hear(const Demarc__V1__Frame *f)
{
	struct seen_stream *x;

	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA) {
		hear_data(f->stream_data);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_WINDOW) {
		hear_window(f->stream_window);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE) {
		x = stream_of(f->stream_close->id);
		FUZZ_CHECK(x && x->is_open);
		x->is_open = false;
	} else {
		FUZZ_CHECK(f->body_case == DEMARC__V1__FRAME__BODY_CALL_RESULT);
		FUZZ_CHECK(f->request == w.answer_to);
		w.n_answers++;
	}
}

int __wrap_link_client_send(struct link_client *l, const Demarc__V1__Frame *f);

int __wrap_link_client_send(struct link_client *l, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	CLEANUP(frame_freep) Demarc__V1__Frame *copy = NULL;
	struct err e;
	size_t size;

	FUZZ_CHECK(l == w.node.link);
	FUZZ_CHECK(frame_encode(f, &data, &size) == 0);
	/* The hub would end the connection for a frame that it cannot read. */
	FUZZ_CHECK(frame_decode(FRAME_FROM_NODE, data, size, &copy, &e) == 0);
	if (w.link_down || w.link_full) {
		w.is_deaf = true;
		w.n_answers += f->body_case == DEMARC__V1__FRAME__BODY_CALL_RESULT;
		if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE &&
		    stream_of(f->stream_close->id))
			stream_of(f->stream_close->id)->is_open = false;
		return w.link_down ? -ENOTCONN : -ENOBUFS;
	}
	hear(copy);
	return 0;
}

/* ---- the loop ---- */

static struct handle *handle_of(const void *h)
{
	for (unsigned i = w.n_handles; i > 0; i--)
		if (w.handles[i - 1].h == h && !w.handles[i - 1].is_closed)
			return &w.handles[i - 1];
	return NULL;
}

static struct handle *handle_new(void *h, enum handle_kind kind)
{
	FUZZ_CHECK(!handle_of(h) && w.n_handles < HANDLES);
	w.handles[w.n_handles] = (struct handle){ .h = h, .kind = kind };
	return &w.handles[w.n_handles++];
}

static struct handle *handle_open(const void *h)
{
	struct handle *x = handle_of(h);

	FUZZ_CHECK(x && !x->is_closing);
	return x;
}

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t);
int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms);
int __wrap_uv_timer_stop(uv_timer_t *t);
int __wrap_uv_poll_init(uv_loop_t *loop, uv_poll_t *p, int fd);
int __wrap_uv_poll_start(uv_poll_t *p, int events, uv_poll_cb fn);
int __wrap_uv_poll_stop(uv_poll_t *p);
int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *p, const uv_process_options_t *o);
int __wrap_uv_process_kill(uv_process_t *p, int signum);
void __wrap_uv_close(uv_handle_t *h, uv_close_cb fn);

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
	(void)loop;
	(void)handle_new(t, TIMER);
	return 0;
}

int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb fn, uint64_t first_ms, uint64_t every_ms)
{
	struct handle *x = handle_open(t);

	(void)first_ms;
	FUZZ_CHECK(every_ms);
	x->is_active = true;
	x->fn = (void (*)(void))fn;
	return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *t)
{
	handle_open(t)->is_active = false;
	return 0;
}

int __wrap_uv_poll_init(uv_loop_t *loop, uv_poll_t *p, int fd)
{
	(void)loop;
	handle_new(p, POLL)->fd = fd;
	return 0;
}

int __wrap_uv_poll_start(uv_poll_t *p, int events, uv_poll_cb fn)
{
	struct handle *x = handle_open(p);

	FUZZ_CHECK(events);
	x->is_active = true;
	x->events = events;
	x->fn = (void (*)(void))fn;
	return 0;
}

int __wrap_uv_poll_stop(uv_poll_t *p)
{
	handle_open(p)->is_active = false;
	return 0;
}

int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *p, const uv_process_options_t *o)
{
	struct handle *x = handle_new(p, PROCESS);

	(void)loop;
	FUZZ_CHECK(strcmp(o->file, "/usr/bin/setsid") == 0 && o->stdio_count == 3);
	for (char **word = o->args; *word; word++)
		FUZZ_CHECK(strlen(*word) < 5000);
	x->fn = (void (*)(void))o->exit_cb;
	x->has_exited = w.spawn_fails;
	return w.spawn_fails ? -ENOENT : 0;
}

int __wrap_uv_process_kill(uv_process_t *p, int signum)
{
	struct handle *x = handle_open(p);

	FUZZ_CHECK(!x->has_exited);
	x->was_killed |= signum == SIGKILL;
	return 0;
}

void __wrap_uv_close(uv_handle_t *h, uv_close_cb fn)
{
	struct handle *x = handle_open(h);

	FUZZ_CHECK(x->kind != PROCESS || x->has_exited);
	x->is_closing = true;
	x->is_active = false;
	x->closed = fn;
}

/* ---- terminals ---- */

int __wrap_posix_openpt(int flags);
int __wrap_grantpt(int fd);
int __wrap_unlockpt(int fd);
int __wrap_ptsname_r(int fd, char *buf, size_t size);

int __wrap_posix_openpt(int flags)
{
	const int small = 1; /* the least there is: about as much as a terminal takes */
	int pair[2];

	(void)flags;
	if (w.no_terminal) {
		errno = ENOSPC;
		return -1;
	}
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	FUZZ_CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
	FUZZ_CHECK(w.opening);
	w.opening->program = pair[1];
	return pair[0];
}

int __wrap_grantpt(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_unlockpt(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_ptsname_r(int fd, char *buf, size_t size)
{
	(void)fd;
	return str_copy(buf, size, STR("/dev/null")) < 0 ? ERANGE : 0;
}

/* ---- a function and its log, which is a file in memory ---- */

struct server *__wrap_server_find(struct node *n, const char *id);
int __wrap_server_console(struct node *n, const char *id, size_t max_bytes, char **ret,
			  size_t *ret_size, struct err *e);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_stat64(const char *path, struct stat *ret);

struct server *__wrap_server_find(struct node *n, const char *id)
{
	FUZZ_CHECK(n == &w.node);
	return strcmp(id, SERVER_ID) == 0 ? &w.server : NULL;
}

int __wrap_server_console(struct node *n, const char *id, size_t max_bytes, char **ret,
			  size_t *ret_size, struct err *e)
{
	(void)n;
	if (strcmp(id, SERVER_ID) != 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "no console of %s", id);
	*ret_size = max_bytes;
	*ret = calloc(1, max_bytes);
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "memory");
}

static bool is_log(const char *path)
{
	return strcmp(path, "/state/servers/" SERVER_ID "/console.log") == 0;
}

int __wrap_open64(const char *path, int flags, ...)
{
	if (!is_log(path))
		return openat(AT_FDCWD, path, flags & ~O_CREAT);
	return w.log_fd < 0 ? -1 : fcntl(w.log_fd, F_DUPFD_CLOEXEC, 0);
}

int __wrap_stat64(const char *path, struct stat *ret)
{
	FUZZ_CHECK(is_log(path));
	return w.log_fd < 0 ? -1 : fstat(w.log_fd, ret);
}

static void log_new(void)
{
	close_fdp(&w.log_fd);
	w.log_fd = memfd_create("console.log", MFD_CLOEXEC);
	FUZZ_CHECK(w.log_fd >= 0);
}

static void log_write(uint64_t size)
{
	struct stat st;

	if (w.log_fd < 0)
		log_new();
	FUZZ_CHECK(fstat(w.log_fd, &st) == 0);
	if (st.st_size < 4 << 20)
		FUZZ_CHECK(ftruncate(w.log_fd, st.st_size + (off_t)MIN_OF(size, 65537ull)) == 0);
}

/* ---- the datapath ---- */

bool __wrap_fabric_port_place(struct node *n, const char *port_id, ifindex *ret, vlan_id *ret_vlan);
const char *__wrap_fabric_port_at(struct node *n, ifindex index);
char *__wrap_policy_rule_id(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE]);
const char *__wrap_overlay_remote_at(struct node *n, ifindex port);
const char *__wrap_chains_pair_partner(const struct node *n, const char *port_id);
int __wrap_dp_trace(struct dp *dp, ifindex in, vlan_id vlan, const void *frame, size_t size,
		    struct dp_trace_step *ret, size_t max, struct err *e);
void __wrap_dp_capture(struct dp *dp, ifindex port, unsigned int every);
void __wrap_dp_drops_watch(struct dp *dp, unsigned int every);
void __wrap_dp_losses(struct dp *dp, struct dp_losses *ret);
void __wrap_dp_packets_poll(struct dp *dp, dp_packet_fn fn, void *ctx);

bool __wrap_fabric_port_place(struct node *n, const char *port_id, ifindex *ret, vlan_id *ret_vlan)
{
	(void)n;
	*ret = (ifindex){ 7 };
	*ret_vlan = (vlan_id){ 0 };
	return strcmp(port_id, PORT_ID) == 0;
}

const char *__wrap_fabric_port_at(struct node *n, ifindex index)
{
	(void)n;
	return index.num == 7 ? PORT_ID : NULL;
}

char *__wrap_policy_rule_id(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE])
{
	(void)n;
	(void)str_copy(ret, UUID_STR_SIZE, number ? STR(SERVER_ID) : STR(""));
	return ret;
}

const char *__wrap_overlay_remote_at(struct node *n, ifindex port)
{
	(void)n;
	/* Longer than any address: what a step says has names in it that are as long. */
	static char name[2001];

	memset(name, '8', sizeof(name) - 1);
	return port.num == 8 ? name : NULL;
}

const char *__wrap_chains_pair_partner(const struct node *n, const char *port_id)
{
	(void)n;
	return strcmp(port_id, PORT_ID) == 0 ? PORT_ID : NULL;
}

int __wrap_dp_trace(struct dp *dp, ifindex in, vlan_id vlan, const void *frame, size_t size,
		    struct dp_trace_step *ret, size_t max, struct err *e)
{
	size_t n = MIN_OF(size % 67, max);

	(void)dp;
	(void)frame;
	FUZZ_CHECK(in.num == 7);
	if (vlan.id == 9)
		return err_set(e, FAULT_NOT_FOUND, NULL, "no such port");
	for (size_t i = 0; i < n; i++)
		ret[i] = (struct dp_trace_step){
			.stage = "output",
			.text = "a rule with the name of the port that it is for, the group that it is of and all that it counts",
			.out = { 6 + (uint32_t)i % 3 }
		};
	return (int)n;
}

void __wrap_dp_capture(struct dp *dp, ifindex port, unsigned int every)
{
	(void)dp;
	w.captures = port.num != 0;
	FUZZ_CHECK(w.captures == (every != 0));
}

void __wrap_dp_drops_watch(struct dp *dp, unsigned int every)
{
	(void)dp;
	(void)every;
}

void __wrap_dp_losses(struct dp *dp, struct dp_losses *ret)
{
	(void)dp;
	*ret = (struct dp_losses){ .packets = w.lost };
}

void __wrap_dp_packets_poll(struct dp *dp, dp_packet_fn fn, void *ctx)
{
	static const uint8_t head[256];
	struct script *s = w.packets;
	unsigned n = s ? script_number(s) : 0, kind = s ? script_number(s) : 0;

	(void)dp;
	w.packets = NULL; /* once */
	for (unsigned i = 0; i < n; i++) {
		struct dp_packet p = { .captured = kind & 1,
				       .port = { kind & 2 ? 7 : 6 },
				       .head = head,
				       .head_len = kind & 4 ? sizeof(head) : 14,
				       .len = 1500,
				       .now_ns = clock_mono_ns() };
		fn(ctx, &p);
	}
}

/* ---- what must hold at any time ---- */

static void check(void)
{
	unsigned n = 0, n_captures = 0;

	for (unsigned i = 0; i < w.n_streams; i++) {
		n += w.streams[i].is_open;
		n_captures += w.streams[i].is_open && w.streams[i].kind == CAPTURE;
	}
	FUZZ_CHECK(n <= OPEN_MAX && n_captures <= 1);
	FUZZ_CHECK((w.node.capture != NULL) == w.captures && w.captures == n_captures);
}

/* ---- the hub ---- */

static void say(const Demarc__V1__Frame *f)
{
	if (!w.link_down)
		streams_frame(&w.node, f);
}

static uint64_t stream_id(void)
{
	return script_number(&w.script) % STREAMS;
}

static char *text(void)
{
	return (char *)(uintptr_t)texts[script_number(&w.script) % ARRAY_LEN(texts)];
}

static uint32_t size_of_script(void)
{
	return (uint32_t)script_pick(&w.script, sizes, ARRAY_LEN(sizes));
}

static void fill_open(Demarc__V1__StreamOpen *m, Demarc__V1__ShellStream *shell,
		      Demarc__V1__LogStream *log, Demarc__V1__CaptureStream *capture, enum kind kind)
{
	static char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c" };

	demarc__v1__shell_stream__init(shell);
	demarc__v1__log_stream__init(log);
	demarc__v1__capture_stream__init(capture);
	shell->server_id = log->server_id = capture->port_id = text();
	if (kind == SHELL) {
		m->kind_case = DEMARC__V1__STREAM_OPEN__KIND_SHELL;
		m->shell = shell;
		shell->term = text();
		shell->argv = argv;
		shell->n_argv = script_number(&w.script) % 3;
		shell->rows = shell->columns = 50;
	} else if (kind == LOG) {
		m->kind_case = DEMARC__V1__STREAM_OPEN__KIND_LOG;
		m->log = log;
		log->tail_bytes = size_of_script();
	} else if (kind == CAPTURE) {
		m->kind_case = DEMARC__V1__STREAM_OPEN__KIND_CAPTURE;
		m->capture = capture;
	}
}

/* An id that is in use ends what it names; the one that was asked for does not begin. */
static void hub_opens(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamOpen m = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__ShellStream shell;
	Demarc__V1__LogStream log;
	Demarc__V1__CaptureStream capture;
	enum kind kind;

	m.id = stream_id();
	kind = script_number(&w.script) % KINDS;
	m.window = size_of_script();
	fill_open(&m, &shell, &log, &capture, kind);
	m.idle_ms = 900000;
	m.total_ms = script_number(&w.script) * 1000000;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_OPEN;
	f.stream_open = &m;
	if (w.link_down || w.n_streams == STREAMS)
		return;
	if (!stream_of(m.id) || !stream_of(m.id)->is_open) {
		w.opening = &w.streams[w.n_streams++];
		*w.opening = (struct seen_stream){ .id = m.id,
						   .kind = kind,
						   .is_open = true,
						   .program = -1,
						   .credit = MIN_OF(m.window, CREDIT_MAX) };
	}
	streams_frame(&w.node, &f);
	w.opening = NULL;
}

static void hub_says_data(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;
	struct seen_stream *x;
	bool was_open, is_granted;

	m.id = stream_id();
	m.data.len = MIN_OF(size_of_script(), INPUT_MAX);
	x = stream_of(m.id);
	m.data.data = (uint8_t *)(uintptr_t)bytes_at(x ? x->said : 0);
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
	f.stream_data = &m;
	was_open = x && x->is_open;
	is_granted = was_open && x->said + m.data.len <= x->granted;
	if (was_open)
		x->said += m.data.len;
	say(&f);
	/* Who keeps to what was granted loses nothing. */
	FUZZ_CHECK(!is_granted || w.link_down || x->is_open);
	/* Who does not, loses the stream: no more waits for a program than it was granted. */
	FUZZ_CHECK(!was_open || x->kind != SHELL || x->program < 0 || w.is_deaf || w.link_down ||
		   x->said <= x->granted || !x->is_open);
}

static void hub_says_window(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamWindow m = DEMARC__V1__STREAM_WINDOW__INIT;
	struct seen_stream *x;

	m.id = stream_id();
	m.add = size_of_script();
	m.rows = m.columns = m.add % 3 * 40000;
	x = stream_of(m.id);
	if (x && x->is_open)
		x->credit = MIN_OF(x->credit + m.add, (uint64_t)CREDIT_MAX);
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_WINDOW;
	f.stream_window = &m;
	say(&f);
}

static void hub_says_close(void)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamClose m = DEMARC__V1__STREAM_CLOSE__INIT;

	m.id = stream_id();
	if (!w.link_down && stream_of(m.id))
		stream_of(m.id)->is_open = false;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_CLOSE;
	f.stream_close = &m;
	say(&f);
}

/* ---- calls ---- */

static void call(Demarc__V1__Call *c)
{
	w.n_answers = 0;
	w.answer_to += 2;
	calls_answer(&w.node, w.answer_to, c);
	FUZZ_CHECK(w.n_answers == 1);
}

static void hub_asks(void)
{
	static uint8_t frame[9217];
	Demarc__V1__Call c = DEMARC__V1__CALL__INIT;
	Demarc__V1__ConsoleLogCall console = DEMARC__V1__CONSOLE_LOG_CALL__INIT;
	Demarc__V1__WatchCall watch = DEMARC__V1__WATCH_CALL__INIT;
	Demarc__V1__TraceCall trace = DEMARC__V1__TRACE_CALL__INIT;
	unsigned what = script_number(&w.script);

	console.server_id = trace.port_id = text();
	if (what % 4 == 1) {
		c.body_case = DEMARC__V1__CALL__BODY_CONSOLE_LOG;
		c.console_log = &console;
		console.max_bytes = 1 + size_of_script();
	} else if (what % 4 == 2) {
		c.body_case = DEMARC__V1__CALL__BODY_WATCH;
		c.watch = &watch;
		watch.every = what / 4 % 3;
		watch.limit = script_number(&w.script);
		w.packets = &w.script;
	} else if (what % 4 == 3) {
		c.body_case = DEMARC__V1__CALL__BODY_TRACE;
		c.trace = &trace;
		trace.follow = what / 4 % 2;
		trace.vlan = script_number(&w.script) * 100;
		trace.frame =
			(ProtobufCBinaryData){ MIN_OF(size_of_script() + trace.vlan, sizeof(frame)),
					       frame };
	}
	if (!w.link_down)
		call(&c);
}

/* ---- programs ---- */

static void program_writes(void)
{
	struct seen_stream *x = stream_of(stream_id());
	size_t size = MIN_OF(size_of_script(), INPUT_MAX);
	ssize_t n;

	if (!x || x->program < 0)
		return;
	n = send(x->program, bytes_at(x->wrote), size, MSG_NOSIGNAL);
	if (n > 0)
		x->wrote += (uint64_t)n;
}

static void program_reads(void)
{
	struct seen_stream *x = stream_of(stream_id());
	char buf[INPUT_MAX];
	ssize_t n;

	if (!x || x->program < 0)
		return;
	n = recv(x->program, buf, sizeof(buf), 0);
	if (n <= 0)
		return;
	FUZZ_CHECK(memcmp(buf, bytes_at(x->got), (size_t)n) == 0);
	x->got += (uint64_t)n;
	FUZZ_CHECK(x->got <= x->said);
}

static void program_hangs_up(struct seen_stream *x)
{
	if (x)
		close_fdp(&x->program);
	if (x)
		x->program = -1;
}

static void exit_process(struct handle *x, int status, int signum)
{
	if (x->kind != PROCESS || x->has_exited)
		return;
	x->has_exited = true;
	((uv_exit_cb)x->fn)((uv_process_t *)x->h, status, signum);
}

/* ---- turns of the loop ---- */

static struct handle *handle(void)
{
	static struct handle none = { .is_closed = true };
	unsigned i = script_number(&w.script);

	return i < w.n_handles ? &w.handles[w.n_handles - 1 - i] : &none;
}

static void run_timer(struct handle *x)
{
	if (x->kind != TIMER || !x->is_active || x->is_closed)
		return;
	w.packets = &w.script;
	((uv_timer_cb)x->fn)((uv_timer_t *)x->h);
	w.packets = NULL;
}

/* As poll(2) has it: readable and writable when the other end has gone. */
static void run_poll(struct handle *x, bool fails)
{
	struct seen_stream *s = NULL;

	if (x->kind != POLL || !x->is_active || x->is_closed)
		return;
	(void)s;
	w.idle_turns++;
	((uv_poll_cb)x->fn)((uv_poll_t *)x->h, fails ? -EBADF : 0, fails ? 0 : x->events);
}

static void run_closed(struct handle *x)
{
	if (!x->is_closing || x->is_closed)
		return;
	x->is_closed = true;
	if (x->closed)
		x->closed(x->h);
}

/* All terminals until nothing moves: it must come to that. */
static void run_all(void)
{
	for (bool moved = true; moved;) {
		moved = false;
		for (unsigned i = 0; i < w.n_handles; i++) {
			struct handle *x = &w.handles[i];
			struct pollfd p = { .fd = x->fd, .events = POLLIN | POLLOUT };
			int ready = 0;

			if (x->kind != POLL || !x->is_active || x->is_closed)
				continue;
			FUZZ_CHECK(poll(&p, 1, 0) >= 0);
			ready |= p.revents & (POLLIN | POLLHUP) ? UV_READABLE : 0;
			ready |= p.revents & (POLLOUT | POLLHUP) ? UV_WRITABLE : 0;
			if (!(ready & x->events))
				continue;
			moved = true;
			FUZZ_CHECK(++w.idle_turns < IDLE_TURNS);
			((uv_poll_cb)x->fn)((uv_poll_t *)x->h, 0, ready & x->events);
		}
	}
	w.idle_turns = 0;
}

static void link_goes(void)
{
	w.link_down = true;
	streams_link_down(&w.node);
	for (unsigned i = 0; i < w.n_streams; i++)
		w.streams[i].is_open = false;
}

static void pass_time(void)
{
	static const uint64_t ms[] = { 1, 200, 1000, 11000, 900001, 1000001 };

	clock_warp((int64_t)script_pick(&w.script, ms, ARRAY_LEN(ms)) * NS_PER_MS);
	flows_tick(&w.node);
}

static void set_mode(unsigned what)
{
	w.link_full = what == 1;
	w.spawn_fails = what == 2;
	w.no_terminal = what == 3;
	w.server.phase = what == 4 ? SERVER_OFF : SERVER_UP;
	w.server.native = what == 5;
	w.lost += what;
	(void)str_copy(w.node.cfg.shell, sizeof(w.node.cfg.shell), what == 6 ? STR("no") : STR("yes"));
}

static void step_of_node(uint8_t what)
{
	if (what == 't')
		run_timer(handle());
	else if (what == 'p')
		run_poll(handle(), false);
	else if (what == 'f')
		run_poll(handle(), true);
	else if (what == 'k')
		run_closed(handle());
	else if (what == 'a')
		run_all();
	else if (what == 'e')
		exit_process(handle(), 3, 0);
	else if (what == 'h')
		program_hangs_up(stream_of(stream_id()));
	else if (what == 'T')
		pass_time();
	else if (what == 'l')
		log_write(size_of_script());
	else if (what == 'n')
		log_new();
	else
		set_mode(script_number(&w.script));
}

static void step(void)
{
	uint8_t what = script_char(&w.script);

	if (what == 'O')
		hub_opens();
	else if (what == 'd')
		hub_says_data();
	else if (what == 'w')
		hub_says_window();
	else if (what == 'c')
		hub_says_close();
	else if (what == 'C')
		hub_asks();
	else if (what == 'W')
		program_writes();
	else if (what == 'R')
		program_reads();
	else if (what == 'D')
		link_goes();
	else if (what == 'U')
		w.link_down = false;
	else if (what && strchr("tpfkaehTlnM", what))
		step_of_node(what);
	else
		return;
	check();
}

/* ---- begin and end of the world ---- */

static void begin(const uint8_t *data, size_t size)
{
	static char link;

	log_init("fuzz", LOG_ERROR_);
	(void)signal(SIGPIPE, SIG_IGN);
	clock_freeze(1000 * NS_PER_S, 0);
	w = (struct world){ .script = { data, data + size }, .log_fd = -1 };
	(void)str_copy(w.node.cfg.state_dir, sizeof(w.node.cfg.state_dir), STR("/state"));
	w.node.rt.command = "runc";
	w.node.link = (struct link_client *)(void *)&link;
	w.node.dp = (struct dp *)(void *)&link;
	(void)str_copy(w.server.id, sizeof(w.server.id), STR(SERVER_ID));
	set_mode(0);
}

static void end(void)
{
	w.link_full = false;
	link_goes();
	streams_close(&w.node);
	flows_close(&w.node);
	FUZZ_CHECK(!w.node.streams && !w.node.capture && !w.node.watching);
	for (unsigned i = 0; i < w.n_handles; i++) { /* nothing runs on */
		FUZZ_CHECK(w.handles[i].kind != PROCESS || w.handles[i].has_exited ||
			   w.handles[i].was_killed);
		exit_process(&w.handles[i], 0, SIGKILL);
	}
	for (unsigned i = 0; i < w.n_handles; i++)
		FUZZ_CHECK(w.handles[i].is_closing);
	for (unsigned i = w.n_handles; i > 0; i--)
		run_closed(&w.handles[i - 1]);
	for (unsigned i = 0; i < w.n_streams; i++)
		program_hangs_up(&w.streams[i]);
	close_fdp(&w.log_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin(data, size);
	while (!script_is_over(&w.script) && w.n_handles < HANDLES - 4)
		step();
	end();
	return 0;
}
