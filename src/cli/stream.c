/* SPDX-License-Identifier: Apache-2.0 */
/* A shell at a site, and following a log: a stream of the hub, read by one thread and written by another. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

#define WAIT_MS 10000	/* of one read at the hub */
#define ONCE_MS 1000	/* of a read that ends it when nothing comes */
#define CHUNK 8192u	/* bytes written at a time */
#define SIZE_MS 500	/* between two looks at the terminal's size */
#define AGAIN_MS 100	/* when the node takes nothing */
#define PAUSE_MS 200	/* when the hub has too many that wait */
#define TAIL_MAX 524288 /* bytes of a log */

struct stream {
	struct client *reader;
	char path[64];
	bool once; /* what is there, then the end */
	atomic_bool over;
	pthread_t thread;
	/* the reader's, until it has ended */
	int exit_status;
	bool failed;
	struct err err;
};

/* ---- reading ---- */

static int print_hex(struct str hex)
{
	uint8_t buf[CHUNK];

	while (hex.len) {
		size_t n = MIN_OF(hex.len / 2, sizeof(buf));

		if (str_from_hex((struct str){ hex.ptr, 2 * n }, buf, n) < 0)
			return -EPROTO;
		for (size_t at = 0; at < n;) {
			ssize_t w = write(STDOUT_FILENO, buf + at, n - at);

			if (w < 0 && errno != EINTR)
				return -errno;
			at += w > 0 ? (size_t)w : 0;
		}
		hex = (struct str){ hex.ptr + 2 * n, hex.len - 2 * n };
	}
	return 0;
}

static int read_once(struct stream *s, bool *ret_open, struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	char path[128];
	const json_t *o;
	const char *error;
	int rc;

	(void)snprintf(path, sizeof(path), "%s?wait_ms=%d", s->path, s->once ? ONCE_MS : WAIT_MS);
	rc = client_call(s->reader, "GET", "demarc", path, NULL, &answer, e);
	if (rc < 0)
		return rc;
	o = json_object_get(answer, "stream");
	rc = print_hex(str_of(json_str(o, "data")));
	if (rc < 0)
		return err_errno(e, rc, "write");
	*ret_open = json_is_true(json_object_get(o, "open"));
	if (s->once && *ret_open && !*json_str(o, "data")) {
		*ret_open = false; /* what was there has been read */
		return 0;
	}
	s->exit_status = (int)json_int(o, "exit_status", 0);
	error = json_str(o, "error");
	if (!*ret_open && error && *error)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "%s", error);
	if (*ret_open && !*json_str(o, "data"))
		cli_pause_ms(PAUSE_MS);
	return 0;
}

static void *read_all(void *arg)
{
	struct stream *s = arg;
	bool open = true;

	while (open && !atomic_load(&s->over))
		if (read_once(s, &open, &s->err) < 0) {
			s->failed = !atomic_load(&s->over);
			break;
		}
	atomic_store(&s->over, true);
	return NULL;
}

/* ---- writing ---- */

static void add_size(json_t *body, struct winsize *last)
{
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 ||
	    (w.ws_row == last->ws_row && w.ws_col == last->ws_col))
		return;
	*last = w;
	json_object_set_new(body, "rows", json_integer(w.ws_row));
	json_object_set_new(body, "columns", json_integer(w.ws_col));
}

static int write_some(struct cli *c, struct stream *s, const char *data, size_t size,
		      struct winsize *last, struct err *e)
{
	char hex[2 * CHUNK + 1];

	for (size_t at = 0; !atomic_load(&s->over);) {
		json_t *answer CLEANUP(json_freep) = NULL;
		json_t *body CLEANUP(json_freep) = json_object();
		json_int_t taken;
		int rc;

		hex_of(data + at, size - at, hex);
		json_object_set_new(body, "data", json_string(hex));
		add_size(body, last);
		if (size == 0 && json_object_size(body) == 1)
			return 0;
		rc = client_call(c->client, "POST", "demarc", s->path, body, &answer, e);
		if (rc < 0)
			return atomic_load(&s->over) || e->fault == FAULT_GONE ? 0 : rc;
		taken = json_int(json_object_get(answer, "stream"), "taken", 0);
		at += (size_t)taken;
		if (at >= size)
			return 0;
		if (taken == 0)
			cli_pause_ms(AGAIN_MS);
	}
	return 0;
}

static int write_all(struct cli *c, struct stream *s, struct err *e)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	struct winsize last = { 0 };
	char buf[CHUNK];
	int rc = 0;

	while (rc == 0 && !atomic_load(&s->over) && !cli_interrupted()) {
		ssize_t n = 0;

		if (poll(&p, 1, SIZE_MS) > 0) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0 && p.fd >= 0) { /* end of input: the shell hears it as a terminal says it */
				buf[0] = 4;
				n = 1;
				p.fd = -1;
			}
		}
		rc = write_some(c, s, buf, n > 0 ? (size_t)n : 0, &last, e);
	}
	return rc;
}

/* ---- life ---- */

static int stream_start(struct cli *c, struct stream *s, const char *path, const json_t *body,
			struct err *e)
{
	struct client_options o = { cli_option(c, "os-cloud"), cli_option(c, "os-cacert") };
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc = client_open(&o, &s->reader, e);

	if (rc == 0)
		rc = client_call(c->client, "POST", "demarc", path, body, &answer, e);
	if (rc < 0)
		return rc;
	(void)snprintf(s->path, sizeof(s->path), "/v1/streams/%lld",
		       (long long)json_int(json_object_get(answer, "stream"), "id", 0));
	rc = pthread_create(&s->thread, NULL, read_all, s);
	return rc ? err_errno(e, rc, "cannot start a thread") : 0;
}

static int stream_finish(struct cli *c, struct stream *s, int rc, struct err *e)
{
	struct err ignored;

	if (!atomic_exchange(&s->over, true) || s->once) /* we go first: the hub ends the read that waits */
		(void)!client_call(c->client, "DELETE", "demarc", s->path, NULL, NULL, &ignored);
	pthread_join(s->thread, NULL);
	if (rc == 0 && s->failed) {
		*e = s->err;
		rc = -s->err.num;
	}
	return rc;
}

/* Every key goes to the other side, also ^C. */
static bool raw_terminal(struct termios *saved)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, saved) < 0)
		return false;
	raw = *saved;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* A server's name or id; else a node's. */
static int find_target(struct cli *c, const char *verb, struct strbuf *ret, struct err *e)
{
	json_t *row CLEANUP(json_freep) = NULL;
	const char *what = "servers";
	int rc = client_find(c->client, "compute", "/servers", "servers", "server",
			     c->positionals[0], &row, e);

	if (rc < 0 && e->fault == FAULT_NOT_FOUND && strcmp(verb, "shell") == 0) {
		what = "nodes";
		rc = client_find(c->client, "demarc", "/v1/nodes", "nodes", "node",
				 c->positionals[0], &row, e);
	}
	if (rc == 0)
		strbuf_addf(ret, "/v1/%s/%s/%s", what, json_str(row, "id"), verb);
	return rc;
}

static json_t *shell_body(const struct cli *c)
{
	const char *term = getenv("TERM");
	json_t *argv = json_array();
	struct winsize w = { 0 };

	for (size_t i = 1; i < c->n_positionals; i++)
		json_array_append_new(argv, json_string(c->positionals[i]));
	(void)ioctl(STDIN_FILENO, TIOCGWINSZ, &w);
	return json_pack("{s:o, s:i, s:i, s:s}", "argv", argv, "rows", (int)w.ws_row, "columns",
			 (int)w.ws_col, "term", term ? term : "dumb");
}

static int shell(struct cli *c, struct err *e)
{
	struct strbuf path CLEANUP(strbuf_done) = { 0 };
	json_t *body CLEANUP(json_freep) = shell_body(c);
	struct stream s = { 0 };
	struct termios saved;
	bool is_raw;
	int rc = find_target(c, "shell", &path, e);

	if (rc == 0)
		rc = stream_start(c, &s, strbuf_cstr(&path), body, e);
	if (rc < 0) {
		client_close(s.reader);
		return rc;
	}
	is_raw = raw_terminal(&saved);
	rc = write_all(c, &s, e);
	rc = stream_finish(c, &s, rc, e);
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	client_close(s.reader);
	if (rc == 0 && s.exit_status)
		return err_set(e, FAULT_INTERNAL, NULL, "the shell ended with status %d", s.exit_status);
	return rc;
}

static int logs(struct cli *c, struct err *e)
{
	struct strbuf path CLEANUP(strbuf_done) = { 0 };
	json_t *body CLEANUP(json_freep) = NULL;
	struct stream s = { 0 };
	long long tail = 0;
	int rc = cli_number(c, "tail", 4096, TAIL_MAX, &tail, e);

	if (rc == 0)
		rc = find_target(c, "log", &path, e);
	body = json_pack("{s:I}", "tail", (json_int_t)tail);
	s.once = cli_option(c, "follow") == NULL;
	if (rc == 0)
		rc = stream_start(c, &s, strbuf_cstr(&path), body, e);
	if (rc < 0) {
		client_close(s.reader);
		return rc;
	}
	while (!atomic_load(&s.over) && !cli_interrupted())
		cli_pause_ms(SIZE_MS);
	rc = stream_finish(c, &s, rc, e);
	client_close(s.reader);
	return rc;
}

static const struct cli_option logs_options[] = {
	{ "follow", NULL, "go on until interrupted; also -f" },
	{ "tail", "BYTES", "begin with so much of what is there (4096)" },
	{ NULL, NULL, NULL },
};

const struct command stream_commands[] = {
	{ "shell", "SERVER|NODE [COMMAND]...",
	  "Open a shell in a function, or on a node that allows it", shell, NULL, false },
	{ "logs", "SERVER", "Show what a function writes", logs, logs_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
