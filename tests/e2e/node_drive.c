/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The node without a hub, for tests: everything of demarc-node except its link. Frames come as lines of JSON on stdin
 * and go out as lines of JSON on stdout; {"link": false} and {"link": true} take the link down and up.
 *
 *   node-drive NODE-ID run|purge STATE-DIR RUN-DIR PIN-DIR [NAME=DEVICE]...
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "link/link.h"
#include "node/channel.h"
#include "node/node.h"
#include "pbjson.h"

#define LINE_MAX_BYTES (8u << 20)

struct link_client {
	const struct link_client_ops *ops;
	void *ctx;
	bool up;
	uv_pipe_t in;
	struct strbuf line;
};

static struct link_client client; /* one per process, as in the node */

/* ---- in the place of src/link ---- */

int link_client_send(struct link_client *l, const Demarc__V1__Frame *f)
{
	json_t *j;
	char *text;

	if (!l->up)
		return -ENOTCONN;
	j = pbjson_tree(&f->base);
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	(void)printf("%s\n", text);
	(void)fflush(stdout);
	free(text);
	return 0;
}

bool link_client_is_up(const struct link_client *l)
{
	return l->up;
}

static void set_up(bool up)
{
	if (client.up == up)
		return;
	client.up = up;
	if (up)
		client.ops->up(client.ctx);
	else
		client.ops->down(client.ctx, "the test says so");
}

static void take_line(const char *text)
{
	CLEANUP(json_freep) json_t *j = json_loads(text, 0, NULL);
	json_t *link = json_object_get(j, "link");
	ProtobufCMessage *m;

	if (link) {
		set_up(json_is_true(link));
		return;
	}
	m = pbjson_message(&demarc__v1__frame__descriptor, j);
	if (!m) {
		(void)fprintf(stderr, "node-drive: not a frame: %.200s\n", text);
		exit(3);
	}
	if (client.up)
		client.ops->frame(client.ctx, (Demarc__V1__Frame *)m);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	(void)h;
	*buf = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0)
		uv_stop(s->loop);
	for (ssize_t i = 0; i < n; i++) {
		if (buf->base[i] != '\n') {
			strbuf_addc(&client.line, buf->base[i]);
			continue;
		}
		take_line(strbuf_cstr(&client.line));
		client.line.len = 0;
	}
	free(buf->base);
}

int link_client_start(uv_loop_t *loop, const struct link_client_config *c,
		      const struct link_client_ops *ops, void *ctx, struct link_client **ret,
		      struct err *e)
{
	(void)c;
	client.ops = ops;
	client.ctx = ctx;
	client.line.limit_bytes = LINE_MAX_BYTES;
	*ret = &client;
	if (uv_pipe_init(loop, &client.in, 0) < 0 || uv_pipe_open(&client.in, STDIN_FILENO) < 0 ||
	    uv_read_start((uv_stream_t *)&client.in, on_alloc, on_read) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "stdin is not a pipe");
	return 0;
}

void link_client_stop(struct link_client *l)
{
	l->up = false;
	uv_close((uv_handle_t *)&l->in, NULL);
	strbuf_done(&l->line);
}

/* One connection, which never ends and needs no certificate. */
int link_client_reload(struct link_client *l, const struct link_client_config *c, struct err *e)
{
	(void)l;
	(void)c;
	(void)e;
	return 0;
}

void link_client_hang_up(struct link_client *l, const char *reason)
{
	(void)l;
	(void)reason;
}

const char *link_client_hub(const struct link_client *l)
{
	(void)l;
	return "https://127.0.0.1:1";
}

uint32_t link_client_heartbeat_ms(const struct link_client *l)
{
	(void)l;
	return 0;
}

/* ---- the program ---- */

static void on_signal(uv_signal_t *s, int signum)
{
	(void)signum;
	uv_stop(s->loop);
}

static int run(const struct config *c, const char *node_id, struct err *e)
{
	static struct node n;
	static struct link_identity id;
	int r = node_open(&n, c, node_id, e);

	if (r == 0)
		r = channel_start(&n, &id, e);
	if (r == 0) {
		(void)uv_signal_init(n.loop, &n.sigterm);
		(void)uv_signal_start(&n.sigterm, on_signal, SIGTERM);
		(void)uv_run(n.loop, UV_RUN_DEFAULT);
	}
	node_close(&n);
	return r;
}

/* "lan=eth1" is a NIC, "--key=value" a setting. */
static int take_setting(struct config *c, const char *text, struct err *e)
{
	struct str value, key = str_cut(str_of(text), '=', &value);
	char name[64];

	if (strncmp(text, "--", 2) != 0)
		return config_nic_add(c, text, e);
	(void)str_copy(name, sizeof(name), (struct str){ key.ptr + 2, key.len - 2 });
	return config_set(c, name, value.ptr, e);
}

int main(int argc, char **argv)
{
	struct config c;
	struct err e = { 0 };
	int r = 0;

	(void)umask(0077); /* as the real program */
	log_init("node-drive", LOG_DEBUG_);
	if (argc < 6)
		return 2;
	config_default(&c);
	r = config_set(&c, "state_dir", argv[3], &e);
	if (r == 0)
		r = config_set(&c, "run_dir", argv[4], &e);
	if (r == 0)
		r = config_set(&c, "pin_dir", argv[5], &e);
	for (int i = 6; r == 0 && i < argc; i++)
		r = take_setting(&c, argv[i], &e);
	if (r == 0)
		r = strcmp(argv[2], "purge") == 0 ? node_purge(&c, argv[1], &e) : run(&c, argv[1], &e);
	if (r < 0)
		(void)fprintf(stderr, "node-drive: %s: %s\n", e.field, e.msg);
	return r < 0;
}
